"""The picture of `nbsoftmax demo`."""

from __future__ import annotations

import os

import numpy as np

from nbsoftmax.plots.coefficients import CoefficientDisplay
from nbsoftmax.plots.convergence import ConvergenceDisplay
from nbsoftmax.plots.figure import new_figure
from nbsoftmax.plots.picture import save_picture
from nbsoftmax.training.result import FitResult


def save_digits_picture(result: FitResult, path: str | os.PathLike[str]) -> None:
    """Write a PNG with the convergence of a fit, and the weights of each digit as an 8 x 8 image."""
    figure = new_figure((11, 4.2))
    left, right = np.array(figure.subfigures(1, 2, width_ratios=[1, 1.6])).ravel()
    ConvergenceDisplay.from_result(result, ax=left.subplots())
    CoefficientDisplay.from_estimator(result.model, image_shape=(8, 8), figure=right)
    save_picture(figure, path, dpi=120)
