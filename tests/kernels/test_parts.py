"""Kernels and their helpers, compiled in one piece, have the same results as compiled by Numba alone."""

import importlib.util

import numba
import numpy as np
import pytest

from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.rows import softmax_rows
from nbsoftmax.kernels.runtime import parts

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def scaled(x, factor):
    total = 0.0
    for i in range(x.size):
        x[i] = x[i] * factor + 1.0
        total += x[i]
    return total


def kernel_of(part, compiled):
    """A kernel that calls a part twice, and through another part."""
    scale = numba.njit(**OPTIONS, **part)(scaled)

    @numba.njit(**OPTIONS, **part)
    def twice(x):
        buffer = np.empty(x.size)
        buffer[:] = x
        return scale(buffer, 3) + scale(buffer, 0.1)

    @numba.njit(**OPTIONS, **compiled)
    def kernel(x):
        return twice(x) + scale(x, 7.0)

    return kernel


def test_a_kernel_with_parts_has_the_bits_of_one_that_numba_compiles():
    x = np.random.default_rng(0).normal(size=1001)
    y = x.copy()
    assert kernel_of(parts.PART, parts.KERNEL)(x) == kernel_of({}, {})(y)
    assert x.tobytes() == y.tobytes()


def test_this_numba_is_supported():
    assert parts.supported()


def test_python_cannot_call_a_part():
    part = numba.njit(**parts.PART)(lambda x: x + 1)
    assert numba.njit(lambda x: part(x) + 1)(1) == 3
    for _ in range(2):  # compiled by the first call at the latest
        with pytest.raises(TypeError):
            part(1)


def test_functions_of_users_can_call_parts():
    z = np.random.default_rng(0).normal(size=30)

    @numba.njit
    def sums(z, n_classes):
        out = np.empty_like(z)
        softmax_rows(z, 0, n_classes, z.size // n_classes, n_classes, out, 0, None, False)
        return out.reshape(-1, n_classes).sum(axis=1), lanes(z)

    total, width = sums(z, 5)
    np.testing.assert_allclose(total, 1.0, rtol=1e-15)
    assert width == lanes(z)


def copy_of_the_module():
    spec = importlib.util.spec_from_file_location("parts_of_another_numba", parts.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["codegen.JITCodeLibrary", "compiler.Compiler"])
def test_a_numba_without_the_names_that_are_needed_compiles_as_usual(monkeypatch, name):
    monkeypatch.delattr(f"numba.core.{name}")
    other = copy_of_the_module()
    assert not other.supported()
    assert kernel_of(other.PART, other.KERNEL)(np.ones(3)) == kernel_of({}, {})(np.ones(3))


@pytest.mark.parametrize("method", ["finalize", "add_llvm_module"])
def test_a_numba_whose_libraries_work_differently_compiles_as_usual(monkeypatch, method):
    other = copy_of_the_module()

    def fail(*args):
        raise AttributeError(method)

    monkeypatch.setattr(other._PartLibrary, method, fail)
    monkeypatch.setattr(other._KernelLibrary, method, fail)
    assert not other.supported()
    assert kernel_of(other.PART, other.KERNEL)(np.ones(3)) == kernel_of({}, {})(np.ones(3))


def test_a_part_is_compiled_once_for_all_constants():
    part = parts.once_for_all_numbers(numba.njit(**parts.PART)(lambda x, n: x * n))
    kernel = numba.njit(**parts.KERNEL)(lambda x: part(x, 2) + part(x, 3))
    assert kernel(1.5) == 7.5
    assert len(part.signatures) == 1


def test_a_part_that_cannot_be_patched_is_returned():
    class Dispatcher:
        __slots__ = ()

    assert isinstance(parts.once_for_all_numbers(Dispatcher()), Dispatcher)
