"""The states of functions such as `bs` as JSON: numbers, truth values, None, and lists and objects of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nbsoftmax.encoding.formula import expressions

_CUBIC = {"lower_bound", "upper_bound", "constraints", "cyclic", "knots"}
_SCALE = {"ddof", "center", "scale"}
KEYS = {
    "bs": {"lower_bound", "upper_bound", "knots"},
    "poly": {"alpha", "norms2"},
    **dict.fromkeys(("cc", "cr", "cs"), _CUBIC),
    **dict.fromkeys(expressions.SCALES, _SCALE),
}


def as_json(value: Any) -> Any:
    """A state as JSON stores it."""
    if isinstance(value, dict):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [as_json(one) for one in value] if isinstance(value, list | tuple) else value


def from_json(function: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a function; any exception for what `as_json` has not made of one."""
    if set(stored) != (KEYS[function] if stored or function != "poly" else set()):
        raise ValueError(f"the state of {function} has other parts: {', '.join(stored)}")
    _check(stored)
    state = dict(stored)
    if function == "poly":
        return {key: {int(k): float(x) for k, x in one.items()} for key, one in state.items()}
    if isinstance(state.get("constraints"), list):
        state["constraints"] = np.array(state["constraints"], np.float64)
    return state


def _check(value: Any) -> None:
    """Refuse what is not a finite number, a truth value, None, or a list or object of these."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _check(one)
    elif not (value is None or (isinstance(value, int | float) and math.isfinite(value))):
        raise ValueError(f"a state holds {value!r}")
