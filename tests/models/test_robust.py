"""Robust covariances: those of statsmodels, and of sums written out."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats import sandwich_covariance

import nbsoftmax as nbs
from nbsoftmax.backends import row_blocks
from tests.models.test_inference import anes96, blobs, relative, spector, theirs


def ours_in_their_order(table):
    order = np.roll(np.arange(table.n_params).reshape(table.params.shape), 1, axis=1).ravel()
    return table.covariance[np.ix_(order, order)]


def groups_of(y):
    return np.random.default_rng(0).integers(0, len(y) // 8, len(y))


@pytest.mark.parametrize("data", [anes96, spector])
def test_hc1_is_that_of_statsmodels(data):
    X, y = data()
    expected = sandwich_covariance.cov_white_simple(theirs(X, y), use_correction=True)
    table = nbs.Trainer().fit(X, y).inference(cov="HC1")
    assert np.abs(ours_in_their_order(table) - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("data", [anes96, spector])
def test_clusters_are_those_of_statsmodels_with_the_correction_of_stata(data):
    X, y = data()
    groups = groups_of(y)
    n_groups = len(np.unique(groups))
    fit = theirs(X, y, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    expected = np.asarray(fit.cov_params()) * n_groups / (n_groups - 1)
    table = nbs.Trainer().fit(X, y).inference(cov="cluster", groups=groups.astype(str))
    assert np.abs(ours_in_their_order(table) - expected).max() <= 1e-6 * np.abs(expected).max()


def test_hc0_is_another_name_of_the_sandwich():
    result = nbs.Trainer().fit(*blobs())
    other, sandwich = result.inference(cov="HC0"), result.inference(cov="sandwich")
    assert np.array_equal(other.covariance, sandwich.covariance)
    assert other.cov == "sandwich"


def test_a_group_for_each_row_gives_the_sandwich_times_its_correction():
    X, y = blobs()
    result = nbs.Trainer().fit(X, y)
    single = result.inference(cov="cluster", groups=np.arange(len(y))[::-1])
    sandwich = result.inference(cov="sandwich").covariance * len(y) / (len(y) - 1)
    assert relative(single.covariance, sandwich) <= 1e-9


def test_the_order_of_rows_and_blocks_of_them_change_nothing(monkeypatch):
    X, y = blobs()
    groups, order = groups_of(y), np.random.default_rng(1).permutation(len(y))
    whole = nbs.Trainer().fit(X, y).inference(cov="cluster", groups=groups)
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)  # 16 rows, for groups of about 8
    shuffled = nbs.Trainer().fit(X[order], y[order]).inference(cov="cluster", groups=groups[order])
    assert relative(shuffled.covariance, whole.covariance) <= 1e-9


def test_groups_of_several_blocks_add_up(monkeypatch):
    X, y = blobs()
    result, groups = nbs.Trainer().fit(X, y), np.arange(len(y)) % 3
    whole = result.inference(cov="cluster", groups=groups)
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)
    assert np.abs(result.inference(cov="cluster", groups=groups).covariance - whole.covariance).max() <= 1e-9 * (
        np.abs(whole.covariance).max()
    )


def test_rows_without_weight_count_in_no_correction():
    X, y = blobs()
    weight = np.where(np.arange(len(y)) < 300, 1.0 + np.arange(len(y)) % 2, 0.0)
    groups = np.where(weight > 0, groups_of(y), -5)
    all_rows, some = nbs.Trainer().fit(X, y, sample_weight=weight), slice(0, 300)
    fewer = nbs.Trainer().fit(X[some], y[some], sample_weight=weight[some])
    for options in ({"cov": "HC1"}, {"cov": "cluster"}):
        of_all = {**options, "groups": groups} if options["cov"] == "cluster" else options
        of_some = {**options, "groups": groups[some]} if options["cov"] == "cluster" else options
        ours, expected = all_rows.inference(**of_all).covariance, fewer.inference(**of_some).covariance
        assert np.abs(ours - expected).max() <= 1e-9 * np.abs(expected).max()


def test_the_unit_of_weights_and_the_names_of_two_groups_change_nothing():
    X, y = blobs()
    weight, two = 1.0 + np.arange(len(y)) % 3, np.arange(len(y)) % 2
    expected = nbs.Trainer(tol=1e-12).fit(X, y, sample_weight=weight).inference(cov="cluster", groups=two)
    for unit, groups in ((1 / 4, two), (1 / 1024, two + 0.5), (1.0, np.array("2026-01-01", "M8[D]") + two)):
        found = nbs.Trainer(tol=1e-12).fit(X, y, sample_weight=weight * unit)
        # Powers of 2 change no bit of the fit; the places of groups are the same.
        assert relative(found.inference(cov="cluster", groups=groups).covariance, expected.covariance) <= 1e-9


def test_the_function_takes_groups_and_effects_have_the_covariance():
    X, y = blobs()
    groups, result = groups_of(y), nbs.Trainer().fit(X, y)
    of_result = result.inference(cov="cluster", groups=groups)
    of_function = nbs.inference(result.model, X, y, cov="cluster", groups=groups)
    assert np.array_equal(of_function.covariance, of_result.covariance)
    effects = result.marginal_effects(cov="cluster", groups=groups)
    assert np.array_equal(effects.std_errors, of_result.marginal_effects().std_errors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cov": "cluster"}, "needs groups"),
        ({"cov": "HC1", "groups": np.arange(400)}, "groups are for cov=\"cluster\", but cov is 'HC1'"),
        ({"cov": "cluster", "groups": np.arange(399)}, "X has 400 rows, but groups has 399"),
        ({"cov": "cluster", "groups": np.zeros(400, int)}, "in one group; expected at least two"),
        ({"cov": "cluster", "groups": np.zeros((400, 2))}, "groups has 2 dimensions"),
        ({"cov": "cluster", "groups": np.where(np.arange(400) == 7, np.nan, 0.5)}, "missing value at row 7"),
        ({"cov": "cluster", "groups": np.full(400, np.datetime64("NaT"))}, "missing value at row 0"),
        ({"cov": "HC2"}, "cov is 'HC2', expected one of"),
    ],
)
def test_wrong_groups_are_refused(options, message):
    with pytest.raises(nbs.InputValueError, match=message):
        nbs.Trainer().fit(*blobs()).inference(**options)


def test_hc1_needs_more_rows_than_parameters():
    X, y = np.array([[0.0], [1.0], [0.0], [1.0]]), [0, 0, 1, 1]
    table = nbs.Trainer().fit(X, y, sample_weight=[1, 2, 2, 1])
    assert np.isfinite(table.inference(cov="HC1").covariance).all()
    X, y = np.array([[0.0], [1.0]]), np.array([[0.5, 0.5], [0.3, 0.7]])
    with pytest.raises(nbs.InputValueError, match="2 rows have weight for 2 parameters"):
        nbs.Trainer().fit(X, y).inference(cov="HC1")


def test_groups_are_those_of_the_rows_that_the_fit_has_kept():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=120), "z": rng.normal(size=120)})
    table.loc[::10, "x"] = np.nan
    y, groups = rng.integers(0, 3, 120), np.arange(120) // 4
    with pytest.warns(UserWarning, match="12 of 120 rows"):
        result = nbs.Trainer(table=nbs.TableOptions(missing="drop")).fit(table, y)
    with pytest.raises(nbs.InputValueError, match=r"groups has shape \(120,\), but 108 rows are left of the fit"):
        result.inference(cov="cluster", groups=groups)
    kept = table[list(result.model.encoding.columns)].notna().all(axis=1)
    found = result.inference(cov="cluster", groups=groups[kept])
    apart = nbs.Trainer().fit(table[kept], y[kept]).inference(cov="cluster", groups=groups[kept])
    np.testing.assert_allclose(found.standard_errors, apart.standard_errors, rtol=1e-6)


def test_probabilities_with_class_weights_are_weighted_labels_in_a_group_for_each_row():
    rng = np.random.default_rng(0)
    X, P, gain = rng.normal(size=(200, 2)), rng.dirichlet(np.ones(3), 200), [1.0, 2.0, 5.0]
    ours = nbs.Trainer(class_weight=gain, tol=1e-12).fit(X, P).inference(cov="sandwich")
    labels, group = np.tile(range(3), 200), np.repeat(np.arange(200), 3)
    apart = nbs.Trainer(class_weight=dict(enumerate(gain)), tol=1e-12).fit(X[group], labels, sample_weight=P.ravel())
    expected = apart.inference(cov="cluster", groups=group).covariance * 199 / 200
    assert relative(ours.covariance, expected) <= 1e-6


@pytest.mark.parametrize("pair", [(0, 1), (0, 3), (0, 59), (10, 41), (17, 18)])
@pytest.mark.parametrize("cov", ["HC0", "cluster"])
def test_heavy_rows_leave_digits_to_the_light_ones(cov, pair):
    """Two rows of weight w and both classes at x = 0 fix the intercept: H is diag(w / 2, h) and H_01, with h = H_11.

    The feature is x + 3, which changes no slope. Wherever the two rows are, the sums have rounding errors of w eps.

    Their scores (-+ w / 2, 0) have the influence +- H_01 / h on the slope, and those (g, g x) of others g x / h.
    """
    x, y, i = np.random.default_rng(0).normal(size=60), np.arange(60) % 2, np.arange(60)
    heavy, (a, b) = np.isin(i, pair), pair
    x[heavy], y[a], y[b] = 0.0, 0, 1
    groups = i % 30
    options = {"groups": groups} if cov == "cluster" else {}
    result = nbs.Trainer(tol=1e-12).fit(x[:, None] + 3, y, sample_weight=np.where(heavy, 1e10, 1.0))
    found = result.inference(cov=cov, **options).standard_errors[0, 0]
    proba = nbs.Trainer(tol=1e-12, fit_intercept=False).fit(x[:, None], y).model.predict_proba(x[:, None])[:, 1]
    influence = (y - proba) * x
    influence[a] = (proba * (1 - proba) * x).sum()
    influence[b] = -influence[a]
    if cov == "cluster":
        influence = np.bincount(groups, influence) * np.sqrt(30 / 29)
    expected = np.sqrt((influence**2).sum()) / (proba * (1 - proba) * x**2).sum()
    assert abs(found / expected - 1) <= 1e-4


def test_a_model_that_fits_each_group_exactly_has_no_clustered_standard_errors():
    rng = np.random.default_rng(0)
    groups, y = rng.integers(0, 4, 400), rng.integers(0, 3, 400)
    result = nbs.Trainer().fit((groups[:, None] == np.arange(1, 4)).astype(float), y)
    with pytest.raises(nbs.InputValueError, match="scores of the rows of each group sum to 0"):
        result.inference(cov="cluster", groups=groups)
    assert np.isfinite(result.inference(cov="cluster", groups=np.arange(400) // 5).standard_errors).all()


def test_rows_of_proportions_that_are_fitted_exactly_have_no_robust_standard_errors():
    counts = np.random.default_rng(0).integers(1, 20, (4, 3))
    total = counts.sum(axis=1)
    result = nbs.Trainer().fit(np.eye(4)[:, 1:], counts / total[:, None], sample_weight=total)
    with pytest.raises(nbs.InputValueError, match="scores of the rows are 0"):
        result.inference(cov="HC0")
    assert np.isfinite(result.inference().standard_errors).all()
