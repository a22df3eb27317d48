"""The columns that a term of a formula makes of a table: evaluates checked expressions, with the states of a fit.

A state is what a function such as `bs` learns of the training: its knots, for example. formulaic computes bases and
contrasts.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.encoding.base import WrongFieldError
from nbsoftmax.encoding.column import NUMBER_AS_TRUTH, TRUTH_AS_NUMBER, text_of
from nbsoftmax.encoding.formula import expressions
from nbsoftmax.encoding.formula.blocks import Block
from nbsoftmax.encoding.formula.expressions import Expression
from nbsoftmax.encoding.formula.library import reason, transform_of
from nbsoftmax.errors import InputError, InputValueError, look_alike, plain
from nbsoftmax.validation import Float64s

State = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Values:
    """The columns of a table as formulas read them.

    Attributes
    ----------
    numbers : dict
        float64 arrays (n,) by column.
    codes : dict
        int64 positions among the levels (n,) by column, -1 for none.
    levels : dict
        The levels by column.
    n : int
    """

    numbers: Mapping[str, Float64s]
    codes: Mapping[str, NDArray[np.int64]]
    levels: Mapping[str, tuple[str, ...]]
    n: int


@dataclass(frozen=True, eq=False)
class Made:
    """What a factor makes: its block, and the names of the columns."""

    block: Block
    names: tuple[str, ...]


def levels_block(values: Values, column: str, name: str, contrasts: str, reference: Any, *, reduced: bool) -> Made:
    """The columns of the levels: one for each if not `reduced`, and otherwise those of the contrasts."""
    codes, levels = values.codes[column], values.levels[column]
    n_levels = len(levels)
    base = 0 if reference is None else _position(reference, levels, column)  # of treatment contrasts
    if not reduced:
        return Made(_one_hot(codes, np.arange(n_levels)), tuple(f"{name}[{level}]" for level in levels))
    if contrasts == "treatment":
        places = np.arange(n_levels) - (np.arange(n_levels) > base)
        places[base : base + 1] = -1
        kept = [level for j, level in enumerate(levels) if j != base]
        return Made(_one_hot(codes, places, n_levels - 1), tuple(f"{name}[T.{level}]" for level in kept))
    if n_levels < 2:
        return Made(Block(0, np.empty((values.n, 0))), ())
    coding, names = transform_of("contrasts")(contrasts, levels, name)
    table = np.vstack([coding, np.zeros(coding.shape[1])])  # the last row is that of unknown levels
    return Made(Block(coding.shape[1], table[codes]), names)


def made(expression: Expression, values: Values, states: list[State], *, reduced: bool) -> Made:
    """The columns of an expression; an empty list of states is filled, in a fit."""
    if expression.kind == expressions.LEVELS:
        column, contrasts, reference = contrasts_of(expression)
        return levels_block(values, column, expression.text, contrasts, reference, reduced=reduced)
    if not states:
        states.extend({} for _ in expression.stateful)
    evaluation = Evaluation(expression, values, states)
    with np.errstate(all="ignore"):
        found = evaluation.value(expression.tree)
    names: tuple[str, ...]
    if expression.kind == expressions.NUMBER:
        block, names = Block(1, vector(found, values.n)[:, None]), (expression.text,)
    else:
        fields, columns = found
        fields, columns = (fields[1:], columns[:, 1:]) if reduced else (fields, columns)
        block = Block(len(fields), columns)
        names = tuple(f"{expression.text}[{field}]" for field in fields)
    wrong = ~np.isfinite(block.values).all(axis=1)
    if wrong.any():
        evaluation.refuse_row(int(wrong.argmax()), f"{plain(expression.text)} is not a finite number there")
    return Made(block, names)


def contrasts_of(expression: Expression) -> tuple[str, str, Any]:
    """The column, the contrasts and the reference level, or None, of C(column, contrasts)."""
    call = expression.tree
    assert isinstance(call, ast.Call)
    given = [*call.args[1:], *(keyword.value for keyword in call.keywords)]
    column = expression.column(call.args[0])
    if not given:
        return column, "treatment", None
    called = given[0]
    if not isinstance(called, ast.Call):
        return column, expressions.CONTRASTS[expressions.dotted(called)], None
    options = [*called.args, *(keyword.value for keyword in called.keywords)]
    reference = ast.literal_eval(options[0]) if options else None
    return column, expressions.CONTRASTS[expressions.dotted(called.func)], reference


class Evaluation:
    """Walks the tree of an expression."""

    def __init__(self, expression: Expression, values: Values, states: Sequence[State]) -> None:
        self._expression, self._values = expression, values
        self._states = {id(call): state for call, state in zip(expression.stateful, states, strict=True)}

    def value(self, node: ast.expr) -> Any:
        """A number, an array (n,), or (fields, array (n, n_fields)) of a basis."""
        found: Any
        if isinstance(node, ast.Constant):
            found = np.float64(node.value)  # type: ignore[arg-type]
        elif isinstance(node, ast.UnaryOp):
            found = expressions.UNARY[type(node.op)](self.value(node.operand))
        elif isinstance(node, ast.BinOp):
            found = expressions.BINARY[type(node.op)](self.value(node.left), self.value(node.right))
        elif isinstance(node, ast.Compare):
            compared = expressions.COMPARISONS[type(node.ops[0])]
            found = compared(self.value(node.left), self.value(node.comparators[0])) * np.float64(1)
        elif isinstance(node, ast.Call):
            found = self._call(node)
        else:
            found = self._column(node)
        return found

    def _call(self, node: ast.Call) -> Any:
        function = expressions.function_of(node)
        if function == "I":
            return self.value(node.args[0])
        if function in expressions.ELEMENTWISE:
            return expressions.ELEMENTWISE[function](self.value(node.args[0]))
        return self._with_state(node, function)

    def _column(self, node: ast.expr) -> Float64s:
        column = self._expression.column(node)
        if column not in self._values.numbers:
            raise InputValueError(
                f"the formula computes with the column {plain(column)}, which has levels instead of numbers; write "
                "C(...) for the levels of a column."
            )
        return self._values.numbers[column]

    def _with_state(self, node: ast.Call, function: str) -> Any:
        return self.transformed(node, function, vector(self.value(node.args[0]), self._values.n))

    def transformed(self, node: ast.Call, function: str, x: Float64s) -> Any:
        """What a function with a state makes of x: an array (n,), or (fields, array (n, n_fields)) of a basis."""
        names = expressions.BASES.get(function) or expressions.SCALES[function]
        options, state = expressions.options_of(node, names), self._states[id(node)]
        if function == "bs" and options.get("extrapolation", "raise") == "raise" and state:
            self._refuse_outside(node, x, state)
        transform = transform_of(function)
        return self._called(lambda: transform(x, options, state), node)

    def _called(self, function: Callable[[], Any], node: ast.expr) -> Any:
        try:
            return function()
        except (InputError, ImportError):
            raise
        except Exception as error:  # the library raises several kinds
            raise InputValueError(
                f"the formula has the term {plain(self._expression.text)}, in which {plain(ast.unparse(node))} cannot "
                f"be computed: {reason(error)}."
            ) from None

    def _refuse_outside(self, node: ast.expr, x: Float64s, state: State) -> None:
        low, high = float(state["lower_bound"]), float(state["upper_bound"])
        outside = (x < low) | (x > high)
        if outside.any():
            self.refuse_row(
                int(outside.argmax()),
                f"{plain(self._expression.text)} is defined from {low:g} to {high:g}, the range of the training; give "
                "bs() the bounds lower_bound and upper_bound, or extrapolation='clip' or 'extend', in the fit",
            )

    def refuse_row(self, row: int, advice: str) -> NoReturn:
        """Refuse the value of the first column in a row."""
        column = self._expression.columns[0]
        raise WrongFieldError.at(column, row, plain(self._values.numbers[column][row]), advice)


def vector(value: Any, n: int) -> Float64s:
    """A number or an array as an array (n,)."""
    return np.broadcast_to(np.asarray(value, np.float64), (n,))


def _one_hot(codes: NDArray[np.int64], places: NDArray[np.int64], width: int | None = None) -> Block:
    lookup = np.append(places, -1)  # code -1, of an unknown or missing level, takes the last one
    return Block(len(places) if width is None else width, np.ones((len(codes), 1)), lookup[codes][:, None])


def _position(reference: Any, levels: Sequence[str], column: str) -> int:
    text = text_of(reference)
    if text not in levels and set(levels) <= TRUTH_AS_NUMBER.keys():
        text = NUMBER_AS_TRUTH.get(text, text)
    if text not in levels:
        raise InputValueError(
            f"the formula has the reference level {plain(reference)}, but the levels of column {plain(column)} are "
            f"{', '.join(map(plain, levels[:10]))}{look_alike(text, levels)}."
        )
    return levels.index(text)
