"""The early phase of truncated Newton: quasi-Newton steps, and when they should give way to Newton steps.

Far from the minimum the Hessian changes in every step, so that most of the work of conjugate gradients is lost. A step
of L-BFGS takes one pass over the data, as a product does, and each pass decreases the objective. If the objective
decreases slowly, a more accurate preconditioner made at the current parameters makes the next steps longer. If none
pays, Newton steps follow: conjugate gradients make better use of a preconditioner, since they forget no direction.
"""

from __future__ import annotations

import math

WINDOW = 4  # steps whose decrease is compared with that of as many before
# Steps are slow if a decade takes more of them than FEWEST plus this share of the cost of the next better
# preconditioner, but at most MOST. (Measured in fits to 44 problems: with MOST = 40 the work to the proof was 2% more
# in the geometric mean, without a limit 1% more. In 24 fits FEWEST from 4 to 6 made less than 3% difference.)
FEWEST, SHARE_OF_COST, MOST = 5.0, 0.5, 20.0


class EarlyPhase:
    """Whether a fit is in its early phase, and whether its steps are slow.

    Parameters
    ----------
    costs : dict
        Costs of the preconditioners in products, from the least accurate kind, as of `preconditioners.costs`.
    active : bool
    n_steps : int
        Number of quasi-Newton steps so far.
    since : int
        The iteration in which the current preconditioner was made.
    """

    def __init__(self, costs: dict[str, float], *, active: bool, n_steps: int = 0, since: int = 0) -> None:
        self.active, self.n_steps, self.since = active, n_steps, since
        self._costs = costs

    def slowness(self, values: list[float], kind: str) -> int:
        """How many steps reduce the distance from the minimum to a tenth, if they are too many, and 0 otherwise.

        `values` are the objectives of all iterations, and `kind` is that of the preconditioner.
        """
        if len(values) - self.since <= 2 * WINDOW:
            return 0
        middle, last = values[-1 - WINDOW], values[-1]
        recent, before = middle - last, values[-1 - 2 * WINDOW] - middle
        # If the distance to the minimum decreases geometrically, the decreases have the same ratio. Since the minimum
        # is at least 0, the distance has decreased by at least the ratio of the objectives.
        ratio = max(before / recent, middle / last) if recent > 0 and last > 0 else 1.0
        rate = WINDOW / math.log10(ratio) if ratio > 1 else math.inf
        kinds = list(self._costs)
        better = [self._costs[k] for k in kinds[kinds.index(kind) + 1 :] if k in ("blocks", "hessian")]
        most = min(FEWEST + SHARE_OF_COST * min(better, default=math.inf), MOST)
        return int(min(rate, len(values))) if rate > most else 0
