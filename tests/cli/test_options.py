"""Options on the command line and in a TOML file."""

import json

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import misused, refused, run


@pytest.mark.parametrize(
    ("option", "value"),
    [("threads", 0), ("max-iter", -1), ("validation", 2), ("seed", -1), ("l2", -1), ("label-smoothing", 3)],
)
def test_an_option_out_of_range_is_named_as_it_was_written(flowers, tmp_path, capsys, option, value):
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    assert f"nbsoftmax: --{option} is {value}, expected" in refused(capsys, *fit, f"--{option}={value}")


def test_unknown_options_exit_with_2():
    with pytest.raises(SystemExit) as caught:
        run("fit", "--no-such-option")
    assert caught.value.code == 2


def test_options_come_from_a_file_and_the_command_line_overrules_them(flowers, tmp_path, capsys):
    path, X, y = flowers
    config = tmp_path / "run.toml"
    config.write_text('[fit]\ntarget = "species"\nl2 = 0.5\nquiet = true\nno_intercept = false\n[cv]\nCs = [1, 10]\n')
    assert run("fit", path, "--config", config, "--out", tmp_path / "a.npz") == 0
    assert run("fit", path, f"--config={config}", "--out", tmp_path / "b.npz", "--l2", 0.01) == 0
    for name, l2 in (("a", 0.5), ("b", 0.01)):
        coef = nbs.SoftmaxModel.load(tmp_path / f"{name}.npz").coef
        assert np.array_equal(coef, nbs.Trainer(l2=l2).fit(X, y).model.coef)
    capsys.readouterr()
    assert run("cv", path, "--target", "species", "--config", config, "--json") == 0
    assert json.loads(capsys.readouterr().out)["Cs"] == [1, 10]


def test_a_file_of_options_that_cannot_be_used_is_refused(flowers, tmp_path, capsys):
    config = tmp_path / "run.toml"
    fit = "fit", flowers[0], "--config", config, "--out", tmp_path / "m.npz"
    assert "cannot be read" in refused(capsys, *fit)
    for text, said in {
        "l2 = [": "is not valid TOML",
        "l2 = 1": "outside of a table",
        "[fit]\nl2 = 1979-05-27": "expected",
    }.items():
        config.write_text(text)
        assert said in refused(capsys, *fit)
    config.write_text("[fit]\nlambda = 1")
    assert "'lambda' in [fit]" in refused(capsys, *fit)


@pytest.mark.parametrize("option", ["--conf", "--confi=run.toml", "--sol", "--js", "--quie", "--l"])
def test_abbreviated_options_are_refused(flowers, tmp_path, capsys, option):
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    assert option in misused(capsys, *fit, option)
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    "options", [("--l2", 1, "--l2", 2), ("--l2=1", "--l2", 2), ("--quiet", "--quiet"), ("--config", "a", "--config=b")]
)
def test_an_option_is_given_once(flowers, tmp_path, capsys, options):
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    assert "is given twice" in refused(capsys, *fit, *options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fitt]\nl2 = 1", "table [fitt], which is not a command (did you mean 'fit'?)"),
        ("[cv]\nfold = 1", "'fold' in [cv], which is not an option of it (did you mean 'folds'?)"),
        ("[fit]\nl2 = [1, 2]", "l2 = [1, 2] in [fit], expected a number"),
        ("[fit]\nl2 = '0.1'", "expected a number"),
        ("[fit]\nl2 = true", "expected a number"),
        ("[fit]\nmax_iter = 1.5", "expected a whole number"),
        ("[fit]\nquiet = 1", "expected true or false"),
        ("[fit]\nquiet = 'yes'", "expected true or false"),
        ("[fit]\ntarget = false", "expected text"),
        ("[fit]\ntarget = 1.0", "expected text"),
        ("[fit]\ntarget = ['a']", "expected text"),
        ("[fit]\ndrop = [1.5]", "expected text or a list of texts"),
        ("[fit]\nsolver = 'newtn'", "expected one of 'auto'"),
        ("[fit]\nmax_iter = 1\nmax-iter = 2", "twice"),
        ("[fit]\nconfig = 'other.toml'", "is not an option"),
        ("[fit]\nhelp = true", "is not an option"),
        ("[fit]\ndata = 'd.csv'", "is not an option"),
        ("[fit.penalty]\nl2 = 1", "'penalty' in [fit]"),
        ("[cv]\nCs = []", "expected a number or a list of numbers"),
        ("[cv]\nCs = [1, true]", "expected a number or a list of numbers"),
        ("[cv]\nCs = [[1]]", "expected a number or a list of numbers"),
        ("[fit]\nbounds = 1", "bounds = 1 in [fit], expected a list of 2 numbers."),
        ("[fit]\nbounds = [0, 1, 2]", "bounds = [0, 1, 2] in [fit], expected a list of 2 numbers."),
        ("[fit]\nbounds = ['a', 'b']", "in [fit], expected a list of 2 numbers."),
        ("[[fit]]\nl2 = 1", "outside of a table"),
        ("[fit]\nl2 = 1\nl2 = 2", "is not valid TOML"),
        ("x = " + "[" * 100_000, "is not valid TOML"),
        ("[fit]\nseed = " + "9" * 10_000, "is not valid TOML"),
        ("[fit]\ntarget = '\udcff'", "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_file_of_options_is_named(flowers, tmp_path, capsys, text, said):
    config = tmp_path / "run.toml"
    config.write_bytes(text.encode("utf-8", "surrogateescape"))
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    assert said in refused(capsys, *fit, "--config", config)
    assert not (tmp_path / "m.npz").exists()


def test_an_option_of_the_command_line_takes_the_place_of_those_in_the_file_that_exclude_it(flowers, tmp_path):
    path, X, y = flowers
    (tmp_path / "run.toml").write_text("[fit]\nl2 = 0.5\nquiet = true\ntarget = 'species'\ndrop = ['width', 'none']")
    fit = "fit", path, "--config", tmp_path / "run.toml", "--out", tmp_path / "m.npz"
    assert run(*fit, "--C", 2, "--drop", "width") == 0
    expected = nbs.Trainer(l2=1 / (2 * len(y))).fit(X[:, :1], y).model.coef
    assert np.array_equal(nbs.SoftmaxModel.load(tmp_path / "m.npz").coef, expected)


@pytest.mark.parametrize(
    ("command", "said"),
    [("cv", "Compare values of C, the inverse"), ("cv", "log-loss of held-out folds"), ("fit", "sgd (default: 0)")],
)
def test_help_says_what_cv_compares_and_the_default_seed(command, said, capsys):
    with pytest.raises(SystemExit):
        run(command, "--help")
    assert said in " ".join(capsys.readouterr().out.split())


def test_unknown_arguments_are_those_of_the_command(flowers, tmp_path, capsys):
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    said = misused(capsys, *fit, "--drop", "width", "length")
    assert "unrecognized arguments: length; several columns are one argument, with commas" in said
    assert said.endswith("see nbsoftmax fit --help\n")
    assert "commas" not in misused(capsys, *fit, "--traget", "species")
    assert "commas" not in misused(capsys, "inspect", tmp_path / "m.npz", tmp_path / "n.npz")  # it has no columns
    said = misused(capsys, "predict", "m.npz", "d.csv", "--missing=mean")
    assert "--missing is for fit, cv, and the model keeps it" in said
    assert "--l2 is for fit;" in misused(capsys, "predict", "m.npz", "d.csv", "--l2", "3")
