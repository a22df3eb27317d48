"""Errors about the data of a fit as a whole, whose rows are in memory, on a GPU or in parts."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError, plain


def refuse_one_class(classes: NDArray[Any]) -> None:
    """Refuse targets that have fewer than two classes."""
    if classes.size < 2:
        seen = f"only the class {plain(classes[0])}" if classes.size else "no label"
        raise InputValueError(f"y contains {seen}, expected at least two classes.")


def refuse_on_device(on_device: bool, use: str) -> None:
    """Refuse an X on a GPU for a use on the host, such as "a checkpoint needs its rows"."""
    if on_device:
        raise InputValueError(f"X is on a GPU, but {use} on the host; copy X to the host.")


def refuse_no_weight(total: float) -> None:
    """Refuse samples whose weights sum to 0, for which the mean loss is undefined."""
    if total == 0:
        raise InputValueError(
            "the weights of the samples sum to 0, or there are no samples; give at least one sample of positive weight."
        )
