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
    assert refused(capsys, "summary", model, path, *given, "--level", 95).startswith("nbsoftmax: --level is 95")


def test_a_model_knows_whether_it_has_intercepts(table):
    _, X, y, *_ = table
    for intercept in (True, False):
        model = nbs.Trainer(fit_intercept=intercept, tol=1e-10).fit(X, y).model
        assert nbs.inference(model, X, y).names == (("x0", "x1", "const") if intercept else ("x0", "x1"))


@pytest.mark.filterwarnings("ignore:20 of 200 rows")
def test_standard_errors_by_cluster_and_effects_of_columns_are_those_of_python(tmp_path, capsys):
    pytest.importorskip("formulaic")
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=200).round(3), "site": rng.choice(["n", "s"], 200)})
    frame["who"] = [f"0{i}" for i in rng.integers(0, 30, 200)]
    frame["y"] = np.array(list("abc"))[(frame[["x"]].to_numpy() * [0, 1, 2] + rng.gumbel(size=(200, 3))).argmax(axis=1)]
    frame["w"] = rng.integers(1, 4, 200).astype(float)
    frame.loc[::10, "x"] = np.nan  # these rows are left out, with their groups
    path, model = tmp_path / "d.csv", tmp_path / "m.npz"
    frame.to_csv(path, index=False)
    weighted = "--sample-weight", "w"
    fit = "--formula", "y ~ x * site", "--l2", 0, "--missing", "drop", *weighted, "--out", model, "--quiet"
    assert run("fit", path, *fit) == 0
    capsys.readouterr()
    python = nbs.inference(
        nbs.SoftmaxModel.load(model),
        frame,
        frame["y"],
        sample_weight=frame["w"],
        cov="cluster",
        groups=frame["who"],
    )
    for options, expected in (
        ((), python),
        (("--column-effects",), python.marginal_effects(frame, columns=True, sample_weight=frame["w"])),
    ):
        assert run("summary", model, path, "--cluster", "who", *weighted, *options) == 0
        assert capsys.readouterr().out == expected.summary() + "\n"
    out = tmp_path / "p.png"
    pytest.importorskip("matplotlib")
    assert run("plot", "effects", model, path, *weighted, "--column-effects", "--out", out) == 0
    assert out.exists()
    capsys.readouterr()
    said = refused(capsys, "plot", "confusion", model, path, "--column-effects", "--out", out)
    assert "--column-effects is for plot effects" in said
    assert "--cluster and --cov HC0" in refused(capsys, "summary", model, path, "--cluster", "who", "--cov", "HC0")
    said = refused(capsys, "summary", model, path, "--cluster", "whom")
    assert "no column 'whom' for --cluster" in said
    assert "did you mean 'who'" in said
    for name, role in (("y", "labels"), ("w", "weights")):
        said = refused(capsys, "summary", model, path, *weighted, "--cluster", name)
        assert f"--cluster names '{name}', the column of {role}; give a column of groups" in said
    frame.loc[3, "who"] = None
    frame.to_csv(path, index=False)
    said = refused(capsys, "summary", model, path, *weighted, "--cluster", "who")
    assert "d.csv line 5 has no value in column 'who' of --cluster" in said


def test_effects_of_columns_need_a_formula(table, tmp_path, capsys):
    path, *_ = table
    model, given = tmp_path / "m.npz", ("--target", "y", "--drop", "w,o1,o2,o3")
    assert run("fit", path, *given, "--out", model, "--l2", 0, "--quiet") == 0
    capsys.readouterr()
    assert "fit --formula" in refused(capsys, "summary", model, path, *given, "--column-effects")
