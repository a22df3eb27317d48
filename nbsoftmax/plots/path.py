"""The weights along a path of penalties, or the cross-validated log-loss along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbsoftmax.errors import InputValueError
from nbsoftmax.plots.figure import add_legend, axes_or_new, colours
from nbsoftmax.plots.names import short_names
from nbsoftmax.plots.notebook import NotebookDisplay
from nbsoftmax.selection.cross_validation import CVResult, summary
from nbsoftmax.selection.path import PathResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class PathDisplay(NotebookDisplay):
    """The weights along a path of penalties, or the held-out log-loss of a cross-validation.

    Attributes
    ----------
    lines_ : list of matplotlib lines
    ax_, figure_
    """

    def __init__(self, found: PathResult | CVResult) -> None:
        self.found = found

    @classmethod
    def from_path(cls, path: PathResult, *, ax: Axes | None = None) -> PathDisplay:
        """Draw all weights of a `fit_path` result over the strength of the penalty."""
        return cls(path).plot(ax=ax)

    @classmethod
    def from_cv(cls, found: CVResult, *, ax: Axes | None = None) -> PathDisplay:
        """Draw the mean log-loss of a `cross_validate` result over C, with standard errors and the chosen values."""
        return cls(found).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> PathDisplay:
        """Draw."""
        self.ax_ = axes_or_new(ax, (6.4, 4.4))
        self.figure_ = self.ax_.figure
        if isinstance(self.found, PathResult):
            self._draw_weights(self.found)
        else:
            self._draw_losses(self.found)
        self.ax_.set_xscale("log")
        self.ax_.grid(alpha=0.3)
        return self

    def _draw_weights(self, path: PathResult) -> None:
        strength = path.l1s + path.l2s
        if not (strength > 0).all():
            raise InputValueError("a penalty of the path is 0, which a logarithmic axis cannot show; leave it out.")
        order = np.argsort(strength)
        coefs = path.coefs[order]  # (n_penalties, n_classes, n_features)
        self.lines_ = []
        names = short_names(path.results[0].model.classes.tolist())
        for k, colour in enumerate(colours(coefs.shape[1])):
            lines = self.ax_.plot(strength[order], coefs[:, k], color=colour, linewidth=0.9, alpha=0.8)
            lines[0].set_label(names[k])
            self.lines_ += lines
        self.ax_.set(xlabel="strength of the penalty, l1 + l2", ylabel="weight")
        self.ax_.set_title("Regularisation path")
        self.ax_.invert_xaxis()  # the strongest penalty, and the smallest weights, at the left
        add_legend(self.ax_, coefs.shape[1])

    def _draw_losses(self, found: CVResult) -> None:
        mean, error = summary(found.log_loss)
        fitted = np.flatnonzero(~np.isnan(mean))
        order = fitted[np.argsort(found.Cs[fitted])]
        container = self.ax_.errorbar(
            found.Cs[order], mean[order], error[order], marker="o", markersize=4, capsize=3, label="± standard error"
        )
        self.lines_ = [container.lines[0]]
        self.ax_.axvline(found.Cs[found.best], color="C1", label="best")
        self.ax_.axvline(found.Cs[found.one_standard_error], color="C2", linestyle="--", label="one standard error")
        self.ax_.set(xlabel="C", ylabel="held-out log-loss")
        self.ax_.set_title("Cross-validation")
        self.ax_.legend()
