"""Bounds on the coefficients: a penalty that is infinite where a coefficient is outside of its interval.

    R(C) = the penalty without bounds  if  low_kj <= c_kj <= high_kj for all k, j;   otherwise inf

With t_j and d_j as in `feature`, everything is a sum over single coefficients, and a convex function of one variable
has its minimum over an interval at the point of the interval that is nearest to its minimum:

    prox_s(C)_kj = the prox without bounds, clipped to [low_kj, high_kj]
    R*(V)        = sum_kj v c - t_j |c| - d_j/2 c^2   at   c = sign(v) (|v| - t_j)_+ / d_j, clipped; if d_j = 0, c is an
                   end of the interval, which may be infinite, where |v| > t_j

N. Parikh, S. Boyd, "Proximal algorithms", Found. Trends Optim. 1 (2014), section 2.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.penalties.feature import FeaturePenalty, last_where
from nbsoftmax.penalties.general import GeneralPenalty
from nbsoftmax.validation import Float64s

ROUNDING = 4 * float(np.finfo(float).eps)


class BoundedPenalty(FeaturePenalty):
    """A ridge, lasso or elastic net whose coefficients are bounded.

    Attributes
    ----------
    low, high : ndarray
        A number, (n_features,) or (n_classes, n_features).
    """

    def __init__(self, base: FeaturePenalty, low: Float64s, high: Float64s) -> None:
        super().__init__(base.l1, base.l2, base.weights)
        self.base, self.scale, self.low, self.high = base, base.scale, low, high
        self._set_strengths()

    def __repr__(self) -> str:
        return f"{self.base!r} with bounds"

    @property
    def is_smooth(self) -> bool:
        """Never: R is infinite outside of the bounds."""
        return False

    @property
    def is_zero(self) -> bool:
        """Never."""
        return False

    @property
    def is_conic(self) -> bool:
        """Whether R is 0 for all multiples of coefficients for which it is 0."""
        ends = (np.isinf(end) | (end == 0) for end in (self.low, self.high))
        return self.base.is_zero and all(bool(end.all()) for end in ends)

    @property
    def is_finite(self) -> bool:
        """Whether all intervals are finite, so that the conjugate is finite everywhere."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    def allows(self, coef: Float64s) -> bool:
        """Whether all coefficients are within their bounds."""
        return bool(((coef >= self.low) & (coef <= self.high)).all())

    def feasible(self, coef: Float64s) -> Float64s:
        """The nearest coefficients within the bounds."""
        return np.asarray(np.clip(coef, self.low, self.high))

    def nonsmooth_value(self, coef: Float64s) -> float:
        """The l1 term; inf outside of the bounds."""
        return super().nonsmooth_value(coef) if self.allows(coef) else np.inf

    def nonsmooth_change(self, before: Float64s, after: Float64s) -> float:
        """The change of the l1 term; inf if `after` is outside of the bounds."""
        if not self.allows(after):
            return np.inf
        return super().nonsmooth_change(before, after) if self.l1 > 0 else 0.0

    def prox(self, coef: Float64s, step: float) -> Float64s:
        """The V that minimises 1/2 ||V - coef||^2 + step R(V)."""
        return self.feasible(super().prox(coef, step))

    def conjugate(self, slope: Float64s) -> float:
        """R*(slope), which may be inf."""
        c = self._maximiser(slope)
        with np.errstate(invalid="ignore"):
            terms = slope * c - self._l1s * np.abs(c) - self._l2s / 2 * c**2
        return float(np.where(np.isinf(c), np.inf, terms).sum())

    def _maximiser(self, slope: Float64s) -> Float64s:
        """The C that maximises slope . C - R(C)."""
        over = np.sign(slope) * np.maximum(np.abs(slope) - self._l1s, 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.feasible(np.where(over == 0, 0.0, over / self._l2s))

    def bound(self, gradient: Float64s) -> float:
        """inf: with bounds the gradient is not 0 at the minimum."""
        return np.inf

    def dual(self, entropy: float, slope: Float64s) -> float:
        """The largest theta entropy - R*(theta slope) for theta in [0, 1], a concave function of theta."""

        def increases(theta: float) -> bool:
            return entropy - float((slope * self._maximiser(theta * slope)).sum()) > 0

        with np.errstate(divide="ignore", invalid="ignore"):
            feasible = np.where(self._unbounded(slope), self._l1s / np.abs(slope), 1.0)
        high = float(feasible.min(initial=1.0))
        while high > 0 and self.conjugate(high * slope) == np.inf:  # by rounding errors
            high *= 1 - ROUNDING
        theta = high if increases(high) else last_where(increases, 0.0, high)
        return theta * entropy - self.conjugate(theta * slope)

    def _unbounded(self, slope: Float64s) -> NDArray[np.bool_]:
        """Where R* is infinite if |slope| > t_j: no ridge penalty, and no bound in the direction of the slope."""
        end = np.where(slope > 0, self.high, -self.low)
        unbounded: NDArray[np.bool_] = (slope != 0) & (end == np.inf) & (self._l2s == 0)
        return unbounded

    def unpenalised(self, n_features: int) -> NDArray[np.bool_]:
        """Which features have no penalty within the bounds, (n_features,)."""
        return self.base.unpenalised(n_features)

    def movable(self, coef: Float64s, gradient: Float64s) -> NDArray[np.bool_]:
        """Unpenalised coefficients that are not held at a bound by the gradient, (n_classes, n_features)."""
        held = ((coef <= self.low) & (gradient >= 0)) | ((coef >= self.high) & (gradient <= 0))
        held = (held | (self.low == self.high)) & ~self.shiftable(coef.shape[1])
        movable: NDArray[np.bool_] = self.unpenalised(coef.shape[1]) & ~held
        return movable

    def shiftable(self, n_features: int) -> NDArray[np.bool_]:
        """Features whose bounds hold nothing, (n_features,).

        They have no penalty, and a large enough shift of all classes, which changes no probability, meets the bounds.
        """
        up, down = (end if end.ndim < 2 else end.all(axis=0) for end in (self.high == np.inf, self.low == -np.inf))
        shiftable: NDArray[np.bool_] = self.unpenalised(n_features) & (up | down)
        return shiftable

    def restricted(self, features: NDArray[np.int64]) -> Self:
        """The same penalty and bounds on only these features."""
        low, high = (end if end.ndim == 0 else end[..., features] for end in (self.low, self.high))
        return type(self)(self.base.restricted(features), low, high)

    def with_scale(self, scale: Float64s) -> Self:
        """The same penalty of the coefficients times `scale`; the bounds are those of the coefficients."""
        return type(self)(self.base.with_scale(scale), self.low, self.high)

    def limits(self, shape: tuple[int, ...]) -> tuple[Float64s, ...]:
        """The lower and the upper bounds, each of this shape."""
        return tuple(np.array(np.broadcast_to(end, shape), np.float64, order="C") for end in (self.low, self.high))

    def _one_sided(self, coef: Float64s, gradient: Float64s) -> tuple[Float64s, Float64s]:
        """The derivatives of the objective to the left and to the right, without the bounds."""
        t = self._l1s
        return gradient + np.where(coef > 0, t, -t), gradient + np.where(coef >= 0, t, -t)

    def least_subgradient(self, coef: Float64s, gradient: Float64s) -> Float64s:
        """The subgradient of least norm: at a bound only what points into the interval."""
        left, right = self._one_sided(coef, gradient)
        least = np.where(right < 0, right, np.where(left > 0, left, 0.0))
        least = np.where(coef <= self.low, np.minimum(right, 0.0), least)
        least = np.where(coef >= self.high, np.maximum(left, 0.0), least)
        return np.where(self.low == self.high, 0.0, least)

    def kinks(self, coef: Float64s) -> NDArray[np.bool_]:
        """Coefficients at a bound, or at 0 with an l1 penalty."""
        kinks: NDArray[np.bool_] = ((coef == 0) & (self._l1s > 0)) | (coef <= self.low) | (coef >= self.high)
        return kinks

    def activity(self, coef: Float64s, gradient: Float64s) -> Float64s:
        """As without bounds, where `push` is the part of the gradient that a bound at 0 does not hold."""
        push = np.where(self.low < 0, np.maximum(gradient, 0.0), 0.0)
        push = np.where(self.high > 0, np.maximum(-gradient, push), push)
        with np.errstate(divide="ignore", invalid="ignore"):
            activity = np.where(push > 0, push / self._l1s, 0.0).max(axis=0)
        activity[np.any(coef != 0, axis=0)] = np.inf
        return np.asarray(activity)

    def fingerprint(self) -> tuple[Any, ...]:
        """Values that identify this penalty, for checkpoints."""
        return (*self.base.fingerprint(), "bounds", self.low, self.high)

    def check_shape(self, n_classes: int, n_features: int) -> None:
        """Raise an error if the weights or the bounds are for other numbers of classes or features."""
        super().check_shape(n_classes, n_features)
        for name, end in (("lower", self.low), ("upper", self.high)):
            if end.shape not in ((), (n_features,), (n_classes, n_features)):
                raise InputValueError(
                    f"the {name} bounds have shape {end.shape}, expected a number, ({n_features},) for the features, "
                    f"or ({n_classes}, {n_features}) for the classes and features.",
                    parameter="bounds",
                )


def bounded(penalty: FeaturePenalty | GeneralPenalty, bounds: Any) -> FeaturePenalty | GeneralPenalty:
    """The penalty with these bounds on the coefficients; the penalty itself if there are none.

    Raises
    ------
    InputValueError, InputTypeError
        If `bounds` is not a pair of lower and upper bounds, or the penalty does not allow bounds.
    """
    if bounds is None:
        return penalty
    low, high = limits_of(bounds)
    if (low == -np.inf).all() and (high == np.inf).all():
        return penalty
    if not isinstance(penalty, FeaturePenalty) or not penalty.by_weight:
        raise InputValueError(
            f"bounds are given, and the penalty is {plain(penalty)}, with which they cannot be combined; use l1 and l2 "
            "without grouped, or nbs.Ridge, nbs.Lasso or nbs.ElasticNet.",
            parameter="bounds",
        )
    return BoundedPenalty(penalty, low, high)


def limits_of(bounds: Any) -> tuple[Float64s, Float64s]:
    """Check bounds: the lower and the upper ones, each a number, (n_features,) or (n_classes, n_features)."""
    if isinstance(bounds, (str, bytes, dict, set)) or not hasattr(bounds, "__len__") or len(bounds) != 2:
        raise InputTypeError(
            f"bounds is {plain(bounds)}, expected a pair (low, high), such as (0, None) for no negative coefficients.",
            parameter="bounds",
        )
    low = _ends("lower", bounds[0], -np.inf)
    high = _ends("upper", bounds[1], np.inf)
    try:
        above = np.broadcast_to(low > high, np.broadcast_shapes(low.shape, high.shape))
    except ValueError:
        raise InputValueError(
            f"the lower bounds have shape {low.shape}, and the upper bounds {high.shape}; give numbers, (n_features,) "
            "or (n_classes, n_features).",
            parameter="bounds",
        ) from None
    if above.any():
        i = tuple(int(n) for n in np.argwhere(above)[0])
        one, other = (float(np.broadcast_to(end, above.shape)[i]) for end in (low, high))
        where = f" at {list(i)}" if i else ""
        raise InputValueError(
            f"the lower bound {one:g} is above the upper bound {other:g}{where}; give low <= high.", parameter="bounds"
        )
    return low, high


def _ends(name: str, given: Any, none: float) -> Float64s:
    """Lower or upper bounds as float64; `none` stands for no bound."""
    if given is None:
        return np.array(none)
    array = np.asarray(validation.as_array("bounds", given))
    if array.ndim > 2 or array.dtype.kind not in "biuf":
        raise InputValueError(
            f"the {name} bounds are {plain(given)}, expected a number, (n_features,) or (n_classes, n_features) "
            "numbers; None is no bound.",
            parameter="bounds",
        )
    ends = array.astype(np.float64)
    if np.isnan(ends).any() or (ends == -none).any():
        raise InputValueError(
            f"the {name} bounds contain {'nan' if np.isnan(ends).any() else f'{-none:g}'}; expected finite numbers, or "
            f"{none:g} for no bound.",
            parameter="bounds",
        )
    ends.flags.writeable = False
    return ends
