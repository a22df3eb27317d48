"""The CUDA backend on a stand-in for a device, whose kernels the executor runs, beside the CPU's backend."""

import gc

import numpy as np
import pytest

from nbsoftmax import validation
from nbsoftmax.backends.cuda import rows as rows_module
from nbsoftmax.backends.cuda import shards, tiled
from nbsoftmax.backends.cuda.backend import CudaBackend
from nbsoftmax.backends.cuda.shards import ShardedBackend
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.backends.targets import part_of
from nbsoftmax.errors import DeviceMemoryError
from nbsoftmax.kernels.cuda import curvature, fused, products, rows, sums
from tests.gpu.executor import Fault
from tests.gpu.faults import planted
from tests.gpu.problems import FUSED, KINDS, TILED, both, problem, same, taken_beside_x
from tests.gpu.standin import StandIn

DTYPES, ORDERS = [np.float32, np.float64], ["forward", "reverse", "random"]
# Every shape with every kind of target, once; dtypes and orders of threads in turn, so that each kind meets all.
CASES = [
    (shape, kind, DTYPES[(i + j) % 2], ORDERS[(i + j) % 3])
    for i, shape in enumerate(FUSED + TILED)
    for j, kind in enumerate(KINDS)
]


@pytest.mark.parametrize(("shape", "kind", "dtype", "order"), CASES)
def test_sums_are_those_of_the_cpu(shape, kind, dtype, order):
    m, n, _ = shape
    X, target, offset, params, v = problem(*shape, dtype, kind)
    cpu, gpu = both(X, target, offset, StandIn(order=order))
    loss, gradient = gpu.loss_and_grad(params)
    expected, slope = cpu.loss_and_grad(params)
    same(loss, np.float64(expected), dtype, m + n)
    same(gpu.loss(params), np.float64(expected), dtype, m + n)
    same(gradient, slope, dtype, m + n)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), dtype, m + n)
    same(gpu.hess_vec(v, params), cpu.hess_vec(v, params), dtype, m + n)  # at another point


@pytest.mark.parametrize(
    ("shape", "fit_intercept", "dtype"),
    [((5, 3, 2), False, np.float32), ((9, 6, 3), True, np.float32), ((9, 6, 3), False, np.float64)],
)
def test_matrices_are_those_of_the_cpu(shape, fit_intercept, dtype):
    X, target, offset, params, v = problem(*shape, dtype, "smoothed")
    cpu, gpu = both(X, target, offset, fit_intercept=fit_intercept)
    m, n, _ = shape
    same(gpu.gram(params), cpu.gram(params), dtype, m + n)
    same(gpu.gram(), cpu.gram(), dtype, m + n)
    same(gpu.curvatures(params), cpu.curvatures(params), dtype, m + n)
    same(gpu.class_grams(params), cpu.class_grams(params), dtype, m + n)
    same(gpu.loss_and_grad(params)[1], cpu.loss_and_grad(params)[1], dtype, m + n)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), dtype, m + n)
    same(gpu.hessian(params), cpu.hessian(params), dtype, m + n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 1e-6])
@pytest.mark.parametrize("k", [2, 5, 17])
def test_a_sample_that_is_nearly_certain_keeps_its_digits(k, smoothing, dtype):
    params = np.full((k, 2), -500.0)
    params[0], params[-1] = -25.0, 0.0
    params[:, 1] = 0
    given = {"sample_weight": None, "class_weight": None, "label_smoothing": smoothing, "n_of": "X"}
    target = validation.weighted_targets(np.array([k - 1]), 1, k, np.dtype(dtype), **given)
    gpu = CudaBackend(StandIn(), np.ones((1, 1), dtype), target, offset=np.empty((0, 0), dtype), fit_intercept=True)
    loss, gradient = gpu.loss_and_grad(params)
    eps, small, share = np.finfo(dtype).eps, np.exp(-25.0), smoothing / k
    np.testing.assert_allclose(loss, np.log1p(small) - share * params[:, 0].sum(), rtol=4 * eps)
    moved = np.full(k, -share)
    moved[0] += small / (1 + small)
    moved[-1] = -moved[:-1].sum()
    np.testing.assert_allclose(gradient, np.repeat(moved[:, None], 2, axis=1), rtol=4 * eps, atol=1e-200)


@pytest.mark.parametrize("order", ["reverse", "random"])
@pytest.mark.parametrize("shape", [(20, 17, 5), (7, 5, 17)])
def test_no_result_depends_on_the_order_of_threads(shape, order):
    X, target, offset, params, v = problem(*shape, np.float32, "smoothed")
    answers = []
    for device in (StandIn(), StandIn(order=order)):
        gpu = both(X, target, offset, device)[1]
        answers.append([*gpu.loss_and_grad(params), gpu.hess_vec(params, v), gpu.gram(params)])
    for one, other in zip(*answers, strict=True):
        assert np.array_equal(one, other)


def test_x_is_sent_once_in_parts_with_progress(monkeypatch):
    monkeypatch.setattr(rows_module, "PART_BYTES", 400)
    X, target, offset, params, v = problem(37, 6, 3)
    seen = []
    device = StandIn()
    gpu = both(X, target, offset, device, progress=lambda done, of: seen.append((done, of)))[1]
    assert seen[-1] == (37, 37) and len(seen) == 5
    assert device.largest_put <= 400
    before = device.sent
    gpu.loss_and_grad(params)
    first = device.sent - before
    gpu.hess_vec(params, v)
    assert first < X.nbytes / 4  # parameters alone; X stays there
    assert (
        device.launches == ["fused", "sum_parts", "sum_parts"] * 2
    )  # a product takes one pass of its own: what it needs was kept


@pytest.mark.parametrize("shape", [(37, 6, 3), (37, 6, 17)])
def test_rows_that_do_not_fit_are_sent_in_parts_at_each_evaluation(shape, monkeypatch):
    monkeypatch.setattr(rows_module, "LEAST_PART_BYTES", 0)
    X, target, offset, params, v = problem(*shape, kind="weighted")
    device = StandIn()
    cpu, whole = both(X, target, offset)
    used = taken_beside_x(whole)
    gpu = both(X, target, offset, device, memory=used + 1000)[1]
    assert not gpu._rows.resident
    before = device.sent
    loss, gradient = gpu.loss_and_grad(params)
    assert device.sent - before >= X.nbytes
    same(loss, np.float64(cpu.loss(params)), X.dtype, 60)
    same(gradient, cpu.loss_and_grad(params)[1], X.dtype, 60)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), X.dtype, 60)
    same(gpu.gram(params), cpu.gram(params), X.dtype, 60)


@pytest.mark.parametrize(
    ("kind", "parts", "dtype"),
    [("index", True, np.float32), ("smoothed", False, np.float32), ("smoothed", True, np.float64)],
)
def test_sums_by_a_blas_are_those_of_the_cpu(kind, parts, dtype, monkeypatch):
    monkeypatch.setattr(rows_module, "LEAST_PART_BYTES", 0)
    monkeypatch.setattr(products, "BLAS_ROWS", 5)  # so that the rows of a chunk are several groups, the last smaller
    X, target, offset, params, v = problem(23, 5, 17, dtype, kind)
    device = StandIn(blas=True)
    cpu, gpu = both(X, target, offset, device)
    if parts:
        used = taken_beside_x(gpu)
        gpu = both(X, target, offset, device, memory=used + 2 * 9 * gpu._rows.ld * X.itemsize)[1]
        assert not gpu._rows.resident
    loss, gradient = gpu.loss_and_grad(params)
    same(loss, np.float64(cpu.loss(params)), dtype, 40)
    same(gradient, cpu.loss_and_grad(params)[1], dtype, 40)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), dtype, 40)
    assert "blas" in device.launches and "logits" not in device.launches
    again = gpu.loss_and_grad(params)
    assert again[0] == loss and np.array_equal(again[1], gradient)


def test_a_blas_is_not_asked_for_where_one_kernel_reads_x_once():
    X, target, offset, params, _ = problem(9, 6, 3)
    device = StandIn(blas=True)
    both(X, target, offset, device)[1].loss_and_grad(params)
    assert "blas" not in device.launches


@pytest.mark.parametrize("blas", [False, True])
@pytest.mark.parametrize("shape", [(20, 6, 3), (20, 5, 17)])
def test_work_is_recorded_once_and_played_again(shape, blas):
    X, target, offset, params, v = problem(*shape, kind="weighted")
    device = StandIn(blas=blas)
    cpu, gpu = both(X, target, offset, device)
    first = [*gpu.loss_and_grad(params), gpu.hess_vec(params, v), gpu.loss(params)]
    assert device.recordings == 0
    for point, direction in ((v, params), (params, v), (params, v)):
        answers = [*gpu.loss_and_grad(point), gpu.hess_vec(point, direction), gpu.loss(point)]
        expected = [*cpu.loss_and_grad(point), cpu.hess_vec(point, direction), cpu.loss(point)]
        for found, right in zip(answers, expected, strict=True):
            same(found, np.asarray(right), X.dtype, 40)
    assert device.recordings == 3  # of the gradient, of the product, of the loss
    assert all(np.array_equal(one, other) for one, other in zip(first, answers, strict=True))


def test_work_is_recorded_again_when_memory_has_moved():
    X, target, offset, params, _ = problem(20, 5, 17)
    device = StandIn()
    cpu, gpu = both(X, target, offset, device)
    for _ in range(2):
        gpu.loss_and_grad(params)
    assert device.recordings == 1
    gpu.gram(params)  # takes more memory for its sums than a gradient
    for _ in range(3):
        same(gpu.loss_and_grad(params)[1], cpu.loss_and_grad(params)[1], X.dtype, 40)
    assert device.recordings == 2


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(("shape", "blas"), [((20, 6, 3), False), ((20, 5, 17), False), ((20, 5, 17), True)])
def test_work_that_cannot_be_recorded_is_begun_each_time(shape, blas, begins):
    X, target, offset, params, v = problem(*shape)
    device = StandIn(blas=blas)
    cpu, gpu = both(X, target, offset, device)
    gpu.loss_and_grad(params)

    def fails(begin, stream):
        if begins:  # as if the driver failed after it
            begin()
        raise RuntimeError("CUDA_ERROR_NOT_SUPPORTED")

    device.record = fails
    with pytest.warns(RuntimeWarning, match=r"cannot record work \(CUDA_ERROR_NOT_SUPPORTED\)"):
        again = gpu.loss_and_grad(params)
    same(again[1], cpu.loss_and_grad(params)[1], X.dtype, 40)
    assert np.array_equal(gpu.loss_and_grad(params)[1], again[1])  # and warns no more
    assert np.array_equal(gpu.loss_and_grad(params)[1], again[1])
    first = gpu.hess_vec(params, v)
    with pytest.warns(RuntimeWarning, match="cannot record"):
        assert np.array_equal(gpu.hess_vec(params, v), first)
    assert np.array_equal(gpu.hess_vec(params, v), first)


def test_a_budget_below_the_workspace_sends_parts_of_some_size():
    X, target, offset, params, _ = problem(37, 6, 3)
    cpu, gpu = both(X, target, offset, device := StandIn(), memory=1000)
    before = len(device.launches)
    same(gpu.loss_and_grad(params)[1], cpu.loss_and_grad(params)[1], X.dtype, 60)
    assert len(device.launches) - before < 10


@pytest.mark.parametrize(("dtype", "margin"), [(np.float64, 40), (np.float32, 20)])
def test_curvatures_of_nearly_certain_rows_keep_their_digits(dtype, margin):
    X, target, offset, *_ = problem(4, 3, 5, dtype)
    params = np.zeros((5, 4))
    params[2, -1] = margin  # 1 - a is below eps
    cpu, gpu = both(X, target, offset)
    for name in ("curvatures", "class_grams", "gram", "hessian"):
        found, expected = getattr(gpu, name)(params), getattr(cpu, name)(params)
        np.testing.assert_allclose(
            found, expected, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-13 * abs(expected).max()
        )


def test_too_little_memory_says_how_much_and_gives_it_back():
    X, target, offset, *_ = problem(37, 6, 3)
    device = StandIn(capacity=1500)
    with pytest.raises(DeviceMemoryError, match=r"asked for .* MB and has .* MB free"):
        both(X, target, offset, device, memory=10**9)
    assert device.released >= 1  # and once more when the backend is gone
    assert device.held <= 200  # no more than the arrays of this error's own frames


def test_too_little_memory_for_an_evaluation_leaves_the_backend_as_it_was():
    X, target, offset, params, _ = problem(37, 6, 3)
    device = StandIn()
    gpu = both(X, target, offset, device)[1]
    held, capacity = device.held, device.capacity
    device.capacity = held + 100
    with pytest.raises(DeviceMemoryError):
        gpu.loss_and_grad(params)
    assert device.released == 1
    device.capacity = capacity
    same(gpu.loss_and_grad(params)[1], both(X, target, offset)[0].loss_and_grad(params)[1], X.dtype, 40)


def test_too_little_memory_of_the_second_gpu_is_said():
    X, target, offset, *_ = problem(37, 6, 3)
    gpus = [StandIn(), StandIn(capacity=500)]
    with pytest.raises(DeviceMemoryError, match="asked for"):
        shards.on_devices(
            gpus, X, target, offset=offset, fit_intercept=True, memory=10**9, n_threads=None, progress=None
        )  # fmt: skip


@pytest.mark.parametrize("blas", [False, True])
@pytest.mark.parametrize("shape", [(20, 6, 3), (20, 5, 17)])
def test_all_is_done_and_freed_where_the_gpu_is_the_threads(shape, blas):
    X, target, offset, params, v = problem(*shape, kind="weighted")
    device = StandIn(blas=blas)  # refuses work outside
    gpu = both(X, target, offset, device)[1]
    gpu.loss_and_grad(params)
    gpu.hess_vec(params, v)
    gpu.curvatures(params)
    gpu.margins(params, slice(0, 5))
    assert device.held > 0
    del gpu
    gc.collect()
    assert (device.held, device.freed_outside) == (0, 0)


@pytest.mark.parametrize("blas", [False, True])
def test_as_many_classes_as_samples_are_no_rows(blas, monkeypatch):
    monkeypatch.setattr(tiled, "LOGITS_BYTES", 17 * 8 * 6)  # six rows at a time
    X, target, offset, params, v = problem(17, 4, 17, kind="smoothed")
    cpu, gpu = both(X, target, offset, StandIn(blas=blas))
    loss, gradient = gpu.loss_and_grad(params)
    same(loss, np.float64(cpu.loss(params)), X.dtype, 40)
    same(gradient, cpu.loss_and_grad(params)[1], X.dtype, 40)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), X.dtype, 40)


def test_progress_counts_the_rows_of_all_gpus():
    X, target, offset, *_ = problem(37, 6, 3)
    seen = []
    shards.on_devices(
        [StandIn(), StandIn()], X, target, offset=offset, fit_intercept=True, memory=None, n_threads=None,
        progress=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert seen == [(18, 37), (37, 37)]


def test_probabilities_of_an_evaluation_that_failed_are_not_used():
    X, target, offset, params, v = problem(20, 6, 3)
    device = StandIn()
    cpu, gpu = both(X, target, offset, device)
    gpu.loss_and_grad(params)
    wait = device.wait
    device.wait = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        gpu.loss_and_grad(v)  # has written over the probabilities at params
    device.wait = wait
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), X.dtype, 40)


def test_shards_add_up():
    X, target, offset, params, v = problem(20, 17, 5, kind="smoothed")
    cpu = DenseBackend(X, target, offset=offset, fit_intercept=True, n_threads=1)
    parts = [slice(0, 9), slice(9, 20)]
    halves = [
        CudaBackend(StandIn(), X[part], part_of(target, part), offset=offset[part], fit_intercept=True)
        for part in parts
    ]
    both_of = ShardedBackend(halves, lambda: cpu)
    same(both_of.loss(params), np.float64(cpu.loss(params)), X.dtype, 40)
    same(both_of.loss_and_grad(params)[1], cpu.loss_and_grad(params)[1], X.dtype, 40)
    same(both_of.hess_vec(params, v), cpu.hess_vec(params, v), X.dtype, 40)
    same(both_of.gram(params), cpu.gram(params), X.dtype, 40)
    same(both_of.class_grams(params), cpu.class_grams(params), X.dtype, 40)
    same(both_of.curvatures(params), cpu.curvatures(params), X.dtype, 40)
    same(both_of.hessian(params), cpu.hessian(params), X.dtype, 40)
    for found, expected in zip(both_of.margins(params, slice(0, 20)), cpu.margins(params, slice(0, 20)), strict=True):
        same(found, expected, X.dtype, 40)


def test_shapes_that_registers_do_not_hold_have_no_kernel():
    assert fused.shape_for(np.float32, 784, 10) is not None
    assert fused.shape_for(np.float32, 784, 17) is None
    assert fused.shape_for(np.float32, 3000, 4) is None


FAULTS = {  # module, factory, source, what it becomes, shape, what is said
    "a guard dropped": (fused, "fused", "row0 + r < n_rows and j < ld", "j < ld", (5, 3, 2), "out of bounds"),
    "a lane's features beyond the row": (
        fused, "fused", "row0 + r < n_rows and j < ld", "row0 + r < n_rows", (5, 5, 2), "out of bounds",
    ),
    "a reduction cut short": (fused, "_gathered", "span == 1", "span <= 2", (9, 17, 5), "values"),
    "a barrier removed": (fused, "fused", "cuda.syncthreads()", "pass", (3, 130, 4), "race|before it was written"),
    "one buffer where two are needed": (
        fused, "fused", "here = s % 2 * THREADS", "here = 0", (60, 130, 4), "race",
    ),
    "sums of earlier rows forgotten": (fused, "fused", "if added else", "if False else", (100, 130, 4), "values"),
    "a tile's barrier removed": (
        products, "logits", "cuda.syncthreads()\n            for j", "for j", (3, 5, 17), "race|before it was written",
    ),
    "a sum without its last part": (
        sums, "sum_parts", "min(n_parts, begin + length)", "min(n_parts, begin + length) - 1", (60, 130, 4), "values",
    ),
    "a part without its last row": (
        products, "weighted_sums", "min(n_rows, begin + rows_of_part)", "begin + rows_of_part - 1", (3, 5, 17),
        "values",
    ),
    "a row's sum left to one lane": (
        rows, "cross_entropy_by_lanes", "s, mass, below = total(s)", "s, mass, below = s", (3, 5, 17), "values",
    ),
    "curvature of one lane": (
        curvature, "curvature", "s, less = total(s), total(less)", "s, less = s, less", (3, 5, 17), "values",
    ),
    "a tile's guard dropped": (
        products, "logits", "inside and row < n_rows", "inside", (3, 5, 17), "out of bounds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    module, name, old, new, shape, said = FAULTS[fault]
    monkeypatch.setattr(fused, "MULTIPROCESSORS", 1)  # few blocks, so that each has many steps
    monkeypatch.setattr(fused, "FLUSH", 3)
    X, target, offset, params, v = problem(*shape)

    def asked(backend):
        return backend.hess_vec(params, v) if module is curvature else backend.loss_and_grad(params)[1]

    expected = asked(both(X, target, offset)[0])
    right = planted(module, getattr(module, name), old, old)
    monkeypatch.setattr(module, name, right)  # the same without a fault: what is found is the fault's
    same(asked(both(X, target, offset)[1]), expected, X.dtype, sum(shape))
    monkeypatch.undo()
    monkeypatch.setattr(fused, "MULTIPROCESSORS", 1)
    monkeypatch.setattr(fused, "FLUSH", 3)
    monkeypatch.setattr(fused, "fused", fused.fused.__wrapped__)  # no kernel that was made before is used
    monkeypatch.setattr(module, name, planted(module, getattr(module, name), old, new))
    gpu = both(X, target, offset, StandIn(order="reverse"))[1]
    if said == "values":
        assert np.abs(asked(gpu) - expected).max() > 1e-3
    else:
        with pytest.raises(Fault, match=said):
            asked(gpu)
