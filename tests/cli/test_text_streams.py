"""`fit` of text in memory and with --stream: the same features, or an error both times."""

import json

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import refused, run

pytest.importorskip("pyarrow")

ROWS = [f"{20 + i % 50},{i % 7 / 2},{'pqr'[i % 3]},{'uv'[i * i % 5 % 2]}" for i in range(300)]
BOTH = pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["in memory", "stream"])


def fitted(tmp_path, rows, stream, *options):
    """The arguments of a fit of these rows."""
    data = tmp_path / "d.csv"
    data.write_text("\n".join(["age,size,kind,y", *rows, ""]), encoding="utf-8")
    return "fit", data, "--target", "y", "--out", tmp_path / "m.npz", "--l2", 0.01, "--quiet", *stream, *options


def features(tmp_path):
    return nbs.SoftmaxModel.load(tmp_path / "m.npz").feature_names


@BOTH
@pytest.mark.parametrize("number", ["33\u00a0", "33\x1c", "\u200933", "+33", " 33 "])
def test_spaces_of_any_kind_around_a_number_are_no_text(tmp_path, stream, number):
    assert run(*fitted(tmp_path, [*ROWS, f"{number},1,p,u"], stream)) == 0
    assert features(tmp_path) == ("age", "size", "kind[p]", "kind[q]", "kind[r]")


@BOTH
def test_digits_that_are_levels_stay_levels(tmp_path, stream):
    rows = [f"30,{i % 2}\u00a0,p,{'uv'[i % 3 % 2]}" for i in range(30)]
    assert run(*fitted(tmp_path, rows, stream, "--categorical", "size", "--features", "size")) == 0
    assert features(tmp_path) == ("size[0]", "size[1]")


@BOTH
@pytest.mark.parametrize("text", ["True", "false", " TRUE"])
def test_a_truth_value_among_numbers_is_refused(tmp_path, capsys, stream, text):
    rows = [*ROWS[:80], f"{text},1,p,u", *ROWS]
    error = refused(capsys, *fitted(tmp_path, rows, stream))
    assert f"d.csv line 82 has '{text.strip()}' in column 'age'" in error
    assert run(*fitted(tmp_path, rows, stream, "--categorical", "age")) == 0


@BOTH
@pytest.mark.parametrize("text", ["old", "1.5"])
def test_text_among_numbers_with_a_decimal_comma_is_refused(tmp_path, capsys, stream, text):
    rows = [f"{20 + i % 50},{5 * (i % 2)};{'uv'[i * i % 5 % 2]}" for i in range(300)]
    data = tmp_path / "d.csv"
    data.write_text("\n".join(["age;y", text + ";u", *rows, ""]), encoding="utf-8")
    fit = "fit", data, "--target", "y", "--out", tmp_path / "m.npz", "--l2", 0.01, "--quiet", *stream
    error = refused(capsys, *fit, "--sep", ";", "--decimal", ",")
    assert f"d.csv line 2 has '{text}' in column 'age'" in error


@BOTH
@pytest.mark.parametrize("values", ["True False", "0 True", "1 0 False true"])
def test_truth_values_among_0_and_1_are_not_refused(tmp_path, stream, values):
    given = values.split()
    rows = [f"{given[i % len(given)]},1,p,{'uv'[i % 3 % 2]}" for i in range(40)]
    assert run(*fitted(tmp_path, rows, stream, "--features", "age")) == 0


@BOTH
def test_spaces_around_a_level_are_no_part_of_it(tmp_path, stream):
    assert run(*fitted(tmp_path, [*ROWS, "20,1, p ,u"], stream)) == 0
    assert features(tmp_path) == ("age", "size", "kind[p]", "kind[q]", "kind[r]")


@pytest.mark.parametrize("row", ['20,1,"p,u', '20,1,"p"x,u', '20,1,p,"u"v'])
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_wrong_quotes_are_refused_by_commands_that_read_block_by_block(tmp_path, capsys, command, row):
    fit = fitted(tmp_path, ROWS, [])
    assert run(*fit) == 0
    capsys.readouterr()
    data, out = tmp_path / "new.csv", tmp_path / "out.csv"
    data.write_text("\n".join(["age,size,kind,y", *ROWS * 20, row, *ROWS, ""]), encoding="utf-8")
    options = ["--out", out] if command == "predict" else ["--target", "y"]
    error = refused(capsys, command, tmp_path / "m.npz", data, *options)
    assert "correct its quotes" in error or "the label 'uv'" in error
    assert not out.exists()


def test_quotes_after_a_space_are_the_same_in_a_stream(tmp_path, capsys):
    rows = [", ".join(f'"{field}"' for field in row.split(",")) for row in ROWS]
    found = []
    for stream in ([], ["--stream"]):
        assert run(*fitted(tmp_path, rows, stream, "--tol", 1e-10), "--json") == 0
        found.append(json.loads(capsys.readouterr().out)["objective"])
        assert nbs.SoftmaxModel.load(tmp_path / "m.npz").classes.tolist() == ["u", "v"]
    assert np.isclose(*found, rtol=1e-9)  # the sums are of other blocks


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("options", [[], ["--missing", "error", "--categorical", "kind"]])
@pytest.mark.parametrize(
    ("column", "value"), [("x", None), ("x", float("inf")), ("w", None), ("w", -1.0), ("y", None), ("kind", None)]
)
def test_an_error_about_a_value_of_several_files_names_the_file(tmp_path, capsys, kind, options, column, value):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import csv, parquet

    if column == "kind" and not options:
        pytest.skip("numbers are read by their own path")
    folder = tmp_path / "parts"
    folder.mkdir()
    for k in range(3):
        rows = {"x": [0.5, 1.0, 2.5] * 30, "w": [1.0] * 90, "y": ["u", "v"] * 45}
        rows |= {"kind": ["p", "q", "r"] * 30} if options else {}
        if k == 1:
            rows[column][79] = value
        written = parquet.write_table if kind == "parquet" else csv.write_csv
        written(pa.table(rows), folder / f"{k}.{kind}")
    given = "fit", folder, "--target", "y", "--sample-weight", "w", "--out", tmp_path / "m.npz", "--l2", 0.01
    error = refused(capsys, *given, "--quiet", *options)
    assert f"{folder / f'1.{kind}'}{' line 81' if kind == 'csv' else ''}" in error
    assert "row 79" in error or "[79]" in error or "line 81" in error
    if (column, value) == ("x", None):
        assert "--missing" in error


def test_numbers_with_commas_are_no_levels_where_the_decimal_mark_is_a_point(tmp_path, capsys):
    data, model = tmp_path / "d.csv", tmp_path / "m.npz"
    rows = "".join(f"{i / 4};{i}.5;{'abc'[i % 3]}\n" for i in range(20))
    data.write_text("x;z;label\n" + rows.replace(".", ","))
    fit = "fit", data, "--target", "label", "--out", model, "--quiet", "--decimal", "."
    for options in ((), ("--categorical", "z")):
        found = "d.csv line 2 has '0,0' in column 'x', "
        assert f"{found}expected a number; give --decimal , if the comma" in refused(capsys, *fit, *options)
        said = refused(capsys, *fit, *options, "--stream")
        assert f"{found}most of whose values are numbers; give --decimal , (decimal_point=',' of the" in said
    for stream in ([], ["--stream"]):
        assert run(*fit, "--categorical", "x,z", *stream) == 0
        assert run(*fit[:-2], *stream) == 0
    capsys.readouterr()
    data.write_text("x;z;label\n" + "".join(f"{i / 4};{i},5;{'abc'[i % 3]}\n" for i in range(20)))
    said = refused(capsys, "fit", data, "--target", "label", "--out", model, "--quiet")
    assert "d.csv line 2 has '0,5' in column 'z', expected a number; give --decimal , if" in said
