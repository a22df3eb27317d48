"""Tasks in phases: none begins before all tasks of earlier phases have ended, however many threads take part."""

import threading
import time

import numpy as np
import pytest

from nbsoftmax.kernels.runtime import phases, threads
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.phases import end_task, launch_phases, take_in_order

pytestmark = pytest.mark.usefixtures("several_threads")

EDGES = np.array([0, 8, 9, 17, 18])  # of the kernel below: its tasks add, sum up, add, sum up


@jit
def sum_twice(todo, edges, work, parts, totals):
    """Add numbers in 8 parts, work[t] of them in part t, and their total to the first number; then the same again."""
    task, phase = take_in_order(todo, edges, 0)
    while task >= 0:
        if phase % 2 == 0:
            first = totals[phase // 2 - 1] if phase else 0.0
            total = 0.0
            for i in range(work[task]):
                total += 1.0 / (1.0 + i + first)
            parts[task] = total
        else:
            totals[phase // 2] = parts.sum()
        end_task(todo)
        task, phase = take_in_order(todo, edges, phase)
    return task


def sums(n_threads, work):
    totals = np.full(2, np.nan)
    launch_phases(sum_twice, EDGES, 10**9, n_threads, np.asarray(work), np.full(8, np.nan), totals)
    return totals


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("work", [[10] * 8, [10**7, *[1] * 7], [*[1] * 7, 10**7]])
def test_results_are_those_of_one_thread(work, n_threads):
    expected = sums(1, work)
    assert np.isfinite(expected).all()
    for _ in range(20 if max(work) < 100 else 1):
        np.testing.assert_array_equal(sums(n_threads, work), expected)


def test_a_thread_that_has_waited_for_long_sleeps_and_goes_on(monkeypatch):
    pauses = []
    monkeypatch.setattr(threads.time, "sleep", pauses.append)
    # The first task takes about a second: looks that let other programs run take long, too.
    work = [10**9, *[1] * 7]
    sums(2, work)
    assert pauses and set(pauses) == {threads.PAUSE}


def test_threads_do_not_wait_for_a_task_that_has_failed():
    begun = threading.Event()

    def kernel(todo, edges):
        """The first thread takes a task and fails; the second one waits for its end."""
        if not begun.is_set():
            todo[0] = 1
            begun.set()
            time.sleep(0.05)
            raise MemoryError("no memory for this task")
        return phases.NONE_LEFT if todo[0] >= todo[1] else threads.WAITED

    with pytest.raises(MemoryError, match="for this task"):
        launch_phases(kernel, np.array([0, 2, 4]), 10**9, 2)


def test_a_launch_without_tasks_ends():
    totals = np.full(2, np.nan)
    launch_phases(sum_twice, np.array([0, 0, 0]), 1, 2, np.ones(8, np.int64), np.zeros(8), totals)
    assert np.isnan(totals).all()
