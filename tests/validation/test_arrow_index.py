"""Tables of Arrow that pandas has written with its index: the index is no feature, no label and no class."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import nbsoftmax as nbs

RNG = np.random.default_rng(0)
ROWS = RNG.permutation(60)
FRAME = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["a", "b"], index=ROWS)
Y = (ROWS > 30).astype(int)  # which the index would predict
KINDS = {
    "numbers": FRAME,
    "text": FRAME.assign(c=np.where(FRAME.a > 0, "p", "q")),
    "an index of text": FRAME.set_axis([f"r{i}" for i in ROWS]),
    "an index with a name": FRAME.rename_axis("id"),
    "several": FRAME.set_axis(pd.MultiIndex.from_arrays([ROWS, ROWS % 7], names=["id", None])),
}


def of(frame):
    """The table of a frame, in which pandas keeps the index."""
    table = pa.Table.from_pandas(frame)
    assert set(table.column_names) > set(frame.columns)
    return table


@pytest.mark.parametrize("kind", KINDS)
def test_the_index_is_no_feature(kind):
    frame, table = KINDS[kind], of(KINDS[kind])
    options = {"table": nbs.TableOptions()} if kind == "text" else {}
    model, expected = (nbs.Trainer(l2=0.1, **options).fit(X, Y).model for X in (table, frame))
    assert model.feature_names == expected.feature_names
    np.testing.assert_array_equal(model.coef, expected.coef)
    for X in (table, frame, table.to_batches()[0], pa.Table.from_pandas(frame, preserve_index=False)):
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(frame))


def test_the_index_is_no_term_of_a_formula():
    frame = KINDS["text"].assign(y=Y)
    fits = [nbs.fit_formula("y ~ .", X, l2=0.1) for X in (of(frame), frame)]
    assert fits[0].model.feature_names == fits[1].model.feature_names


@pytest.mark.parametrize("stored", [b"", b"{", b"[]", b'{"index_columns": null}', b'{"index_columns": 3}', b"\xff"])
def test_metadata_of_another_program_name_no_index(stored):
    table = pa.Table.from_pandas(FRAME, preserve_index=False).replace_schema_metadata({b"pandas": stored})
    assert nbs.Trainer(l2=0.1).fit(table, Y).model.feature_names == ("a", "b")


def test_the_index_is_no_label():
    labels = of(FRAME.assign(y=Y)[["y"]])
    assert nbs.Trainer(l2=0.1).fit(FRAME, labels).model.classes.tolist() == [0, 1]
    possible = pd.DataFrame({"no": Y == 0, "yes": Y == 1}, index=ROWS)
    assert nbs.Trainer(l2=0.1).fit(FRAME, of(possible)).model.classes.tolist() == ["no", "yes"]
