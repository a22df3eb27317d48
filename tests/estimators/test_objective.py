"""`SoftmaxRegression` minimises what `LogisticRegression` minimises."""

import numpy as np
import pytest
import sklearn
from scipy.special import xlogy
from sklearn.linear_model import LogisticRegression
from sklearn.utils.fixes import parse_version

import nbsoftmax as nbs
from nbsoftmax.models.sklearn_parameters import one_row, two_rows
from tests import reference
from tests.estimators.problems import objective, problem


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Line search failed")
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
@pytest.mark.parametrize("n_classes", [2, None])
@pytest.mark.parametrize("name", ["dna", "letterrecognition", "satellite"])
def test_the_objective_is_no_worse_than_that_of_logistic_regression_on_real_data(shared_data, name, n_classes, solver):
    X, y = shared_data(name)
    rows = np.flatnonzero(y < (n_classes or y.max() + 1))
    rows = rows[:: max(1, rows.size // 400)]
    X, y = X[rows].astype(np.float64), y[rows]
    ours = nbs.SoftmaxRegression(tol=1e-10).fit(X, y)
    theirs = LogisticRegression(tol=1e-10, solver=solver, max_iter=500).fit(X, y)
    # Ours promises to be within tol of the minimum, relative to it, and theirs is not below the minimum.
    assert ours.converged_
    assert objective(ours, X, y) <= objective(theirs, X, y) * (1 + 1e-10)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0, np.inf])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_coefficients_are_those_of_logistic_regression(n_classes, C, fit_intercept):
    X, y = problem(n_classes)
    s = np.random.default_rng(1).uniform(0.5, 2.0, y.size)
    ours = nbs.SoftmaxRegression(C, fit_intercept=fit_intercept, class_weight={"ash": 3.0}, tol=1e-14)
    theirs = LogisticRegression(
        C=C, fit_intercept=fit_intercept, class_weight={"ash": 3.0}, tol=1e-12, solver="newton-cholesky"
    )
    ours.fit(X, y, sample_weight=s)
    theirs.fit(X, y, sample_weight=s)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    # A share d of the objective above the minimum is a distance of about sqrt(d) in the parameters: 1e-7 here.
    weights = [ours.coef_ - ours.coef_.mean(axis=0), theirs.coef_ - theirs.coef_.mean(axis=0)]
    if n_classes == 2:
        weights = [ours.coef_, theirs.coef_]
    np.testing.assert_allclose(*weights, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.decision_function(X).shape, theirs.decision_function(X).shape)
    assert (ours.predict(X) == theirs.predict(X)).all()
    assert ours.predict(X).dtype == theirs.predict(X).dtype


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_a_share_of_l1_means_what_it_means_to_logistic_regression(n_classes, l1_ratio):
    X, y = problem(n_classes)
    ours = nbs.SoftmaxRegression(0.1, l1_ratio=l1_ratio, tol=1e-10).fit(X, y)  # rounding errors end fits at 1e-11
    theirs = saga(l1_ratio).fit(X, y)
    assert objective(ours, X, y, 0.1, l1_ratio) <= objective(theirs, X, y, 0.1, l1_ratio) * (1 + 1e-10)
    # As above: the distance of the coefficients is about the root of that of the objectives, 1e-10 for "saga".
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    assert np.array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    assert l1_ratio < 1 or (ours.coef_ == 0).any()


def saga(l1_ratio):
    options = {"C": 0.1, "l1_ratio": l1_ratio, "solver": "saga", "tol": 1e-10, "max_iter": 100_000, "random_state": 0}
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        options["penalty"] = "elasticnet"
    return LogisticRegression(**options)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
def test_the_penalty_of_one_row_is_that_of_the_cheapest_two_rows(l1_ratio):
    X, y = problem(2, m=60)
    rng = np.random.default_rng(2)
    C, coef, intercept = 0.7, rng.normal(size=(1, 5)), rng.normal(size=1)
    estimator = nbs.SoftmaxRegression(C, l1_ratio=l1_ratio)
    l1, l2 = estimator._penalties(float(y.size), 2)
    two = reference.Objective(X, np.searchsorted(["ash", "beech"], y), 2, l1=l1, l2=l2)
    best = two.value_and_grad(np.column_stack(two_rows(coef, intercept)))[0]
    estimator.coef_, estimator.intercept_, estimator.classes_ = coef, intercept, np.array(["ash", "beech"])
    np.testing.assert_allclose(best, objective(estimator, X, y, C, l1_ratio) / y.size, rtol=1e-14)
    shifts = rng.normal(size=(20, 5))  # the same difference, another pair
    others = [two.value_and_grad(np.column_stack(two_rows(coef, intercept)) + np.append(v, 0.0))[0] for v in shifts]
    assert min(others) >= best * (1 - 1e-14)
    np.testing.assert_array_equal(one_row(*two_rows(coef, intercept))[0], coef)


def test_balanced_classes_count_weights_of_samples():
    X, y = problem(3)
    s = np.where(y == "ash", 4.0, 1.0)
    balanced = nbs.SoftmaxRegression(class_weight="balanced", tol=1e-14).fit(X, y, s)
    share = {label: s.sum() / (3 * s[y == label].sum()) for label in balanced.classes_}
    explicit = nbs.SoftmaxRegression(class_weight=share, tol=1e-14).fit(X, y, s)
    np.testing.assert_allclose(balanced.coef_, explicit.coef_, rtol=1e-12)


def test_label_smoothing_is_that_of_cross_entropy():
    X, y = problem(3)
    fitted = nbs.SoftmaxRegression(C=np.inf, label_smoothing=0.1, tol=1e-14).fit(X, y)
    loss = nbs.cross_entropy(fitted.decision_function(X), np.searchsorted(fitted.classes_, y), label_smoothing=0.1)
    np.testing.assert_allclose(fitted.history_["objective"][-1], loss, rtol=1e-13)
    # The least that smoothed targets allow is their entropy.
    target = np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    assert loss > -xlogy(target, target).sum()
