"""The library formulaic, which parses formulas and computes bases, scales and contrasts: all calls of it.

Nothing here evaluates text: formulaic parses a formula only after `expressions` has checked each of its terms, because
its parser may evaluate the names of functions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from nbsoftmax.encoding.formula import expressions, names
from nbsoftmax.errors import InputValueError, plain

COLUMN, EXPRESSION, LITERAL = "column", "expression", "literal"
# Signs of other languages for formulas, and what to do instead.
SIGNS = {
    "|": "there are no random effects, and for rows that depend on each other within groups `inference` has "
    "cov='cluster'",
    "#": "write a:b for a#b of Stata, and a*b for a##b",
    **dict.fromkeys("<>=", "write a comparison inside I(), such as I(age > 40)"),
}
IN = 250  # the precedence of %in%: above those of * and /, and below that of :
METHODS = {"lookup": COLUMN, "python": EXPRESSION, "literal": LITERAL}


class Parsed(NamedTuple):
    """A formula as its terms, each a list of (kind, text)."""

    response: str
    terms: list[list[tuple[str, str]]]


class Scoped(NamedTuple):
    """A product of factors, by their texts, and whether each leaves out a column that the intercept spans."""

    scale: float
    factors: list[tuple[str, bool]]


def tokens_of(text: str) -> list[Any]:
    """The tokens of a formula, whose expressions are checked.

    Raises
    ------
    InputValueError
        For text that is not a formula, and for expressions that are not allowed.
    """
    _needed()
    from formulaic.parser.algos.sanitize_tokens import sanitize_tokens
    from formulaic.parser.algos.tokenize import tokenize

    try:
        for i, token in enumerate(tokenize(text)):
            if token.kind.value == "python":
                if i == 0:
                    raise _without_classes(text)
                expressions.expression(token.token)
        return list(sanitize_tokens(tokenize(names.aliased(text)[0])))
    except InputValueError:
        raise
    except Exception as error:  # the library raises several kinds
        raise _not_a_formula(text, error) from None


def parsed(text: str, available: Sequence[str]) -> Parsed:
    """The response and the terms of a formula; `.` stands for all columns that are available.

    Raises
    ------
    InputValueError
        As `tokens_of`, and for formulas with other than one response.
    """
    response = response_of(text)
    from formulaic import Formula
    from formulaic.parser import DefaultFormulaParser
    from formulaic.parser.types import Operator

    source, aliases = names.aliased(text, available)
    alias = {name: given for given, name in aliases.items()}
    known = [alias.get(name, name) for name in available]
    parser = DefaultFormulaParser(feature_flags={"TWOSIDED"})
    nested = Operator("in", arity=2, precedence=IN, associativity="left", to_terms=_in)
    parser.operator_resolver.operator_table["in"] = [nested]  # as in R; that of formulaic adds the terms on the right
    try:
        formula = Formula(source, _parser=parser, _context={"__formulaic_variables_available__": known})
        terms = list(formula.rhs)
    except Exception as error:
        raise _not_a_formula(text, error) from None

    def read(factor: Any) -> tuple[str, str]:
        kind = METHODS[factor.eval_method.value]
        of_column = kind == COLUMN
        return kind, aliases.get(factor.expr, factor.expr) if of_column else names.in_backticks(factor.expr, aliases)

    return Parsed(response, [list(map(read, term.factors)) for term in terms])


def response_of(text: str) -> str:
    """The column on the left of ~."""
    tokens = tokens_of(text)
    first = [token.token for token in tokens[:2]]
    if len(tokens) < 2 or tokens[0].kind.value != "name" or not first[1].startswith("~"):
        raise _without_classes(text)
    return names.aliased(text)[1].get(first[0], str(first[0]))


def _without_classes(text: str) -> InputValueError:
    return InputValueError(
        f"the formula is {plain(text)}, expected the column of the classes without a function, ~ and terms, such as "
        "'species ~ mass'."
    )


def scoped(terms: Iterable[Sequence[tuple[str, str]]], spanning: dict[str, bool]) -> list[list[Scoped]]:
    """The products that make up each term, so that the columns are linearly independent by construction.

    `spanning` says by factor whether its columns add up to the intercept, as those of levels do. formulaic finds the
    products from a table of two rows, which has a column with the name of each factor.
    """
    import pandas as pd
    from formulaic import Formula
    from formulaic.parser.types import Factor, Term

    place = {text: f"f{j:09d}" for j, text in enumerate(sorted(spanning))}  # for any text, in its order
    text_at = {name: text for text, name in place.items()}
    frame = pd.DataFrame(
        {place[text]: pd.Categorical(["a", "b"]) if spans else [0.0, 1.0] for text, spans in spanning.items()}
    )
    methods = {COLUMN: "lookup", EXPRESSION: "lookup", LITERAL: "literal"}
    made = [
        Term([Factor(text if kind == LITERAL else place[text], eval_method=methods[kind]) for kind, text in term])
        for term in terms
    ]
    structure = (
        Formula(made).get_model_matrix(frame if spanning else pd.DataFrame({"": [0.0, 1.0]})).model_spec.structure
    )
    return [
        [
            Scoped(float(one.scale), [(text_at[f.factor.expr], bool(f.reduced)) for f in one.factors])
            for one in row.scoped_terms
        ]
        for row in structure
    ]


def transform_of(name: str) -> Callable[..., Any]:
    """The function (x, options, state) of a name, which learns its state if that is empty.

    Bases return (fields, array (n, n_fields)). "contrasts" is the function (contrasts, levels, name), which returns
    the coding (n_levels, n_columns) and the names of its columns.
    """
    _needed()
    from formulaic import transforms

    if name == "contrasts":
        return _coding
    functions = dict(transforms.TRANSFORMS)

    def called(x: Any, options: dict[str, Any], state: dict[str, Any]) -> Any:
        found = functions[name](x, **options, _state=state)
        if name not in expressions.BASES:
            return np.asarray(found, np.float64)
        if isinstance(getattr(found, "__wrapped__", found), dict):
            return list(found), np.column_stack([np.asarray(column, np.float64) for column in found.values()])
        array = np.asarray(getattr(found, "__wrapped__", found), np.float64)
        metadata = getattr(found, "__formulaic_metadata__", None)
        return list(getattr(metadata, "column_names", None) or range(array.shape[1])), array

    return called


def _coding(contrasts: str, levels: Sequence[str], name: str) -> tuple[Any, tuple[str, ...]]:
    from formulaic.transforms import ContrastsRegistry

    made = getattr(ContrastsRegistry, contrasts)()
    coding = np.asarray(made.get_coding_matrix(list(levels), reduced_rank=True), np.float64)
    fields = made.get_coding_column_names(list(levels), reduced_rank=True)
    shape = made.get_factor_format(list(levels), reduced_rank=True)
    return coding, tuple(shape.format(name=name, field=field) for field in fields)


def reason(error: Exception) -> str:
    """The message of an error of formulaic, without the picture of the place that follows it."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _in(left: Any, right: Any) -> Any:
    """The terms of "left %in% right": each on the left times all factors on the right."""
    parents = reduce(operator.mul, right)
    return type(left)(parents * term for term in left)


def _needed() -> None:
    try:
        import formulaic  # noqa: F401
    except ImportError as error:
        raise ImportError('formulas need formulaic; install it with: pip install "nbsoftmax[formula]"') from error


def _not_a_formula(text: str, error: Exception) -> InputValueError:
    found = reason(error)
    advice = next((f"; {then}" for sign, then in SIGNS.items() if f"'{sign}" in found or f"`{sign}" in found), "")
    return InputValueError(f"the formula is {plain(text)}, which cannot be read: {found}{advice}.")
