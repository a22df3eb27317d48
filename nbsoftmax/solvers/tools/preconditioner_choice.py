"""Choice of a preconditioner: the cost of making it against the Hessian-vector products that it saves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbsoftmax.errors import InputValueError
from nbsoftmax.solvers.base import Curved
from nbsoftmax.solvers.tools.lbfgs_memory import LBFGSMemory
from nbsoftmax.solvers.tools.preconditioners import AFFORDABLE, MOST_BYTES, Preconditioner, costs
from nbsoftmax.validation import Float64s

# The first preconditioner costs at most CHEAP products (a Gram matrix: at most AFFORDABLE). Later ones cost at most
# DIRECTIONS times as many products as the last direction took; the kind `frequent`, which saves about a fifth of them
# (`frequent_features`), at most FREQUENT times as many, and it is never the first.
CHEAP, DIRECTIONS, FREQUENT = 10, 2, 1
# A new preconditioner saves about this share of the products that a fit still takes.
SAVED = 0.5


class PreconditionerChoice:
    """Chooses preconditioners among `kinds` during a fit, and counts products and preconditioners.

    Attributes
    ----------
    costs : dict
        The costs of those kinds that fit in memory, in products, from the least accurate one.
    """

    def __init__(self, objective: Curved, kinds: tuple[str, ...]) -> None:
        self.objective = objective
        self.costs = {kind: cost for kind, cost in costs(objective).items() if kind in kinds and cost < np.inf}
        self.kinds = list(self.costs)
        if not self.kinds:
            raise InputValueError(
                f"a {' or '.join(kinds)} of {math.prod(objective.shape)} parameters takes more than "
                f"{MOST_BYTES >> 20} MB; use solver 'newton-cg', which needs less memory."
            )
        self.exact = kinds == ("hessian",)
        self._made = dict.fromkeys(self.kinds, 0)
        self.n_products = 0

    def first(self, params: Float64s, *, uniform: bool = False) -> Preconditioner:
        """The preconditioner at the start of a fit: the most accurate kind that is cheap.

        If all probabilities are equal (`uniform`), `gram` is as accurate as the whole Hessian.
        """
        most = {"gram": AFFORDABLE, "frequent": 0, "levels": 0}
        cheap = [kind for kind, cost in self.costs.items() if cost <= most.get(kind, CHEAP)]
        if uniform and "gram" in cheap:
            return self._make("gram", params)
        return self._make(cheap[-1] if cheap else self.kinds[0], params)

    def next(self, last: Preconditioner, params: Float64s, n_products: int, n_left: float = math.inf) -> Preconditioner:
        """The preconditioner after a direction of `n_products`: the same, a new one, or one of a more accurate kind.

        `n_left` is an estimate of the number of products that the fit still takes. Never a cheaper kind: later
        directions take more products. Newton's method uses the Hessian of every point, without corrections by earlier
        products.
        """
        if self.exact:
            return self._make("hessian", params)
        better = self.better(last, params, min(n_products, SAVED * n_left))
        return self.renewed(last, params, n_left) if better is None else better

    def renewed(self, last: Preconditioner, params: Float64s, n_left: float = math.inf) -> Preconditioner:
        """A preconditioner of the same kind, a new one if that pays."""
        cost = self.costs[last.kind]
        if last.products <= cost or SAVED * n_left < cost:
            return last
        return self._make(last.kind, params, last.memory)

    def better(self, last: Preconditioner, params: Float64s, n_products: float) -> Preconditioner | None:
        """A preconditioner of a more accurate kind that pays after a direction of `n_products`; None if none does."""
        kinds = self.kinds[self.kinds.index(last.kind) + 1 :]
        most = {kind: FREQUENT if kind == "frequent" else DIRECTIONS for kind in kinds}
        kinds = [kind for kind in kinds if self.costs[kind] <= most[kind] * n_products]
        return self._make(kinds[-1], params, last.memory) if kinds else None

    def refine(self, objective: Curved, last: Preconditioner, params: Float64s) -> Preconditioner:
        """Continue with `objective`; the new preconditioner is of the same kind as the last one."""
        self.objective = objective
        return self._make(last.kind, params)

    def state(self, current: Preconditioner) -> dict[str, Any]:
        """What `restored` needs."""
        return {
            "kind": np.str_(current.kind),
            "made_at": current.made_at,
            "uses": current.products,
            "n_products": self.n_products,
            "least_curvature": current.least_curvature,
            "pairs": current.memory.pairs,
            "made": np.array(list(self._made.values())),
        }

    def restored(self, saved: dict[str, Any]) -> Preconditioner:
        """The preconditioner of a state, made again at the same parameters."""
        self.n_products = int(saved["n_products"])
        self._made = dict(zip(self.kinds, saved["made"].tolist(), strict=True))
        preconditioner = Preconditioner(self.objective, saved["made_at"], str(saved["kind"]))
        capacity = preconditioner.memory.capacity
        preconditioner.memory = LBFGSMemory(saved["made_at"].size, capacity, saved["pairs"])
        preconditioner.products, preconditioner.least_curvature = int(saved["uses"]), float(saved["least_curvature"])
        return preconditioner

    def _make(self, kind: str, params: Float64s, memory: LBFGSMemory | None = None) -> Preconditioner:
        self._made[kind] += 1
        return Preconditioner(self.objective, params, kind, memory)

    def summary(self) -> str:
        """The number of products, and for each kind the number of preconditioners and the cost of one."""
        parts = [f"{n} {kind} (worth {self.costs[kind]:.3g} products)" for kind, n in self._made.items() if n]
        return f"{self.n_products} Hessian-vector products; preconditioners made: {', '.join(parts)}"
