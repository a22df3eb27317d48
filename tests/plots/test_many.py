"""Plots of many classes or features write no texts over each other or beyond the figure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.colors import to_rgb  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Text  # noqa: E402

from nbsoftmax import plots  # noqa: E402
from nbsoftmax.plots.line_ends import apart, label_ends  # noqa: E402
from nbsoftmax.plots.matrix import number_text, share_text  # noqa: E402
from nbsoftmax.plots.palette import _contrast  # noqa: E402

RNG = np.random.default_rng(8)
matrix = plots.ConfusionDisplay.from_predictions


def _extents(texts):
    return [Text.get_window_extent(text) for text in texts if text.get_text()]  # of annotations, without arrows


def _overlap(boxes):
    return any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def _labels(n, name="c{}"):
    true = np.repeat(np.arange(n), 12)
    predicted = np.where(RNG.uniform(size=true.size) < 0.7, true, RNG.integers(n, size=true.size))
    names = np.array([name.format(k) for k in range(n)])
    return names[true], names[predicted]


@pytest.mark.parametrize("name", ["c{}", "{} is the name"])
@pytest.mark.parametrize(("n", "inches"), [(3, None), (26, None), (60, None), (120, None), (12, 3), (60, 4)])
def test_names_and_numbers_of_a_confusion_matrix_do_not_overlap(n, inches, name):
    ax = None if inches is None else Figure((inches, inches)).subplots()
    display = matrix(*_labels(n, name), ax=ax)
    ax = display.ax_
    display.figure_.draw_without_rendering()
    assert not _overlap(_extents(ax.get_yticklabels()))
    below = ax.get_xticklabels()
    if below[0].get_rotation() in (0, 90):
        assert not _overlap(_extents(below))
    else:
        places = ax.transData.transform([(x, 0) for x in ax.get_xticks()[:2]])[:, 0] * 72 / ax.figure.dpi
        assert np.diff(places)[0] * np.sin(np.radians(below[0].get_rotation())) >= below[0].get_fontsize()
    for text in ax.texts:
        (x0, y0), (x1, y1) = ax.transData.inverted().transform(text.get_window_extent())
        x, y = text.get_position()
        assert max(abs(x - x0), abs(x - x1), abs(y - y0), abs(y - y1)) <= 0.5


def test_sixty_short_names_are_all_written_vertically_below_the_matrix():
    ax = matrix(*_labels(60)).ax_
    assert len(ax.get_xticklabels()) == len(ax.get_yticklabels()) == 60
    assert {text.get_rotation() for text in ax.get_xticklabels()} == {90}
    assert all(text.get_fontsize() >= 5 for text in [*ax.get_xticklabels(), *ax.get_yticklabels()])


def test_a_large_share_in_a_small_cell_stays_in_it():
    display = matrix(*_labels(30), normalize=True)
    display.figure_.draw_without_rendering()
    width = display.ax_.get_window_extent().width / 30
    assert display.ax_.texts
    assert max(text.get_window_extent().width for text in display.ax_.texts) <= width


def test_numbers_that_do_not_fit_are_left_out_unless_their_font_is_given():
    y = _labels(120)
    assert not matrix(*y).ax_.texts
    assert {text.get_fontsize() for text in matrix(*y, text_kw={"size": 2}).ax_.texts} == {2}
    few = matrix(*_labels(12))
    assert len(few.ax_.texts) == np.count_nonzero(few.confusion)
    assert [text.get_text() for text in few.ax_.get_xticklabels()] == few.classes


@pytest.mark.parametrize("cmap", ["cividis", "RdBu", "twilight", "hsv", "Greys"])
def test_numbers_are_readable_on_every_colour_map(cmap):
    display = matrix(*_labels(12), normalize=True, cmap=cmap)
    for text in display.ax_.texts:
        j, i = map(int, text.get_position())
        value = display.image_.get_array()[i, j]
        cell = np.array([to_rgb(display.image_.cmap(display.image_.norm(value)))])
        assert _contrast(cell, np.array(to_rgb(text.get_color())))[0] >= 4.5  # asked for by WCAG


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (249000, "249000"), (249000.0, "249000"), (249000.7, "249001"), (12.3456, "12.35"), (1e300, "1e+300")],
)
def test_counts_have_all_their_digits_and_weights_four(value, text):
    assert number_text(value) == text


def test_small_shares_do_not_look_like_zero():
    shares = {0.0: "0.00", 0.001: "<0.01", 0.006: "0.01", 0.5: "0.50", 1.0: "1.00"}
    assert {share: share_text(share) for share in shares} == shares
    display = matrix(["a"] * 1001 + ["b"], ["a"] * 1000 + ["b", "b"], normalize=True)
    assert [text.get_text() for text in display.ax_.texts] == ["1.00", "<0.01", "1.00"]
    weighted = matrix(["a", "b"], ["a", "b"], sample_weight=[249000, 2.5])
    assert [text.get_text() for text in weighted.ax_.texts] == ["249000", "2.5"]


def test_formats_and_rotations_that_do_not_exist_are_refused_before_anything_is_drawn():
    ax = Figure().subplots()
    for options in ({"values_format": "q"}, {"xticks_rotation": "diagonal"}, {"xticks_rotation": np.nan}):
        (name,) = options
        with pytest.raises(nbs.InputValueError, match=f"{name} is"):
            matrix(["a", "b"], ["a", "b"], ax=ax, **options)
    assert not ax.images
    assert {text.get_rotation() for text in matrix(["a"], ["a"], xticks_rotation=30).ax_.get_xticklabels()} == {30}


@pytest.fixture(scope="module")
def path():
    X = RNG.normal(size=(300, 60))
    y = (X @ RNG.normal(size=(60, 3)) + RNG.gumbel(size=(300, 3))).argmax(axis=1)
    return nbs.fit_path(X, y, l2s=[0.01, 0.1, 1.0])


@pytest.mark.parametrize("height", [None, 2.0, 4.0])
@pytest.mark.parametrize("n_features", [8, 40, 60])
def test_a_path_names_as_many_features_as_fit_the_largest_weights_first(path, n_features, height):
    ax = None if height is None else Figure((6, height), layout="constrained").subplots()
    display = plots.PathDisplay.from_path(path, n_features=n_features, ax=ax)
    names = [text.get_text() for text in display.ax_.texts]
    order = np.argsort(-np.abs(path.coefs).max(axis=(0, 1)), kind="stable")
    assert 4 < len(names) <= n_features
    assert names == [f"x{j}" for j in order[: len(names)]]
    assert (len(names) == n_features) == (n_features == 8)
    display.figure_.draw_without_rendering()
    boxes = _extents(display.ax_.texts)
    assert not _overlap(boxes)
    frame = display.figure_.bbox
    assert all(frame.x0 <= box.x0 < box.x1 <= frame.x1 and frame.y0 <= box.y0 < box.y1 <= frame.y1 for box in boxes)


def test_names_at_nearly_the_same_value_stay_beside_the_axes():
    figure = Figure((5, 2.4))
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1])
    label_ends(ax, [(f"x{j}", 1.0, value, "C0") for j, value in enumerate([1.0] * 12)])
    figure.draw_without_rendering()
    low, high = ax.bbox.y0 - 2, ax.bbox.y1 + 2
    assert all(low <= box.y0 < box.y1 <= high for box in _extents(ax.texts))


def test_the_legend_of_a_path_has_a_place_that_does_not_depend_on_its_lines(path):
    # With loc="best", matplotlib compares each place with each line, and warns if that takes a second.
    legend = plots.PathDisplay.from_path(path).ax_.get_legend()
    assert legend._loc_real == matplotlib.legend.Legend.codes["upper left"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.08))
def test_names_that_are_moved_apart_stay_within_bounds(places, least):
    found = apart(np.array(places), least, low=least / 2, high=1 - least / 2)
    assert found.min() >= least / 2 - 1e-9
    assert found.max() <= 1 - least / 2 + 1e-9
    assert (np.diff(np.sort(found)) >= least - 1e-9).all()
