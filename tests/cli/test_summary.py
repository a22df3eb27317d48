"""`summary`: the numbers of `inference` and of `marginal_effects`, for a saved model and the data of its fit."""

import json

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import refused, run


@pytest.fixture
def table(tmp_path):
    """A CSV of overlapping classes with weights and an offset; returns (path, X, labels, weights, offset)."""
    rng = np.random.default_rng(4)
    X = np.round(rng.normal(size=(120, 2)), 3)
    y = np.array(list("abc"))[(X[:, 0] + rng.gumbel(size=(3, 120)) * 2).argmax(axis=0)]
    weight, offset = rng.integers(1, 4, 120).astype(float), np.round(rng.normal(size=(120, 3)), 3)
    path = tmp_path / "d.csv"
    rows = zip(X.tolist(), y, weight.tolist(), offset.tolist(), strict=True)
    lines = ["u,v,y,w,o1,o2,o3", *(",".join(map(str, (*x, k, s, *o))) for x, k, s, o in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path, X, y, weight, offset


def numbers(table):
    names = [name for name in table[0] if name not in ("class", "column")]
    return np.array([[row[name] for name in names] for row in table])


@pytest.mark.parametrize("intercept", [True, False])
def test_the_table_is_that_of_inference(table, tmp_path, capsys, intercept):
    path, X, y, weight, offset = table
    model, given = tmp_path / "m.npz", ("--target", "y", "--sample-weight", "w", "--offset", "o1,o2,o3")
    fit = *given, "--l2", 0, "--tol", 1e-10, "--out", model, "--quiet"
    assert run("fit", path, *fit, *(() if intercept else ("--no-intercept",))) == 0
    capsys.readouterr()
    beside = {"sample_weight": weight, "offset": offset, "fit_intercept": intercept}
    for cov in ("fisher", "HC1"):
        expected = nbs.inference(nbs.SoftmaxModel.load(model), X, y, cov=cov, reference="c", **beside)
        options = model, path, *given, "--cov", cov, "--reference", "c"
        assert run("summary", *options) == 0
        assert capsys.readouterr().out == expected.summary() + "\n"
        assert run("summary", *options, "--exp", "--level", 0.9, "--json") == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["reference"], facts["covariance"]) == ("c", cov)
        assert facts["log_likelihood"] == pytest.approx(expected.log_likelihood, rel=1e-12)
        frame = expected.to_frame(level=0.9, exp=True)
        assert [row["column"] for row in facts["table"]] == frame["column"].tolist()
        np.testing.assert_allclose(numbers(facts["table"]), frame.iloc[:, 2:].to_numpy(), rtol=1e-9)
    assert run("summary", model, path, *given, "--effects", "--json") == 0
    effects = json.loads(capsys.readouterr().out)["table"]
    expected = nbs.inference(nbs.SoftmaxModel.load(model), X, y, **beside).marginal_effects()
    np.testing.assert_allclose([row["value"] for row in effects], expected.effects.T.ravel(), rtol=1e-9)
    np.testing.assert_allclose([row["std_error"] for row in effects], expected.std_errors.T.ravel(), rtol=1e-9)
    assert run("summary", model, path, *given, "--effects") == 0
    assert "Marginal Effects" in capsys.readouterr().out
    assert "--level is 2" in refused(capsys, "summary", model, path, *given, "--level", 2)


def test_mistakes_about_summaries_are_named(table, tmp_path, capsys):
    path, *_ = table
    model, given = tmp_path / "m.npz", ("--target", "y", "--drop", "w,o1,o2,o3")
    assert run("fit", path, *given, "--out", model, "--C", 1e-3, "--quiet") == 0
    capsys.readouterr()
    assert "penalty" in refused(capsys, "summary", model, path, *given)
    assert "--reference is 'd', which is not a class; expected one of ['a', 'b', 'c']" in refused(
        capsys, "summary", model, path, *given, "--reference", "d"
    )
    assert "give the model first" in refused(capsys, "summary", path, model, *given)


def test_a_model_knows_whether_it_has_intercepts(table):
    _, X, y, *_ = table
    for intercept in (True, False):
        model = nbs.Trainer(fit_intercept=intercept, tol=1e-10).fit(X, y).model
        assert nbs.inference(model, X, y).names == (("x0", "x1", "const") if intercept else ("x0", "x1"))
