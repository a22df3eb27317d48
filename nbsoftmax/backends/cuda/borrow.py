"""Arrays that other libraries have put on a GPU, described by `__cuda_array_interface__` or DLPack.

Nothing is copied, and no driver is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nbsoftmax.errors import InputTypeError, InputValueError
from nbsoftmax.validation.conversion import refuse_tensor

DEFAULT_STREAM = 1  # DLPack's number of the stream that waits for all others and that all others wait for


@dataclass(frozen=True)
class Borrowed:
    """A strided array on a GPU; keeps its owner's memory alive."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...] | None  # in bytes; None where it is C-contiguous
    stream: int | None  # in which its owner may still write to it
    owner: Any = field(repr=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": self.strides,
            "data": (self.address, False),
            "stream": self.stream,
        }


def borrowed(a: Any, name: str) -> Borrowed:
    """The description of an array on a GPU; errors call it `name`.

    By DLPack if the array has it: its owner then finishes its pending writes, which the interface leaves to a stream.
    """
    refuse_tensor(name, a)
    if not hasattr(a, "__dlpack__"):
        interface = a.__cuda_array_interface__
        shape, dtype, strides = tuple(interface["shape"]), np.dtype(interface["typestr"]), interface.get("strides")
        strides = None if strides is None else tuple(strides)
        return Borrowed(int(interface["data"][0]), shape, dtype, strides, interface.get("stream"), a)
    from cuda.core.utils import StridedMemoryView

    try:
        view = StridedMemoryView.from_dlpack(a, stream_ptr=DEFAULT_STREAM)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:  # a PyTorch tensor that requires a gradient
        raise InputTypeError(
            f"{name} is on a GPU and cannot be lent ({error}); give {name}.detach(), or copy it to the host."
        ) from None
    dtype = np.dtype(view.dtype)
    strides = None if view.strides is None else tuple(stride * dtype.itemsize for stride in view.strides)
    return Borrowed(int(view.ptr), tuple(view.shape), dtype, strides, None, view)


def samples(a: Any) -> Borrowed:
    """X, (n_samples, n_features), float32 or float64, contiguous by rows."""
    X = borrowed(a, "X")
    if len(X.shape) != 2 or X.shape[1] == 0:
        raise InputValueError(f"X has shape {X.shape}; expected 2 dimensions: (n_samples, n_features).")
    if X.shape[0] == 0:
        raise InputValueError(f"X has shape {X.shape}: there are no samples; give at least one.")
    if X.dtype not in (np.float32, np.float64):
        raise InputValueError(f"X on the GPU has dtype {X.dtype}; convert it there to float32 or float64.")
    by_rows = X.shape[1] * X.dtype.itemsize, X.dtype.itemsize
    if X.strides is not None and X.shape[0] > 1 and X.strides != by_rows:
        raise InputValueError("X on the GPU is not contiguous by rows; make it so there, as by X.contiguous().")
    return replace(X, strides=None)  # of one row they may be any
