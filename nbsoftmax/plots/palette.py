"""Colours, line styles and markers of many classes, for the background of matplotlib's current style.

Distances of colours are Euclidean in OKLab, where equal distances look about equally large: B. Ottosson, "A perceptual
color space for image processing" (2020). Contrasts are ratios (Y_1 + 0.05) / (Y_2 + 0.05) of relative luminances: WCAG
2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbsoftmax.validation import Float64s

LINE_STYLES = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")
LEVELS = 9  # of red, green and blue, of the colours to choose from
LEAST_CONTRAST = 3.5  # to the background; WCAG asks for 3 for graphics
LEAST_CONTRAST_TO_TEXT = 2.0
LEAST_CHROMA = 0.06  # greys are for what is not important

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_TO_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def colours(n: int) -> list[tuple[float, float, float]]:
    """Return n colours (red, green, blue): those of matplotlib's style, then the most different from all before.

    The colours repeat after some hundreds.
    """
    from matplotlib import rcParams
    from matplotlib.colors import to_rgb

    found = of_style()[:n]
    if len(found) < n:
        background = to_rgb(rcParams["axes.facecolor"])
        found += _most_different(n - len(found), np.array([background, to_rgb(rcParams["text.color"]), *found]))
    return [found[k % len(found)] for k in range(n)]


def of_style() -> list[tuple[float, float, float]]:
    """The distinct colours of matplotlib's property cycle."""
    from matplotlib import rcParams
    from matplotlib.colors import to_rgb

    return list(dict.fromkeys(map(to_rgb, rcParams["axes.prop_cycle"].by_key().get("color", ["C0"]))))


def styles(n: int) -> list[dict[str, Any]]:
    """Return the colour, line style and marker of each of n classes.

    Line style and marker change after each cycle of matplotlib's colours, so that no class depends on its colour alone.
    """
    cycle = len(of_style())
    return [
        {
            "color": colour,
            "linestyle": LINE_STYLES[k // cycle % len(LINE_STYLES)],
            "marker": MARKERS[k // cycle % len(MARKERS)],
        }
        for k, colour in enumerate(colours(n))
    ]


def readable_on(background: Any, options: Sequence[Any]) -> Any:
    """Return the one of a few colours with the highest contrast to the background."""
    from matplotlib.colors import to_rgb

    contrast = _contrast(np.array([to_rgb(option) for option in options]), np.array(to_rgb(background)))
    return options[int(contrast.argmax())]


def _most_different(n: int, taken: Float64s) -> list[tuple[float, float, float]]:
    """Choose up to n colours, each the farthest from all before and from `taken`: background, text, others."""
    level = np.linspace(0, 1, LEVELS)
    rgb = np.stack(np.meshgrid(level, level, level), axis=-1).reshape(-1, 3)
    lab, lab_taken = _oklab(rgb), _oklab(taken)
    visible = _contrast(rgb, taken[0]) >= LEAST_CONTRAST
    visible &= _contrast(rgb, taken[1]) >= LEAST_CONTRAST_TO_TEXT
    visible &= np.hypot(lab[:, 1], lab[:, 2]) >= LEAST_CHROMA
    rgb, lab = rgb[visible], lab[visible]
    distance = np.linalg.norm(lab[:, None] - lab_taken, axis=2).min(axis=1)
    found = []
    for _ in range(min(n, len(rgb))):
        best = int(distance.argmax())
        found.append((float(rgb[best, 0]), float(rgb[best, 1]), float(rgb[best, 2])))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[best], axis=1))
    return found


def _contrast(rgb: Float64s, other: Float64s) -> Float64s:
    """Contrast ratios, at least 1, of colours (n, 3) to another (3,)."""
    y, z = (_linear(colour) @ _TO_LUMINANCE + 0.05 for colour in (rgb, other))
    return np.asarray(np.maximum(y / z, z / y))


def _oklab(rgb: Float64s) -> Float64s:
    """Lightness, green to red and blue to yellow of colours (n, 3)."""
    return np.asarray(np.cbrt(_linear(rgb) @ _TO_CONES.T) @ _TO_LAB.T)


def _linear(rgb: Float64s) -> Float64s:
    """Undo the gamma correction of sRGB."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
