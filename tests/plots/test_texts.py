"""Names in plots: `$` is no formula, a leading underscore hides no name, and legends have a place of their own."""

import io

import numpy as np
import pytest

import nbsoftmax as nbs

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Text  # noqa: E402

from nbsoftmax import plots  # noqa: E402
from nbsoftmax.plots.names import literal  # noqa: E402

RNG = np.random.default_rng(5)
CLASSES = np.array([r"$\frac{1}$", "$10k-$20k", "_other"])  # not a valid formula, a valid one, a hidden label
FEATURES = (r"x$_{$", "$a$ in $")
X = RNG.normal(size=(200, 2))
CODES = (X @ RNG.normal(size=(2, 3)) + RNG.gumbel(size=(200, 3))).argmax(axis=1)
Y = CLASSES[CODES]


@pytest.fixture(scope="module")
def displays():
    """A display of each kind, all with names that matplotlib could misread."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=FEATURES)
    result = nbs.Trainer().fit(frame, Y)
    return {
        "coefficients": plots.CoefficientDisplay.from_estimator(result),
        "confusion": plots.ConfusionDisplay.from_estimator(result, frame, Y),
        "convergence": plots.ConvergenceDisplay.from_result(dict.fromkeys(CLASSES.tolist(), result)),
        "decision": plots.DecisionDisplay.from_estimator(result, frame, Y, resolution=9),
        "effects": plots.MarginalEffectsDisplay.from_effects(result.marginal_effects()),
        "path": plots.PathDisplay.from_path(nbs.fit_path(frame, Y, l2s=[0.1, 1.0])),
        "reliability": plots.ReliabilityDisplay.from_estimator(result, frame, Y),
    }


def _drawn(figure):
    """The texts of a figure that are no formulas, as matplotlib draws them."""
    figure.savefig(io.BytesIO(), format="svg")
    texts = [text._preprocess_math(text.get_text()) for text in figure.findobj(Text)]
    return {drawn for drawn, is_formula in texts if not is_formula}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("coefficients", {*CLASSES, *FEATURES}),
        ("confusion", {*CLASSES}),
        ("convergence", {*CLASSES}),
        ("decision", {*CLASSES, *FEATURES}),
        ("effects", {*CLASSES, *FEATURES}),
        ("path", {*CLASSES, *FEATURES}),
        ("reliability", {*CLASSES}),
    ],
)
def test_names_are_drawn_as_they_are_written(displays, kind, names):
    assert names <= _drawn(displays[kind].figure_)


@pytest.mark.parametrize("text", ["$", "$$", r"\$", r"a\$b$c", r"\\$x$", "no dollar", r"100\%"])
def test_an_escaped_text_is_drawn_as_it_was(text):
    drawn, is_formula = Figure().text(0, 0, literal(text))._preprocess_math(literal(text))
    assert (drawn, is_formula) == (text, False)


def test_the_name_of_a_model_and_other_names_of_classes_are_drawn_as_they_are_written():
    confusion = plots.ConfusionDisplay.from_predictions(CODES, CODES, display_labels=CLASSES)
    assert {*CLASSES} <= _drawn(confusion.figure_)
    reliability = plots.ReliabilityDisplay.from_predictions(CODES > 0, np.linspace(0, 1, 200), name=CLASSES[0])
    assert CLASSES[0] in _drawn(reliability.figure_)


def _legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_names_that_begin_with_an_underscore_are_in_the_legend():
    names = ["_a", "b", "_child0", "_nolegend_"]
    proba = RNG.dirichlet(np.ones(4), 200)
    y = RNG.integers(4, size=200)
    assert _legend(plots.ReliabilityDisplay.from_proba(y, proba, classes=names).ax_) == ["calibrated", *names]
    result = nbs.Trainer(l2=0.1).fit(X, np.array(names)[y])
    names = sorted(names)
    assert _legend(plots.DecisionDisplay.from_estimator(result, X, np.array(names)[y], resolution=9).ax_) == names
    assert _legend(plots.PathDisplay.from_path(nbs.fit_path(X, np.array(names)[y], l2s=[0.1, 1.0])).ax_) == names


def test_a_legend_keeps_the_names_of_earlier_displays_and_of_other_lines():
    result = nbs.Trainer(l2=0.1).fit(X, Y)
    ax = Figure().subplots()
    ax.plot([1, 2], [1, 1], label="mine")
    ax.plot([1, 2], [2, 2], label="_hidden")
    plots.ConvergenceDisplay.from_result({"_a": result, "b": result}, ax=ax)
    assert _legend(ax) == ["mine", "_a", "b"]
    plots.ConvergenceDisplay.from_result({"_c": result, "d": result}, ax=ax)
    assert _legend(ax) == ["mine", "_a", "b", "_c", "d"]


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_a_legend_beside_the_axes_covers_no_other_axes(layout):
    figure = Figure(figsize=(12, 5), layout=layout)
    left, right = figure.subplots(1, 2)
    y, proba = RNG.integers(9, size=300), RNG.dirichlet(np.ones(9), 300)
    for _ in range(2):  # a second display makes the axes not narrower again
        display = plots.ReliabilityDisplay.from_proba(y, proba, ax=left)
        figure.draw_without_rendering()
        legend = left.get_legend().get_window_extent()
        assert left.bbox.x1 < legend.x0 < legend.x1 <= right.bbox.x0
        assert left.bbox.width > 100
        assert (display.counts_ax_.bbox.x0, display.counts_ax_.bbox.x1) == (left.bbox.x0, left.bbox.x1)
