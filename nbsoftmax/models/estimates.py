"""Estimates with normal standard errors: p-values, confidence intervals, and a table as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import category, east_asian_width

import numpy as np
from scipy.special import ndtr, ndtri

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError
from nbsoftmax.validation import Float64s

MOST_ERROR = 5e-3  # relative rounding error of a standard error above which there is a warning


def z_scores(estimates: Float64s, errors: Float64s) -> Float64s:
    """Estimates / errors; NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(estimates / errors)


def two_sided(z: Float64s) -> Float64s:
    """P(|Z| >= |z|) for Z standard normal."""
    return np.asarray(2 * ndtr(-np.abs(z)))


def quantile(level: float) -> float:
    """The number that a standard normal variable exceeds in absolute value with probability 1 - level."""
    if validation.number("level", level, low=0.0, high=1.0, low_open=True) == 1:
        raise InputValueError(
            "level is 1, which makes the interval unbounded; give less, for example 0.95.", parameter="level"
        )
    return -float(ndtri((1 - level) / 2))  # (1 + level) / 2 may be rounded to 1


def interval(estimates: Float64s, errors: Float64s, level: float) -> Float64s:
    """Lower and upper ends of confidence intervals, on a new last axis."""
    reach = quantile(level) * errors
    return np.stack([estimates - reach, estimates + reach], axis=-1)


def statistics(values: Float64s, errors: Float64s, level: float, *, exp: bool = False) -> dict[str, Float64s]:
    """What tables show of each estimate: "value", "std_error", "z", "p_value", "low" and "high", of the same shape.

    With `exp`, all but z and p-value are those of exp(value).
    """
    exp = validation.flag("exp", exp)
    ends = interval(values, errors, level)
    z = z_scores(values, errors)
    with np.errstate(over="ignore"):
        shown = np.exp([values, ends[..., 0], ends[..., 1]]) if exp else [values, ends[..., 0], ends[..., 1]]
        error = shown[0] * errors if exp else errors
    names = ("value", "std_error", "z", "p_value", "low", "high")
    return dict(zip(names, map(np.asarray, (shown[0], error, z, two_sided(z), *shown[1:])), strict=True))


class Estimates(NamedTuple):
    """Estimates of several groups of quantities, and their standard errors.

    Attributes
    ----------
    values, errors : ndarray (n_groups, n_names)
    groups, names : sequence of str
    """

    values: Float64s
    errors: Float64s
    groups: Sequence[str]
    names: Sequence[str]

    def text(  # what the head of the table says, and in which form
        self,
        title: str,
        what: str,
        left: Sequence[tuple[str, str]],
        right: Sequence[tuple[str, str]],
        order: Sequence[int],
        level: float,
        *,
        exp: bool = False,
    ) -> str:
        """A table in the layout of statsmodels, with `left` and `right` in its head, and the names in this order."""
        columns = statistics(self.values, self.errors, level, exp=exp).values()
        groups, names = (list(map(_on_one_line, texts)) for texts in (self.groups, self.names))
        heads = [[(what, _on_one_line(fact)) for what, fact in side] for side in (left, right)]
        widest = max(_width(what + fact) for side in heads for what, fact in side)
        stub = max(10, *map(_width, groups), *map(_width, names), 2 * widest + 6 - 68)
        width = stub + 68
        ends = f"[{(1 - level) / 2:.6g}", f"{(1 + level) / 2:.6g}]"
        lines = [title.center(width), "=" * width]
        half = width // 2 - 1
        for (a, b), (c, d) in zip(*heads, strict=True):
            lines.append(f"{a:<{half - _width(b)}}{b}  {c:<{width - half - 2 - _width(d)}}{d}")
        for k, group in enumerate(groups):
            lines.append(("-" if k else "=") * width)
            space = " " * (stub - _width(group))
            lines.append(f"{space}{group}{what:>11}{'std err':>11}{'z':>11}{'P>|z|':>11}{ends[0]:>12}{ends[1]:>12}")
            lines.append("-" * width)
            for j in order:
                value, error, z_score, p, low, high = (float(column[k, j]) for column in columns)
                lines.append(
                    f"{names[j]}{' ' * (stub - _width(names[j]))}{_decimals(value, 4):>11}{_decimals(error, 3):>11}"
                    f"{_decimals(z_score, 3):>11}{p:>11.3f}{_decimals(low, 3):>12}{_decimals(high, 3):>12}"
                )
        return "\n".join([*lines, "=" * width])


def _on_one_line(text: str) -> str:
    """Text whose line breaks, tabs and other control characters are escaped."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: two for an ideograph, none for a combining accent."""
    wide = sum(east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(category(one) in ("Mn", "Me") for one in text)


def _decimals(number: float, n: int) -> str:
    """Format with `n` decimals, or `n` significant digits for very small and large numbers, as statsmodels does."""
    return f"{number:.{n}f}" if 1e-4 <= abs(number) < 1e4 else f"{number:.{n}g}"
