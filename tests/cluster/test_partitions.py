"""Partitions that differ from what Dask knows of them, and scores that are checked as fits are."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.dask import DaskSoftmaxRegression
from nbsoftmax.errors import InputTypeError, InputValueError
from tests.cluster.test_estimator import CODES, LAZY, TABLE, K, M, W, X, Y

pytestmark = pytest.mark.usefixtures("client")

HALVES = [TABLE[:300], TABLE[300:]]
OFFSET = np.random.default_rng(1).normal(size=(M, K))


def partitions(*parts):
    """A collection whose partitions Dask does not check."""
    return dd.from_map(parts.__getitem__, range(len(parts)), meta=parts[0][:0])


def halves(array):
    columns = pd.DataFrame(array) if array.ndim == 2 else pd.Series(array)
    return partitions(columns[:300], columns[300:])


@pytest.mark.parametrize("what", ["X", "probabilities", "offset"])
def test_columns_in_another_order_are_selected_by_name(what):
    reordered = {
        "X": (partitions(HALVES[0], HALVES[1][list("ecabd")]), halves(Y), None),
        "probabilities": (partitions(*HALVES), halves(np.eye(K)[CODES]), None),
        "offset": (partitions(*HALVES), halves(Y), halves(OFFSET)),
    }[what]
    x, y, offset = reordered
    whole = nbs.Trainer(l2=0.1, tol=1e-10).fit(
        X, np.eye(K)[CODES] if what == "probabilities" else Y, offset=None if offset is None else OFFSET
    )
    if what != "X":
        parts = pd.DataFrame(np.eye(K)[CODES] if what == "probabilities" else OFFSET)
        turned = partitions(parts[:300], parts[300:][[2, 0, 1]])
        y, offset = (turned, None) if what == "probabilities" else (y, turned)
    found = nbs.Trainer(l2=0.1, tol=1e-10).fit(x, y, offset=offset)
    np.testing.assert_allclose(found.model.coef, whole.model.coef, atol=1e-5)  # tol bounds the square of it


def test_other_columns_are_refused_by_partition():
    x = partitions(HALVES[0], HALVES[1].rename(columns={"a": "q"}))
    with pytest.raises(
        InputValueError, match=r"in partition 1 .*: X has the columns 'q', 'b'.* those of the collection"
    ):
        nbs.Trainer(l2=0.1).fit(x, halves(Y))


@pytest.fixture
def fitted():
    return DaskSoftmaxRegression().fit(LAZY, Y)


LABELS = da.from_array(Y, chunks=(LAZY.chunks[0],))
WEIGHTS = da.from_array(W, chunks=(LAZY.chunks[0],))


def test_scores_take_what_fits_take(fitted):
    local = fitted.to_local()
    for y in (LABELS, LABELS[:, None], Y, Y[:, None], Y.tolist()):
        assert fitted.score(LAZY, y) == pytest.approx(local.score(X, Y))
    for weight in (WEIGHTS, W, W.tolist()):
        assert fitted.score(LAZY, LABELS, weight) == pytest.approx(local.score(X, Y, W))


SCORES = {
    "no labels": ((None,), "y is None"),
    "too few labels": ((LABELS[:1],), "y has 1 entry, but X has 600 rows"),
    "unknown labels": (
        (np.where(Y == "ant", "owl", Y),),
        "contains the label 'owl' at row 0 .*, which the model was not trained",
    ),
    "numbers": ((CODES,), "they are text, not integers"),
    "columns of weights": ((LABELS, WEIGHTS[:, None]), r"in partition 0 .* sample_weight has shape \(200, 1\)"),
    "negative weights": ((LABELS, -WEIGHTS), "expected a finite weight of at least 0"),
    "no weight": ((LABELS, 0 * WEIGHTS), "the weights of the rows sum to 0"),
    "missing labels": (
        (
            partitions(
                *(
                    pd.Series(part).astype("string").where(pd.Series(part) != "ant")
                    for part in (Y[:200], Y[200:200], Y[200:350], Y[350:])
                )
            ),
        ),
        "y has a missing value",
    ),
}


@pytest.mark.parametrize("case", SCORES)
def test_scores_of_what_cannot_be_scored_are_refused(fitted, case):
    given, message = SCORES[case]
    with pytest.raises((InputValueError, InputTypeError), match=message):
        fitted.score(LAZY, *given)


def test_lazy_predictions_of_a_table_with_text_do_not_change_with_a_later_fit():
    table = dd.from_pandas(TABLE.assign(g=np.array(["u", "v"])[np.arange(M) % 2]), npartitions=3, sort=False)
    labels = dd.from_pandas(pd.Series(CODES), npartitions=3, sort=False)
    estimator = DaskSoftmaxRegression().fit(table, labels)
    lazy = estimator.predict_proba(table)
    before = lazy.compute()
    assert estimator.score(table, labels) == pytest.approx((estimator.predict(table).compute() == CODES).mean())
    estimator.fit(table, (labels + 1) % K)
    pd.testing.assert_frame_equal(lazy.compute(), before)


def test_an_offset_in_a_table_beside_an_array():
    two, offset = (CODES > 0).astype(int), pd.Series(OFFSET[:, 0])
    x, lazy = da.from_array(X, chunks=(200, 5)), dd.from_pandas(offset, npartitions=3, sort=False)
    estimator = DaskSoftmaxRegression().fit(x, da.from_array(two, chunks=200), offset=lazy)
    found = estimator.decision_function(x, lazy).compute()
    np.testing.assert_allclose(found, estimator.to_local().decision_function(X, offset), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_predictions_is_known(dtype):
    table = dd.from_pandas(TABLE.astype(dtype), npartitions=2, sort=False)
    estimator = DaskSoftmaxRegression().fit(table, dd.from_pandas(pd.Series(Y), npartitions=2, sort=False))
    lazy = estimator.predict_proba(table)
    assert set(lazy.dtypes) == set(lazy.compute().dtypes) == {np.dtype(dtype)}


@pytest.mark.parametrize("table", [False, True])
def test_errors_of_lazy_predictions_name_the_partition(fitted, table):
    bad = TABLE.copy()
    bad.iloc[203, 2] = np.nan
    lazy = dd.from_pandas(bad, npartitions=3, sort=False) if table else da.from_array(bad.to_numpy(), chunks=(200, 5))
    estimator = fitted if table else DaskSoftmaxRegression().fit(da.from_array(X, chunks=(200, 5)), Y)
    with pytest.raises(InputValueError, match=r"^in partition 1 \(counted from 0\): X .* row 3"):
        estimator.predict(lazy).compute()
