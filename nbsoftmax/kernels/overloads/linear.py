"""Loss and gradient of a linear model for compiled code: see `nbsoftmax.linear_loss`, whose function has the same name.

The products use register tiles also for many classes, where Python uses BLAS: its threads cannot be limited here.
"""

import numpy as np
from numba import prange

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels import linear
from nbsoftmax.kernels.chunks import PARTIAL_BYTES, chunks_of_samples
from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.linear import LOGIT, TILES, Rows, Weights, place_of_class, tiled_form, whole_vectors
from nbsoftmax.kernels.overloads.arguments import check_floats, contiguous, copied, only, zeros
from nbsoftmax.kernels.overloads.calls import calling
from nbsoftmax.kernels.overloads.sums import mean
from nbsoftmax.kernels.overloads.targets import targets
from nbsoftmax.kernels.rows import Target
from nbsoftmax.kernels.runtime.jit import jit


@jit
def checked_shape(X, coef, intercept):
    """Number of samples, of features and of classes."""
    n_rows, n_features = X.shape
    n_classes = coef.shape[0]
    if coef.shape[1] != n_features or intercept.size != n_classes:
        raise InputValueError("coef must have shape (n_classes, n_features), and intercept (n_classes,).")
    if n_features == 0 or n_classes < 2:
        raise InputValueError("X must have at least one feature, and coef at least two classes.")
    return n_rows, n_features, n_classes


@jit
def by_rows(X):
    """Elements of a C-contiguous X, and the strides of rows and columns."""
    return contiguous(X), X.shape[1], 1


@jit
def by_columns(X):
    """Elements of an F-contiguous X, and the strides of rows and columns."""
    return contiguous(X.T), 1, X.shape[0]


@jit
def by_copied_rows(X):
    """Elements of X in C order, and the strides of rows and columns."""
    return copied(X), X.shape[1], 1


@jit
def weights_for(form, coef, intercept, x):
    """The parameters in the dtype of X, as `Design.weights` lays them out; the stride and the columns of logits."""
    n_classes, n_features = coef.shape
    width, stride, columns = lanes(x), whole_vectors(n_classes, x), n_classes
    if form == LOGIT:
        stride, columns = 1, 1
    padded = (n_features + width - 1) // width * width
    w = np.zeros((n_features + 1) * stride if form == TILES else columns * (padded + 1), x.dtype)
    weights = Weights(w, stride, columns, form)
    for k in range(columns):
        at, distance, bias = place_of_class(weights, n_features, k)
        for j in range(n_features):
            w[at + j * distance] = coef[1, j] - coef[0, j] if form == LOGIT else coef[k, j]
        w[bias] = intercept[1] - intercept[0] if form == LOGIT else intercept[k]
    return w, stride, columns


@jit
def number_of_chunks(n_rows, n_features, n_classes):
    """Number of chunks of samples, limited by the memory for their gradients."""
    most = PARTIAL_BYTES // (8 * n_classes * (n_features + 1))
    return chunks_of_samples(n_rows, n_rows * (n_features + 1) * n_classes, most)


@jit
def mean_gradient(gradient, n_chunks, columns, n_classes, n_features, divisor):
    """Add the gradients of the chunks in order; return those of the weights and of the intercepts, divided."""
    size = columns * (n_features + 1)
    for i in range(size, n_chunks * size):
        gradient[i % size] += gradient[i]
    by_class = gradient[:size].reshape(columns, n_features + 1)
    dcoef, dintercept = np.empty((n_classes, n_features)), np.empty(n_classes)
    for k in range(n_classes):
        # A single column is the gradient of class 1, and minus that of class 0.
        column, signed = k if columns == n_classes else 0, divisor if columns == n_classes or k == 1 else -divisor
        for j in range(n_features):
            dcoef[k, j] = by_class[column, j] / signed
        dintercept[k] = by_class[column, n_features] / signed
    return dcoef, dintercept


def loss_and_grad(X, y, coef, intercept, sample_weight, class_weight, label_smoothing):
    """Implementation for these types."""
    check_floats("X", X, 2)
    check_floats("coef", coef, 2)
    check_floats("intercept", intercept, 1)
    prepared = targets(y, sample_weight, class_weight, label_smoothing, None, 2)
    samples = {"C": by_rows, "F": by_columns}.get(X.layout, by_copied_rows)
    kernel = calling(linear.loss_and_grad)

    def implementation(X, y, coef, intercept, sample_weight=None, class_weight=None, label_smoothing=0.0):
        n_rows, n_features, n_classes = checked_shape(X, coef, intercept)
        x, row_stride, column_stride = samples(X)
        labels, proba, gain, floor, weight, kind, divisor = prepared(
            y, n_rows, n_classes, x, sample_weight, class_weight, label_smoothing, None, True
        )
        form = tiled_form(n_features, n_classes, lanes(x)) if n_classes > 2 else LOGIT
        w, stride, columns = weights_for(form, coef, intercept, x)
        n_chunks = number_of_chunks(n_rows, n_features, n_classes) if divisor > 0 else 0  # as in `sums.mean`
        partial, gradient, empty = zeros(n_chunks), zeros(n_chunks * columns * (n_features + 1)), x[:0]
        for chunk in prange(n_chunks):
            rows = Rows(x, row_stride, column_stride, n_rows, n_features, empty)
            weights = Weights(w, stride, columns, form)
            target = Target(labels, proba, gain, floor, weight, kind)
            kernel((only(chunk), rows, weights, target, True, True, partial, gradient))
        dcoef, dintercept = mean_gradient(gradient, n_chunks, columns, n_classes, n_features, divisor)
        return mean(partial, divisor), dcoef, dintercept

    return implementation
