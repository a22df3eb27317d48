"""Figures, axes and legends, as all displays use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, a_type

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_INSIDE = 6  # entries of a legend that is drawn inside the axes
MOST_ROWS = 16  # of a legend beside the axes
MOST_ENTRIES = 96  # of a legend
LEAST_WIDTH = 0.4  # of axes beside a legend, as a share of their place


def require_matplotlib() -> None:
    """Import matplotlib; if it is not installed, the error says how to install it."""
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        message = 'plots need matplotlib; install it with: pip install "nbsoftmax[plot]"'
        raise ModuleNotFoundError(message, name="matplotlib") from None


def new_figure(size: tuple[float, float]) -> Figure:
    """Create a figure that is not registered with pyplot, so that it need not be closed."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None, size: tuple[float, float], names: Sequence[str] = ()) -> Axes:
    """Return the given axes, or those of a new figure, which is wider if the legend of `names` is beside the axes."""
    if ax is not None:
        return _checked(ax)
    width, height = size
    axes: Axes = new_figure((width + _legend_width(names), height)).subplots()
    return axes


def _checked(ax: Any) -> Axes:
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise InputTypeError(
            f"ax is {a_type(ax)}, expected matplotlib axes; figure.subplots() makes axes, and of an array of "
            "axes, give one."
        )
    return ax


def figure_or_new(figure: Any, size: tuple[float, float]) -> Any:
    """Return the given figure or subfigure, or a new figure."""
    if figure is None:
        return new_figure(size)
    from matplotlib.figure import FigureBase

    if not isinstance(figure, FigureBase):
        raise InputTypeError(f"figure is {a_type(figure)}, expected a matplotlib figure or subfigure.")
    return figure


def foreground() -> Any:
    """The colour of lines and edges that belong to no class, in matplotlib's current style."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def apply_layout(ax: Axes) -> None:
    """Give the axes their final place, on which the extents of texts depend."""
    figure: Any = ax.get_figure(root=True)
    figure.draw_without_rendering()


def panels(figure: Any, titles: Sequence[str], n_columns: int, **options: Any) -> Any:
    """Axes in a grid, one for each title; the places that are left over stay empty."""
    grid = figure.subplots(-(-len(titles) // n_columns), n_columns, squeeze=False, **options).ravel()
    for ax in grid[len(titles) :]:
        ax.set_axis_off()
    for ax, title in zip(grid, titles, strict=False):
        ax.set_title(title)
    return grid[: len(titles)]


def add_legend(
    ax: Axes, handles: Sequence[Any], *, loc: str = "best", below: Axes | None = None, markers: bool = False
) -> None:
    """Add a legend of `handles` and the other labelled artists of the axes.

    It is inside the axes, at `loc`, if there are few entries, beside them, in columns, if there are many. `below` are
    axes that are as wide as `ax`. `markers` draws the markers of lines whose markers have no size.
    """
    handles = _legend_entries(ax, handles)
    labels = [handle.get_label() for handle in handles]
    options: dict[str, Any] = {"loc": loc}
    if len(labels) > MOST_INSIDE:
        beside = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "fontsize": "small"}
        options = beside | {"ncols": _columns(len(labels))}
    if len(labels) > MOST_ENTRIES:
        options["title"] = f"the first {MOST_ENTRIES} of {len(labels)}"
    legend = ax.legend(handles[:MOST_ENTRIES], labels[:MOST_ENTRIES], **options)
    for line in legend.get_lines() if markers else ():
        line.set(markersize=4, alpha=1)
    if len(labels) > MOST_INSIDE:
        _make_room(legend, [ax] if below is None else [ax, below])


def _make_room(legend: Any, axes: Sequence[Any]) -> None:
    """Make axes in a grid narrower, so that a legend beside them covers no others; a layout engine does so itself."""
    figure = axes[0].figure
    if figure.get_layout_engine() is not None:
        return
    width = legend.get_window_extent().width / figure.bbox.width
    for ax in axes:
        place = ax.get_subplotspec()
        if place is not None:
            box = place.get_position(figure)
            ax.set_position((box.x0, box.y0, max(LEAST_WIDTH * box.width, box.width - width), box.height))


def _legend_entries(ax: Axes, handles: Sequence[Any]) -> list[Any]:
    """Return `handles` and the other artists with labels, including those that an earlier display put in the legend.

    matplotlib leaves out artists whose labels begin with an underscore, but names of classes may begin with one.
    """
    legend = ax.get_legend()
    earlier = {text.get_text() for text in legend.get_texts()} if legend else set()
    own = set(handles)
    named = [artist for artist in ax.get_children() if artist in own or artist.get_label() in earlier]
    found = set(named)
    return [artist for artist in ax.get_legend_handles_labels()[0] if artist not in found] + named


def _columns(n: int) -> int:
    return -(-min(n, MOST_ENTRIES) // MOST_ROWS)


def _legend_width(names: Sequence[str]) -> float:
    """Inches that the legend needs beside the axes."""
    if len(names) <= MOST_INSIDE:
        return 0.0
    return _columns(len(names)) * (0.6 + 0.08 * max(map(len, names)))


def sums_called(weights: NDArray[Any]) -> str:
    """What an axis calls numbers of samples, or the sums of their weights if these are not whole."""
    return "samples" if np.array_equal(weights, np.round(weights)) else "weight"
