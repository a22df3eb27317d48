"""`FormulaEncoding`: the columns of a table to the features of a model, as a formula says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.cached import cached_property
from nbsoftmax.encoding.base import Encoded, WrongFieldError
from nbsoftmax.encoding.columns import CategoryColumn, DateColumn, Encoding
from nbsoftmax.encoding.formula import blocks
from nbsoftmax.encoding.formula.blocks import Block
from nbsoftmax.encoding.formula.evaluation import Made, State, Values, levels_block, made
from nbsoftmax.encoding.formula.expressions import LEVELS, Expression, expression, function_of
from nbsoftmax.encoding.formula.library import COLUMN, EXPRESSION
from nbsoftmax.encoding.formula.slopes import ABOVE, BELOW, slope_block
from nbsoftmax.encoding.formula.states import as_json, from_json
from nbsoftmax.encoding.reports import Unknown
from nbsoftmax.errors import InputValueError
from nbsoftmax.validation import Float64s

JUMP = 1e-9  # of a feature, relative to it


@dataclass(frozen=True)
class Factor:
    """A column, or an expression of columns; `reduced` if one of its columns is left out, which the intercept spans."""

    kind: str
    text: str
    reduced: bool = False


@dataclass(frozen=True)
class Product:
    """The products of the columns of some factors, times a number, and the names of the features.

    `term` has the texts of the factors of its term in the formula, which may be more: "a:b" without "b" also makes the
    levels of b. It is empty in models of earlier versions.
    """

    factors: tuple[Factor, ...]
    scale: float
    names: tuple[str, ...]
    term: tuple[str, ...] = ()


@dataclass(frozen=True)
class FormulaEncoding:
    """The features of a table as a formula makes them.

    Attributes
    ----------
    formula : str
    response : str
        The column of the classes.
    intercept : bool
        Whether the formula has an intercept, which is that of the model.
    table : Encoding
        The kinds of the columns, their levels and means, and what happens to missing values. Its features are not used.
    products : tuple of Product
    states : dict
        For each expression, what its functions have learned of the training, such as the knots of `bs`.
    sparse : bool
        Whether matrices are sparse: where a sparse array and its transposed copy are smaller than a dense one.
    binary : tuple of str, or None
        The columns of numbers that had only the values 0 and 1 in the training; None for models that do not know them.
    """

    kind: ClassVar[str] = "formula"
    formula: str
    response: str
    intercept: bool
    table: Encoding
    products: tuple[Product, ...]
    states: Mapping[str, list[State]]
    sparse: bool
    binary: tuple[str, ...] | None = None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        return tuple(dict.fromkeys(self.table.columns))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(name for product in self.products for name in product.names)

    def features_of(self, column: str) -> tuple[str, ...]:
        """The names of the features that are made from one column alone."""
        found: list[str] = []
        for product in self.products:
            used = {name for factor in product.factors for name in self._columns_of(factor)}
            found += product.names if used == {column} else ()
        return tuple(found)

    @cached_property
    def terms(self) -> dict[str, tuple[str, ...]]:
        """The names of the features by the terms that make them, such as "region:sex"."""
        found: dict[str, tuple[str, ...]] = {}
        order: dict[frozenset[str], str] = {}
        for product in self.products:
            texts = product.term or [factor.text for factor in product.factors]
            term = order.setdefault(frozenset(texts), ":".join(texts))
            found[term] = (*found.get(term, ()), *product.names)
        return found

    def levels_of(self, column: str) -> tuple[str, ...]:
        """The names of the features that are levels of a column, of which a row has at most one."""
        found: list[str] = []
        for product in self.products:
            factor, *others = product.factors
            if not others and self._has_levels(factor) and set(self._columns_of(factor)) == {column}:
                found += product.names
        return tuple(found)

    def _has_levels(self, factor: Factor) -> bool:
        if factor.kind == EXPRESSION:
            return self._expressions[factor.text].kind == LEVELS
        return factor.text in self.level_columns

    @cached_property
    def shared_columns(self) -> tuple[str, ...]:
        """The columns that are in several features, other than as the levels of one factor."""
        counts = dict.fromkeys(self.columns, 0)
        for product in self.products:
            used = {name for factor in product.factors for name in self._columns_of(factor)}
            for name in used:
                counts[name] += 1 if name in self.level_columns else len(product.names)
        return tuple(name for name, n in counts.items() if n > 1)

    @property
    def drops_rows(self) -> bool:
        """Whether rows with missing values are left out of fits."""
        return self.table.drops_rows

    @property
    def level_columns(self) -> tuple[str, ...]:
        """The columns whose values are levels alone."""
        return self.table.level_columns

    def encode(self, table: Any, *, drop: bool = False, dense: bool = False) -> Encoded:
        """The matrix of a table.

        Parameters
        ----------
        table : table of pandas, polars or Arrow, or dict of Column
            Its columns may be in any order; those that the formula does not name are not used.
        drop : bool
            Whether rows with missing values are left out if the encoding drops them; otherwise they are refused.
        dense : bool
            Never make a sparse array.

        Raises
        ------
        InputValueError, InputTypeError
            As `Encoding.encode`, for a value outside of the bounds of a spline, and for a term that is not finite.
        ImportError
            If formulaic is needed and not installed.
        """
        values, kept, unknown = values_of(self.table, table, drop=drop)
        with located(kept):
            parts = [self._block(product, values) for product in self.products]
        width = sum(block.width for block in parts)
        if width != len(self.names):
            raise InputValueError(
                f"the formula makes {width} features, but the model was trained on {len(self.names)}; fit it again "
                "with this version of formulaic."
            )
        X = blocks.dense(parts, values.n) if dense or not self.sparse else blocks.sparse(parts, values.n)
        return Encoded(X, kept, unknown)

    def slopes(self, table: Any, column: str) -> Float64s:
        """The derivatives of the features of rows with respect to a column of numbers, (n, n_features).

        At a kink they are the mean of those on both sides. At a jump they are NaN.
        """
        values, _, _ = values_of(self.table, table, drop=False)
        n = values.n
        features = blocks.dense([self._block(product, values) for product in self.products], n)
        total = np.zeros_like(features)
        for side in (BELOW, ABOVE):
            beside = [self._beside(product, values, column, side) for product in self.products]
            limits = blocks.dense([limit for limit, _ in beside], n)
            slopes = np.hstack([slope for _, slope in beside])
            total += np.where(np.abs(limits - features) > JUMP * np.abs(features), np.nan, slopes)
        return total / 2

    def _beside(self, product: Product, values: Values, column: str, side: float) -> tuple[Block, Float64s]:
        """The limits of the features of a product on one side of the values of a column, and their derivatives."""
        limits, slopes = zip(*(self._limit(one, values, column, side) for one in product.factors), strict=True)
        total = np.zeros((values.n, len(product.names)))
        for j, slope in enumerate(slopes):
            if slope is not None:
                one = multiplied([*limits[:j], slope, *limits[j + 1 :]]).scaled(product.scale)
                total += blocks.dense([one], values.n)
        return multiplied(list(limits)).scaled(product.scale), total

    def _limit(self, factor: Factor, values: Values, column: str, side: float) -> tuple[Block, Block | None]:
        """The limits of the columns of a factor, and their derivatives; None for 0."""
        of_levels = self._has_levels(factor)
        if column not in self._columns_of(factor) or of_levels or factor.kind == COLUMN:
            block = factor_of(factor, values, self._expressions, self.states).block
            is_the_column = factor.text == column and not of_levels
            return block, Block(1, np.ones((values.n, 1))) if is_the_column else None
        found, states = self._expressions[factor.text], self.states[factor.text]
        return slope_block(found, values, states, column, side, reduced=factor.reduced)

    def _block(self, product: Product, values: Values) -> Block:
        factors = [factor_of(one, values, self._expressions, self.states).block for one in product.factors]
        return multiplied(factors).scaled(product.scale)

    @cached_property
    def _expressions(self) -> dict[str, Expression]:
        return _checked(self.products)

    def _columns_of(self, factor: Factor) -> tuple[str, ...]:
        return (factor.text,) if factor.kind == COLUMN else self._expressions[factor.text].columns

    def to_dict(self) -> dict[str, Any]:
        """What JSON stores."""
        products = [
            {
                "factors": [[factor.kind, factor.text, factor.reduced] for factor in product.factors],
                "scale": product.scale,
                "names": list(product.names),
                "term": list(product.term),
            }
            for product in self.products
        ]
        return {
            "kind": self.kind,
            "formula": self.formula,
            "response": self.response,
            "intercept": self.intercept,
            "table": self.table.to_dict(),
            "products": products,
            "states": {text: as_json(states) for text, states in self.states.items()},
            "sparse": self.sparse,
            "binary": None if self.binary is None else list(self.binary),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> FormulaEncoding:
        """The inverse of `to_dict`; any exception for what it has not made. No text is compiled or evaluated here."""
        products = tuple(
            Product(
                tuple(_factor(*given) for given in product["factors"]),
                _finite(product["scale"]),
                tuple(map(_text, product["names"])),
                tuple(map(_text, product.get("term", ()))),
            )
            for product in stored["products"]
        )
        found = cls(
            _text(stored["formula"]),
            _text(stored["response"]),
            stored["intercept"] is True,
            Encoding.from_dict(stored["table"]),
            products,
            _restored(products, stored["states"]),
            stored["sparse"] is True,
            None if stored.get("binary") is None else tuple(map(_text, stored["binary"])),
        )
        if not all(product.factors for product in products):
            raise ValueError("a term of its formula has no factors")
        if any(isinstance(part, DateColumn) for part in found.table.parts):
            raise ValueError("its encoding has dates, which formulas do not have")
        factors = [factor for product in products for factor in product.factors]
        if not {name for factor in factors for name in found._columns_of(factor)} <= set(found.table.columns):
            raise ValueError("a term of its formula has a column that is not in its table")
        return found

    def describe(self) -> list[str]:
        """A line for the formula, and one for each column."""
        return [f"formula: {self.formula}", *self.table.describe()]


def values_of(encoding: Encoding, table: Any, *, drop: bool) -> tuple[Values, NDArray[np.bool_] | None, Unknown]:
    """The columns of a table as a formula reads them, which rows are kept, and counts of unknown levels."""
    found, kept = encoding.converted(table, drop=drop)
    numbers: dict[str, Any] = {}
    codes: dict[str, Any] = {}
    levels: dict[str, tuple[str, ...]] = {}
    unknown: Unknown = {}
    for part, column in zip(encoding.parts, found, strict=True):
        if isinstance(part, CategoryColumn):
            codes[part.name], wrong, some = part.positions(column)
            levels[part.name] = part.levels
            if wrong.any():
                unknown[part.name] = int(wrong.sum()), tuple(some)
        else:
            numbers[part.name] = part.dense(column)[0]
    return Values(numbers, codes, levels, len(found[0])), kept, unknown


def factor_of(
    factor: Factor, values: Values, checked: Mapping[str, Expression], states: Mapping[str, list[State]]
) -> Made:
    """What a factor makes of a table."""
    name = factor.text
    if factor.kind == EXPRESSION:
        return made(checked[name], values, states[name], reduced=factor.reduced)
    if name in values.numbers:
        return Made(Block(1, values.numbers[name][:, None]), (name,))
    return levels_block(values, name, name, "treatment", None, reduced=factor.reduced)


def multiplied(factors: list[Block]) -> Block:
    """The products of all columns of some blocks."""
    product = factors[0]
    for one in factors[1:]:
        product = product.times(one)
    return product


@contextmanager
def located(kept: NDArray[np.bool_] | None) -> Iterator[None]:
    """Name the row of the table in an error about a row of those that are kept."""
    try:
        yield
    except WrongFieldError as error:
        raise error.among(kept) from None


def _checked(products: Sequence[Product]) -> dict[str, Expression]:
    """The expressions of some products by their texts; the first that is not allowed is refused."""
    factors = (factor for product in products for factor in product.factors)
    return {factor.text: expression(factor.text) for factor in factors if factor.kind == EXPRESSION}


def _restored(products: Sequence[Product], stored: Mapping[str, Any]) -> dict[str, list[State]]:
    checked = _checked(products)
    if set(stored) != set(checked):
        raise ValueError("its encoding has states of other terms")
    return {
        text: [from_json(function_of(call), state) for call, state in zip(one.stateful, stored[text], strict=True)]
        for text, one in checked.items()
    }


def _factor(kind: Any, text: Any, reduced: Any) -> Factor:
    if kind not in (COLUMN, EXPRESSION):
        raise ValueError(f"a factor is of the kind {kind!r}")
    return Factor(kind, _text(text), reduced is True)


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a number of its encoding is {value}")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name or a formula of its encoding is not text")
    return value
