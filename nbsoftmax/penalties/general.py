"""Penalties of the user: the methods that such a class needs, and those that solvers use, derived from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.penalties.feature import BISECTIONS, Ridge, last_where
from nbsoftmax.validation import Float64s

MOST_STEPS, STEP_TOL = 2000, 1e-16  # of proximal gradient steps; the last squared step, relative to the first


class Penalty(Protocol):
    """The protocol of a penalty of your own, for `Trainer(penalty=)` and `Objective(penalty=)`.

    R is convex and not negative; `coef` is float64 (n_classes, n_features), a copy. The solver is
    "prox-newton". It takes proximal gradient steps on its quadratic model, by a Gram matrix of all features, or by X
    itself if X is sparse and has fewer numbers. It is fastest if all features have about the same scale. The method

        conjugate(slope) -> float        R*(slope) = max_C slope . C - R(C), or inf

    is optional. With it, `result.gap` is a proven bound, the duality gap. Without it, `result.gap` is an estimate: the
    decrease that the quadratic model of the objective predicts.
    """

    def value(self, coef: Float64s) -> float:
        """R(coef)."""
        ...

    def prox(self, coef: Float64s, step: float) -> Float64s:
        """The V that minimises 1/2 ||V - coef||^2 + step R(V), float64 of the shape of `coef`."""
        ...


class GeneralPenalty:
    """A user's penalty with the interface that the solvers use, that of `FeaturePenalty`.

    It needs only `value`, `prox` and, if there is one, `conjugate`. The smooth part is 0.
    """

    by_feature = False
    is_smooth = False
    is_zero = False
    is_conic = False
    is_finite = False
    curvature = 0.0

    def __init__(self, penalty: Penalty) -> None:
        self.penalty = penalty
        self.has_dual = callable(getattr(penalty, "conjugate", None))

    def __repr__(self) -> str:
        own = type(self.penalty)
        return own.__name__ if own.__repr__ is object.__repr__ else repr(self.penalty)  # without an address in memory

    def value(self, coef: Float64s) -> float:
        """R(coef)."""
        value = self._number("value", self.penalty.value(coef.copy()))  # a copy, which the user's method may change
        if not value >= 0:
            raise InputValueError(
                f"value of the penalty {plain(self)} returned {value:g}; it must be at least 0, or inf."
            )
        return value

    nonsmooth_value = value

    def add_gradient(self, coef: Float64s, to: Float64s, *, times: float = 1.0) -> None:
        """Add the gradient of the smooth part, which is 0, to an array."""

    def prox(self, coef: Float64s, step: float) -> Float64s:
        """The V that minimises 1/2 ||V - coef||^2 + step R(V)."""
        result = np.asarray(self.penalty.prox(coef.copy(), step))
        if result.dtype.kind not in "biuf" or result.shape != coef.shape:
            raise InputValueError(
                f"prox of the penalty {plain(self)} returned shape {result.shape}, dtype {result.dtype}, for coef of "
                f"shape {coef.shape}; it must return an array of real numbers of the same shape."
            )
        if not np.isfinite(result).all() and np.isfinite(coef).all():
            raise InputValueError(
                f"prox of the penalty {plain(self)} returned NaN or inf; it must return finite numbers."
            )
        return result.astype(np.float64, copy=False)

    def conjugate(self, slope: Float64s) -> float:
        """R*(slope); inf if it is not known, which leads to no bound."""
        if not self.has_dual:
            return np.inf
        value = self._number("conjugate", self.penalty.conjugate(slope.copy()))  # type: ignore[attr-defined]
        if np.isnan(value):
            raise InputValueError(
                f"conjugate of the penalty {plain(self)} returned nan; it must return a number, or inf."
            )
        return value

    def _number(self, method: str, value: Any) -> float:
        if np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "biuf":
            raise InputTypeError(
                f"{method} of the penalty {plain(self)} returned {plain(value)}; it must return a number."
            )
        return float(value)

    def bound(self, gradient: Float64s) -> float:
        """inf: R need not be strongly convex."""
        return np.inf

    def dual(self, entropy: float, slope: Float64s) -> float:
        """The largest theta entropy - R*(theta slope) for theta in [0, 1]; -inf without a conjugate."""
        if not self.has_dual:
            return -np.inf

        def value(theta: float) -> float:
            return theta * entropy - self.conjugate(theta * slope)

        def is_feasible(theta: float) -> bool:
            return value(theta) > -np.inf

        low, high = 0.0, 1.0 if is_feasible(1.0) else last_where(is_feasible, 0.0, 1.0)
        best = max(value(0.0), value(high))
        for _ in range(BISECTIONS):  # ternary search for the maximum of a concave function
            one, two = low + (high - low) / 3, high - (high - low) / 3
            at_one, at_two = value(one), value(two)
            best = max(best, at_one, at_two)
            low, high = (low, two) if at_one >= at_two else (one, high)
        return best

    def movable(self, coef: Float64s, gradient: Float64s) -> NDArray[np.bool_]:
        """No feature is known to be unpenalised."""
        return np.zeros(coef.shape[1], bool)

    def allows(self, coef: Float64s) -> bool:
        """Whether R(coef) is finite."""
        return self.value(coef) < np.inf

    def feasible(self, coef: Float64s) -> Float64s:
        """The same coefficients, or others near them where R is finite."""
        return coef if self.allows(coef) else self.prox(coef, 1.0)

    def smooth_part(self) -> Ridge:
        """There is no smooth part: a penalty of strength 0."""
        return Ridge(0.0)

    def restricted(self, features: NDArray[np.int64]) -> Self:
        """The same penalty: all features always take part."""
        return self

    def nonsmooth_change(self, before: Float64s, after: Float64s) -> float:
        """The change of R."""
        return self.value(after) - self.value(before)

    def least_subgradient(self, coef: Float64s, gradient: Float64s) -> Float64s:
        """Instead of it, the proximal gradient mapping with step 1, which is also 0 only at a minimum."""
        return coef - self.prox(coef - gradient, 1.0)

    def kinks(self, coef: Float64s) -> NDArray[np.bool_]:
        """All coefficients: where R has a derivative is not known."""
        return np.ones(coef.shape, bool)

    def activity(self, coef: Float64s, gradient: Float64s) -> Float64s:
        """inf: all features take part."""
        return np.full(gradient.shape[1], np.inf)

    def minimise_model(
        self, grams: Float64s, factor: float, damping: Float64s, residual: Float64s, coef: Float64s
    ) -> None:
        """Minimise the quadratic of `kernels.coordinate`, with l2 = `damping`, plus R, by proximal gradient steps."""
        # The largest eigenvalue is at most the Frobenius norm, and at most the largest sum of a row's absolute values.
        frobenius, rows = np.linalg.norm(grams, axis=(1, 2)), np.abs(grams).sum(axis=2).max(axis=1, initial=0.0)
        largest = factor * float(np.minimum(frobenius, rows).max()) + float(damping.max(initial=0.0))

        def product(p: Float64s) -> Float64s:
            return factor * (grams @ p[:, :, None])[:, :, 0] + damping * p

        self.minimise_by_products(product, largest, residual, coef)

    def minimise_by_products(
        self, product: Callable[[Float64s], Float64s], largest: float, residual: Float64s, coef: Float64s
    ) -> None:
        """As `minimise_model`, for a matrix that is known by its products and a bound on its largest eigenvalue.

        Accelerated proximal gradient steps with restarts: A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2 (2009);
        B. O'Donoghue, E. Candes, "Adaptive restart for accelerated gradient schemes", Found. Comput. Math. 15 (2015).
        """
        start, slope = coef.copy(), residual.copy()
        step = 1 / largest if largest > 0 else 1.0
        ahead, age, first = start, 1.0, 0.0
        for n in range(MOST_STEPS):
            gradient = slope + product(ahead - start)
            new = self.prox(ahead - step * gradient, step)
            move, stride = new - coef, new - ahead
            if np.vdot(stride, move) < 0:  # the last extrapolation went too far
                age = 1.0
            older = (1 + np.sqrt(1 + 4 * age**2)) / 2
            ahead, age = new + (age - 1) / older * move, older
            coef[:] = new
            square = float(np.vdot(stride, stride))
            first = square if n == 0 else first
            if not square > STEP_TOL * first:
                break
        residual[:] = slope + product(coef - start)

    def fingerprint(self) -> tuple[Any, ...]:
        """The name of the class and its attributes."""
        attributes = getattr(self.penalty, "__dict__", {})
        return (type(self.penalty).__qualname__, *(part for item in sorted(attributes.items()) for part in item))

    def check_shape(self, n_classes: int, n_features: int) -> None:
        """Accept any numbers of classes and features."""
