"""Which solver runs, and which penalties and devices it allows."""

from __future__ import annotations

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.penalties import AnyPenalty, Firth
from nbsoftmax.solvers.table import SOLVERS, Solver, solver_of


def chosen_solver(solver: str | Solver, penalty: AnyPenalty, *, convex: bool = True) -> Solver:
    """The solver that runs, also where "auto" leaves the choice to the trainer."""
    if isinstance(solver, str) and solver == "auto":
        if not convex or isinstance(penalty, Firth):
            return SOLVERS["lbfgs"]
        # Measured up to 6000 features (perf/FITS.md): the fastest, or not far from it.
        return SOLVERS["newton-cg" if penalty.is_smooth else "prox-newton"]
    return solver_of(solver)


def check_penalty(solver: Solver, penalty: AnyPenalty, *, l1: float, grouped: bool, own: bool) -> None:
    """Raise an InputValueError if the solver cannot minimise this penalty; `own` says that it is an object."""
    if isinstance(penalty, Firth) and solver.requires.convex:
        raise InputValueError(
            f"penalty is 'firth', whose objective is not convex, which solver {solver.name!r} cannot minimise; use the "
            "solver 'auto', 'lbfgs' or 'gd'.",
            parameter="solver",
        )
    smooth = penalty.is_smooth
    if not smooth and solver.requires.smooth:
        given = f"penalty is {plain(penalty)}" if own else f"l1 is {l1:g}"
        raise InputValueError(
            f"{given}, which solver {solver.name!r} cannot minimise; use the solver 'prox-newton' or 'auto'.",
            parameter="penalty" if own else "l1",
        )
    if smooth and (not solver.requires.smooth or grouped):
        given = "grouped is True" if grouped else f'solver is "{solver.name}"'
        raise InputValueError(
            f"{given}, but l1 is 0; give l1 > 0, or leave it out.", parameter="grouped" if grouped else "solver"
        )


def check_convexity(solver: Solver, penalty: AnyPenalty) -> None:
    """Raise an InputValueError if the solver cannot minimise an objective with partial labels, which is not convex."""
    if not penalty.is_smooth:
        raise InputValueError(
            f"y holds partial labels, for which the penalty {plain(penalty)} is not supported; use l2.", parameter="l1"
        )
    if solver.requires.convex:
        raise InputValueError(
            f"y holds partial labels, whose objective is not convex, which solver {solver.name!r} cannot minimise; use "
            "the solver 'auto', 'lbfgs' or 'gd'.",
            parameter="solver",
        )


def device_of(solver: Solver, device: str) -> str:
    """The validated device; a solver that needs the CPU takes it also for "auto"."""
    found = validation.device(device)
    if solver.requires.cpu:
        if found.startswith("cuda"):
            raise InputValueError(
                f"device is {device!r}, but solver {solver.name!r} runs on the CPU; use solver 'newton-cg' or the "
                "device 'cpu'.",
                parameter="device",
            )
        return "cpu"
    return found
