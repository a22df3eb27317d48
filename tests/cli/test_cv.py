"""The command `cv`: its table, the model that it saves, and weights."""

import json

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers import newton_cg
from tests.cli.commands import SPECIES, refused, run


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


def test_cv_counts_features_if_some_are_left_out(flowers, tmp_path, capsys):
    options = "--target", "species", "--Cs", 1e-5, 1, "--l1-ratio", 1, "--folds", 3
    assert run("cv", flowers[0], *options) == 0
    header, first, second = capsys.readouterr().out.splitlines()[:3]
    assert header.split()[-1] == "features"
    assert (first.split()[4], second.split()[4]) == ("0.0", "2.0")
    assert run("cv", flowers[0], *options, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_features"] == [[0.0] * 3, [2.0] * 3]


@pytest.mark.parametrize(
    ("Cs", "side"), [((1e-4, 0.01), "largest"), ((10, 1e4, 100), "smallest"), ((1e-4, 1, 1e6), ""), ((1,), "")], ids=str
)
def test_cv_warns_if_the_best_c_is_the_last_on_one_side(tmp_path, capsys, Cs, side):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    np.savez(tmp_path / "d.npz", X=X, y=(X[:, 0] + 2 * rng.logistic(size=120) > 0).astype(int))
    assert run("cv", tmp_path / "d.npz", "--Cs", *Cs, "--folds", 3) == 0
    way = "larger" if side == "largest" else "smaller"
    line = f"nbsoftmax: warning: the best C is the {side} of those compared; try {way} ones with --Cs.\n"
    assert capsys.readouterr().err == (line if side else "")


def test_cv_does_not_advise_a_stronger_penalty_than_one_that_leaves_out_all_features(tmp_path, capsys):
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "d.npz", X=rng.normal(size=(120, 2)), y=rng.integers(0, 2, 120))
    options = "--Cs", 1e-5, 1, "--l1-ratio", 1, "--folds", 3, "--json"
    assert run("cv", tmp_path / "d.npz", *options) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["best"] == 0
    assert err == ""


def test_cv_whose_last_fit_has_not_converged_exits_with_1(flowers, capsys, monkeypatch):
    monkeypatch.setattr(newton_cg, "MAX_ITER", 1)
    assert run("cv", flowers[0], "--target", "species", "--Cs", 1e4, "--folds", 2) == 1
    assert "nbsoftmax fit with --C 10000" in capsys.readouterr().err


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
    assert "line 2 has -1 in column 'w'" in refused(capsys, "evaluate", model, negative, *options[:-1])


def test_cv_penalises_standardized_features_on_request(flowers, tmp_path, capsys):
    path, X, y = flowers
    options = "--target", "species", "--Cs", 0.1, 1, "--folds", 3, "--standardize", "--json"
    assert run("cv", path, *options, "--out", tmp_path / "m.npz") == 0
    found = nbs.cross_validate(X, y, Cs=[0.1, 1], folds=3, standardize=True)
    assert json.loads(capsys.readouterr().out)["log_loss"] == found.log_loss.tolist()
    saved = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert np.array_equal(saved.coef, found.result.model.coef)
    assert saved.training["standardize"] is True


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (("--class-weight", "balanced"), {"class_weight": "balanced"}),
        (("--one-standard-error",), {"refit": "one-standard-error"}),
        (("--seed", 5), {"random_state": 5}),
    ],
)
def test_cv_passes_on_options_of_classes_folds_and_choice(given, options, flowers, capsys):
    path, X, y = flowers
    kept = np.arange(90) % 3 > (y == "setosa")  # fewer of one species
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line for line, keep in zip(lines[1:], kept, strict=True) if keep)]) + "\n")
    Cs = [0.1, 0.6, 3.0, 100.0]
    assert run("cv", path, "--target", "species", "--Cs", *Cs, "--folds", 3, "--json", *given) == 0
    said = json.loads(capsys.readouterr().out)
    found, usual = (nbs.cross_validate(X[kept], y[kept], Cs=Cs, folds=3, **o) for o in (options, {}))
    assert said["log_loss"] == found.log_loss.tolist()
    assert said["objective"] == found.result.objective
    assert said["objective"] != usual.result.objective or said["log_loss"] != usual.log_loss.tolist()
