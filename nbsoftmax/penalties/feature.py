"""Penalties R(C) on the weights of a model: ridge, lasso, elastic net and group lasso, each with a weight per feature.

    Ridge        sum_j w_j l2/2 ||C_:j||_2^2
    Lasso        sum_j w_j l1 ||C_:j||_1
    ElasticNet   sum_j w_j (l1 ||C_:j||_1 + l2/2 ||C_:j||_2^2)
    GroupLasso   sum_j w_j (l1 ||C_:j||_2 + l2/2 ||C_:j||_2^2)

C is (n_classes, n_features), without the intercepts, and C_:j holds the weights of feature j over the classes. With
t_j = l1 w_j, d_j = l2 w_j and the norm ||.||, which is |.| or, for GroupLasso, that of a column:

    prox_s(C)  = argmin_V 1/2 ||V - C||_2^2 + s R(V)  =  C / ||C|| (||C|| - s t_j)_+ / (1 + s d_j)
    R*(V)      = max_C V . C - R(C)                   =  sum (||V|| - t_j)_+^2 / (2 d_j);  if d_j = 0, 0 or inf

N. Parikh, S. Boyd, "Proximal algorithms", Found. Trends Optim. 1 (2014), sections 2 and 6.5; M. Yuan, Y. Lin, "Model
selection and estimation in regression with grouped variables", JRSS B 68 (2006). The weights are those of glmnet's
`penalty.factor` (J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33, 2010), but glmnet rescales them to a mean
of 1; here they are not rescaled.

With a scale c_j for each feature, the penalty is R(C diag(c)): that of the coefficients of the features divided by c_j.
Then t_j = l1 w_j c_j and d_j = l2 w_j c_j^2.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, counted, plain
from nbsoftmax.in_cache import blocks_in_cache
from nbsoftmax.validation import Float64s

LONG = 2**16  # numbers of an array, of which copies take time
BISECTIONS = 60  # for the scale of a dual point, between 0 and 1


class FeaturePenalty:
    """sum_j w_j (l1 ||C_:j|| + l2/2 ||C_:j||_2^2): the common part of `Ridge`, `Lasso`, `ElasticNet` and `GroupLasso`.

    Attributes
    ----------
    l1, l2 : float
    weights : ndarray (n_features,) or None
        w; None if all are 1.
    scale : ndarray (n_features,) or None
        c; None if all are 1.
    """

    by_feature = True  # features at 0 can be left out of a step
    has_dual = True  # the conjugate is known
    by_weight = True  # it is a sum over single weights
    _strengths: tuple[str, ...] = ("l1", "l2")  # arguments of the class

    def __init__(self, l1: float, l2: float, weights: ArrayLike | None) -> None:
        self.l1 = validation.number("l1", l1, low=0.0)
        self.l2 = validation.number("l2", l2, low=0.0)
        self.weights: Float64s | None = None if weights is None else feature_weights("weights", weights)
        self.scale: Float64s | None = None
        self._set_strengths()

    def _set_strengths(self) -> None:
        """Set t_j and d_j: a number if it is the same for all features, otherwise (n_features,)."""
        self._l1s: Any = self._scaled(self._weighted(self.l1))
        self._l2s: Any = self._scaled(self._scaled(self._weighted(self.l2)))

    def __repr__(self) -> str:
        strengths = [f"{name}={getattr(self, name):g}" for name in self._strengths]
        given = [] if self.weights is None else [f"weights={plain(self.weights.tolist())}"]
        shown = f"{type(self).__name__}({', '.join(strengths + given)})"
        return shown if self.scale is None else f"{shown} of standardized features"

    # --- the penalty itself ---------------------------------------------------------------------------

    def norms(self, coef: Float64s) -> Float64s:
        """||C||: the absolute value of each coefficient, or the norm of each column if they are grouped."""
        return np.asarray(np.abs(coef))

    def value(self, coef: Float64s) -> float:
        """R(coef)."""
        # A term of strength 0 is not computed: its sum may overflow, and 0 * inf is NaN.
        ridge = 0.5 * self.l2 * _sum_of_squares(self._scaled(coef), self.weights) if self.l2 > 0 else 0.0
        return ridge + self.nonsmooth_value(coef)

    def nonsmooth_value(self, coef: Float64s) -> float:
        """The l1 term of R."""
        return self.l1 * float(self._weighted(self.norms(self._scaled(coef))).sum()) if self.l1 > 0 else 0.0

    def add_gradient(self, coef: Float64s, to: Float64s, *, times: float = 1.0) -> None:
        """Add the gradient of the smooth part, d_j C_:j, or so many times it, to an array."""
        strengths = times * self._l2s
        for block in blocks_in_cache(coef.shape):
            to[block] += (strengths if isinstance(strengths, float) else strengths[block[1]]) * coef[block]

    def prox(self, coef: Float64s, step: float) -> Float64s:
        """The V that minimises 1/2 ||V - coef||^2 + step R(V)."""
        norms = self.norms(coef)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            kept = np.where(norms > step * self._l1s, 1 - step * self._l1s / norms, 0.0)
        return np.asarray(kept * coef / (1 + step * self._l2s))

    def conjugate(self, slope: Float64s) -> float:
        """R*(slope) = max_C slope . C - R(C), which may be inf."""
        over = np.maximum(self.norms(slope) - self._l1s, 0)
        with np.errstate(divide="ignore", over="ignore"):
            return float(np.divide(over**2, 2 * self._l2s, out=np.zeros_like(over), where=over > 0).sum())

    # --- bounds on the distance to the minimum -------------------------------------------------------

    def bound(self, gradient: Float64s) -> float:
        """J - J* <= sum_j ||g_:j||^2 / (2 d_j) for J = a convex function + R without l1, and its gradient g."""
        if isinstance(self._l2s, float):
            return _square(gradient) / (2 * self.l2) if self.l2 > 0 else np.inf
        free = self._l2s == 0
        if gradient[:, free].any():
            return np.inf
        divisor = np.where(free, 1.0, 2 * self._l2s)
        blocks = blocks_in_cache(gradient.shape)
        return sum(float(np.vdot(gradient[block], gradient[block] / divisor[block[1]])) for block in blocks)

    def dual(self, entropy: float, slope: Float64s) -> float:
        """The largest theta entropy - R*(theta slope) for theta in [0, 1], a concave function of theta."""
        if self.is_smooth:  # theta entropy - theta^2 R*(slope)
            conjugate = self.bound(slope)
            if not entropy > 0 or conjugate == np.inf:  # entropy: but for rounding errors it is at least 0
                return 0.0
            theta = 1.0 if 2 * conjugate <= entropy else entropy / (2 * conjugate)
            return theta * entropy - theta**2 * conjugate
        size = self._unweighted(self.norms(slope if self.scale is None else slope / self.scale))
        largest = float(size.max(initial=0.0))
        low = 1.0 if largest <= self.l1 else self.l1 / largest
        if low == 1 or self.l2 == 0 or not largest < np.inf:
            return low * entropy

        def increases(theta: float) -> bool:
            over = np.maximum(theta * size - self.l1, 0)
            return entropy - float(np.vdot(self._weighted(over), size)) / self.l2 > 0

        low = 1.0 if increases(1.0) else last_where(increases, low, 1.0)  # 1 near the minimum
        over = np.maximum(low * size - self.l1, 0)
        return low * entropy - float(np.vdot(self._weighted(over), over)) / (2 * self.l2)

    # --- for solvers ----------------------------------------------------------------------------------

    @property
    def is_smooth(self) -> bool:
        """Whether R has a gradient everywhere."""
        return not (self._l1s > 0 if isinstance(self._l1s, float) else np.any(self._l1s > 0))

    @property
    def is_zero(self) -> bool:
        """Whether nothing is penalised."""
        return self.is_smooth and not (self._l2s > 0 if isinstance(self._l2s, float) else np.any(self._l2s > 0))

    @property
    def is_conic(self) -> bool:
        """Whether R is 0 for all multiples of coefficients for which it is 0: only if nothing is penalised."""
        return self.is_zero

    @property
    def is_finite(self) -> bool:
        """Whether the conjugate is finite everywhere: only with bounds."""
        return False

    @property
    def curvature(self) -> Any:
        """The second derivative of the smooth part, d_j: a number or (n_features,)."""
        return self._l2s

    def unpenalised(self, n_features: int) -> NDArray[np.bool_]:
        """Which features have no penalty, (n_features,)."""
        if self.weights is None:  # `broadcast_to` takes 10 us
            return np.full(n_features, self.l1 == 0 and self.l2 == 0)
        free: NDArray[np.bool_] = np.broadcast_to((self._l1s == 0) & (self._l2s == 0), n_features)
        return free

    def movable(self, coef: Float64s, gradient: Float64s) -> NDArray[np.bool_]:
        """Coefficients that nothing holds where they are but their gradient: those without penalty, (n_features,)."""
        return self.unpenalised(coef.shape[1])

    def smooth_part(self) -> Ridge:
        """R without its l1 term."""
        ridge = Ridge(self.l2, self.weights)
        return ridge if self.scale is None else ridge.with_scale(self.scale)

    def restricted(self, features: NDArray[np.int64]) -> Self:
        """The same penalty on only these features."""
        if self.weights is None and self.scale is None:
            return self
        part = copy.copy(self)
        FeaturePenalty.__init__(part, self.l1, self.l2, None if self.weights is None else self.weights[features])
        return part if self.scale is None else part.with_scale(self.scale[features])

    def with_scale(self, scale: Float64s) -> Self:
        """The same penalty of the coefficients times `scale`, (n_features,), positive."""
        scaled = copy.copy(self)
        scaled.scale = scale
        scaled._set_strengths()
        return scaled

    def nonsmooth_change(self, before: Float64s, after: Float64s) -> float:
        """The change of the l1 term, as the sum of the changes: a difference of two sums would lose digits."""
        return self.l1 * float(self._weighted(self._scaled(self._changes(before, after))).sum())

    def _changes(self, before: Float64s, after: Float64s) -> Float64s:
        """The changes of `norms`. A difference of two nearly equal floating-point numbers is exact."""
        return self.norms(after) - self.norms(before)

    def least_subgradient(self, coef: Float64s, gradient: Float64s) -> Float64s:
        """The subgradient of least norm, where `gradient` is that of the objective without the l1 term."""
        norms = self.norms(coef)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            slope = coef / norms
            at_zero = gradient * np.maximum(0.0, 1 - self._l1s / self.norms(gradient))
        return np.where(norms > 0, gradient + self._l1s * slope, np.where(gradient == 0, 0.0, at_zero))

    def kinks(self, coef: Float64s) -> NDArray[np.bool_]:
        """Coefficients in which R has no derivative, of the shape of `coef`."""
        kinks: NDArray[np.bool_] = np.broadcast_to(self.norms(coef) == 0, coef.shape)
        return kinks

    def activity(self, coef: Float64s, gradient: Float64s) -> Float64s:
        """The largest ||gradient|| / t_j of each feature at 0, which stays there if this is at most 1; otherwise inf.

        That of an unpenalised feature is inf, or 0 if it is 0 and has no gradient.
        """
        largest = np.atleast_2d(self._unweighted(self.norms(gradient))).max(axis=0)
        if self.scale is not None:
            largest = largest / self.scale
        with np.errstate(divide="ignore", invalid="ignore"):
            activity = np.where(largest > 0, largest / self.l1, 0.0)
        activity[np.any(coef != 0, axis=0)] = np.inf
        return activity

    def strengths(self, n_features: int) -> tuple[Float64s, Float64s]:
        """The strengths t_j and d_j for each feature, two arrays (n_features,)."""
        l1s, l2s = (np.array(np.broadcast_to(s, n_features), np.float64) for s in (self._l1s, self._l2s))
        return l1s, l2s

    def limits(self, shape: tuple[int, ...]) -> tuple[Float64s, ...]:
        """The lower and upper bounds of the coefficients for coordinate descent, which are infinite."""
        return np.full(shape, -np.inf), np.full(shape, np.inf)

    def allows(self, coef: Float64s) -> bool:
        """Whether R(coef) is finite: always."""
        return True

    def feasible(self, coef: Float64s) -> Float64s:
        """The same coefficients, since R is finite everywhere."""
        return coef

    def fingerprint(self) -> tuple[Any, ...]:
        """Values that identify this penalty, for checkpoints."""
        return (type(self).__name__, self.l1, self.l2, self.weights, *(() if self.scale is None else (self.scale,)))

    def check_shape(self, n_classes: int, n_features: int) -> None:
        """Raise an error if the weights are for another number of features."""
        if self.weights is not None and self.weights.size != n_features:
            raise InputValueError(
                f"the penalty has weights of {counted(self.weights.size, 'feature')}, but X has {n_features}; give one "
                "weight for each."
            )

    def _weighted(self, x: Any) -> Any:
        if self.weights is None:
            return x
        with np.errstate(invalid="ignore", over="ignore"):  # 0 * inf
            return np.where(self.weights > 0, self.weights * x, 0.0)

    def _scaled(self, x: Any) -> Any:
        return x if self.scale is None else self.scale * x

    def _unweighted(self, x: Float64s) -> Float64s:
        if self.weights is None:
            return x
        with np.errstate(divide="ignore", over="ignore"):
            return np.divide(x, self.weights, out=np.zeros_like(x), where=x > 0)


class Ridge(FeaturePenalty):
    """Squares of the weights: R(C) = l2/2 sum_j w_j ||C_:j||^2.

    Parameters
    ----------
    l2 : float
        Strength, at least 0.
    weights : array_like (n_features,), optional
        w, at least 0, by default 1; 0 leaves a feature unpenalised. Like glmnet's `penalty.factor`, but not rescaled.

    Raises
    ------
    InputValueError, InputTypeError
        For an l2 that is not a finite number of at least 0, and for weights that are not one such number for each
        feature.

    Examples
    --------
    >>> import nbsoftmax as nbs
    >>> trainer = nbs.Trainer(penalty=nbs.Ridge(0.1, weights=[1.0, 1.0, 0.0]))
    """

    _strengths = ("l2",)

    def __init__(self, l2: float, weights: ArrayLike | None = None) -> None:
        super().__init__(0.0, l2, weights)

    def smooth_part(self) -> Ridge:
        """R itself, which is never changed."""
        return self


class Lasso(FeaturePenalty):
    """Absolute values of the weights, many of which become exactly 0: R(C) = l1 sum_j w_j ||C_:j||_1.

    Parameters
    ----------
    l1 : float
        Strength, at least 0.
    weights : array_like (n_features,), optional
        As in `Ridge`.

    Raises
    ------
    InputValueError, InputTypeError
        For an l1 that is not a finite number of at least 0, and for weights that are not one such number for each
        feature.
    """

    _strengths = ("l1",)

    def __init__(self, l1: float, weights: ArrayLike | None = None) -> None:
        super().__init__(l1, 0.0, weights)


class ElasticNet(FeaturePenalty):
    """Lasso plus ridge: R(C) = sum_j w_j (l1 ||C_:j||_1 + l2/2 ||C_:j||^2).

    Parameters
    ----------
    l1, l2 : float
        Strengths, at least 0.
    weights : array_like (n_features,), optional
        As in `Ridge`.

    Raises
    ------
    InputValueError, InputTypeError
        For l1 and l2 that are not finite numbers of at least 0, and for weights that are not one such number for each
        feature.
    """

    def __init__(self, l1: float, l2: float, weights: ArrayLike | None = None) -> None:
        super().__init__(l1, l2, weights)


def feature_weights(name: str, weights: ArrayLike) -> Float64s:
    """Check weights in a penalty: one finite number of at least 0 for each feature."""
    array = np.asarray(validation.as_array(name, weights))
    be = "are" if name.endswith("s") else "is"
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise InputValueError(f"{name} {be} {plain(weights)}, expected one number for each feature.", parameter=name)
    array = array.astype(np.float64)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise InputValueError(f"{name} {be} {plain(weights)}, expected finite numbers of at least 0.", parameter=name)
    array.flags.writeable = False
    return array


def last_where(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The end of the part of the interval in which a condition holds, by bisection; `low` if it holds nowhere."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _square(v: Float64s) -> float:
    """||v||^2 by BLAS, which solvers limit to one thread; long rows are not copied, as `vdot` would."""
    if v.size < LONG:
        return float(np.vdot(v, v))
    return sum(float(np.dot(row, row)) for row in v)


def _sum_of_squares(coef: Float64s, weights: Float64s | None) -> float:
    """sum_j w_j ||C_:j||^2, without BLAS, whose last bits depend on the number of its threads."""
    free = None if weights is None or (weights > 0).all() else weights == 0  # where a square may be 0 * inf
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks_in_cache(coef.shape):
            squares = np.square(coef[block], order="C")
            if weights is not None:
                squares *= weights[block[1]]
            if free is not None:
                squares[:, free[block[1]]] = 0.0
            total += float(squares.sum())
    return total
