"""The command line: what each command prints, writes and returns."""

import io
import json
import os
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import cli
from nbsoftmax.data import csv
from nbsoftmax.problem import rows_to_hold_out
from nbsoftmax.selection import cross_validation
from nbsoftmax.solvers import newton_cg
from nbsoftmax.training import callbacks

SPECIES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture
def flowers(tmp_path):
    """A CSV of three species and two measures; returns (path, X, labels)."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    X = np.round(rng.normal(size=(90, 2)) + 3 * y[:, None], 3)
    path = tmp_path / "flowers.csv"
    lines = ["length,width,species", *(f"{a},{b},{SPECIES[k]}" for (a, b), k in zip(X, y, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, X, SPECIES[y]


@pytest.fixture
def model(flowers, tmp_path, capsys):
    """A model trained on the flowers by the command line."""
    path = tmp_path / "model.npz"
    assert run("fit", flowers[0], "--target", "species", "--out", path, "--l2", 0.01, "--quiet") == 0
    capsys.readouterr()
    return path


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def refused(capsys, *arguments):
    """Run a command that must fail on its input; return its one line."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nbsoftmax: ")
    assert err.count("\n") == 1
    return err


def test_l1_and_grouped_are_those_of_the_trainer(flowers, tmp_path, capsys):
    path, X, y = flowers
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet"
    assert run("fit", path, *options, "--l1", 0.05, "--grouped") == 0
    assert "(prox-newton)" in capsys.readouterr().out
    coef = nbs.SoftmaxModel.load(tmp_path / "m.npz").coef
    assert np.array_equal(coef, nbs.Trainer(l1=0.05, grouped=True).fit(X, y).model.coef)
    assert "l1 is 0" in refused(capsys, "fit", path, *options, "--grouped")


def test_fit_saves_the_model_that_the_library_would_train(flowers, tmp_path, capsys):
    path, X, y = flowers
    assert run("fit", path, "--target", "species", "--out", tmp_path / "m.npz", "--C", 2) == 0
    out, err = capsys.readouterr()
    assert "converged after" in out
    assert "iteration     1  objective" in err  # no terminal: plain lines
    saved = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert np.array_equal(saved.coef, nbs.Trainer(l2=1 / (2 * len(y))).fit(X, y).model.coef)
    assert saved.feature_names == ("length", "width")


def test_fit_goes_on_from_a_checkpoint(flowers, tmp_path, capsys):
    path, *_ = flowers

    def fit(out, *options):
        common = "--target", "species", "--out", tmp_path / out, "--solver", "lbfgs", "--l2", 0.01
        return run("fit", path, *common, *options)

    assert fit("whole.npz") == 0
    assert fit("first.npz", "--checkpoint", tmp_path / "c", "--max-iter", 3) == 1
    assert "max_iter" in capsys.readouterr().out
    assert fit("resumed.npz", "--checkpoint", tmp_path / "c", "--resume") == 0
    whole, resumed = (nbs.SoftmaxModel.load(tmp_path / name) for name in ("whole.npz", "resumed.npz"))
    assert whole.coef.tobytes() == resumed.coef.tobytes()


def test_cv_prints_a_table_and_saves_the_choice(flowers, tmp_path, capsys):
    path, X, y = flowers
    options = "--target", "species", "--Cs", 0.01, 1, 100, "--folds", 3, "--out", tmp_path / "m.npz"
    assert run("cv", path, *options) == 0
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    found = nbs.cross_validate(X, y, Cs=[0.01, 1, 100], folds=3)
    assert [float(line.split()[0]) for line in lines[1:4]] == [0.01, 1, 100]
    assert "best" in lines[1 + found.best]
    assert f"{found.log_loss[found.best].mean():.4f}" in lines[1 + found.best]
    saved = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert np.array_equal(saved.coef, found.result.model.coef)
    assert saved.feature_names == ("length", "width")
    assert "folds is 1" in refused(capsys, "cv", path, "--target", "species", "--folds", 1)


def test_fit_reads_npy_and_npz(flowers, tmp_path):
    _, X, y = flowers
    np.savez(tmp_path / "d.npz", X=X, y=y)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    run("fit", tmp_path / "d.npz", "--out", tmp_path / "a.npz", "--l2", 0.1, "--quiet")
    run("fit", tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--out", tmp_path / "b.npz", "--l2", 0.1, "--quiet")
    first, second = nbs.SoftmaxModel.load(tmp_path / "a.npz"), nbs.SoftmaxModel.load(tmp_path / "b.npz")
    assert np.array_equal(first.coef, second.coef)
    assert first.classes.tolist() == SPECIES.tolist()


def test_predict_writes_labels_probabilities_and_the_most_probable(flowers, model, tmp_path, capsys):
    path, X, _ = flowers
    loaded = nbs.SoftmaxModel.load(model)
    assert run("predict", model, path) == 0
    assert capsys.readouterr().out.splitlines() == ["label", *loaded.predict(X)]
    assert run("predict", model, path, "--proba", "--out", tmp_path / "p.csv") == 0
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "label,proba_setosa,proba_versicolor,proba_virginica"
    assert np.array_equal([[float(f) for f in line.split(",")[1:]] for line in lines[1:]], loaded.predict_proba(X))
    assert run("predict", model, path, "--top-k", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "label_1,proba_1,label_2,proba_2"
    labels, proba = loaded.top_k(X, 2)
    assert lines[1] == f"{labels[0, 0]},{proba[0, 0]},{labels[0, 1]},{proba[0, 1]}"


def test_evaluate_prints_scores_and_the_confusion_matrix(flowers, model, capsys):
    path, X, y = flowers
    assert run("evaluate", model, path, "--target", "species") == 0
    out = capsys.readouterr().out
    loaded = nbs.SoftmaxModel.load(model)
    assert f"accuracy: {loaded.score(X, y):.4f}" in out
    codes = np.searchsorted(SPECIES, y)
    assert f"log-loss: {-np.log(loaded.predict_proba(X)[np.arange(len(y)), codes]).mean():.4f}" in out
    predicted = loaded.predict(X)
    for name in SPECIES:
        precision = np.mean(y[predicted == name] == name)
        recall = np.mean(predicted[y == name] == name)
        assert any(
            line.split() == [name, f"{precision:.4f}", f"{recall:.4f}", str((y == name).sum())]
            for line in out.splitlines()
        )
    counts = [[str(np.sum((y == a) & (predicted == b))) for b in SPECIES] for a in SPECIES]
    for name, row in zip(SPECIES, counts, strict=True):
        assert any(line.split() == [name, *row] for line in out.splitlines())


def test_demo_reaches_its_accuracy_and_says_where_things_are(tmp_path, capsys):
    assert run("demo", "--out", tmp_path) == 0
    out = capsys.readouterr().out
    accuracy = float(next(line.split()[-1] for line in out.splitlines() if line.startswith("held-out accuracy")))
    assert accuracy >= 0.95
    assert "held-out log-loss: 0." in out
    assert nbs.SoftmaxModel.load(tmp_path / "digits-model.npz").n_classes == 10
    picture = tmp_path / "digits-model.png"
    assert picture.exists() == (f"picture: {picture}" in out)


def test_demo_without_matplotlib_says_how_to_get_the_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert run("demo", "--out", tmp_path) == 0
    assert 'pip install "nbsoftmax[plot]"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("length,width\n1,2\n", "no column 'species'"),
        ("length,width,species\n1,2,a\n1,2\n", "line 3 has 2 fields"),
        ("length,width,species\n1,2,a\n1,wide,b\n", "line 3 has 'wide' in column 'width'"),
        ("length,width,species\n1,2,a\n1,nan,b\n", "nan at row 1, column 1"),
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


@pytest.mark.parametrize(
    ("option", "value"),
    [("threads", 0), ("max-iter", 0), ("validation", 2), ("seed", -1), ("l2", -1), ("label-smoothing", 3)],
)
def test_an_option_out_of_range_is_named_as_it_was_written(flowers, tmp_path, capsys, option, value):
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    assert f"nbsoftmax: --{option} is {value}, expected" in refused(capsys, *fit, f"--{option}={value}")


def test_unknown_options_exit_with_2():
    with pytest.raises(SystemExit) as caught:
        run("fit", "--no-such-option")
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("--max-iter", 1), "increase --max-iter, scale the features (--standardize), or add --l2"),
        (("--max-seconds", 1e-9), "increase --max-seconds, or continue from a --checkpoint with --resume"),
        (("--solver", "gd", "--learning-rate", 1e3), "reduce --learning-rate"),
        (("--solver", "sgd", "--max-iter", 1, "--l2", 1e-3), "increase --max-iter"),
    ],
)
def test_a_fit_that_has_not_converged_exits_with_1_says_what_to_do_and_saves_its_model(
    flowers, tmp_path, capsys, options, advice
):
    path = tmp_path / "m.npz"
    assert run("fit", flowers[0], "--target", "species", "--out", path, "--quiet", *options) == 1
    out, err = capsys.readouterr()
    assert "NOT converged: " in out
    assert f"What to do: {advice}" in err
    assert err.count("\n") == 1
    assert nbs.SoftmaxModel.load(path).n_classes == 3


def test_separable_data_without_a_penalty_are_advised_l2_by_its_option(tmp_path, capsys):
    (tmp_path / "apart.csv").write_text(
        "x,y\n" + "".join(f"{x},{'low' if x < 0 else 'high'}\n" for x in (-2, -1, 1, 2))
    )
    fit = "fit", tmp_path / "apart.csv", "--target", "y", "--out", tmp_path / "m.npz", "--quiet", "--json"
    assert run(*fit) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["converged"] is False
    assert "add --l2 (for example 1e-4)" in err
    assert run(*fit, "--l2", 1e-4) == 0
    assert capsys.readouterr().err == ""


def test_a_fit_that_ends_as_it_was_asked_to_exits_with_0(flowers, tmp_path, capsys):
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--validation", 0.2
    assert run("fit", flowers[0], *options, "--early-stopping", 1, "--solver", "gd", "--l2", 1e-6) == 0
    out, err = capsys.readouterr()
    assert "early stopping" in out
    assert err == ""


def test_cv_whose_last_fit_has_not_converged_exits_with_1(flowers, capsys, monkeypatch):
    monkeypatch.setattr(newton_cg, "MAX_ITER", 1)
    assert run("cv", flowers[0], "--target", "species", "--Cs", 1e4, "--folds", 2) == 1
    assert "nbsoftmax fit with --C 10000" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_other_warnings_are_a_line_on_stderr(flowers, tmp_path, capsys, monkeypatch):
    fit = nbs.Trainer.fit

    def fit_with_a_warning(*arguments, **options):
        warnings.warn("of two\nlines", RuntimeWarning, stacklevel=2)
        return fit(*arguments, **options)

    monkeypatch.setattr(nbs.Trainer, "fit", fit_with_a_warning)
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.01
    assert run("fit", flowers[0], *options) == 0
    err = capsys.readouterr().err
    assert err.startswith("nbsoftmax: warning: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("existing", [True, False])
def test_ctrl_c_saves_what_there_is_beside_the_model(flowers, tmp_path, capsys, monkeypatch, existing):
    path = tmp_path / "m.npz"
    if existing:
        path.write_bytes(b"a good model")
    monkeypatch.setattr(callbacks, "ProgressBar", CtrlCAtTheThird)
    assert run("fit", flowers[0], "--target", "species", "--out", path, "--json") == 130
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["reason"], said["model"]) == ("interrupted", str(tmp_path / "m.partial.npz"))
    assert err.count("\n") == 1
    assert "m.partial.npz" in err
    assert ("is unchanged" in err) == existing
    assert nbs.SoftmaxModel.load(said["model"]).n_classes == 3
    assert (path.read_bytes() == b"a good model") if existing else not path.exists()


def test_an_interrupted_search_exits_with_130_and_overwrites_nothing(flowers, tmp_path, capsys, monkeypatch):
    path, *_ = flowers
    out = tmp_path / "m.npz"
    out.write_bytes(b"a good model")
    search = "cv", path, "--target", "species", "--Cs", 1, "--folds", 2, "--out", out

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_validation, "cross_validate", interrupted)
    assert run(*search) == 130
    assert out.read_bytes() == b"a good model"


def test_ctrl_c_outside_a_fit_and_during_the_demo_is_130(flowers, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(csv, "read", interrupt)
        assert run("fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz") == 130
    assert capsys.readouterr().err == "nbsoftmax: interrupted\n"
    monkeypatch.setattr(callbacks, "ProgressBar", CtrlCAtTheThird)
    assert run("demo", "--out", tmp_path) == 130
    assert [path.name for path in tmp_path.glob("digits*")] == ["digits-model.partial.npz"]


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "d.csv", "--out", "m.npz", "--log", "-"),
        ("fit", "d.csv", "--out", "m.npz", "--checkpoint", "-"),
        ("predict", "-", "d.csv"),
        ("evaluate", "-", "d.csv"),
        ("inspect", "-"),
        ("convert", "-", "m.onnx"),
        ("plot", "coefficients", "-", "--out", "p.png"),
    ],
)
def test_a_dash_is_refused_where_only_a_file_can_be(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    err = capsys.readouterr().err
    assert "- is standard input or output, but this must be a file; name one" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_evaluate_refuses_weights_that_do_not_add_up(flowers, model, tmp_path, capsys):
    lines = flowers[0].read_text(encoding="utf-8").splitlines()
    weighted = tmp_path / "weighted.csv"
    weighted.write_text("\n".join([f"{lines[0]},w", *(f"{line},1e308" for line in lines[1:])]), encoding="utf-8")
    evaluate = "evaluate", model, weighted, "--target", "species", "--sample-weight", "w"
    assert "the largest weight is 1e+308, too large to add up 90" in refused(capsys, *evaluate)


def test_closed_standard_streams_end_no_fit(flowers, tmp_path, monkeypatch, capsys):
    path, *_ = flowers
    out, labels = tmp_path / "m.npz", tmp_path / "labels.csv"
    for closed in (["stdout"], ["stderr"], ["stdout", "stderr"]):
        with monkeypatch.context() as patch:
            for name in closed:
                patch.setattr(sys, name, None)
            assert run("fit", path, "--target", "species", "--out", out, "--l2", 0.01) == 0
        assert nbs.SoftmaxModel.load(out).n_classes == 3
        out.unlink()
    run("fit", path, "--target", "species", "--out", out, "--l2", 0.01, "--quiet")
    monkeypatch.setattr(sys, "stdout", None)
    assert run("predict", out, path, "--out", labels) == 0
    assert labels.read_text(encoding="utf-8").count("\n") == 91
    monkeypatch.setattr(sys, "stdout", None)
    capsys.readouterr()
    assert run("predict", out, path) == 2
    assert capsys.readouterr().err == "nbsoftmax: standard output is closed; write to --out FILE.\n"


@pytest.mark.parametrize("words", [("-", "--labels", "-"), ("X.npy", "--labels", "-", "--sample-weight", "-")])
def test_standard_input_is_one_input(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.zeros((4, 2)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "X.npy").read_bytes())))
    assert "standard input holds one" in refused(capsys, "fit", *words, "--out", "m.npz")


def test_labels_of_a_part_that_look_like_numbers_are_still_the_models(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{label}" for label in ("1", "2", "a") for x in rng.normal(size=10)]
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    whole.write_text("\n".join(["x,y", *rows]), encoding="utf-8")
    part.write_text("\n".join(["x,y", *rows[:20]]), encoding="utf-8")
    assert run("fit", whole, "--target", "y", "--out", tmp_path / "m.npz", "--l2", 0.1, "--quiet") == 0
    assert run("evaluate", tmp_path / "m.npz", part, "--target", "y") == 0
    assert "samples:  20" in capsys.readouterr().out


class CtrlCAtTheThird:
    """A callback during whose third call Ctrl-C is pressed."""

    def on_fit_task_end(self, trainer, context):
        if context.iteration.n_iter == 3:
            raise KeyboardInterrupt


def in_a_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "nbsoftmax", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_help_loads_nothing_heavy():
    code = "import sys, nbsoftmax.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'numpy', 'numba', 'scipy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "demo" in done.stdout


def test_wrong_input_is_one_line_and_exit_2_in_a_real_process(tmp_path):
    done = in_a_process("predict", tmp_path / "none.npz", tmp_path / "none.csv")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_the_demo_runs_in_a_real_process(tmp_path):
    done = in_a_process("demo", cwd=tmp_path, env=os.environ)
    assert done.returncode == 0
    assert "held-out accuracy: 0.9" in done.stdout
    assert (tmp_path / "digits-model.npz").exists()


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


def test_json_is_what_the_text_says(flowers, model, tmp_path, capsys):
    path, X, y = flowers
    labels = "--target", "species", "--json"

    def said(*arguments):
        assert run(*arguments) == 0
        return json.loads(capsys.readouterr().out)

    fitted = said("fit", path, *labels, "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.01)
    assert fitted["converged"] is True
    assert fitted["solver"] == "newton-cg"
    loaded = nbs.SoftmaxModel.load(model)
    found = said("evaluate", model, path, *labels)
    assert found["accuracy"] == loaded.score(X, y)
    assert np.sum(found["confusion"]) == len(y)
    assert run("predict", model, path, "--top-k", 2, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label_1"] for line in lines] == loaded.predict(X).tolist()
    timed = said("bench", "--samples", 100, "--features", 3, "--classes", 2, "--json")
    assert set(timed) == {"softmax", "loss", "loss + gradient", "predict"}
    assert all(entry["seconds"] > 0 for entry in timed.values())


def test_standardised_fits_give_models_of_raw_data(flowers, tmp_path):
    path, X, y = flowers
    out = tmp_path / "m.npz"
    assert run("fit", path, "--target", "species", "--out", out, "--quiet", "--standardize", "--l2", 0.1) == 0
    model = nbs.SoftmaxModel.load(out)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = nbs.Trainer(l2=0.1).fit(scaled, y).model
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(scaled), rtol=1e-10)
    assert model.training["standardized"] is True


def test_sample_weights_come_from_a_column_an_array_or_a_file(flowers, tmp_path, capsys):
    path, X, y = flowers
    weight = np.round(np.random.default_rng(1).uniform(size=len(y)), 3)
    lines = path.read_text().splitlines()
    weighted = [f"{lines[0]},w", *(f"{line},{w}" for line, w in zip(lines[1:], weight, strict=True))]
    (tmp_path / "w.csv").write_text("\n".join(weighted) + "\n")
    np.savez(tmp_path / "w.npz", X=X, y=y, w=weight)
    for name, array in (("X", X), ("y", y), ("w", weight)):
        np.save(tmp_path / f"{name}.npy", array)
    options = "--out", tmp_path / "m.npz", "--quiet", "--C", 2.0
    expected = nbs.Trainer(l2=1 / (2 * weight.sum())).fit(X, y, sample_weight=weight).model.coef
    for arguments in (
        (tmp_path / "w.csv", "--target", "species", "--sample-weight", "w"),
        (tmp_path / "w.npz", "--sample-weight", "w"),
        (tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--sample-weight", tmp_path / "w.npy"),
    ):
        assert run("fit", *arguments, *options) == 0
        saved = nbs.SoftmaxModel.load(tmp_path / "m.npz")
        assert np.array_equal(saved.coef, expected)
    capsys.readouterr()
    missing = tmp_path / "w.csv", "--target", "species", "--sample-weight", "mass"
    assert "'mass'" in refused(capsys, "fit", *missing, *options)


def test_a_share_is_held_out_and_logged(flowers, tmp_path, capsys):
    path, X, y = flowers
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.01
    assert run("fit", path, *options, "--validation", 0.2, "--log", tmp_path / "log", "--seed", 3, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    expected = nbs.Trainer(l2=0.01, validation_fraction=0.2, random_state=3).fit(X, y)
    assert said["validation_loss"] == expected.history["validation_loss"][-1]
    *iterations, _ = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [entry["objective"] for entry in iterations] == expected.history["objective"].tolist()


@pytest.mark.parametrize("class_weight", [(), ("--class-weight", "balanced")])
def test_samples_held_out_have_no_part_in_what_C_means(flowers, tmp_path, class_weight):
    path, _, y = flowers
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet", *class_weight
    assert run("fit", path, *options, "--C", 2, "--validation", 0.25, "--seed", 3) == 0
    training = nbs.SoftmaxModel.load(tmp_path / "m.npz").training
    assert training["n_samples"] < 0.8 * len(y)
    assert training["l2"] == pytest.approx(1 / (2 * training["n_samples"]), rel=1e-14)


def test_samples_held_out_have_no_part_in_the_scales(flowers, tmp_path, capsys):
    _, X, y = flowers
    out = rows_to_hold_out(np.unique(y, return_inverse=True)[1], 0.25, 3)
    far = X + np.where(out, 1e3, 0.0)[:, None]  # seen at once, if they had
    np.savez(tmp_path / "far.npz", X=far, y=y)
    options = "--out", tmp_path / "m.npz", "--quiet", "--json", "--standardize", "--l2", 0.1
    assert run("fit", tmp_path / "far.npz", *options, "--validation", 0.25, "--seed", 3) == 0
    said = json.loads(capsys.readouterr().out)
    mean, scale = X[~out].mean(axis=0), X[~out].std(axis=0)
    expected = nbs.Trainer(l2=0.1).fit(
        (X[~out] - mean) / scale, y[~out], validation_data=((far[out] - mean) / scale, y[out])
    )
    model = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    np.testing.assert_allclose(model.coef, expected.model.coef / scale, rtol=1e-10)
    assert said["validation_loss"] == pytest.approx(expected.history["validation_loss"][-1], rel=1e-10)


def test_inspect_says_what_is_in_a_model(model, tmp_path, capsys):
    assert run("inspect", model) == 0
    out = capsys.readouterr().out
    for word in (
        "classes:  3 (setosa, versicolor, virginica)",
        "features: 2, 0 of them",
        "newton-cg",
        "length",
        "0.01",
    ):
        assert word in out
    assert run("inspect", model, "--json", "--top", 1) == 0
    facts = json.loads(capsys.readouterr().out)
    loaded = nbs.SoftmaxModel.load(model)
    assert facts["training"]["n_samples"] == 90
    j = int(np.abs(loaded.coef[0]).argmax())
    assert facts["largest_weights"]["setosa"] == [{"feature": ("length", "width")[j], "weight": loaded.coef[0, j]}]
    nbs.SoftmaxModel([[1.0], [2.0]], [0, 0], [0, 1]).save(tmp_path / "bare.npz")
    assert run("inspect", tmp_path / "bare.npz") == 0
    assert "how it was trained" not in capsys.readouterr().out


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


# --- data that can be read once ---------------------------------------------------------------------


@pytest.fixture
def piped(monkeypatch):
    """Makes standard input a pipe with a content."""
    with ExitStack() as pipes:

        def pipe(content):
            reading, writing = os.pipe()
            threading.Thread(target=_fill, args=(writing, content), daemon=True).start()
            monkeypatch.setattr(sys, "stdin", pipes.enter_context(open(reading, encoding="utf-8")))

        yield pipe


def _fill(target, content):
    """Write to a pipe, given by its descriptor or name, which waits until somebody reads."""
    with open(target, "wb") as file:
        file.write(content)


def test_every_row_of_a_pipe_is_labelled(model, piped, capsys):
    X = np.round(np.random.default_rng(1).normal(size=(3000, 2)), 3)  # many times the 8 KB that are read at once
    piped(("length,width\n" + "\n".join(f"{a},{b}" for a, b in X)).encode())
    assert run("predict", model, "-", "--out", "-") == 0
    assert capsys.readouterr().out.split() == ["label", *nbs.SoftmaxModel.load(model).predict(X)]


def test_fit_and_evaluate_read_a_pipe_once(flowers, model, piped, tmp_path, capsys):
    path, X, y = flowers
    piped(path.read_bytes())
    assert run("fit", "-", "--target", "species", "--out", tmp_path / "m.npz", "--l2", 0.01, "--quiet") == 0
    assert (tmp_path / "m.npz").read_bytes() == model.read_bytes()
    piped(path.read_bytes())
    capsys.readouterr()
    assert run("evaluate", model, "-", "--target", "species", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == nbs.SoftmaxModel.load(model).score(X, y)


def test_arrays_come_through_a_pipe_too(flowers, model, piped, capsys):
    _, X, y = flowers
    expected = ["label", *nbs.SoftmaxModel.load(model).predict(X)]
    for write in (lambda file: np.save(file, X), lambda file: np.savez(file, X=X, y=y)):
        content = io.BytesIO()
        write(content)
        piped(content.getvalue())
        assert run("predict", model, "-") == 0
        assert capsys.readouterr().out.split() == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_read_once(flowers, model, tmp_path, capsys):
    path, X, _ = flowers
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=_fill, args=(tmp_path / "pipe", path.read_bytes()), daemon=True).start()
    assert run("predict", model, tmp_path / "pipe") == 0
    assert capsys.readouterr().out.split() == ["label", *nbs.SoftmaxModel.load(model).predict(X)]


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="there is no such device here")
def test_the_device_of_standard_input_is_read_once(flowers, model):
    done = in_a_process("predict", model, "/dev/stdin", input=flowers[0].read_text())
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 91


def test_standard_input_that_is_closed_or_empty_is_refused(model, piped, capsys, monkeypatch):
    piped(b"")
    assert "standard input is empty" in refused(capsys, "predict", model, "-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed" in refused(capsys, "predict", model, "-")


@pytest.mark.parametrize("command", ["fit", "cv", "plot", "convert"])
def test_what_is_no_text_is_not_written_to_standard_output(command, model, flowers, capsys):
    data = flowers[0], "--target", "species"
    words = {"fit": data, "cv": data, "plot": ("coefficients", model), "convert": (model,)}[command]
    assert "name one" in misused(capsys, command, *words, *(["--out"] if command != "convert" else []), "-")


# --- options ----------------------------------------------------------------------------------------


def misused(capsys, *arguments):
    """Run a command whose options are wrong; return its one line."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nbsoftmax")
    assert err.count("\n") == 1
    return err


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


def test_the_version_is_said_and_without_a_command_there_is_help(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"nbsoftmax {nbs.__version__}\n"
    assert run() == 0
    out, err = capsys.readouterr()
    assert "usage: nbsoftmax" in out
    assert err == ""


def test_versions_of_all_that_matters_are_shown(capsys):
    nbs.show_versions()
    out = capsys.readouterr().out
    for name, value in {
        "nbsoftmax": nbs.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }.items():
        assert f"{name}: {value}" in out
    for name in ("numba", "llvmlite", "scipy", "threadpoolctl", "CPU", "vector", "threads", "BLAS", "scikit-learn"):
        assert f" {name}: " in out
    file = io.StringIO()
    nbs.show_versions(file)
    assert file.getvalue() == out


# --- mistakes of newcomers --------------------------------------------------------------------------


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


def test_labels_with_a_fraction_are_taken_where_the_model_knows_them(tmp_path, capsys):
    nbs.SoftmaxModel([[1.0], [-1.0], [0.0]], [0, 0, 0], ["1.5", "2.5", "NA"], ["x"]).save(tmp_path / "m.npz")
    (tmp_path / "d.csv").write_text("x,version\n3,1.5\n-3,2.5\n0,NA\n")
    assert run("evaluate", tmp_path / "m.npz", tmp_path / "d.csv", "--target", "version", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 3


# --- an index among the features --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "start"), [("rownames", 1), ("", 0), ("id", 501)])
def test_a_column_that_counts_the_rows_is_warned_of_and_can_be_dropped(flowers, tmp_path, capsys, name, start):
    path, X, y = flowers
    lines = path.read_text().splitlines()
    indexed = tmp_path / "indexed.csv"
    indexed.write_text("\n".join([f'"{name}",{lines[0]}', *(f"{i},{line}" for i, line in enumerate(lines[1:], start))]))
    fit = "fit", indexed, "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.01
    assert run(*fit) == 0
    err = capsys.readouterr().err
    assert err.startswith("nbsoftmax: warning: ")
    drop = f"--drop {name or chr(39) * 2}"
    assert f"{drop} leaves it out" in err
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


# --- weights, sizes, terminals ----------------------------------------------------------------------


def test_cv_and_evaluate_take_weights(flowers, model, tmp_path, capsys):
    path, X, y = flowers
    weight = np.round(np.random.default_rng(1).uniform(0.5, 2, len(y)), 3)
    np.savez(tmp_path / "w.npz", X=X, y=y, w=weight)
    lines = path.read_text().splitlines()
    weighted = [f"{lines[0]},w", *(f"{line},{w}" for line, w in zip(lines[1:], weight, strict=True))]
    (tmp_path / "w.csv").write_text("\n".join(weighted))
    options = "--target", "species", "--sample-weight", "w", "--json"

    assert run("cv", tmp_path / "w.csv", *options, "--Cs", 1, 10, "--folds", 3) == 0
    found = nbs.cross_validate(X, y, Cs=[1, 10], folds=3, sample_weight=weight)
    said = json.loads(capsys.readouterr().out)
    assert said["log_loss"] == found.log_loss.tolist()
    assert said["objective"] == found.result.objective

    trained = nbs.SoftmaxModel.load(model)
    codes = np.searchsorted(SPECIES, y)
    losses = -np.log(trained.predict_proba(X)[np.arange(len(y)), codes])
    for data in ((tmp_path / "w.csv", *options), (tmp_path / "w.npz", "--sample-weight", "w", "--json")):
        assert run("evaluate", model, *data) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["accuracy"] == pytest.approx(weight[trained.predict(X) == y].sum() / weight.sum())
        assert said["log_loss"] == pytest.approx(np.average(losses, weights=weight))
        np.testing.assert_allclose(np.sum(said["confusion"], axis=1), np.bincount(codes, weight))
    assert run("evaluate", model, tmp_path / "w.csv", *options[:-1]) == 0
    assert "weighted" in capsys.readouterr().out
    negative = tmp_path / "negative.csv"
    negative.write_text("length,width,species,w\n1,2,setosa,-1\n1,2,setosa,1\n")
    assert "sample_weight[0] is -1" in refused(capsys, "evaluate", model, negative, *options[:-1])


@pytest.mark.parametrize("size", ["--samples", "--features", "--classes"])
def test_bench_says_what_a_size_would_take(size, capsys):
    said = refused(capsys, "bench", size, 10**18)
    assert "GiB" in said
    assert "this machine has" in said
    for value in (0, -1):
        assert f"{size} is {value}, expected at least" in refused(capsys, "bench", size, value)


@pytest.mark.parametrize(("given", "said"), [(("Unable to allocate 7 TiB",), None), ((), "none is left")])
def test_too_little_memory_is_a_line_and_exit_1(flowers, tmp_path, capsys, monkeypatch, given, said):
    def fail(*_, **__):
        raise MemoryError(*given)

    monkeypatch.setattr(csv, "read", fail)
    assert run("fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz") == 1
    assert capsys.readouterr().err == f"nbsoftmax: there is not enough memory ({said or given[0]})\n"


def test_labels_that_standard_output_cannot_show(tmp_path, capsys, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    model, data = tmp_path / "m.npz", tmp_path / "d.csv"
    nbs.SoftmaxModel([[1.0], [-1.0]], [0, 0], ["plain", "\u0142\u00f3d\u017a"], ["x"]).save(model)
    data.write_text("x,y\n2,plain\n-2,\u0142\u00f3d\u017a\n", encoding="utf-8")
    assert run("predict", model, data) == 2  # a table with other labels would be wrong
    assert terminal.buffer.getvalue() == b""
    assert "--out FILE" in capsys.readouterr().err
    assert run("predict", model, data, "--out", tmp_path / "labels.csv") == 0
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8").split() == ["label", "plain", "\u0142\u00f3d\u017a"]
    for arguments in (("inspect", model), ("evaluate", model, data, "--target", "y")):
        assert run(*arguments) == 0
    assert "\\u0142\\xf3d\\u017a" in terminal.buffer.getvalue().decode()
