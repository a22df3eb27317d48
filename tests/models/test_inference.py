"""Standard errors, tests and intervals: as statsmodels computes them, and as often right as they say."""

import copy
import pickle

import numpy as np
import pytest
import statsmodels.api as sm

import nbsoftmax as nbs
from nbsoftmax.backends import row_blocks
from tests import reference

TOLERANCE = 1e-6  # relative to each number; both stop where a further Newton step moves no digit of these


def anes96():
    """944 voters, 7 degrees of party identification."""
    data = sm.datasets.anes96.load()
    return data.exog, np.asarray(data.endog).astype(int)


def fair():
    """6366 women, 5 ratings of their marriage, features on very different scales."""
    data = sm.datasets.fair.load().data
    return data.drop(columns=["rate_marriage"]), np.asarray(data["rate_marriage"]).astype(int)


def spector():
    """32 students, two classes."""
    data = sm.datasets.spector.load()
    return data.exog, np.asarray(data.endog).astype(int)


def theirs(X, y, **options):
    return sm.MNLogit(y, sm.add_constant(X)).fit(method="newton", disp=0, tol=1e-10, **options)


def constant_first(a):
    """Our constant is the last column, theirs the first row."""
    return np.roll(a, 1, axis=1)


def blobs(n=400, n_classes=3, n_features=2, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    return rng.normal(size=(n_classes, n_features))[y] + rng.normal(size=(n, n_features)), y


def relative(ours, expected):
    return (np.abs(ours - expected) / np.abs(expected)).max()


@pytest.mark.parametrize("data", [anes96, fair, spector])
@pytest.mark.parametrize("cov", ["fisher", "sandwich"])
def test_every_number_is_that_of_statsmodels(data, cov):
    X, y = data()
    expected = theirs(X, y, cov_type={"fisher": "nonrobust", "sandwich": "HC0"}[cov])
    table = nbs.Trainer().fit(X, y).inference(cov=cov)
    assert relative(constant_first(table.params), np.asarray(expected.params).T) <= TOLERANCE
    assert relative(constant_first(table.standard_errors), np.asarray(expected.bse).T) <= TOLERANCE
    assert relative(constant_first(table.z), np.asarray(expected.tvalues).T) <= TOLERANCE
    assert np.abs(constant_first(table.p_values) - np.asarray(expected.pvalues).T).max() <= TOLERANCE
    interval = np.asarray(expected.conf_int()).reshape(len(table.classes), -1, 2)
    assert np.abs(constant_first(table.conf_int()) - interval).max() <= TOLERANCE * np.abs(interval).max()
    assert relative(table.log_likelihood, expected.llf) <= TOLERANCE
    assert relative(table.log_likelihood_null, expected.llnull) <= TOLERANCE
    assert relative(table.pseudo_r2, expected.prsquared) <= TOLERANCE
    assert relative(table.likelihood_ratio.statistic, expected.llr) <= TOLERANCE
    assert relative(table.likelihood_ratio.p_value, expected.llr_pvalue) <= 1e-3  # exponential in the statistic
    assert relative(table.aic, expected.aic) <= TOLERANCE
    assert relative(table.bic, expected.bic) <= TOLERANCE
    assert (table.df_model, table.df_resid) == (expected.df_model, expected.df_resid)
    order = np.roll(np.arange(table.n_params).reshape(table.params.shape), 1, axis=1).ravel()
    covariance = np.asarray(expected.cov_params())
    assert np.abs(table.covariance[np.ix_(order, order)] - covariance).max() <= TOLERANCE * np.abs(covariance).max()


def test_the_table_reads_as_that_of_statsmodels():
    X, y = anes96()
    ours = nbs.Trainer().fit(X, y).inference().summary().splitlines()
    expected = theirs(X, y).summary().as_text().splitlines()
    body = slice(next(i for i, line in enumerate(expected) if "coef" in line) - 1, None)
    assert ours[ours.index(expected[body][1]) - 1 :] == expected[body]
    assert len({len(line) for line in ours}) <= 2  # all but the centred title
    assert "Log-Likelihood:                -1461.9" in "\n".join(ours)


def test_long_names_and_labels_keep_the_columns_apart():
    X, y = blobs()
    labels = np.array(["a", "b", "a label of some length"])[y]
    table = nbs.Trainer().fit(X, labels).inference(reference="b")
    widths = {len(line) for line in str(table).splitlines()[1:]}
    assert len(widths) == 1
    assert table.classes.tolist() == ["a", "a label of some length"]


def test_another_reference_changes_the_signs_of_its_class_and_no_test_of_a_feature():
    X, y = blobs()
    result = nbs.Trainer().fit(X, y)
    first, last = result.inference(), result.inference(reference=2)
    assert relative(last.params[0], -first.params[1]) <= 1e-9
    assert relative(last.standard_errors[0], first.standard_errors[1]) <= 1e-9
    assert relative(last.wald_test(0).statistic, first.wald_test("x0").statistic) <= 1e-9
    with pytest.raises(nbs.InputValueError, match=r"reference is 7, expected one of \[0, 1, 2\]"):
        result.inference(reference=7)


def test_a_weight_of_two_is_the_sample_seen_twice():
    X, y = blobs()
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    once = nbs.Trainer().fit(X, y, sample_weight=weight).inference()
    often = nbs.Trainer().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).inference()
    assert relative(once.params, often.params) <= 1e-9
    assert relative(once.standard_errors, often.standard_errors) <= 1e-9
    assert relative(once.bic, often.bic) <= 1e-12
    assert once.likelihood_ratio.df == often.likelihood_ratio.df


def test_the_sandwich_of_weighted_samples_is_its_formula():
    X, y = blobs()
    weight = np.random.default_rng(1).uniform(0, 3, len(y))
    result = nbs.Trainer(class_weight=[1.0, 2.0, 3.0]).fit(X, y, sample_weight=weight)
    table = result.inference(cov="sandwich")
    x = np.column_stack([X, np.ones(len(y))])
    s = weight * np.array([1.0, 2.0, 3.0])[y]
    a = reference.softmax(np.column_stack([np.zeros(len(y)), x @ table.params.T]))
    g = ((a - reference.one_hot(y, 3))[:, 1:, None] * x[:, None, :]).reshape(len(y), -1) * s[:, None]
    curvature = np.zeros((6, 6))
    for i in range(len(y)):
        curvature += s[i] * np.kron((np.diag(a[i]) - np.outer(a[i], a[i]))[1:, 1:], np.outer(x[i], x[i]))
    bread = np.linalg.inv(curvature)
    expected = bread @ (g.T @ g) @ bread
    assert np.abs(table.covariance - expected).max() <= 1e-9 * np.abs(expected).max()
    with pytest.raises(nbs.InputValueError, match=r'use cov="sandwich"'):
        result.inference()


def test_blocks_of_rows_change_nothing(monkeypatch):
    X, y = blobs()
    result = nbs.Trainer().fit(X, y)
    whole, points = result.inference(cov="sandwich"), X[:50]
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)  # 16 rows
    blocks = result.inference(cov="sandwich")
    assert relative(blocks.standard_errors, whole.standard_errors) <= 1e-12
    assert relative(blocks.predict_interval(points).low, whole.predict_interval(points).low) <= 1e-12


def test_a_fit_within_its_default_tol_gives_the_table_of_a_tight_one():
    X, y = blobs(3000)
    loose, tight = (nbs.Trainer(tol=tol).fit(X, y) for tol in (1e-3, 1e-12))
    assert relative(loose.model.coef, tight.model.coef) > 1e-6
    assert relative(loose.inference().params, tight.inference().params) <= 1e-9


def test_shares_of_classes_with_counts_equal_the_samples_counted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    counts = rng.integers(0, 9, (40, 3)) + 1
    grouped = nbs.Trainer().fit(X, counts / counts.sum(axis=1, keepdims=True), sample_weight=counts.sum(axis=1))
    y = np.tile(np.arange(3), 40)
    single = nbs.Trainer().fit(np.repeat(X, 3, axis=0), y, sample_weight=counts.ravel())
    assert relative(grouped.inference().standard_errors, single.inference().standard_errors) <= 1e-9
    assert (
        relative(grouped.inference().likelihood_ratio.statistic, single.inference().likelihood_ratio.statistic) <= 1e-9
    )


def test_without_an_intercept_a_column_of_ones_takes_its_place():
    X, y = blobs()
    ones = np.column_stack([X, np.ones(len(y))])
    plain = nbs.Trainer().fit(X, y).inference()
    by_hand = nbs.Trainer(fit_intercept=False).fit(ones, y).inference()
    assert plain.names == ("x0", "x1", "const")
    assert by_hand.names == ("x0", "x1", "x2")
    assert relative(by_hand.params, plain.params) <= 1e-9
    assert relative(by_hand.covariance, plain.covariance) <= 1e-8
    assert relative(by_hand.log_likelihood_null, -400 * np.log(3)) <= 1e-12
    assert by_hand.likelihood_ratio.df == 6


def test_float32_samples_give_the_numbers_to_their_precision():
    X, y = blobs()
    narrow = nbs.Trainer().fit(X.astype(np.float32), y).inference()
    wide = nbs.Trainer().fit(X.astype(np.float32).astype(float), y).inference()
    assert relative(narrow.standard_errors, wide.standard_errors) <= 1e-5
    assert np.abs(narrow.z - wide.z).max() <= 1e-4


@pytest.mark.parametrize("mean", [30, 100, 1000])
@pytest.mark.parametrize("cov", ["fisher", "sandwich"])
def test_standard_errors_of_float32_columns_far_from_0_have_their_digits(mean, cov):
    X, y = blobs()
    X = (X + mean).astype(np.float32)
    narrow = nbs.Trainer().fit(X, y).inference(cov=cov)  # in products of float32: 0.4 % off, or refused
    wide = nbs.Trainer().fit(X.astype(float), y).inference(cov=cov)
    assert relative(narrow.standard_errors, wide.standard_errors) <= 1e-6


def test_columns_very_far_from_0_are_not_taken_for_separable_classes():
    X, y = blobs(3000)
    near, far = (nbs.Trainer().fit(x, y).inference() for x in (X, X + 1e5))
    assert relative(far.params[:, :2], near.params[:, :2]) <= 1e-6
    assert relative(far.standard_errors[:, :2], near.standard_errors[:, :2]) <= 1e-4


# --- tests and intervals ------------------------------------------------------------------------


def test_wald_and_likelihood_ratio_of_a_feature_agree_with_statsmodels():
    X, y = anes96()
    full, fewer = nbs.Trainer().fit(X, y).inference(), nbs.Trainer().fit(X.drop(columns=["age"]), y).inference()
    expected = 2 * (theirs(X, y).llf - theirs(X.drop(columns=["age"]), y).llf)
    ratio = full.likelihood_ratio_test(fewer)
    assert ratio.df == 6
    assert relative(ratio.statistic, expected) <= TOLERANCE
    mnlogit = theirs(X, y)
    chosen = np.zeros((6, 36))  # their parameters: class after class, the constant first
    chosen[np.arange(6), 6 * np.arange(6) + 3] = 1
    theta = np.asarray(mnlogit.params).T.ravel()
    within = chosen @ np.asarray(mnlogit.cov_params()) @ chosen.T
    wald = full.wald_test("age")
    assert relative(wald.statistic, (chosen @ theta) @ np.linalg.solve(within, chosen @ theta)) <= TOLERANCE
    table = nbs.Trainer().fit(*spector()).inference()
    assert relative(table.wald_test("PSI").statistic, table.z[0, 2] ** 2) <= 1e-12
    assert relative(table.wald_test("PSI").p_value, table.p_values[0, 2]) <= 1e-9
    with pytest.raises(nbs.InputValueError, match=r"fewer columns .* call the test of the larger model"):
        fewer.likelihood_ratio_test(full)
    with pytest.raises(nbs.InputValueError, match="'wage' is not the name or number of one column"):
        full.wald_test("wage")


@pytest.mark.parametrize("cov", ["fisher", "sandwich"])
def test_intervals_hold_the_truth_as_often_as_they_say(cov):
    rng = np.random.default_rng(0)
    params = np.array([[0.0, 0.0, 0.0], [1.0, -0.5, 0.3], [-0.7, 0.4, 0.1]])
    point = np.array([[0.5, -0.4]])
    truth = reference.softmax(point @ params[:, :2].T + params[:, 2])
    inside, inside_proba, n = 0, 0, 300
    for _ in range(n):
        X = rng.normal(size=(500, 2))
        a = reference.softmax(X @ params[:, :2].T + params[:, 2])
        y = (a.cumsum(axis=1) < rng.uniform(size=(500, 1))).sum(axis=1)
        table = nbs.Trainer().fit(X, y).inference(cov=cov)
        interval, near = table.conf_int(0.9), table.predict_interval(point, level=0.9)
        inside += ((interval[..., 0] < params[1:]) & (params[1:] < interval[..., 1])).mean()
        inside_proba += ((near.low < truth) & (truth < near.high)).mean()
    # 300 draws of a share of 0.9: the standard error is at most 0.0173.
    assert abs(inside / n - 0.9) <= 3 * 0.0173
    assert abs(inside_proba / n - 0.9) <= 3 * 0.0173


def test_intervals_of_probabilities_are_the_delta_method_and_stay_between_0_and_1():
    X, y = blobs()
    table = nbs.Trainer().fit(X, y).inference(reference=1)
    at = X[:3]
    x = np.column_stack([at, np.ones(3)])

    def log_odds(theta):
        z = np.zeros((3, 3))
        z[:, [0, 2]] = x @ theta.reshape(2, 3).T
        a = reference.softmax(z)
        return np.log(a / (1 - a))

    theta, h = table.params.ravel(), 1e-6
    slope = np.array([(log_odds(theta + h * e) - log_odds(theta - h * e)) / (2 * h) for e in np.eye(6)])  # (6, 3, 3)
    error = np.sqrt(np.einsum("pik,pq,qik->ik", slope, table.covariance, slope))
    found = table.predict_interval(at, level=0.8)
    quantile = 1.2815515655446004
    assert np.abs(found.proba - table.model.predict_proba(at)).max() <= 1e-12
    assert np.abs(found.low - 1 / (1 + np.exp(quantile * error - log_odds(theta)))).max() <= 1e-7
    assert np.abs(found.high - 1 / (1 + np.exp(-quantile * error - log_odds(theta)))).max() <= 1e-7
    far = table.predict_interval(1e4 * at)
    assert np.isfinite([far.proba, far.low, far.high]).all()
    assert ((far.low >= 0) & (far.low <= far.proba) & (far.proba <= far.high) & (far.high <= 1)).all()


# --- the data of a result -----------------------------------------------------------------------


def test_a_pickled_result_leaves_the_data_behind_and_says_what_to_do():
    X, y = blobs(5000, n_features=20)
    result = nbs.Trainer().fit(X, y)
    stored = pickle.dumps(result)
    assert len(stored) < X.nbytes / 10
    again = pickle.loads(stored)
    assert again.objective == result.objective
    for lost in (again, copy.copy(result), copy.deepcopy(result)):
        with pytest.raises(nbs.InputValueError, match=r"does not contain the data; use nbsoftmax\.inference"):
            lost.inference()
    table = nbs.inference(again.model, X, y)
    assert np.array_equal(table.covariance, result.inference().covariance)
    assert "problem" not in repr(result)


def test_labels_weights_and_reference_reach_the_function_as_well():
    X, y = blobs()
    labels, weight = np.array(["c", "a", "b"])[y], np.linspace(1, 2, len(y))
    result = nbs.Trainer(fit_intercept=False).fit(X, labels, sample_weight=weight)
    of_result = result.inference(cov="sandwich", reference="b")
    options = {"sample_weight": weight, "fit_intercept": False, "cov": "sandwich", "reference": "b"}
    assert np.array_equal(nbs.inference(result.model, X, labels, **options).covariance, of_result.covariance)
    shuffled = nbs.SoftmaxModel(result.model.coef[[2, 0, 1]], np.zeros(3), result.model.classes[[2, 0, 1]])
    table = nbs.inference(shuffled, X, labels, **options)
    assert table.classes.tolist() == ["c", "a"]
    assert relative(table.params, of_result.params[::-1]) <= 1e-9


# --- what has no inference ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"l2": 0.01}, r"the penalty Ridge\(l2=0.01\)"),
        ({"penalty": nbs.Ridge(0.01, weights=[0, 1])}, "the penalty Ridge"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.1"),
    ],
)
def test_a_fit_pulled_towards_0_is_refused(options, what):
    X, y = blobs()
    with pytest.raises(nbs.InputValueError, match=f"the fit has {what}.*fit without it"):
        nbs.Trainer(**options).fit(X, y).inference()


def test_a_model_that_is_not_the_maximum_is_refused():
    X, y = blobs()
    penalised, other = nbs.Trainer(l2=0.5).fit(X, y).model, nbs.Trainer().fit(*blobs(seed=5)).model
    for model in (penalised, other):
        with pytest.raises(nbs.InputValueError, match="standard errors from the maximum"):
            nbs.inference(model, X, y)


def test_collinear_columns_are_named():
    X, y = blobs(n_features=4)
    X[:, 2] = 2 * X[:, 0] - X[:, 3] + 1  # with the intercept, four columns; the second takes no part
    names = ["a", "b", "c", "d"]
    with pytest.raises(nbs.InputValueError, match="the columns 'a', 'c', 'd', 'const' are collinear"):
        nbs.inference(nbs.SoftmaxModel(np.zeros((3, 4)), np.zeros(3), [0, 1, 2], names), X, y)
    X[:, 2] = 0
    with pytest.raises(nbs.InputValueError, match="the column 'c' is 0 in every row"):
        nbs.inference(nbs.SoftmaxModel(np.zeros((3, 4)), np.zeros(3), [0, 1, 2], names), X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_indicator_columns_beside_an_intercept_are_collinear(dtype):
    y = blobs()[1]
    X = np.eye(4)[np.random.default_rng(7).integers(0, 4, len(y))]
    model = nbs.Trainer().fit(X, y).model
    with pytest.raises(nbs.InputValueError, match="'x0', 'x1', 'x2', 'x3', 'const' are collinear"):
        nbs.inference(model, X.astype(dtype), y)


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")  # there is no minimum to converge to
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("separable", ["all of the class", "some of the class", "some of the others"])
def test_a_class_that_is_told_apart_without_error_is_named_with_its_column(tol, separable):
    X, y = blobs(n_features=3)
    if separable == "all of the class":
        X[:, 1] = np.where(y == 1, 1.0 + np.abs(X[:, 1]), -np.abs(X[:, 1]))
    else:  # an indicator that only these samples have
        X[:, 1] = ((y == 1) == (separable == "some of the class")) & (X[:, 1] > 1)
    said = r"all or some samples of class 1 are .*, or samples of these from it, mostly by .* 'x1':"
    with pytest.raises(nbs.InputValueError, match=said):
        nbs.Trainer(tol=tol).fit(X, y).inference()


def test_a_class_of_weight_0_is_named():
    X, y = blobs()
    model = nbs.Trainer().fit(X, y).model
    with pytest.raises(nbs.InputValueError, match="no sample of positive weight has the label 2"):
        nbs.inference(model, X, y, sample_weight=(y != 2).astype(float))
    with pytest.raises(nbs.InputValueError, match="only the label 1 has samples of positive weight"):
        nbs.inference(model, X, y, sample_weight=(y == 1).astype(float))


def test_levels_out_of_range_are_refused():
    table = nbs.Trainer().fit(*blobs()).inference()
    for level in (0.0, 1.0, 95):
        with pytest.raises(nbs.InputValueError, match="level is"):
            table.conf_int(level)
    assert np.isfinite(table.conf_int(np.nextafter(1, 0))).all()


@pytest.mark.parametrize("power", [-150, 2])
@pytest.mark.parametrize("cov", ["fisher", "sandwich"])
def test_weights_in_another_unit_scale_the_information_and_not_the_sandwich(cov, power):
    X, y = blobs()
    model = nbs.Trainer().fit(X, y).model
    X = X.astype(np.float32)
    s, unit = np.ones(len(y)), 2.0**power
    plain = nbs.inference(model, X, y, sample_weight=s, cov=cov)
    scaled = nbs.inference(model, X, y, sample_weight=s * unit, cov=cov)
    assert np.array_equal(scaled.params, plain.params)
    assert scaled.n_samples == plain.n_samples * unit
    assert scaled.log_likelihood == plain.log_likelihood * unit
    assert scaled.log_likelihood_null == plain.log_likelihood_null * unit
    assert np.array_equal(scaled.covariance * (unit if cov == "fisher" else 1), plain.covariance)
