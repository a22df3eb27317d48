"""Sums over the rows on the workers of a cluster: by answers of workers and by tasks, with the same bits."""

import logging
import math
import time
from types import SimpleNamespace
from typing import ClassVar

import dask.array as da
import numpy as np
import pytest

from nbsoftmax.backends.cluster import parts
from nbsoftmax.backends.cluster.client import Cluster
from nbsoftmax.problem import Problem, ProblemInParts

M, N, K = 900, 5, 4
CHUNKS = (250, 0, 150, 1, 299, 200)
rng = np.random.default_rng(5)
X = rng.normal(size=(M, N))
Y = np.argmax(X @ rng.normal(size=(N, K)) + rng.gumbel(size=(M, K)), axis=1)
W = rng.uniform(0.2, 3.0, M)

pytestmark = pytest.mark.usefixtures("client")


def problems():
    rows = da.from_array(X, chunks=(CHUNKS, N)), da.from_array(Y, chunks=(CHUNKS,))
    return ProblemInParts.from_dask(*rows, sample_weight=W), Problem.from_labels(X, Y, sample_weight=W)


def test_workers_and_the_client_add_in_the_same_order(monkeypatch):
    monkeypatch.setattr(parts, "GROUP", 2)
    problem = problems()[0]
    backend = problem.backend(fit_intercept=True, n_threads=None)
    params, v = rng.normal(size=(2, K, N + 1))
    small = backend.hess_vec(params, v), *backend.loss_and_grad(params), backend.loss(params)
    monkeypatch.setattr(parts, "LARGE", 2)  # only the loss alone has fewer numbers
    spy = Spy(monkeypatch)
    large = backend.hess_vec(params, v), *backend.loss_and_grad(params), backend.loss(params)
    assert spy.answered == []
    assert spy.tasks == [len(CHUNKS)] * 3
    for a, b in zip(small, large, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


class Spy:
    """The numbers of parts that workers answered, and that tasks summed."""

    def __init__(self, monkeypatch):
        self.answered, self.tasks = [], []
        answers, make = Cluster.answers, Cluster.map

        def counted_answers(cluster, *args, **options):
            found = answers(cluster, *args, **options)
            self.answered.append(sum(map(len, found.values())))
            return found

        def counted_tasks(cluster, what, function, *arguments, **options):
            if what == "sum":
                self.tasks.append(len(arguments[0]))
            return make(cluster, what, function, *arguments, **options)

        monkeypatch.setattr(Cluster, "answers", counted_answers)
        monkeypatch.setattr(Cluster, "map", counted_tasks)


@pytest.fixture
def settled(monkeypatch):
    """A spy, a function that sums over parts, and its result: the workers hold the parts, which move no longer."""
    monkeypatch.setattr(parts, "SPREAD_SECONDS", 0.0)
    spy = Spy(monkeypatch)
    backend, params = problems()[0].backend(fit_intercept=True, n_threads=None), rng.normal(size=(K, N + 1))

    def sums():
        loss, grad = backend.loss_and_grad(params)
        return loss, grad.tobytes()

    expected = sums()
    assert spy.tasks  # the parts were being made
    while spy.answered[-1] < len(CHUNKS):
        assert sums() == expected
    spy.answered.clear()
    spy.tasks.clear()
    return spy, sums, expected


def test_workers_answer_without_tasks_once_they_hold_the_parts(settled):
    spy, sums, by_tasks = settled
    assert sums() == by_tasks
    assert (spy.answered, spy.tasks) == ([len(CHUNKS)], [])


def test_tasks_compute_what_a_worker_does_not_answer(monkeypatch, client, settled):
    spy, sums, expected = settled
    run_on = type(client).run
    for silent in client.nthreads():

        def run_without(client, *args, silent=silent, **options):
            return {worker: answer for worker, answer in run_on(client, *args, **options).items() if worker != silent}

        monkeypatch.setattr(type(client), "run", run_without)
        spy.answered.clear()
        spy.tasks.clear()
        assert sums() == expected
        assert spy.answered[0] + spy.tasks[0] == len(CHUNKS)
        assert spy.tasks[0] > 0


def test_a_cluster_that_is_scaled_automatically_has_tasks(cluster, settled):
    spy, sums, expected = settled
    scaling = cluster.adapt(minimum=2, maximum=2, interval="1 hour")
    assert sums() == expected
    assert (spy.answered, spy.tasks) == ([0], [len(CHUNKS)])
    scaling.stop()
    assert sums() == expected
    assert spy.answered[-1] == len(CHUNKS)


def test_a_scheduler_that_ends_when_it_is_idle_has_tasks_now_and_then(monkeypatch, settled):
    spy, sums, expected = settled
    monkeypatch.setattr(parts, "TASKS_SECONDS", 20)
    seconds = [math.ceil(time.monotonic())]
    monkeypatch.setattr(parts, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    for _ in range(60):
        seconds[0] += 1
        assert sums() == expected
    # The first ones are at most 20 seconds after those that made the parts.
    assert spy.tasks == [len(CHUNKS)] * 3
    assert spy.answered == [len(CHUNKS)] * 57


def test_answers_are_not_in_the_logs_of_workers(client, settled):
    spy, sums, _ = settled
    client.run(begin_log)
    client.run(other_function)
    sums()
    logs = client.run(end_log)
    assert spy.tasks == []
    assert len(logs) == 2
    for lines in logs.values():
        assert any("other_function" in line for line in lines)
        assert not any("answer" in line for line in lines)


class Log(logging.Handler):
    lines: ClassVar[list[str]] = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def begin_log():
    logger = logging.getLogger("distributed.worker")
    Log.lines.clear()
    Log.level_before = logger.level
    Log.handler = Log()
    logger.addHandler(Log.handler)
    logger.setLevel(logging.INFO)


def other_function():
    pass


def end_log():
    logger = logging.getLogger("distributed.worker")
    logger.removeHandler(Log.handler)
    logger.setLevel(Log.level_before)
    return Log.lines


def test_a_worker_answers_for_the_parts_that_it_holds(client):
    part = client.submit(Held, key="held")
    part.result()
    (holder,) = client.who_has([part])[part.key]
    (other,) = set(client.nthreads()) - {holder}
    keys = {holder: [part.key, "moved"], other: [part.key]}
    answers = client.run(parts._answer, keys=keys, call=None, workers=list(keys))
    assert answers == {holder: {"held": 7}, other: {}}


class Held:
    """In place of a part."""

    def result(self, call, worker):
        return 7


@pytest.mark.parametrize("error", [OSError, ValueError], ids=["no connection", "forbidden"])
def test_a_cluster_that_runs_no_functions_of_clients_runs_tasks(monkeypatch, client, settled, error):
    spy, sums, expected = settled

    def refused(*args, **options):
        raise error

    monkeypatch.setattr(type(client), "run", refused)
    assert sums() == expected
    assert spy.tasks == [len(CHUNKS)]


def test_all_sums_are_those_of_the_rows_in_memory():
    ours, theirs = (problem.backend(fit_intercept=True, n_threads=None) for problem in problems())
    params, v = rng.normal(size=(2, K, N + 1))
    for name in ("hess_vec", "gram", "curvatures", "class_grams", "hessian"):
        args = (params, v) if name == "hess_vec" else (params,)
        found, expected = getattr(ours, name)(*args), getattr(theirs, name)(*args)
        found, expected = found / ours.weight_sum, expected / theirs.weight_sum
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())
        found += 1.0  # results are the caller's own
    features = np.array([1, 3])
    found, expected = (b.with_features(features).loss(params[:, [1, 3, 5]]) / b.weight_sum for b in (ours, theirs))
    assert found == pytest.approx(expected, rel=1e-12)
