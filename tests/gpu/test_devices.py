"""Names of devices, arrays that are on one, and whole fits on the stand-in."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda
from numba.cuda.cudadrv import driver

import nbsoftmax as nbs
from nbsoftmax import penalized_loss, validation
from nbsoftmax.backends.cuda import borrow, device
from nbsoftmax.errors import DeviceMemoryError, InputTypeError, InputValueError
from nbsoftmax.problem import in_memory as problem_in_memory
from nbsoftmax.solvers.tools.intercept import InterceptCurvature
from tests.gpu.standin import StandIn
from tests.solvers.problems import UnpackedNewtonCG


def data(m=30, n=4, k=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, n)) * [1, 10, 0.1, 3]
    return X, (X @ rng.normal(size=(n, k)) + rng.gumbel(size=(m, k))).argmax(axis=1)


@pytest.mark.skipif(cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:all"])
def test_without_a_driver_the_error_says_so(name):
    X, y = data()
    with pytest.raises(InputValueError, match=r"finds no NVIDIA driver.*nvidia-smi"):
        nbs.Objective(X, y, device=name)


def test_a_numpy_that_numba_cuda_does_not_know_is_named(monkeypatch):
    X, y = data()
    monkeypatch.setattr(cuda, "is_available", lambda: True)

    def fails(name):
        raise AttributeError("module 'numpy' has no attribute 'row_stack'")

    monkeypatch.setattr(device, "import_module", fails)
    with pytest.raises(InputValueError, match=r"does not work with NumPy .*row_stack.*pip install 'numpy<2\.5'"):
        nbs.Objective(X, y, device="cuda")


def test_the_simulator_of_numba_is_no_gpu(monkeypatch):
    X, y = data()
    monkeypatch.setattr(device.config, "ENABLE_CUDASIM", 1)
    with pytest.raises(InputValueError, match="NUMBA_ENABLE_CUDASIM is set"):
        nbs.Objective(X, y, device="cuda")
    assert nbs.Trainer(l2=0.1, device="auto").fit(X, y).converged


def test_auto_takes_the_cpu_for_partial_labels(monkeypatch):
    X, y = data()
    possible = np.eye(3, dtype=bool)[y] | np.eye(3, dtype=bool)[(y + np.arange(30) % 2) % 3]
    gpu = StandIn()
    monkeypatch.setattr(penalized_loss, "devices", lambda name: [gpu] if name != "cpu" else [])
    found = nbs.Trainer(l2=0.1, device="auto").fit(X, possible)
    assert not gpu.launches
    assert np.array_equal(found.model.coef, nbs.Trainer(l2=0.1).fit(X, possible).model.coef)
    with pytest.raises(InputValueError, match="partial labels, and device is 'cuda'"):
        nbs.Trainer(l2=0.1, device="cuda").fit(X, possible)


@pytest.mark.parametrize(
    ("solver", "given", "n_devices"),
    [("newton-cg", {"l2": 0.01}, 1), ("newton-cg", {"l2": 0.01}, 2), ("prox-newton", {"l1": 0.05}, 2)],
)
def test_fits_are_those_of_the_cpu(solver, given, n_devices, monkeypatch):
    X, y = data()
    # On a CPU, small problems have a path of their own, and Newton steps over the intercepts alone save iterations.
    same = UnpackedNewtonCG() if solver == "newton-cg" else solver
    monkeypatch.setattr(InterceptCurvature, "at", lambda *_: InterceptCurvature())
    expected = nbs.Trainer(solver=same, tol=1e-9, **given).fit(X, y)
    gpus = [StandIn() for _ in range(n_devices)]
    monkeypatch.setattr(penalized_loss, "devices", lambda name: gpus if name != "cpu" else [])
    found = nbs.Trainer(solver=solver, tol=1e-9, device="cuda", **given).fit(X, y)
    assert found.converged and abs(found.n_iter - expected.n_iter) <= 1
    # Last bits differ, and grow in quasi-Newton steps. Fits of gap g are within sqrt(2 g / l2) = 1.3e-5 of the minimum.
    np.testing.assert_allclose(found.model.coef, expected.model.coef, rtol=1e-6, atol=2 * 1.3e-5)
    for gpu in gpus:
        assert "fused" in gpu.launches
        assert gpu.sent < 40 * X.nbytes  # X once, and parameters


class There:
    """An array of some device's, by its description alone."""

    def __init__(self, shape=(6, 2), typestr="<f8", strides=None):
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": typestr, "data": (64, False), "version": 3, "strides": strides, "stream": 5,
        }  # fmt: skip


class Lent:
    """A host array that calls itself one of a GPU's, to be lent by DLPack alone."""

    def __init__(self, array):
        self.array, self.streams = array, []

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream=None, **rest):
        self.streams.append(stream)
        return self.array.__dlpack__(**rest)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (There((6,)), "expected 2 dimensions"),
        (There(typestr="<i4"), "convert it there to float32 or float64"),
        (There(strides=(8, 48)), "not contiguous by rows"),
        (Lent(np.ones((4, 6)).T), "not contiguous by rows"),
        (Lent(np.ones((4, 6), np.float16)), "convert it there to float32 or float64"),
    ],
)
def test_arrays_that_cannot_be_used_where_they_are(array, said):
    assert validation.is_on_device(array)
    with pytest.raises(InputValueError, match=said):
        borrow.samples(array)


def test_an_array_lent_by_dlpack_is_described_as_it_is():
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    lender = Lent(array)
    X = borrow.samples(lender)
    assert (X.address, X.shape, X.dtype) == (array.ctypes.data, (4, 3), np.float32)
    assert lender.streams == [borrow.DEFAULT_STREAM]  # its owner waits for what is written in that one
    told = X.__cuda_array_interface__
    assert told["data"][0] == array.ctypes.data and told["typestr"] == "<f4"


def test_an_interface_is_passed_on_with_its_stream():
    told = borrow.samples(There(strides=(16, 8))).__cuda_array_interface__
    assert (told["shape"], told["data"], told["stream"]) == ((6, 2), (64, False), 5)


class WantsGradient:
    """As PyTorch's tensors on a GPU are, of which a gradient is wanted."""

    shape = (6, 2)

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("Can't get it on a Variable that requires grad")

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **options):
        raise BufferError("Can't export tensors that require gradient")


def test_a_tensor_whose_gradient_is_wanted_is_refused_in_one_line():
    assert validation.is_on_device(WantsGradient())
    with pytest.raises(InputTypeError, match=r"require gradient\); give X.detach"):
        borrow.samples(WantsGradient())


def test_host_arrays_are_not_on_a_device():
    for a in (np.ones(3), [1, 2], 3.0, "x", None):
        assert not validation.is_on_device(a)


class FakeCuda:
    """Of `numba.cuda` what `NumbaDevice` calls, of a machine whose memory is full."""

    def __init__(self, code):
        self.gpus, self.code, self.waited = {0: nullcontext(), 1: nullcontext()}, code, False
        self.streams, self.arrays = [1], [1, 2]
        memory = SimpleNamespace(deallocations=self.arrays)
        told = {"get_memory_info": lambda: (2**20 - 8 * len(self.arrays), 2**30), "memory_manager": memory}
        self.context = SimpleNamespace(deallocations=self.streams, **told)

    def current_context(self):
        return self.context

    def synchronize(self):
        self.waited = True

    def device_array(self, n, dtype):
        raise driver.CudaAPIError(self.code, "refused")

    pinned_array = device_array

    def as_cuda_array(self, there):
        return SimpleNamespace(shape=there.shape, copy_to_host=lambda: np.zeros(there.shape))


def numba_device(code=device.OUT_OF_MEMORY):
    gpu = device.NumbaDevice(0)
    gpu._cuda = FakeCuda(code)
    return gpu


def test_too_little_memory_is_said_with_numbers_and_other_errors_as_they_are():
    with pytest.raises(DeviceMemoryError, match=r"cuda:0 was asked for 8.0 MB and has 1.0 MB free"):
        numba_device().empty(2**20, np.float64)
    with pytest.raises(driver.CudaAPIError, match="refused"):
        numba_device(code=700).empty(8, np.float64)


def test_what_nobody_holds_any_more_is_freed_before_memory_is_counted():
    gpu = numba_device()
    assert gpu.free_memory() == 2**20
    assert (gpu._cuda.arrays, gpu._cuda.streams) == ([], [])


def test_copies_of_arrays_of_any_gpu_are_waited_for(monkeypatch):
    monkeypatch.setattr(driver, "driver", SimpleNamespace(cuPointerGetAttribute=lambda which, pointer: 1))
    gpu = numba_device()
    assert gpu.fetch(There((4,))).shape == (4,)
    assert gpu._cuda.waited


def test_memory_that_cannot_be_locked_is_any_other():
    assert numba_device().staging(5, np.float32).shape == (5,)


def test_an_array_of_another_gpu_is_refused(monkeypatch):
    at = {64: 1, 128: 0}
    asked = SimpleNamespace(cuPointerGetAttribute=lambda which, pointer: at[int(pointer)])
    monkeypatch.setattr(driver, "driver", asked)
    with pytest.raises(InputValueError, match=r"X is on GPU 1, but device is 'cuda:0'; use device='cuda:1'"):
        numba_device().adopt(There())
    here = There()
    here.__cuda_array_interface__["data"] = (128, False)
    assert numba_device().adopt(here).shape == (6, 2)


def test_labels_and_weights_on_a_device_are_fetched(monkeypatch):
    X, y = data()
    gpu = StandIn()
    monkeypatch.setattr(penalized_loss, "devices", lambda name: [gpu] if name != "cpu" else [])
    monkeypatch.setattr(device, "devices", lambda name: [gpu] if name != "cpu" else [])
    weight = np.random.default_rng(0).uniform(size=len(y))
    gpu.inside = 1

    def there(a):
        owned = gpu.empty(a.size, a.dtype)
        gpu.put(a, owned, None)
        owned.__cuda_array_interface__ = {"data": (64, False)}
        return owned

    found = nbs.Trainer(l2=0.1, device="cuda").fit(X, there(y), sample_weight=there(weight))
    expected = nbs.Trainer(l2=0.1).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-9)


def test_no_nan_gets_in_unseen(monkeypatch):
    X, y = data(150)
    X[3, 1] = np.nan
    gpu = StandIn()
    gpu.inside = 1
    there = gpu.empty(X.size, X.dtype)
    gpu.put(X.reshape(-1), there, None)
    there = there.reshape(*X.shape)
    there.__cuda_array_interface__ = {"data": (64, False)}
    for module in (penalized_loss, problem_in_memory):
        monkeypatch.setattr(module, "devices", lambda name: [gpu] if name == "cuda" else [])
    with pytest.raises(InputValueError, match="NaN or inf"):
        nbs.Objective(there, y, device="cuda")
    unweighted = np.ones(len(y))
    unweighted[3] = 0  # no loss counts that sample
    with pytest.raises(InputValueError, match="NaN or inf"):
        nbs.Objective(there, y, device="cuda", sample_weight=unweighted)
    X[3, 1] = 1.0
    gpu.put(X.reshape(-1), there.reshape(-1), None)
    before = gpu.sent
    found = nbs.Objective(there, y, device="cuda", l2=0.1)
    params = np.full(found.shape, 0.1)
    np.testing.assert_allclose(found.value(params), nbs.Objective(X, y, l2=0.1).value(params), rtol=1e-12)
    assert gpu.sent - before < X.nbytes  # labels and parameters: X was there
