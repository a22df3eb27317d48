"""What surrounds a compilation: the garbage collector is as before afterwards, and one message says that it is slow."""

import gc
import logging
import os
import signal
import time

import numba
import pytest

from nbsoftmax.kernels.runtime import compiling, parts
from tests.processes import output, run


@pytest.fixture
def unannounced(monkeypatch):
    """A process that has not yet said that it compiles, and does so at once."""
    monkeypatch.setattr(compiling, "_announced", False)
    monkeypatch.setattr(compiling, "PATIENCE", 0.0)


def compile_slowly():
    with compiling.compiling(), compiling.compiling():
        deadline = time.monotonic() + 30
        while not compiling._announced and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)  # the thread that has set the flag also logs


def test_garbage_is_not_collected_while_a_kernel_compiles():
    states = []

    def same(x):
        raise NotImplementedError

    @numba.extending.overload(same)
    def _same(x):
        states.append(gc.isenabled())
        return lambda x: x

    assert gc.isenabled()
    assert numba.njit(**parts.KERNEL)(lambda x: same(x) + 1)(2) == 3
    assert gc.isenabled()
    assert states
    assert not any(states)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_before_after_an_error(enabled):
    try:
        if not enabled:
            gc.disable()
        with pytest.raises(numba.TypingError):
            numba.njit(**parts.KERNEL)(lambda x: x + "text")(1)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


INTERRUPTED_WHILE_NUMBA_LOADS = """
import signal
import numba
import numpy as np
from numba.core.typing.context import BaseContext
from nbsoftmax.kernels.runtime.jit import jit

@jit
def total(x):
    return x.sum() + x.size

signal.signal(signal.SIGINT, signal.default_int_handler)  # which background processes of a shell ignore

def interrupted(self, attributes, insert=BaseContext.insert_attributes):
    if type(attributes).__name__ == "ArrayAttribute":
        BaseContext.insert_attributes = insert
        signal.raise_signal(signal.SIGINT)
    insert(self, attributes)

BaseContext.insert_attributes = interrupted
for _ in range(2):
    try:
        print(total(np.ones(3)))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_during_the_first_compilation_leaves_numba_able_to_compile(tmp_path):
    said = output(INTERRUPTED_WHILE_NUMBA_LOADS, NUMBA_CACHE_DIR=str(tmp_path), NBSOFTMAX_QUIET="1")
    assert said.split() == ["interrupted", "6.0"]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_other_handlers_of_ctrl_c_stay(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with compiling.interrupted_later():
            assert signal.getsignal(signal.SIGINT) is handler
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_slow_compilation_is_announced_once(unannounced, caplog):
    compile_slowly()
    compile_slowly()
    (record,) = caplog.records
    assert record.name == "nbsoftmax"
    assert "once" in record.getMessage()


def test_a_fast_compilation_is_not_announced(unannounced, monkeypatch, caplog):
    monkeypatch.setattr(compiling, "PATIENCE", 3600.0)
    with compiling.compiling():
        pass
    assert not caplog.records


def test_the_level_of_the_logger_suppresses_the_message(unannounced, caplog):
    with caplog.at_level(logging.ERROR, "nbsoftmax"):
        compile_slowly()
    assert not caplog.records


def test_the_message_names_the_folder_or_says_that_there_is_none(unannounced, monkeypatch, caplog):
    monkeypatch.setattr(compiling, "find_folder", lambda: None)
    compile_slowly()
    assert "no folder for them is writable" in caplog.text


SLOW = """
import time
from nbsoftmax.kernels.runtime import cache, compiling  # the message needs the first, which imports Numba
compiling.PATIENCE = 0.0
with compiling.compiling():
    time.sleep(0.2)
"""


def in_a_process(script=SLOW, **environment):
    done = run(script, **{"NBSOFTMAX_QUIET": None} | environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_without_configuration_the_message_is_one_line_on_stderr():
    assert in_a_process().startswith("nbsoftmax is compiling kernels")
    assert in_a_process().count("\n") == 1


def test_the_environment_suppresses_the_message():
    assert in_a_process(NBSOFTMAX_QUIET="1") == ""


@pytest.mark.parametrize("closed", ["sys.stderr.close()", "sys.stderr = None"])
def test_a_closed_stderr_is_no_error(closed):
    in_a_process(f"import sys; {closed}\n{SLOW}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_waits_until_other_threads_have_compiled():
    """A child would wait for ever for the lock, and would not collect garbage: it has no thread that ends this."""
    script = """
import gc, os, signal, threading, time, warnings
from numba.core.compiler_lock import global_compiler_lock
from nbsoftmax.kernels.runtime.compiling import compiling

begun = threading.Event()
def other():
    with global_compiler_lock, compiling():
        begun.set()
        time.sleep(0.3)
warnings.simplefilter("ignore")  # Python's own, of forking beside threads
threading.Thread(target=other).start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    with global_compiler_lock:
        os._exit(0 if gc.isenabled() else 1)
assert os.waitpid(child, 0)[1] == 0
with global_compiler_lock:  # of the parent
    pass
"""
    in_a_process(script, NBSOFTMAX_QUIET="1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_forked_by_the_thread_that_compiles_goes_on_as_its_parent():
    script = """
import gc, os
from numba.core.compiler_lock import global_compiler_lock
from nbsoftmax.kernels.runtime import compiling
with global_compiler_lock, compiling.compiling():
    child = os.fork()
    assert not gc.isenabled()
assert gc.isenabled()
assert compiling._depth == 0
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    in_a_process(script)
