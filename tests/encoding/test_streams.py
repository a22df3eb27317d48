"""Files of tables with any columns in blocks: the same encoding and the same fit as in memory."""

import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs

RNG = np.random.default_rng(1)
N = 300
FRAME = pd.DataFrame(
    {
        "mass": np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(size=N)),
        "island": pd.Series(RNG.choice(["Biscoe", "Dream", "Skye"], N)).where(RNG.random(N) < 0.9, None),
        "born": pd.date_range("2020-01-01", periods=N).strftime("%Y-%m-%d"),
        "species": RNG.choice(["a", "b", "c"], N),
    }
)
OPTIONS = {
    "mean": nbs.TableOptions(missing="mean", indicators=True, dates="parts"),
    "drop": nbs.TableOptions(missing="drop", dates="parts", drop_first=True),
}


@pytest.fixture(params=["csv", "parquet", "arrow"])
def files(request, tmp_path):
    """Three files of one table; returns the folder."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in range(3):
        part, path = FRAME.iloc[100 * i : 100 * i + 100], folder / f"{i}.{request.param}"
        if request.param == "csv":
            part.to_csv(path, index=False)
        elif request.param == "parquet":
            part.to_parquet(path, row_group_size=37)
        else:
            part.reset_index(drop=True).to_feather(path)
    return folder


@pytest.mark.parametrize("missing", OPTIONS)
@pytest.mark.filterwarnings("ignore:.*rows have missing values and are left out")
def test_a_source_is_encoded_as_the_table_in_memory(files, missing):
    options = OPTIONS[missing]
    source = nbs.data.open(files, target="species", table=options, batch_rows=64)
    X, y = FRAME.drop(columns="species"), FRAME["species"]
    expected = nbs.Trainer(l2=0.01, table=options, tol=1e-10).fit(X, y).model
    model = nbs.Trainer(l2=0.01, tol=1e-10).fit(source).model
    assert model.encoding.names == expected.encoding.names
    assert np.allclose(model.coef, expected.coef, atol=1e-4)
    again = nbs.data.open(files, target="species", table=model.encoding)
    whole = X.notna().all(axis=1) if missing == "drop" else X["born"].notna()
    if missing == "drop":  # there would be no prediction for some rows
        with pytest.raises(nbs.InputValueError, match="missing value"):
            model.predict_proba(again)
    else:
        assert np.allclose(model.predict_proba(again), model.predict_proba(X[whole]), rtol=1e-9)
    assert model.score(again) == pytest.approx(model.score(X[whole], y[whole]))


def test_text_without_a_table_and_a_table_of_the_trainer_are_refused_with_what_to_do(files):
    with pytest.raises(nbs.InputTypeError, match=r"island.*expected numbers; .*nbs.TableOptions"):
        nbs.Trainer().fit(nbs.data.open(files, target="species", features=["island"]))
    source = nbs.data.open(files, target="species", table=OPTIONS["mean"])
    with pytest.raises(nbs.InputTypeError, match="give table= where it is opened"):
        nbs.Trainer(table=OPTIONS["drop"]).fit(source)


def test_files_may_declare_different_levels_in_one_order(tmp_path):
    for i, sizes in enumerate([["s", "m", "l"], ["s", "xl", "l"]]):
        size = pd.Categorical(np.resize(sizes, 60), sizes, ordered=True)
        pd.DataFrame({"size": size, "species": RNG.choice(["a", "b"], 60)}).to_feather(tmp_path / f"{i}.arrow")
    source = nbs.data.open(tmp_path, target="species", table=nbs.TableOptions())
    model = nbs.Trainer(l2=0.1).fit(source).model
    assert model.feature_names == ("size[s]", "size[m]", "size[l]", "size[xl]")


def test_rows_that_are_dropped_are_counted(files):
    n = int((~FRAME.notna().all(axis=1)).sum())
    with pytest.warns(UserWarning, match=f"{n} of 300 rows have missing values and are left out"):
        nbs.data.open(files, target="species", table=OPTIONS["drop"])


def test_a_missing_value_and_a_date_are_refused_by_name(files):
    row = int(FRAME["mass"].isna().to_numpy().argmax())
    with pytest.raises(
        nbs.InputValueError, match=f"(row {row} .*|line {row + 2}) has a missing value in column 'mass'"
    ):
        nbs.data.open(files, target="species", table=nbs.TableOptions(dates="parts"))
    with pytest.raises(nbs.InputTypeError, match="dates in column 'born'"):
        nbs.data.open(files, target="species", table=nbs.TableOptions(missing="mean"))
    with pytest.raises(nbs.InputTypeError, match="'island'"):
        nbs.data.open(files, target="species")


def test_unknown_levels_of_other_files_are_counted_once(files):
    model = (
        nbs.Trainer(l2=0.01, table=OPTIONS["mean"])
        .fit(FRAME.drop(columns="species").replace({"island": {"Skye": "Dream"}}), FRAME["species"])
        .model
    )
    folder = nbs.data.open(files, target="species", table=model.encoding)
    with pytest.warns(nbs.UnknownLevelsWarning, match=f"in {(FRAME['island'] == 'Skye').sum()} rows"):
        model.predict(folder)
    source = nbs.data.open(files / f"0{next(files.iterdir()).suffix}", target="species", table=model.encoding)
    n = int((FRAME["island"][:100] == "Skye").sum())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.predict(source)
    messages = [str(one.message) for one in caught if issubclass(one.category, nbs.UnknownLevelsWarning)]
    assert len(messages) == 1
    assert f"'island' in {n} rows ('Skye')" in messages[0]


def test_a_table_of_numbers_is_read_as_before(tmp_path):
    FRAME[["mass", "species"]].dropna().to_parquet(tmp_path / "d.parquet")
    plain = nbs.data.open(tmp_path / "d.parquet", target="species")
    given = nbs.data.open(tmp_path / "d.parquet", target="species", table=nbs.TableOptions())
    assert given.encoding is None
    for a, b in zip(plain.blocks(), given.blocks(), strict=True):
        assert np.array_equal(a.X, b.X)


@pytest.mark.parametrize("missing", ["mean", "drop"])
def test_the_encoding_of_a_formula_reads_files_as_tables_and_knows_its_blocks(tmp_path, missing):
    code = RNG.choice(["007", "008", "7"], N)
    frame = FRAME[["mass", "species"]].assign(code=code)
    with pytest.warns(UserWarning, match="31 of 300 rows") if missing == "drop" else nullcontext():
        model = nbs.fit_formula("species ~ mass + code", frame, l2=0.1, table=nbs.TableOptions(missing=missing)).model
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_feather(tmp_path / "d.arrow")
    for name in ("d.csv", "d.arrow"):
        source = nbs.data.open(tmp_path / name, target="species", table=model.encoding, batch_rows=64)
        if missing == "drop":
            with pytest.raises(nbs.InputValueError, match=rf"{name}.*missing value in column 'mass'"):
                model.predict_proba(source)
        else:
            assert np.allclose(model.predict_proba(source), model.predict_proba(frame), rtol=1e-12)
        for i, rows in enumerate([np.array(block.X) for block in source.blocks()]):
            found = source.block(i)  # None where blocks can only be read in order, as where rows are dropped
            assert found is None or np.array_equal(found.X, rows)
            assert (found is None) == (name == "d.csv" or missing == "drop")
