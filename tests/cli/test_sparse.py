"""Commands on sparse data: files of scipy.sparse.save_npz, and svmlight files."""

import json
import sys

import numpy as np
import pytest
import scipy.sparse as sp

import nbsoftmax as nbs
from nbsoftmax.data import source
from tests.cli.commands import in_a_process, refused, run

RNG = np.random.default_rng(0)
X = np.where(RNG.uniform(size=(90, 8)) < 0.4, np.round(RNG.normal(size=(90, 8)) + 0.5, 3), 0.0)
X[5] = 0.0
X[:, 7] = 0.0
X[0, 7] = 1.0
Y = (X @ RNG.normal(size=(8, 3)) + RNG.gumbel(size=(90, 3))).argmax(axis=1)
OPTIONS = "--l2", 0.01, "--quiet"


def svmlight(path, X, y, *, first=1, end=""):
    lines = [
        f"{label} " + " ".join(f"{j + first}:{row[j]}" for j in np.flatnonzero(row)) + end
        for label, row in zip(y.tolist(), X.tolist(), strict=True)
        for row in [np.array(row)]
    ]
    path.write_text("# data of a test\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "w.npy", np.arange(1.0, 91.0))
    sp.save_npz(tmp_path / "X.npz", sp.csr_array(X))
    svmlight(tmp_path / "data.txt", X, Y)
    return tmp_path


def coef(path):
    return nbs.SoftmaxModel.load(path).coef


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_matrix", "coo_array", "bsr_matrix", "dia_array"])
def test_fit_reads_the_files_of_scipy(files, kind):
    sp.save_npz(files / "other.npz", getattr(sp, kind)(X))
    assert run("fit", files / "other.npz", "--labels", files / "y.npy", "--out", files / "m.npz", *OPTIONS) == 0
    assert np.array_equal(coef(files / "m.npz"), nbs.Trainer(l2=0.01).fit(sp.csr_array(X), Y).model.coef)


def test_every_command_reads_both_kinds_of_files(files, capsys):
    sparse = files / "X.npz", "--labels", files / "y.npy"
    lines = (files / "data.txt",)
    for data, out in ((sparse, "a.npz"), (lines, "b.npz")):
        assert run("fit", *data, "--out", files / out, *OPTIONS) == 0
    assert np.array_equal(coef(files / "a.npz"), coef(files / "b.npz"))
    capsys.readouterr()
    model = nbs.SoftmaxModel.load(files / "a.npz")
    for data in (sparse, lines):
        assert run("evaluate", files / "a.npz", *data, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["accuracy"] == model.score(X, Y)
        assert run("predict", files / "a.npz", data[0], "--proba") == 0
        rows = capsys.readouterr().out.splitlines()[1:]
        proba = np.array([[float(f) for f in row.split(",")[1:]] for row in rows])
        assert np.allclose(proba, model.predict_proba(X), rtol=1e-14, atol=0)
        assert run("cv", *data, "--Cs", 0.1, 1.0, "--folds", 3, "--json") == 0
        assert np.shape(json.loads(capsys.readouterr().out)["log_loss"]) == (2, 3)


def test_weights_are_read_from_a_file(files):
    for data in ((files / "X.npz", "--labels", files / "y.npy"), (files / "data.txt",)):
        options = "--sample-weight", files / "w.npy", "--out", files / "m.npz", *OPTIONS
        assert run("fit", *data, *options) == 0
        trained = nbs.Trainer(l2=0.01).fit(sp.csr_array(X), Y, sample_weight=np.arange(1.0, 91.0))
        assert np.array_equal(coef(files / "m.npz"), trained.model.coef)


@pytest.mark.parametrize("options", [(), ("--no-intercept",)])
def test_standardised_features_are_scaled_but_stay_sparse(files, options):
    np.savez(files / "dense.npz", X=X, y=Y)
    fit = "--standardize", "--tol", 1e-10, *options, *OPTIONS
    assert run("fit", files / "data.txt", "--out", files / "a.npz", *fit) == 0
    assert run("fit", files / "dense.npz", "--out", files / "b.npz", *fit) == 0
    ours, theirs = (nbs.SoftmaxModel.load(files / name) for name in ("a.npz", "b.npz"))
    # The intercept, which has no penalty, makes up for the means, so that both have one minimum.
    assert np.allclose(ours.coef, theirs.coef, atol=1e-4)
    assert np.allclose(ours.intercept, theirs.intercept, atol=1e-4)


def test_features_are_numbered_from_1_or_0(files):
    svmlight(files / "zero.svm", X, Y, first=0)
    svmlight(files / "no_first.svm", np.hstack([np.zeros((90, 1)), X]), Y, first=0)
    expected = coef_of(files, "data.txt")
    assert np.array_equal(coef_of(files, "zero.svm"), expected)  # the number 0 occurs
    assert np.array_equal(coef_of(files, "no_first.svm"), expected)
    wider = coef_of(files, "no_first.svm", "--zero-based")
    assert not wider[:, 0].any()
    assert np.allclose(wider[:, 1:], expected, rtol=0, atol=1e-8)  # sums in another order


def coef_of(files, name, *options):
    assert run("fit", files / name, "--out", files / "m.npz", *OPTIONS, *options) == 0
    return coef(files / "m.npz")


def test_a_part_without_the_last_features_has_those_of_the_model(files, capsys):
    assert run("fit", files / "data.txt", "--out", files / "m.npz", *OPTIONS) == 0
    svmlight(files / "part.svm", X[1:20], Y[1:20])
    capsys.readouterr()
    assert run("predict", files / "m.npz", files / "part.svm") == 0
    labels = [int(line) for line in capsys.readouterr().out.split()[1:]]
    assert labels == nbs.SoftmaxModel.load(files / "m.npz").predict(X[1:20]).tolist()
    wide = svmlight(files / "wide.svm", np.hstack([X, np.ones((90, 1))]), Y)
    assert "has the feature 9" in refused(capsys, "predict", files / "m.npz", wide)


def test_standard_input_may_be_an_svmlight_file(files):
    with open(files / "data.txt", "rb") as file:
        done = in_a_process("fit", "-", "--out", files / "m.npz", *OPTIONS, stdin=file)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(coef(files / "m.npz"), nbs.Trainer(l2=0.01).fit(sp.csr_array(X), Y).model.coef)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3 1:0.5 7:1.25 # one\n", "svmlight"),
        ("# first\n\n2\n-1 qid:4 3:-1e-3\n", "svmlight"),
        ("+1.0 1:.5\r\n", "svmlight"),
        ("a,b\n1,2\n", "text"),
        ("1\n2\n3\n", "text"),
        ("x\n1 1:2\n", "text"),
        ("1 12:30,4\n", "svmlight"),  # its reader refuses it
        ("", "text"),
    ],
)
def test_an_svmlight_file_is_recognised_by_its_first_line(tmp_path, text, kind):
    (tmp_path / "data").write_text(text, encoding="utf-8")
    with source.opened(tmp_path / "data") as opened:
        assert source.kind(opened) == kind
        assert opened.file.tell() == 0


def test_mistakes_are_refused_in_one_line(files, capsys):
    fit = "--out", files / "m.npz", "--quiet"
    lines, sparse = files / "data.txt", files / "X.npz"
    assert "has no labels; give them with --labels" in refused(capsys, "fit", sparse, *fit)
    assert "no --target" in refused(capsys, "fit", lines, "--target", "y", *fit)
    assert "no --labels" in refused(capsys, "fit", lines, "--labels", files / "y.npy", *fit)
    assert "--drop is for columns" in refused(capsys, "fit", lines, "--drop", "a", *fit)
    assert "but X is sparse" in refused(capsys, "fit", lines, "--device", "cuda", *fit)
    (files / "bad.svm").write_text("1 2:3 1:4\n2 1:x\n")
    assert "cannot be read as an svmlight file" in refused(capsys, "fit", files / "bad.svm", *fit)
    (files / "far.svm").write_text("1 2147483648:3\n2 1:1\n")
    assert "far.svm cannot be read as an svmlight file" in refused(capsys, "fit", files / "far.svm", *fit)
    (files / "nan.svm").write_text("1 1:3 2:4\n2 1:1 2:nan\n")
    assert "nan at row 1, column 1" in refused(capsys, "fit", files / "nan.svm", *fit)
    (files / "prices.svm").write_text("1.5 1:3 2:4\n2 1:1 2:0\n")
    assert "continuous values cannot be labels" in refused(capsys, "fit", files / "prices.svm", *fit)
    content = bytearray(sparse.read_bytes())
    content[len(content) // 2] ^= 255
    (files / "cut.npz").write_bytes(content)
    assert "damaged NumPy file" in refused(capsys, "fit", files / "cut.npz", "--labels", files / "y.npy", *fit)


def test_without_scikit_learn_the_message_says_what_to_install(files, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    said = refused(capsys, "fit", files / "data.txt", "--out", files / "m.npz")
    assert 'pip install "nbsoftmax[sklearn]"' in said


@pytest.mark.parametrize("command", ["fit", "cv"])
def test_files_are_numbered_as_that_of_the_model(command, files, capsys):
    shifted = np.where(np.arange(8) == 0, 0.0, X)  # without the first feature
    options = ("--Cs", 1, "--folds", 2) if command == "cv" else OPTIONS
    svmlight(files / "zero.svm", X, Y, first=0)
    part, one_based = svmlight(files / "part.svm", shifted, Y, first=0), svmlight(files / "one.svm", shifted, Y)
    assert run(command, files / "zero.svm", "--out", files / "m.npz", *options) == 0
    model = nbs.SoftmaxModel.load(files / "m.npz")
    assert model.training["svmlight_zero_based"]
    capsys.readouterr()
    assert run("predict", files / "m.npz", part) == 0
    assert [int(line) for line in capsys.readouterr().out.split()[1:]] == model.predict(shifted).tolist()
    assert run(command, files / "data.txt", "--out", files / "m.npz", *options) == 0
    capsys.readouterr()
    assert run("predict", files / "m.npz", one_based) == 0
    assert [int(line) for line in capsys.readouterr().out.split()[1:]] == model.predict(shifted).tolist()
    zero = refused(capsys, "predict", files / "m.npz", files / "zero.svm")
    assert "has the feature 0, but those of the training are numbered from 1" in zero


def test_validation_data_are_numbered_as_the_training(files):
    shifted = np.where(np.arange(8) == 0, 0.0, X)
    svmlight(files / "zero.svm", X, Y, first=0)
    svmlight(files / "part.svm", shifted, Y, first=0)
    given = "--validation-data", files / "part.svm", "--log", files / "log"
    assert run("fit", files / "zero.svm", *given, "--out", files / "m.npz", *OPTIONS) == 0
    model = nbs.SoftmaxModel.load(files / "m.npz")
    expected = nbs.cross_entropy(model.decision_function(shifted), Y)
    losses = [json.loads(line).get("validation_loss") for line in (files / "log").read_text().splitlines()]
    assert losses[-2] == pytest.approx(expected, rel=1e-3)
