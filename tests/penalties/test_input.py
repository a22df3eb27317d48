"""Penalties that are refused, and how a penalty is printed."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.penalties.kinds import OwnLasso, data


@pytest.mark.parametrize("where", [nbs.Trainer, lambda **o: nbs.Objective(*data(), **o)])
def test_a_penalty_is_given_once(where):
    for options in ({"l1": 0.1}, {"l2": 0.1}, {"grouped": True}):
        with pytest.raises(nbs.InputValueError, match=f"both penalty and {next(iter(options))} are given"):
            where(penalty=nbs.Ridge(0.1), **options)


@pytest.mark.parametrize("penalty", [0.1, "l2", nbs.Ridge, object()])
def test_what_is_no_penalty_is_refused(penalty):
    with pytest.raises(nbs.InputTypeError, match=r"expected nbs\.Ridge"):
        nbs.Trainer(penalty=penalty)


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [np.nan, 1.0], [[1.0]], ["a"], 3.0])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(nbs.InputValueError, match="weights are"):
        nbs.Ridge(0.1, weights)
    with pytest.raises(nbs.InputValueError, match="l2 is -1"):
        nbs.Ridge(-1.0)


def test_weights_of_another_number_of_features_are_refused():
    X, y = data()
    with pytest.raises(nbs.InputValueError, match="weights of 2 features, but X has 8"):
        nbs.Trainer(penalty=nbs.Ridge(0.1, [1, 1])).fit(X, y)


def test_solvers_and_derivatives_that_a_penalty_does_not_allow_are_refused():
    X, y = data()
    for penalty in (nbs.Lasso(0.1), OwnLasso(0.1)):
        with pytest.raises(nbs.InputValueError, match=r"solver 'lbfgs' cannot minimise the penalty (Own)?Lasso"):
            nbs.Trainer(penalty=penalty, solver="lbfgs")
        with pytest.raises(nbs.InputValueError, match="no gradient everywhere"):
            nbs.Objective(X, y, penalty=penalty).value_and_grad(np.zeros((3, 9)))
    with pytest.raises(nbs.InputValueError, match="there is no l1 penalty"):
        nbs.Trainer(penalty=nbs.Ridge(0.1), solver="prox-newton")


@pytest.mark.parametrize(
    ("method", "returned", "error"),
    [
        ("value", -1.0, nbs.InputValueError),
        ("value", np.nan, nbs.InputValueError),
        ("value", None, nbs.InputTypeError),
        ("value", np.ones(3), nbs.InputTypeError),
        ("value", "1", nbs.InputTypeError),
        ("prox", np.ones(8), nbs.InputValueError),
        ("prox", np.full((3, 8), np.nan), nbs.InputValueError),
        ("prox", np.ones((3, 8), complex), nbs.InputValueError),
        ("prox", None, nbs.InputValueError),
        ("conjugate", np.nan, nbs.InputValueError),
        ("conjugate", np.ones((3, 8)), nbs.InputTypeError),
    ],
)
def test_a_method_of_a_penalty_that_returns_what_it_must_not_is_named(method, returned, error):
    conjugate = {"conjugate": lambda self, slope: 0.0 if np.abs(slope).max() <= self.l1 else np.inf}
    own = type("Wrong", (OwnLasso,), conjugate | {method: lambda self, *arguments: returned})
    with pytest.raises(error, match=f"^{method} of the penalty Wrong returned .*; it must .*[.]$"):
        nbs.Trainer(penalty=own(0.1)).fit(*data())


def test_a_penalty_prints_as_it_was_made():
    assert repr(nbs.Ridge(0)) == "Ridge(l2=0)"
    assert repr(nbs.Lasso(0.1)) == "Lasso(l1=0.1)"
    assert repr(nbs.ElasticNet(0.1, 0.2, [1, 0])) == "ElasticNet(l1=0.1, l2=0.2, weights=[1.0, 0.0])"
