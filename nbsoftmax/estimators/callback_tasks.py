"""Support for the callbacks of scikit-learn 1.9 and newer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.models.sklearn_parameters import one_row
from nbsoftmax.training.context import Iteration
from nbsoftmax.validation import Float64s, Floats

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Supports no callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method unchanged."""
        return method


__all__ = ["CallbackSupportMixin", "CallbackTasks", "with_callbacks"]


class CallbackTasks:
    """Reports a fit to scikit-learn's callbacks, with a task for each iteration, as `LogisticRegression` does.

    The task of an iteration begins when the previous one ends, so the last task that begins is not an iteration.
    """

    def __init__(
        self,
        estimator: Any,
        X: Floats,
        y: NDArray[Any],
        metadata: dict[str, Any] | None,
        start: Float64s | None,
        classes: NDArray[Any],
    ) -> None:
        self.given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.classes = classes
        most = None if estimator.max_iter is None else estimator.max_iter + 1
        self.fit = estimator._init_callback_context(max_subtasks=most)
        self.fit.call_on_fit_task_begin(**self.given)
        self._begin(np.zeros((classes.size, X.shape[1] + 1)) if start is None else start)

    def __call__(self, now: Iteration) -> bool:
        """End the task of an iteration and begin the next; return whether a callback asks to stop."""
        attributes = self._attributes(now.params)
        stop = bool(self.iteration.call_on_fit_task_end(**self.given, reconstruction_attributes=attributes))
        self._begin(now.params)
        return stop

    def end(self) -> None:
        """End the last task and that of the fit."""
        self.iteration.call_on_fit_task_end(estimator=self.given["estimator"])
        self.fit.call_on_fit_task_end(**self.given, reconstruction_attributes={})

    def _begin(self, params: Float64s) -> None:
        self.iteration = self.fit.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(**self.given, reconstruction_attributes=self._attributes(params))

    def _attributes(self, params: Float64s) -> Callable[[], dict[str, Any]]:
        """The attributes of an estimator fitted to these parameters, for callbacks that need one."""

        def attributes() -> dict[str, Any]:
            coef, intercept = one_row(params[:, :-1].copy(), params[:, -1].copy())
            return {"coef_": coef, "intercept_": intercept, "classes_": self.classes}

        return attributes
