"""The coefficients of one class relative to another, with standard errors, tests and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError, counted, listed, plain
from nbsoftmax.models.display import MOST_LISTED, Displayed, Table
from nbsoftmax.models.estimates import Estimates, interval, statistics, two_sided, z_scores
from nbsoftmax.models.to_frame import data_frame
from nbsoftmax.validation import Float64s

Inference = Any  # which imports this module


@dataclass(frozen=True, eq=False, repr=False)
class Contrast(Displayed):
    """The coefficients of class `a` relative to class `b`.

    Attributes
    ----------
    a, b : labels
    names : tuple of str
        The features, then "const" where there is an intercept.
    params : ndarray (n_names,)
    covariance : ndarray (n_names, n_names)
    """

    a: Any
    b: Any
    names: tuple[str, ...]
    params: Float64s
    covariance: Float64s

    @property
    def standard_errors(self) -> Float64s:
        """Standard errors (n_names,)."""
        return np.sqrt(self.covariance.diagonal())

    @property
    def z(self) -> Float64s:
        """Wald statistics, params / standard_errors."""
        return z_scores(self.params, self.standard_errors)

    @property
    def p_values(self) -> Float64s:
        """Two-sided p-values: P(|Z| >= |z|) for Z standard normal."""
        return two_sided(self.z)

    def conf_int(self, level: float = 0.95) -> Float64s:
        """Confidence intervals (n_names, 2).

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        """
        return interval(self.params, self.standard_errors, level)

    def to_frame(self, *, level: float = 0.95, exp: bool = False) -> Any:
        """A data frame with a row for each column of X: of pandas, or of polars if pandas is not installed.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        ImportError
            If neither pandas nor polars is installed.
        """
        numbers = statistics(self.params, self.standard_errors, level, exp=exp)
        return data_frame({"column": self.names, "rrr" if exp else "coef": numbers.pop("value")} | numbers)

    def summary(self, *, level: float = 0.95, exp: bool = False) -> str:
        """Table of the coefficients; with `exp`, of relative risk ratios, as in `Inference.summary`.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        """
        estimates = Estimates(self.params[None], self.standard_errors[None], [f"y={self.a}"], self.names)
        head = [("Class:", str(self.a))], [("Reference:", str(self.b))]
        order = range(len(self.names))
        return estimates.text("Contrast of Classes", "RRR" if exp else "coef", *head, order, level, exp=exp)

    def __str__(self) -> str:
        return self.summary()

    def _title(self) -> str:
        return f"{plain(self.a)} relative to {plain(self.b)}, {counted(len(self.names), 'column')}"

    def _lines(self) -> dict[str, str]:
        return {"columns": listed(self.names, most=MOST_LISTED)}

    def _table(self) -> Table:
        numbers = np.stack([self.params, self.standard_errors, self.z, self.p_values], axis=-1)
        return Table(
            ("column", "coef", "std err", "z", "P>|z|"),
            [
                (plain(name), *(f"{number:.4g}" for number in row))
                for name, row in zip(self.names, numbers.tolist(), strict=True)
            ],
        )


def contrast_of(fit: Inference, a: Any, b: Any) -> Contrast:
    """The contrast of two different classes of a fit, one of which may be the reference class."""
    labels = fit.model.classes
    at, base = (position(name, label, labels) for name, label in (("a", a), ("b", b)))
    if at == base:
        raise InputValueError(f"a and b are both {plain(a)}; give two classes.")
    n, n_names = fit.params.shape
    sign = np.eye(n + 1)[at] - np.eye(n + 1)[base]
    sign = sign[labels != fit.reference]
    return Contrast(
        a=labels.tolist()[at],
        b=labels.tolist()[base],
        names=fit.names,
        params=sign @ fit.params,
        covariance=np.einsum("k,kplq,l->pq", sign, fit.covariance.reshape(n, n_names, n, n_names), sign),
    )


def position(name: str, label: Any, classes: NDArray[Any]) -> int:
    """The position of a label among the classes; the error calls it `name`."""
    labels: list[Any] = classes.tolist()
    if np.ndim(label) or label not in labels:
        raise InputValueError(f"{name} is {plain(label)}, expected one of [{listed(labels)}].")
    return labels.index(label)
