"""Derivatives of the columns that a term of a formula makes, with respect to a column of the table.

Each node of an expression has a limit and a slope on one side of the value of a row, by forward differentiation. A
comparison, for example, is 1 or 0 beside the value at which it changes. Bases of splines are differentiated through the
polynomials between their knots.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from nbsoftmax.encoding.formula import expressions
from nbsoftmax.encoding.formula.blocks import Block
from nbsoftmax.encoding.formula.evaluation import Evaluation, State, Values, vector
from nbsoftmax.encoding.formula.expressions import Expression
from nbsoftmax.validation import Float64s

BELOW, ABOVE = -1.0, 1.0  # the sides of a value
JUMP = 1e-6  # of a basis at a knot, relative to its largest value: of bs(x, degree=0)
Dual = tuple[Any, Any]  # a limit and a slope: numbers or arrays (n,)

SMOOTH: dict[str, Callable[[Any], Any]] = {
    "arcsinh": lambda u: 1 / np.hypot(1, u),
    "arctan": lambda u: 1 / (1 + u * u),
    "cos": lambda u: -np.sin(u),
    "exp": np.exp,
    "exp2": lambda u: np.log(2) * np.exp2(u),
    "expm1": np.exp,
    "log": lambda u: 1 / u,
    "log10": lambda u: 1 / (np.log(10) * u),
    "log1p": lambda u: 1 / (1 + u),
    "log2": lambda u: 1 / (np.log(2) * u),
    "sin": np.cos,
    "sqrt": lambda u: 0.5 / np.sqrt(u),
    "tan": lambda u: 1 / np.cos(u) ** 2,
    "tanh": lambda u: 1 / np.cosh(u) ** 2,
}
STEPS = ("floor", "sign")


def slope_block(
    expression: Expression, values: Values, states: Sequence[State], column: str, side: float, *, reduced: bool
) -> tuple[Block, Block]:
    """The limits and the slopes of the columns of an expression of numbers, on one side of the values of a column."""
    with np.errstate(all="ignore"):
        limit, slope = _OneSided(expression, values, states, column, side).of(expression.tree)
    if expression.kind == expressions.NUMBER:
        both = [vector(one, values.n)[:, None] for one in (limit, slope)]
    else:
        both = [one[:, 1:] if reduced else one for one in (limit, slope)]
    return Block(both[0].shape[1], both[0]), Block(both[1].shape[1], both[1])


class _OneSided(Evaluation):
    """Walks the tree of an expression, on one side of the values of a column."""

    def __init__(
        self, expression: Expression, values: Values, states: Sequence[State], column: str, side: float
    ) -> None:
        super().__init__(expression, values, states)
        self._of, self._side = column, side

    def of(self, node: ast.expr) -> Dual:
        """The limit and the slope of a node; of a basis both are (n, n_fields)."""
        if isinstance(node, ast.UnaryOp):
            sign = expressions.UNARY[type(node.op)]
            u, du = self.of(node.operand)
            return sign(u), sign(du)
        if isinstance(node, ast.BinOp):
            return _combined(type(node.op), self.of(node.left), self.of(node.right))
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Call):
            return self._called_with(node, expressions.function_of(node))
        is_the_column = not isinstance(node, ast.Constant) and self._expression.column(node) == self._of
        return self.value(node), float(is_the_column)

    def _compared(self, node: ast.Compare) -> Dual:
        (u, du), (v, dv) = self.of(node.left), self.of(node.comparators[0])
        compared = expressions.COMPARISONS[type(node.ops[0])]
        equal, ahead = u == v, self._side * (du - dv)
        limit = np.where(equal, compared(ahead, 0.0), compared(u, v)) * 1.0
        return limit, np.where(equal & (ahead == 0) & self._moves(node.left, node.comparators[0]), np.nan, 0.0)

    def _called_with(self, node: ast.Call, function: str) -> Dual:
        u, du = self.of(node.args[0])
        if function == "I":
            return u, du
        if function in SMOOTH:
            limit = expressions.ELEMENTWISE[function](u)
            slope = _product(SMOOTH[function](u), du)
            return limit, _beyond_range(u, du, limit, np.where(np.isinf(limit) & (u <= 0), np.nan, slope))  # log(0)
        ahead = self._side * du
        if function == "abs":
            return np.abs(u), np.where(u == 0, self._side * np.abs(du), np.sign(u) * du)
        if function in STEPS:
            at_step = u == (np.floor(u) if function == "floor" else 0)
            below = np.floor(u) - (at_step & (ahead < 0))
            limit = below if function == "floor" else np.where(at_step, np.sign(ahead), np.sign(u))
            return limit, np.where(at_step & (ahead == 0) & self._moves(node.args[0]), np.nan, 0.0)
        u = vector(u, self._values.n)
        if function in expressions.SCALES:
            limit = self.transformed(node, function, u)
            return limit, du / (self._states[id(node)].get("scale") or 1.0)
        return self._basis(node, function, u, vector(du, len(u)))

    def _basis(self, node: ast.Call, function: str, u: Float64s, du: Float64s) -> Dual:
        """By the polynomials through as many points as their degree needs, in the interval of knots beside u."""
        options, state = expressions.options_of(node, expressions.BASES[function]), self._states[id(node)]
        degree = int(options.get("degree", 1 if function == "poly" else 3))
        if "knots" in state:
            u = _around(u, state) if state.get("cyclic") else u
            start, end = _interval(u, self._side * du, np.unique(state["knots"]))
        else:
            norms = state.get("norms2")
            width = np.sqrt(norms[1] / norms[0]) if norms else np.where(u == 0, 1.0, np.abs(u))
            start, end = u - width, u + width
        middle, half = (start + end) / 2, (end - start) / 2
        points = chebyshev.chebpts1(degree + 1)
        coefficients = np.linalg.inv(chebyshev.chebvander(points, degree))
        place = (u - middle) / half
        at = chebyshev.chebvander(place, degree) @ coefficients
        derived = chebyshev.chebder(coefficients) if degree else np.zeros((1, 1))
        slopes = chebyshev.chebvander(place, max(degree - 1, 0)) @ derived / half[:, None]
        exact = np.asarray(self.transformed(node, function, u)[1])
        limit, slope = np.zeros_like(exact), np.zeros_like(exact)
        for j, point in enumerate(points):
            found = self.transformed(node, function, np.clip(middle + half * point, start, end))[1]
            limit += at[:, [j]] * found
            slope += slopes[:, [j]] * found
        is_jump = np.abs(limit - exact) > JUMP * np.abs(exact).max(initial=1.0)
        return np.where(is_jump, limit, exact), _product(slope, du[:, None])

    def _moves(self, *nodes: ast.expr) -> bool:
        """Whether one of the nodes depends on the column other than by steps."""
        return any(
            self._moves(*[one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)])
            if not expressions.dotted(node)
            else self._expression.column(node) == self._of
            for node in nodes
            if not (isinstance(node, ast.Compare) or expressions.function_of(node) in STEPS)
        )


def _combined(operator: type[ast.operator], left: Dual, right: Dual) -> Dual:
    (u, du), (v, dv) = left, right
    value = expressions.BINARY[operator](u, v)
    if operator in (ast.Add, ast.Sub):
        return value, expressions.BINARY[operator](du, dv)
    if operator is ast.Mult:
        return value, _of_other(v, dv, du) + _of_other(u, du, dv)
    if operator is ast.Div:
        slope = np.where(v == 0, np.nan, (du - _product(value, dv)) / v)
        return value, _beyond_range(v, dv, value, slope)
    of_base = np.where(v == 0, 0.0, v * np.power(u, v - 1.0))
    slope = _product(of_base, du) + _product(np.where(value == 0, 0.0, value * np.log(u)), dv)
    return value, np.where((u == 0) & np.isinf(value), np.nan, slope)


def _beyond_range(u: Any, du: Any, value: Any, slope: Any) -> Any:
    """The slope of a function of u, which is 0 where u is beyond the range of numbers, as in 1 / (1 + exp(800))."""
    return np.where(np.isinf(u) & ~np.isnan(du) & np.isfinite(value), 0.0, slope)


def _product(factor: Any, slope: Any) -> Any:
    """A product with a slope, where a slope of 0 has a product of 0 with all factors."""
    return np.where(slope == 0, 0.0, factor * slope)


def _of_other(u: Any, du: Any, dv: Any) -> Any:
    """The part of the slope of u v that v causes: 0 also for x * sqrt(x) at 0, where the slope of v is infinite."""
    return np.where((u == 0) & np.isfinite(du) & np.isinf(dv), 0.0, _product(u, dv))


def _interval(u: Float64s, ahead: Float64s, knots: Float64s) -> tuple[Float64s, Float64s]:
    """The ends of the interval between knots beside u in the direction of `ahead`; beyond all knots, one around u."""
    place = np.where(ahead < 0, np.searchsorted(knots, u, "left"), np.searchsorted(knots, u, "right"))
    place = np.clip(place, 1, len(knots) - 1)
    first, last = knots[0], knots[-1]
    start = np.where(u > last, last, np.where(u < first, 2 * u - first, knots[place - 1]))
    end = np.where(u < first, first, np.where(u > last, 2 * u - last, knots[place]))
    return start, end


def _around(u: Float64s, state: State) -> Float64s:
    """Values of a cyclic spline between its bounds."""
    low, high = min(state["knots"]), max(state["knots"])
    return np.where((u < low) | (u > high), low + (u - low) % (high - low), u)
