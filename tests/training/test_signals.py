"""Ctrl-C during a fit."""

import signal
import threading

import numpy as np
import pytest

import nbsoftmax as nbs

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
