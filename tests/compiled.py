"""Sharing of compiled kernels between the workers of pytest-xdist: one compiles a kernel, the others load it.

Otherwise two workers that need a kernel at the same time would both compile it, half a minute for a float32 fit.
"""

import contextlib
import hashlib
import warnings
from pathlib import Path

import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

import nbsoftmax as nbs

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Each function locks one byte of this file.
LOCKS = Path(__file__).resolve().parent.parent / ".pytest_cache" / "compiling"

_compile = Dispatcher.compile


def share():
    """Make this process wait for a kernel that another process is compiling, and then load it from the cache."""
    if fcntl is None:
        return
    LOCKS.parent.mkdir(exist_ok=True)
    file = LOCKS.open("w")

    def compile_once(dispatcher, signature):
        if type(dispatcher._cache) is NullCache:  # inlined into others, or defined by a test
            return _compile(dispatcher, signature)
        function = dispatcher.py_func
        name = f"{function.__module__}.{function.__qualname__}{signature}"
        byte = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")
        # Numba's own lock is taken first: a thread that holds it may compile the function that this thread waits for.
        with global_compiler_lock:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.lockf(file, fcntl.LOCK_EX, 1, byte)
            try:
                return _compile(dispatcher, signature)
            finally:
                with contextlib.suppress(OSError):
                    fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)

    Dispatcher.compile = compile_once


def _calls():
    """Calls that compile most kernels of the tests, a few seconds each."""
    X, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
    for dtype in (np.float64, np.float32):
        x = X.astype(dtype)
        J = nbs.Objective(x, y, l2=0.1)
        params = np.zeros(J.shape)
        model = nbs.SoftmaxModel(params[:, :-1], params[:, -1], [0, 1, 2])
        yield from (
            lambda J=J, params=params: J.value_and_grad(params),
            lambda x=x: nbs.Trainer(solver="sgd", max_iter=1).fit(x, y),
            lambda J=J, params=params: J.hvp(params, params),
            lambda J=J, params=params: J.gram(params),
            lambda x=x, model=model: model.predict(x),
            lambda x=x: nbs.cross_entropy_and_grad(x, y),
            lambda x=x: (nbs.softmax(x), nbs.log_softmax(x), nbs.logsumexp(x)),
            lambda x=x: (nbs.sigmoid(x), nbs.binary_cross_entropy_and_grad(x[:, 0], y % 2)),
            lambda x=x: nbs.Trainer(l2=0.1, max_iter=1).fit(x, y),
            lambda x=x: nbs.Trainer(l1=0.1, max_iter=1).fit(x, y),
        )


def compile_most(worker, n_workers):
    """Compile most kernels of the tests in parallel with other workers: each begins at another call in the list."""
    calls = list(_calls())
    first = len(calls) * worker // n_workers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in calls[first:] + calls[:first]:
            with contextlib.suppress(Exception):  # a test will show the error
                call()
