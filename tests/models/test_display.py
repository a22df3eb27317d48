"""What results look like as text and in a notebook."""

import re

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.models.display import MOST_ROWS

LABELS = np.array(["<script>", "b & c", "third"])


def data(m=200, n_features=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, n_features))
    return X, LABELS[(X @ rng.normal(size=(n_features, 3)) + rng.gumbel(size=(m, 3))).argmax(axis=1)]


@pytest.fixture(scope="module")
def results():
    X, y = data()
    result = nbs.Trainer().fit(X, y)
    codes = np.unique(y, return_inverse=True)[1]
    return {
        "FitResult": result,
        "SoftmaxModel": result.model,
        "Inference": result.inference(),
        "CVResult": nbs.cross_validate(X, y, Cs=MOST_ROWS + 3, folds=3),
        "PathResult": nbs.fit_path(X, y, l2s=[0.1, 0.2]),
        "Reliability": nbs.reliability(codes, result.model.predict_proba(X)),
        "ProbaInterval": result.inference().predict_interval(X),
    }


NAMES = ["FitResult", "SoftmaxModel", "Inference", "CVResult", "PathResult", "Reliability", "ProbaInterval"]


@pytest.mark.parametrize("name", NAMES)
def test_the_repr_of_a_result_is_at_most_five_short_lines_without_arrays(results, name):
    text = repr(results[name])
    assert text.startswith(f"{name}: ")
    assert len(text.splitlines()) <= 5
    assert max(map(len, text.splitlines())) <= 150
    assert "array(" not in text


@pytest.mark.parametrize("name", NAMES)
def test_html_escapes_labels_and_closes_its_elements(results, name):
    html = results[name]._repr_html_()
    assert "<script>" not in html
    assert "& c" not in html
    for element in ("table", "tr", "td", "th", "p", "b"):
        assert html.count(f"<{element}>") == html.count(f"</{element}>")


def test_a_hostile_feature_name_is_escaped_too():
    model = nbs.SoftmaxModel(np.eye(2), np.zeros(2), ["a", "b"], ["<img src=x>", "new\nline"])
    assert "<img" not in model._repr_html_()
    assert len(repr(model).splitlines()) <= 5


def test_html_tables_have_a_row_for_each_class_or_penalty_up_to_a_limit(results):
    rows = {name: len(re.findall("<tr>", results[name]._repr_html_())) - 1 for name in NAMES[:4]}
    assert rows["SoftmaxModel"] == 3
    assert rows["Inference"] == 2 * 4
    assert rows["CVResult"] == MOST_ROWS
    assert "3 more rows" in results["CVResult"]._repr_html_()


def test_the_repr_of_a_fit_says_whether_it_converged():
    X, y = data()
    with pytest.warns(nbs.ConvergenceWarning):
        stopped = nbs.Trainer(max_iter=1).fit(X, y)
    assert repr(stopped).startswith("FitResult: not converged, 1 iteration of newton-cg")
    assert stopped.reason in repr(stopped)


def test_the_repr_of_a_trainer_shows_the_options_that_are_not_default():
    assert repr(nbs.Trainer()) == "Trainer()"
    assert repr(nbs.Trainer(solver="lbfgs", l2=0.001)) == "Trainer(l2=0.001, solver='lbfgs')"
    assert repr(nbs.Trainer(max_seconds=2.0, verbose=True)) == "Trainer(max_seconds=2.0, verbose=True)"
    assert repr(nbs.Trainer(class_weight=np.ones(3))) == "Trainer(class_weight=array([1., 1., 1.]))"
