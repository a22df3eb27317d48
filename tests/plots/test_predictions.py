"""Displays of labels and probabilities, compared with scikit-learn's; counts below the reliability curves."""

import inspect

import numpy as np
import pytest

import nbsoftmax as nbs

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from nbsoftmax import plots

sklearn_metrics = pytest.importorskip("sklearn.metrics")
from sklearn.calibration import CalibrationDisplay  # noqa: E402

RNG = np.random.default_rng(3)
CLASSES = np.array(["ash", "beech", "cedar"])
TRUE, PREDICTED = CLASSES[RNG.integers(0, 3, 80)], CLASSES[RNG.integers(0, 3, 80)]
WEIGHT = RNG.uniform(0.5, 2, 80)


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
@pytest.mark.parametrize("labels", [None, ["cedar", "ash"], ["beech", "oak"], ["oak", *CLASSES]])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_confusion_is_that_of_sklearn(normalize, labels, weight):
    options = {"labels": labels, "sample_weight": weight, "normalize": normalize}
    display = plots.ConfusionDisplay.from_predictions(TRUE, PREDICTED, **options)
    expected = sklearn_metrics.confusion_matrix(TRUE, PREDICTED, **options)
    np.testing.assert_allclose(display.image_.get_array(), expected, rtol=1e-13)
    assert display.classes == (CLASSES.tolist() if labels is None else list(labels))


def test_the_options_of_a_confusion_matrix_have_the_names_of_sklearn():
    theirs = inspect.signature(sklearn_metrics.ConfusionMatrixDisplay.from_predictions).parameters
    ours = {
        *inspect.signature(plots.ConfusionDisplay.from_predictions).parameters,
        *inspect.signature(plots.ConfusionDisplay.plot).parameters,
    }
    assert set(theirs) <= ours
    display = plots.ConfusionDisplay.from_predictions(
        TRUE,
        PREDICTED,
        display_labels=["a", "b", "c"],
        values_format=".1f",
        cmap="Blues",
        xticks_rotation="vertical",
        colorbar=False,
        im_kw={"alpha": 0.5},
        text_kw={"fontsize": 5},
    )
    assert len(display.figure_.axes) == 1
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["a", "b", "c"]
    assert {text.get_rotation() for text in display.ax_.get_xticklabels()} == {90}
    assert all(text.get_text().endswith(".0") and text.get_fontsize() == 5 for text in display.ax_.texts)
    assert (display.image_.get_cmap().name, display.image_.get_alpha()) == ("Blues", 0.5)
    assert not display.plot(include_values=False).ax_.texts


def test_true_and_predicted_labels_that_do_not_fit_are_refused():
    for arguments, options, message in (
        ((TRUE, PREDICTED[:-1]), {}, "y_true has 80 labels, but y_pred has 79"),
        (([], []), {}, "no labels"),
        ((TRUE, np.arange(80)), {}, "y_true, y_pred and labels together"),
        ((TRUE, PREDICTED), {"display_labels": ["a"]}, "display_labels has 1 name, expected 3"),
        ((TRUE, PREDICTED), {"normalize": "rows"}, "normalize"),
        ((TRUE, PREDICTED), {"sample_weight": WEIGHT[1:]}, "sample_weight"),
    ):
        with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
            plots.ConfusionDisplay.from_predictions(*arguments, **options)


def test_the_confusion_matrix_of_an_estimator_has_the_labels_in_the_given_order():
    X = RNG.normal(size=(80, 2))
    model = nbs.Trainer(l2=0.1).fit(X, TRUE).model
    display = plots.ConfusionDisplay.from_estimator(model, X, TRUE, labels=["cedar", "ash"], sample_weight=WEIGHT)
    expected = sklearn_metrics.confusion_matrix(TRUE, model.predict(X), labels=["cedar", "ash"], sample_weight=WEIGHT)
    np.testing.assert_allclose(display.confusion, expected)


def test_displays_of_an_estimator_add_the_offset_to_its_logits():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, offset = RNG.normal(size=(80, 2)), 2 * RNG.normal(size=(80, 3))
    fit, pipeline = nbs.Trainer(l2=0.1).fit(X, TRUE), make_pipeline(StandardScaler(), nbs.SoftmaxRegression())
    for estimator, model in ((fit, fit.model), (pipeline.fit(X, TRUE), pipeline)):
        counts = plots.ConfusionDisplay.from_estimator(estimator, X, TRUE, offset=offset).confusion
        expected = sklearn_metrics.confusion_matrix(TRUE, model.predict(X, offset=offset))
        np.testing.assert_array_equal(counts, expected)
        assert (expected != sklearn_metrics.confusion_matrix(TRUE, model.predict(X))).any()
        curves = plots.ReliabilityDisplay.from_estimator(estimator, X, TRUE, offset=offset).reliability
        expected = nbs.reliability(np.searchsorted(CLASSES, TRUE), model.predict_proba(X, offset=offset))
        np.testing.assert_array_equal(curves.frequency, expected.frequency)


@pytest.mark.parametrize("pos_label", [None, "a", "b"])
def test_two_classes_with_one_probability_are_calibrated_as_by_sklearn(pos_label):
    p = RNG.uniform(size=200)
    y = np.where(RNG.uniform(size=200) < p, "b", "a")
    theirs = CalibrationDisplay.from_predictions(y, p, n_bins=10, pos_label=pos_label or "b", ax=Figure().subplots())
    display = plots.ReliabilityDisplay.from_predictions(y, p, n_bins=10, pos_label=pos_label, name="mine")
    (line,) = display.lines_
    np.testing.assert_allclose(line.get_xdata(), theirs.prob_pred)
    np.testing.assert_allclose(line.get_ydata(), theirs.prob_true)
    assert line.get_label() == "mine"


def test_probabilities_are_drawn_for_labels_in_the_order_of_the_columns():
    proba = RNG.dirichlet(np.ones(3), 80)
    order = [2, 0, 1]
    sorted_too = plots.ReliabilityDisplay.from_predictions(TRUE, proba)
    display = plots.ReliabilityDisplay.from_predictions(TRUE, proba[:, order], labels=CLASSES[order], linewidth=3)
    for line, k in zip(display.lines_, order, strict=True):
        assert line.get_label() == CLASSES[k]
        assert line.get_linewidth() == 3
        assert np.array_equal(line.get_ydata(), sorted_too.lines_[k].get_ydata())
    only = plots.ReliabilityDisplay.from_predictions(TRUE, proba, pos_label="beech", ref_line=False)
    assert [line.get_label() for line in only.ax_.lines] == ["beech"]
    assert np.array_equal(only.lines_[0].get_ydata(), sorted_too.lines_[1].get_ydata())
    for y, p, options, message in (
        (TRUE, proba[:, :2], {}, "y_prob has shape"),
        (TRUE, proba, {"pos_label": "oak"}, "pos_label is 'oak'"),
        (TRUE, proba[:, 0], {}, "3 labels"),
        (TRUE, proba, {"labels": ["ash", "beech", "oak"]}, "cedar"),
        (TRUE[1:], proba, {}, "79 labels"),
        (TRUE == "ash", np.linspace(-0.5, 1, 80), {}, "y_prob is -0.5 at row 0"),
    ):
        with pytest.raises(nbs.InputValueError, match=message):
            plots.ReliabilityDisplay.from_predictions(y, p, **options)


def test_counts_are_below_the_curves_and_share_their_horizontal_axis():
    proba = RNG.dirichlet(np.ones(3), 80)
    axes = Figure(layout="constrained").subplots(1, 2)
    display = plots.ReliabilityDisplay.from_predictions(TRUE, proba, n_bins=4, ax=axes[0])
    below = display.counts_ax_
    assert display.ax_ is axes[0]
    for weight, steps, line in zip(display.reliability.weight, below.patches, display.lines_, strict=True):
        values, edges, _ = steps.get_data()
        assert np.array_equal(np.nan_to_num(values), weight)
        assert edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert steps.get_edgecolor()[:3] == line.get_color()
    assert below.get_ylabel() == "samples"
    assert below in display.ax_.get_shared_x_axes().get_siblings(display.ax_)
    display.figure_.draw_without_rendering()
    assert below.get_position().y1 < display.ax_.get_position().y0
    again = plots.ReliabilityDisplay.from_predictions(TRUE, proba, sample_weight=WEIGHT, ax=axes[0])
    assert again.counts_ax_ is below  # two models on the same axes
    assert below.get_ylabel() == "weight"
    assert [line.get_label() for line in again.ax_.lines].count("calibrated") == 1
    without = plots.ReliabilityDisplay.from_predictions(TRUE, proba, counts=False)
    assert without.counts_ax_ is None
    assert len(without.figure_.axes) == 1
    free = Figure().add_axes((0.1, 0.3, 0.8, 0.6))
    inset = plots.ReliabilityDisplay.from_predictions(TRUE, proba, ax=free).counts_ax_
    assert inset.get_window_extent().y1 < free.get_window_extent().y0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exponent", [-1070, 1000, 1022])  # with 1022, the sum of two weights overflows
def test_weights_of_any_magnitude_draw_the_same_shares(exponent):
    weight, y, proba = np.exp2(RNG.integers(0, 3, 80) - 1.0), RNG.integers(3, size=80), RNG.dirichlet(np.ones(3), 80)
    far = np.ldexp(weight, exponent)
    sizes = []
    for each in (weight, far):
        display = plots.ReliabilityDisplay.from_predictions(y, proba, sample_weight=each)
        display.figure_.canvas.draw()
        sizes.append([points.get_sizes().tolist() for points in display.ax_.collections])
    assert sizes[0] == sizes[1]
    for normalize in ("true", "pred", "all"):
        shares = [
            plots.ConfusionDisplay.from_predictions(TRUE, PREDICTED, sample_weight=each, normalize=normalize)
            for each in (weight, far)
        ]
        assert np.array_equal(shares[0].image_.get_array(), shares[1].image_.get_array())


@pytest.mark.filterwarnings("error")
def test_bins_whose_weights_overflow_are_drawn():
    y, proba = RNG.integers(3, size=80), RNG.dirichlet(np.ones(3), 80)
    found = nbs.reliability(y, proba, sample_weight=np.full(80, 1e308))
    assert np.isinf(found.weight).any()
    display = plots.ReliabilityDisplay(found, range(3)).plot()
    display.figure_.canvas.draw()
    assert all(np.isfinite(points.get_sizes()).all() for points in display.ax_.collections)


def test_the_colour_bar_names_samples_or_their_weight():
    for weight, name in ((None, "samples"), (WEIGHT, "weight"), (np.ones(80), "samples")):
        display = plots.ConfusionDisplay.from_predictions(TRUE, PREDICTED, sample_weight=weight)
        assert display.image_.colorbar.ax.get_ylabel() == name
