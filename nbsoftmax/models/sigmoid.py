"""A two-class model as a single weight vector: softmax((z_0, z_1))_1 = sigmoid(z_1 - z_0)."""

from __future__ import annotations

from typing import NamedTuple

from nbsoftmax.errors import InputValueError
from nbsoftmax.models.sklearn_parameters import one_row
from nbsoftmax.validation import Float64s


class SigmoidWeights(NamedTuple):
    """A two-class model as one weight vector: P(classes[1]) = sigmoid(coef . x + intercept).

    Attributes
    ----------
    coef : ndarray (n_features,)
    intercept : float
    """

    coef: Float64s
    intercept: float


def sigmoid_weights(coef: Float64s, intercept: Float64s) -> SigmoidWeights:
    """The weight vector of a model with these parameters, which has two classes; otherwise an error."""
    if len(coef) != 2:
        raise InputValueError(f"the model has {len(coef)} classes; only a two-class model has a single weight vector.")
    row, bias = one_row(coef, intercept)
    return SigmoidWeights(row[0], float(bias[0]))
