"""The result of marginal effects: effects of the features on the probabilities, with standard errors and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import counted, listed, plain
from nbsoftmax.models.display import MOST_LISTED, Displayed, Table
from nbsoftmax.models.estimates import Estimates, interval, statistics, two_sided, z_scores
from nbsoftmax.models.to_frame import data_frame
from nbsoftmax.validation import Float64s

SYMBOLS = {"dydx": "dy/dx", "eyex": "ey/ex", "dyex": "dy/ex", "eydx": "ey/dx"}


@dataclass(frozen=True, eq=False, repr=False)
class MarginalEffects(Displayed):
    """Effects of the features on the probabilities of the classes, with standard errors, tests and intervals.

    Attributes
    ----------
    effects, std_errors : ndarray (n_features, n_classes)
    feature_names : tuple of str
    classes : ndarray (n_classes,)
    binary : ndarray (n_features,) of bool
        The features whose effects are discrete changes, from 0 to 1.
    at : str
        "overall", "mean", "median" or "table".
    kind : {"dydx", "eyex", "dyex", "eydx"}
    """

    effects: Float64s
    std_errors: Float64s
    feature_names: tuple[str, ...]
    classes: NDArray[Any]
    binary: NDArray[np.bool_]
    at: str
    kind: str

    @property
    def z(self) -> Float64s:
        """Wald statistics, effects / std_errors: for many samples standard normal, if an effect is 0."""
        return z_scores(self.effects, self.std_errors)

    @property
    def p_values(self) -> Float64s:
        """Two-sided p-values: P(|Z| >= |z|) for Z standard normal."""
        return two_sided(self.z)

    def conf_int(self, level: float = 0.95) -> Float64s:
        """Confidence intervals (n_features, n_classes, 2): effects -+ quantile * std_errors.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        """
        return interval(self.effects, self.std_errors, level)

    def to_frame(self, *, level: float = 0.95) -> Any:
        """A data frame with a row for each feature and class: of pandas, or of polars if pandas is not installed.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        ImportError
            If neither pandas nor polars is installed.
        """
        n_features, n_classes = self.effects.shape
        numbers = statistics(self.effects, self.std_errors, level)
        names = np.repeat(np.array(self.feature_names, object), n_classes)
        labels = self.classes.tolist() * n_features
        return data_frame({"feature": names, "class": labels, "effect": numbers.pop("value")} | numbers)

    def summary(self, *, level: float = 0.95) -> str:
        """Table of effects, class after class.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        """
        estimates = Estimates(
            self.effects.T, self.std_errors.T, [f"y={label}" for label in self.classes], self.feature_names
        )
        head = [("At:", self.at)], [("Effects of 0 to 1:", f"{self.binary.sum()} of {len(self.binary)}")]
        order = range(len(self.feature_names))
        return estimates.text("Marginal Effects", SYMBOLS[self.kind], *head, order, level)

    def __str__(self) -> str:
        return self.summary()

    def _title(self) -> str:
        n_features, n_classes = self.effects.shape
        return f"{counted(n_features, 'feature')}, {counted(n_classes, 'class')}, {SYMBOLS[self.kind]} at {self.at}"

    def _lines(self) -> dict[str, str]:
        largest = np.unravel_index(np.abs(self.effects).argmax(), self.effects.shape) if self.effects.size else None
        lines = {"features": listed(self.feature_names, most=MOST_LISTED)}
        if self.binary.any():
            names = [name for name, is_binary in zip(self.feature_names, self.binary, strict=True) if is_binary]
            lines["from 0 to 1"] = listed(names, most=MOST_LISTED)
        if largest is not None:
            j, k = map(int, largest)
            of = f"{plain(self.feature_names[j])} on {plain(self.classes[k])}"
            lines["largest"] = f"{self.effects[j, k]:.4g} of {of}, standard error {self.std_errors[j, k]:.4g}"
        return lines

    def _table(self) -> Table:
        numbers = np.stack([self.effects, self.std_errors, self.z, self.p_values], axis=-1)
        return Table(
            ("feature", "class", SYMBOLS[self.kind], "std err", "z", "P>|z|"),
            [
                (plain(name), plain(label), *(f"{number:.4g}" for number in numbers[j, k]))
                for j, name in enumerate(self.feature_names)
                for k, label in enumerate(self.classes.tolist())
            ],
        )
