"""The command `fit`: the model that it saves, its options and its exit code."""

import json

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.problem import rows_to_hold_out
from tests.cli.commands import SPECIES, misused, refused, run


def test_l1_and_grouped_are_those_of_the_trainer(flowers, tmp_path, capsys):
    path, X, y = flowers
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet"
    assert run("fit", path, *options, "--l1", 0.05, "--grouped") == 0
    assert "(prox-newton)" in capsys.readouterr().out
    coef = nbs.SoftmaxModel.load(tmp_path / "m.npz").coef
    assert np.array_equal(coef, nbs.Trainer(l1=0.05, grouped=True).fit(X, y).model.coef)
    assert "how --l1 is applied, which is 0" in refused(capsys, "fit", path, *options, "--grouped")


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
    assert fit("first.npz", "--checkpoint", tmp_path / "c", "--resume", "--max-iter", 3) == 1
    said = capsys.readouterr()
    assert "max_iter" in said.out
    assert f"{tmp_path / 'c'} does not exist, so the fit starts from the beginning" in said.err
    assert fit("resumed.npz", "--checkpoint", tmp_path / "c", "--resume") == 0
    assert "from the beginning" not in capsys.readouterr().err
    whole, resumed = (nbs.SoftmaxModel.load(tmp_path / name) for name in ("whole.npz", "resumed.npz"))
    assert whole.coef.tobytes() == resumed.coef.tobytes()


def test_a_fit_whose_coefficients_are_not_determined_says_so(tmp_path, capsys):
    rng = np.random.default_rng(0)
    path = tmp_path / "d.csv"
    rows = zip(rng.normal(size=60).round(3), rng.choice(["red", "blue"], 60), rng.choice(["a", "b"], 60), strict=True)
    path.write_text("\n".join(["size,colour,kind", *(",".join(map(str, row)) for row in rows)]), encoding="utf-8")
    fit = "fit", path, "--target", "kind", "--out", tmp_path / "m.npz", "--quiet"
    for options, determined in (((), False), (("--drop-first",), True), (("--drop", "colour"), True)):
        assert run(*fit, "--l2", 0, *options) == 0
        assert ("levels: the features of 'colour' and the intercept" in capsys.readouterr().out) != determined
        assert run("summary", tmp_path / "m.npz", path, "--target", "kind") == (0 if determined else 2)
        assert ("--drop-first" in capsys.readouterr().err) != determined
    assert run(*fit) == 0
    assert "levels:" not in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("--max-iter", 1), "increase --max-iter, scale the features (--standardize), or add or increase --l2"),
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
    assert run(*fit, "--l2", 0) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["converged"] is False
    assert "add or increase --l2 (from 0, for example to 1e-4)" in err
    assert run(*fit, "--l2", 1e-4) == 0
    assert capsys.readouterr().err == ""


def test_a_fit_that_ends_as_it_was_asked_to_exits_with_0(flowers, tmp_path, capsys):
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--validation", 0.2
    assert run("fit", flowers[0], *options, "--early-stopping", 1, "--solver", "gd", "--l2", 1e-6) == 0
    out, err = capsys.readouterr()
    assert "early stopping" in out
    assert err == ""


STANDARDIZE = "--standardize", "--l2", 0.1, "--tol", 1e-12


def test_standardised_fits_give_models_of_raw_data(flowers, tmp_path):
    path, X, y = flowers
    out = tmp_path / "m.npz"
    assert run("fit", path, "--target", "species", "--out", out, "--quiet", *STANDARDIZE) == 0
    model = nbs.SoftmaxModel.load(out)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = nbs.Trainer(l2=0.1, tol=1e-12).fit(scaled, y).model
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(scaled), rtol=1e-5)
    assert model.training["standardize"] is True


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
    options = "--out", tmp_path / "m.npz", "--quiet", "--json", *STANDARDIZE
    assert run("fit", tmp_path / "far.npz", *options, "--validation", 0.25, "--seed", 3) == 0
    said = json.loads(capsys.readouterr().out)
    mean, scale = X[~out].mean(axis=0), X[~out].std(axis=0)
    expected = nbs.Trainer(l2=0.1, tol=1e-12).fit(
        (X[~out] - mean) / scale, y[~out], validation_data=((far[out] - mean) / scale, y[out])
    )
    model = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    np.testing.assert_allclose(model.coef, expected.model.coef / scale, rtol=1e-4, atol=1e-7)
    assert said["validation_loss"] == pytest.approx(expected.history["validation_loss"][-1], rel=1e-6)


def test_named_features_are_not_penalised(flowers, tmp_path, capsys):
    path, X, y = flowers
    out, data = tmp_path / "m.npz", (path, "--target", "species", "--quiet")
    assert run("fit", *data, "--out", out, "--l2", 10, "--tol", 1e-11, "--unpenalised", "width") == 0
    expected = nbs.Trainer(l2=10.0, tol=1e-11, penalty_weight=[1, 0]).fit(X, y).model
    # Each is within tol J of the minimum, where the curvature of the loss leaves those of the width an error of 1.9e-5.
    np.testing.assert_allclose(nbs.SoftmaxModel.load(out).coef, expected.coef, rtol=0, atol=5e-5)
    np.savez(tmp_path / "flowers.npz", X=X, y=y)
    assert run("cv", tmp_path / "flowers.npz", "--out", out, "--Cs", 1e-3, 1e-2, "--unpenalised", "x1") == 0
    coef = np.abs(nbs.SoftmaxModel.load(out).coef).max(axis=0)
    assert coef[1] > 10 * coef[0]
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.csv").write_bytes(path.read_bytes())
    several = "cv", tmp_path / "parts", "--target", "species", "--out", out, "--Cs", 1e-3, 1e-2
    assert run(*several, "--unpenalised", "width") == 0
    coef = np.abs(nbs.SoftmaxModel.load(out).coef).max(axis=0)
    assert coef[1] > 10 * coef[0]
    capsys.readouterr()
    err = refused(capsys, "fit", *data, "--out", out, "--unpenalised", "petal")
    assert "--unpenalised names 'petal', which is not a feature; the features are ['length', 'width']." in err


@pytest.mark.parametrize("bounds", [("-inf", 0.125), (0, "inf"), ("-2.5e-1", "+.25")])
def test_bounds_are_those_of_the_trainer(flowers, tmp_path, bounds):
    path, X, y = flowers
    out, pair = tmp_path / "m.npz", tuple(map(float, bounds))
    assert run("fit", path, "--target", "species", "--quiet", "--l2", 0.01, "--bounds", *bounds, "--out", out) == 0
    coef = nbs.SoftmaxModel.load(out).coef
    assert np.array_equal(coef, nbs.Trainer(l2=0.01, bounds=pair).fit(X, y).model.coef)
    assert ((coef == pair[0]) | (coef == pair[1])).any()
    (tmp_path / "run.toml").write_text(f"[cv]\nCs = [0.1, 1]\nbounds = [{bounds[0]}, {pair[1]}]")
    assert run("cv", path, "--target", "species", "--config", tmp_path / "run.toml", "--out", out) == 0
    coef = nbs.SoftmaxModel.load(out).coef
    assert ((coef >= pair[0]) & (coef <= pair[1])).all()
    assert ((coef == pair[0]) | (coef == pair[1])).any()


def test_bounds_that_cannot_be_kept_are_refused(flowers, tmp_path, capsys):
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz"
    err = refused(capsys, *fit, "--bounds", 1, 0)
    assert err == "nbsoftmax: --bounds: the lower bound 1 is above the upper bound 0; give low <= high.\n"
    assert "--bounds: the lower bounds contain nan" in refused(capsys, *fit, "--bounds", "nan", 0)
    assert "--bounds are given, which solver 'lbfgs'" in refused(capsys, *fit, "--bounds", 0, 1, "--solver", "lbfgs")
    assert "argument --bounds: invalid float value: 'no'" in misused(capsys, *fit, "--bounds", "no", 1)
    assert "argument --bounds: expected 2 arguments" in misused(capsys, *fit, "--bounds", 1)
    assert not (tmp_path / "m.npz").exists()


def test_firth_gives_finite_coefficients_for_separable_classes(tmp_path, capsys):
    rows = [f"{x},{'low' if x < 0 else 'high'}" for x in (-3, -2, -1, 1, 2, 3)]
    (tmp_path / "d.csv").write_text("\n".join(["x,y", *rows]), encoding="utf-8")
    fit = ("fit", tmp_path / "d.csv", "--target", "y", "--out", tmp_path / "m.npz", "--quiet")
    assert run(*fit, "--l2", 0) == 1
    assert "--firth" in capsys.readouterr().err
    assert run(*fit, "--firth") == 0
    assert "gap to the minimum" not in capsys.readouterr().out  # none is known
    assert np.abs(nbs.SoftmaxModel.load(tmp_path / "m.npz").coef).max() < 3
    assert "not allowed with" in misused(capsys, *fit, "--firth", "--l2", "0.1")
    assert "newton-cg" in refused(capsys, *fit, "--firth", "--solver", "newton-cg")
