"""Dask collections: a fit of them is that of the same rows in memory, and errors say what is wrong and where."""

import copy
import gc

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, csr_matrix

import nbsoftmax as nbs
from nbsoftmax.errors import ClusterError, InputTypeError, InputValueError
from nbsoftmax.problem import ProblemInParts
from tests.processes import run

M, N, K = 900, 5, 4
CHUNKS = (250, 0, 150, 1, 299, 200)
rng = np.random.default_rng(5)
X = rng.normal(size=(M, N))
CODES = np.argmax(X @ rng.normal(size=(N, K)) + rng.gumbel(size=(M, K)), axis=1)
Y = np.array(["ant", "bee", "cat", "dog"])[CODES]
W = rng.uniform(0.2, 3.0, M)
FRAME = pd.DataFrame(X, columns=list("abcde")).assign(label=Y, weight=W)

pytestmark = pytest.mark.usefixtures("client")


def x_array(x=X):
    return da.from_array(x, chunks=(CHUNKS, N))


def y_array(y=Y, chunks=CHUNKS):
    return da.from_array(y, chunks=(chunks,))


def frame(table=FRAME, n=4):
    return dd.from_pandas(table, npartitions=n, sort=False)


def sparse_blocks(kind=csr_array):
    blocks = [dask.delayed(kind)(part) for part in np.split(X * (np.abs(X) > 1), np.cumsum(CHUNKS)[:-1])]
    meta = kind((0, N))
    arrays = [da.from_delayed(b, (n, N), meta=meta) for b, n in zip(blocks, CHUNKS, strict=True)]
    return da.concatenate(arrays, allow_unknown_chunksizes=True)


def unknown_sizes():
    kept = da.from_array(np.arange(M) % 3 > 0, chunks=(CHUNKS,))
    return x_array()[kept], y_array()[kept]


def test_a_path_of_penalties_is_that_of_the_rows_in_memory():
    options = {"l2s": [0.1, 0.01], "tol": 1e-10}
    paths = nbs.fit_path(x_array(), y_array(), **options), nbs.fit_path(X, Y, **options)
    for found, expected in zip(*(path.results for path in paths), strict=True):
        assert found.converged
        # Both are within sqrt(2 gap / l2) of the minimum.
        np.testing.assert_allclose(found.model.coef, expected.model.coef, rtol=0, atol=3e-4)
        assert found.objective == pytest.approx(expected.objective, rel=2e-10)


KEPT = np.arange(M) % 3 > 0
# X, y and weights on the cluster, and the same rows in memory.
ROWS = {
    "arrays": lambda: ((x_array(), y_array(), y_array(W)), (X, Y, W)),
    "float32": lambda: ((x_array(X.astype(np.float32)), y_array(), None), (X.astype(np.float32), Y, None)),
    "labels and weights in memory": lambda: ((x_array(), Y, W), (X, Y, W)),
    "other chunks of labels": lambda: ((x_array(), y_array(chunks=(400, 500)), None), (X, Y, None)),
    "unknown numbers of rows": lambda: ((*unknown_sizes(), None), (X[KEPT], Y[KEPT], None)),
    "CSR arrays": lambda: ((sparse_blocks(), y_array(), None), (csr_array(X * (np.abs(X) > 1)), Y, None)),
    "CSR matrices": lambda: ((sparse_blocks(csr_matrix), Y, None), (csr_array(X * (np.abs(X) > 1)), Y, None)),
    "a DataFrame": lambda: (
        (frame()[list("abcde")], frame()["label"], frame()["weight"]),
        (FRAME[list("abcde")], Y, W),
    ),
    "a DataFrame and an array": lambda: (
        (frame()[list("abcde")], frame()["label"], frame()["weight"].to_dask_array()),
        (FRAME[list("abcde")], Y, W),
    ),
    "probabilities": lambda: (
        (x_array(), da.from_array(np.eye(K)[CODES], chunks=(300, 2)), W),
        (X, np.eye(K)[CODES], W),
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_fit_of_collections_is_that_of_the_rows_in_memory(case):
    lazy, rows = ROWS[case]()
    found = nbs.Trainer(l2=0.01, tol=1e-9, class_weight="balanced").fit(*lazy[:2], sample_weight=lazy[2])
    expected = nbs.Trainer(l2=0.01, tol=1e-9, class_weight="balanced").fit(*rows[:2], sample_weight=rows[2])
    assert found.converged
    assert found.objective == pytest.approx(expected.objective, rel=1e-7 if case == "float32" else 2e-9)
    assert found.model.feature_names == expected.model.feature_names
    np.testing.assert_array_equal(found.model.classes, expected.model.classes)
    assert found.problem.n_samples == rows[0].shape[0]


OFFSET = rng.normal(size=(M, K))
OFFSETS = pd.DataFrame(OFFSET, columns=list("ABCD"))


@pytest.mark.parametrize(
    ("x", "offset"),
    [
        (x_array, lambda: da.from_array(OFFSET, chunks=(CHUNKS, K))),
        (x_array, lambda: da.from_array(OFFSET, chunks=(400, 3))),
        (x_array, lambda: OFFSET),
        (lambda: frame()[list("abcde")], lambda: frame(OFFSETS)),
        (lambda: frame()[list("abcde")], lambda: frame(OFFSETS).to_dask_array()),
    ],
)
def test_an_offset_is_added_to_the_logits(x, offset):
    X_, y = x(), y_array() if hasattr(x(), "chunks") else frame()["label"]
    found = nbs.Trainer(l2=0.01, tol=1e-9).fit(X_, y, offset=offset(), validation_data=(X_, y, None, offset()))
    expected = nbs.Trainer(l2=0.01, tol=1e-9).fit(X, Y, offset=OFFSET, validation_data=(X, Y, None, OFFSET))
    assert found.objective == pytest.approx(expected.objective, rel=2e-9)
    assert found.objective != pytest.approx(nbs.Trainer(l2=0.01).fit(X, Y).objective, rel=1e-3)
    final = found.history["validation_loss"][-1], expected.history["validation_loss"][-1]
    assert final[0] == pytest.approx(final[1], rel=1e-3)


def test_an_offset_gives_the_same_bits_for_one_worker_and_two(cluster):
    offset, bits = da.from_array(OFFSET, chunks=(CHUNKS, K)), set()
    with distributed.Client(cluster) as two:
        bits.add(nbs.Trainer(l2=0.01).fit(x_array(), Y, offset=offset).model.coef.tobytes())
        address = next(iter(two.scheduler_info()["workers"]))
        with dask.annotate(workers=[address]):
            bits.add(nbs.Trainer(l2=0.01).fit(x_array(), Y, offset=offset).model.coef.tobytes())
    assert len(bits) == 1


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "gd", "prox-newton"])
def test_every_solver_that_makes_passes_finds_the_same_minimum(solver):
    options = {"solver": solver, "tol": 1e-6, "l1" if solver == "prox-newton" else "l2": 0.05}
    found, expected = nbs.Trainer(**options).fit(x_array(), Y), nbs.Trainer(**options).fit(X, Y)
    assert found.converged
    assert found.objective == pytest.approx(expected.objective, rel=2e-6)


def test_after_a_fit_the_workers_keep_nothing(client):
    result = nbs.Trainer(l2=0.01).fit(x_array(), Y)
    gc.collect()
    for _ in range(200):
        held = [key for keys in client.has_what().values() for key in keys if "nbsoftmax" in str(key)]
        if not held:
            break
        distributed.wait(client.submit(lambda: None, pure=False))
    assert not held
    again = nbs.Trainer(l2=0.01).fit(result.problem)
    assert again.model.coef.tobytes() == result.model.coef.tobytes()
    assert copy.copy(result).problem is None


def test_after_a_fit_with_an_error_the_workers_keep_nothing():
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as local,
        distributed.Client(local) as threads,  # which have the errors of tasks themselves, and not copies of them
    ):
        with pytest.raises(InputValueError, match="in partition 2"):
            nbs.Trainer().fit(x_array(with_nan()), Y)
        gc.collect()
        for _ in range(200):
            if not threads.futures:
                break
            distributed.wait(threads.submit(lambda: None, pure=False))
        assert not threads.futures


def test_errors_about_validation_data_say_so():
    with pytest.raises(InputValueError, match=r"in validation_data: y has 1 entry, but X has [0-9]+ rows"):
        nbs.Trainer(l2=0.01).fit(x_array(), Y, validation_data=(x_array(), Y[:1]))


def test_validation_data_may_be_collections():
    found = nbs.Trainer(l2=0.01).fit(x_array(), Y, validation_data=(x_array(), y_array()))
    again = nbs.Trainer(l2=0.01).fit(x_array(), Y, validation_data=(X, Y))
    np.testing.assert_allclose(found.history["validation_loss"], again.history["validation_loss"], rtol=1e-12)


def with_nan():
    bad = X.copy()
    bad[260, 3] = np.nan
    return bad


def other(**columns):
    return frame(FRAME.assign(**columns))


BAD = {
    "several chunks of columns": (lambda: (da.from_array(X, chunks=(300, 3)), Y), r"X.rechunk\(\{1: -1\}\)"),
    "one dimension": (lambda: (y_array(X[:, 0]), Y), r"1 dimension, expected 2"),
    "a Series": (lambda: (frame()["a"], frame()["label"]), r"X.to_frame\(\)"),
    "a Bag": (lambda: (db.from_sequence([1, 2]), Y), "Bag of Dask"),
    "NaN": (lambda: (x_array(with_nan()), Y), r"in partition 2 .*X contains nan at row 10, column 3"),
    "NaN in a column": (
        lambda: (other(c=np.where(np.arange(M) == 230, np.nan, W))[list("abc")], frame()["label"]),
        r"in partition 1 .*NaN\) in column 'c' at row 5",
    ),
    "a column of durations": (lambda: (other(d=pd.Timedelta(1, "s"))[["d"]], frame()["label"]), "in column 'd'"),
    "a missing label": (
        lambda: (frame()[["a"]], other(label=np.where(np.arange(M) == 3, None, Y))["label"]),
        r"in partition 0 .*y has a missing value at row 3",
    ),
    "too few labels": (lambda: (x_array(), Y[:-1]), "y has 899 entries, but X has 900 rows"),
    "too few lazy labels": (lambda: (x_array(), y_array(Y[:-1], 300)), "y has 899 entries, but X has 900 rows"),
    "labels in memory, sizes unknown": (lambda: (unknown_sizes()[0], Y), "compute_chunk_sizes"),
    "other partitions": (lambda: (frame()[["a"]], frame(n=3)["label"]), "X has 4 partitions, but y has 3"),
    "an array and a table": (
        lambda: (x_array(), frame(n=3)["label"]),
        r"y.to_dask_array\(lengths=True\).rechunk\(\{0: X.chunks\[0\]\}\)",
    ),
    "a table and an array": (
        lambda: (frame()[["a"]], y_array(Y, 300)),
        r"X.to_dask_array\(lengths=True\), and y.rechunk",
    ),
    "other rows": (lambda: (unknown_sizes()[0], y_array()), "in partition 0 .*labels"),
    "only y is lazy": (lambda: (X, y_array()), "X is an ndarray, expected a Dask Array or DataFrame"),
    "one class": (lambda: (x_array(), np.repeat("a", M)), "only the class 'a'"),
    "too few offsets": (lambda: (x_array(), Y, None, OFFSET[:-1]), "offset has 899 entries, but X has 900 rows"),
    "an offset of other classes": (lambda: (x_array(), Y, None, OFFSET[:, :3]), "offset has 3 columns, expected 4"),
    "NaN in the offset": (
        lambda: (x_array(), Y, None, np.where(np.arange(M)[:, None] == 252, np.nan, OFFSET)),
        r"in partition 2 .*offset contains nan at row 2",
    ),
    "a text offset": (lambda: (x_array(), Y, None, y_array()), "in partition 0 .*offset has dtype"),
    "only the offset is lazy": (lambda: (X, Y, None, y_array(OFFSET[:, 0])), "X is an ndarray, expected a Dask"),
    "no y": (lambda: (x_array(), None), "y is None"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_collections_are_refused_with_advice(case):
    rows, message = BAD[case]
    X_, y, sample_weight, offset = (*rows(), None, None)[:4]
    with pytest.raises((InputValueError, InputTypeError), match=message):
        nbs.Trainer().fit(X_, y, sample_weight=sample_weight, offset=offset)


def test_what_collections_cannot_have_is_refused():
    with pytest.raises(InputValueError, match="device='cpu'"):
        nbs.Trainer(device="cuda").fit(sparse_blocks(), Y)
    with pytest.raises(InputValueError, match=r"'sgd' runs on the CPU, .* nor of a Dask cluster; use solver"):
        nbs.Trainer(solver="sgd").fit(x_array(), Y)
    with pytest.raises(InputValueError, match="validation_data instead"):
        nbs.Trainer(validation_fraction=0.1).fit(x_array(), Y)
    with pytest.raises(InputValueError, match="timeout"), dask.config.set({"nbsoftmax.timeout": 0.0}):
        nbs.Trainer().fit(x_array(), Y)


def test_an_error_of_a_task_arrives_unchanged():
    def read(block):
        raise FileNotFoundError("part-3.npy")

    with pytest.raises(FileNotFoundError, match="part-3"):
        nbs.Trainer().fit(x_array().map_blocks(read, dtype=float), Y)


def test_rows_that_change_between_passes_are_refused():
    lengths = iter(range(100, 200))
    changing = dask.delayed(lambda i: X[:i])
    problem = ProblemInParts.from_dask(x_array(), y_array())
    rows = problem.parts_of.__self__
    rows._rows, rows._tasks = None, [changing(n) for n in lengths][: len(CHUNKS)]
    with pytest.raises(ClusterError, match=r"partition \d .* rows now, but had"):
        problem.backend(fit_intercept=True, n_threads=None).loss(np.zeros((K, N + 1)))


def test_a_client_is_needed_that_waits(cluster):
    script = """
        import dask.array as da
        import nbsoftmax as nbs
        nbs.Trainer().fit(da.ones((4, 2)), [0, 1, 0, 1])
    """
    assert "InputValueError: there is no Dask client; make one first" in run(script).stderr
    with distributed.Client(cluster) as closed:
        pass
    with pytest.raises(InputValueError, match="client is closed"):
        ProblemInParts.from_dask(x_array(), Y, client=closed)
    with pytest.raises(InputTypeError, match="client is a str"):
        ProblemInParts.from_dask(x_array(), Y, client="tcp://somewhere:8786")


@pytest.mark.parametrize("options", [{"l2": 0.05}, {"l1": 0.02}])
def test_weights_of_the_penalty_and_bounds_are_kept(options):
    options |= {"penalty_weight": [0.0, 1.0, 2.0, 1.0, 0.5], "bounds": (-0.1, 0.3), "tol": 1e-8}
    found, expected = nbs.Trainer(**options).fit(x_array(), Y), nbs.Trainer(**options).fit(X, Y)
    assert found.converged
    assert found.objective == pytest.approx(expected.objective, rel=2e-8)
    assert -0.1 <= found.model.coef.min() <= found.model.coef.max() <= 0.3
