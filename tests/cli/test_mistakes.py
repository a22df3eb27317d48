"""Mistakes of users: each is answered by one line that says what to do."""

import sys

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import refused, run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("length,width\n1,2\n", "no column 'species'"),
        ("length,width,species\n1,2,a\n1,2\n", "line 3 has 2 fields"),
        ("length,width,species\n1,2,a\n1,wide,b\n", "line 3 has 'wide' in column 'width'"),
        ("length,width,species\n1,2,a\n1,nan,b\n", "line 3 has 'nan', which marks a missing value, in column 'width'"),
        ("length,width,species\n1,2,a\n1,3,a\n", "only the class"),
    ],
)
def test_fit_refuses_a_bad_csv_in_one_line(tmp_path, capsys, text, said):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    assert said in refused(capsys, "fit", path, "--target", "species", "--out", tmp_path / "m.npz", "--quiet")
    assert not (tmp_path / "m.npz").exists()


def test_other_mistakes_are_refused_in_one_line(flowers, model, tmp_path, capsys):
    path, X, y = flowers
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    out = tmp_path / "n.npz"
    assert "--target" in refused(capsys, "fit", path, "--out", out)
    assert "No such file" in refused(capsys, "fit", tmp_path / "none.csv", "--target", "species", "--out", out)
    assert "the folder of" in refused(capsys, "fit", path, "--target", "species", "--out", tmp_path / "no" / "m.npz")
    assert "is a folder" in refused(capsys, "fit", path, "--target", "species", "--out", tmp_path)
    assert "File exists" in refused(capsys, "demo", "--out", model)
    np.savez(tmp_path / "none.npz", X=X[:0], y=y[:0])
    assert "X has no rows" in refused(capsys, "evaluate", model, tmp_path / "none.npz")
    assert "--labels" in refused(capsys, "fit", tmp_path / "X.npy", "--out", out)
    arrays = "fit", tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--out", out
    assert "--target names a column or an array" in refused(capsys, *arrays, "--target", "y")
    assert "--zero-based is for svmlight files" in refused(capsys, *arrays, "--zero-based")
    assert "--C is -1" in refused(capsys, "fit", path, "--target", "species", "--out", out, "--C", -1)
    assert "--learning-rate is for" in refused(
        capsys, "fit", path, "--target", "species", "--out", out, "--learning-rate", 0.1, "--quiet"
    )
    assert "is not a model" in refused(capsys, "predict", path, path)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(model.read_bytes()[:300])
    assert "cut.npz is not a model, or a damaged one" in refused(capsys, "evaluate", cut, path, "--target", "species")
    other = tmp_path / "other.csv"
    other.write_text("length,height\n1,2\n", encoding="utf-8")
    assert "lacks the column 'width'" in refused(capsys, "predict", model, other)
    np.save(tmp_path / "X3.npy", np.zeros((2, 3)))
    assert "X has 3 features, but the model was trained on 2" in refused(capsys, "predict", model, tmp_path / "X3.npy")
    assert "k is 9" in refused(capsys, "predict", model, path, "--top-k", 9)


def test_names_that_are_missing_or_misspelt_are_answered_with_those_that_there_are(flowers, model, tmp_path, capsys):
    path, *_ = flowers
    fit = "fit", path, "--out", tmp_path / "m.npz"
    assert "the columns of" in (said := refused(capsys, *fit))
    assert "'length', 'width', 'species'" in said
    assert "(did you mean 'species'?)" in refused(capsys, *fit, "--target", "Spezies")
    assert "(did you mean 'width'?)" in refused(capsys, *fit, "--target", "species", "--sample-weight", "widht")
    assert "(did you mean 'width'?)" in refused(capsys, *fit, "--target", "species", "--drop", "WIDTH")
    other = tmp_path / "other.csv"
    other.write_text("Width,height\n1,2\n", encoding="utf-8")
    said = refused(capsys, "predict", model, other)
    assert "lacks the column 'length' (and 1 more)" in said


def test_model_and_data_in_the_wrong_order_are_recognised(flowers, model, capsys):
    path, *_ = flowers
    for arguments in (("predict", path, model), ("evaluate", path, model, "--target", "species")):
        assert "give the model first, then the data" in refused(capsys, *arguments)
    assert "it is a model" in refused(capsys, "fit", model, "--out", "m.npz")


def test_odd_digits_and_options_that_need_others_are_refused(flowers, model, tmp_path, capsys):
    picture = "--image-shape", "\u00b2x1", "--out", tmp_path / "p.png"
    assert "expected height x width" in refused(capsys, "plot", "coefficients", model, *picture)
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    assert "--validation" in refused(capsys, *fit, "--early-stopping", 3)


def test_a_log_that_cannot_be_parsed_is_named(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for text in ("[" * 100_000, '{"iteration": 1, "objective": 1' + "0" * 400 + ', "seconds": 1}', "5", "\0"):
        (tmp_path / "log").write_text(text)
        plot = "plot", "convergence", tmp_path / "log", "--out", tmp_path / "p.png"
        assert "log line 1 is not a line of a fit's log" in refused(capsys, *plot)


def test_labels_in_messages_are_plain(tmp_path, capsys):
    for text, said in (("x,y\n1,p\n2,p\n", "only the class 'p'"), ("x,y\n1,5\n2,5\n", "only the class 5,")):
        (tmp_path / "one.csv").write_text(text)
        fit = "fit", tmp_path / "one.csv", "--target", "y", "--out", tmp_path / "m.npz", "--quiet"
        assert said in refused(capsys, *fit)


def test_continuous_targets_and_missing_labels_are_refused(tmp_path, capsys):
    prices = tmp_path / "prices.csv"
    prices.write_text("size,price\n" + "".join(f"{i},{i * 1000}.5\n" for i in range(1, 41)))
    fit = "fit", prices, "--target", "price", "--out", tmp_path / "m.npz", "--quiet"
    assert "continuous values cannot be labels" in refused(capsys, *fit)
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(("name", "start"), [("rownames", 1), ("", 0), ("", 7), ("id", 501)])
def test_a_column_that_numbers_the_rows_is_left_out_or_warned_of(flowers, tmp_path, capsys, name, start):
    path, X, y = flowers
    lines = path.read_text().splitlines()
    indexed = tmp_path / "indexed.csv"
    indexed.write_text("\n".join([f'"{name}",{lines[0]}', *(f"{i},{line}" for i, line in enumerate(lines[1:], start))]))
    fit = "fit", indexed, "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.01
    assert run(*fit) == 0
    err = capsys.readouterr().err
    assert err.startswith("nbsoftmax: warning: ")
    is_left_out = not name or start in (0, 1)
    said = "is left out; --features rownames" if name else "a column without a name is left out"
    assert (said if is_left_out else f"--drop {name} leaves it out") in err
    features = nbs.SoftmaxModel.load(tmp_path / "m.npz").feature_names
    assert features == (() if is_left_out else (name,)) + ("length", "width")
    assert run(*fit, f"--drop={name}") == 0
    assert capsys.readouterr().err == ""
    saved = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert np.array_equal(saved.coef, nbs.Trainer(l2=0.01).fit(X, y).model.coef)
    # What was dropped stays in the file that the model is used on.
    for arguments in (
        ("predict", tmp_path / "m.npz", indexed),
        ("predict", tmp_path / "m.npz", indexed, f"--drop={name}"),
    ):
        assert run(*arguments) == 0
        assert capsys.readouterr().out.split() == ["label", *saved.predict(X)]
    assert run("evaluate", tmp_path / "m.npz", indexed, "--target", "species", f"--drop={name}") == 0


def test_columns_that_do_not_count_the_rows_are_not_warned_of(flowers, tmp_path, capsys):
    rows = [f"{i // 2},{-i},{i + 0.5 * (i == 40)},{i % 3}" for i in range(50)]
    (tmp_path / "d.csv").write_text("\n".join(["halves,down,bent,y", *rows]))
    fit = "fit", tmp_path / "d.csv", "--target", "y", "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.1
    assert run(*fit) == 0
    assert capsys.readouterr().err == ""


def test_what_is_needed_is_not_dropped(flowers, model, tmp_path, capsys):
    path, X, y = flowers
    fit = "fit", path, "--target", "species", "--out", tmp_path / "m.npz"
    assert "names the labels" in refused(capsys, *fit, "--drop", "species")
    assert "names the weights" in refused(capsys, *fit, "--drop", "width", "--sample-weight", "width")
    assert "a feature of the model" in refused(capsys, "predict", model, path, "--drop", "width")
    assert "has no feature columns" in refused(capsys, *fit, "--drop", "width", "--drop", "length")
    np.savez(tmp_path / "d.npz", X=X, y=y)
    assert "CSV" in refused(capsys, "fit", tmp_path / "d.npz", "--out", tmp_path / "m.npz", "--drop", "width")


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("onnx", "onnx", ("convert", "{model}", "{out}.onnx")),
        ("matplotlib", "plot", ("plot", "coefficients", "{model}", "--out", "{out}.png")),
        ("formulaic", "formula", ("fit", "{data}", "--formula", "species ~ length", "--out", "{out}.npz")),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    flowers, model, tmp_path, capsys, monkeypatch, package, extra, command
):
    pytest.importorskip("pyarrow")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    places = {"model": model, "data": flowers[0], "out": tmp_path / "new"}
    assert run(*(part.format(**places) for part in command)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f'pip install "nbsoftmax[{extra}]"' in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("new*"))
