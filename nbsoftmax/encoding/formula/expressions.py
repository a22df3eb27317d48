"""What the expressions of a formula may hold: columns, numbers, arithmetic and a fixed list of functions.

An expression is a syntax tree that is checked before anything else, and that `evaluation` walks. It is never compiled,
so that neither a formula nor the file of a model can run code.

    log(x) + y**2        a column of numbers
    bs(x, 4)             a basis: several columns
    C(island, Sum)       levels of a column, and their contrasts
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from nbsoftmax.encoding.formula.names import without_backticks
from nbsoftmax.errors import InputValueError, listed, plain

NUMBER, BASIS, LEVELS = "number", "basis", "levels"
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (np.arcsinh, np.arctan, np.cos, np.exp, np.exp2, np.expm1, np.floor, np.log, np.log10, np.log1p, np.log2)
}
ELEMENTWISE |= {one.__name__: one for one in (np.sign, np.sin, np.sqrt, np.tan, np.tanh)} | {"abs": np.abs}
# The functions of formulaic with a state, and their options after the first argument.
_CUBIC = ("df", "knots", "lower_bound", "upper_bound", "constraints", "extrapolation")
BASES = {
    "bs": ("df", "knots", "degree", "include_intercept", "lower_bound", "upper_bound", "extrapolation"),
    "cc": _CUBIC,
    "cr": _CUBIC,
    "cs": _CUBIC,
    "poly": ("degree", "raw"),
}
SCALES = {"center": (), "scale": ("center", "scale", "ddof"), "standardize": ("center", "rescale", "ddof")}
CONTRASTS = {
    prefix + (name.lower() if prefix else name): name.lower()
    for prefix in ("", "contr.")
    for name in ("Treatment", "Sum", "Helmert", "Diff", "Poly")
}
BINARY: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
UNARY: dict[type[ast.unaryop], Callable[..., Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
COMPARISONS: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
IN_R = {
    "offset": "offset= to fit_formula (--offset on the command line)",
    "ns": "cr(x, df, constraints='center')",
    "factor": "C(x)",
    "as.factor": "C(x)",
    "ordered": "C(x, Poly)",
    "as.ordered": "C(x, Poly)",
    "as.numeric": "the name of a column of numbers alone",
    "is.na": "the name of a column of 0 and 1 that you add to the table",
    "ifelse": "I(x > 0) for 1 where x > 0 and 0 elsewhere",
    "relevel": "C(x, Treatment('level'))",
    "s": "bs(x, df) or cr(x, df)",
}
CONSTANTS_OF_R = {"TRUE": "True", "FALSE": "False", "T": "True", "F": "False", "NULL": "None"}
GRAMMAR = (
    "A term is made of columns, numbers, + - * / **, comparisons and the functions "
    f"{', '.join(['I', 'C', *BASES, *SCALES, *ELEMENTWISE])}; compute anything else as a column of the table."
)
LONGEST, DEEPEST, LARGEST = 2000, 40, 1000  # characters; levels of a tree; df, degree and the length of a list


@dataclass(frozen=True, eq=False)
class Expression:
    """A checked expression.

    Attributes
    ----------
    text : str
    kind : {"number", "basis", "levels"}
    tree : ast.expr
    columns : tuple of str
        The columns of the table that it reads, each once.
    quoted : dict
        The names of columns that stand in backticks in the text, by their names in the tree.
    stateful : tuple of ast.Call
        The calls of functions with a state, in the order in which `evaluation` evaluates them.
    """

    text: str
    kind: str
    tree: ast.expr
    columns: tuple[str, ...]
    quoted: dict[str, str]
    stateful: tuple[ast.Call, ...]

    def column(self, node: ast.expr) -> str:
        """The column that a name in the tree stands for."""
        name = dotted(node)
        return self.quoted.get(name, name)


def expression(text: str) -> Expression:
    """Check an expression.

    Raises
    ------
    InputValueError
        For anything but columns, numbers, arithmetic and the functions above.
    """
    if len(text) > LONGEST:
        raise InputValueError(f"the formula has a term of {len(text)} characters, expected at most {LONGEST}.")
    source, quoted = without_backticks(text)
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Python cannot parse functions of R whose names begin with a reserved word, such as as.factor.
        r = next((name for name in IN_R if re.search(rf"(?<![\w.]){re.escape(name)}\s*\(", text)), None)
        what = ", which is not an expression" if r is None else f" with the function {r!r} of R; write {IN_R[r]}"
        raise InputValueError(f"the formula has the term {plain(text)}{what}.") from None
    checker = _Checker(text, quoted)
    kind = checker.term(tree)
    if not checker.columns:
        raise InputValueError(f"the formula has the term {plain(text)} without a column; name one.")
    return Expression(text, kind, tree, tuple(checker.columns), quoted, tuple(checker.stateful))


def dotted(node: ast.expr) -> str:
    """The text of a name, or of names with dots between them; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return ""


def function_of(node: ast.expr) -> str:
    """The function that a node calls, without "np."; "" if it calls none by name."""
    return dotted(node.func).removeprefix("np.") if isinstance(node, ast.Call) else ""


def options_of(call: ast.Call, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a call after the first one, by name."""
    given = dict(zip(names, call.args[1:], strict=False))
    given |= {str(keyword.arg): keyword.value for keyword in call.keywords}
    return {name: ast.literal_eval(node) for name, node in given.items()}


class _Checker:
    """Walks a tree, refuses what is not allowed, and collects the columns and the calls of functions with a state."""

    def __init__(self, text: str, quoted: dict[str, str]) -> None:
        self._text, self._quoted = text, quoted
        self.columns: dict[str, None] = {}
        self.stateful: list[ast.Call] = []

    def term(self, node: ast.expr) -> str:
        """Check a whole term, and return its kind."""
        function = function_of(node)
        if function == "C":
            assert isinstance(node, ast.Call)
            self._levels(node)
            return LEVELS
        if function in BASES:
            assert isinstance(node, ast.Call)
            self._with_state(node, BASES[function], 0)
            return BASIS
        self._number(node, 0)
        return NUMBER

    def _number(self, node: ast.expr, depth: int) -> None:
        if depth > DEEPEST:
            self._refuse("too many levels of parentheses")
        if isinstance(node, ast.Constant):
            if not (type(node.value) in (int, float) and _is_finite(node.value)):
                self._refuse(f"{plain(node.value)}, which is not a number")
        elif isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
            self._number(node.operand, depth + 1)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            self._refuse("^, which is a power in R; write **")
        elif isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            self._number(node.left, depth + 1)
            self._number(node.right, depth + 1)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
            self._number(node.left, depth + 1)
            self._number(node.comparators[0], depth + 1)
        elif isinstance(node, ast.Call):
            self._call(node, depth)
        elif dotted(node):
            self._column(node)
        else:
            self._refuse(f"the part {plain(ast.unparse(node))}")

    def _call(self, node: ast.Call, depth: int) -> None:
        function = function_of(node)
        if function in SCALES:
            self._with_state(node, SCALES[function], depth)
        elif function in ELEMENTWISE or function == "I":
            if len(node.args) != 1 or node.keywords:
                self._refuse(f"{function}() with other than one argument")
            self._number(node.args[0], depth + 1)
        elif function in BASES or function == "C":
            self._refuse(f"{function}() inside another expression; it must be a term of its own")
        elif function in IN_R:
            self._refuse(f"the function {plain(function)} of R; write {IN_R[function]}")
        else:
            self._refuse(f"the function {plain(function or ast.unparse(node.func))}")

    def _with_state(self, node: ast.Call, names: tuple[str, ...], depth: int) -> None:
        if not 1 <= len(node.args) <= 1 + len(names):
            self._refuse(f"{function_of(node)}() with {len(node.args)} arguments")
        self._number(node.args[0], depth + 1)
        for keyword in node.keywords:
            if keyword.arg not in names[len(node.args) - 1 :]:
                self._refuse(f"{function_of(node)}() with the option {plain(keyword.arg)}")
        for option in [*node.args[1:], *(keyword.value for keyword in node.keywords)]:
            self._option(option)
        self.stateful.append(node)

    def _option(self, node: ast.expr) -> None:
        """Check that an option is a number, a text, True, False, None or a list of numbers."""
        is_list = isinstance(node, ast.List | ast.Tuple)
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            if function_of(node) == "c":
                self._refuse("the function 'c' of R; write a list, such as [40, 50]")
            if dotted(node) in CONSTANTS_OF_R:
                self._refuse(f"{dotted(node)} of R; write {CONSTANTS_OF_R[dotted(node)]}")
            self._refuse("an option that is not a number, a text or a list of numbers")
        items = list(value) if is_list else [value]
        allowed = (int, float) if is_list else (int, float, str, bool, type(None))
        if not all(type(item) in allowed for item in items) or len(items) > LARGEST:
            self._refuse("an option that is not a number, a text or a list of numbers")
        if not all(_is_finite(item) for item in items if isinstance(item, int | float)):
            self._refuse("an option that is not finite")
        if type(value) is int and value > LARGEST:
            self._refuse(f"the option {value}, expected at most {LARGEST}")

    def _levels(self, node: ast.Call) -> None:
        if not 1 <= len(node.args) <= 2 or any(keyword.arg != "contrasts" for keyword in node.keywords):
            self._refuse("C() with other arguments than a column and contrasts")
        if len(node.args) + len(node.keywords) > 2 or not dotted(node.args[0]):
            self._refuse("C() of something that is not a column")
        self._column(node.args[0])
        for contrasts in [*node.args[1:], *(keyword.value for keyword in node.keywords)]:
            self._contrasts(contrasts)

    def _contrasts(self, node: ast.expr) -> None:
        name = dotted(node.func if isinstance(node, ast.Call) else node)
        if name not in CONTRASTS:
            self._refuse(f"contrasts other than {listed(CONTRASTS)}")
        if isinstance(node, ast.Call):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            is_reference = CONTRASTS[name] == "treatment" and len(given) <= 1
            if given and not (is_reference and all(k.arg in ("reference", "base") for k in node.keywords)):
                self._refuse(f"{name}() with arguments; only Treatment has one, the reference level")
            for option in given:
                if isinstance(option, ast.List | ast.Tuple):
                    self._refuse("a reference level that is a list")
                self._option(option)

    def _column(self, node: ast.expr) -> None:
        name = dotted(node)
        if name not in self._quoted and not all(part in self._text for part in name.split(".")):
            self._refuse(f"the name {plain(name)}, which Python makes of another one; write the name in backticks")
        self.columns[self._quoted.get(name, name)] = None

    def _refuse(self, what: str) -> NoReturn:
        raise InputValueError(f"the formula has the term {plain(self._text)} with {what}. {GRAMMAR}")


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
