"""On a real GPU: make test-gpu. The backend beside the CPU's, on shapes that the executor would take hours for."""

import numpy as np
import pytest
from numba import cuda

import nbsoftmax as nbs
from nbsoftmax.backends.cuda.device import devices, missing
from tests.gpu.problems import FUSED, KINDS, TILED, both, problem, same, taken_beside_x

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(missing()), reason=missing() or "there is a GPU")]
SHAPES = [*FUSED, *TILED, (5000, 54, 7), (3000, 784, 10), (700, 512, 100), (300, 1000, 1000)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_the_cpu(shape, kind, dtype):
    m, n, _ = shape
    X, target, offset, params, v = problem(*shape, dtype, kind)
    cpu, gpu = both(X, target, offset, devices("cuda")[0])
    loss, gradient = gpu.loss_and_grad(params)
    same(loss, np.float64(cpu.loss(params)), dtype, m + n)
    same(gradient, cpu.loss_and_grad(params)[1], dtype, m + n)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), dtype, m + n)
    same(gpu.gram(params), cpu.gram(params), dtype, m + n)
    same(gpu.loss_and_grad(v)[1], cpu.loss_and_grad(v)[1], dtype, m + n)  # recorded, at another point
    for _ in range(2):
        again = gpu.loss_and_grad(params)
        assert again[0] == loss
        assert np.array_equal(again[1], gradient)


def test_work_is_recorded():
    gpu = both(*problem(3000, 54, 7)[:3], devices("cuda")[0])[1]
    params = np.zeros((7, 55))
    for _ in range(3):
        gpu.loss_and_grad(params)
    assert [type(found).__name__ for found in gpu._work._recorded.values()] == ["Graph"]


def test_rows_in_parts_add_up():
    X, target, offset, params, v = problem(20000, 54, 7, kind="weighted")
    cpu, whole = both(X, target, offset, devices("cuda")[0])
    memory = taken_beside_x(whole) + X.nbytes // 4
    gpu = both(X, target, offset, devices("cuda")[0], memory=memory)[1]
    assert not gpu._rows.resident
    same(gpu.loss_and_grad(params)[1], cpu.loss_and_grad(params)[1], X.dtype, 20000)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), X.dtype, 20000)


def test_an_array_of_the_device_is_used_where_it_is():
    X, *_ = problem(300, 16, 3)
    y = np.random.default_rng(1).integers(0, 3, 300)
    there = cuda.to_device(X)
    found = nbs.Trainer(l2=0.01, device="cuda").fit(there, y)
    expected = nbs.Trainer(l2=0.01).fit(X, y)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-9)
