"""Tables with columns of any kind from the shell: fitted, predicted and evaluated, with the numbers of `Trainer`."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import nbsoftmax as nbs
from tests.cli.commands import refused, run
from tests.encoding.frames import columns

# Small tables in the form of well-known ones: target, options of fit, content.
TABLES = {
    "penguins": (
        "species",
        ["--missing", "mean", "--indicators"],
        "species,island,bill_length_mm,sex,year\nAdelie,Torgersen,39.1,male,2007\nAdelie,Torgersen,NA,NA,2007\n"
        "Adelie,Dream,37.2,female,2008\nGentoo,Biscoe,46.1,female,2007\nGentoo,Biscoe,50,male,2009\n"
        "Chinstrap,Dream,46.5,female,2007\nChinstrap,Dream,50,male,2009\n",
    ),
    "titanic": (
        "Survived",
        ["--missing", "drop", "--drop", "Name,Ticket", "--drop", "Cabin"],
        "PassengerId,Survived,Pclass,Name,Sex,Age,Ticket,Cabin,Embarked\n"
        '1,0,3,"Braund, Mr. Owen",male,22,A/5 21171,,S\n'
        '2,1,1,"Cumings, Mrs. John",female,38,PC 17599,C85,C\n3,1,3,"Heikkinen, Miss",female,26,STON/O2,,S\n'
        '4,1,1,"Futrelle, Mrs.",female,35,113803,C123,S\n5,0,3,"Allen, Mr.",male,35,373450,,S\n'
        '6,0,3,"Moran, Mr.",male,,330877,,Q\n7,0,1,"McCarthy, Mr.",male,54,17463,E46,S\n',
    ),
    "tips": (
        "day",
        [],
        '"","total_bill","tip","sex","smoker","day","size"\n"1",16.99,1.01,"Female","No","Sun",2\n'
        '"2",10.34,1.66,"Male","No","Sun",3\n"3",21.01,3.5,"Male","Yes","Sat",3\n"4",23.68,3.31,"Male","No","Fri",2\n',
    ),
    "diamonds": (
        "cut",
        ["--sep", ";"],
        "carat;cut;color;clarity;price\n0.23;Ideal;E;SI2;326\n0.21;Premium;E;SI1;326\n0.23;Good;E;VS1;327\n"
        "0.29;Premium;I;VS2;334\n0.31;Good;J;SI2;335\n0.24;Ideal;J;VVS2;336\n",
    ),
    "cars": (
        "origin",
        ["--categorical", "cyl", "--dates", "parts"],
        "model,mpg,cyl,sold,automatic,origin\nMazda RX4,21.0,6,1974-03-01,False,Japan\n"
        "Datsun,22.8,4,1974-05-31,True,Japan\nHornet,21.4,6,1973-03-01,TRUE,USA\nValiant,18.1,6,1974-12-24,true,USA\n"
        "Merc 240D,24.4,4,1974-03-02,False,Germany\nPorsche,26.0,4,1974-03-03,False,Germany\n",
    ),
}


@pytest.fixture
def paths(tmp_path):
    """A function that writes a text, and the path of a model."""

    def written(text, name="d.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return written, tmp_path / "m.npz"


@pytest.mark.parametrize("name", TABLES)
def test_everyday_tables_are_fitted_predicted_and_evaluated(paths, capsys, name):
    written, model = paths
    target, options, text = TABLES[name]
    data = written(text)
    text_options = options if "--sep" in options else []
    assert run("fit", data, "--target", target, "--out", model, "--quiet", *options) == 0
    out, err = capsys.readouterr()
    assert "penalty: C = 1 (l2 = " in out
    saved = nbs.SoftmaxModel.load(model)
    assert run("inspect", model) == 0
    assert saved.encoding.describe()[0] in capsys.readouterr().out
    assert run("evaluate", model, data, "--target", target, "--json", *text_options) == 0
    found = json.loads(capsys.readouterr().out)
    n_rows = text.count("\n") - 1
    if "drop" in options:
        assert "1 row with missing values left out" in err
        assert found["samples"] == n_rows - 1
        message = refused(capsys, "predict", model, data)
        assert "no value in column 'Age'" in message
        assert "(a prediction needs every row)" in message  # the fit had --missing drop already
        data = written("".join(line + "\n" for line in text.splitlines() if ",,330877" not in line))
        n_rows -= 1
    assert run("predict", model, data, *text_options) == 0
    labels = capsys.readouterr().out.split("\n")[1:-1]
    assert len(labels) == n_rows == found["samples"]
    frame = pd.read_csv(data, sep=";" if text_options else ",")
    assert [str(label) for label in saved.predict(frame)] == labels  # from the raw table of pandas
    assert found["accuracy"] == pytest.approx(saved.score(frame, frame[target]), rel=1e-12)


# CSV files that statsmodels and scikit-learn ship: package, path in it, target, options of fit, options of text. The
# header of iris.csv and the like names the last columns by classes.
SHIPPED = [
    ("statsmodels", "modechoice/modechoice.csv", "mode", [], []),
    ("statsmodels", "ccard/ccard.csv", "OWNRENT", [], []),
    ("statsmodels", "spector/spector.csv", "GRADE", [], []),
    ("statsmodels", "heart/heart.csv", "censors", [], []),
    ("statsmodels", "anes96/anes96.csv", "vote", [], []),
    ("statsmodels", "statecrime/statecrime.csv", "state", [], []),
    ("statsmodels", "grunfeld/grunfeld.csv", "firm", [], []),
    ("statsmodels", "china_smoking/china_smoking.csv", "Location", [], []),
    ("statsmodels", "cpunish/cpunish.csv", "SOUTH", [], []),
    ("statsmodels", "committee/committee.csv", "PRESTIGE", [], []),
    ("statsmodels", "stackloss/stackloss.csv", "AIRFLOW", [], []),
    ("statsmodels", "fair/fair_pt.csv", "rate_marriage", [], []),
    ("sklearn", "iris.csv", "virginica", [], []),
    ("sklearn", "breast_cancer.csv", "benign", [], []),
    ("sklearn", "wine_data.csv", "class_2", [], []),
]


@pytest.mark.parametrize(("package", "name", "target", "options", "text"), SHIPPED, ids=[row[1] for row in SHIPPED])
def test_tables_that_packages_ship_are_fitted_predicted_and_evaluated(
    tmp_path, capsys, package, name, target, options, text
):
    module = pytest.importorskip(f"{package}.datasets")
    data = Path(module.__file__).parent / ("data" if package == "sklearn" else "") / name
    model = tmp_path / "m.npz"
    if name in ("breast_cancer.csv", "wine_data.csv", "iris.csv"):  # the header counts the columns of numbers alone
        lines = data.read_text(encoding="utf-8").splitlines()
        n = lines[1].count(",")
        data = tmp_path / name
        data.write_text("\n".join([",".join([*(f"x{j}" for j in range(n)), target]), *lines[1:]]), encoding="utf-8")
    fit = "fit", data, "--target", target, "--out", model, "--quiet"
    assert run(*fit, *options, *text) == 0
    assert run("predict", model, data, "--out", tmp_path / "labels.csv", *text) == 0
    capsys.readouterr()
    assert run("evaluate", model, data, "--target", target, "--json", *text) == 0
    found = json.loads(capsys.readouterr().out)
    labels = (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(labels) == found["samples"]
    assert found["accuracy"] >= max(map(sum, found["confusion"])) / found["samples"] - 0.05


FORMS = {
    "csv": lambda frame, path: frame.write_csv(path),
    "parquet": lambda frame, path: frame.write_parquet(path),
    "feather": lambda frame, path: frame.write_ipc(path),
}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns(), st.sampled_from(["fit", "fit --stream"]))
def test_all_forms_of_a_table_give_the_same_model_as_a_frame_in_python(tmp_path, table, command):
    n = len(next(iter(table.values())))
    labels = ["no", "yes"] * n
    frame = pl.DataFrame({**table, "label": labels[:n]}, strict=False)
    options = "--missing", "mean", "--indicators", "--dates", "parts"
    given = nbs.TableOptions(missing="mean", indicators=True, dates="parts")
    expected = nbs.Trainer(l2=0.1, table=given).fit(frame.drop("label"), labels[:n]).model
    for form, write in FORMS.items():
        data, model = tmp_path / f"d.{form}", tmp_path / "m.npz"
        write(frame, data)
        stream = ("--stream",) if "--stream" in command else ()
        assert run("fit", data, "--target", "label", "--l2", 0.1, "--out", model, "--quiet", *options, *stream) == 0
        saved = nbs.SoftmaxModel.load(model)
        assert saved.feature_names == expected.feature_names
        # The same problem up to the rounding of the sums in blocks; `tol` is 1e-6 of the objective.
        assert np.allclose(saved.predict_proba(frame), expected.predict_proba(frame), atol=1e-2)
        out = tmp_path / "labels.csv"
        assert run("predict", model, data, "--out", out) == 0
        assert out.read_text().split()[1:] == saved.predict(frame).tolist()


PEOPLE = "id,name,age,city,label\n" + "".join(
    f"{'xyz'[i % 3]}{i},n{i},{20 + i % 7},{'Köln' if i % 3 else 'Bonn'},{'abc'[i % 3]}\n" for i in range(30)
)


def test_features_are_chosen_by_name_and_identifiers_are_copied_to_the_output(paths, capsys, tmp_path):
    written, model = paths
    data = written(PEOPLE)
    fit = "fit", data, "--target", "label", "--out", model, "--quiet"
    assert run(*fit, "--features", "city,age") == 0
    assert nbs.SoftmaxModel.load(model).feature_names == ("city[Bonn]", "city[Köln]", "age")
    capsys.readouterr()
    assert run("predict", model, data, "--id", "id,age", "--id", "name") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "id,age,name,label"
    assert lines[1].startswith("x0,20,n0,")
    assert len(lines) == 31
    assert run("predict", model, data, "--id", "id", "--out", tmp_path / "o.parquet", "--proba") == 0
    found = parquet.read_table(tmp_path / "o.parquet")
    assert found.column_names == ["id", "label", "proba_a", "proba_b", "proba_c"]
    assert found["id"].to_pylist() == [line.split(",")[0] for line in PEOPLE.splitlines()[1:]]
    assert run("predict", model, data, "--id", "id", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])["id"] == "y1"
    assert "has no column 'nr' for --id" in refused(capsys, "predict", model, data, "--id", "nr")
    assert "--id names 'label'" in refused(capsys, "predict", model, data, "--id", "label")
    assert "has no column 'height' for --features; its columns are" in refused(capsys, *fit, "--features", "height")
    assert "--target 'label' is also one of the features" in refused(capsys, *fit, "--features", "age,label")
    assert "--categorical names 'zip', but" in refused(capsys, *fit, "--categorical", "zip")


def test_a_name_in_nearly_every_row_is_warned_of(paths, capsys):
    written, model = paths
    assert run("fit", written(PEOPLE), "--target", "label", "--out", model, "--quiet") == 0
    err = capsys.readouterr().err
    assert "the column 'name' has 30 levels in 30 rows" in err
    assert err.count("\n") == 2  # one line for each of id and name
    assert err.startswith("nbsoftmax: warning: ")


def test_a_text_among_numbers_is_taken_for_a_mistake_unless_the_column_is_categorical(paths, capsys):
    written, model = paths
    data = written("dose,label\n1,a\n2,b\n3+,a\n1,b\n2,a\n3,b\n")
    fit = "fit", data, "--target", "label", "--out", model, "--quiet"
    assert "line 4 has '3+' in column 'dose', expected a number; correct it, or, in a fit" in refused(capsys, *fit)
    assert run(*fit, "--categorical", "dose") == 0
    assert nbs.SoftmaxModel.load(model).feature_names == ("dose[1]", "dose[2]", "dose[3]", "dose[3+]")


# Rows of text whose numbers cannot be meant as levels, and what the message says of line 2.
MISTAKES = {
    "thousands": ('x;label\n"1,234.5";a\n"12,345.5";b\n"2,000.0";a\n', "'1,234.5' in column 'x'"),
    "one comma": ('x,label\n"1,500",a\n"2,500",b\n"1,500",b\n', "'1,500' in column 'x'"),
    "points": ("x;label\n1.234,5;a\n12.345,5;b\n2.000,0;a\n", "'1.234,5' in column 'x'"),
    "apostrophes": ("x;label\n1'234.5;a\n12'345.5;b\n2'000;a\n", "\"1'234.5\" in column 'x'"),
    "spaces": ("x;label\n1 234.5;a\n12 345.5;b\n2\u00a0000;a\n", "'1 234.5' in column 'x'"),
    "decimal commas": ("x;label\noops;a\n1,5;b\n2,5;a\n3,5;b\n", "'oops' in column 'x'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_numbers_that_cannot_be_read_are_not_taken_for_levels(paths, capsys, mistake):
    written, model = paths
    text, has = MISTAKES[mistake]
    data = written(text)
    fit = "fit", data, "--target", "label", "--out", model, "--quiet"
    err = refused(capsys, *fit)
    assert f"line 2 has {has}, expected a number" in err
    assert ("separators of thousands" in err) == ("oops" not in err)
    assert f"d.csv line 2 has {has}, most of whose values are numbers" in refused(capsys, *fit, "--stream")
    for stream in ([], ["--stream"]):
        assert run(*fit, "--categorical", "x", *stream) == 0


def test_numbers_with_points_are_no_levels_where_the_decimal_mark_is_a_comma(paths, capsys):
    written, model = paths
    data = written("x;z;label\n" + "".join(f"{i / 4};{i}.5;{'abc'[i % 3]}\n" for i in range(20)))
    fit = "fit", data, "--target", "label", "--out", model, "--quiet", "--decimal", ","
    for options in ((), ("--categorical", "z")):
        assert "d.csv line 2 has '0.0' in column 'x', expected a number; give --decimal . " in refused(
            capsys, *fit, *options
        )
        said = refused(capsys, *fit, *options, "--stream")
        assert "d.csv line 2 has '0.0' in column 'x', but numbers of this file have a decimal comma; give" in said
    for stream in ([], ["--stream"]):
        assert run(*fit, "--categorical", "x,z", *stream) == 0
        assert run(*fit[:-2], *stream) == 0


def test_a_name_with_a_comma_may_be_in_quotes(paths, capsys):
    written, model = paths
    data = written(
        '"a,b",c,"say ""d""",label\n' + "".join(f"{i % 3},{i % 4},{i % 5},{'xy'[i % 2]}\n" for i in range(20))
    )
    fit = "fit", data, "--target", "label", "--out", model, "--quiet"
    for option, named, expected in (
        ("--features", '"a,b",c', ("a,b", "c")),
        ("--features", 'c, "a,b"', ("c", "a,b")),
        ("--features", "a,b", ("a,b",)),
        ("--drop", 'c,"a,b"', ('say "d"',)),
        ("--drop", '"a,b","say ""d"""', ("c",)),
    ):
        assert run(*fit, option, named) == 0
        assert nbs.SoftmaxModel.load(model).feature_names == expected
    capsys.readouterr()
    assert "has no column 'b' to drop" in refused(capsys, *fit, "--drop", "c,b")


def test_a_text_that_comes_late_in_a_column_makes_it_one_of_levels(paths, capsys):
    written, model = paths
    rows = [f"{i % 5},{'ab'[i % 2]}" for i in range(300)] + [f"t{i % 3},{'ab'[i % 2]}" for i in range(301)]
    data = written("x,label\n" + "\n".join(rows) + "\n")
    assert run("fit", data, "--target", "label", "--out", model, "--quiet") == 0
    assert nbs.SoftmaxModel.load(model).encoding.of("x").levels == ("0", "1", "2", "3", "4", "t0", "t1", "t2")
    assert run("predict", model, data) == 0
    assert len(capsys.readouterr().out.split()) > 600


@pytest.mark.parametrize("form", FORMS)
def test_offsets_are_added_by_every_command(paths, tmp_path, capsys, form):
    _, model = paths
    rng = np.random.default_rng(0)
    X, offset = rng.normal(size=(60, 1)), rng.normal(size=(60, 3))
    y = np.array(list("abc"))[rng.integers(0, 3, 60)]
    table = {"x": X[:, 0], "y": y, **{f"o{k}": offset[:, k] for k in range(3)}}
    data = tmp_path / f"d.{form}"
    FORMS[form](pl.DataFrame(table), data)
    given = "--target", "y", "--offset", "o0,o1,o2"
    expected = nbs.Trainer(l2=0.1, tol=1e-10).fit(X, y, offset=offset).model
    for stream in ((), ("--stream",)):
        assert run("fit", data, *given, "--l2", 0.1, "--tol", 1e-10, "--out", model, "--quiet", *stream) == 0
        saved = nbs.SoftmaxModel.load(model)
        # Each is within sqrt(2 tol J / l2) = 5.3e-5 of the minimum.
        assert np.allclose(saved.coef, expected.coef, rtol=0, atol=1.1e-4)
        assert saved.feature_names == ("x",)
    capsys.readouterr()
    assert run("predict", model, data, "--offset", "o0", "--offset", "o1,o2") == 0
    assert capsys.readouterr().out.split()[1:] == saved.predict(X, offset=offset).tolist()
    assert run("evaluate", model, data, *given, "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(saved.score(X, y, offset=offset))
    assert run("cv", data, *given, "--Cs", 0.1, 1, "--folds", 2, "--json") == 0
    found = nbs.cross_validate(X, y, Cs=[0.1, 1], folds=2, offset=offset)
    np.testing.assert_allclose(json.loads(capsys.readouterr().out)["log_loss"], found.log_loss, rtol=1e-9)
    assert "has no column 'o9' for --offset" in refused(capsys, "predict", model, data, "--offset", "o9")


def test_unknown_levels_are_counted_over_all_blocks_in_one_line(paths, capsys, monkeypatch):
    from nbsoftmax.data import cut

    monkeypatch.setattr(cut, "MOST_ROWS", 8)
    written, model = paths
    assert run("fit", written(PEOPLE), "--target", "label", "--out", model, "--quiet", "--drop", "id,name") == 0
    capsys.readouterr()
    new = written(PEOPLE.replace("Bonn", "Trier"), "new.csv")
    for command in (("predict", model, new), ("evaluate", model, new, "--target", "label")):
        assert run(*command) == 0
        err = capsys.readouterr().err
        assert "'city' in 10 rows ('Trier')" in err
        assert err.count("\n") == 1


def test_the_default_penalty_is_that_of_the_estimators(flowers, tmp_path, capsys):
    path, X, y = flowers
    fit = "fit", path, "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--json"
    assert run(*fit) == 0
    assert json.loads(capsys.readouterr().out)["l2"] == pytest.approx(1 / 90)
    assert np.allclose(nbs.SoftmaxModel.load(tmp_path / "m.npz").coef, nbs.SoftmaxRegression().fit(X, y).model_.coef)
    for penalty, l2 in ((("--l2", 0.5), 0.5), (("--l1", 0.01), 0.0), (("--C", 2), 1 / 180)):
        assert run(*fit, *penalty) == 0
        assert json.loads(capsys.readouterr().out)["l2"] == pytest.approx(l2)


def test_options_of_columns_are_refused_for_arrays(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", X=np.eye(4), y=[0, 1, 0, 1])
    fit = "fit", tmp_path / "d.npz", "--out", tmp_path / "m.npz"
    for option, value in (("--features", "a"), ("--categorical", "a"), ("--offset", "a"), ("--missing", "mean")):
        assert f"{option} is for columns of files such as CSV and Parquet" in refused(capsys, *fit, option, value)


def test_a_table_from_a_pipe_and_one_with_another_order_of_columns(paths, capsys, monkeypatch):
    written, model = paths
    assert run("fit", written(PEOPLE), "--target", "label", "--out", model, "--quiet", "--drop", "id,name") == 0
    frame = pd.read_csv(io.StringIO(PEOPLE))[["city", "label", "id", "age"]]
    expected = nbs.SoftmaxModel.load(model).predict(pa.Table.from_pandas(frame)).tolist()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(frame.to_csv(index=False).encode())))
    capsys.readouterr()
    assert run("predict", model, "-") == 0
    assert capsys.readouterr().out.split()[1:] == expected


def test_validation_data_are_encoded_as_the_fit(paths, capsys):
    written, model = paths
    fit = "--target", "label", "--out", model, "--quiet", "--drop", "id,name", "--json"
    lines = PEOPLE.splitlines()
    held_out = written("\n".join([lines[0], *reversed(lines[20:])]), "other.csv")
    for stream in ((), ("--stream",)):
        assert run("fit", written(PEOPLE), *fit, "--validation-data", held_out, *stream) == 0
        loss = json.loads(capsys.readouterr().out)["validation_loss"]
        assert run("evaluate", model, held_out, "--target", "label", "--json") == 0
        assert loss == pytest.approx(json.loads(capsys.readouterr().out)["log_loss"], rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_truth_values_from_python_takes_files_with_true_and_false(tmp_path, capsys, form):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=40), "wild": rng.random(40) < 0.5})
    y = np.array(["a", "b"])[(frame["x"].to_numpy() + frame["wild"].to_numpy() > 0.5).astype(int)]
    model = nbs.Trainer(l2=0.1).fit(frame, y).model
    assert model.encoding is None
    model.save(tmp_path / "m.npz")
    FORMS[form](frame.with_columns(label=pl.Series(y)), tmp_path / f"d.{form}")
    assert run("predict", tmp_path / "m.npz", tmp_path / f"d.{form}") == 0
    assert capsys.readouterr().out.split()[1:] == model.predict(frame).tolist()
    assert run("evaluate", tmp_path / "m.npz", tmp_path / f"d.{form}", "--target", "label") == 0
