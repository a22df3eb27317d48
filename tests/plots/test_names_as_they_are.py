"""Names of classes and features that matplotlib would change, and plots that share axes."""

import numpy as np
import pytest

plt = pytest.importorskip("matplotlib.pyplot")

import nbsoftmax as nbs  # noqa: E402
from nbsoftmax import plots  # noqa: E402

NAMES = ["$10k-$20k", "_low", r"$\frac{1}$"]


def drawn(n_classes=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2))
    y = np.array(NAMES)[(X @ rng.normal(size=(2, n_classes)) + rng.gumbel(size=(150, n_classes))).argmax(axis=1)]
    return X, y, nbs.Trainer(l2=1e-3).fit(X, y)


@pytest.mark.parametrize("kind", ["confusion", "reliability", "decision", "coefficients", "path"])
def test_names_with_dollars_and_underscores_are_drawn(kind):
    X, y, result = drawn()
    display = {
        "confusion": lambda: plots.ConfusionDisplay.from_estimator(result, X, y),
        "reliability": lambda: plots.ReliabilityDisplay.from_estimator(result, X, y),
        "decision": lambda: plots.DecisionDisplay.from_estimator(result, X, y),
        "coefficients": lambda: plots.CoefficientDisplay.from_estimator(result),
        "path": lambda: plots.PathDisplay.from_path(nbs.fit_path(X, y, l2s=[0.01, 1.0])),
    }[kind]()
    display.figure_.draw_without_rendering()  # text between dollars is not mathematics, which this could not parse
    if kind in ("reliability", "decision", "path"):
        legends = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert all(any(name.replace("$", r"\$") in text for text in legends) for name in NAMES)


def test_regions_are_those_of_predict():
    X, y, result = drawn()
    thresholds = {"$10k-$20k": 0.05, "_low": 0.9, r"$\frac{1}$": 0.9}
    estimator = nbs.SoftmaxRegression(thresholds=thresholds).fit(X, y)
    display = plots.DecisionDisplay.from_estimator(estimator, X, y, resolution=20)
    shown = display.predict(X)
    assert np.array_equal(np.asarray(estimator.classes_)[shown], estimator.predict(X))
    picture, colours = display.ax_.images[0].get_array(), plots.palette.colours(3)
    plain = plots.DecisionDisplay.from_estimator(result, X, y, resolution=20).ax_.images[0].get_array()
    assert len(colours) == 3
    assert not np.allclose(picture, plain)


def test_each_plot_has_its_own_counts_also_with_shared_axes():
    X, y, result = drawn()
    _, (left, right) = plt.subplots(1, 2, sharex=True)
    one = plots.ReliabilityDisplay.from_estimator(result, X, y, ax=left)
    two = plots.ReliabilityDisplay.from_estimator(result, X[:50], y[:50], ax=right)
    assert one.counts_ax_ is not two.counts_ax_
    assert plots.ReliabilityDisplay.from_estimator(result, X, y, ax=left).counts_ax_ is one.counts_ax_
    plt.close("all")


def test_the_strongest_penalty_is_at_the_left_however_often_a_path_is_drawn():
    X, y, _ = drawn()
    path = nbs.fit_path(X, y, l2s=[0.01, 0.1, 1.0])
    _, (left, right) = plt.subplots(1, 2, sharex=True)
    for ax in (left, left, right):
        plots.PathDisplay.from_path(path, ax=ax)
        assert ax.xaxis.get_inverted()
    plt.close("all")


def test_a_path_of_one_penalty_shows_its_points():
    X, y, _ = drawn()
    lines = plots.PathDisplay.from_path(nbs.fit_path(X, y, l2s=[0.01])).lines_
    assert all(line.get_marker() == "o" for line in lines)


def test_what_cannot_be_drawn_leaves_the_axes_as_they_were():
    X, y, result = drawn()
    path = nbs.fit_path(X, y, l2s=[0.01, 1.0])
    _, ax = plt.subplots()
    for call in (
        lambda: plots.PathDisplay.from_path(path, classes=["zzz"], ax=ax),
        lambda: plots.PathDisplay.from_path(nbs.fit_path(X, y, l2s=[0.0, 0.1]), ax=ax),
        lambda: plots.ConvergenceDisplay.from_result({}, ax=ax),
    ):
        with pytest.raises(nbs.InputValueError):
            call()
        assert ax.get_xscale() == "linear"
    with pytest.raises(nbs.InputTypeError, match="result is a SoftmaxModel, expected a FitResult"):
        plots.ConvergenceDisplay.from_result(result.model)
    plt.close("all")


def test_an_objective_that_is_not_known_does_not_empty_the_plot():
    histories = {"fit": {"objective": np.array([3.0, np.nan, 1.0]), "seconds": np.arange(3.0)}}
    assert np.isfinite(plots.ConvergenceDisplay(histories).floor)


def test_a_pipeline_whose_steps_pass_everything_through():
    pipeline = pytest.importorskip("sklearn.pipeline")
    X, y, _ = drawn()
    estimator = pipeline.make_pipeline("passthrough", nbs.SoftmaxRegression()).fit(X, y)
    plots.CoefficientDisplay.from_estimator(estimator).figure_.draw_without_rendering()


@pytest.mark.parametrize("cmap", ["RdBu", "coolwarm", "twilight", "PiYG", "viridis", "cividis", "Blues"])
def test_numbers_can_be_read_on_any_colour_map(cmap):
    counts = np.arange(1, 26).reshape(5, 5)
    y_true, y_pred = (np.repeat(part, counts.ravel()) for part in np.indices((5, 5)).reshape(2, -1))
    display = plots.ConfusionDisplay.from_predictions(y_true, y_pred, cmap=cmap)
    for text in display.ax_.texts:
        j, i = map(int, text.get_position())
        ground = display.image_.cmap(display.image_.norm(counts[i, j]))
        light = [np.dot(np.array(c[:3]) ** 2.2, [0.2126, 0.7152, 0.0722]) for c in (ground, text.get_color())]
        assert (max(light) + 0.05) / (min(light) + 0.05) >= 4  # WCAG asks for 4.5, by its own linear light


def test_whole_weights_and_small_shares_are_written_out():
    y = np.repeat([0, 1], [300, 249])
    pred = np.where(np.arange(549) == 0, 1, y)
    weighted = plots.ConfusionDisplay.from_predictions(y, pred, sample_weight=np.full(549, 1000.0))
    assert {text.get_text() for text in weighted.ax_.texts} == {"299000", "1000", "249000"}
    shares = plots.ConfusionDisplay.from_predictions(y, pred, normalize="true")
    assert {text.get_text() for text in shares.ax_.texts} == {"1.00", "<0.01"}
