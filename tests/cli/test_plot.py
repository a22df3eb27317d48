"""The command `plot`."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import refused, run


def test_plot_draws_every_kind(flowers, model, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, *_ = flowers
    out = tmp_path / "p.png"
    fit = "fit", path, "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--log", tmp_path / "log"
    assert run(*fit, "--l2", 0.01) == 0
    labelled = path, "--target", "species"
    for arguments in (
        ("coefficients", model),
        ("coefficients", model, "--image-shape", "1x2"),
        ("coefficients", model, path),
        ("coefficients", model, *labelled),
        ("convergence", tmp_path / "log"),
        ("reliability", model, *labelled),
        ("confusion", model, *labelled),
        ("decision", model, *labelled),
    ):
        assert run("plot", *arguments, "--out", out) == 0
        assert out.read_bytes().startswith(b"\x89PNG")
        out.unlink()
    capsys.readouterr()
    assert "have no offset" in refused(capsys, "plot", "coefficients", model, path, "--offset", "a", "--out", out)
    assert "takes no data" in refused(capsys, "plot", "convergence", tmp_path / "log", path, "--out", out)
    assert "needs labelled data" in refused(capsys, "plot", "confusion", model, "--out", out)
    assert "8x8" in refused(capsys, "plot", "coefficients", model, "--image-shape", "two", "--out", out)
    wrong = refused(capsys, "plot", "coefficients", model, "--image-shape", "8x9", "--out", out)
    assert wrong.startswith("nbsoftmax: --image-shape is (8, 9), but there are 2 features")
    other = refused(capsys, "plot", "convergence", model, "--image-shape", "1x2", "--out", out)
    assert "--image-shape is for plot coefficients" in other
    for name in ("p.nothing", "p", "p.gif", "p.txt", ".png"):
        said = refused(capsys, "plot", "coefficients", model, "--out", tmp_path / name)
        assert "expected one of .png, .svg, .pdf" in said


def test_weights_are_scaled_by_the_rows_that_the_fit_has_used(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    lines = [f"{x},{g},{y}" for x, g, y in zip(["", *range(59)], "uv" * 30, "abc" * 20, strict=True)]
    path, model, whole = tmp_path / "d.csv", tmp_path / "m.npz", tmp_path / "whole.csv"
    path.write_text("\n".join(["x,g,y", *lines]) + "\n")
    whole.write_text("\n".join(["x,g,y", *lines[1:]]) + "\n")
    assert run("fit", path, "--target", "y", "--missing", "drop", "--out", model, "--quiet") == 0
    capsys.readouterr()
    pictures = []
    for data in (path, whole):
        assert run("plot", "coefficients", model, data, "--out", tmp_path / "p.png") == 0
        pictures.append((tmp_path / "p.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert "1 row with missing values left out" in capsys.readouterr().err


def test_predictions_are_drawn_with_their_offset_and_weights(flowers, model, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from nbsoftmax import plots

    path, X, y = flowers
    offset = np.random.default_rng(0).normal(size=(len(y), 3)).round(3)
    weight = np.random.default_rng(1).integers(0, 5, len(y))
    lines, beside = path.read_text().splitlines(), np.column_stack([offset, weight]).tolist()
    rows = [",".join([line, *map(str, row)]) for line, row in zip(lines[1:], beside, strict=True)]
    (tmp_path / "o.csv").write_text("\n".join([lines[0] + ",o1,o2,o3,w", *rows]))
    trained, expected, out = nbs.SoftmaxModel.load(model), tmp_path / "expected.png", tmp_path / "p.png"
    given = model, tmp_path / "o.csv", "--target", "species", "--offset", "o1,o2,o3", "--out", out
    weighted = *given, "--sample-weight", "w"
    confusion, reliability = plots.ConfusionDisplay.from_predictions, plots.ReliabilityDisplay.from_predictions
    for kind, draw, predicted in (
        ("confusion", confusion, trained.predict(X, offset=offset)),
        ("reliability", reliability, trained.predict_proba(X, offset=offset)),
    ):
        for options, sample_weight in ((given, None), (weighted, weight)):
            assert run("plot", kind, *options) == 0
            plots.save_picture(draw(y, predicted, sample_weight=sample_weight).figure_, expected, dpi=150)
            assert out.read_bytes() == expected.read_bytes()
        assert run("plot", kind, model, path, "--target", "species", "--out", out) == 0
        assert out.read_bytes() != expected.read_bytes()
    capsys.readouterr()
    assert "leave --offset out" in refused(capsys, "plot", "decision", *given)
    assert "--sample-weight is for plot reliability" in refused(capsys, "plot", "decision", *weighted)
    (tmp_path / "odd.csv").write_text(path.read_text().replace(str(y[0]), "unknown"))
    for kind in ("confusion", "reliability"):
        said = refused(capsys, "plot", kind, model, tmp_path / "odd.csv", "--target", "species", "--out", out)
        assert "unknown" in said


def test_plot_draws_the_effects_of_a_fit_without_penalty(flowers, model, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, X, _ = flowers
    noisy, unpenalised, out = tmp_path / "noisy.csv", tmp_path / "unpenalised.npz", tmp_path / "p.svg"
    labels = np.random.default_rng(1).choice(["a", "b", "c"], len(X))  # not separable
    rows = [f"{length},{width},{label}" for (length, width), label in zip(X, labels, strict=True)]
    noisy.write_text("\n".join(["length,width,kind", *rows]) + "\n", encoding="utf-8")
    assert run("fit", noisy, "--target", "kind", "--out", unpenalised, "--quiet") == 0
    assert run("plot", "effects", unpenalised, noisy, "--target", "kind", "--out", out) == 0
    assert b"<svg" in out.read_bytes()
    capsys.readouterr()
    said = refused(capsys, "plot", "effects", model, path, "--target", "species", "--out", out)
    assert "it was trained with a penalty" in said


def test_effects_of_a_weighted_fit_need_its_weights(tmp_path):
    rng = np.random.default_rng(0)
    rows = "".join(
        f"{x:.3f},{w},{y}\n" for x, w, y in zip(rng.normal(size=90), rng.integers(1, 9, 90), "abc" * 30, strict=True)
    )
    path, model, out = tmp_path / "data.csv", tmp_path / "m.npz", tmp_path / "p.png"
    path.write_text("x,w,y\n" + rows)
    assert run("fit", path, "--target", "y", "--sample-weight", "w", "--l2", 0, "--out", model) == 0
    assert run("plot", "effects", model, path, "--target", "y", "--sample-weight", "w", "--out", out) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
