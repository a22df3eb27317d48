"""The early phase of truncated Newton: quasi-Newton steps, and when they should give way to Newton steps.

Far from the minimum the Hessian changes in every step, so that most of the work of conjugate gradients is lost. A step
of L-BFGS takes one pass over the data, as a product does. From a start at 0 it is ahead until the objective decreases
slowly: then a more accurate preconditioner and the products of a Newton step gain more per pass.
"""

from __future__ import annotations

import math

WINDOW = 4  # steps whose decrease is compared with that of as many before
# Quasi-Newton steps end if a decade takes more steps than FEWEST plus this share of the cost of the next better
# preconditioner, but at most MOST. (Measured in fits to 24 problems: down to the proof they took 27% fewer passes than
# without an early phase, and within 3% of that for FEWEST from 4 to 6.)
FEWEST, SHARE_OF_COST, MOST = 5.0, 0.5, 20.0


class EarlyPhase:
    """Whether a fit is in its early phase, and when it ends.

    Parameters
    ----------
    costs : dict
        Costs of the preconditioners in products, as of `preconditioners.costs`.
    active : bool
    n_steps : int
        Number of quasi-Newton steps so far.
    """

    def __init__(self, costs: dict[str, float], *, active: bool, n_steps: int = 0) -> None:
        self.active, self.n_steps = active, n_steps
        self.n_slow = 0  # steps for a tenth of the distance from the minimum, if these are too many; 0 if not
        better = min((costs[kind] for kind in ("blocks", "hessian") if kind in costs), default=math.inf)
        self._most = min(FEWEST + SHARE_OF_COST * better, MOST)

    def is_slow(self, values: list[float]) -> bool:
        """Whether the objective decreases too slowly; `values` are those of all iterations."""
        if len(values) <= 2 * WINDOW:
            return False
        recent = values[-1 - WINDOW] - values[-1]
        before = values[-1 - 2 * WINDOW] - values[-1 - WINDOW]
        # If the distance to the minimum decreases geometrically, the decreases have the same ratio.
        rate = WINDOW / math.log10(before / recent) if 0 < recent < before else math.inf
        self.n_slow = int(min(rate, len(values))) if rate > self._most else 0
        return self.n_slow > 0
