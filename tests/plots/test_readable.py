"""Plots stay readable: many classes, long names, dark backgrounds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs

matplotlib = pytest.importorskip("matplotlib")
from matplotlib import style as styles_of_matplotlib  # noqa: E402
from matplotlib.colors import to_rgb, to_rgba  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Annotation, Text  # noqa: E402

from nbsoftmax import plots  # noqa: E402
from nbsoftmax.plots.line_ends import apart  # noqa: E402
from nbsoftmax.plots.names import short_names  # noqa: E402
from nbsoftmax.plots.palette import colours, styles  # noqa: E402

SHORT = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
LONG = np.array([f"class number {k:02d} of a survey with very long names" for k in range(26)])


@pytest.fixture(scope="module", params=["short", "long"])
def letters(request):
    """26 classes and 12 features, of which the last are not important."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 12))
    codes = (
        X @ (rng.normal(size=(12, 26)) * np.linspace(1.5, 0.01, 12)[:, None]) + rng.gumbel(size=(1500, 26))
    ).argmax(1)
    classes = (SHORT if request.param == "short" else LONG)[codes]
    names = [f"x{j}" if request.param == "short" else f"a long measurement of feature {j} in mm" for j in range(12)]
    X = pd.DataFrame(X, columns=names)
    return nbs.Trainer(l2=0.01).fit(X, classes).model, X, classes


def _overlaps(texts):
    boxes = [text.get_window_extent() for text in texts]
    return [(i, j) for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])]


@pytest.mark.parametrize("style", ["default", "dark_background", "ggplot"])
@pytest.mark.parametrize("n", [2, 10, 26, 100])
def test_colours_are_distinct_and_begin_with_those_of_the_style(style, n):
    with styles_of_matplotlib.context(style):
        found = colours(n)
        assert len(set(found)) == n
        assert found[0] == to_rgb(matplotlib.rcParams["axes.prop_cycle"].by_key()["color"][0])
        background = np.array(to_rgb(matplotlib.rcParams["axes.facecolor"]))
        assert np.abs(np.array(found) - background).max(axis=1).min() > 0.15


def test_classes_of_later_cycles_differ_in_their_line_styles_and_markers():
    of_26 = styles(26)
    assert [one["linestyle"] for one in of_26[::10]] == ["-", "--", ":"]
    assert len({one["marker"] for one in of_26}) == 3
    assert len(styles(5000)) == 5000  # more classes than colours


def test_the_legend_of_many_classes_is_beside_the_axes_and_has_every_name(letters):
    display = plots.ReliabilityDisplay.from_estimator(*letters)
    display.figure_.draw_without_rendering()
    legend = display.ax_.get_legend()
    texts = legend.get_texts()
    assert [text.get_text() for text in texts] == ["calibrated", *short_names(np.unique(letters[2]))]
    assert not _overlaps(texts)
    frame, axes = legend.get_window_extent(), display.ax_.get_window_extent()
    assert frame.x0 > axes.x1
    assert frame.x1 <= display.figure_.bbox.x1
    assert axes.width > 0.4 * display.figure_.bbox.width


def test_regions_of_many_classes_have_names_that_do_not_overlap(letters):
    _, X, y = letters
    model = nbs.Trainer(l2=0.001).fit(X.iloc[:, :2], y).model
    display = plots.DecisionDisplay.from_estimator(model, X.iloc[:, :2], y, resolution=60)
    texts = display.ax_.texts
    assert len(texts) > 3
    assert not _overlaps(texts)
    named = {text.get_text(): text.get_position() for text in texts}
    short = dict(zip(short_names(model.classes), model.classes, strict=True))
    for name, place in named.items():
        assert (
            model.predict(np.array([place]))[0] == short[name]
        )  # regions are convex, so that the centre is in the region


def test_a_path_names_the_most_important_features_at_the_ends_of_their_lines(letters):
    model, X, y = letters
    few = y[np.isin(y, np.unique(y)[:3])], X[np.isin(y, np.unique(y)[:3])]
    for labels, rows in ((y, X), few):
        path = nbs.fit_path(rows, labels, l2s=[1.0, 0.1, 0.01])
        n_classes = path.results[0].model.n_classes
        display = plots.PathDisplay.from_path(path, n_features=5)
        names = [text for text in display.ax_.texts if isinstance(text, Annotation)]
        size = np.abs(path.coefs) if n_classes == 3 else np.linalg.norm(path.coefs, axis=1, keepdims=True)
        largest = np.argsort(-size.max(axis=(0, 1)))[:5]
        short = short_names(model.feature_names)
        assert [name.get_text() for name in names] == [short[j] for j in largest]
        display.figure_.draw_without_rendering()
        assert not _overlaps_of_texts(names)
        lines = np.array(display.lines_).reshape(-1, 12)
        assert len(lines) == (3 if n_classes == 3 else 1)
        for name, j in zip(names, largest, strict=True):
            assert {to_rgb(line.get_color()) for line in lines[:, j]} == {to_rgb(name.get_color())}
        grey = {line.get_color() for line in np.delete(lines, largest, axis=1).ravel()}
        assert grey == {"0.5"}


def _overlaps_of_texts(annotations):
    """Overlaps of the texts alone; the extents of annotations include their arrows."""
    boxes = [Text.get_window_extent(one) for one in annotations]
    return [(i, j) for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])]


def test_a_path_draws_the_norms_of_many_classes_or_the_weights_of_a_few(letters):
    model, X, y = letters
    path = nbs.fit_path(X, y, l2s=[1.0, 0.1])
    norms = plots.PathDisplay.from_path(path)
    drawn = np.array([line.get_ydata() for line in norms.lines_])
    np.testing.assert_allclose(drawn, np.linalg.norm(path.coefs, axis=1)[::-1].T)
    two = model.classes[[4, 1]]
    weights = plots.PathDisplay.from_path(path, classes=two)
    drawn = np.array([line.get_ydata() for line in weights.lines_])
    assert np.array_equal(drawn, path.coefs[::-1, [4, 1]].reshape(2, -1).T)
    assert [text.get_text() for text in weights.ax_.get_legend().get_texts()] == short_names(two)
    one = plots.PathDisplay.from_path(path, classes=two[:1])
    assert [text.get_text() for text in one.ax_.get_legend().get_texts()] == short_names(two[:1])
    with pytest.raises(nbs.InputValueError, match="7 labels, expected 1 to 6"):
        plots.PathDisplay.from_path(path, classes=model.classes[:7])
    with pytest.raises(nbs.InputValueError, match="0 labels, expected 1 to 6"):
        plots.PathDisplay.from_path(path, classes=np.array([], str))
    with pytest.raises(nbs.InputValueError, match="'no class'"):
        plots.PathDisplay.from_path(path, classes=["no class"])
    with pytest.raises(nbs.InputValueError, match="n_features"):
        plots.PathDisplay.from_path(path, n_features=0)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.3))
def test_names_are_moved_apart_by_the_least_squares(places, least):
    a = np.array(places)
    b = apart(a, least)
    order = np.argsort(a, kind="stable")
    assert (np.diff(b[order]) >= least - 1e-9).all()
    if (np.diff(a[order]) >= least).all():
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-9)  # of a height of 1, far below a pixel
    # The solution of a projection on a convex cone: no feasible shift of the places above any cut is closer.
    moves = (b - a)[order]
    for cut in range(len(a)):
        upwards, downwards = moves[cut:].sum(), moves[: cut + 1].sum()
        assert upwards >= -1e-9  # moving all from here upwards is feasible, and not better
        assert downwards <= 1e-9


def test_dark_backgrounds_have_light_lines_and_texts(letters):
    model, X, y = letters
    with styles_of_matplotlib.context("dark_background"):
        figures = [
            plots.ReliabilityDisplay.from_estimator(model, X, y).figure_,
            plots.CoefficientDisplay.from_estimator(model).figure_,
            plots.PathDisplay.from_path(nbs.fit_path(X, y, l2s=[1.0, 0.1]), classes=model.classes[:2]).figure_,
            plots.DecisionDisplay.from_estimator(
                nbs.Trainer(l2=0.1).fit(X.iloc[:, :2], y).model, X.iloc[:, :2], y, resolution=9
            ).figure_,
            plots.MarginalEffectsDisplay.from_effects(_effects(3)).figure_,
        ]
        confusion = plots.ConfusionDisplay.from_estimator(model, X, y)
    for figure in figures:
        assert to_rgb(figure.get_facecolor()) == (0, 0, 0)
        for text in figure.findobj(Text):
            assert not text.get_text() or max(to_rgb(text.get_color())) > 0.4
        for line in figure.findobj(matplotlib.lines.Line2D):
            assert max(to_rgb(line.get_color())) > 0.2
    assert to_rgb(confusion.ax_.xaxis.label.get_color()) == (1, 1, 1)
    cells = confusion.ax_.texts  # readable on their cells, which do not depend on the style
    for text in cells:
        x, y = map(int, text.get_position())
        cell = np.array(confusion.image_.cmap(confusion.image_.norm(confusion.confusion[y, x]))[:3])
        assert np.abs(cell - to_rgba(text.get_color())[:3]).max() > 0.3


def test_names_are_cut_where_they_are_alike():
    assert short_names(["species[Adelie]", "species[Gentoo]"]) == ["species[Adelie]", "species[Gentoo]"]
    species = ["species_of_penguin[Adelie]", "species_of_penguin[Gentoo]"]
    assert short_names(species) == ["…Adelie", "…Gentoo"]
    districts = ["department[North-East, district 01]", "department[North-East, district 02]"]
    assert short_names(districts) == ["…01", "…02"]  # no bracket that closes nothing
    assert short_names(["a rather long (yes) name (1)", "a rather long (yes) name (2)"]) == ["…1", "…2"]
    assert short_names(["first (a) long name of a class)", "second (a) long name of a class)"]) == ["first…", "second…"]
    mixed = ["education_level_of_person[Bachelor degree]", "education_level_of_person[Master degree]", "age"]
    assert short_names(mixed) == ["ed…son[Bachelor…]", "ed…son[Master…]", "age"]
    assert short_names(["radius_of_the_nucleus_in_mm", "area_of_the_nucleus_in_mm"]) == ["radius…", "area…"]
    months = ["mean_temperature_january_1st", "mean_temperature_july_1st", "wind"]
    assert short_names(months) == ["mean_temp…january…", "mean_temp…july…", "wind"]
    assert short_names(["one very long name for both classes"] * 2) == ["one ve…oth classes"] * 2


def _effects(n_classes, **changes):
    rng = np.random.default_rng(1)
    n_features = 5
    effects = rng.normal(size=(n_features, n_classes))
    options = {
        "effects": effects - effects.mean(axis=1, keepdims=True),
        "std_errors": np.full((n_features, n_classes), 0.3),
        "feature_names": tuple(f"x{j}" for j in range(n_features)),
        "classes": np.arange(n_classes),
        "binary": np.arange(n_features) == 2,
        "at": "overall",
        "kind": "dydx",
    }
    return nbs.MarginalEffects(**(options | changes))


def test_marginal_effects_are_points_with_intervals_in_percentage_points():
    effects = _effects(8)
    display = plots.MarginalEffectsDisplay.from_effects(effects, level=0.9, n_features=4)
    order = np.argsort(-np.abs(effects.effects).max(axis=1))[:4]
    assert display.features_.tolist() == order.tolist()
    low, high = 100 * np.moveaxis(effects.conf_int(0.9), -1, 0)
    for k, ax in enumerate(display.axes_):
        assert ax.get_title() == str(k)
        drawn = np.concatenate([np.column_stack(line.get_data()) for line in ax.lines[1:]])  # the first is zero
        drawn = drawn[np.argsort(drawn[:, 1]), 0]
        np.testing.assert_allclose(drawn, 100 * effects.effects[order, k])
        ends = np.array([segment[:, 0] for segment in ax.collections[0].get_segments()])
        np.testing.assert_allclose(ends, np.column_stack([low, high])[:, [k, k + 8]][order])
        hollow = ax.lines[2].get_ydata().astype(int)
        assert ax.lines[2].get_fillstyle() == "none"
        assert hollow.tolist() == [i for i, j in enumerate(order) if low[j, k] <= 0 <= high[j, k]]
    names = [text.get_text() for text in display.axes_[0].get_yticklabels()]
    assert names == [f"x{j}, 0 to 1" if j == 2 else f"x{j}" for j in order]
    assert "percentage points" in display.figure_.get_supxlabel()
    assert "90%" in display.figure_.get_suptitle()
    bottom, top = display.axes_[0].get_ylim()
    assert bottom > top  # the largest effect is at the top


def test_marginal_effects_of_other_kinds_and_without_finite_errors():
    elastic = plots.MarginalEffectsDisplay.from_effects(_effects(2, kind="eyex"))
    assert elastic.figure_.get_supxlabel() == "elasticity of the probability"
    errors = np.full((5, 2), np.inf)
    errors[0] = np.nan
    display = plots.MarginalEffectsDisplay.from_effects(_effects(2, std_errors=errors))
    assert not display.axes_[0].collections[0].get_segments()
    display.figure_.draw_without_rendering()
    figure = Figure()
    assert plots.MarginalEffectsDisplay.from_effects(_effects(3), figure=figure).figure_ is figure
    with pytest.raises(nbs.InputTypeError, match="effects is an ndarray"):
        plots.MarginalEffectsDisplay.from_effects(np.eye(2))
    with pytest.raises(nbs.InputValueError, match="level"):
        plots.MarginalEffectsDisplay.from_effects(_effects(3), level=95)
