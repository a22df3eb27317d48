"""Other machines and settings of Numba, each in a process of its own: narrower vectors than the host's; no cache."""

import os
import platform
import subprocess
import sys

import pytest

from tests.processes import run

CHECK = """
import numpy as np
import nbsoftmax as nbs
from nbsoftmax.kernels.lang import simd
from tests import reference
assert simd.VECTOR_BYTES == {width}, simd.VECTOR_BYTES
rng = np.random.default_rng(0)
for dtype in {dtypes}:
    eps = np.finfo(dtype).eps
    for K in (2, 3, 7, 9, 17, 33, 70):
        X, y = rng.normal(size=(70, 11)).astype(dtype), rng.integers(0, K, 70)
        params, v = rng.normal(size=(2, K, 12)) / 4
        X1 = np.column_stack([X.astype(float), np.ones(70)])
        z = X1 @ params.T
        logits = z.astype(dtype)
        assert np.abs(nbs.softmax(logits) - reference.softmax(logits)).max() <= 16 * eps
        losses, grad, _ = reference.cross_entropy(logits, y)
        loss, dlogits = nbs.cross_entropy_and_grad(logits, y, reduction="none")
        assert np.abs(loss - losses).max() <= 64 * eps and np.abs(dlogits - grad).max() <= 16 * eps
        if not {linear}:
            continue
        losses, grad, _ = reference.cross_entropy(z, y)
        a, u = reference.softmax(z), X1 @ v.T
        product = (a * (u - (a * u).sum(axis=1, keepdims=True))).T @ X1
        objective = nbs.Objective(X, y, n_classes=K)
        value, gradient = objective.value_and_grad(params)
        assert abs(value - losses.mean()) <= 256 * eps
        assert np.abs(gradient - grad.T @ X1 / 70).max() <= 256 * eps
        assert np.abs(objective.hvp(params, v) - product / 70).max() <= 256 * eps
        gram = (X1.T * (a * (1 - a)).mean(axis=1)) @ X1 / 70
        assert np.abs(objective.gram(params) - gram).max() <= 256 * eps
        model = nbs.SoftmaxModel(params[:, :-1], params[:, -1], np.arange(K))
        assert np.abs(model.predict_proba(X) - a).max() <= 256 * eps
print("done")
"""


@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"}, reason="widths of x86-64 processors")
@pytest.mark.skipif("NUMBA_CPU_FEATURES" in os.environ, reason="the whole suite runs with narrower vectors")
# Kernels of linear models take a minute to compile.
@pytest.mark.parametrize("linear", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["logits", "linear"])
@pytest.mark.parametrize(
    ("width", "features", "dtypes"),
    [(32, "+avx,+avx2,+fma", "(np.float64, np.float32)"), (16, "+sse4.2", "(np.float64,)")],
    ids=["avx2", "sse"],
)
def test_narrower_vectors_give_the_same_results(width, features, dtypes, linear):
    script = CHECK.format(width=width, dtypes=dtypes, linear=linear)
    done = run(script, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=features, PYTHONPATH=os.getcwd())
    assert done.stdout == "done\n", done.stderr


NO_CACHE = """
from numba.core import caching

def refuse(self):
    raise OSError("read-only file system")

caching._CacheLocator.ensure_cache_path = refuse
import numpy as np
import nbsoftmax as nbs
print(nbs.softmax(np.zeros((1, 4)))[0, 0])
"""


def test_a_cache_that_cannot_be_written_is_no_error():
    done = run(NO_CACHE)
    assert done.stdout == "0.25\n", done.stderr
    assert not done.stderr


SMALL = """
import numpy as np
import nbsoftmax as nbs
from nbsoftmax.kernels.runtime import threads
threads.THREAD_WORK = 1  # on all threads, however small it is
print(nbs.sigmoid(np.zeros(40_000))[-1])
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"NUMBA_THREADING_LAYER": "tbb"},  # which need not be installed
        {"NUMBA_THREADING_LAYER": "none of these", "NUMBA_NUM_THREADS": "2"},
        {"NUMBA_CACHE_DIR": __file__, "NUMBA_CACHE_LOCATOR_CLASSES": "none.of.these"},
        {"NUMBA_BOUNDSCHECK": "1"},
        {"NUMBA_OPT": "0"},
        {"NUMBA_ENABLE_AVX": "0", "NUMBA_LOOP_VECTORIZE": "0"},
    ],
    ids=" ".join,
)
def test_settings_of_numba_that_change_nothing_here(settings):
    done = run(SMALL, **settings)
    assert done.stdout == "0.5\n", done.stderr
    assert not done.stderr


@pytest.mark.skipif(
    platform.machine().lower() in {"aarch64", "arm64"}, reason="LLVM crashes there, seen in the emulator"
)
def test_a_processor_that_llvm_does_not_know_is_a_warning_of_llvm():
    done = run(SMALL, NUMBA_CPU_NAME="none", NUMBA_CPU_FEATURES=None)
    assert done.stdout == "0.5\n", done.stderr
    assert "'none' is not a recognized processor" in done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set, but nbsoftmax needs compiled code; unset it"),
        ({"NUMBA_CPU_FEATURES": "+sse2, avx"}, "NUMBA_CPU_FEATURES contains ' avx', expected '+name' or '-name'"),
        ({"NUMBA_NUM_THREADS": "0"}, "correct the environment variables NUMBA_*, such as NUMBA_NUM_THREADS"),
    ],
    ids=["no compilation", "features", "no threads"],
)
def test_settings_of_numba_that_cannot_work_are_one_line(settings, message):
    done = run("import nbsoftmax as nbs; nbs.softmax([0.0])", **settings)
    assert message in done.stderr.splitlines()[-1]
    command = [sys.executable, "-m", "nbsoftmax", "bench", "--samples", "10", "--features", "2", "--classes", "2"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("nbsoftmax: ")
    assert message in line
