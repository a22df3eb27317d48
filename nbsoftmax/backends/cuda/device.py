"""The interface to a GPU: memory, copies and launches. Only this file uses numba.cuda.

Tests replace it by a device in NumPy's memory, which counts bytes and launches.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numba import config
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.blas import Blas, on_stream
from nbsoftmax.backends.cuda.borrow import Borrowed, borrowed, samples
from nbsoftmax.errors import DeviceMemoryError, InputValueError
from nbsoftmax.validation import is_on_device

if TYPE_CHECKING:
    from nbsoftmax.kernels.cuda.rows import Plan

INSTALL = "pip install 'nbsoftmax[cuda]' (or 'nbsoftmax[cuda12]' for drivers of CUDA 12)"
OUT_OF_MEMORY = 2  # the driver's code for it


class Recording(Protocol):
    """Work on a device that can be begun again as a whole."""

    def play(self) -> None:
        """Begin the work."""
        ...


class Device(Protocol):
    """One GPU. Arrays on it are one-dimensional and contiguous, and slices of them share their memory.

    All methods but `here` are called inside `with device.here()`, and arrays are cut and freed there.
    """

    name: str

    def here(self) -> AbstractContextManager[Any]:
        """Make this the current GPU of the calling thread, inside the context."""
        ...

    def free_memory(self) -> int:
        """Bytes that are free."""
        ...

    def empty(self, n: int, dtype: Any) -> Any:
        """A new array of n elements on the device; DeviceMemoryError if they do not fit."""
        ...

    def adopt(self, X: Any) -> Any:
        """An array (n_samples, n_features) that another library has put on the device, without a copy."""
        ...

    def fetch(self, a: Any) -> NDArray[Any]:
        """A copy on the host of an array that another library has put on the device."""
        ...

    def staging(self, n: int, dtype: Any) -> NDArray[Any]:
        """An array on the host from which copies to the device run in the background."""
        ...

    def stream(self) -> Any:
        """A new stream: work in one stream is done in order, at the same time as that in others."""
        ...

    def wait(self, stream: Any) -> None:
        """Wait until all work in a stream is done."""
        ...

    def put(self, source: NDArray[Any], target: Any, stream: Any) -> None:
        """Begin to copy host memory to the first elements of an array on the device."""
        ...

    def get(self, source: Any, stream: Any) -> NDArray[Any]:
        """A copy on the host, made after all earlier work in the stream."""
        ...

    def take(self, source: Any, target: NDArray[Any], stream: Any) -> None:
        """Begin to copy an array on the device to host memory."""
        ...

    def launch(self, plan: Plan, arguments: tuple[Any, ...], stream: Any) -> None:
        """Begin to run a kernel."""
        ...

    def record(self, begin: Callable[[], None], stream: Any) -> Recording:
        """Record the copies and kernels that a function begins in a stream, without running them."""
        ...

    def blas(self, stream: Any) -> Blas | None:
        """Matrix products in a stream; None if no BLAS is installed."""
        ...

    def release(self) -> None:
        """Free the memory of arrays that are no longer used."""
        ...


def missing() -> str:
    """Why no GPU can be used; empty if one can."""
    if find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed: {INSTALL}"
    if getattr(config, "ENABLE_CUDASIM", False):
        return "NUMBA_ENABLE_CUDASIM is set, and the simulator of Numba has no GPU: unset it, or use device='cpu'"
    try:
        from numba import cuda
    except Exception as error:  # another version than Numba's, for example
        return f"numba-cuda cannot be imported ({error}): {INSTALL}"
    if not cuda.is_available():
        return "numba-cuda finds no NVIDIA driver with a GPU: check that `nvidia-smi` lists one, or use device='cpu'"
    try:
        import_module("numba.cuda.np.arrayobj")  # the compiler needs it
    except AttributeError as error:  # numba-cuda 0.30 uses functions that NumPy 2.5 no longer has
        return f"numba-cuda does not work with NumPy {np.__version__} ({error}): pip install 'numpy<2.5'"
    return ""


def devices(name: str) -> list[Device]:
    """The GPUs of "cuda", "cuda:1", "cuda:0,1", "cuda:all"; none of "cpu", nor of "auto" where there is none."""
    if name == "cpu" or (name == "auto" and missing()):
        return []
    reason = missing()
    if reason:
        raise InputValueError(f"device is {name!r}, but {reason}.", parameter="device")
    from numba import cuda

    wanted = name.partition(":")[2]
    there = len(cuda.gpus)
    numbers = list(range(there)) if wanted == "all" else [int(part) for part in wanted.split(",")] if wanted else [0]
    if max(numbers) >= there:
        raise InputValueError(f"device is {name!r}, but there are {there} GPUs, counted from 0.", parameter="device")
    return [NumbaDevice(number) for number in numbers]


class NumbaDevice:
    """A GPU, through numba.cuda."""

    def __init__(self, number: int) -> None:
        from numba import cuda

        self._cuda, self._number, self.name = cuda, number, f"cuda:{number}"
        self._configured: dict[Any, Any] = {}

    def here(self) -> AbstractContextManager[Any]:
        """Make this the current GPU of the calling thread, inside the context.

        If no GPU is current, Numba makes the first one current when an array is cut, and leaks memory that is freed.
        """
        chosen: AbstractContextManager[Any] = self._cuda.gpus[self._number]
        return chosen

    def free_memory(self) -> int:
        """Bytes that are free."""
        self.release()  # arrays that are no longer used would count as taken
        return int(self._cuda.current_context().get_memory_info()[0])

    def empty(self, n: int, dtype: Any) -> Any:
        """A new array of n elements; DeviceMemoryError if they do not fit."""
        from numba.cuda.cudadrv.driver import CudaAPIError

        try:
            return self._cuda.device_array(max(1, n), dtype)
        except CudaAPIError as error:
            if int(error.code) != OUT_OF_MEMORY:
                raise
            asked = n * np.dtype(dtype).itemsize
            raise out_of_memory(self.name, asked, self.free_memory()) from error

    def adopt(self, X: Any) -> Any:
        """An array that another library has put on this GPU, as an array of Numba, without a copy."""
        there = samples(X)
        at = _number_of(there)
        if at != self._number:
            raise InputValueError(f"X is on GPU {at}, but device is {self.name!r}; use device='cuda:{at}'.")
        return self._cuda.as_cuda_array(there)

    def fetch(self, a: Any) -> NDArray[Any]:
        """A copy on the host of an array on any GPU."""
        there = borrowed(a, "an array")
        with self._cuda.gpus[_number_of(there)]:
            copied: NDArray[Any] = self._cuda.as_cuda_array(there).copy_to_host()
            self._cuda.synchronize()  # the copy is made in the stream of its owner, if it names one
            return copied

    def staging(self, n: int, dtype: Any) -> NDArray[Any]:
        """Page-locked memory on the host; ordinary memory, from which copies are slower, if the system refuses."""
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
        """Wait until all work in a stream is done."""
        stream.synchronize()

    def put(self, source: NDArray[Any], target: Any, stream: Any) -> None:
        """Begin to copy to the device."""
        target.copy_to_device(source, stream=stream)

    def get(self, source: Any, stream: Any) -> NDArray[Any]:
        """A copy on the host."""
        found: NDArray[Any] = source.copy_to_host(stream=stream)
        stream.synchronize()
        return found

    def take(self, source: Any, target: NDArray[Any], stream: Any) -> None:
        """Begin to copy from the device."""
        source.copy_to_host(target, stream=stream)

    def launch(self, plan: Plan, arguments: tuple[Any, ...], stream: Any) -> None:
        """Begin to run a kernel."""
        key = plan, stream
        if key not in self._configured:
            from nbsoftmax.kernels.cuda import rows

            self._configured[key] = rows.configured(plan, stream)
        self._configured[key](*arguments)

    def record(self, begin: Callable[[], None], stream: Any) -> Recording:
        """Record work as a graph of the driver."""
        return Graph(begin, int(stream))

    def blas(self, stream: Any) -> Blas | None:
        """Products by cuBLAS if it is installed."""
        return on_stream(int(stream))

    def release(self) -> None:
        """Free what numba.cuda has not freed yet."""
        context = self._cuda.current_context()
        context.memory_manager.deallocations.clear()  # arrays
        context.deallocations.clear()  # streams


class Graph:
    """Work that the driver recorded from one stream, and begins as a whole."""

    def __init__(self, begin: Callable[[], None], stream: int) -> None:
        from cuda.bindings import driver

        self._driver, self._stream = driver, stream
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED  # other threads may use the GPU meanwhile
        self._call(driver.cuStreamBeginCapture, stream, mode)
        try:
            begin()
        except BaseException:
            with suppress(RuntimeError):
                self._call(driver.cuGraphDestroy, self._call(driver.cuStreamEndCapture, stream))
            raise
        graph = self._call(driver.cuStreamEndCapture, stream)
        try:
            self._made = self._call(driver.cuGraphInstantiate, graph, 0)
        finally:
            self._call(driver.cuGraphDestroy, graph)
        weakref.finalize(self, driver.cuGraphExecDestroy, self._made)

    def play(self) -> None:
        """Begin the work."""
        self._call(self._driver.cuGraphLaunch, self._made, self._stream)

    @staticmethod
    def _call(function: Callable[..., Any], *arguments: Any) -> Any:
        error, *results = function(*arguments)
        if int(error) != 0:
            raise RuntimeError(f"the NVIDIA driver reports {error.name} from {function.__name__}")
        return results[0] if results else None


def _number_of(there: Borrowed) -> int:
    """The number of the GPU that an array is on."""
    from numba.cuda.cudadrv.driver import binding, driver

    ordinal = binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(driver.cuPointerGetAttribute(ordinal, binding.CUdeviceptr(there.address)))


def on_host(device: str, *arrays: Any) -> list[Any]:
    """The arrays, with those on a GPU copied to the host; `device` is the option of that name."""
    gpus = devices(device) if any(map(is_on_device, arrays)) else []
    if not gpus:
        return list(arrays)
    with gpus[0].here():
        return [gpus[0].fetch(a) if is_on_device(a) else a for a in arrays]


def out_of_memory(name: str, asked: int, free: int) -> DeviceMemoryError:
    """The error for too little memory, with the numbers."""
    return DeviceMemoryError(
        f"{name} was asked for {asked / 2**20:.1f} MB and has {free / 2**20:.1f} MB free; close what else uses it, or "
        f"give Trainer or Objective `device_memory`, the bytes to use, so that X is sent in parts."
    )
