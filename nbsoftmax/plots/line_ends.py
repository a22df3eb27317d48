"""Names at the right ends of lines, moved apart where they would overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbsoftmax.plots.figure import apply_layout
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_SPACING = 1.35  # heights of a text from one name to the next, in font sizes
GAP = 14  # points from the axes to the names


def label_ends(ax: Axes, ends: Sequence[tuple[str, float, float, Any]]) -> None:
    """Write names beside the right edge of the axes; each end is (name, x, y, colour).

    The lines have been drawn, and the limits of the axes do not change any more.
    """
    from matplotlib.font_manager import FontProperties

    ax.set_ylim(ax.get_ylim())
    font = FontProperties(size="small")
    apply_layout(ax)
    height = ax.get_window_extent().height * 72 / ax.figure.dpi  # points
    y = ax.transAxes.inverted().transform(ax.transData.transform([(x, y) for _, x, y, _ in ends]))[:, 1]
    places = apart(y, LINE_SPACING * font.get_size_in_points() / height)
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


def apart(places: Float64s, least: float) -> Float64s:
    """Move places (n,) apart to distances of at least `least`, with the least sum of squared moves.

        minimise sum_i (b_i - a_i)^2    subject to b_(i+1) - b_(i) >= least, in the order of a

    With b_i - i least, this is isotonic regression, solved by pooling adjacent violators.
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
    found[order] += least * np.arange(len(places))
    return found
