"""Reading ahead: order, errors, and the end of the thread."""

import os
import signal
import threading

import pytest

from nbsoftmax.data.ahead import ahead


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "nbsoftmax reader"]


def test_the_items_come_in_their_order_and_the_thread_ends():
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([]))) == []
    assert readers() == []


def test_the_next_item_is_made_while_the_caller_has_the_last_one():
    made = threading.Event()

    def items():
        yield 1
        made.set()
        yield 2

    reading = ahead(items())
    assert next(reading) == 1
    assert made.wait(timeout=60)
    assert list(reading) == [2]


def test_at_most_two_items_are_made_beyond_the_caller_s():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    for i in ahead(items()):
        assert len(made) <= i + 3


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("broken")

    reading = ahead(items())
    assert next(reading) == 1
    with pytest.raises(OSError, match="broken"):
        next(reading)
    assert readers() == []


def test_an_exception_may_be_an_item():
    error = ValueError("an item")
    assert list(ahead(iter([error]))) == [error]


def test_a_caller_that_stops_early_ends_the_thread():
    reading = ahead(iter(range(10**9)))
    assert next(reading) == 0
    reading.close()
    assert readers() == []


def test_ctrl_c_while_the_thread_starts_ends_it(monkeypatch):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(ahead(iter(range(10**9))))
    assert readers() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_that_goes_on_is_an_error_and_changes_nothing_for_its_parent():
    """It has not the thread that reads, and waited for ever."""
    reading = ahead(iter(range(10)))
    assert next(reading) == 0
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            with pytest.raises(RuntimeError, match="begun by another process"):
                next(reading)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert list(reading) == list(range(1, 10))
