"""Penalties on the weights of a model.

`feature` has ridge, lasso, elastic net and group lasso, with a weight for each feature. `bounded` adds bounds on the
coefficients. `firth` has the name of Firth's penalty, which `firth_loss` computes. `general` has the protocol of a
user's own penalty, and its adapter for the solvers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.penalties.bounded import BoundedPenalty as BoundedPenalty
from nbsoftmax.penalties.bounded import bounded
from nbsoftmax.penalties.bounded import limits_of as limits_of
from nbsoftmax.penalties.feature import ElasticNet as ElasticNet
from nbsoftmax.penalties.feature import FeaturePenalty as FeaturePenalty
from nbsoftmax.penalties.feature import Lasso as Lasso
from nbsoftmax.penalties.feature import Ridge as Ridge
from nbsoftmax.penalties.feature import feature_weights
from nbsoftmax.penalties.firth import Firth as Firth
from nbsoftmax.penalties.general import GeneralPenalty as GeneralPenalty
from nbsoftmax.penalties.general import Penalty as Penalty
from nbsoftmax.penalties.group_lasso import GroupLasso as GroupLasso
from nbsoftmax.validation import Float64s

AnyPenalty = FeaturePenalty | GeneralPenalty


def penalty_of(
    penalty: Any, l1: float, l2: float, *, grouped: bool, weight: ArrayLike | None, bounds: Any
) -> AnyPenalty:
    """The given penalty, or that of the options `l1`, `l2`, `grouped` and `penalty_weight`, with the bounds."""
    unbounded = _unbounded(penalty, l1, l2, grouped, weight)
    if isinstance(unbounded, Firth) and bounds is not None:
        raise InputValueError(
            "penalty is 'firth' and bounds are given, which are not supported together; leave one of them out.",
            parameter="bounds",
        )
    return bounded(unbounded, bounds)


def _unbounded(penalty: Any, l1: float, l2: float, grouped: bool, weight: ArrayLike | None) -> AnyPenalty:
    strengths = _from_strengths(l1, l2, grouped, None if weight is None else feature_weights("penalty_weight", weight))
    if penalty is None:
        return strengths
    given = {"l1": l1, "l2": l2, "grouped": grouped, "penalty_weight": weight}
    for name, value in given.items():
        if value if name != "penalty_weight" else value is not None:
            raise InputValueError(
                f"both penalty and {name} are given ({plain(penalty)} and {plain(value)}); give one of them, as in "
                "penalty=nbs.ElasticNet(l1, l2, weights)."
            )
    return as_penalty(penalty)


def _from_strengths(l1: float, l2: float, grouped: bool, weights: ArrayLike | None) -> FeaturePenalty:
    if validation.flag("grouped", grouped):
        return GroupLasso(l1, l2, weights)
    if validation.number("l1", l1, low=0.0) == 0:
        return Ridge(l2, weights)
    l2 = validation.number("l2", l2, low=0.0)
    return ElasticNet(l1, l2, weights) if l2 > 0 else Lasso(l1, weights)


def as_penalty(penalty: Any) -> AnyPenalty:
    """The given penalty, with the interface that the solvers use."""
    if isinstance(penalty, str) and penalty == "firth":
        return Firth()
    if isinstance(penalty, FeaturePenalty | GeneralPenalty):
        return penalty
    if isinstance(penalty, type) or not all(callable(getattr(penalty, name, None)) for name in ("value", "prox")):
        raise InputTypeError(
            f"penalty is {plain(penalty)}, expected nbs.Ridge(l2), nbs.Lasso(l1), nbs.ElasticNet(l1, l2), "
            "nbs.GroupLasso(l1), 'firth', or an object with the methods value(coef) and prox(coef, step)."
        )
    return GeneralPenalty(penalty)


def curvature_of_columns(penalty: AnyPenalty, n_columns: int) -> Float64s:
    """The second derivative of the smooth part for each column of the parameters: 0 for the last, the intercept."""
    curvature = np.zeros(n_columns)
    curvature[:-1] = penalty.curvature
    return curvature
