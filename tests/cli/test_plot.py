"""The command `plot`."""

import pytest

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
        ("convergence", tmp_path / "log"),
        ("reliability", model, *labelled),
        ("confusion", model, *labelled),
        ("decision", model, *labelled),
    ):
        assert run("plot", *arguments, "--out", out) == 0
        assert out.read_bytes().startswith(b"\x89PNG")
        out.unlink()
    capsys.readouterr()
    assert "needs labelled data" in refused(capsys, "plot", "confusion", model, "--out", out)
    assert "8x8" in refused(capsys, "plot", "coefficients", model, "--image-shape", "two", "--out", out)
    for name in ("p.nothing", "p", "p.gif", "p.txt", ".png"):
        said = refused(capsys, "plot", "coefficients", model, "--out", tmp_path / name)
        assert "expected one of .png, .svg, .pdf" in said
