"""The solvers by name, and the protocol that they implement."""

from __future__ import annotations

from typing import Any, Protocol

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.solvers.base import OnIteration, Requirements, Solution, SolverState
from nbsoftmax.solvers.gd import GradientDescent
from nbsoftmax.solvers.lbfgs import LBFGS
from nbsoftmax.solvers.newton_cg import Newton, NewtonCG
from nbsoftmax.solvers.prox_newton import ProxNewton
from nbsoftmax.solvers.sgd import SGD
from nbsoftmax.validation import Float64s


class Solver(Protocol):
    """A solver with its options.

    The options are its attributes: checkpoints distinguish solvers by their class and these.
    """

    @property
    def name(self) -> str:
        """The short name, as in `Trainer(solver=name)`."""
        ...

    @property
    def requires(self) -> Requirements:
        """What the solver needs of an objective."""
        ...

    def solve(
        self,
        objective: Any,
        start: Float64s,
        *,
        tol: float,
        max_iter: int | None = None,
        on_iteration: OnIteration,
        state: SolverState | None = None,
        random_state: int = 0,
    ) -> Solution:
        """Minimise `objective` from `start`; `tol` is relative to the objective."""
        ...


SOLVERS: dict[str, Solver] = {
    solver.name: solver for solver in (NewtonCG(), Newton(), LBFGS(), GradientDescent(), SGD(), ProxNewton())
}


# Solvers of scikit-learn's LogisticRegression, and what to use instead.
OF_SKLEARN = {"liblinear": "auto", "sag": "auto", "saga": "auto", "newton-cholesky": "newton"}


def solver_of(given: Any) -> Solver:
    """The given solver, or the solver of that name with its default options."""
    if isinstance(given, str):
        if given in OF_SKLEARN:
            raise InputValueError(
                f"solver is {given!r}, which is one of scikit-learn; use {OF_SKLEARN[given]!r}, or one of "
                f"{', '.join(map(repr, SOLVERS))}.",
                parameter="solver",
            )
        return SOLVERS[validation.choice("solver", given, ("auto", *SOLVERS))]
    if isinstance(given, type) or not all(hasattr(given, name) for name in ("name", "requires", "solve")):
        raise InputTypeError(
            f"solver is {plain(given)}, expected a name ({', '.join(map(repr, ('auto', *SOLVERS)))}) or an object such "
            "as nbsoftmax.SGD()."
        )
    solver: Solver = given
    if not isinstance(solver.requires, Requirements):
        raise InputTypeError(
            f"requires of the solver {plain(solver)} is {plain(solver.requires)}, expected an object such as "
            "nbsoftmax.solvers.base.Requirements()."
        )
    return solver


def fingerprint(solver: Solver) -> tuple[Any, ...]:
    """The class and the options of a solver: what distinguishes it from others, for checkpoints."""
    options = sorted(getattr(solver, "__dict__", {}).items())
    return (type(solver).__qualname__, *(part for item in options for part in item))
