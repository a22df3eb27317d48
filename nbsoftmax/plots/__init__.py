"""Plots of fits and models. Needs matplotlib: pip install "nbsoftmax[plot]".

The displays follow scikit-learn's. A class method `from_...` computes the data, stores them as attributes, draws them
and returns the display; `ax_` (or `axes_`) and `figure_` are matplotlib objects. `plot` draws again, on the given axes
or on a new figure. New figures are not registered with pyplot: save one with `display.figure_.savefig`, or show it in
a notebook by evaluating `display.figure_`.

`from_estimator` takes a `SoftmaxModel`, a `FitResult`, or a fitted scikit-learn classifier with `predict_proba`: an
estimator of this package, a pipeline or a search. `from_model` is an alias. `from_predictions` takes labels and
predictions of any classifier. Colours are those of matplotlib's style at the time of drawing.
"""

from nbsoftmax.plots.coefficients import CoefficientDisplay
from nbsoftmax.plots.confusion import ConfusionDisplay
from nbsoftmax.plots.convergence import ConvergenceDisplay
from nbsoftmax.plots.decision import DecisionDisplay
from nbsoftmax.plots.demo import save_digits_picture
from nbsoftmax.plots.effects import MarginalEffectsDisplay
from nbsoftmax.plots.path import PathDisplay
from nbsoftmax.plots.picture import FORMATS, picture_format, save_picture
from nbsoftmax.plots.reliability import ReliabilityDisplay

__all__ = [
    "FORMATS",
    "CoefficientDisplay",
    "ConfusionDisplay",
    "ConvergenceDisplay",
    "DecisionDisplay",
    "MarginalEffectsDisplay",
    "PathDisplay",
    "ReliabilityDisplay",
    "picture_format",
    "save_digits_picture",
    "save_picture",
]
