"""Linear hypotheses about coefficients, read from text such as "x1[high] = 2 * x1[low]".

equations    equation ("," equation)*
equation     sum ["=" sum]
sum          ["-"] term (("+" | "-") term)*
term         factor (("*" | "/") factor)*, at most one of them a coefficient, which does not divide
factor       number, or name ["[" label "]"]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, listed, plain
from nbsoftmax.validation import Float64s

TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])
    |(?P<name>"[^"]*"|'[^']*'|[^\W\d][\w.]*)(?:\s*\[\s*(?P<label>"[^"]*"|'[^']*'|[^\]"']*?)\s*\])?
    |(?P<sign>[-+*/=,]))\s*""",
    re.VERBOSE,
)
EXAMPLE = 'expected for example "x1[high] = 2 * x1[low]"'
Linear = tuple[Float64s, float]  # a sum: its coefficients (n_params,), and its constant


@dataclass(frozen=True)
class Coefficients:
    """The names of coefficients relative to a reference class: columns, labels of all classes, and the reference."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    reference: str

    @property
    def n_params(self) -> int:
        """Number of coefficients: those of all classes but the reference."""
        return (len(self.labels) - 1) * len(self.names)

    def read(self, hypothesis: str | Sequence[str] | ArrayLike, q: ArrayLike | None) -> tuple[Float64s, Float64s]:
        """R (n_tests, n_params) and q (n_tests,) of the hypothesis R params.ravel() = q, from texts, or R and q."""
        texts = [hypothesis] if isinstance(hypothesis, str) else hypothesis
        if isinstance(texts, (list, tuple)) and texts and all(isinstance(text, str) for text in texts):
            if q is not None:
                raise InputValueError("q is for an array of hypotheses; write the number into the text.")
            sides = [self._equation(text, tokens) for text in texts for tokens in _split(_tokens(text), ",")]
            return np.array([row for row, _ in sides]), np.array([-constant for _, constant in sides])
        R = np.atleast_2d(validation.as_float64s("hypothesis", hypothesis))
        R = validation.finite("hypothesis", R, (max(1, len(R)), self.n_params), meaning="(n_tests, n_params)")
        right = np.zeros(len(R)) if q is None else np.atleast_1d(validation.as_float64s("q", q))
        if right.shape == (1,):
            right = np.repeat(right, len(R))
        return R, validation.finite("q", right, (len(R),), meaning="one number for each hypothesis")

    def _equation(self, text: str, tokens: list[re.Match[str]]) -> Linear:
        sides = [self._sum(text, side) for side in _split(tokens, "=")]
        if len(sides) > 2:
            raise _error(text, "an equation has more than one '='")
        row, constant = sides[0]
        for other, right in sides[1:]:
            row, constant = row - other, constant - right
        if not np.isfinite([*row, constant]).all():
            raise _error(text, "a number in it exceeds the range of float64")
        if not row.any():
            raise InputValueError(f"the hypothesis {plain(text)} {self._without_coefficients(tokens)}.")
        return row, constant

    def _without_coefficients(self, tokens: list[re.Match[str]]) -> str:
        """What is wrong with an equation whose coefficients are all 0."""
        labels = [_unquoted(token["label"]) for token in tokens if token["name"] and token["label"] is not None]
        if self.reference not in labels:
            return f"contains no coefficient, or they cancel; {EXAMPLE}"
        other = next(label for label in self.labels if label != self.reference)
        return (
            f"is about {plain(self.reference)}, the reference class, whose coefficients are 0 by definition; name "
            f"another class, such as {plain(other)}, or call `inference` with reference={plain(other)}"
        )

    def _sum(self, text: str, tokens: list[re.Match[str]]) -> Linear:
        terms: list[tuple[float, list[re.Match[str]]]] = [(1.0, [])]
        for token in tokens:
            if token["sign"] in ("+", "-"):
                terms.append((1.0 if token["sign"] == "+" else -1.0, []))
            else:
                terms[-1][1].append(token)
        if len(terms) > 1 and not terms[0][1]:
            del terms[0]  # what follows begins with a sign
        row, constant = np.zeros(self.n_params), 0.0
        for sign, term in terms:
            factor, index = self._term(text, term)
            if index is None:
                constant += sign * factor
            elif index >= 0:
                row[index] += sign * factor
        return row, constant

    def _term(self, text: str, tokens: list[re.Match[str]]) -> tuple[float, int | None]:
        """The number of a term, and the index of its coefficient: None without one, -1 for the reference class."""
        product, index = 1.0, None
        for i, token in enumerate(tokens):
            operator = tokens[i - 1]["sign"] if i else "*"
            if i % 2:
                if token["sign"] not in ("*", "/"):
                    raise _error(text, f"an operator is missing before {token[0].strip()!r}")
            elif token["number"]:
                number = float(token["number"])
                if operator == "/" and number == 0:
                    raise _error(text, "it divides by 0")
                product = product / number if operator == "/" else product * number
            elif token["name"] and operator == "*" and index is None:
                index = self._index(text, token)
            else:
                raise _error(text, f"{token[0].strip()!r} makes it not linear, or is not a coefficient or number")
        if len(tokens) % 2 == 0:
            raise _error(text, "a coefficient or number is missing")
        return product, index

    def _index(self, text: str, token: re.Match[str]) -> int:
        name, label = _unquoted(token["name"]), token["label"]
        if self.names.count(name) != 1:
            raise _error(text, f"{plain(name)} is not the name of one column; the columns are {listed(self.names)}")
        free = [other for other in self.labels if other != self.reference]
        if label is None and len(free) == 1:
            label = free[0]
        if label is None:
            raise _error(text, f"{plain(name)} has no class; write {name}[{free[0]}]")
        label = _unquoted(label)
        if label not in self.labels:
            raise _error(text, f"{plain(label)} is not a class; the classes are {listed(self.labels)}")
        return -1 if label == self.reference else free.index(label) * len(self.names) + self.names.index(name)


def _tokens(text: str) -> list[re.Match[str]]:
    tokens, end = [], 0
    while end < len(text):
        token = TOKEN.match(text, end)
        if token is None:
            raise _error(text, f"{text[end:].strip()!r} cannot be read; put names with other characters in quotes")
        tokens.append(token)
        end = token.end()
    return tokens


def _split(tokens: list[re.Match[str]], sign: str) -> list[list[re.Match[str]]]:
    parts: list[list[re.Match[str]]] = [[]]
    for token in tokens:
        if token["sign"] == sign:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in ("'", '"') else text


def _error(text: str, what: str) -> InputValueError:
    return InputValueError(f"the hypothesis {plain(text)} is not understood: {what}; {EXAMPLE}.")
