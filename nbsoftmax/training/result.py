"""The result of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from nbsoftmax.errors import InputValueError, counted
from nbsoftmax.models.display import Displayed
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.penalized_loss import ObjectiveOptions
from nbsoftmax.problem import AnyProblem, Problem
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from nbsoftmax.models.effects_result import MarginalEffects
    from nbsoftmax.models.inference_result import Inference


def no_attribute(result: Any, name: str, place: str) -> AttributeError:
    """The error about an attribute that a result does not have; that of a model is at this `place` in the result."""
    of_model = not name.startswith("_") and (hasattr(SoftmaxModel, name) or name in SoftmaxModel.__annotations__)
    advice = f"; its model has it: {place}.{name}" if of_model else ""
    return AttributeError(f"{type(result).__name__!r} object has no attribute {name!r}{advice}")


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Displayed):
    """A fitted model and how the fit went.

    Attributes
    ----------
    model : SoftmaxModel
    converged : bool
        Whether `gap` is at most `tol` times the objective.
    stop_reason : StopReason
        Why the fit ended.
    reason : str
        The same as a text.
    n_iter : int
    objective, grad_norm : float
        At the model's parameters; for float32 data on the CPU they come from products in float64. The norm is
        Euclidean; with l1 it is that of the smallest subgradient.
    gap : float
        How far `objective` is above its minimum: a bound or an estimate.
    gap_kind : str
        "strong-convexity", "duality", "self-concordance": `gap` is a proven bound. "estimate": it may be wrong.
        "stationary": the objective is not convex, as for partial labels, and `gap` is no distance from its minimum: it
        is the predicted decrease of another step, which is near 0 at every stationary point.
    seconds : float
        Wall time of the fit, compilation of kernels included.
    history : dict of str to ndarray
        "objective", "grad_norm", "seconds" and, with validation data, "validation_loss": one entry for each iteration.
    solver : str
        Name of the solver that ran.
    summary : str
        Human-readable summary of the solver's work.
    problem : Problem, ProblemInParts or None
        The data of the fit, for `inference`: references, not copies. They are not shown, and are left out when the
        result is pickled or copied, so that a result on disk does not contain them.
    objective_options : ObjectiveOptions
        Penalties, intercept, threads and device of the fit.
    """

    model: SoftmaxModel
    converged: bool
    stop_reason: StopReason
    reason: str
    n_iter: int
    objective: float
    grad_norm: float
    gap: float
    gap_kind: str
    seconds: float
    history: dict[str, Float64s]
    solver: str
    summary: str
    problem: AnyProblem | None = None
    objective_options: ObjectiveOptions = field(default_factory=ObjectiveOptions)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "problem": None}

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, "model")

    def _title(self) -> str:
        state = "converged" if self.converged else "not converged"
        return f"{state}, {counted(self.n_iter, 'iteration')} of {self.solver} in {self.seconds:.3g} s"

    def _lines(self) -> dict[str, str]:
        return {
            "reason": self.reason,
            "objective": f"{self.objective:.8g}, gradient norm {self.grad_norm:.3g}",
            "gap": f"{self.gap:.3g} ({self.gap_kind})",
            "model": f"{counted(self.model.n_classes, 'class')}, {counted(self.model.n_features, 'feature')}",
        }

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the fit."""
        return self.stop_reason is StopReason.INTERRUPTED

    def inference(self, *, cov: str = "fisher", groups: Any = None, reference: Any = None) -> Inference:
        """Standard errors, tests and intervals of the coefficients, from the data of the fit (which must be unchanged).

        Parameters
        ----------
        cov : {"fisher", "sandwich", "HC0", "HC1", "cluster"}
        groups : array_like (n_samples,), optional
            As in `nbsoftmax.inference`.
        reference : label, optional
            The class that coefficients are relative to; default: the first.

        Returns
        -------
        Inference

        Raises
        ------
        InputValueError
            As for `nbsoftmax.inference`; for a fit with l1, l2 or label smoothing, or with class weights and "fisher";
            and for a result that was pickled or copied, which does not contain the data.
        """
        from nbsoftmax.models.inference import at_maximum  # with scipy.special, which few fits need

        if self.problem is None:
            raise InputValueError(
                "this result was pickled or copied, and does not contain the data; "
                "use nbsoftmax.inference(result.model, X, y) with the training data."
            )
        if not isinstance(self.problem, Problem):
            raise InputValueError(
                "inference needs all rows in memory, but the fit read them in parts; use nbsoftmax.inference with a "
                "sample of the rows."
            )
        options = self.objective_options
        return at_maximum(self.model, self.problem, options, cov=cov, groups=groups, reference=reference)

    def marginal_effects(
        self,
        at: Any = "overall",
        *,
        kind: str = "dydx",
        dummies: bool = True,
        columns: bool | Sequence[str] = False,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        cov: str = "fisher",
        groups: Any = None,
    ) -> MarginalEffects:
        """Effects of the features on the probabilities: `inference(cov, groups).marginal_effects(at, ...)`."""
        given: dict[str, Any] = {"sample_weight": sample_weight, "offset": offset}
        table = self.inference(cov=cov, groups=groups)
        return table.marginal_effects(at, kind=kind, dummies=dummies, columns=columns, **given)


def uninterrupted(result: FitResult) -> FitResult:
    """Return the result of one of several fits; raise KeyboardInterrupt, which ends them all, if Ctrl-C ended it."""
    if result.interrupted:
        raise KeyboardInterrupt
    return result
