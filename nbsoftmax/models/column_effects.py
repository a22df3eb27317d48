"""Mean effects of the columns of a table, through all features that a formula makes of them, by the delta method.

A column may be in several features, such as x in "x * island + bs(x, 4)". The features of a row, and the 1 of the
intercept, are functions f(x) of the column. With d = df/dx, e_k = d (w_k - wbar) and wbar = sum_l a_l w_l, the effects
and their derivatives with respect to w_l are means over the rows of

    "dy"   s a_k e_k    s a_k (([k = l] - a_l) (e_k f + d) - a_l e_l f)
    "ey"   s e_k        s (([k = l] - a_l) d - a_l e_l f)

with s = 1 ("dx") or x ("ex"). The effect of a level is the change of a_k, or of log a_k, from the first level of its
column to this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.encoding import Column, FormulaEncoding, columns_of
from nbsoftmax.encoding.column import CATEGORY, is_binary
from nbsoftmax.encoding.columns import CategoryColumn
from nbsoftmax.errors import InputTypeError, InputValueError, listed, plain, warn, x_called
from nbsoftmax.functional import log_softmax
from nbsoftmax.models.effects import variances
from nbsoftmax.models.points import Points
from nbsoftmax.models.softmax import SoftmaxModel, params_of
from nbsoftmax.validation import Float64s

ROWS = 2**12


@dataclass(frozen=True, eq=False)
class Change:
    """A column, and its low and high value in each row; without these, its effect is a derivative."""

    name: str
    column: str
    ends: tuple[Column, Column] | None


def chosen_columns(model: SoftmaxModel, at: Any, columns: bool | Sequence[str]) -> tuple[str, ...]:
    """The names of the columns whose effects are asked for; none for the effects of features.

    Warns
    -----
    UserWarning
        If features are asked for that share a column, such as those of an interaction.

    Raises
    ------
    InputValueError
        If the model has no formula, for names that its formula does not contain, and if `at` is not a table.
    """
    if columns is False:
        shared = model.encoding.shared_columns if isinstance(model.encoding, FormulaEncoding) else ()
        if shared:
            warn(
                f"the columns {listed(shared)} are in several features, and the effect of each feature leaves the "
                "others as they are; marginal_effects(table, columns=True), or --column-effects of the commands, gives "
                "the effects of columns.",
            )
        return ()
    if not isinstance(model.encoding, FormulaEncoding):
        raise InputValueError(
            "columns is for models with formulas, whose features may be made from several columns; leave it out."
        )
    if isinstance(at, str):
        raise InputValueError(
            f"columns needs the table whose rows the effects are averaged over, but at is {at!r}; give the table as "
            "`at`, for example that of the fit."
        )
    known = model.encoding.columns
    if columns is True:
        return known
    if not isinstance(columns, Iterable):
        raise InputTypeError(f"columns is {plain(columns)}, expected True, False or names of columns: {listed(known)}.")
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) < len(names):
        what = plain(unknown[0]) if unknown else plain(list(names))
        raise InputValueError(f"columns has {what}, expected True or distinct columns of the formula: {listed(known)}.")
    return names


def changes_of(
    encoding: FormulaEncoding, table: dict[str, Column], names: Sequence[str], binary: Mapping[str, bool] | None
) -> Iterator[Change]:
    """The changes of these columns: of a number one, and of a column of levels one for each level but the first.

    `binary` says which features are only 0 and 1 in the fit; None for slopes of these, too. Of columns that are no
    feature the encoding knows it, or where it was saved by an earlier version, the table says it.
    """
    for name in names:
        column = table[name]
        if column.kind == CATEGORY:
            first, *others = next(
                part.levels for part in encoding.table.parts if isinstance(part, CategoryColumn) and part.name == name
            )
            n = len(column)
            low, *highs = (Column(name, CATEGORY, np.zeros(n, np.int64), (level,)) for level in (first, *others))
            for level, high in zip(others, highs, strict=True):
                yield Change(f"{name}[{level}]", name, (low, high))
            continue
        x = column.values
        found = is_binary(x) if encoding.binary is None else name in encoding.binary
        if binary is not None and binary.get(name, found):
            low, high = (replace(column, values=np.full(len(x), value)) for value in (0.0, 1.0))
            yield Change(name, name, (low, high))
            continue
        yield Change(name, name, None)


def mean_column_effects(
    model: SoftmaxModel,
    points: Points,
    table: Any,
    names: Sequence[str],
    free: NDArray[np.bool_],
    covariance: Float64s,
    kind: str,
    *,
    binary: Mapping[str, bool] | None,
) -> tuple[Float64s, Float64s, tuple[str, ...], NDArray[np.bool_]]:
    """Effects and standard errors (n_effects, n_classes), the names of the effects, and which of them are changes.

    `points` are the features of the table, with the weights and the offset of its rows.
    """
    encoding = model.encoding
    assert isinstance(encoding, FormulaEncoding)
    whole = _converted(encoding, table)
    changes = list(changes_of(encoding, whole, names, binary))
    params, n_classes = params_of(model), model.n_classes
    effects = np.zeros((len(changes), n_classes))
    jacobians = np.zeros((len(changes), n_classes, *params.shape))
    for start in range(0, len(points.weight), ROWS):
        rows = slice(start, start + ROWS)
        part = {name: column.take(rows) for name, column in whole.items()}
        offset = points.offset[rows] if points.offset.size else 0.0
        weight = points.weight[rows]
        f = _with_one(encoding.encode(part, dense=True).X)
        a = np.exp(log_softmax(f @ params.T + offset))
        for i, change in enumerate(changes):
            if change.ends is None:
                slope = _slopes(encoding, part, change.column, start)
                s = weight * part[change.column].values if kind.endswith("ex") else weight
                added = _of_slope(params, f, a, slope, s, of_log=kind.startswith("ey"))
            else:
                ends = [_with_column(encoding, part, change.column, end.take(rows)) for end in change.ends]
                added = _of_change(params, ends, offset, weight, of_log=kind.startswith("ey"))
            effects[i] += added[0]
            jacobians[i] += added[1]
    n_names = len(covariance) // int(free.sum())
    errors = [variances(jacobians[:, k, free, :n_names], covariance) for k in range(n_classes)]
    is_change = np.array([change.ends is not None for change in changes])
    return effects, np.sqrt(np.maximum(np.transpose(errors), 0.0)), tuple(one.name for one in changes), is_change


def _converted(encoding: FormulaEncoding, table: Any) -> dict[str, Column]:
    """The columns by name, missing numbers as their mean; one that is a number and levels, "x + C(x)", as levels."""
    with x_called("at"):
        given = {one.name: one for one in columns_of(table, encoding.columns)}
        columns, _ = encoding.table.converted(given, drop=False)
    found: dict[str, Column] = {}
    for part, column in zip(encoding.table.parts, columns, strict=True):
        if isinstance(part, CategoryColumn):
            found[part.name] = column
        elif part.name not in found:
            found[part.name] = replace(column, values=part.dense(column)[0])
    return found


def _with_column(encoding: FormulaEncoding, part: Mapping[str, Column], name: str, end: Column) -> Float64s:
    """The features of some rows, (n, n_features + 1), with this column in the place of one."""
    return _with_one(encoding.encode({**part, name: end}, dense=True).X)


def _slopes(encoding: FormulaEncoding, part: Mapping[str, Column], name: str, first: int) -> Float64s:
    """The derivatives of the features of some rows, (n, n_features + 1); `first` is the first row, for errors."""
    x = part[name].values
    slope = np.column_stack([encoding.slopes(part, name), np.zeros(len(x))])
    wrong = ~np.isfinite(slope).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputValueError(
            f"the effect of {plain(name)} has no finite value at row {first + row} (counted from 0), where it is "
            f"{x[row]:g}: a term has a jump or an infinite slope there, as I({name} > c), I({name} == c), floor, or "
            "sqrt at 0. Make a column of 0 and 1 of a step, or leave such rows out."
        )
    return slope


def _with_one(X: Any) -> Float64s:
    return np.column_stack([np.asarray(X, np.float64), np.ones(len(X))])


def _of_slope(
    params: Float64s, f: Float64s, a: Float64s, d: Float64s, s: Float64s, *, of_log: bool
) -> tuple[Float64s, Float64s]:
    """Sums of the effects of a number, (K,), and of their derivatives, (K, K, P), from probabilities a (n, K)."""
    e = d @ params.T
    e -= (a * e).sum(axis=1, keepdims=True)
    outer = s[:, None] * (np.ones_like(a) if of_log else a)
    of_f = np.zeros_like(e) if of_log else outer * e
    jacobian = np.empty((len(params), *params.shape))
    for k in range(len(params)):
        both = outer[:, [k]] * a
        jacobian[k] = -(both * e + of_f[:, [k]] * a).T @ f - both.T @ d
        jacobian[k, k] += of_f[:, k] @ f + outer[:, k] @ d
    return (outer * e).sum(axis=0), jacobian


def _of_change(
    params: Float64s, ends: Sequence[Float64s], offset: Any, weight: Float64s, *, of_log: bool
) -> tuple[Float64s, Float64s]:
    """Sums of the changes from the first end to the second, (K,), and of their derivatives, (K, K, P)."""
    effects, jacobian = np.zeros(len(params)), np.zeros((len(params), *params.shape))
    for sign, f in zip((-1.0, 1.0), ends, strict=True):
        log_proba = log_softmax(f @ params.T + offset)
        a = np.exp(log_proba)
        outer = sign * weight[:, None] * (np.ones_like(a) if of_log else a)
        effects += sign * weight @ (log_proba if of_log else a)
        for k in range(len(params)):
            jacobian[k] -= (outer[:, [k]] * a).T @ f
            jacobian[k, k] += outer[:, k] @ f
    return effects, jacobian
