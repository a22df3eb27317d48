"""Names at the right ends of lines, moved apart where they would overlap, and no more than fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbsoftmax.plots.figure import apply_layout
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_SPACING = 1.35  # heights of a text from one name to the next, in font sizes
LEAST_FONT = 6.0  # points
GAP = 14  # points from the axes to the names


def label_ends(ax: Axes, ends: Sequence[tuple[str, float, float, Any]]) -> None:
    """Write names beside the right edge of the axes; each end is (name, x, y, colour).

    The lines have been drawn, and the limits of the axes do not change any more. Of many names, the font is smaller; if
    the smallest is too large, only the first ones are written.
    """
    from matplotlib.font_manager import FontProperties

    ax.set_ylim(ax.get_ylim())
    font = FontProperties(size="small")
    apply_layout(ax)
    height = ax.get_window_extent().height * 72 / ax.figure.dpi  # points
    largest = font.get_size_in_points()
    font.set_size(min(max(height / (LINE_SPACING * max(len(ends), 1)), LEAST_FONT), largest))
    line = LINE_SPACING * font.get_size_in_points() / height
    ends = ends[: max(1, int(1 / line + 1e-9))]
    y = ax.transAxes.inverted().transform(ax.transData.transform([(x, y) for _, x, y, _ in ends]))[:, 1]
    places = apart(y, line, low=line / 2, high=1 - line / 2)
    for (name, x, value, colour), place in zip(ends, places, strict=True):
        ax.annotate(
            name,
            (x, value),
            (1, place),
            textcoords=_right_of(ax),
            color=colour,
            fontproperties=font,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )


def _right_of(ax: Axes) -> Any:
    """Fractions of the axes, moved to the right by a gap."""
    from matplotlib.transforms import ScaledTranslation

    return ax.transAxes + ScaledTranslation(GAP / 72, 0, ax.figure.dpi_scale_trans)


def apart(places: Float64s, least: float, *, low: float = -np.inf, high: float = np.inf) -> Float64s:
    """Move places (n,) apart to distances of at least `least` in [low, high], with the least sum of squared moves.

        minimise sum_i (b_i - a_i)^2    subject to b_(i+1) - b_(i) >= least, in the order of a

    With b_i - i least, this is isotonic regression, solved by pooling adjacent violators; bounds then clip it.
    """
    order = np.argsort(places, kind="stable")
    blocks: list[tuple[float, int]] = []  # mean and number of places, means increasing
    for target in places[order] - least * np.arange(len(places)):
        mean, n = float(target), 1
        while blocks and blocks[-1][0] >= mean:
            before, m = blocks.pop()
            mean, n = (before * m + mean * n) / (m + n), m + n
        blocks.append((mean, n))
    found = np.empty(len(places))
    found[order] = [mean for mean, n in blocks for _ in range(n)]
    found = np.clip(found, low, high - least * (len(places) - 1))
    found[order] += least * np.arange(len(places))
    return found
