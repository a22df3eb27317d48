"""What a GPU is to the rest: memory, copies and launches. The one file that asks Numba for a device.

Tests put an array in NumPy's memory in its place, which counts what moves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.blas import Blas, on_stream
from nbsoftmax.backends.cuda.borrow import Borrowed, borrowed, samples
from nbsoftmax.errors import DeviceMemoryError, InputValueError
from nbsoftmax.validation import is_on_device

if TYPE_CHECKING:
    from nbsoftmax.kernels.cuda.rows import Plan

INSTALL = "pip install 'nbsoftmax[cuda]' (or 'nbsoftmax[cuda12]' for drivers of CUDA 12)"
OUT_OF_MEMORY = 2  # the driver's code for it


class Device(Protocol):
    """One GPU. Arrays on it are one-dimensional and contiguous, and slices of them share their memory.

    All but `here`, and what becomes of its arrays, is for the inside of `with device.here()`.
    """

    name: str

    def here(self) -> AbstractContextManager[Any]:
        """Makes it the GPU of the calling thread meanwhile, for its arrays to be cut and freed as well."""
        ...

    def free_memory(self) -> int:
        """Bytes that are free."""
        ...

    def empty(self, n: int, dtype: Any) -> Any:
        """An array of n elements on the device; DeviceMemoryError where they do not fit."""
        ...

    def adopt(self, X: Any) -> Any:
        """Samples that are on the device, in memory of others, as an array (n_samples, n_features)."""
        ...

    def fetch(self, a: Any) -> NDArray[Any]:
        """A copy on the host of an array that is on the device, in memory of others."""
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

    def launch(self, plan: Plan, arguments: tuple[Any, ...], stream: Any) -> None:
        """Begin to run a kernel."""
        ...

    def blas(self, stream: Any) -> Blas | None:
        """Matrix products in a stream; None where only kernels of ours make them."""
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

    def here(self) -> AbstractContextManager[Any]:
        """Makes it the GPU of the calling thread meanwhile.

        Numba makes the first GPU current where an array is cut, and loses memory that is freed, where none is.
        """
        chosen: AbstractContextManager[Any] = self._cuda.gpus[self._number]
        return chosen

    def free_memory(self) -> int:
        """Bytes that are free."""
        self.release()  # else arrays that nobody holds count as taken
        return int(self._cuda.current_context().get_memory_info()[0])

    def empty(self, n: int, dtype: Any) -> Any:
        """An array of n elements; DeviceMemoryError where they do not fit."""
        from numba.cuda.cudadrv.driver import CudaAPIError

        try:
            return self._cuda.device_array(max(1, n), dtype)
        except CudaAPIError as error:
            if int(error.code) != OUT_OF_MEMORY:
                raise
            asked = n * np.dtype(dtype).itemsize
            raise out_of_memory(self.name, asked, self.free_memory()) from error

    def adopt(self, X: Any) -> Any:
        """Samples that are on this GPU, in memory of others, as an array of Numba's."""
        there = samples(X)
        at = _number_of(there)
        if at != self._number:
            raise InputValueError(f"X is on GPU {at}, but device is {self.name!r}; use device='cuda:{at}'.")
        return self._cuda.as_cuda_array(there)

    def fetch(self, a: Any) -> NDArray[Any]:
        """A copy on the host of an array that is on any GPU."""
        there = borrowed(a, "an array")
        with self._cuda.gpus[_number_of(there)]:
            copied: NDArray[Any] = self._cuda.as_cuda_array(there).copy_to_host()
            self._cuda.synchronize()  # the copy is made in its owner's stream, where it names one
            return copied

    def staging(self, n: int, dtype: Any) -> NDArray[Any]:
        """Page-locked memory of the host; any other, from which copies are slower, where the system gives no more."""
        from numba.cuda.cudadrv.driver import CudaAPIError

        try:
            array: NDArray[Any] = self._cuda.pinned_array(max(1, n), dtype)
        except CudaAPIError:
            array = np.empty(max(1, n), dtype)
        return array

    def stream(self) -> Any:
        """A new stream."""
        return self._cuda.stream()

    def wait(self, stream: Any) -> None:
        """Until all in a stream is done."""
        stream.synchronize()

    def put(self, source: NDArray[Any], target: Any, stream: Any) -> None:
        """Begin to copy to the device."""
        target.copy_to_device(source, stream=stream)

    def get(self, source: Any, stream: Any) -> NDArray[Any]:
        """A copy on the host."""
        found: NDArray[Any] = source.copy_to_host(stream=stream)
        stream.synchronize()
        return found

    def launch(self, plan: Plan, arguments: tuple[Any, ...], stream: Any) -> None:
        """Begin to run a kernel."""
        from nbsoftmax.kernels.cuda import rows

        rows.launch(plan, *arguments, stream=stream)

    def blas(self, stream: Any) -> Blas | None:
        """By cuBLAS, where it is installed."""
        return on_stream(int(stream))

    def release(self) -> None:
        """Free what numba.cuda has put off freeing."""
        context = self._cuda.current_context()
        context.memory_manager.deallocations.clear()  # arrays
        context.deallocations.clear()  # streams


def _number_of(there: Borrowed) -> int:
    """The GPU whose memory it is."""
    from numba.cuda.cudadrv.driver import binding, driver

    ordinal = binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(driver.cuPointerGetAttribute(ordinal, binding.CUdeviceptr(there.address)))


def on_host(device: str, *arrays: Any) -> list[Any]:
    """The arrays, those that are on a GPU copied to the host; `device` is what sums are made on."""
    gpus = devices(device) if any(map(is_on_device, arrays)) else []
    if not gpus:
        return list(arrays)
    with gpus[0].here():
        return [gpus[0].fetch(a) if is_on_device(a) else a for a in arrays]


def out_of_memory(name: str, asked: int, free: int) -> DeviceMemoryError:
    """The one error for it."""
    return DeviceMemoryError(
        f"{name} was asked for {asked / 2**20:.1f} MB and has {free / 2**20:.1f} MB free; close what else uses it, or "
        f"give Trainer or Objective `device_memory`, the bytes to use, so that X is sent in parts."
    )
