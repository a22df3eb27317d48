"""The checks of scikit-learn for estimators."""

import inspect

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import nbsoftmax as nbs
from tests.estimators.problems import NO_STREAM

# One check compares predictions of two fits of one problem to seven digits, more than the default tolerance gives.
CHECKS = parametrize_with_checks([nbs.SoftmaxRegression(), nbs.SoftmaxRegressionCV(Cs=3, cv=3, tol=1e-9)])


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
