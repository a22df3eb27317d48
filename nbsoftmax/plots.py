"""Pictures of a fit. Needs matplotlib: pip install "nbsoftmax[plot]"."""

from __future__ import annotations

import os

import numpy as np

from nbsoftmax.trainer import FitResult


def save_digits_picture(result: FitResult, path: str | os.PathLike[str]) -> None:
    """Write a PNG: the learning curve of a fit, and the weights of each digit as an 8 x 8 image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)  # no window, and no change to the user's pyplot
    left, right = np.array(figure.subfigures(1, 2, width_ratios=[1, 1.6])).ravel()
    curve = left.subplots()
    iterations = np.arange(1, len(result.history["objective"]) + 1)
    curve.semilogy(iterations, result.history["objective"], label="objective")
    curve.semilogy(iterations, result.history["grad_norm"], label="gradient norm")
    curve.set_xlabel("iteration")
    curve.set_title("Learning curve")
    curve.grid(alpha=0.3)
    curve.legend()
    coef = result.model.coef
    limit = float(np.abs(coef).max())
    axes = right.subplots(2, 5)
    for k, axis in enumerate(axes.flat):
        image = axis.imshow(coef[k].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(str(result.model.classes[k]))
        axis.set_axis_off()
    right.colorbar(image, ax=axes, shrink=0.8)
    right.suptitle("Weights: red speaks for the digit, blue against")
    figure.savefig(path, dpi=120)
