"""Tables beside X in batches and files: columns that are named after the classes have the order of the classes."""

from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import nbsoftmax as nbs
from nbsoftmax.errors import InputValueError

M, N, K = 400, 3, 3
rng = np.random.default_rng(17)
X = rng.normal(size=(M, N))
OFFSET = rng.normal(size=(M, K))
Y = np.array(["a", "b", "c"])[np.argmax(X @ rng.normal(size=(N, K)) + OFFSET + rng.gumbel(size=(M, K)), axis=1)]
NAMED = pd.DataFrame(OFFSET, columns=["a", "b", "c"])
TURNED = NAMED[["b", "a", "c"]]
PROBA = pd.DataFrame(rng.dirichlet(np.ones(K), M), columns=[0, 1, 2])
CUTS = [0, 90, 250, M]
ORDER = "put the columns in this order"
CHANGED = "offset has the columns 'b', 'a', 'c' in some rows, but 'a', 'b', 'c' in earlier ones"
TRAINER = nbs.Trainer(l2=0.01, tol=1e-8)
TABLES = {"pandas": lambda frame: frame, "polars": pl.from_pandas, "arrow": pa.Table.from_pandas}


def batches(offset, y=Y, **options):
    """A source of batches; `offset` and `y` may be lists with a table for each batch."""
    offsets, targets = (a if isinstance(a, list) else cut(a, a, a) for a in (offset, y))
    made = [(part, target, None, added) for part, target, added in zip(cut(X, X, X), targets, offsets, strict=True)]
    return nbs.data.from_batches(made, **options)


def cut(*tables):
    """The batches of tables, one after the other."""
    return [table[low:high] for table, (low, high) in zip(tables, pairwise(CUTS), strict=True)]


@pytest.fixture(scope="module")
def model():
    return TRAINER.fit(X, Y, offset=OFFSET).model


def uses(model):
    """What reads a source with an offset."""
    estimator = nbs.SoftmaxRegression().fit(X, Y, offset=OFFSET)
    yield TRAINER.fit
    yield nbs.SoftmaxRegression().fit
    yield partial(nbs.cross_validate, Cs=[1.0], folds=2)
    yield lambda source: TRAINER.fit(batches(NAMED), validation_data=source)
    for each in (model, estimator):
        yield each.score
        yield each.predict_proba
        yield each.predict


@pytest.mark.parametrize("library", TABLES)
def test_an_offset_in_batches_whose_columns_are_the_classes_has_their_order(model, library):
    made = TABLES[library]
    parts, turned = ([made(part) for part in cut(*[table] * 3)] for table in (NAMED, TURNED))
    np.testing.assert_array_equal(model.predict_proba(batches(parts)), model.predict_proba(batches(OFFSET)))
    expected = TRAINER.fit(batches(OFFSET)).model
    np.testing.assert_array_equal(TRAINER.fit(batches(parts)).model.coef, expected.coef)
    for use in uses(model):
        with pytest.raises(InputValueError, match=ORDER):
            use(batches(turned))


def test_batches_with_the_columns_in_several_orders_are_refused_by_name(model):
    for options in ({}, {"batch_rows": 50}):  # in one block, and in several
        for use in uses(model):
            with pytest.raises(InputValueError, match=f"{CHANGED}|{ORDER}"):
                use(batches(cut(NAMED, TURNED, NAMED), **options))
    with pytest.raises(InputValueError, match=CHANGED):
        TRAINER.fit(batches(cut(NAMED, TURNED, NAMED), batch_rows=90))


def test_arrays_and_columns_of_other_names_have_the_order_in_which_they_come(model):
    others = TURNED.set_axis(["o1", "o2", "o3"], axis=1)
    turned = OFFSET[:, [1, 0, 2]]
    np.testing.assert_array_equal(model.predict_proba(batches(others)), model.predict_proba(batches(turned)))
    mixed = cut(OFFSET, NAMED, OFFSET)
    np.testing.assert_array_equal(model.predict_proba(batches(mixed)), model.predict_proba(batches(OFFSET)))
    assert TRAINER.fit(batches(mixed)).problem.has_offset
    with pytest.raises(InputValueError, match=ORDER):
        TRAINER.fit(batches(cut(OFFSET, TURNED, OFFSET)))


def test_a_later_pass_with_the_columns_in_another_order_is_refused():
    passes = []

    def made():
        passes.append(1)
        offset = NAMED if len(passes) == 1 else TURNED
        yield X, Y, None, offset

    with pytest.raises(InputValueError, match=CHANGED):
        TRAINER.fit(nbs.data.from_batches(made))


def test_the_margins_of_a_data_iter_have_the_order_of_the_classes():
    class DataIter:
        def reset(self):
            self.done = False

        def next(self, input_data):
            if not self.done:
                input_data(data=X, label=Y, base_margin=TURNED)
            more, self.done = not self.done, True
            return more

    with pytest.raises(InputValueError, match=ORDER):
        TRAINER.fit(nbs.data.from_batches(DataIter()))


def test_a_table_with_an_encoding_has_an_offset_in_the_order_of_the_classes():
    levels = pd.DataFrame({"x": X[:, 0], "kind": np.where(X[:, 1] > 0, "p", "q")})
    for offset, fits in ((NAMED, True), (TURNED, False)):
        source = nbs.data.from_batches([(levels, Y, None, offset)], table=nbs.TableOptions())
        if fits:
            assert TRAINER.fit(source).problem.has_offset
        else:
            with pytest.raises(InputValueError, match=ORDER):
                TRAINER.fit(source)


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow", "pandas", "polars"])
@pytest.mark.parametrize("table", [None, nbs.TableOptions()])
def test_columns_of_files_and_tables_that_are_named_after_the_classes_have_their_order(tmp_path, form, table, model):
    frame = pl.DataFrame(X, schema=["x0", "x1", "x2"]).with_columns(pl.from_pandas(NAMED), y=pl.Series(Y))
    path = tmp_path / f"d.{form}"
    write = {"csv": frame.write_csv, "parquet": frame.write_parquet, "arrow": frame.write_ipc}
    if form in write:
        write[form](path)
        opened = partial(nbs.data.open, path, cache=tmp_path / "copies")
    else:
        opened = partial(nbs.data.from_batches, [frame if form == "polars" else frame.to_pandas()])
    columns = {"target": "y", "features": ["x0", "x1", "x2"], "table": table}
    source = opened(offset=["a", "b", "c"], **columns)
    for _ in range(2):  # from the files, and from the copy
        np.testing.assert_allclose(model.predict_proba(source), model.predict_proba(X, offset=OFFSET), rtol=1e-12)
    source = opened(offset=["b", "a", "c"], **columns)
    for use in (TRAINER.fit, model.score, model.score):
        with pytest.raises(InputValueError, match=ORDER):
            use(source)


def test_probabilities_in_batches_have_the_order_of_the_classes():
    expected = TRAINER.fit(X, PROBA.to_numpy()).model
    model = TRAINER.fit(batches(OFFSET * 0, PROBA)).model
    np.testing.assert_allclose(model.coef, expected.coef, rtol=0, atol=1e-3)
    turned = PROBA[[1, 0, 2]]
    with pytest.raises(InputValueError, match=f"y has the columns '1', '0', '2'.*{ORDER}"):
        TRAINER.fit(batches(OFFSET, turned))
    named = PROBA.set_axis(["p", "q", "r"], axis=1)
    several = cut(named, named[["q", "p", "r"]], named)
    for options in ({}, {"batch_rows": 90}):
        with pytest.raises(InputValueError, match="y has the columns 'q', 'p', 'r' in some rows, but 'p', 'q', 'r'"):
            TRAINER.fit(batches(OFFSET, several, **options))


def test_probabilities_in_memory_have_the_order_of_the_classes():
    turned = PROBA[[1, 0, 2]]
    message = f"y has the columns '1', '0', '2'.*{ORDER}"
    for use in (
        lambda: TRAINER.fit(X, turned),
        lambda: nbs.Trainer(solver="sgd").partial_fit(X, turned),
        lambda: nbs.inference(TRAINER.fit(X, PROBA).model, X, turned),
    ):
        with pytest.raises(InputValueError, match=message):
            use()
    of_text = PROBA.set_axis(["b", "a", "c"], axis=1)
    with pytest.raises(InputValueError, match="validation y has the columns 'b', 'a', 'c'"):
        TRAINER.fit(X, Y, validation_data=(X, of_text))
