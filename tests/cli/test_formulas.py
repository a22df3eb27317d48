"""Formulas from the shell: fitted, evaluated, predicted and validated, with the numbers of `fit_formula`."""

import json

import numpy as np
import pandas as pd
import pytest
from pyarrow import Table, parquet

import nbsoftmax as nbs
from tests.cli.commands import refused, run

N = 90
RNG = np.random.default_rng(3)
FRAME = pd.DataFrame(
    {
        "species": RNG.choice(["Adelie", "Gentoo"], N),
        "mass": RNG.normal(4, 1, N).round(2),
        "island": RNG.choice(["Biscoe", "Dream", "Torgersen"], N),
        "banded": RNG.random(N) < 0.5,
        "cyl": RNG.choice([4, 6, 8], N),
    }
)
TEXT = "species ~ bs(mass, 4) * island + banded + C(cyl, Sum)"


@pytest.fixture
def paths(tmp_path):
    """A CSV file and a Parquet file of the table, and the path of a model."""
    FRAME.to_csv(tmp_path / "d.csv", index=False)
    parquet.write_table(Table.from_pandas(FRAME), tmp_path / "d.parquet")
    return tmp_path / "d.csv", tmp_path / "d.parquet", tmp_path / "m.npz"


@pytest.mark.parametrize("file", [0, 1])
def test_a_fit_is_that_of_fit_formula_and_the_model_knows_the_formula(paths, capsys, file):
    data, model = paths[file], paths[2]
    assert run("fit", data, "--formula", TEXT, "--l2", 0.1, "--out", model, "--quiet") == 0
    expected = nbs.fit_formula(TEXT, FRAME, l2=0.1).model
    found = nbs.SoftmaxModel.load(model)
    assert np.array_equal(found.coef, expected.coef)
    assert found.feature_names == expected.feature_names
    capsys.readouterr()
    assert run("evaluate", model, data, "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == expected.score(FRAME, FRAME["species"])
    assert run("predict", model, data, "--proba", "--out", data.parent / "p.csv") == 0
    predicted = pd.read_csv(data.parent / "p.csv").select_dtypes("number").to_numpy()
    np.testing.assert_allclose(predicted, expected.predict_proba(FRAME), rtol=1e-6)  # as many digits as are written
    capsys.readouterr()
    assert run("inspect", model) == 0
    assert f"formula: {TEXT}" in capsys.readouterr().out


def test_a_formula_without_intercept_is_fitted_without_one(paths):
    data, _, model = paths
    assert run("fit", data, "--formula", "species ~ 0 + mass + island", "--out", model, "--quiet") == 0
    assert not nbs.SoftmaxModel.load(model).intercept.any()
    assert run("cv", data, "--formula", "species ~ 0 + mass + island", "--Cs", 0.1, 1, "--out", model) == 0
    loaded = nbs.SoftmaxModel.load(model)
    assert not loaded.intercept.any()
    assert loaded.predict(FRAME).shape == (N,)


def test_validation_data_use_the_formula_of_the_fit(paths, capsys):
    data, other, model = paths
    arguments = ["--validation-data", other, "--unpenalised", "mass", "--out", model, "--quiet"]
    assert run("fit", data, "--formula", TEXT, *arguments) == 0
    assert "held-out log-loss" in capsys.readouterr().out


def test_rows_with_missing_values_are_dropped_on_request(paths, capsys):
    data, _, model = paths
    FRAME.assign(mass=FRAME["mass"].where(FRAME.index != 5)).to_csv(data, index=False)
    said = refused(capsys, "fit", data, "--formula", TEXT, "--out", model)
    assert "line 7 has no value in column 'mass'" in said
    assert run("fit", data, "--formula", TEXT, "--missing", "drop", "--l2", 0.1, "--out", model, "--quiet") == 0
    assert "1 row with missing values left out" in capsys.readouterr().err
    expected = nbs.fit_formula(TEXT, FRAME.drop(5), l2=0.1).model
    assert np.array_equal(nbs.SoftmaxModel.load(model).coef, expected.coef)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--formula", "species ~ __import__('os').system('touch pwned')"], "the function '__import__'"),
        (["--formula", "species ~ log(mass - 100)"], "line 2 has"),
        (["--formula", "species ~ nope"], "names the column 'nope'"),
        (["--formula", "nope ~ mass"], "no column 'nope'"),
        (["--formula", "mass"], "expected the column of the classes"),
        (["--formula", TEXT, "--target", "island"], "--target is 'island'"),
        (["--formula", TEXT, "--features", "mass"], "--formula and --features"),
        (["--formula", TEXT, "--drop-first"], "--drop-first is for tables without a formula"),
        (["--formula", TEXT, "--dates", "parts"], "--dates is for tables without a formula"),
        (["--formula", TEXT, "--no-intercept"], "write ~ 0 + ..."),
        (["--formula", TEXT, "--stream"], "--formula needs all rows in memory"),
    ],
)
def test_a_mistake_is_refused_in_one_line(paths, capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert expected in refused(capsys, "fit", paths[0], *arguments, "--out", paths[2], "--quiet")
    assert set(tmp_path.iterdir()) == before


def test_a_formula_for_arrays_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", X=np.eye(4), y=np.arange(4) % 2)
    said = refused(capsys, "fit", tmp_path / "d.npz", "--formula", TEXT, "--out", tmp_path / "m.npz")
    assert "--formula is for columns of files" in said


def test_a_column_that_numbers_the_rows_is_left_out_unless_the_formula_names_it(paths, capsys):
    data, _, model = paths
    FRAME.assign(number=np.arange(1, N + 1), after=np.arange(N) + 7).to_csv(data, index=False)
    assert run("fit", data, "--formula", "species ~ .", "--out", model, "--quiet") == 0
    said = capsys.readouterr().err
    assert "the column 'number', which only numbers the rows, is left out; name it in the formula to use it" in said
    assert "the column 'after', which only numbers the rows, is used as a feature" in said
    columns = nbs.SoftmaxModel.load(model).encoding.columns
    assert "after" in columns and "number" not in columns
    assert run("fit", data, "--formula", "species ~ . + number:after", "--out", model, "--quiet") == 0
    assert "number" in nbs.SoftmaxModel.load(model).encoding.columns
    assert "which only numbers the rows" not in capsys.readouterr().err
    FRAME.assign(i=np.arange(N)).to_csv(data, index=False)  # "i" is in "species", which does not name it
    assert run("fit", data, "--formula", "species ~ .", "--out", model, "--quiet") == 0
    assert "i" not in nbs.SoftmaxModel.load(model).encoding.columns


def test_the_plot_of_effects_says_which_columns_are_in_several_features(paths, capsys, tmp_path):
    data, _, model = paths
    named = "species ~ mass * island"
    assert run("fit", data, "--formula", named, "--l2", 0, "--out", model, "--quiet") == 0
    capsys.readouterr()
    assert run("plot", "effects", model, data, "--out", tmp_path / "e.png") == 0
    assert "nbsoftmax: warning: the columns 'mass', 'island' are in several" in capsys.readouterr().err
