"""`nbs.data.from_batches`: whatever batches the rows arrive in, the blocks are the same."""

from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from scipy.sparse import csr_array

import nbsoftmax as nbs
from tests.data.rows import NAMES, M, W, X, Y, table, together, write
from tests.data.test_open_files import COLUMNS

CUTS = [0, 1, 90, 90, 530, 1000]  # of batches of very different lengths


def tuples(X=X, y=Y, w=W):
    for low, high in pairwise(CUTS):
        yield X[low:high], y[low:high], w[low:high]


class DataIter:
    """As users of XGBoost write them."""

    def __init__(self):
        self.at = 3  # not at its beginning

    def next(self, input_data):
        if self.at == len(CUTS) - 1:
            return 0
        rows = slice(CUTS[self.at], CUTS[self.at + 1])
        input_data(data=X[rows], label=Y[rows], weight=W[rows])
        self.at += 1
        return 1

    def reset(self):
        self.at = 0


class StoppingIter(DataIter):
    """Says by an exception that there are no more rows."""

    def next(self, input_data):
        if not super().next(input_data):
            raise StopIteration
        return 1


class Again:
    def __iter__(self):
        return tuples()


FRAME, POLARS = table().to_pandas(), pl.from_arrow(table())


def slices(frame):
    return [frame[low:high] for low, high in pairwise(CUTS)]


SOURCES = {
    "a function of a generator": (tuples, {}),
    "a list of tuples": (list(tuples()), {}),
    "an object that begins anew": (Again(), {}),
    "a DataIter": (DataIter(), {}),
    "a function of a DataIter": (DataIter, {}),
    "a DataIter that raises StopIteration": (StoppingIter(), {}),
    "a table": (table(), COLUMNS),
    "record batches": (lambda: iter(table().to_batches(90)), COLUMNS),
    "a reader": (lambda: table().to_reader(90), COLUMNS),
    "pandas": (lambda: FRAME, COLUMNS),
    "pieces of pandas": (slices(FRAME), COLUMNS),
    "polars": (lambda: POLARS, COLUMNS),
    "pieces of polars": (slices(POLARS), COLUMNS),
    "a lazy frame": (POLARS.lazy, COLUMNS),
}


@pytest.mark.parametrize("case", SOURCES)
def test_the_blocks_do_not_depend_on_the_batches(case):
    given, columns = SOURCES[case]
    if case == "a lazy frame" and not hasattr(POLARS.lazy(), "collect_batches"):
        pytest.skip("polars reads lazy frames in batches since version 1.34")
    source = nbs.data.from_batches(given, batch_rows=300, **columns)
    for _ in range(2):
        found, y, weight, rows = together(source)
        assert rows == [300, 300, 300, 100]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, X)
        np.testing.assert_array_equal(y.astype(str), Y)
        np.testing.assert_array_equal(weight, W)
        assert source.feature_names == (NAMES if columns else None)


def test_a_data_set_of_arrow_is_read_by_its_own_options(tmp_path):
    write(tmp_path / "t.parquet")
    found, y, _, _ = together(nbs.data.from_batches(ds.dataset(tmp_path), **COLUMNS))
    np.testing.assert_array_equal(found, X)
    np.testing.assert_array_equal(y, Y)


def test_sparse_batches_give_sparse_blocks():
    sparse = csr_array(np.where(X > 1, X, 0))
    source = nbs.data.from_batches(lambda: tuples(sparse), batch_rows=300)
    blocks = list(source.blocks())
    assert [block.X.shape[0] for block in blocks] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate([block.X.toarray() for block in blocks]), sparse.toarray())


def test_an_array_that_is_filled_again_does_not_change_the_blocks_before():
    buffer, labels = np.empty((100, 5), np.float32), np.empty(100, np.int64)

    def batches():
        for i in range(10):
            buffer[:], labels[:] = i, i
            yield buffer, labels

    blocks = list(nbs.data.from_batches(batches, batch_rows=100).blocks())
    assert [block.X[0, 0] for block in blocks] == list(range(10))
    assert [block.y[0] for block in blocks] == list(range(10))


def test_the_arrays_of_a_list_are_used_where_they_are():
    (block,) = nbs.data.from_batches([(X, Y)]).blocks()
    first, *_ = nbs.data.from_batches([(X, Y)], batch_rows=400).blocks()
    assert np.shares_memory(first.X, X)
    assert len(block.X) == M


ONCE = {
    "a generator": (tuples(), "is a generator, which can be read only once"),
    "an iterator": (iter([(X, Y)]), "is a list_iterator, which"),
    "a reader": (table().to_reader(), "is a RecordBatchReader, which"),
}


@pytest.mark.parametrize("case", ONCE)
def test_what_can_run_only_once_is_refused_by_name(case):
    given, message = ONCE[case]
    with pytest.raises(nbs.InputTypeError, match=f"{message}.*give a function that makes it"):
        nbs.data.from_batches(given)


def test_a_function_that_returns_the_same_iterator_again_is_refused():
    made = tuples()
    source = nbs.data.from_batches(lambda: made)
    list(source.blocks())
    with pytest.raises(nbs.InputTypeError, match="same generator as before"):
        next(source.blocks())


ROWS = X[:4]


def test_a_data_iter_may_name_the_features_and_give_an_offset():
    class Named(DataIter):
        def next(self, input_data):
            return super().next(
                lambda **given: input_data(**given, feature_names=NAMES, base_margin=X[: len(given["data"]), :3])
            )

    source = nbs.data.from_batches(Named())
    (block,) = source.blocks()
    assert source.feature_names == NAMES
    assert block.offset.shape == (M, 3)

    class Ranked(DataIter):
        def next(self, input_data):
            return super().next(lambda **given: input_data(**given, qid=[1]))

    with pytest.raises(nbs.InputTypeError, match="passes qid, which has no meaning"):
        list(nbs.data.from_batches(Ranked()).blocks())


BAD = {
    "a number": (3, {}, "batches is an int"),
    "an array": (X, {}, "batches is an ndarray"),
    "a function of a number": (lambda: 3, {}, "returned an int"),
    "a batch of a number": ([3], {}, "a batch is an int"),
    "a tuple of five": ([(X,) * 5], {}, "a tuple of 5"),
    "columns of tuples": ([(X, Y)], {"target": "y"}, "leave them out"),
    "labels of another length": ([(X, Y[:5])], {}, "1000 rows of X, but 5 entries of y"),
    "another width": ([(ROWS, Y[:4]), (ROWS[:, :3], Y[:4])], {}, "3 features, but the first batch had 5"),
    "another dtype": ([(ROWS, Y[:4]), (ROWS.astype(float), Y[:4])], {}, "dtype float64"),
    "other names": ([FRAME[:5], FRAME[:5].rename(columns={"f1": "g"})], COLUMNS, r"features \('f0', 'g'"),
    "weights of some": (
        [(ROWS, Y[:4]), (ROWS, Y[:4], W[:4])],
        {},
        "but the first batch had no sample_weight",
    ),
    "labels of two kinds": (
        [(ROWS, Y[:4]), (ROWS, np.arange(4))],
        {},
        "y of numbers, but .* had y of text",
    ),
    "sparse and dense": ([(ROWS, Y[:4]), (csr_array(ROWS), Y[:4])], {}, "some batches are sparse"),
    "no column": ([FRAME], {"target": "no"}, "no column 'no'"),
    "two columns of one name": (
        pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0]), pa.array(["a"])], ["x", "x", "y"]),
        {"target": "y"},
        "several columns are named 'x'",
    ),
    "text": (lambda: FRAME, {"target": "f0"}, "column 'label', expected numbers; .*nbs.TableOptions"),
    "a target that is a date": (pa.table({"x": [1.0], "d": pa.array([0], pa.date32())}), {"target": "d"}, "date32"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_batches_are_named(case):
    given, columns, message = BAD[case]
    with pytest.raises((nbs.InputTypeError, nbs.InputValueError), match=message):
        list(nbs.data.from_batches(given, **columns).blocks())


@pytest.mark.parametrize("table", [None, nbs.TableOptions(missing="mean")])
def test_columns_may_have_the_names_of_attributes_of_arrow(table):
    frame = pd.DataFrame({"num_rows": ROWS[:, 0], "schema": ROWS[:, 1], "to_batches": 1.0, "y": Y[: len(ROWS)]})
    (block,) = nbs.data.from_batches([frame], target="y", table=table).blocks()
    assert np.array_equal(np.asarray(block.X), frame.drop(columns="y"))


def test_text_of_arrow_is_coded_with_the_labels_that_occur():
    text = pa.DictionaryArray.from_arrays(pa.array([1, 1, 3], pa.int32()), ["never", "a", "nor this", "b"])
    parts = pa.chunked_array([text, pa.array(["b", "c"]).dictionary_encode()])
    source = nbs.data.from_batches(pa.table({"x": np.arange(5.0), "y": parts}), target="y", batch_rows=5)
    (block,) = source.blocks()
    assert block.y.labels.tolist() == ["a", "b", "c"]
    assert block.y.codes.tolist() == [0, 0, 1, 1, 2]


def test_pandas_labels_of_every_kind_are_labels():
    for y in (pd.Categorical(Y), pd.Series(Y, dtype="string"), np.arange(M) % 3):
        frame = pd.DataFrame(X).assign(y=y)
        assert len(set(together(nbs.data.from_batches(lambda frame=frame: frame, target="y"))[1])) == 3


def refilled(kind):
    """Batches of 100 rows in memory that is filled again for each of them."""
    x, y, w = np.empty((100, len(NAMES))), np.empty(100, Y.dtype), np.empty(100)
    frame = pd.DataFrame(np.empty((100, len(NAMES))), columns=NAMES)
    for low in range(0, M, 100):
        rows = slice(low, low + 100)
        x[:], y[:], w[:] = X[rows], Y[rows], W[rows]
        frame.loc[:] = X[rows]
        if kind == "a data frame":
            yield frame, Y[rows], W[rows]
        elif kind == "frames and columns over arrays":
            yield pd.DataFrame(x, copy=False), pd.Series(y, copy=False), pd.Series(w, copy=False)
        elif kind == "views that are read-only":
            views = x.view(), y.view(), w.view()
            for view in views:
                view.flags.writeable = False
            yield views
        else:
            yield x, y, w


@pytest.mark.parametrize("batch_rows", [None, 100, 130])
@pytest.mark.parametrize(
    "kind", ["a data frame", "frames and columns over arrays", "views that are read-only", "arrays"]
)
def test_whoever_makes_batches_may_fill_the_same_memory_again(kind, batch_rows):
    source = nbs.data.from_batches(lambda: refilled(kind), batch_rows=batch_rows)
    blocks = list(source.blocks(np.float64))
    assert np.array_equal(np.concatenate([block.X for block in blocks]), X)
    assert np.array_equal(np.concatenate([np.asarray(block.y) for block in blocks]), Y)
    assert np.array_equal(np.concatenate([block.sample_weight for block in blocks]), W)


def test_arrays_of_a_list_are_not_copied():
    source = nbs.data.from_batches([(X[:400], Y[:400]), (X[400:], Y[400:])], batch_rows=200)
    assert all(np.shares_memory(block.X, X) for block in source.blocks(X.dtype))


@pytest.mark.parametrize("name", ["y", "sample_weight", "offset"])
def test_one_number_for_a_batch_is_refused(name):
    given = {"y": Y[:1], "sample_weight": W[:1], "offset": np.zeros((1, 3))} | {name: 1}
    with pytest.raises(nbs.InputValueError, match=f"{name} of a batch is 1, expected one for each row"):
        nbs.Trainer().fit(nbs.data.from_batches([(X[:1], *given.values())]))


def test_a_sparse_batch_of_one_dimension_is_refused():
    from scipy.sparse import coo_array

    # Older versions of SciPy make a row of it.
    with pytest.raises(nbs.InputValueError, match=r"X has 1 dimension|a batch has 1 row of X, but 3 entries of y"):
        nbs.Trainer().fit(nbs.data.from_batches([(coo_array(np.arange(3.0)), [0, 1, 0])]))


@pytest.mark.parametrize("batch_rows", [7, 20, 100])
@pytest.mark.parametrize("low", [0, 2**60, 2**63])
def test_integer_labels_of_several_types_keep_all_digits(batch_rows, low):
    rng = np.random.default_rng(0)
    X, k = rng.normal(size=(90, 2)), rng.integers(0, 3, 90)
    y = k.astype("u8") + np.uint64(low)
    second = y[40:].astype("i8") if low < 2**63 else y[40:]
    source = nbs.data.from_batches([(X[:40], y[:40]), (X[40:], second)], batch_rows=batch_rows)
    result = nbs.Trainer(l2=0.1, tol=1e-10).fit(source)
    assert result.model.classes.tolist() == [low, low + 1, low + 2]
    assert result.objective == pytest.approx(nbs.Trainer(l2=0.1, tol=1e-10).fit(X, k).objective, rel=1e-9)


@pytest.mark.parametrize("batch_rows", [7, 100])
@pytest.mark.parametrize("other", [np.array([-1, -2, -1]), np.array([0.0, 1.0, 0.0])])
def test_labels_that_no_type_holds_together_are_refused(batch_rows, other):
    X = np.eye(7, 2)
    large = np.array([2**63, 2**63 + 1] * 3 + [2**63], np.uint64)
    source = nbs.data.from_batches([(X, large), (X[:3], other)], batch_rows=batch_rows)
    with pytest.raises(nbs.InputTypeError, match="no type holds 92233720368547758"):
        nbs.Trainer(l2=0.1).fit(source)


CHANGES = {
    "the number of features is 1 .* but 3": lambda X, y, w, o: (X[:, :1], y, w, o),
    "sample weights are missing .* but given": lambda X, y, w, o: (X, y, None, o),
    "the offset is missing .* but given": lambda X, y, w, o: (X, y, w, None),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_source_whose_blocks_change_between_passes_is_refused(message):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(40, 3)), rng.integers(0, 3, 40), rng.uniform(1, 2, 40), rng.normal(size=(40, 3))
    passes = iter(range(100))
    source = nbs.data.from_batches(lambda: iter([whole if next(passes) < 3 else CHANGES[message](*whole)]))
    with pytest.raises(nbs.InputValueError, match=message + " in the first pass; the source must yield the same"):
        nbs.Trainer(l2=0.1, tol=1e-10).fit(source)


@pytest.mark.parametrize("batch", [FRAME, POLARS, table()], ids=["pandas", "polars", "arrow"])
def test_text_in_the_columns_of_an_offset_is_not_to_be_encoded(batch):
    said = "the offset has dtype .* in column 'label', expected numbers; name a column of numbers, or convert"
    with pytest.raises(nbs.InputTypeError, match=said):
        list(nbs.data.from_batches([batch], features=["f0"], offset=["label", "f1", "f2"]).blocks())
