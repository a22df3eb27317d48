"""Fits on a cluster that loses, pauses and gains workers: the bits are those of an undisturbed fit."""

import os
import signal
import threading
import time
from functools import partial

import dask
import dask.array as da
import distributed
import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.backends.cluster import parts
from nbsoftmax.errors import ClusterError
from tests.cluster.disturbances import arm, die, fail, set_status, sleep_while
from tests.processes import run

M, N, K = 900, 5, 4
CHUNKS = (250, 0, 150, 1, 299, 200)
rng = np.random.default_rng(5)
X = rng.normal(size=(M, N))
Y = np.array(["ant", "bee", "cat", "dog"])[np.argmax(X @ rng.normal(size=(N, K)) + rng.gumbel(size=(M, K)), axis=1)]


def collections():
    return da.from_array(X, chunks=(CHUNKS, N)), da.from_array(Y, chunks=(CHUNKS,))


def fitted(*callbacks, **options):
    """A fit with many passes."""
    trainer = nbs.Trainer(solver="lbfgs", l2=1e-2, tol=1e-6, callbacks=callbacks)
    return trainer.fit(*collections(), **options)


@pytest.fixture(scope="module")
def undisturbed(cluster):
    with distributed.Client(cluster):
        return fitted().model


def same_bits(model, other):
    return model.coef.tobytes() == other.coef.tobytes() and model.intercept.tobytes() == other.intercept.tobytes()


def at(n_iter, what):
    """A callback that calls `what` after this iteration."""

    def callback(iteration):
        if iteration.n_iter == n_iter:
            what()

    return callback


def test_the_bits_do_not_depend_on_the_number_of_workers_and_threads(undisturbed):
    for n_workers, n_threads in ((1, 1), (3, 2)):
        options = {"n_workers": n_workers, "threads_per_worker": n_threads, "processes": False}
        with distributed.Client(**options, dashboard_address=":0"):
            assert same_bits(fitted().model, undisturbed)


@pytest.mark.parametrize("what", [die, fail], ids=["is killed", "raises an error once"])
def test_a_worker_fails_in_the_middle_of_a_sum(client, undisturbed, tmp_path, what):
    arm(client, tmp_path, what, after=8)
    result = fitted()
    assert (tmp_path / "done").exists()
    assert result.converged
    assert same_bits(result.model, undisturbed)


def test_newton_steps_in_float32_survive_a_killed_worker(client, tmp_path):
    x, y = collections()
    trainer = nbs.Trainer(l2=1e-1, tol=1e-5, solver="newton-cg")
    whole = trainer.fit(x.astype(np.float32), y).model
    arm(client, tmp_path, die, after=8)
    again = trainer.fit(x.astype(np.float32), y).model
    assert (tmp_path / "done").exists()
    assert same_bits(again, whole)


def test_a_worker_is_restarted(client, undisturbed):
    before = client.run(os.getpid)
    worker = next(iter(before))
    result = fitted(at(3, lambda: client.restart_workers([worker])))
    assert len(set(client.run(os.getpid).values()) & set(before.values())) == 1
    assert same_bits(result.model, undisturbed)


def test_a_worker_joins_and_gets_its_share(client, cluster, undisturbed, monkeypatch):
    monkeypatch.setattr(parts, "SPREAD_SECONDS", 0.0)
    before, held = set(client.nthreads()), []

    def join():
        cluster.scale(3)
        client.wait_for_workers(3, timeout=60)

    def look():
        (new,) = set(client.nthreads()) - before
        held.extend(client.has_what()[new])

    result = fitted(at(3, join), at(6, look))
    assert any("nbsoftmax-moved" in key[0] for key in held)
    assert same_bits(result.model, undisturbed)


def test_a_worker_is_paused(client, undisturbed):
    worker = next(iter(client.nthreads()))
    result = fitted(at(3, lambda: client.run(set_status, "paused", workers=[worker])))
    client.run(set_status, "running", workers=[worker])
    assert same_bits(result.model, undisturbed)


def test_the_client_is_killed_and_the_fit_resumed(client, undisturbed, tmp_path):
    script = """
        import os, signal, sys
        import distributed
        from nbsoftmax.training import checkpoint
        from tests.cluster.test_losses import fitted

        checkpoint.SECONDS = 0.0  # between two files

        def die(iteration):
            if iteration.n_iter == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        client = distributed.Client(sys.argv[1])
        fitted(die, checkpoint=sys.argv[2])
    """
    path = tmp_path / "state"
    assert run(script, client.scheduler.address, str(path)).returncode == -signal.SIGKILL
    iterations = []
    result = fitted(lambda iteration: iterations.append(iteration.n_iter), checkpoint=path, resume=True)
    assert iterations[0] > 1
    assert same_bits(result.model, undisturbed)


def test_ctrl_c_cancels_the_tasks_and_returns_the_best_model(client, tmp_path, usual_handler):
    asleep = tmp_path / "asleep"
    asleep.touch()
    arm(client, tmp_path, partial(sleep_while, asleep), after=8)

    def interrupt():
        assert _soon((tmp_path / "done").exists)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.5)  # the main thread is interrupted while the worker sleeps, not when its result arrives
        asleep.unlink()  # the last sums, for the gap of the best model, need the worker

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = fitted()
    thread.join()
    assert result.interrupted
    assert _soon(lambda: not any(client.processing().values()))


def _soon(condition):
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_without_workers_there_is_an_error_and_no_hang(client, cluster):
    with (
        dask.config.set({"nbsoftmax.timeout": 0.5}),
        pytest.raises(ClusterError, match="the cluster has had no worker"),
    ):
        fitted(at(3, lambda: cluster.scale(0)))


def test_without_workers_nothing_is_logged_after_the_error():
    script = """
        import gc, logging, threading, time
        import dask.array as da, distributed, numpy as np
        from nbsoftmax.dask import ClusterError, DaskSoftmaxRegression

        def slow(block):
            time.sleep(1.0)
            return block

        silence = logging.CRITICAL
        with distributed.LocalCluster(1, 1, processes=False, dashboard_address=":0", silence_logs=silence) as cluster:
            with distributed.Client(cluster):
                rows = da.ones((40, 2), chunks=(8, 2)).map_blocks(slow, dtype=float)
                threading.Timer(1.5, cluster.scale, [0]).start()
                try:
                    DaskSoftmaxRegression(timeout=1).fit(rows, np.arange(40) % 2)
                except ClusterError as error:
                    print(error)
                gc.collect()  # Python reports errors of coroutines of which nobody has asked for the result
                time.sleep(0.5)
            gc.collect()
    """
    found = run(script)
    assert "has had no worker" in found.stdout
    assert "never retrieved" not in found.stderr


def test_if_all_workers_are_paused_there_is_an_error_and_no_hang(client):
    with (
        dask.config.set({"nbsoftmax.timeout": 0.5}),
        pytest.raises(ClusterError, match="all 2 workers of the cluster have been paused"),
    ):
        fitted(at(3, partial(client.run, set_status, "paused")))
    client.run(set_status, "running")


def _deadly(block, block_info=None):
    if block_info[0]["chunk-location"][0] == 2:
        die()
    return block


def test_a_partition_on_which_workers_die_is_one_clear_error(client, cluster, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    x, y = collections()
    with pytest.raises(ClusterError, match=r"partition.*workers died.*smaller partitions"):
        nbs.Trainer().fit(x.map_blocks(_deadly, dtype=float), y)


def test_data_of_the_client_that_are_lost_with_a_worker_are_one_clear_error(client, tmp_path):
    blocks = client.scatter(np.split(X, 2))
    x = da.concatenate([da.from_delayed(dask.delayed(block), (M // 2, N), dtype=float) for block in blocks])
    (worker,) = client.who_has(blocks)[blocks[0].key]
    with pytest.raises(ClusterError, match="scatter"):
        nbs.Trainer(
            l2=1e-4, solver="lbfgs", callbacks=[at(2, lambda: client.run(die, workers=[worker], on_error="ignore"))]
        ).fit(x, Y)
