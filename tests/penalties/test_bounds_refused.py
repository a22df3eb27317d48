"""Bounds that are refused, and what cannot be combined with bounds."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.penalties.kinds import data

K, N = 3, 8


REFUSED = {
    "above": ((1.0, 0.0), "lower bound 1 is above the upper bound 0; give low <= high"),
    "one above": (([0.0, 2.0], 1.0), r"lower bound 2 is above the upper bound 1 at \[1\]"),
    "nan": ((np.nan, 1.0), "lower bounds contain nan"),
    "an array with nan": ((0.0, [1.0, np.nan]), "upper bounds contain nan"),
    "inf below": ((np.inf, None), "lower bounds contain inf; expected finite numbers, or -inf"),
    "-inf above": ((None, -np.inf), "upper bounds contain -inf; expected finite numbers, or inf"),
    "text": (("a", 1.0), "lower bounds are 'a'"),
    "three dimensions": ((np.zeros((1, 1, 1)), None), "lower bounds are"),
    "other shapes": (([0.0, 1.0], [0.0, 1.0, 2.0]), "expected|have shape"),
    "one number": (0.0, "expected a pair"),
    "three": ((0, 1, 2), "expected a pair"),
    "a text": ("01", "expected a pair"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_are_no_bounds_is_refused(case):
    bounds, message = REFUSED[case]
    for make in (nbs.Trainer, lambda **o: nbs.Objective(*data(), **o)):
        with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
            make(l2=0.1, bounds=bounds)


def test_bounds_that_do_not_fit_are_refused():
    X, y = data()
    for shape in ((3,), (2, N), (N, K), (1, N), (K, 1)):
        with pytest.raises(nbs.InputValueError, match=r"lower bounds have shape .*, expected a number, \(8,\)"):
            nbs.Trainer(l2=0.1, bounds=(np.zeros(shape), None)).fit(X, y)
    with pytest.raises(nbs.InputValueError, match=r"upper bounds have shape \(3,\), expected a number"):
        nbs.Trainer(l2=0.1, bounds=(None, np.ones(3))).fit(X, y)


class Own:
    def value(self, coef):
        return 0.0

    def prox(self, coef, step):
        return coef


def test_what_cannot_be_combined_with_bounds_is_refused():
    for options in ({"l1": 0.1, "grouped": True}, {"penalty": nbs.GroupLasso(0.1)}, {"penalty": Own()}):
        with pytest.raises(nbs.InputValueError, match="bounds are given, and the penalty is"):
            nbs.Trainer(**options, bounds=(0, 1))
    for solver in ("newton-cg", "newton", "lbfgs", "gd", "sgd"):
        with pytest.raises(nbs.InputValueError, match=f"bounds are given, which solver '{solver}' cannot keep"):
            nbs.Trainer(l2=0.1, solver=solver, bounds=(0, 1))
    X, y = data()
    with pytest.raises(nbs.InputValueError, match='partial_fit needs solver="sgd"'):
        nbs.Trainer(l2=0.1, bounds=(0, 1)).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(nbs.InputValueError, match="the fit has bounds, which hold some of its coefficients"):
        nbs.Trainer(bounds=(0, 1)).fit(X, y).inference()
    with pytest.raises(nbs.InputValueError, match="no gradient everywhere"):
        nbs.Objective(X, y, l2=0.1, bounds=(0, 1)).value_and_grad(np.zeros((K, N + 1)))
