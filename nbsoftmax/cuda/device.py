"""What a GPU is to the rest: memory, copies and launches. The one file that asks Numba for a device.

Tests put an array in NumPy's memory in its place, which counts what moves.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.check import InputValueError

INSTALL = "pip install 'nbsoftmax[cuda]' (or 'nbsoftmax[cuda12]' for drivers of CUDA 12)"


class DeviceMemoryError(MemoryError):
    """A device has not the memory that was asked for."""


class Device(Protocol):
    """One GPU. Arrays on it are one-dimensional and contiguous, and slices of them share their memory."""

    name: str

    def free_memory(self) -> int:
        """Bytes that are free."""
        ...

    def empty(self, n: int, dtype: Any) -> Any:
        """An array of n elements on the device; DeviceMemoryError where they do not fit."""
        ...

    def staging(self, n: int, dtype: Any) -> NDArray[Any]:
        """An array of the host's from which copies to the device go on while the host does other work."""
        ...

    def stream(self) -> Any:
        """A new order of work: what is asked for in one is done in turn, beside that of others."""
        ...

    def wait(self, stream: Any) -> None:
        """Until all that was asked for in a stream is done."""
        ...

    def put(self, source: NDArray[Any], target: Any, stream: Any) -> None:
        """Begin to copy host memory to as many elements of the device's."""
        ...

    def get(self, source: Any, stream: Any) -> NDArray[Any]:
        """A copy on the host, when all before it in the stream is done."""
        ...

    def launch(self, kernel: Any, grid: int, block: int, arguments: tuple[Any, ...], stream: Any) -> None:
        """Begin to run a kernel, a plain function."""
        ...

    def release(self) -> None:
        """Give back the memory of arrays that nobody holds any more."""
        ...


def missing() -> str:
    """Why there is no GPU to be used; empty where there is one."""
    if find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed: {INSTALL}"
    from numba import cuda

    if not cuda.is_available():
        return "numba-cuda finds no NVIDIA driver with a GPU: see that `nvidia-smi` lists one, or use device='cpu'"
    return ""


def devices(name: str) -> list[Device]:
    """The GPUs of "cuda", "cuda:1", "cuda:0,1", "cuda:all"; none of "cpu", nor of "auto" where there is none."""
    if name == "cpu" or (name == "auto" and missing()):
        return []
    reason = missing()
    if reason:
        raise InputValueError(f"device is {name!r}, but {reason}.")
    from numba import cuda

    wanted = name.partition(":")[2]
    there = len(cuda.gpus)
    numbers = list(range(there)) if wanted == "all" else [int(part) for part in wanted.split(",")] if wanted else [0]
    if max(numbers) >= there:
        raise InputValueError(f"device is {name!r}, but there are {there} GPUs, counted from 0.")
    return [NumbaDevice(number) for number in numbers]


class NumbaDevice:
    """A GPU by numba.cuda."""

    def __init__(self, number: int) -> None:
        from numba import cuda

        self._cuda, self._number, self.name = cuda, number, f"cuda:{number}"

    def free_memory(self) -> int:
        """Bytes that are free."""
        with self._here():
            return int(self._cuda.current_context().get_memory_info()[0])

    def empty(self, n: int, dtype: Any) -> Any:
        """An array of n elements; DeviceMemoryError where they do not fit."""
        from numba.cuda.cudadrv.driver import CudaAPIError

        with self._here():
            try:
                return self._cuda.device_array(max(1, n), dtype)
            except (CudaAPIError, MemoryError) as error:
                asked = n * np.dtype(dtype).itemsize
                raise out_of_memory(self.name, asked, self.free_memory()) from error

    def staging(self, n: int, dtype: Any) -> NDArray[Any]:
        """Page-locked memory of the host."""
        with self._here():
            array: NDArray[Any] = self._cuda.pinned_array(max(1, n), dtype)
            return array

    def stream(self) -> Any:
        """A new stream."""
        with self._here():
            return self._cuda.stream()

    def wait(self, stream: Any) -> None:
        """Until all in a stream is done."""
        with self._here():
            stream.synchronize()

    def put(self, source: NDArray[Any], target: Any, stream: Any) -> None:
        """Begin to copy to the device."""
        with self._here():
            target.copy_to_device(source, stream=stream)

    def get(self, source: Any, stream: Any) -> NDArray[Any]:
        """A copy on the host."""
        with self._here():
            found: NDArray[Any] = source.copy_to_host(stream=stream)
            stream.synchronize()
            return found

    def launch(self, kernel: Any, grid: int, block: int, arguments: tuple[Any, ...], stream: Any) -> None:
        """Begin to run a kernel."""
        from nbsoftmax.cuda import rows

        with self._here():
            rows.launch(rows.Plan(kernel, grid, block), *arguments, stream=stream)

    def release(self) -> None:
        """Free what numba.cuda has put off freeing."""
        with self._here():
            self._cuda.current_context().deallocations.clear()

    def _here(self) -> Any:
        return self._cuda.gpus[self._number]


def is_on_device(X: Any) -> bool:
    """Whether an array is on a GPU and says where, as those of CuPy, PyTorch and Numba do."""
    return hasattr(X, "__cuda_array_interface__")


def address_of(X: Any) -> int:
    """Where its first element is."""
    return int(X.__cuda_array_interface__["data"][0])


def on_device(X: Any) -> Any:
    """An array that is on a GPU as Numba sees it, not copied: (n_samples, n_features), float32 or float64, by rows."""
    from numba import cuda

    told = X.__cuda_array_interface__
    shape, dtype, strides = tuple(told["shape"]), np.dtype(told["typestr"]), told.get("strides")
    if len(shape) != 2 or shape[1] == 0:
        raise InputValueError(f"X has shape {shape}; expected 2 dimensions: (n_samples, n_features).")
    if dtype not in (np.float32, np.float64):
        raise InputValueError(f"X on the GPU has dtype {dtype}; convert it there to float32 or float64.")
    if strides is not None and tuple(strides) != (shape[1] * dtype.itemsize, dtype.itemsize):
        raise InputValueError("X on the GPU is not contiguous by rows; make it so there, as by X.contiguous().")
    return cuda.as_cuda_array(X)


def out_of_memory(name: str, asked: int, free: int) -> DeviceMemoryError:
    """The one error for it."""
    return DeviceMemoryError(
        f"{name} was asked for {asked / 2**20:.1f} MB and has {free / 2**20:.1f} MB free; close what else uses it, or "
        f"give `device_memory`, the bytes to use, below which X is sent in parts."
    )
