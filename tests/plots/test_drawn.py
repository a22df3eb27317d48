"""Displays draw what the model says, where it can be seen, on axes of their own and on given ones."""

import json

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from nbsoftmax import plots  # noqa: E402
from nbsoftmax.selection.cross_validation import summary  # noqa: E402

RNG = np.random.default_rng(21)
X = RNG.normal(size=(240, 2))
CODES = (X @ RNG.normal(size=(2, 3)) + RNG.gumbel(size=(240, 3))).argmax(axis=1)
Y = np.array(["ash", "beech", "cedar"])[CODES]


def test_decision_regions_are_those_of_predict_with_its_thresholds():
    pytest.importorskip("sklearn")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    thresholds = {"ash": 0.9, "beech": 0.05, "cedar": 0.9}
    for estimator in (
        nbs.SoftmaxRegression(thresholds=thresholds).fit(X, Y),
        make_pipeline(StandardScaler(), nbs.SoftmaxRegression(thresholds=thresholds)).fit(X, Y),
    ):
        display = plots.DecisionDisplay.from_estimator(estimator, X, Y, resolution=30)
        image = display.ax_.images[0]
        left, right, low, high = image.get_extent()
        x, y = np.linspace(left, right, 30), np.linspace(low, high, 30)
        points = np.column_stack([np.tile(x, 30), np.repeat(y, 30)])
        predicted = np.searchsorted(["ash", "beech", "cedar"], estimator.predict(points))
        assert (predicted != estimator.predict_proba(points).argmax(axis=1)).any()
        # Colours are mixed of white and C0, C1 or C2; the least of red, green and blue is red, blue, or red or blue.
        hues = np.asarray(image.get_array()).reshape(-1, 3)
        rgb = np.array([matplotlib.colors.to_rgb(f"C{k}") for k in range(3)])
        directions = (1 - rgb) / np.linalg.norm(1 - rgb, axis=1, keepdims=True)
        assert np.array_equal(((1 - hues) @ directions.T).argmax(axis=1), predicted)


@pytest.mark.parametrize("n_frames", [0, 1])
def test_a_pipeline_of_steps_that_do_nothing_has_the_features_of_its_input(n_frames):
    pytest.importorskip("sklearn")
    from sklearn.pipeline import Pipeline

    steps = [("a", "passthrough"), ("b", "passthrough"), ("fit", nbs.SoftmaxRegression())]
    given = pd.DataFrame(X, columns=["length", "width"]) if n_frames else X
    display = plots.CoefficientDisplay.from_estimator(Pipeline(steps).fit(given, Y))
    assert tuple(display.feature_names) == (("length", "width") if n_frames else ("x0", "x1"))


def test_curves_on_axes_that_share_their_horizontal_axis_have_counts_of_their_own():
    proba = RNG.dirichlet(np.ones(3), 240)
    for rows, columns in ((2, 1), (1, 2)):
        axes = Figure().subplots(rows, columns, sharex=True).ravel()
        first, second = (plots.ReliabilityDisplay.from_proba(CODES, proba, ax=ax) for ax in axes)
        assert first.counts_ax_ is not second.counts_ax_
        assert len(first.counts_ax_.patches) == len(second.counts_ax_.patches) == 3
        again = plots.ReliabilityDisplay.from_proba(CODES, proba, ax=axes[1])
        assert again.counts_ax_ is second.counts_ax_
    figure = Figure()
    free = figure.add_axes((0.1, 0.3, 0.3, 0.6))
    other = figure.add_axes((0.6, 0.3, 0.3, 0.6), sharex=free)
    panels = [plots.ReliabilityDisplay.from_proba(CODES, proba, ax=ax).counts_ax_ for ax in (free, other, free)]
    assert panels[0] is panels[2] is not panels[1]


def test_a_path_that_is_drawn_twice_keeps_its_direction():
    path = nbs.fit_path(X, Y, l2s=[0.01, 0.1, 1.0])
    ax, other = Figure().subplots(1, 2, sharex=True)
    for each in (ax, other, ax):
        plots.PathDisplay.from_path(path, ax=each)
        assert ax.xaxis_inverted()


def test_a_path_of_one_penalty_has_markers():
    one, two = (plots.PathDisplay.from_path(nbs.fit_path(X, Y, l2s=l2s)) for l2s in ([0.1], [0.1, 1.0]))
    assert {line.get_marker() for line in one.lines_} == {"o"}
    assert {line.get_marker() for line in two.lines_} == {"None"}


def test_names_of_features_point_at_the_values_of_the_weakest_penalty():
    path = nbs.fit_path(X, Y, l2s=[1.0, 0.01, 0.1])
    display = plots.PathDisplay.from_path(path, classes=["beech"])
    weakest = path.coefs[1, 1]
    order = np.argsort(-np.abs(path.coefs[:, 1]).max(axis=0))
    assert [text.xy for text in display.ax_.texts] == [(0.01, weakest[j]) for j in order]


def test_cross_validation_has_error_bars_of_one_standard_error():
    found = nbs.cross_validate(X, Y, Cs=[1.0, 0.01, 100.0])
    mean, error = summary(found.log_loss)
    display = plots.PathDisplay.from_cv(found)
    (bars,) = (each for each in display.ax_.collections if isinstance(each, LineCollection))
    order = np.argsort(found.Cs)
    expected = [[(found.Cs[i], mean[i] - error[i]), (found.Cs[i], mean[i] + error[i])] for i in order]
    np.testing.assert_allclose(np.array(bars.get_segments()), expected)


def test_points_at_the_frame_are_whole():
    display = plots.ReliabilityDisplay.from_predictions([0, 1, 1, 0], [0.0, 1.0, 1.0, 0.0])
    assert display.ax_.collections
    assert not any(points.get_clip_on() for points in display.ax_.collections)


def test_an_objective_that_is_not_finite_leaves_a_gap(tmp_path):
    log = tmp_path / "log"
    objectives = [3.0, None, 1.0, 2.0]
    lines = [json.dumps({"iteration": i, "objective": o, "seconds": i}) for i, o in enumerate(objectives, 1)]
    log.write_text("\n".join(lines))
    (line,) = plots.ConvergenceDisplay.from_log(log).lines_
    np.testing.assert_allclose(line.get_ydata(), [2, np.nan, 0, 1], atol=1e-15)
    assert np.nanmin(line.get_ydata()) > 0


def test_iterations_have_whole_numbers_as_ticks():
    result = nbs.Trainer(l2=0.1).fit(X, Y)
    history = {key: values[:3] for key, values in result.history.items()}
    for over, whole in (("iterations", True), ("seconds", False)):
        ax = plots.ConvergenceDisplay({"fit": history}).plot(over=over).ax_
        assert all(float(tick).is_integer() for tick in ax.get_xticks()) == whole


def _effects(kind, n_features=2):
    effects = np.linspace(-0.3, 0.4, n_features)[:, None] * [-1, 1]
    names, classes = tuple(f"x{j}" for j in range(n_features)), np.arange(2)
    binary, errors = np.zeros(n_features, bool), np.full((n_features, 2), 0.1)
    return nbs.MarginalEffects(effects, errors, names, classes, binary, "overall", kind)


@pytest.mark.parametrize(("kind", "factor"), [("dydx", 100), ("dyex", 100), ("eydx", 1), ("eyex", 1)])
def test_changes_of_probabilities_are_in_percentage_points_and_logs_are_not(kind, factor):
    effects = _effects(kind)
    display = plots.MarginalEffectsDisplay.from_effects(effects)
    drawn = np.concatenate([line.get_xdata() for line in display.axes_[1].lines[1:]])
    np.testing.assert_allclose(np.sort(drawn), np.sort(factor * effects.effects[:, 1]))
    assert ("percentage points" in display.figure_.get_supxlabel()) == (factor == 100)


@pytest.mark.parametrize("n_features", [1, 2, 20])
def test_effects_keep_a_distance_from_the_frame(n_features):
    ax = plots.MarginalEffectsDisplay.from_effects(_effects("dydx", n_features)).axes_[0]
    assert ax.get_ylim() == (n_features - 0.5, -0.5)
