"""Tests of the specification, and the classification table: against statsmodels, SciPy and formulas written out."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import scipy.stats
import statsmodels.api as sm

import nbsoftmax as nbs
from nbsoftmax.backends import row_blocks
from tests import reference
from tests.models.test_inference import anes96, blobs, fair, relative, spector, theirs


def omitted(m, n=2):
    return np.random.default_rng(3).normal(size=(m, n))


def test_the_score_test_for_two_classes_is_that_of_statsmodels():
    X, y = anes96()
    y = (y > 3).astype(int)
    Z = omitted(len(y)) + 0.2 * y[:, None]
    glm = sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial()).fit(tol=1e-12)
    statistic, p_value = glm.score_test(exog_extra=Z, hypothesis="joint")[:2]
    ours = nbs.Trainer().fit(X, y).inference().score_test(Z)
    assert relative(ours.statistic, statistic) <= 1e-6
    assert relative(ours.p_value, p_value) <= 1e-4
    assert ours.df == 2


def test_the_score_test_of_a_group_is_the_chi_squared_test_of_its_table():
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 4, 500), rng.integers(0, 2, 500)
    counts = np.histogram2d(y, z, bins=(4, 2))[0]
    expected = scipy.stats.chi2_contingency(counts, correction=False)
    ours = nbs.Trainer(fit_intercept=False).fit(np.ones((500, 1)), y).inference(reference=2).score_test(z)
    assert relative(ours.statistic, expected.statistic) <= 1e-9
    assert relative(ours.p_value, expected.pvalue) <= 1e-9
    assert ours.df == expected.dof


def test_the_score_test_is_its_formula_with_weights_and_an_offset(monkeypatch):
    X, y = blobs()
    rng, Z = np.random.default_rng(1), omitted(len(y))
    s, offset = rng.uniform(0.5, 2, len(y)), rng.normal(size=(len(y), 3))
    table = nbs.Trainer().fit(X, y, sample_weight=s, offset=offset).inference()
    x = np.column_stack([X, np.ones(len(y))])
    a = reference.softmax(np.column_stack([np.zeros(len(y)), x @ table.params.T]) + offset)
    both = np.column_stack([x, Z])
    score = np.einsum("i,ik,ij->kj", s, (reference.one_hot(y, 3) - a)[:, 1:], both)
    score[:, :3] = 0
    information = np.zeros((10, 10))
    for i in range(len(y)):
        curvature = (np.diag(a[i]) - np.outer(a[i], a[i]))[1:, 1:]
        information += s[i] * np.kron(curvature, np.outer(both[i], both[i]))
    expected = score.ravel() @ np.linalg.solve(information, score.ravel())
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)  # 16 rows
    assert relative(table.score_test(Z).statistic, expected) <= 1e-9
    assert relative(table.score_test(scipy.sparse.csr_array(Z)).statistic, expected) <= 1e-9


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_the_unit_of_an_omitted_feature_changes_no_score_test(unit):
    X, y = blobs()
    Z = omitted(len(y))
    table = nbs.Trainer().fit(X, y).inference()
    expected = table.score_test(Z).statistic
    assert relative(table.score_test(Z * [unit, 1]).statistic, expected) <= 1e-9
    assert relative(table.score_test(scipy.sparse.csr_array(Z * [1, unit])).statistic, expected) <= 1e-9


def test_the_score_test_is_near_the_likelihood_ratio_of_a_small_effect():
    X, y = fair()
    fewer = X.drop(columns=["educ"])
    full, restricted = nbs.Trainer().fit(X, y).inference(), nbs.Trainer().fit(fewer, y).inference()
    ratio, score = full.likelihood_ratio_test(restricted), restricted.score_test(X["educ"])
    assert score.df == ratio.df
    assert relative(score.statistic, ratio.statistic) <= 0.05


def test_the_score_test_of_shares_of_classes_is_that_of_counted_samples():
    rng = np.random.default_rng(0)
    X, Z, counts = rng.normal(size=(40, 2)), rng.normal(size=(40, 1)), rng.integers(1, 9, (40, 3))
    total = counts.sum(axis=1)
    grouped = nbs.Trainer().fit(X, counts / total[:, None], sample_weight=total).inference()
    single = nbs.Trainer().fit(np.repeat(X, 3, axis=0), np.tile(np.arange(3), 40), sample_weight=counts.ravel())
    expected = single.inference()
    assert relative(grouped.score_test(Z).statistic, expected.score_test(np.repeat(Z, 3, axis=0)).statistic) <= 1e-9
    both = grouped.classification_table(), expected.classification_table()
    assert np.abs(both[0] - both[1]).max() <= 1e-9
    assert relative(both[0].sum(axis=1), counts.sum(axis=0)) <= 1e-12


@pytest.mark.parametrize(
    ("Z", "message"),
    [
        (np.zeros((399, 1)), r"Z has the shape \(399, 1\); expected one row for each of the 400 samples"),
        (np.ones((400, 1)), "the columns of Z are collinear"),
        (np.full((400, 1), np.nan), "Z"),
    ],
)
def test_wrong_omitted_features_are_refused(Z, message):
    table = nbs.Trainer().fit(*blobs()).inference()
    with pytest.raises(nbs.InputValueError, match=message):
        table.score_test(Z)


def test_a_table_of_omitted_features_is_called_z():
    table = nbs.Trainer().fit(*blobs()).inference()
    with pytest.raises(nbs.InputTypeError, match=r"^Z has dtype .* in column 'city', expected numbers"):
        table.score_test(pd.DataFrame({"city": ["Rome"] * 400}))


@pytest.mark.filterwarnings("ignore:the difference of the covariances is not positive definite")
def test_the_iia_test_is_its_formula_with_numbers_of_statsmodels():
    X, y = anes96()
    kept = y != 6
    full, fewer = theirs(X, y), theirs(X[kept], y[kept])
    change = (np.asarray(fewer.params) - np.asarray(full.params)[:, :5]).T.ravel()
    within = np.asarray(fewer.cov_params()) - np.asarray(full.cov_params())[:30, :30]
    ours = nbs.Trainer().fit(X, y).inference().iia_test(nbs.Trainer().fit(X[kept], y[kept]).inference())
    assert relative(ours.statistic, change @ np.linalg.solve(within, change)) <= 1e-4
    assert ours.df == 30


def test_the_iia_test_finds_alternatives_that_are_close_substitutes():
    rng = np.random.default_rng(0)
    m = 20_000
    X = rng.normal(size=(m, 1))
    u = np.column_stack([np.zeros(m), X[:, 0], X[:, 0] ** 2 - 1, 0.3 * X[:, 0]])  # the third is not linear in x
    right = np.column_stack([np.zeros(m), X[:, 0], -X[:, 0], 0.3 * X[:, 0]])
    for logits, low, high in ((u, 0.0, 1e-4), (right, 1e-3, 1.0)):
        y = (logits + rng.gumbel(size=(m, 4))).argmax(axis=1)
        some = y != 2
        full, fewer = nbs.Trainer().fit(X, y).inference(), nbs.Trainer().fit(X[some], y[some]).inference()
        assert low <= full.iia_test(fewer).p_value <= high


def test_the_iia_test_refuses_other_fits():
    X, y = blobs(n_classes=4)
    full = nbs.Trainer().fit(X, y).inference()
    fewer = nbs.Trainer().fit(X[y < 3], y[y < 3])
    for other in (full, fewer.inference(reference=1), fewer.inference(cov="sandwich")):
        with pytest.raises(nbs.InputValueError, match="expected some of"):
            full.iia_test(other)
    with pytest.raises(nbs.InputTypeError, match="fewer is a FitResult, expected an Inference"):
        full.iia_test(nbs.Trainer().fit(X[y < 3], y[y < 3]))


@pytest.mark.parametrize("data", [anes96, fair, spector])
def test_the_classification_table_is_that_of_statsmodels(data):
    X, y = data()
    table = nbs.Trainer().fit(X, y).inference().classification_table()
    assert np.array_equal(table, theirs(X, y).pred_table())


def test_a_pickled_result_has_no_data_for_these():
    X, y = blobs()
    again = pickle.loads(pickle.dumps(nbs.Trainer().fit(X, y).inference()))
    for call in (again.classification_table, lambda: again.score_test(X[:, 0])):
        with pytest.raises(nbs.InputValueError, match="does not contain the data"):
            call()


def test_the_iia_test_warns_where_its_matrix_is_indefinite():
    rng = np.random.default_rng(16)
    X = rng.normal(size=(300, 3))
    y = (X + 1.5 * rng.gumbel(size=(300, 3))).argmax(axis=1)
    full, fewer = nbs.Trainer().fit(X, y).inference(), nbs.Trainer().fit(X[y < 2], y[y < 2]).inference()
    assert np.linalg.eigvalsh(fewer.covariance - full.covariance[:4, :4])[0] < 0
    with pytest.warns(UserWarning, match="not positive definite, so the statistic need not be chi-squared"):
        full.iia_test(fewer)
