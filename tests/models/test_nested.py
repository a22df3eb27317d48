"""The likelihood-ratio test of nested models refuses what is not nested, and likelihoods that are none."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.models import nested
from tests.models.test_inference import blobs

X, Y = blobs()
FULL = nbs.Trainer().fit(X, Y)


def fewer(y=Y, *, fit=None, inference=None, **options):
    return nbs.Trainer(**options).fit(X[:, :1], y, **(fit or {})).inference(**(inference or {}))


OTHERS = {
    "other labels": (lambda: fewer(np.array(list("abc"))[Y]), r"restricted has the classes \['a', 'b', 'c'\]"),
    "other samples": (lambda: fewer(np.roll(Y, 1)), "restricted was fitted with another y"),
    "fewer rows": (
        lambda: nbs.Trainer().fit(X[10:, :1], Y[10:]).inference(),
        f"restricted was fitted to {len(Y) - 10} rows, expected {len(Y)}",
    ),
    "shares of the classes": (lambda: fewer(np.full((len(Y), 3), 1 / 3)), "restricted was fitted with another y"),
    "other weights": (
        lambda: fewer(fit={"sample_weight": np.where(np.arange(len(Y)) % 2, 0.5, 1.5)}),
        "with another sample_weight",
    ),
    "an offset": (lambda: fewer(fit={"offset": np.ones((len(Y), 3)) * [0, 1, 2]}), "with another offset"),
    "Firth's penalty": (lambda: fewer(penalty="firth"), 'not for penalty="firth"'),
    "class weights": (
        lambda: fewer(class_weight={0: 2.0}, inference={"cov": "sandwich"}),
        "a fit has class_weight, .* use wald_test",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_not_nested_is_refused(case):
    make, message = OTHERS[case]
    with pytest.raises(nbs.InputValueError, match=message):
        FULL.inference().likelihood_ratio_test(make())


def test_a_likelihood_with_class_weights_has_no_ratio():
    weighted = nbs.Trainer(class_weight={0: 2.0}).fit(X, Y).inference(cov="sandwich")
    assert np.isnan(weighted.likelihood_ratio.statistic)
    assert np.isnan(weighted.likelihood_ratio.p_value)
    with pytest.raises(nbs.InputValueError, match="a fit has class_weight"):
        weighted.likelihood_ratio_test(fewer())
    assert weighted.wald_test(0).df == 2


@pytest.mark.parametrize("names", [[0, 1], (0, 1), np.array([0, 1]), range(2)])
def test_columns_of_a_wald_test_may_be_in_any_sequence(names):
    assert FULL.inference().wald_test(names) == FULL.inference().wald_test([0, 1])


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="StringDType is NumPy 2's")
def test_labels_of_numpys_strings_have_contrasts():
    y = np.array(list("abc"), np.dtypes.StringDType())[Y]
    found = nbs.Trainer().fit(X, y).inference()
    assert (found.reference, found.contrast("b", "c").a) == ("a", "b")
    assert np.array_equal(found.params, FULL.inference().params)
    with pytest.raises(nbs.InputValueError, match="no sample of positive weight has the label 'c'"):
        nbs.inference(found.model, X, y, sample_weight=(Y < 2).astype(float))


@pytest.mark.parametrize("kind", ["numbers", "dates", "durations", "text"])
def test_groups_may_be_of_any_kind(kind):
    codes = np.arange(len(Y)) % 7
    groups = {
        "numbers": codes + 0.5,
        "dates": np.datetime64("2024-01-01") + codes,
        "durations": codes.astype("m8[h]"),
        "text": np.array(list("gfedcba"))[codes],
    }[kind]
    found, expected = (FULL.inference(cov="cluster", groups=g).standard_errors for g in (groups, codes))
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # sums over the groups in another order
    if kind != "text":
        groups = groups.copy()
        groups[3] = "NaT" if kind != "numbers" else np.nan
        with pytest.raises(nbs.InputValueError, match="groups has a missing value at row 3"):
            FULL.inference(cov="cluster", groups=groups)


def test_a_model_may_be_nested_by_the_span_of_its_columns():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("formulaic")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"n": rng.integers(0, 5, 300), "x": rng.normal(size=300)})
    table["y"] = rng.choice(list("abc"), 300)

    def fit(formula):
        return nbs.fit_formula(formula, table, l2=0.0).inference()

    for full, restricted, df in (("C(n)", "n", 6), ("poly(x, 3) + n", "x + n", 4), ("n * x", "x:n", 4)):
        found = fit(f"y ~ {full}").likelihood_ratio_test(fit(f"y ~ {restricted}"))
        assert found.df == df
        assert found.statistic > 0
    for full, restricted in (("C(n)", "x"), ("n", "C(n)"), ("poly(x, 3)", "exp(x)")):
        with pytest.raises(nbs.InputValueError, match="or linear combinations of these"):
            fit(f"y ~ {full}").likelihood_ratio_test(fit(f"y ~ {restricted}"))


def test_a_column_is_all_the_features_that_are_made_from_it_alone():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("formulaic")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"x": rng.normal(size=300), "g": rng.choice(list("uv"), 300), "y": rng.choice(list("abc"), 300)}
    )
    found = nbs.fit_formula("y ~ x + I(x ** 2) + g", table, l2=0.0).inference()
    both = found.wald_test(["x", "I(x ** 2)"])
    assert found.wald_test("x") == both
    assert both.df == 4
    assert found.wald_test(found.names.index("x")).df == 2
    with pytest.raises(nbs.InputValueError, match="without repetition"):
        found.wald_test(["g", "g"])
    with pytest.raises(nbs.InputValueError, match="a feature is called 'const'"):
        nbs.fit_formula("y ~ const", table.rename(columns={"x": "const"}), l2=0.0).inference()


def test_models_with_as_many_parameters_are_not_nested():
    with pytest.raises(nbs.InputValueError, match=r"expected .* fewer columns"):
        FULL.inference().likelihood_ratio_test(FULL.inference())


def test_only_an_inference_can_be_nested():
    with pytest.raises(nbs.InputTypeError, match=r"restricted is a FitResult, .* give result\.inference\(\)"):
        FULL.inference().likelihood_ratio_test(FULL)


@pytest.mark.parametrize("which", [0, 1])
def test_after_pickling_the_names_of_columns_decide(which):
    pair = [FULL.inference(), fewer()]
    expected = pair[0].likelihood_ratio_test(pair[1])
    pair[which] = pickled(pair[which])
    assert pair[0].likelihood_ratio_test(pair[1]) == expected


def pickled(inference):
    """The inference as it is read from a file, without the data."""
    return pickle.loads(pickle.dumps(inference))


def test_a_smaller_model_of_other_labels_that_fits_better_is_refused_after_pickling():
    easier = (X[:, 0] > 0).astype(int) + (X[:, 0] > 1)  # nearly a function of the first column
    easier[:60:2] = Y[:60:2]
    other = pickled(fewer(easier))
    assert other.log_likelihood > FULL.inference().log_likelihood
    with pytest.raises(nbs.InputValueError, match="fit both to the same samples, and call the test of the larger"):
        FULL.inference().likelihood_ratio_test(other)


def test_a_smaller_model_of_more_samples_is_refused_after_pickling():
    twice = pickled(nbs.Trainer().fit(np.vstack([X, X])[:, :1], np.tile(Y, 2)).inference())
    assert twice.log_likelihood < FULL.inference().log_likelihood
    with pytest.raises(nbs.InputValueError, match=f"restricted has {2 * len(Y)} samples and .* expected {len(Y)} and"):
        FULL.inference().likelihood_ratio_test(twice)


@pytest.mark.parametrize(("excess", "allowed"), [(0.0, True), (0.9e-6, True), (1.1e-6, False)])
def test_likelihoods_may_differ_by_the_tol_of_the_fits(excess, allowed):
    full = FULL.inference()
    restricted = replace(fewer(), log_likelihood=full.log_likelihood + excess * abs(full.log_likelihood))
    if allowed:
        found = full.likelihood_ratio_test(restricted)
        assert found.statistic == pytest.approx(0, abs=1e-3)
        assert found.p_value == pytest.approx(1, abs=1e-3)
    else:
        with pytest.raises(nbs.InputValueError, match="call the test of the larger model"):
            full.likelihood_ratio_test(restricted)


def test_columns_of_other_names_are_not_compared_where_it_would_take_long(monkeypatch):
    full, restricted = FULL.inference(), fewer()
    renamed = replace(restricted, names=("other", "const"))
    expected = full.likelihood_ratio_test(restricted)
    assert full.likelihood_ratio_test(renamed) == expected
    monkeypatch.setattr(nested, "MOST_WORK", len(Y) * len(full.names) ** 2)
    assert full.likelihood_ratio_test(renamed) == expected
    monkeypatch.setattr(nested, "MOST_WORK", len(Y) * len(full.names) ** 2 - 1)
    assert full.likelihood_ratio_test(restricted) == expected
    with pytest.raises(nbs.InputValueError, match="or linear combinations of these"):
        full.likelihood_ratio_test(renamed)


def test_weights_of_one_and_an_offset_of_0_are_those_of_a_fit_without():
    expected = FULL.inference().likelihood_ratio_test(fewer())
    n = len(Y)
    for given in ({"sample_weight": np.ones(n)}, {"offset": np.zeros((n, 3))}):
        found = FULL.inference().likelihood_ratio_test(fewer(fit=given))
        assert found.df == expected.df
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-6)


def test_an_intercept_is_not_in_the_span_of_other_columns():
    without = nbs.Trainer(fit_intercept=False).fit(X, Y).inference()
    with pytest.raises(nbs.InputValueError, match="or linear combinations of these"):
        without.likelihood_ratio_test(fewer())
