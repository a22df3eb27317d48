"""Figures, axes, colours and legends, as all displays use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLOURS = 10  # curves with matplotlib's default colours; more curves take their colours from a colour map
MOST_INSIDE = 6  # entries of a legend that is drawn inside the axes


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


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the given axes, or those of a new figure."""
    if ax is not None:
        return ax
    axes: Axes = new_figure(size).subplots()
    return axes


def colours(n: int) -> list[Any]:
    """Return n different colours."""
    from matplotlib import colormaps

    if n <= MOST_COLOURS:
        return [f"C{k}" for k in range(n)]
    return list(colormaps["viridis"](np.linspace(0, 1, n)))


def line_colour() -> Any:
    """Return the colour of lines that belong to no class: that of the axes, so that dark styles of matplotlib work."""
    from matplotlib import rcParams

    return rcParams["axes.edgecolor"]


def add_legend(ax: Axes, n: int) -> None:
    """Add a legend of n entries: inside the axes if there are few, beside the axes if there are many."""
    if n <= MOST_INSIDE:
        ax.legend()
    else:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=1 + n // 20, fontsize="small")
