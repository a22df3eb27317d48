"""Displays refuse what they cannot draw in one line, and leave the axes that they were given as they were."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.errors import a_type

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from nbsoftmax import plots

RNG = np.random.default_rng(11)
X = RNG.normal(size=(90, 2))
Y = np.array(["ash", "beech", "cedar"])[(X @ RNG.normal(size=(2, 3)) + RNG.gumbel(size=(90, 3))).argmax(axis=1)]
PROBA = RNG.dirichlet(np.ones(2), 90)


@pytest.fixture(scope="module")
def result():
    return nbs.Trainer(l2=0.1).fit(X, Y)


@pytest.fixture(scope="module")
def path():
    return nbs.fit_path(X, Y, l2s=[0.1, 1.0])


def test_labels_of_a_confusion_matrix_that_are_not_in_y_true_are_refused():
    draw = plots.ConfusionDisplay.from_predictions
    for labels, message in (
        ([], "labels is empty"),
        (["q"], "labels is 'q', but y_true has none of them"),
        (["ash", "beech", "ash"], "labels contains 'ash' twice"),
    ):
        with pytest.raises(nbs.InputValueError, match=message):
            draw(Y, Y, labels=labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values_format": 3}, "values_format is 3, which cannot format"),
        ({"values_format": "zz"}, "values_format is 'zz', which cannot format"),
        ({"display_labels": 3}, "display_labels is 3, expected a sequence of names"),
        ({"display_labels": "abc"}, "display_labels is 'abc', expected a sequence of names"),
        ({"display_labels": ["a"]}, "display_labels has 1 name, expected 3"),
    ],
)
def test_names_and_formats_of_a_confusion_matrix_that_are_none_are_refused(options, message):
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
        plots.ConfusionDisplay.from_predictions(Y, Y, **options)


@pytest.mark.parametrize(
    ("y_prob", "options", "message"),
    [
        (np.full(90, "0.5"), {}, "y_prob has dtype <U3, expected float32 or float64"),
        (np.full(90, np.nan), {}, "y_prob is nan at row 0, expected probabilities from 0 to 1"),
        (np.full(90, 1.5), {}, "y_prob is 1.5 at row 0"),
        (PROBA, {"labels": 3}, "labels has dtype int64"),
        (PROBA, {"labels": [1, 1]}, "labels contains a label twice"),
        (PROBA, {"labels": [1]}, "labels has 1 label, expected at least 2"),
    ],
)
def test_probabilities_and_labels_of_a_reliability_curve_that_are_none_are_refused(y_prob, options, message):
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
        plots.ReliabilityDisplay.from_predictions(np.arange(90) % 2, y_prob, **options)


def test_what_is_no_fit_is_no_convergence(result):
    draw = plots.ConvergenceDisplay.from_result
    for given, message in (
        (result.model, "result is a SoftmaxModel, expected a FitResult or a dict"),
        ([result, result], "result is a list"),
        ({"a": result, "b": result.model}, r"result\['b'\] is a SoftmaxModel"),
    ):
        with pytest.raises(nbs.InputTypeError, match=message):
            draw(given)
    with pytest.raises(nbs.InputValueError, match="result is an empty dict"):
        draw({})
    with pytest.raises(nbs.InputValueError, match="histories is empty"):
        plots.ConvergenceDisplay({})
    with pytest.raises(nbs.InputValueError, match="no iteration has a finite objective"):
        plots.ConvergenceDisplay({"a": {"objective": np.array([np.nan]), "seconds": np.array([1.0])}})


def test_paths_and_cross_validations_are_not_taken_for_each_other(result, path):
    for draw, given, message in (
        (plots.PathDisplay.from_path, result, "path is a FitResult, expected the result of fit_path"),
        (plots.PathDisplay.from_cv, path, "found is a PathResult, expected the result of cross_validate"),
        (plots.PathDisplay, result, "result of fit_path or the result of cross_validate"),
    ):
        with pytest.raises(nbs.InputTypeError, match=message):
            draw(given)


@pytest.mark.parametrize("shape", [(-1, -2), 2, (1.0, 2.0), (1, 2, 1), "12", (True, 2), np.array([0.5, 4])])
def test_an_image_has_two_whole_numbers_as_its_shape(result, shape):
    with pytest.raises(nbs.InputValueError, match=r"image_shape is .*, expected \(height, width\), two whole numbers"):
        plots.CoefficientDisplay.from_estimator(result, image_shape=shape)
    assert plots.CoefficientDisplay.from_estimator(result, image_shape=np.array([1, 2])).axes_[0].images


@pytest.mark.parametrize("odd", [3, Figure(), Figure().subplots(1, 2)], ids=["number", "figure", "array"])
def test_what_is_no_axes_is_refused(result, path, odd):
    for draw in (
        plots.ConvergenceDisplay.from_result,
        lambda it, ax: plots.ReliabilityDisplay.from_estimator(it, X, Y, ax=ax),
        lambda it, ax: plots.ConfusionDisplay.from_estimator(it, X, Y, ax=ax),
        lambda it, ax: plots.DecisionDisplay.from_estimator(it, X, Y, ax=ax),
        lambda _, ax: plots.PathDisplay.from_path(path, ax=ax),
    ):
        with pytest.raises(nbs.InputTypeError, match=f"ax is {a_type(odd)}, expected matplotlib axes"):
            draw(result, ax=odd)


def test_what_is_no_figure_is_refused(result):
    effects = nbs.Trainer().fit(X, Y).marginal_effects()
    for draw in (
        lambda figure: plots.CoefficientDisplay.from_estimator(result, figure=figure),
        lambda figure: plots.MarginalEffectsDisplay.from_effects(effects, figure=figure),
    ):
        with pytest.raises(nbs.InputTypeError, match="figure is an Axes, expected a matplotlib figure"):
            draw(Figure().subplots())


def test_the_axes_are_unchanged_after_an_error(result, path):
    zero = nbs.fit_path(X, Y, l2s=[0.0, 1.0])
    for draw, message in (
        (lambda ax: plots.PathDisplay.from_path(path, classes=["zzz"], ax=ax), "'zzz'"),
        (lambda ax: plots.PathDisplay.from_path(path, n_features=0, ax=ax), "n_features"),
        (lambda ax: plots.PathDisplay.from_path(zero, ax=ax), "a penalty of the path is 0"),
        (
            lambda ax: plots.ReliabilityDisplay.from_proba(Y == "ash", PROBA, classes=["a"], ax=ax),
            "classes has 1 name,",
        ),
        (lambda ax: plots.ConfusionDisplay.from_predictions(Y, Y, normalize="rows", ax=ax), "normalize"),
        (lambda ax: plots.ConvergenceDisplay.from_result(result, over="epochs", ax=ax), "over"),
        (lambda ax: plots.DecisionDisplay.from_estimator(result, X, Y, resolution=1, ax=ax), "resolution"),
    ):
        ax = Figure().subplots()
        before = _state(ax)
        with pytest.raises(nbs.InputValueError, match=message):
            draw(ax)
        assert _state(ax) == before


def _state(ax):
    grid = any(line.get_visible() for line in ax.get_xgridlines())
    texts = ax.get_title(), ax.get_xlabel(), ax.get_ylabel()
    return len(ax.get_children()), ax.get_xscale(), ax.get_yscale(), grid, texts
