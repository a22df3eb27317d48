"""The command line: what each command prints, writes and returns."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import callbacks, cli, cross_validation
from nbsoftmax.data import csv

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
        assert run("fit", path, *common, *options) == 0

    fit("whole.npz")
    fit("first.npz", "--checkpoint", tmp_path / "c", "--max-iter", 3)
    assert "max_iter" in capsys.readouterr().out
    fit("resumed.npz", "--checkpoint", tmp_path / "c", "--resume")
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
    assert "learning_rate" in refused(
        capsys, "fit", path, "--target", "species", "--out", out, "--learning-rate", 0.1, "--quiet"
    )
    assert "is no model" in refused(capsys, "predict", path, path)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(model.read_bytes()[:300])
    assert "cut.npz is no model, or a damaged one" in refused(capsys, "evaluate", cut, path, "--target", "species")
    other = tmp_path / "other.csv"
    other.write_text("length,height\n1,2\n", encoding="utf-8")
    assert "lacks the column 'width'" in refused(capsys, "predict", model, other)
    np.save(tmp_path / "X3.npy", np.zeros((2, 3)))
    assert "X has 3 features, but the model was trained on 2" in refused(capsys, "predict", model, tmp_path / "X3.npy")
    assert "k is 9" in refused(capsys, "predict", model, path, "--top-k", 9)


def test_unknown_options_exit_with_2():
    with pytest.raises(SystemExit) as caught:
        run("fit", "--no-such-option")
    assert caught.value.code == 2


def test_not_converging_is_said_and_the_model_saved(flowers, tmp_path, capsys):
    path = tmp_path / "m.npz"
    assert run("fit", flowers[0], "--target", "species", "--out", path, "--max-iter", 1, "--quiet") == 0
    assert "NOT converged: max_iter reached" in capsys.readouterr().out
    assert path.exists()


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
    assert nbs.SoftmaxModel.load(said["model"]).n_classes == 3
    assert (path.read_bytes() == b"a good model") if existing else not path.exists()


def test_an_interrupted_search_exits_with_130_and_overwrites_nothing(flowers, tmp_path, capsys, monkeypatch):
    path, *_ = flowers
    out = tmp_path / "m.npz"
    out.write_bytes(b"a good model")
    search = "cv", path, "--target", "species", "--Cs", 1, "--folds", 2, "--out", out
    whole = cross_validation.cross_validate

    def interrupted_at_last(*arguments, **options):
        found = whole(*arguments, **options)
        return replace(found, result=replace(found.result, reason="interrupted"))

    monkeypatch.setattr(cross_validation, "cross_validate", interrupted_at_last)
    assert run(*search) == 130
    assert (tmp_path / "m.partial.npz").exists()

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
        if context.now.iteration == 3:
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
        "l2 = [": "is no TOML",
        "l2 = 1": "outside of a table",
        "[fit]\nl2 = 1979-05-27": "expected",
    }.items():
        config.write_text(text)
        assert said in refused(capsys, *fit)
    config.write_text("[fit]\nlambda = 1")
    with pytest.raises(SystemExit) as error:
        run(*fit)
    assert error.value.code == 2
    assert "--lambda" in capsys.readouterr().err


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
    assert facts["biggest_weights"]["setosa"] == [{"feature": ("length", "width")[j], "weight": loaded.coef[0, j]}]
    nbs.SoftmaxModel([[1.0], [2.0]], [0, 0], [0, 1]).save(tmp_path / "bare.npz")
    assert run("inspect", tmp_path / "bare.npz") == 0
    assert "how it was trained" not in capsys.readouterr().out


def test_plot_draws_every_kind(flowers, model, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, *_ = flowers
    out = tmp_path / "p.png"
    fit = "fit", path, "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--log", tmp_path / "log"
    assert run(*fit) == 0
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
