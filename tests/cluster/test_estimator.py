"""`DaskSoftmaxRegression`: the fit of `SoftmaxRegression`, lazy predictions, clones and pickles."""

import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import nbsoftmax as nbs
from nbsoftmax.dask import DaskSoftmaxRegression
from nbsoftmax.errors import InputTypeError, InputValueError
from tests.processes import run

M, N, K = 600, 5, 3
rng = np.random.default_rng(8)
X = rng.normal(size=(M, N))
CODES = np.argmax(X @ rng.normal(size=(N, K)) + rng.gumbel(size=(M, K)), axis=1)
Y = np.array(["ant", "bee", "cat"])[CODES]
W = rng.uniform(0.2, 3.0, M)
TABLE = pd.DataFrame(X, columns=list("abcde"))
LAZY = da.from_array(X, chunks=((200, 0, 150, 250), N))
FRAME = dd.from_pandas(TABLE, npartitions=3, sort=False)
CLOSE = 1.6e-4  # two fits with tol 1e-11, each within sqrt(2 tol J / l2) of the minimum: at most 8e-5
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


@pytest.fixture(scope="module")
def fitted(cluster):
    import distributed

    with distributed.Client(cluster) as client:
        return DaskSoftmaxRegression(client, C=0.5, tol=1e-11).fit(LAZY, Y, sample_weight=W)


@pytest.fixture(scope="module")
def local():
    return nbs.SoftmaxRegression(C=0.5, tol=1e-11).fit(X, Y, sample_weight=W)


def test_the_fit_is_that_of_the_local_estimator(fitted, local):
    np.testing.assert_allclose(fitted.coef_, local.coef_, rtol=0, atol=CLOSE)
    np.testing.assert_array_equal(fitted.classes_, local.classes_)
    assert fitted.n_features_in_ == N
    assert fitted.converged_
    assert not hasattr(fitted, "feature_names_in_")


def test_two_classes_have_one_row_and_one_logit(client):
    y = np.where(CODES == 2, "b", "a")
    ours, theirs = DaskSoftmaxRegression(tol=1e-11).fit(LAZY, y), nbs.SoftmaxRegression(tol=1e-11).fit(X, y)
    assert ours.coef_.shape == (1, N)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=CLOSE)
    logits = ours.decision_function(LAZY)
    assert logits.shape == (M,)
    np.testing.assert_allclose(logits.compute(), theirs.decision_function(X), rtol=0, atol=6 * CLOSE)  # |(x, 1)| < 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_of_arrays_are_lazy_and_those_of_the_rows_in_memory(client, fitted, method, dtype):
    lazy = getattr(fitted, method)(LAZY.astype(dtype))
    expected = getattr(fitted, method)(X.astype(dtype))  # in memory
    assert isinstance(expected, np.ndarray)
    assert lazy.chunks == (LAZY.chunks[0], *(((K,),) if method != "predict" else ()))
    assert lazy.dtype == expected.dtype
    np.testing.assert_array_equal(lazy.compute(), expected)


@pytest.mark.parametrize("method", METHODS)
def test_predictions_of_tables_are_tables_with_their_index(client, method):
    index = pd.Index(np.arange(M) * 10)
    frame = dd.from_pandas(TABLE.set_index(index), npartitions=3)
    fitted = DaskSoftmaxRegression().fit(frame, dd.from_pandas(pd.Series(Y, index), npartitions=3))
    assert fitted.feature_names_in_.tolist() == list("abcde")
    found, expected = getattr(fitted, method)(frame).compute(), getattr(fitted, method)(TABLE)
    np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(found.index, index)
    if method == "predict_proba":
        assert found.columns.tolist() == ["ant", "bee", "cat"]


def test_predictions_need_no_cluster(fitted):
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(fitted.predict(LAZY).compute(), fitted.predict(X))


def test_the_score_is_the_weighted_accuracy(client, fitted):
    labels, weights = (da.from_array(a, chunks=(LAZY.chunks[0],)) for a in (Y, W))
    assert fitted.score(LAZY, labels) == pytest.approx(fitted.score(X, Y))
    assert fitted.score(LAZY, labels, weights) == pytest.approx(fitted.score(X, Y, W))
    overflowing = weights * (1e308 / W.max())  # their sum overflows
    assert fitted.score(LAZY, labels, overflowing) == pytest.approx(fitted.score(X, Y, W))


def test_a_local_estimator_and_a_pickle_have_the_model_and_no_client(client, fitted):
    local = fitted.to_local()
    assert type(local) is nbs.SoftmaxRegression
    np.testing.assert_array_equal(local.predict_proba(X), fitted.predict_proba(X))
    again = pickle.loads(pickle.dumps(fitted))
    assert again.client is None
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_clone_has_the_client_and_no_model(client):
    estimator = DaskSoftmaxRegression(client, C=3.0, timeout=60.0)
    copy = clone(estimator)
    assert copy.client is client
    assert copy.client_ is client
    assert (copy.C, copy.timeout) == (3.0, 60.0)
    with pytest.raises(NotFittedError):
        copy.predict(LAZY)
    with pytest.raises(NotFittedError):
        copy.to_local()


def test_a_warm_start_begins_at_the_last_fit(client):
    estimator = DaskSoftmaxRegression(warm_start=True).fit(LAZY, Y)
    first = int(estimator.n_iter_[0])
    assert int(estimator.fit(LAZY, Y).n_iter_[0]) < first


def test_what_the_estimator_cannot_do_is_refused(client, fitted):
    with pytest.raises(InputValueError, match="device='cpu'"):
        DaskSoftmaxRegression(device="cuda").fit(LAZY, Y)
    with pytest.raises(InputTypeError, match="X is an ndarray"):
        DaskSoftmaxRegression().fit(X, Y)
    with pytest.raises(InputValueError, match="X has 4 features, but the model was trained on 5"):
        fitted.predict(LAZY[:, :4])
    with pytest.raises(InputValueError, match="X has 4 features, but the model was trained on 5"):
        fitted.predict(FRAME[list("abcd")])
    with pytest.raises(InputValueError, match="lacks 'b'"):
        DaskSoftmaxRegression().fit(FRAME, FRAME["a"] > 0).predict(FRAME[["a"]])
    with pytest.raises(AttributeError, match="no partial_fit"):
        fitted.partial_fit(X, Y)


def test_without_dask_the_import_says_what_to_install():
    script = """
        import sys
        sys.modules["distributed"] = None
        import nbsoftmax.dask
    """
    assert 'pip install "nbsoftmax[dask,sklearn]"' in run(script).stderr


def test_without_distributed_a_fit_says_what_to_install():
    script = """
        import sys
        import dask.array as da
        import numpy as np
        sys.modules["distributed"] = None
        import nbsoftmax as nbs
        nbs.Trainer().fit(da.ones((4, 2)), [0, 1, 0, 1])
    """
    assert "InputTypeError: Dask collections need the package distributed" in run(script).stderr


OFFSET = rng.normal(size=(M, K))


@pytest.mark.parametrize(
    ("x", "y", "offset"),
    [
        (lambda: LAZY, lambda: Y, lambda: da.from_array(OFFSET, chunks=(LAZY.chunks[0], K))),
        (lambda: LAZY, lambda: Y, lambda: OFFSET),
        (lambda: FRAME, lambda: dd.from_pandas(pd.Series(Y), npartitions=3), lambda: frame_of(OFFSET)),
        (lambda: FRAME, lambda: dd.from_pandas(pd.Series(Y), npartitions=3), lambda: frame_of(OFFSET).to_dask_array()),
    ],
)
def test_an_offset_takes_part_in_fits_predictions_and_scores(client, x, y, offset):
    lazy, local = DaskSoftmaxRegression(tol=1e-11), nbs.SoftmaxRegression(tol=1e-11)
    lazy.fit(x(), y(), offset=offset())
    local.fit(X, Y, offset=OFFSET)
    np.testing.assert_allclose(lazy.coef_, local.coef_, rtol=0, atol=CLOSE)
    in_memory = TABLE if x() is FRAME else X
    for method in METHODS:
        found = getattr(lazy, method)(x(), offset())
        assert type(found).__module__.startswith("dask")
        np.testing.assert_array_equal(np.asarray(found.compute()), getattr(lazy, method)(in_memory, OFFSET))
    labels = y() if x() is FRAME else da.from_array(Y, chunks=(LAZY.chunks[0],))
    assert lazy.score(x(), labels, offset=offset()) == lazy.score(in_memory, Y, offset=OFFSET)


def test_the_offset_of_two_classes_may_have_one_column(client):
    y, offset = np.where(CODES == 2, "b", "a"), da.from_array(OFFSET[:, 0], chunks=(LAZY.chunks[0],))
    fitted = DaskSoftmaxRegression(tol=1e-9).fit(LAZY, y, offset=offset)
    expected = fitted.to_local().decision_function(X, OFFSET[:, 0])
    np.testing.assert_array_equal(fitted.decision_function(LAZY, offset).compute(), expected)
    series = dd.from_pandas(pd.Series(OFFSET[:, 0]), npartitions=3)
    fitted = DaskSoftmaxRegression(tol=1e-9).fit(FRAME, dd.from_pandas(pd.Series(y), npartitions=3), offset=series)
    expected = fitted.to_local().decision_function(TABLE, OFFSET[:, 0])
    np.testing.assert_array_equal(fitted.decision_function(FRAME, series).compute(), expected)


def frame_of(offset):
    return dd.from_pandas(pd.DataFrame(offset, columns=list("ABC")), npartitions=3)
