"""The same kernels as PTX: what the compiler made of them, for each generation of GPUs, and what that computes.

`ptxemu`, which executes PTX on the CPU, lies beside the repository where it is at hand; without it those tests are
skipped. It runs instructions, not a GPU: nothing here is a time.
"""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from numba import boolean, cuda, int64, void
from numba.np.numpy_support import from_dtype

from nbsoftmax.kernels.cuda import rows
from perf import cuda_report
from perf.cuda_report import ptx
from perf.cuda_variants import LARGEST, NUMBERS, VARIANTS, losses
from tests import reference
from tests.gpu.standin import Owned, StandIn
from tests.gpu.test_backend import both, problem, same

EMULATOR = Path(__file__).resolve().parents[3] / "shared" / "cuda" / "ptxemu.py"


@pytest.fixture(scope="module")
def emulator():
    if not EMULATOR.exists():
        pytest.skip("ptxemu.py, which executes PTX, is not beside the repository")
    spec = importlib.util.spec_from_file_location("ptxemu", EMULATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_its_words(text):
    """PTX with two instructions of float64 `exp` and `log` in others, which the emulator knows."""

    def insert(found):  # the low half of b, and a as the high half
        to, a, b = found.groups()
        assert to != a
        return f"and.b64 {to}, {b}, 4294967295;\n\tmad.lo.s64 {to}, {a}, 4294967296, {to};"

    text = re.sub(r"bfi\.b64\s+(%\w+), (%\w+), (%\w+), 32, 32;", insert, text)
    return text.replace("%temp", "_")  # half of a register that is thrown away


@pytest.mark.skipif(cuda_report.assembler() is None, reason="ptxas is not installed: pip install cuda-toolkit[nvcc]")
@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_of_each_kind_spills_nothing_and_stays_in_its_budget_on_every_generation(name):
    variant = VARIANTS[name]
    for generation in cuda_report.GENERATIONS:
        text = ptx(*variant.compiled(generation))
        found = cuda_report.use(text, generation)
        assert ".entry" in text and found.registers > 0
        assert cuda_report.complaints(variant, generation, text, found) == []


def test_the_committed_report_is_of_these_kernels_and_has_all_of_them():
    """It assembles every variant for every generation, and is not written where one of them spills."""
    page, top = cuda_report.PAGE.read_text(encoding="utf-8"), cuda_report.heading()
    assert page.startswith(top), "kernels have changed: make cuda-report"
    assert [row.split(" | ")[0].removeprefix("| ") for row in page[len(top) :].splitlines()] == list(VARIANTS)


@pytest.mark.parametrize("name", ["cross_entropy 2 float32", "curvature, moved float64"])
def test_the_front_end_that_generations_share_makes_the_same_code(name):
    kernel, signature, generation, *bounds = VARIANTS[name].compiled((9, 0))
    expected = cuda.compile_ptx(kernel, signature, cc=generation, launch_bounds=tuple(bounds))[0]
    assert nameless(ptx(kernel, signature, generation, *bounds)) == nameless(expected)


def nameless(text):
    """PTX without the symbol that Numba numbers anew at each compilation."""
    symbol = re.search(r"\.entry (\w+)", text)[1]
    return text.replace(symbol, "kernel").replace(symbol.replace("_ZN", "", 1), "kernel")


class OnPtx(StandIn):
    """The stand-in with kernels compiled, and their PTX executed."""

    def __init__(self, emulator):
        super().__init__()
        self.emulator = emulator

    def launch(self, plan, arguments, stream):
        bare = [a.array if isinstance(a, Owned) else a for a in arguments]
        text = ptx(plan.kernel, void(*map(type_of, bare)), (8, 0), plan.block, plan.least_blocks)
        self.emulator.launch(in_its_words(text), plan.grid, plan.block, *bare)


def type_of(value):
    if isinstance(value, np.ndarray):
        return from_dtype(value.dtype)[::1]
    if isinstance(value, (bool, np.bool_)):
        return boolean
    return from_dtype(value.dtype) if isinstance(value, np.floating) else int64


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((5, 3, 2), np.float32),
        ((9, 17, 5), np.float64),
        ((5, 130, 4), np.float32),
        ((3, 5, 17), np.float64),
        ((3, 5, 17), np.float32),
    ],
)
def test_the_code_of_the_backend_computes_sums_over_rows(emulator, shape, dtype):
    m, n, k = shape
    X, target, offset, params, v = problem(*shape, dtype, "smoothed")
    cpu, gpu = both(X, target, offset, OnPtx(emulator))
    loss, gradient = gpu.loss_and_grad(params)
    same(loss, np.float64(cpu.loss(params)), dtype, m + n + 40)  # the emulator's exp2 is exact, a GPU's within 2 ULP
    same(gradient, cpu.loss_and_grad(params)[1], dtype, m + n + 40)
    same(gpu.hess_vec(params, v), cpu.hess_vec(params, v), dtype, m + n + 40)
    if k < 5:
        same(gpu.gram(params), cpu.gram(params), dtype, m + n + 40)


@pytest.mark.parametrize("n_classes", [2, 3, 10, 31, 33, 100, 512, 513])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_the_code_computes_losses_and_gradients(emulator, dtype, n_classes):
    m = 2 if n_classes > 32 else 6
    rng = np.random.default_rng(n_classes)
    z, y = rng.normal(size=(m, n_classes)).astype(dtype), rng.integers(0, n_classes, m).astype(np.int32)
    y[0], y[1] = -1, n_classes - 1
    z[1], z[1, 0], z[1, -1] = -500, -25, 0  # nearly certain
    ones, zeros, nothing = np.ones(n_classes, dtype), np.zeros(n_classes, dtype), np.zeros(1, dtype)
    found, grad = np.full(m, np.nan), np.full(z.size, np.nan, dtype)
    chosen = rows.plan_cross_entropy(dtype, m, n_classes)
    text = ptx(chosen.kernel, losses(NUMBERS[dtype]), (8, 0), chosen.block)
    arguments = y, nothing, ones, zeros, np.zeros(1), rows.INDEX, dtype(1), found, True, grad, m, n_classes
    emulator.launch(in_its_words(text), chosen.grid, chosen.block, z.reshape(-1), *arguments)
    expected, slope, _ = reference.cross_entropy(z, y, ignore_index=-1)
    eps, grad = np.finfo(dtype).eps, grad.reshape(z.shape)
    np.testing.assert_allclose(found, expected, rtol=(n_classes + 48) * eps, atol=48 * eps)
    np.testing.assert_allclose(grad, slope, rtol=0, atol=(n_classes + 48) * eps)
    small = np.exp(-25.0)
    near = [np.log1p(small), small / (1 + small), -small / (1 + small)]
    np.testing.assert_allclose([found[1], *grad[1, [0, -1]]], near, rtol=4 * eps)
