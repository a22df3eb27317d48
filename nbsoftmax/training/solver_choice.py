"""Which solver runs, and which penalties and devices it allows."""

from __future__ import annotations

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.penalties import AnyPenalty, BoundedPenalty, Firth
from nbsoftmax.solvers.table import SOLVERS, Solver, solver_of


def chosen_solver(solver: str | Solver, penalty: AnyPenalty, *, convex: bool = True) -> Solver:
    """The solver that runs, also where "auto" leaves the choice to the trainer; not `convex` with partial labels."""
    if isinstance(solver, str) and solver == "auto":
        # Measured up to 6000 features (perf/FITS.md): the fastest, or not far from it.
        of_convex = "newton-cg" if penalty.is_smooth else "prox-newton"
        found = SOLVERS["lbfgs" if not convex or isinstance(penalty, Firth) else of_convex]
    else:
        found = solver_of(solver)
    if not convex:
        _check_convexity(found, penalty)
    return found


def check_penalty(solver: Solver, penalty: AnyPenalty, *, l1: float, grouped: bool, own: bool) -> None:
    """Raise an InputValueError if the solver cannot minimise this penalty; `own` says that it is an object."""
    if isinstance(penalty, Firth):
        _refuse_convex(solver, "penalty is 'firth'")
    smooth = penalty.is_smooth
    if isinstance(penalty, BoundedPenalty) and solver.requires.smooth:
        raise InputValueError(
            f"bounds are given, which solver {solver.name!r} cannot keep; use the solver 'prox-newton' or 'auto'.",
            parameter="bounds",
        )
    if not smooth and solver.requires.smooth:
        given = f"the penalty {plain(penalty)}" if own else "an l1 penalty"  # given by l1, or by an l1_ratio
        raise InputValueError(
            f"solver {solver.name!r} cannot minimise {given}; use the solver 'prox-newton' or 'auto'.",
            parameter="solver",
        )
    if smooth and (not solver.requires.smooth or (grouped and l1 == 0)):
        name, given = ("grouped", "True") if grouped else ("solver", repr(solver.name))
        none = "there is no l1 penalty" if l1 == 0 else "all weights of the penalty are 0"
        raise InputValueError(f"{name} is {given}, but {none}; give one, or leave {name} out.", parameter=name)


def _check_convexity(solver: Solver, penalty: AnyPenalty) -> None:
    """Raise an InputValueError if the solver cannot minimise an objective with partial labels, which is not convex."""
    if not penalty.is_smooth:
        raise InputValueError(
            f"y holds partial labels, for which the penalty {plain(penalty)} is not supported; use l2.", parameter="l1"
        )
    _refuse_convex(solver, "y holds partial labels")


def _refuse_convex(solver: Solver, given: str) -> None:
    """Raise an InputValueError if the solver minimises only convex objectives; that of `given` is not convex."""
    if solver.requires.convex:
        raise InputValueError(
            f"{given}, whose objective is not convex, which solver {solver.name!r} cannot minimise; use the solver "
            "'auto', 'lbfgs' or 'gd'.",
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
