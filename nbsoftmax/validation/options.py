"""Checks of options: numbers, choices, flags, devices, numbers of threads."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import config

from nbsoftmax.errors import InputTypeError, InputValueError, plain


def number(
    name: str, value: Any, *, low: float, high: float = np.inf, low_open: bool = False, finite: bool = True
) -> float:
    """Check a real number in [low, high] (or (low, high] with `low_open`); it may be inf only if not `finite`."""
    or_inf = "" if finite else ", or np.inf"
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating))
    ):
        raise InputTypeError(f"{name} is {plain(value)}, expected a number{or_inf}.", parameter=name)
    try:
        x = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        x = math.inf if value > 0 else -math.inf
    if not (low < x if low_open else low <= x) or not x <= high or (finite and math.isinf(x)):
        kind = "a finite number" if finite else "a number"
        more = "more than" if low_open else "at least"
        upper = f" and at most {high:g}" if np.isfinite(high) else ""
        raise InputValueError(f"{name} is {x:g}, expected {kind} of {more} {low:g}{upper}{or_inf}.", parameter=name)
    return x


def count(name: str, value: Any, *, low: int = 1) -> int:
    """Check a whole number of at least `low`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InputTypeError(f"{name} is {plain(value)}, expected a whole number.", parameter=name)
    if value < low:
        raise InputValueError(f"{name} is {value}, expected at least {low}.", parameter=name)
    return int(value)


def seed(value: Any) -> int:
    """Check `random_state`: a whole number of at least 0; None is 0, so that every run is the same."""
    return 0 if value is None else count("random_state", value, low=0)


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """Check that a value is one of a few names."""
    if not isinstance(value, str) or value not in options:
        one_of = "one of " if len(options) > 1 else ""
        raise InputValueError(
            f"{name} is {plain(value)}, expected {one_of}{', '.join(map(repr, options))}.", parameter=name
        )
    return str(value)


def ignored_index(value: Any) -> int | None:
    """Check `ignore_index`: a whole number or None."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InputTypeError(
            f"ignore_index is {plain(value)}, expected a whole number or None.", parameter="ignore_index"
        )
    return int(value)


def device(value: Any) -> str:
    """Check the form of a device name; whether the device exists is checked when it is used."""
    if isinstance(value, str) and value == "cpu":
        return "cpu"
    if not isinstance(value, str) or not re.fullmatch(r"cpu|auto|cuda(:(all|\d+(,\d+)*))?", value):
        raise InputValueError(
            f"device is {plain(value)}, expected 'cpu', 'cuda', 'auto', one GPU such as 'cuda:1', or several: "
            "'cuda:0,1', 'cuda:all'.",
            parameter="device",
        )
    return str(value)


def flag(name: str, value: Any) -> bool:
    """Check a truth value."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputTypeError(f"{name} is {plain(value)}, expected True or False.", parameter=name)
    return bool(value)


def n_threads(value: int | None) -> int | None:
    """Check a number of threads: at most `NUMBA_NUM_THREADS`; None means the default number."""
    if value is None:
        return None
    n = count("n_threads", value)
    most = int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    if n > most:
        raise InputValueError(
            f"n_threads is {n}, but Numba was started with {most}; set NUMBA_NUM_THREADS before Python starts.",
            parameter="n_threads",
        )
    return n


def callables(name: str, value: Any) -> tuple[Any, ...]:
    """Check a sequence of callbacks: functions, or objects with the hooks of `nbsoftmax.callbacks`."""
    if callable(value) or not hasattr(value, "__iter__"):
        raise InputTypeError(f"{name} is {plain(value)}, expected a sequence of functions, for example [function].")
    functions = tuple(value)
    for f in functions:
        if isinstance(f, type) or not (callable(f) or hasattr(f, "on_fit_task_end")):
            raise InputTypeError(
                f"{name} contains {plain(f)}, which cannot be called; give functions of one argument, or objects with "
                "the hooks of nbsoftmax.callbacks."
            )
    return functions
