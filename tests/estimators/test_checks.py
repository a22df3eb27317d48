"""The checks of scikit-learn for estimators."""

import inspect

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import nbsoftmax as nbs
from tests.estimators.problems import NO_STREAM

# Some checks compare two fits of one problem to seven digits, more than the default tolerance gives: hence `tol`. With
# C = 1e4, which SoftmaxRegressionCV chooses there, it takes 1e-10 or less: with 1e-9 a probability of sparse data
# differed by 2e-9 (with the default, logits by 3e-7), as in SoftmaxRegression with this C.
SETTINGS = [
    nbs.SoftmaxRegression(),
    nbs.SoftmaxRegression(l1_ratio=1.0, tol=1e-9),
    nbs.SoftmaxRegression(l1_ratio=0.5, tol=1e-9, standardize=True),
    nbs.SoftmaxRegression(class_weight="balanced"),
    nbs.SoftmaxRegression(standardize=True),
    nbs.SoftmaxRegression(fit_intercept=False),
    nbs.SoftmaxRegression(label_smoothing=0.1),
    nbs.SoftmaxRegression(warm_start=True),
    nbs.SoftmaxRegression(max_iter=1),
    nbs.SoftmaxRegression(solver="newton"),
    nbs.SoftmaxRegression(solver="newton-cg"),
    nbs.SoftmaxRegression(solver="lbfgs", tol=1e-10),
    # A strong penalty: steps by the objective find coefficients to about sqrt(eps C) only, and the checks ask for 1e-7.
    nbs.SoftmaxRegression(0.01, solver="gd", tol=1e-11),
    nbs.SoftmaxRegression(solver="sgd"),
    nbs.SoftmaxRegressionCV(Cs=3, cv=3, tol=1e-11),
    nbs.SoftmaxRegressionCV(Cs=2, cv=2, scoring="accuracy", tol=1e-11),
    nbs.SoftmaxRegressionCV(Cs=[0.1, 1.0], cv=2, l1_ratios=(0.0, 0.5), class_weight="balanced", tol=1e-11),
    nbs.SoftmaxRegressionCV(Cs=2, cv=2, refit=False, tol=1e-11),
    nbs.SoftmaxRegressionCV(Cs=[0.1, 1.0], cv=2, refit="one-standard-error", standardize=True, tol=1e-12),
]


def known_to_fail(estimator):
    """Checks that `LogisticRegression` fails as well with these parameters."""
    if estimator.fit_intercept:
        return {}
    return {"check_class_weight_classifiers": "class weights have little effect without an intercept"}


CHECKS = parametrize_with_checks(SETTINGS, expected_failed_checks=known_to_fail)


# Two checks make separable data, whose intercepts run away or whose objective is 0: the warning that comes is right.
@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)  # older ones give pytest an iterator
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def checks_of_streams():
    """Those of scikit-learn's checks that call `partial_fit` where an estimator has it."""
    with_options = parametrize_with_checks([nbs.SoftmaxRegression(**options) for options, _ in NO_STREAM])
    for estimator, check in with_options.args[1]:
        if "partial_fit" in inspect.getsource(check.func):
            yield pytest.param(estimator, check, id=f"{estimator}-{check.func.__name__}")


@pytest.mark.parametrize(("estimator", "check"), list(checks_of_streams()))
def test_scikit_learns_checks_pass_where_there_is_no_partial_fit(estimator, check):
    check(estimator)
