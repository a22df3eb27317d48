"""Derivatives of the features of rows with respect to a column of their table, by differences.

A difference is the slope where a nearer one has the same value. Where the values differ by more than rounding errors,
as of log(x) at an x that is small beside the range of its column, the nearer one counts, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

import numpy as np

from nbsoftmax.encoding import Column
from nbsoftmax.errors import InputError, InputValueError, plain
from nbsoftmax.validation import Float64s

EPS = float(np.finfo(float).eps)
STEP = float(np.cbrt(EPS))  # of a difference, relative to the range of the column
LEAST_STEP = 1e-3  # relative to that: for a value near 0 the step is relative to the value
NEARER, ROUNDS = 16.0, 10  # a nearer difference has a step of 1/16
ACCURATE = 1e-6  # relative change of a slope with a nearer difference, up to which the slope is right
SMOOTH = 1e-2  # the same, above which changes that grow are those of a jump
ROUNDING = 1e3 * EPS  # errors of a feature, relative to it
LEAST_DISTANCE = 64 * EPS  # of two values, relative to them

FeaturesAt = Callable[[Column, Column], list[Float64s]]


def values_beside(x: Float64s) -> tuple[Float64s, Float64s]:
    """Values below and above x, in the range of x: splines are not defined beyond that of the training."""
    lowest, highest = np.nanmin(x), np.nanmax(x)
    if lowest == highest:
        step = STEP * max(abs(lowest), 1.0)
        return x - step, x + step
    steps = STEP * np.clip(np.abs(x), LEAST_STEP * (highest - lowest), highest - lowest)
    return np.maximum(x - steps, lowest), np.minimum(x + steps, highest)


def slopes_at(
    name: str, column: Column, low: Column, high: Column, features_at: FeaturesAt, f: Float64s, first: int
) -> Float64s:
    """The derivatives of the features f of some rows, (n, n_features + 1).

    `features_at` gives the features with the column at two other values, of which `low` and `high` are the first.
    `first` is the number of the first row, for errors.

    Raises
    ------
    InputValueError
        For rows at a jump, or where the slope is infinite: differences change ever more.
    """
    low, high, ends = _defined(column, low, high, features_at)
    slope, off = _slope(ends, low, high), _off_the_middle(f, ends)
    before = np.full(f.shape, np.nan)  # the change of a slope in the previous round
    unsettled, fell, wrong = np.ones(f.shape, bool), np.zeros(f.shape, bool), np.zeros(f.shape, bool)
    for i in range(ROUNDS):
        near = [_nearer(column, end) for end in (low, high)]
        ends = features_at(*near)
        if i == 0:  # at a single value, as of I(x == 2), slopes are 0, but features stay off the middle
            alone = _off_the_middle(f, ends) > np.maximum(off / 2, SMOOTH * np.abs(f).max(axis=0))
        distance = near[1].values - near[0].values
        unsettled &= (distance > LEAST_DISTANCE * np.abs(column.values))[:, None]
        nearer = _slope(ends, *near)
        change = np.abs(nearer - slope)
        rounding = ROUNDING * np.abs(f) / np.where(distance > 0, distance, np.inf)[:, None]
        unequal = change > ACCURATE * np.abs(nearer) + rounding
        grows = unequal & (change > before)
        wrong[unsettled] = (grows & ~fell & (change > SMOOTH * np.abs(nearer)))[unsettled]
        unsettled &= unequal & ~(grows & fell)  # changes that grow again are rounding errors
        fell |= change < before
        if not unsettled.any():
            break
        before = change
        slope[unsettled] = nearer[unsettled]
        low, high = near
    refused = (wrong | alone).any(axis=1)
    if refused.any():
        _refuse(name, column, int(refused.argmax()), first)
    return slope


def _defined(
    column: Column, low: Column, high: Column, features_at: FeaturesAt
) -> tuple[Column, Column, Sequence[Float64s]]:
    """Values on both sides where all features are defined, or else on one side, and the features there.

    Where all rows have one value, the range in which a spline or a logarithm is defined is not known.
    """
    least = LEAST_DISTANCE * np.abs(column.values)
    for ends in ((low, high), (column, high), (low, column)):
        below, above = ends
        for i in range(ROUNDS):
            if i > 0 and not (above.values - below.values > least).any():
                break
            try:
                return below, above, features_at(below, above)
            except InputError as found:
                error = found
            below, above = _nearer(column, below), _nearer(column, above)
    raise error


def _slope(ends: Sequence[Float64s], low: Column, high: Column) -> Float64s:
    """The difference of features at two values of a column, divided by their distance, (n, n_features + 1)."""
    distance = np.where(high.values > low.values, high.values - low.values, 1.0)
    return np.asarray((ends[1] - ends[0]) / distance[:, None])


def _off_the_middle(f: Float64s, ends: Sequence[Float64s]) -> Float64s:
    """How far features are from the mean of those at two values around the row's own, (n, n_features + 1)."""
    return np.abs(f - (ends[0] + ends[1]) / 2)


def _nearer(column: Column, end: Column) -> Column:
    """The values a sixteenth of the way from those of the rows to an end."""
    return replace(end, values=column.values + (end.values - column.values) / NEARER)


def _refuse(name: str, column: Column, row: int, first: int) -> NoReturn:
    raise InputValueError(
        f"the effect of {plain(name)} has no finite value at row {first + row} (counted from 0), where it is "
        f"{column.values[row]:g}: a term has a jump or an infinite slope there, as I({name} > c), I({name} == c), "
        "floor, or sqrt at 0. Make a column of 0 and 1 of a step, or leave such rows out."
    )
