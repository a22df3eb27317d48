"""Offsets, weights and labels of commands that read columns: models that miss an offset, and rows that are dropped."""

import json

import numpy as np
import polars as pl
import pytest

import nbsoftmax as nbs
from tests.cli.commands import refused, run

FORMS = {"csv": pl.DataFrame.write_csv, "parquet": pl.DataFrame.write_parquet, "feather": pl.DataFrame.write_ipc}


def test_a_command_without_the_offset_of_the_fit_says_so(tmp_path, capsys):
    model = tmp_path / "m.npz"
    rng = np.random.default_rng(0)
    data = tmp_path / "d.csv"
    pl.DataFrame({"x": rng.normal(size=40), "my o": rng.normal(size=40), "y": ["a", "b"] * 20}).write_csv(data)
    warning = "warning: the model was fitted with an offset, but none is added here; --offset 'my o' adds it."
    for command in (("fit", "--quiet"), ("fit", "--quiet", "--stream"), ("cv", "--folds", 2)):
        assert run(*command, data, "--target", "y", "--offset", "my o", "--out", model) == 0
        capsys.readouterr()
        for use in (("predict", model, data), ("evaluate", model, data, "--target", "y")):
            assert run(*use) == 0
            assert warning in capsys.readouterr().err
            assert run(*use, "--offset", "my o") == 0
            assert capsys.readouterr().err == ""
        assert run("inspect", model) == 0
        assert "['my o']" in capsys.readouterr().out
    nbs.Trainer(l2=1.0).fit([[0.0], [1.0]], ["a", "b"], offset=[0.0, 1.0]).model.save(model)
    (tmp_path / "e.npy").write_bytes(b"")
    np.save(tmp_path / "e.npy", np.ones((2, 1)))
    assert run("predict", model, tmp_path / "e.npy") == 0
    assert "--offset NAMES adds it" in capsys.readouterr().err
    nbs.Trainer(l2=1.0).fit([[0.0], [1.0]], ["a", "b"]).model.save(model)
    assert run("predict", model, tmp_path / "e.npy") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("hole", ["y", "w", "o"])
def test_dropped_rows_may_lack_labels_weights_and_offsets_and_others_may_not(tmp_path, capsys, form, hole):
    model = tmp_path / "m.npz"
    rng = np.random.default_rng(1)
    n, data = 60, tmp_path / f"d.{form}"
    table = {"x": rng.normal(size=n).tolist(), "y": ["a", "b", "c"] * 20, "w": [1.0] * n, "o": [0.5] * n}
    table["x"][7] = table[hole][7] = None
    given = "--target", "y", "--sample-weight", "w", "--offset", "o,o2,o3"
    table |= {"o2": [0.0] * n, "o3": [0.0] * n}
    FORMS[form](pl.DataFrame(table), data)
    fit = "fit", data, *given, "--missing", "drop", "--out", model, "--quiet"
    coef = []
    for stream in ((), ("--stream",)):
        assert run(*fit, *stream) == 0
        coef.append(nbs.SoftmaxModel.load(model).coef)
        capsys.readouterr()
        assert run("evaluate", model, data, *given, "--json") == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["samples"] == n - 1
        assert "1 row with missing values left out" in err
    # Each is within sqrt(2 tol J / l2) of the minimum, with l2 = 1 / 59.
    np.testing.assert_allclose(*coef, rtol=0, atol=2 * np.sqrt(2e-6 * 1.1 * 59))
    table[hole][50] = None
    FORMS[form](pl.DataFrame(table), data)
    for command in (fit, (*fit, "--stream"), ("evaluate", model, data, *given)):
        assert run(*command) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"column '{hole}'" in error
        if "--stream" not in command:
            assert ("line 52" if form == "csv" else "row 50") in error


def test_files_of_unsigned_labels_may_have_no_complete_row(tmp_path, capsys):
    x, y = [0.0, 1.0, 2.0, 3.0, None], pl.Series([0, 1, 0, 1, 1], dtype=pl.UInt8)
    whole, empty, model = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "m.npz"
    pl.DataFrame({"x": x, "y": y}).write_parquet(whole)
    pl.DataFrame({"x": pl.Series([None] * 5, dtype=pl.Float64), "y": y}).write_parquet(empty)
    assert run("fit", whole, "--target", "y", "--missing", "drop", "--out", model, "--quiet") == 0
    capsys.readouterr()
    assert run("evaluate", model, whole, empty, "--target", "y", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 4
    assert run("evaluate", model, empty, "--target", "y") == 2
    assert "no sample is left" in capsys.readouterr().err


def test_the_advice_about_an_offset_can_be_given_to_a_shell(tmp_path, capsys):
    data, model = tmp_path / "d.csv", tmp_path / "m.npz"
    pl.DataFrame({"x": [0.0, 1.0] * 9, "-o": [0.5, 0.1, 0.2] * 6, "y": ["a", "b", "b"] * 6}).write_csv(data)
    assert run("fit", data, "--target", "y", "--offset=-o", "--out", model, "--quiet") == 0
    capsys.readouterr()
    assert run("predict", model, data) == 0
    assert "--offset=-o adds it" in capsys.readouterr().err
    assert run("predict", model, data, "--offset=-o") == 0
    assert capsys.readouterr().err == ""


def test_the_summary_of_a_firth_fit_is_that_of_its_estimates(tmp_path, capsys):
    data, model = tmp_path / "d.csv", tmp_path / "m.npz"
    pl.DataFrame({"x": [1.0, 2, 3, 4, 2.5, 0], "y": list("pqppqq")}).write_csv(data)
    given = "--target", "y", "--out", model, "--quiet"
    assert run("fit", data, *given, "--firth", "--tol", 1e-10) == 0
    capsys.readouterr()
    assert run("summary", model, data, "--target", "y", "--json") == 0
    out, err = capsys.readouterr()
    coef = nbs.SoftmaxModel.load(model).coef
    assert json.loads(out)["table"][0]["value"] == pytest.approx(coef[1, 0] - coef[0, 0], rel=1e-9)
    assert err == ""
    assert run("fit", data, *given) == 0
    capsys.readouterr()
    assert run("summary", model, data, "--target", "y") == 0
    assert "was fitted with a penalty; these are the estimates without it" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["text", "x"])
def test_a_feature_is_no_weight(tmp_path, capsys, column):
    data = tmp_path / "d.csv"
    pl.DataFrame({"x": [1.0, 2.0] * 9, "text": list("uvw") * 6, "y": list("ab") * 9}).write_csv(data)
    fit = "fit", data, "--target", "y", "--features", "x,text", "--out", tmp_path / "m.npz", "--sample-weight", column
    assert f"--sample-weight names '{column}', which is a feature" in refused(capsys, *fit)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("text", [False, True])
def test_a_negative_weight_is_refused_by_its_line(tmp_path, capsys, form, text):
    data, model, n = tmp_path / f"d.{form}", tmp_path / "m.npz", 40
    table = {"x": [1.0, 2.0] * 20, "w": [1.0] * n, "y": list("ab") * 20} | ({"t": list("uv") * 20} if text else {})
    table["x"][3] = None if text else 0.5
    given = "--target", "y", "--sample-weight", "w"
    drop = ("--missing", "drop") if text else ()
    FORMS[form](pl.DataFrame(table), data)
    assert run("fit", data, *given, *drop, "--out", model, "--quiet") == 0
    table["w"][30] = -1.0
    FORMS[form](pl.DataFrame(table), data)
    place = "line 32" if form == "csv" else "row 30"
    for command in (("fit", data, *given, *drop, "--out", model, "--quiet"), ("evaluate", model, data, *given)):
        capsys.readouterr()
        error = refused(capsys, *command)
        assert place in error
        assert "has -1.0 in column 'w', expected a weight of at least 0" in error


@pytest.mark.parametrize("form", FORMS)
def test_columns_of_an_offset_that_are_named_after_the_classes_have_their_order(tmp_path, capsys, form):
    rng = np.random.default_rng(2)
    data, model = tmp_path / f"d.{form}", tmp_path / "m.npz"
    added = {label: rng.normal(size=60) for label in "123"}
    FORMS[form](pl.DataFrame({"x": rng.normal(size=60), "y": [1, 2, 3] * 20, **added}), data)
    right, wrong = ("--offset", "1,2,3"), ("--offset", "2,1", "--offset", "3")
    target = "--target", "y"
    uses = [
        ("fit", data, *target, "--features", "x", "--l2", 0, "--out", model, "--quiet"),
        ("fit", data, *target, "--features", "x", "--l2", 0, "--out", model, "--quiet", "--stream"),
        ("cv", data, *target, "--features", "x", "--folds", 2),
        *((name, model, data, *target) for name in ("evaluate", "summary")),
        ("predict", model, data),
    ]
    assert run(*uses[0], *right) == 0
    message = "offset has the columns '2', '1', '3', but the order of the classes is '1', '2', '3'; put the columns in "
    for use in uses:
        capsys.readouterr()
        assert message in refused(capsys, *use, *wrong)
    for use in uses[1:]:
        assert run(*use, *right) == 0


@pytest.mark.parametrize("given", [["o,o"], ["o", "o"], ["p,o,o"]])
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_column_that_is_twice_in_the_offset_is_refused(given, stream, tmp_path, capsys):
    data = tmp_path / "d.csv"
    data.write_text("x,o,p,y\n" + "".join(f"{i},{i / 7},1,{'abc'[i % 3]}\n" for i in range(20)))
    offset = [text for value in given for text in ("--offset", value)]
    said = refused(capsys, "fit", data, "--target", "y", *offset, "--out", tmp_path / "m.npz", *stream)
    assert "--offset names 'o' twice; give one column for each class" in said


@pytest.mark.parametrize("kind", ["numbers", "a feature of text"])
@pytest.mark.parametrize("option", ["--sample-weight", "--offset"])
def test_text_in_a_column_of_weights_or_an_offset_is_no_feature(option, kind, tmp_path, capsys):
    data = pl.DataFrame({"x": [0.5, 1.5, 0.2, 1.1], "w": ["1", "2", "3", "much"], "y": [0, 1, 0, 1]})
    if kind != "numbers":
        data = data.with_columns(c=pl.Series(["p", "q", "p", "q"]))
    data.write_csv(tmp_path / "d.csv")
    data.with_columns(w=1.0).write_csv(tmp_path / "good.csv")
    given = "--target", "y", option, "w"
    model = tmp_path / "m.npz"
    assert run("fit", "--quiet", tmp_path / "good.csv", *given, "--l2", 0.1, "--out", model) == 0
    capsys.readouterr()
    for command in (("fit", tmp_path / "d.csv", "--out", model), ("evaluate", model, tmp_path / "d.csv")):
        said = refused(capsys, *command, *given)
        assert said.endswith(
            " line 5 has 'much' in column 'w', expected a number; correct it, or name another column.\n"
        )
