"""Ctrl-C during a fit."""

import gc
import signal
import sys
import threading
from contextlib import suppress
from inspect import CO_GENERATOR

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.kernels.runtime import compiling as runtime_compiling
from nbsoftmax.training import signals

X = np.random.default_rng(0).normal(size=(200, 3))
Y = np.arange(200) % 3


class Interrupts:
    """Interrupts the process when it is deleted."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


pytestmark = pytest.mark.usefixtures("usual_handler")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_fit_ends_although_the_exception_is_lost_in_a_destructor():
    lost = []

    def interrupt(now):
        if now.n_iter == 3:
            Interrupts()
            lost.append(now)  # the exception did not come here

    result = nbs.Trainer(solver="gd", callbacks=[interrupt]).fit(X, Y)
    assert lost
    assert result.interrupted
    assert result.n_iter == 3


def test_a_fit_ends_at_once_where_the_exception_is_not_lost():
    def interrupt(now):
        if now.n_iter == 3:
            signal.raise_signal(signal.SIGINT)

    assert nbs.Trainer(solver="gd", callbacks=[interrupt]).fit(X, Y).interrupted


def test_other_handlers_and_other_threads_stay_as_they_are():
    calls = []

    def own(number, frame):
        calls.append(number)

    def interrupt(now):
        if now.n_iter == 3:
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, own)
    try:
        result = nbs.Trainer(solver="gd", callbacks=[interrupt], max_iter=5).fit(X, Y)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert calls == [signal.SIGINT]
    assert not result.interrupted
    results = []
    thread = threading.Thread(target=lambda: results.append(nbs.Trainer(l2=0.1).fit(X, Y)))
    thread.start()
    thread.join()
    assert results[0].converged


def interrupted_at(i, call):
    """Call a function, with Ctrl-C at the i-th place where Python looks for signals; whether there were so many.

    These are the beginning of a function and the end of a call, but not the `yield` of a generator, which a profile
    reports as a return.
    """
    n = 0

    def look(frame, event, _):
        nonlocal n
        yields = event == "return" and frame.f_code.co_flags & CO_GENERATOR
        if event == "c_call" or yields or frame.f_code is interrupted_at.__code__:
            return
        n += 1
        if n == i:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    with suppress(KeyboardInterrupt):
        try:
            sys.setprofile(look)
            call()
        finally:
            sys.setprofile(None)
    return n >= i


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # from the destructor of a thread
@pytest.mark.parametrize(
    "context",
    [
        lambda: signals.recorded_interrupts(list),
        lambda: signals.saved_on_termination(list),
        signals.removed_on_termination,
        runtime_compiling.interrupted_later,
        runtime_compiling.compiling,
    ],
)
def test_ctrl_c_where_a_context_begins_and_ends_restores_the_process(context, monkeypatch):
    monkeypatch.setattr(runtime_compiling, "_announced", True)  # starts no thread

    def use():
        with context():
            pass

    terminated, i = signal.getsignal(signal.SIGTERM), 1
    while interrupted_at(i, use):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, i
        assert signal.getsignal(signal.SIGTERM) == terminated, i
        assert gc.isenabled(), i
        i += 1
    assert i > 10
