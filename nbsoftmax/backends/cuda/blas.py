"""Matrix products by cuBLAS, through the bindings of nvmath-python, if both are installed (extra `cuda-blas`)."""

from __future__ import annotations

import weakref
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from nbsoftmax.errors import warn

INSTALL = "pip install 'nbsoftmax[cuda-blas]'"


class Blas(Protocol):
    """Products on one device, in the order of one stream."""

    def add_product(  # noqa: PLR0913, PLR0917  the arguments of BLAS
        self,
        transpose_a: bool,
        transpose_b: bool,
        m: int,
        n: int,
        k: int,
        a: Any,
        lda: int,
        b: Any,
        ldb: int,
        c: Any,
        ldc: int,
        *,
        onto: bool,
        count: int = 1,
        steps: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """Begin C <- A B, or C += A B if `onto`, in BLAS's terms: columns are contiguous and begin `ld.` numbers apart.

        A is (m, k), B (k, n), C (m, n), A and B each transposed if asked; arrays of the device, all of one dtype.
        If `count` > 1, so for as many matrices, which begin `steps` numbers after each other in a, b and c.
        """
        ...


def on_stream(stream: int) -> Blas | None:
    """Products by cuBLAS in a stream of the current device, given by its handle; None if it is not installed."""
    if find_spec("nvmath") is None:
        return None
    try:
        return CuBlas(stream)
    except Exception as error:  # of several libraries, each of which may be missing
        warn(
            f"cuBLAS does not load ({error}); slower kernels are used instead. {INSTALL} installs it, for CUDA 13.",
            RuntimeWarning,
        )
        return None


class CuBlas:
    """A cuBLAS handle for one stream. With one handle per stream, runs on GPUs of one kind give the same bits."""

    def __init__(self, stream: int) -> None:
        from nvmath.bindings import cublas

        self._cublas, self._handle = cublas, cublas.create()
        weakref.finalize(self, cublas.destroy, self._handle)
        cublas.set_stream(self._handle, stream)
        self._numbers = {np.dtype(kind): np.array([0, 1], kind) for kind in (np.float32, np.float64)}

    def add_product(  # noqa: PLR0913, PLR0917  the arguments of BLAS
        self,
        transpose_a: bool,
        transpose_b: bool,
        m: int,
        n: int,
        k: int,
        a: Any,
        lda: int,
        b: Any,
        ldb: int,
        c: Any,
        ldc: int,
        *,
        onto: bool,
        count: int = 1,
        steps: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """As `Blas` says. float32 in float32: TF32 is used only where the environment forces it."""
        operation = self._cublas.Operation
        left, right = (operation.T if given else operation.N for given in (transpose_a, transpose_b))
        narrow = c.dtype == np.float32
        numbers = self._numbers[np.dtype(c.dtype)]
        zero, one = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        before, kept = (self._handle, left, right, m, n, k, one), one if onto else zero
        a, b, c = map(address_of, (a, b, c))
        if count == 1:
            multiply = self._cublas.sgemm if narrow else self._cublas.dgemm
            multiply(*before, a, lda, b, ldb, kept, c, ldc)
        else:
            multiply = self._cublas.sgemm_strided_batched if narrow else self._cublas.dgemm_strided_batched
            multiply(*before, a, lda, steps[0], b, ldb, steps[1], kept, c, ldc, steps[2], count)


def address_of(array: Any) -> int:
    """The address of the first element of an array on the device."""
    return int(array.__cuda_array_interface__["data"][0])
