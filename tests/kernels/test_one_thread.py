"""The limit of BLAS to one thread: it holds in whichever Python thread sets it, and ends for all."""

import contextlib
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import threadpoolctl

import nbsoftmax as nbs
from nbsoftmax.kernels.runtime import blas
from nbsoftmax.kernels.runtime.blas import one_thread


def in_a_thread(function):
    """The result of a function that another thread calls."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def numbers():
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    return [n for n in (library.get_num_threads() for library in libraries) if n is not None]


def limited():
    with one_thread():
        return numbers()


@pytest.fixture(autouse=True)
def two_threads():
    """BLAS with two threads, if it can have them."""
    with one_thread():  # the libraries are loaded
        pass
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield


def test_the_limit_holds_in_every_thread_whichever_was_the_first():
    for call in (lambda f: f(), in_a_thread, in_a_thread, lambda f: f()):
        before = numbers()
        assert set(call(limited)) == {1}
        assert numbers() == before


def test_other_code_can_set_numbers_of_threads_afterwards():
    assert set(in_a_thread(limited)) == {1}

    def set_to_one():
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            return numbers()

    assert set(in_a_thread(set_to_one)) == {1}


def test_a_fit_has_the_same_bits_in_the_main_thread_and_in_another_one():
    rng = np.random.default_rng(0)
    X, W = rng.normal(size=(4000, 33)), rng.normal(size=(33, 65)) / 4
    y = np.argmax(X @ W + rng.gumbel(size=(4000, 65)), axis=1)

    def coef():
        return nbs.Trainer(l2=1e-3, tol=1e-7).fit(X, y).model.coef

    assert coef().tobytes() == in_a_thread(coef).tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("held", ["limit", "lock"])
def test_a_forked_child_has_neither_the_limit_nor_the_lock_of_its_parent(held):
    """Another thread of the parent is amid a fit, or changes the limit: the child has no such thread."""
    code = f"""
        import os, signal, threading
        import threadpoolctl
        from nbsoftmax.kernels.runtime import blas
        def numbers():
            return [x["num_threads"] for x in threadpoolctl.threadpool_info() if x["user_api"] == "blas"]
        with blas.one_thread():
            pass
        before = numbers()
        begun, ended = threading.Event(), threading.Event()
        def other():
            with blas.one_thread() if {held!r} == "limit" else blas._lock:
                begun.set(); ended.wait()
        thread = threading.Thread(target=other)
        thread.start(); begun.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with blas.one_thread():
                inside = numbers()
            os._exit(0 if set(inside) == {{1}} and numbers() == before else 3)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ended.set(); thread.join()
        raise SystemExit(status)
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, timeout=120, check=False)
    assert done.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_within_the_limit_keeps_it_until_its_end():
    """A callback of a fit forks, for example, and the child goes on with the fit."""
    code = """
        import os
        import threadpoolctl
        from nbsoftmax.kernels.runtime import blas
        def numbers():
            return {x["num_threads"] for x in threadpoolctl.threadpool_info() if x["user_api"] == "blas"}
        with blas.one_thread():
            pass
        before = numbers()
        with blas.one_thread():
            child = os.fork()
            assert numbers() == {1}
            with blas.one_thread():
                assert numbers() == {1}
            assert numbers() == {1}
        assert numbers() == before
        with blas.one_thread():
            assert numbers() == {1}
        assert numbers() == before
        if child:
            raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    assert subprocess.run(command, env=environment, timeout=120, check=False).returncode == 0


@pytest.mark.parametrize("n", range(8))
def test_ctrl_c_while_the_limit_begins_or_ends_leaves_the_numbers_as_they_were(n, monkeypatch):
    before, changes = numbers(), []

    class Interrupted:
        def __init__(self, library):
            self._library = library

        def __getattr__(self, name):
            return getattr(self._library, name)

        def set_num_threads(self, number):
            self._library.set_num_threads(number)
            changes.append(number)
            if len(changes) == n + 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(blas, "_libraries", [Interrupted(library) for library in blas._libraries])
        with contextlib.suppress(KeyboardInterrupt):
            limited()
    assert numbers() == before
    assert set(limited()) == {1}
    assert numbers() == before
