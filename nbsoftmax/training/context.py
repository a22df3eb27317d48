"""What callbacks receive: the iteration that has ended, and the fit that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Self

from numpy.typing import NDArray

from nbsoftmax.encoding import AnyEncoding
from nbsoftmax.problem import AnyProblem
from nbsoftmax.training.result import FitResult
from nbsoftmax.validation import Float64s


@dataclass(frozen=True, eq=False)
class Iteration:
    """One iteration of a fit.

    Attributes
    ----------
    n_iter : int
        Number of iterations so far, this one included.
    objective, grad_norm : float
    seconds : float
        Since the fit began.
    validation_loss : float or None
        None without validation data.
    params : ndarray (n_classes, n_features + 1)
        Read-only; the intercepts are in the last column. The solver may reuse the memory: copy what you keep.
    """

    n_iter: int
    objective: float
    grad_norm: float
    seconds: float
    validation_loss: float | None
    params: Float64s = field(repr=False)

    @classmethod
    def later(cls, make: Callable[[], Float64s], **numbers: Any) -> Self:
        """An iteration with these numbers; `make` computes its parameters when they are read."""
        iteration = cls.__new__(cls)
        vars(iteration).update(numbers, _make=make)
        return iteration

    def __getattr__(self, name: str) -> Any:
        if name != "params" or "_make" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        view = self._make().view()
        view.flags.writeable = False  # it may be the solver's own array
        vars(self)["params"] = view
        return view

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(eq=False)
class Context:
    """The fit that a callback is called for.

    Attributes
    ----------
    solver : str
    n_samples, n_features : int
    classes : ndarray (n_classes,)
    feature_names : tuple of str or None
    n_validation_samples : int
        0 without validation data.
    iteration : Iteration or None
        The last iteration; None before the first has ended.
    result : FitResult or None
        None before the end, and if an error ended the fit.
    encoding : AnyEncoding or None
        How X was made from a table.
    """

    solver: str
    n_samples: int
    n_features: int
    classes: NDArray[Any]
    feature_names: tuple[str, ...] | None
    n_validation_samples: int = 0
    iteration: Iteration | None = None
    result: FitResult | None = None
    encoding: AnyEncoding | None = None

    @classmethod
    def of(cls, solver: str, problem: AnyProblem) -> Self:
        """The fit of a problem, before it begins."""
        return cls(
            solver,
            problem.n_samples,
            problem.n_features,
            problem.classes,
            problem.feature_names,
            n_validation_samples=0 if problem.held_out is None else problem.held_out.n_samples,
            encoding=problem.encoding,
        )
