"""`Formula`: a model as a formula, and the encoding that it learns from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nbsoftmax.cached import cached_property
from nbsoftmax.encoding.column import DATE, Column, complete, is_binary
from nbsoftmax.encoding.columns import STORED, CategoryColumn, Encoding
from nbsoftmax.encoding.formula import expressions, library
from nbsoftmax.encoding.formula.encoding import (
    Factor,
    FormulaEncoding,
    Product,
    factor_of,
    located,
    values_of,
)
from nbsoftmax.encoding.formula.evaluation import Made, State, Values
from nbsoftmax.encoding.formula.expressions import Expression, expression
from nbsoftmax.encoding.frames import columns_of
from nbsoftmax.encoding.learning import NOTHING_LEFT, Learner, no_values
from nbsoftmax.encoding.options import TableOptions
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, listed, look_alike, plain
from nbsoftmax.validation import first_repeated

Terms = tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True)
class Formula:
    """A formula whose columns are known.

    Attributes
    ----------
    text : str
    response : str
        The column of the classes.
    terms : tuple
        The terms on the right of ~, without the intercept: (kind, text) of each factor.
    intercept : bool
        Whether the model has an intercept.
    options : TableOptions
        `categorical` and `missing`.
    """

    text: str
    response: str
    terms: Terms
    intercept: bool
    options: TableOptions

    @classmethod
    def of(cls, text: Any, available: Sequence[str], options: TableOptions | None = None) -> Formula:
        """Read a formula; `.` in it stands for all columns that are available besides the response.

        Raises
        ------
        InputValueError, InputTypeError
            For text that is not a formula, for terms that are not allowed, for columns that are not available, and for
            options of tables that formulas replace.
        ImportError
            If formulaic is not installed.
        """
        if not isinstance(text, str):
            raise InputTypeError(f"formula is {a_type(text)}, expected text such as 'species ~ mass'.")
        options = TableOptions() if options is None else options
        for name, instead in (
            ("indicators", "a column of the table"),
            ("drop_first", "C(x, Treatment('level'))"),
            ("dates", "numbers that are made of the dates"),
        ):
            if getattr(options, name) not in (False, "error"):
                raise InputValueError(
                    f"{name} is for tables without a formula; with a formula, give {instead}.", parameter=name
                )
        found = library.parsed(text, available)
        terms = tuple(tuple(term) for term in found.terms if any(kind != library.LITERAL for kind, _ in term))
        if not terms:
            raise InputValueError(
                f"the formula is {plain(text)}, which has no terms besides the intercept: such a model predicts the "
                "share of each class, and its log-likelihood is `log_likelihood_null` of the inference of any other."
            )
        formula = cls(text, found.response, terms, len(terms) < len(found.terms), options)
        formula._check_columns(available)
        kinds = dict(part for term in terms for part in ((text, kind) for kind, text in term))
        both = next((text for term in terms for kind, text in term if kinds[text] != kind), None)
        if both is not None:
            raise InputValueError(
                f"the formula has the column {plain(both)} and a term of this text; rename the column."
            )
        options.refuse_absent(available)
        return formula

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the terms, each once."""
        return tuple(dict.fromkeys([*self._bare, *self._coded]))

    @cached_property
    def _expressions(self) -> dict[str, Expression]:
        return {text: expression(text) for term in self.terms for kind, text in term if kind == library.EXPRESSION}

    @cached_property
    def _coded(self) -> tuple[str, ...]:
        """The columns in C(...)."""
        coded = [one.columns for one in self._expressions.values() if one.kind == expressions.LEVELS]
        return tuple(dict.fromkeys(name for columns in coded for name in columns))

    @cached_property
    def _bare(self) -> tuple[str, ...]:
        """The columns elsewhere."""
        names = [text for term in self.terms for kind, text in term if kind == library.COLUMN]
        names += [name for x in self._expressions.values() if x.kind != expressions.LEVELS for name in x.columns]
        return tuple(dict.fromkeys(names))

    def _check_columns(self, available: Sequence[str]) -> None:
        known = set(available)
        for name in (self.response, *self.columns):
            if name not in known:
                raise InputValueError(
                    f"the formula names the column {plain(name)}, but the columns of the table are {listed(available)}"
                    f"{look_alike(name, available)}."
                )
        if self.response in self.columns:
            raise InputValueError(f"the formula has the column {plain(self.response)} on both sides of ~.")

    def learned(self, table: Any) -> FormulaEncoding:
        """The encoding of a table: levels of its columns, and states of functions, from all rows.

        Raises
        ------
        InputValueError, InputTypeError
            For columns that the formula cannot use, and for missing values unless they are imputed or dropped.
        """
        columns = dict(zip(self.columns, columns_of(table, self.columns), strict=True))
        inner = self._inner(columns)
        values, kept, _ = values_of(inner, columns, drop=True)
        if not values.n:
            raise InputValueError("X has no rows without missing values, so that there is nothing to learn.")
        states: dict[str, list[State]] = {text: [] for text in self._expressions}
        with located(kept):
            products, n_stored = self._products(values, states)
        binary = tuple(name for name, x in values.numbers.items() if is_binary(x))
        encoding = FormulaEncoding(self.text, self.response, self.intercept, inner, products, states, False, binary)
        names = encoding.names
        if not names:
            raise InputValueError(
                f"the formula is {plain(self.text)}, which makes no features of this table: columns of one level "
                "make none, nor does poly(x, 0)."
            )
        twice = first_repeated(names)
        if twice is not None:
            raise InputValueError(f"two features of the formula have the name {plain(twice)}; rename a column.")
        # Through JSON, so that predictions with a saved model have the same bits.
        encoding = replace(encoding, sparse=STORED * n_stored < len(names))
        return FormulaEncoding.from_dict(encoding.to_dict())

    def _inner(self, columns: Mapping[str, Column]) -> Encoding:
        """The kinds and levels of the columns, of those in C(...) as levels too."""
        for name, column in columns.items():
            if len(column) and column.missing.all():
                raise no_values(name)
        whole = complete(list(columns.values())) if self.options.missing == "drop" else None
        if whole is not None:
            if not whole.any():
                raise InputValueError(NOTHING_LEFT)
            columns = {name: column.take(whole) for name, column in columns.items()}
        named = tuple(name for name in self.options.categorical if name in columns)
        bare = replace(self.options, categorical=_of(named, self._bare), dates="parts")
        parts = list(_learned(columns, self._bare, bare))
        for part in parts:
            if part.kind == DATE:
                raise InputTypeError(
                    f"X has dates in column {plain(part.name)}, which formulas do not take; turn them into numbers, "
                    "for example days since a fixed date, or drop the column."
                )
        known = {part.name for part in parts if isinstance(part, CategoryColumn)}
        coded = tuple(name for name in self._coded if name not in known)
        parts += _learned(columns, coded, replace(self.options, categorical=coded))
        return Encoding(tuple(parts), self.options.missing)

    def _products(self, values: Values, states: Mapping[str, list[State]]) -> tuple[tuple[Product, ...], int]:
        """The products of all terms, and how many values they store of a row."""
        factors = {text: Factor(kind, text) for term in self.terms for kind, text in term if kind != library.LITERAL}
        spanning = {text: self._spans(text, values) for text in factors}
        cached: dict[Factor, Made] = {}

        def found(text: str, reduced: bool) -> Made:
            factor = replace(factors[text], reduced=reduced)
            if factor not in cached:
                cached[factor] = factor_of(factor, values, self._expressions, states)
            return cached[factor]

        products, n_stored = [], 0
        with_intercept = [*([[(library.LITERAL, "1")]] if self.intercept else []), *self.terms]
        of_terms = zip(with_intercept, library.scoped(with_intercept, spanning), strict=True)
        for term, one in ((term, one) for term, scoped in of_terms for one in scoped):
            if not one.factors:  # the intercept
                continue
            parts = [found(*factor) for factor in one.factors]
            names = [""]
            for j, part in enumerate(parts):
                names = [name + ":" * (j > 0) + before for before in part.names for name in names]
            n_stored += int(np.prod([part.block.n_stored for part in parts]))
            made_of = tuple(replace(factors[text], reduced=reduced) for text, reduced in one.factors)
            texts = tuple(text for kind, text in term if kind != library.LITERAL)
            products.append(Product(made_of, one.scale, tuple(names), texts))
        return tuple(products), n_stored

    def _spans(self, text: str, values: Values) -> bool:
        """Whether the columns of a factor add up to the intercept."""
        found = self._expressions.get(text)
        if found is None:
            return text in values.codes
        if found.kind == expressions.BASIS and expressions.function_of(found.tree) == "bs":
            call: Any = found.tree
            return bool(expressions.options_of(call, expressions.BASES["bs"]).get("include_intercept", False))
        return found.kind == expressions.LEVELS


def _learned(columns: Mapping[str, Column], names: Sequence[str], options: TableOptions) -> Sequence[Any]:
    if not names:
        return ()
    learner = Learner(options)
    learner.add(columns[name] for name in names)
    return learner.encoding().parts


def _of(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in others)
