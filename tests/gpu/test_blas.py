"""cuBLAS as we call it, on bindings whose products NumPy makes in the host's memory; and what is said without it."""

import sys
import types

import numpy as np
import pytest

from nbsoftmax.backends.cuda import blas
from tests.gpu.standin import HostBlas, Owned, StandIn, columns


class There:
    """A host array that says of itself what one on a GPU does."""

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype
        self.__cuda_array_interface__ = {"data": (array.ctypes.data, False)}


def at(address, n, dtype):
    kind = np.ctypeslib.as_ctypes_type(dtype)
    return np.ctypeslib.as_array((kind * n).from_address(address))


@pytest.fixture
def bindings(monkeypatch):
    """What of `nvmath.bindings.cublas` is called, as the reference of cuBLAS describes it."""
    module = types.ModuleType("nvmath.bindings.cublas")
    module.Operation = types.SimpleNamespace(N=0, T=1)
    module.said = []

    def gemm(dtype):
        def multiply(handle, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):  # the arguments of BLAS
            assert handle == 7
            left = columns(at(a, lda * (m if transa else k), dtype), *((k, m) if transa else (m, k)), lda)
            right = columns(at(b, ldb * (k if transb else n), dtype), *((n, k) if transb else (k, n)), ldb)
            out = columns(at(c, ldc * n, dtype), m, n, ldc)
            scale, keep = at(alpha, 1, dtype)[0], at(beta, 1, dtype)[0]
            product = scale * (left.T if transa else left) @ (right.T if transb else right)
            out[...] = product + (keep * out if keep else 0)  # beta = 0 does not read C, which may be NaN

        return multiply

    def batched(dtype):
        multiply = gemm(dtype)

        def several(  # the arguments of BLAS
            handle, transa, transb, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, count
        ):
            bytes_of = np.dtype(dtype).itemsize
            for i in range(count):
                places = (at + i * stride * bytes_of for at, stride in ((a, stride_a), (b, stride_b), (c, stride_c)))
                a_i, b_i, c_i = places
                multiply(handle, transa, transb, m, n, k, alpha, a_i, lda, b_i, ldb, beta, c_i, ldc)

        return several

    module.sgemm, module.dgemm = gemm(np.float32), gemm(np.float64)
    module.sgemm_strided_batched, module.dgemm_strided_batched = batched(np.float32), batched(np.float64)
    module.create = lambda: 7
    module.destroy = lambda handle: module.said.append(("destroy", handle))
    module.set_stream = lambda handle, stream: module.said.append(("set_stream", handle, stream))
    package = types.ModuleType("nvmath.bindings")
    package.cublas = module
    for name, value in {"nvmath": types.ModuleType("nvmath"), "nvmath.bindings": package}.items():
        monkeypatch.setitem(sys.modules, name, value)
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", module)
    monkeypatch.setattr(blas, "find_spec", lambda name: object())
    return module


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("onto", [False, True])
@pytest.mark.parametrize("batch", [{}, {"count": 3, "steps": (70, 65, 30)}])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), [(True, False), (False, True)])
def test_arguments_mean_what_blas_means_by_them(bindings, transpose_a, transpose_b, batch, onto, dtype):
    rng = np.random.default_rng(0)
    m, n, k = 3, 4, 5
    a, b = (rng.normal(size=240).astype(dtype) for _ in range(2))
    c = rng.normal(size=90).astype(dtype) if onto else np.full(90, np.nan, dtype)
    expected = c.copy()
    made = blas.on_stream(99)
    outside = StandIn()
    outside.inside = 1
    made.add_product(transpose_a, transpose_b, m, n, k, There(a), 7, There(b), 8, There(c), 6, onto=onto, **batch)
    HostBlas(outside).add_product(
        transpose_a, transpose_b, m, n, k, Owned(a), 7, Owned(b), 8, Owned(expected), 6, onto=onto, **batch
    )  # fmt: skip
    np.testing.assert_allclose(c, expected, rtol=1e-5)
    assert bindings.said == [("set_stream", 7, 99)]
    del made
    assert bindings.said[-1] == ("destroy", 7)


def test_without_the_package_there_is_none(monkeypatch):
    monkeypatch.setattr(blas, "find_spec", lambda name: None)
    assert blas.on_stream(0) is None


def test_a_library_that_does_not_load_is_named(bindings):
    def fails():
        raise RuntimeError("libcublas.so is not found")

    bindings.create = fails
    with pytest.warns(RuntimeWarning, match=r"does not load \(libcublas.so is not found\).*nbsoftmax\[cuda-blas\]"):
        assert blas.on_stream(0) is None


def test_the_bindings_take_these_arguments():
    cublas = pytest.importorskip("nvmath.bindings.cublas", reason="nvmath-python is not installed")
    told = "handle, int transa, int transb, int m, int n, int k, intptr_t alpha, intptr_t a, int lda, intptr_t b"
    for multiply in (cublas.sgemm, cublas.dgemm):
        assert f"{told}, int ldb, intptr_t beta, intptr_t c, int ldc)" in multiply.__doc__
    told = "intptr_t a, int lda, long long stride_a, intptr_t b, int ldb, long long stride_b, intptr_t beta, intptr_t c"
    for multiply in (cublas.sgemm_strided_batched, cublas.dgemm_strided_batched):
        assert f"{told}, int ldc, long long stride_c, int batch_count)" in multiply.__doc__
    assert "create() -> intptr_t" in cublas.create.__doc__
    assert "set_stream(intptr_t handle, intptr_t stream" in cublas.set_stream.__doc__
    assert (int(cublas.Operation.N), int(cublas.Operation.T)) == (0, 1)
