"""The CUDA row kernels, their source executed in several orders of threads, beside the float64 reference."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbsoftmax.kernels.cuda import rows
from nbsoftmax.kernels.kinds import INDEX, INDEX_SMOOTHED, PROBA
from nbsoftmax.testing import logits
from tests import reference
from tests.gpu.executor import Fault, execute
from tests.gpu.faults import planted

DTYPES = [np.float32, np.float64]
ORDERS = ["forward", "reverse", "random"]


def near(found, expected, z, absolute=0.0):
    """Within what sums of K terms and the rounding of z - max cost; tiny where exp underflows.

    Logarithms of sums near 1 keep their digits relative to 1: `absolute` 1.
    """
    eps, tiny = np.finfo(z.dtype).eps, np.finfo(z.dtype).tiny
    with np.errstate(invalid="ignore", over="ignore"):
        below = np.nan_to_num(np.abs(reference.below(np.asarray(z, np.float64))), posinf=0)
        by_row = eps * (z.shape[1] + 8 + np.minimum(below, 1e4).max(axis=1))
        slack = by_row if expected.ndim == 1 else by_row[:, None]
        off = np.abs(found - expected) > slack * (np.abs(expected) + absolute) + tiny
    same = (np.isnan(found) & np.isnan(expected)) | (found == expected)
    assert not (off & ~same).any(), (found[off & ~same][:3], expected[off & ~same][:3])


def in_turn(*lists):
    """All combinations, each with one order of threads: each entry of the last list meets every order."""
    found = list(itertools.product(*lists))
    return [(*case, ORDERS[(i + i // len(lists[-1])) % 3]) for i, case in enumerate(found)]


def cross_entropy(z, y, *, weight=None, class_weight=None, smoothing=0.0, order="forward", scale=1.0):
    m, n_classes = z.shape
    soft = y.ndim == 2
    w = np.ones(n_classes) if class_weight is None else np.asarray(class_weight)
    kind = PROBA if soft else INDEX if smoothing == 0 and class_weight is None else INDEX_SMOOTHED
    gain, floor = (w * (1 - smoothing)).astype(z.dtype), (w * smoothing / n_classes).astype(z.dtype)
    labels = np.zeros(1, np.int32) if soft else y.astype(np.int32)
    proba = y.astype(z.dtype).reshape(-1) if soft else np.zeros(1, z.dtype)
    by_sample = np.zeros(1 if m != 1 else 2) if weight is None else np.asarray(weight, np.float64)
    losses, grad = np.full(m, np.nan), np.full(z.size, np.nan, z.dtype)
    chosen = rows.plan_cross_entropy(z.dtype, m, n_classes)
    arguments = labels, proba, gain, floor, by_sample, kind, z.dtype.type(scale), losses, True, grad, m, n_classes
    execute(chosen.kernel, chosen.grid, chosen.block, z.reshape(-1), *arguments, order=order)
    return losses, grad.reshape(z.shape)


CLASSES = [1, 2, 3, 7, 10, 31, 32, 33, 100, 512, 513, 2100]
KINDS = ["labels", "ignored", "weights", "classes", "smoothed", "soft"]


@pytest.mark.parametrize(("n_classes", "kind", "order"), in_turn(CLASSES, KINDS))
def test_losses_and_gradients_are_the_references(n_classes, kind, order):
    m = 2 if n_classes > 32 else 9
    rng = np.random.default_rng(n_classes)
    for dtype in DTYPES:
        z = (3 * rng.normal(size=(m, n_classes))).astype(dtype)
        y = rng.integers(0, n_classes, m)
        ours, theirs = {}, {}
        if kind == "ignored":
            y[0], theirs = -1, {"ignore_index": -1}
        elif kind == "weights":
            weight = rng.uniform(size=m)
            weight[0] = 0.0
            ours, theirs = {"weight": weight}, {"sample_weight": weight}
        elif kind == "classes":
            ours = theirs = {"class_weight": rng.uniform(0.5, 2, n_classes).astype(np.float32)}
        elif kind == "smoothed":
            ours, theirs = {"smoothing": 0.1}, {"label_smoothing": 0.1}
        elif kind == "soft":
            y = rng.dirichlet(np.ones(n_classes), m).astype(dtype)
        losses, grad = cross_entropy(z, y, order=order, **ours)
        expected, slope, _ = reference.cross_entropy(z, y, **theirs)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(losses, expected, rtol=(n_classes + 48) * eps, atol=48 * eps)
        np.testing.assert_allclose(grad, slope, rtol=0, atol=(n_classes + 48) * eps * np.abs(slope).max())


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(z=logits(infinities=True), seed=st.integers(0, 2**31))
def test_infinities_and_the_largest_numbers_give_the_limit(z, seed):
    if z.size:
        y = np.random.default_rng(seed).integers(0, z.shape[1], len(z))
        losses, grad = cross_entropy(z, y)
        expected, slope, _ = reference.cross_entropy(z, y)
        near(losses, expected, z, absolute=1.0)
        near(grad, slope, z, absolute=1.0)


@pytest.mark.parametrize("n_classes", [3, 40, 1030])
def test_a_nan_stays_in_its_own_row(n_classes):
    z, y = np.random.default_rng(0).normal(size=(3, n_classes)), np.array([0, 1, 2])
    alone = cross_entropy(z, y)
    z[1, n_classes // 2] = np.nan
    losses, grad = cross_entropy(z, y)
    assert np.isnan(losses[1]) and np.isnan(grad[1]).all()
    assert np.array_equal(losses[[0, 2]], alone[0][[0, 2]])
    assert np.array_equal(grad[[0, 2]], alone[1][[0, 2]])


def nearly_certain(n_classes, distance, dtype):
    """Two rows whose last class has the largest logit; of the others only the first one counts."""
    z = np.full((2, n_classes), -500.0, dtype)
    z[:, 0], z[:, -1] = -distance, 0
    return z


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 5, 40, 600])
@pytest.mark.parametrize("distance", [1.0, 10.0, 20.0, 37.0, 60.0])
def test_a_sample_that_is_nearly_certain_keeps_its_digits(distance, n_classes, dtype):
    z, eps = nearly_certain(n_classes, distance, dtype), np.finfo(dtype).eps
    small = np.exp(-distance)
    near = {"rtol": 4 * eps, "atol": 0}  # exp, log1p, a division and products, each within an ULP or so
    losses, grad = cross_entropy(z, np.array([n_classes - 1, 0]))
    np.testing.assert_allclose(losses, [np.log1p(small), distance + np.log1p(small)], **near)
    np.testing.assert_allclose(grad[0, [0, -1]], np.array([small, -small]) / (1 + small), **near)
    np.testing.assert_allclose(grad[1, [0, -1]], np.array([-1, 1]) / (1 + small), **near)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [5, 40, 600])
@pytest.mark.parametrize("kind", ["labels", "smoothed", "soft"])
def test_the_largest_class_moves_by_what_all_others_do(kind, n_classes, dtype):
    z = nearly_certain(n_classes, 25.0, dtype)
    y = np.array([n_classes - 1, 0])
    if kind == "soft":
        y = np.zeros((2, n_classes))
        y[:, 1] = 2.0**-30
        y[:, -1] = 1 - 2.0**-30
        y = y.astype(dtype)
    grad = cross_entropy(z, y, smoothing=1e-6 if kind == "smoothed" else 0.0)[1].astype(np.float64)
    others = grad[:, :-1]
    np.testing.assert_allclose(
        grad[:, -1], -others.sum(axis=1), rtol=0, atol=8 * np.finfo(dtype).eps * abs(others).sum()
    )


@pytest.mark.parametrize("n_classes", [400, 20011])
def test_smoothed_targets_of_many_classes_keep_float32s_digits(n_classes):
    z, y = np.random.default_rng(0).normal(size=(1, n_classes)).astype(np.float32), np.array([3])
    losses, grad = cross_entropy(z, y, smoothing=0.1)
    loss, slope, _ = reference.cross_entropy(z, y, label_smoothing=0.1)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(losses, loss, rtol=2 * eps)
    np.testing.assert_allclose(grad, slope, rtol=4 * eps, atol=4 * eps / n_classes)  # differences of probabilities


@pytest.mark.parametrize(("low", "high", "dtype"), [(-3e38, 1e38, np.float32), (-1e308, 1e308, np.float64)])
@pytest.mark.parametrize("n_classes", [2, 600])
def test_a_loss_that_fits_is_finite_though_the_difference_of_logits_is_not(n_classes, low, high, dtype):
    z, proba = np.full((2, n_classes), low, dtype), np.zeros((2, n_classes), dtype)
    z[:, 1], proba[:, 0], proba[:, 1] = high, 0.25, 0.75
    z[1, 0] = -np.inf
    losses, grad = cross_entropy(z, proba)
    np.testing.assert_allclose(losses[0], high / 4 - low / 4, rtol=1e-6)
    assert losses[1] == np.inf
    np.testing.assert_array_equal(grad[0, :2], [-0.25, 0.25])
    weighted = cross_entropy(z[:1], np.array([0]), weight=np.array([0.5]))[0]
    np.testing.assert_allclose(weighted, high / 2 - low / 2, rtol=1e-6)


def test_a_scale_multiplies_the_gradient_alone():
    z, y = np.random.default_rng(0).normal(size=(4, 5)), np.array([0, 1, 2, 3])
    losses, grad = cross_entropy(z, y)
    same, half = cross_entropy(z, y, scale=0.5)
    assert np.array_equal(losses, same)
    np.testing.assert_allclose(half, grad / 2, rtol=1e-15)


@pytest.mark.parametrize("n_classes", [5, 100, 1100])
def test_the_bits_do_not_depend_on_the_order_of_threads(n_classes):
    z = np.random.default_rng(1).normal(size=(2, n_classes)).astype(np.float32)
    found = [cross_entropy(z, np.array([0, 3]), smoothing=0.1, order=order) for order in ORDERS]
    assert len({losses.tobytes() + grad.tobytes() for losses, grad in found}) == 1


def test_a_few_kernels_serve_all_shapes():
    plans = [rows.plan_cross_entropy(np.float32, 10, k) for k in range(1, 3000)]
    assert len({id(p.kernel) for p in plans}) <= 12
    assert rows.lanes_for(3) == (4, 1)
    assert rows.lanes_for(33) == (32, 2)
    assert rows.lanes_for(512) == (32, 16)
    assert rows.blocks_for(100, 4) == 4


def test_no_compiled_kernel_is_kept_on_disk():
    """Numba keys such a file by one source file, so an upgrade that changes another one would run old code."""
    chosen = rows.plan_cross_entropy(np.float32, 5, 3)
    assert rows._jitted(chosen.kernel, (chosen.block, chosen.least_blocks)).stats.cache_path is None


# --- planted faults: what proves that the checks can fail -------------------------------------------


def forget_kernels():
    """Make kernels anew from now on: those that were made hold the functions they were made with."""
    for kept in (rows.cross_entropy_by_lanes, rows.cross_entropy_by_blocks):
        kept.cache_clear()


FAULTS = {  # factory, source, what it becomes, classes, what is said
    "a guard dropped": ("_largest", "if inside and k < n_classes", "if k < n_classes", 3, "out of bounds"),
    "a sum cut short": (
        "_stages", "step > 0:\n            v +=", "step > 1:\n            v +=", 10, "values",
    ),
    "a lane left out of a shuffle": (
        "_largest", "EVERY_LANE, c, step)\n", "EVERY_LANE >> 1, c, step)\n", 10, "lane|wait",
    ),
    "a barrier removed": (
        "_pair", "= c, r\n        cuda.syncthreads()\n", "= c, r\n", 1100, "race|before it was written",
    ),
    "a warp left out of a sum": (
        "_pair", "range(1, BLOCK_THREADS // WARP)", "range(1, BLOCK_THREADS // WARP - 1)", 1100, "values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    make, old, new, n_classes, said = FAULTS[fault]
    z, y = np.random.default_rng(2).normal(size=(5, n_classes)), np.arange(5) % n_classes
    expected = reference.cross_entropy(z, y)[1]
    monkeypatch.setattr(rows, make, planted(rows, getattr(rows, make), old, new))
    forget_kernels()
    try:
        if said == "values":
            assert np.abs(cross_entropy(z, y, order="reverse")[1] - expected).max() > 1e-3
        else:
            with pytest.raises(Fault, match=said):
                cross_entropy(z, y, order="reverse")
    finally:
        monkeypatch.undo()
        forget_kernels()
