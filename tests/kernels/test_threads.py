"""Results are a function of the data alone: bit for bit the same for every number of threads, and for callers at once.

The shapes are large enough that the work is cut into many chunks and that threads are used at all.
"""

import multiprocessing
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import nbsoftmax as nbs
from nbsoftmax.kernels.runtime import looking, threads
from nbsoftmax.kernels.runtime.threads import default_threads, launch
from nbsoftmax.models.calibration import brier_score, temperature
from tests.processes import output, run

THREADS = [1, 2, 3]
DTYPES = [np.float32, np.float64]

pytestmark = [
    pytest.mark.usefixtures("several_threads"),
    pytest.mark.skipif(
        numba.config.NUMBA_NUM_THREADS < 3, reason="Numba was started with fewer than 3 threads (NUMBA_NUM_THREADS)"
    ),
]


@pytest.fixture
def with_threads():
    """Run a function with so many of Numba's threads; afterwards all is as before."""
    before = numba.get_num_threads()

    def run(n, f):
        numba.set_num_threads(n)
        return f()

    yield run
    numba.set_num_threads(before)


def same_bits(results):
    first = results[0]
    for other in results[1:]:
        for a, b in zip(first, other, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("K", [5, 100])  # rows in lanes, classes in lanes
@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_logits_do_not_depend_on_the_number_of_threads(K, dtype, with_threads):
    rng = np.random.default_rng(K)
    m = 400_001 // K
    z, y, s = rng.normal(size=(m, K)).astype(dtype), rng.integers(0, K, m), rng.uniform(size=m)

    def evaluate():
        return (
            nbs.softmax(z),
            nbs.log_softmax(z),
            nbs.logsumexp(z),
            nbs.sigmoid(z),
            nbs.log_sigmoid(z),
            *nbs.cross_entropy_and_grad(z, y, sample_weight=s),
            *nbs.cross_entropy_and_grad(z, y, label_smoothing=0.1, reduction="none"),
            *nbs.binary_cross_entropy_and_grad(z[:, 0], y % 2, sample_weight=s),
        )

    same_bits([with_threads(n, evaluate) for n in THREADS])


@pytest.mark.parametrize(("m", "N", "K"), [(5001, 20, 3), (3001, 33, 17), (1001, 9, 100)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_objective_does_not_depend_on_the_number_of_threads(m, N, K, dtype):
    rng = np.random.default_rng(m)
    X, y, s = rng.normal(size=(m, N)).astype(dtype), rng.integers(0, K, m), rng.uniform(size=m)
    params, v = rng.normal(size=(2, K, N + 1))

    def evaluate(n):
        J = nbs.Objective(X, y, n_classes=K, sample_weight=s, l2=0.1, n_threads=n)
        return J.value(params), *J.value_and_grad(params), J.hvp(params, v)

    same_bits([evaluate(n) for n in [*THREADS, None]])


def test_an_evaluation_leaves_numbas_number_of_threads_as_it_was(with_threads):
    z = np.zeros((5000, 20))
    params = np.zeros((2, 21))
    with_threads(2, lambda: nbs.Objective(z, np.arange(5000) % 2, n_threads=3).value_and_grad(params))
    assert numba.get_num_threads() == 2


def test_several_callers_at_once_get_what_each_gets_alone():
    rng = np.random.default_rng(0)
    problems = [(rng.normal(size=(4000, 12)), rng.integers(0, 6, 4000), rng.normal(size=(6, 13))) for _ in range(6)]

    def evaluate(problem):
        X, y, params = problem
        return *nbs.Objective(X, y, n_classes=6).value_and_grad(params), nbs.softmax(X), nbs.sigmoid(X)

    alone = [evaluate(p) for p in problems]
    with ThreadPoolExecutor(6) as pool:
        at_once = list(pool.map(evaluate, problems * 3))
    for i, results in enumerate(at_once):
        same_bits([alone[i % 6], results])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_a_forked_child_computes_what_its_parent_does():
    script = """
        import os, threading, warnings
        import numpy as np
        import nbsoftmax as nbs

        z = np.random.default_rng(0).normal(size=(40000, 25))
        expected = nbs.softmax(z)  # starts the threads, which a child does not inherit
        warnings.simplefilter("ignore")  # Python's own, of forking beside threads
        child = os.fork()
        if child == 0:
            same = np.array_equal(nbs.softmax(z), expected)
            os._exit(0 if same and threading.active_count() > 1 else 1)  # with threads of its own
        status = os.waitpid(child, 0)[1]
        raise SystemExit(os.waitstatus_to_exitcode(status))
    """
    output(script)


def test_as_many_threads_as_numba_is_set_to(with_threads):
    for n in THREADS:
        assert with_threads(n, default_threads) == n


def test_numbas_own_threads_are_not_started():
    script = """
        import numba
        import numpy as np
        import nbsoftmax as nbs
        from nbsoftmax.kernels.runtime import threads

        threads.THREAD_WORK = 1
        nbs.sigmoid(np.zeros(1_000_000))
        print(threads._n_helpers, numba.config.NUMBA_NUM_THREADS)
        numba.threading_layer()
    """
    done = run(script)
    helpers, most = map(int, done.stdout.split())
    assert helpers == most - 1
    assert done.stderr.splitlines()[-1] == "ValueError: Threading layer is not initialized."


def test_an_error_in_a_helping_thread_reaches_the_caller():
    caller, begun = threading.get_ident(), threading.Event()

    def kernel(todo):
        if threading.get_ident() == caller:
            begun.wait(60)
        else:
            begun.set()
            raise MemoryError("of a helper")

    with pytest.raises(MemoryError, match="of a helper"):
        launch(kernel, 8, 1 << 40, 2)


def become_true(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(1e-3)
    return condition()


@pytest.mark.skipif(not looking.CAN_YIELD, reason="threads sleep at once")
def test_a_helper_that_looks_takes_the_next_launch_and_sleeps_if_none_comes(monkeypatch):
    monkeypatch.setattr(threads, "WAIT", 2.0)
    monkeypatch.setattr(threads, "_looks", ())
    threads._reset_helpers()  # as in a child: no helpers yet
    seen, caller = [], threading.get_ident()

    def meet(todo, helped):
        if threading.get_ident() == caller:
            assert helped.wait(60)
        else:
            seen.append(threading.get_ident())
            helped.set()

    for _ in range(3):
        launch(meet, 2, 1 << 40, 2, threading.Event())
        assert become_true(lambda: len(threads._looking) == 1)
    assert len(set(seen)) == 1
    assert become_true(lambda: not threads._looking)
    launch(meet, 2, 1 << 40, 2, threading.Event())  # wakes it
    assert len(seen) == 4


def test_a_helper_first_takes_all_that_is_launched(monkeypatch):
    """Runs that their callers have completed: if it looked for new ones after each, it would be late for ever."""
    looks, runs, signals = [], threads.queue.SimpleQueue(), threads.deque()
    monkeypatch.setattr(threads, "look", lambda *arguments: looks.append(runs.qsize()))
    for _ in range(1000):
        run = threads._Run(None, ())
        run.finish()
        runs.put(run)
    threading.Thread(target=threads._serve, args=(runs, signals), daemon=True).start()
    assert become_true(lambda: runs.empty() and not signals)
    assert not any(looks)


def test_launches_may_come_while_helpers_give_up_looking():
    rng, z = np.random.default_rng(0), np.random.default_rng(1).normal(size=(200, 5))
    expected = nbs.softmax(z)
    for pause in rng.uniform(0, 3 * threads.WAIT, 500):
        end = time.perf_counter() + pause
        while time.perf_counter() < end:
            pass
        assert np.array_equal(nbs.softmax(z), expected)


def test_a_caller_does_without_helpers_that_are_busy_elsewhere():
    released, entered = threading.Event(), threading.Semaphore(0)

    def occupy(todo):
        entered.release()
        released.wait(60)

    def count(todo, array):
        runs.append(threading.get_ident())

    runs, array = [], np.zeros(3)
    kept = weakref.ref(array)
    most = numba.config.NUMBA_NUM_THREADS
    other = threading.Thread(target=launch, args=(occupy, most, 1 << 40, most))
    other.start()
    for _ in range(most):
        assert entered.acquire(timeout=60)
    launch(count, most, 1 << 40, most, array)  # would wait for ever if it waited for its shares to begin
    del array
    assert runs == [threading.get_ident()]
    assert kept() is None  # not even in the queue of the helpers
    released.set()
    other.join()


def test_arrays_are_free_after_a_launch_where_the_system_allows_no_more_threads(monkeypatch):
    """As in containers with a limit on processes. Runs that no thread takes would keep the arrays of every launch."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    def count(todo, array):
        tasks.append(len(array))

    threads._reset_helpers()  # as in a child: no helpers yet
    monkeypatch.setattr(threading.Thread, "start", refuse)
    tasks, array = [], np.zeros(3)
    released = weakref.ref(array)
    launch(count, 8, 1 << 40, 4, array)
    del array
    assert tasks == [3]
    assert released() is None


# --- BLAS, whose threads change the last bits of a dot product of 10,000 numbers and of matrix products ---------


def problem_that_blas_would_thread():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 400))
    return X, (X[:, :30] + rng.normal(size=(150, 30))).argmax(axis=1)


def fitted(**options):
    def evaluate():
        X, y = problem_that_blas_would_thread()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nbs.ConvergenceWarning)
            result = nbs.Trainer(**options).fit(X, y, validation_data=(X[:20], y[:20]))
        numbers = result.objective, result.grad_norm, result.gap, result.history["grad_norm"]
        return result.model.coef, result.model.intercept, *numbers

    return evaluate


def streamed():
    X, y = problem_that_blas_would_thread()
    model = nbs.Trainer(solver="sgd", l2=0.1).partial_fit(X, y, classes=range(30))
    return model.coef, model.intercept


def value():
    X, y = problem_that_blas_would_thread()
    params = np.random.default_rng(1).normal(size=(30, 401))
    return nbs.Objective(X, y, l2=0.1).value(params), *nbs.Objective(X, y, l1=0.1, l2=0.1).value_and_subgrad(params)


def soft_targets():
    rng = np.random.default_rng(0)
    X, y, s = rng.normal(size=(20_000, 2)), rng.dirichlet(np.ones(30), 20_000), rng.uniform(size=20_000)
    J = nbs.Objective(X, y, sample_weight=s)
    fit = nbs.Trainer(l2=0.1, class_weight="balanced", max_iter=2).fit(X, y, sample_weight=s).model
    return J.class_mass, J.hvp(np.zeros(J.shape), np.ones(J.shape)), fit.coef


def calibrated():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(20_000, 3)), rng.integers(0, 3, 20_000)
    z[np.arange(20_000), y] += 1
    return temperature(z, y), brier_score(y, nbs.softmax(z))


def inferred():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 60)), rng.integers(0, 3, 4000)
    found = nbs.Trainer(tol=1e-12).fit(X, y).inference(cov="sandwich")
    interval = found.predict_interval(X)
    return found.covariance, found.wald_test(range(60)).statistic, interval.low, interval.high


def gradients():
    rng = np.random.default_rng(0)
    X, w, W = rng.normal(size=(400, 300)), rng.normal(size=300), rng.normal(size=(30, 300))
    return (
        *nbs.linear_gradient(X, X[:, 0], w, 1.0),
        *nbs.logistic_gradient(X, X[:, 0] > 0, w, 1.0),
        *nbs.softmax_gradient(X, np.arange(400) % 30, W, W[:, 0]),
    )


@pytest.mark.parametrize(
    "evaluate",
    [
        value,
        fitted(solver="gd", l2=0.1, max_iter=8),
        fitted(solver="sgd", l2=0.1, max_iter=2),
        fitted(solver="lbfgs", l2=1e-3, max_iter=8),
        fitted(solver="newton-cg", l2=1e-3, callbacks=[nbs.callbacks.EarlyStopping(1)]),
        fitted(solver="prox-newton", l1=2e-2),
        fitted(solver="prox-newton", l1=2e-2, l2=1e-3, grouped=True, max_iter=2),
        streamed,
        soft_targets,
        calibrated,
        inferred,
        gradients,
    ],
    ids=[
        *("value", "gd", "sgd", "lbfgs", "newton-cg", "prox-newton", "grouped"),
        *("streamed", "soft_targets", "calibrated", "inferred", "gradients"),
    ],
)
def test_results_do_not_depend_on_the_threads_of_blas(evaluate):
    results = []
    for n in (1, 2):
        with threadpool_limits(n, user_api="blas"):
            results.append(evaluate())
    same_bits(results)
