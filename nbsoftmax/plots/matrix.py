"""Names beside a matrix and numbers in its cells, as large as fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbsoftmax.plots.figure import apply_layout
from nbsoftmax.plots.palette import readable_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_FONT = 5.0  # points; smaller texts are left out
NUMBER_FONT = 9.0
BLACK_AND_WHITE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LINE_HEIGHT = 1.2  # of a text, in font sizes
SHORT, SLANT = 4, 50  # names of more characters are slanted, by these degrees


def write_names(ax: Axes, names: Sequence[str], degrees: float | None) -> None:
    """Write names below and left of a square matrix.

    The font is as small as needed; where the smallest is too large, only every second, third ... name is written.
    `degrees` is the rotation of those below. Default: horizontal if the names are short and fit, vertical if they are
    short, otherwise slanted.
    """
    width, n = max(_width(name) for name in names), len(names)
    angle = (SLANT if max(map(len, names)) > SHORT else 0) if degrees is None else degrees
    _set_names(ax, names, 1, angle)
    largest = float(ax.yaxis.get_major_ticks()[0].label1.get_fontsize())
    if degrees is None and angle == 0 and width * largest > min(_cell_size(ax, n)):
        angle = 90
        _set_names(ax, names, 1, angle)
    lines = _line_distance(width, angle)
    for font in [largest, *(size for size in (8.0, 7.0, 6.0, LEAST_FONT) if size < largest)]:
        ax.tick_params(labelsize=font)
        step = int(np.ceil(lines * font / min(_cell_size(ax, n))))
        if step <= 1:
            return
    _set_names(ax, names, step, angle)


def _line_distance(width: float, degrees: float) -> float:
    """Distance between names in a row at which they do not overlap, and between those in a column, in font sizes."""
    sine, cosine = (max(abs(float(f(np.radians(degrees)))), 1e-9) for f in (np.sin, np.cos))
    return max(LINE_HEIGHT, min(LINE_HEIGHT / sine, width / cosine))


def _set_names(ax: Axes, names: Sequence[str], step: int, degrees: float) -> None:
    places = range(0, len(names), step)
    ax.set_xticks(places, names[::step])
    ax.set_yticks(places, names[::step])
    ax.tick_params("x", rotation=degrees)
    if degrees % 90:
        for name in ax.get_xticklabels():
            name.set(ha="right", rotation_mode="anchor")


def write_numbers(ax: Axes, image: Any, texts: Mapping[tuple[int, int], str], options: Mapping[str, Any]) -> None:
    """Write texts into cells (row, column) of an image, in black or white; none if they do not fit in a legible font.

    `options` are those of matplotlib's `text`. With a font size among them, the texts are written in any case.
    """
    if not texts:
        return
    shown = image.get_array()
    cell_width, cell_height = _cell_size(ax, len(shown))
    width = max(map(_width, set(texts.values())))
    font = min(NUMBER_FONT, cell_width / width, cell_height / LINE_HEIGHT)
    if font < LEAST_FONT and not {"fontsize", "size", "font", "fontproperties"} & set(options):
        return
    for (i, j), text in texts.items():
        colour = readable_on(image.cmap(image.norm(shown[i, j])), BLACK_AND_WHITE)
        style = {"ha": "center", "va": "center", "color": colour, "fontsize": font} | dict(options)
        if "size" in options:
            del style["fontsize"]
        ax.text(j, i, text, **style)


def _cell_size(ax: Axes, n: int) -> tuple[float, float]:
    """Width and height of the cells of an n x n matrix, in points."""
    apply_layout(ax)
    box, points = ax.get_window_extent(), 72 / ax.figure.dpi
    return box.width * points / n, box.height * points / n


def _width(text: str) -> float:
    """Width of a text with a gap, in font sizes."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=10).get_extents().width) / 10 + 0.4


def number_text(value: Any) -> str:
    """Format a count or a sum of weights: with four digits, or all digits of the whole number if these are more."""
    whole = float(value).is_integer() or abs(value) >= 1000
    return f"{value:.0f}" if whole and abs(value) < 1e9 else f"{value:.4g}"


def share_text(value: float) -> str:
    """Format a share with two decimals; one that is not 0 does not look like 0."""
    return "<0.01" if 0 < value < 0.005 else f"{value:.2f}"
