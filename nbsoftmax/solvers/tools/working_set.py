"""The working set: features that take part in a step, and the metric of the quadratic models over them.

Features at 0 whose gradient is well below their l1 stay there (R. Tibshirani et al., "Strong rules for discarding
predictors in lasso-type problems", JRSS B 74, 2012). The others are copied, and everything else is computed from them,
in float64. For a penalty that is not a sum over features, all features take part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.solvers.base import Composite, Point
from nbsoftmax.solvers.tools.coupled_model import coupled_minimum, of_small_problem
from nbsoftmax.solvers.tools.quadratic_model import (
    Curvature,
    GramCurvature,
    ModelMinimum,
    QuadraticModel,
    VariableMetric,
)
from nbsoftmax.solvers.tools.sparse_curvature import SparseCurvature, sparse_columns
from nbsoftmax.validation import Float64s

NEAR = 0.9  # share of l1 from which on a feature's gradient brings it into the working set
LEAST_NEW = 50  # features that may join in an iteration; as many as are not 0, if those are more
GRAM_BYTES = 2**26  # Gram matrices larger together than this are replaced by one for all classes
MODELS = 4  # that are expected to follow, with as many products as the last one
CHANGED = 1e-2  # Gram matrices for each class are old if the mean square of changes of its logits since then is more


class WorkingSet:
    """The features that take part, the objective over them, and the metric of its quadratic models."""

    def __init__(self, objective: Composite, features: NDArray[np.int64]) -> None:
        self.features, self.columns = features, np.append(features, -1)
        self.penalty = objective.penalty.restricted(features)
        self.part = (
            objective.smooth_part(features)
            if self.penalty.by_feature
            else objective.smooth_part().in_float64(hessian=True)  # all features, which need not be copied
        )
        self._metric: VariableMetric | None = None
        self._known_moments: tuple[Float64s, Float64s] | None = None  # see `_moments`
        self._made_at: Float64s = np.empty((0, 0))  # where the metric was made
        self._per_class = False  # whether it has a Gram matrix for each class
        # One Gram matrix for all classes is cheap. One for each costs as much as about n / 6 products: they are made,
        # if memory allows, when so many have been spent and are expected, and made again if logits have changed.
        # (Made again whenever so many had been spent, they took 10 of 42 s for 20,000 x 784 x 10, C = 1.)
        n_classes, n = objective.class_mass.size, features.size
        self._products, self._last_products = 0, 0  # since then, and of the last model
        self._worth = n / 6 if 8 * n_classes * (n + 1) ** 2 <= GRAM_BYTES else np.inf
        dense = self.part.sparse_rows is None
        self._coupled = of_small_problem(self.penalty, n_classes, n) if dense else None
        self._sparse = sparse_columns(self.part, self.penalty, n_classes)  # with which a metric costs about one product

    def state(self) -> dict[str, Any]:
        """What `restored` needs, of a working set whose model has been minimised."""
        factor = 0.0 if self._metric is None else self._metric.factor
        return {
            "features": self.features,
            "made_at": self._made_at,
            "per_class": self._per_class,
            "factor": factor,
            "products": self._products,
            "last_products": self._last_products,
        }

    @classmethod
    def restored(cls, objective: Composite, state: dict[str, Any]) -> WorkingSet:
        """The working set of a state, its metric made again at the same parameters."""
        working_set = cls(objective, state["features"])
        if state["made_at"].size:
            metric = working_set._new_metric(state["made_at"], per_class=bool(state["per_class"]))
            metric.factor = float(state["factor"])
        working_set._products, working_set._last_products = int(state["products"]), int(state["last_products"])
        return working_set

    def minimise(
        self, params: Float64s, grad: Float64s, *, largest: float, most: float, delta: float, exact: bool
    ) -> ModelMinimum:
        """The minimum of the quadratic model made at `params`, where the smooth part has the gradient `grad`.

        `largest` is the largest predicted decrease of a model's first step so far. The smaller this model's is relative
        to it, the better is the model, and the more accurately it is minimised. A model that predicts a decrease of
        more than `most` is not minimised further. `delta` is the damping, relative to the curvatures where all classes
        are equally probable, whatever the offset. If `exact`, steps may end at a minimum over the coefficients that are
        not 0.
        """
        damping = self._damping(len(params), delta)
        if self._coupled is not None:
            found = coupled_minimum(self.part, self._coupled, params, grad, damping, self._moments)
            if found is not None:
                return found
        metric = self._metric
        if metric is None or self._sparse is not None:
            metric = self._new_metric(params, per_class=False)
        elif min(self._products, MODELS * self._last_products) > self._worth and self._is_old(params):
            metric, self._products = self._new_metric(params, per_class=True), 0
        metric.damping = damping
        model = QuadraticModel(self.part, self.penalty, metric, params, grad, exact=exact)
        minimum = model.minimise(largest, most)
        self._products, self._last_products = self._products + model.n_products, model.n_products
        return minimum

    def _is_old(self, params: Float64s) -> bool:
        """Whether better Gram matrices could be made here: there is none for each class, or logits have changed."""
        curvature = None if self._metric is None else self._metric.curvature
        if not (self._per_class and isinstance(curvature, GramCurvature)):
            return True
        return not (curvature.mean_squares(params - self._made_at) <= CHANGED).all()

    def _damping(self, n_classes: int, delta: float) -> Float64s:
        """`delta` times the curvatures along the features and the intercept where all classes are equally probable.

        (n + 1,); with an intercept the features are centred.
        """
        if not delta:
            return np.zeros(self.features.size + 1)
        mean, variance = self._moments()
        of_coef, of_intercept = (variance, 1.0) if self.part.fit_intercept else (variance + mean**2, 0.0)
        return delta * (n_classes - 1) / n_classes**2 * np.append(of_coef, of_intercept)

    def _moments(self) -> tuple[Float64s, Float64s]:
        """The weighted means and variances of the features."""
        if self._known_moments is None:
            self._known_moments = self.part.moments()
        return self._known_moments

    def _new_metric(self, at: Float64s, *, per_class: bool) -> VariableMetric:
        curvature: Curvature
        if self._sparse is not None:
            curvature = SparseCurvature(self.part, self._sparse, at)
        else:
            grams = self.part.blocks(at) if per_class else self.part.gram(at)[None]
            curvature = GramCurvature(grams, self.part.n_threads)
        metric = VariableMetric(self.penalty, curvature, at.shape[0])
        self._metric, self._made_at, self._per_class = metric, at, per_class
        return self._metric


def working_set_at(objective: Composite, point: Point, last: WorkingSet | None) -> WorkingSet:
    """The features that are not 0, and those at 0 with the largest gradients; `last` while it suffices."""
    activity = objective.penalty.activity(point.params[:, :-1], point.grad[:, :-1])  # (n_features,)
    n_used = int(np.isinf(activity).sum())
    wanted = np.argsort(-activity, kind="stable")[: n_used + max(LEAST_NEW, n_used)]
    wanted = wanted[(activity[wanted] > NEAR) | (wanted == wanted[0])]  # at least one
    most = 2 * max(wanted.size, LEAST_NEW)
    if last is not None and last.features.size <= most:
        taken = np.zeros(activity.size, bool)
        taken[last.features] = True
        if taken[wanted].all():
            return last
    return WorkingSet(objective, np.sort(wanted))
