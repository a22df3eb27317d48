"""Functions of logits for compiled code: see `nbsoftmax.functional`, whose functions have the same names."""

from numba import prange

from nbsoftmax.kernels import rows
from nbsoftmax.kernels.chunks import chunks_of_logits
from nbsoftmax.kernels.overloads.arguments import (
    SHAPE,
    check_floats,
    check_out,
    choice,
    contiguous,
    flat,
    only,
    result,
    zeros,
)
from nbsoftmax.kernels.overloads.calls import calling
from nbsoftmax.kernels.overloads.sums import total
from nbsoftmax.kernels.overloads.targets import targets
from nbsoftmax.kernels.rows import Target

REDUCTIONS = ("mean", "sum")


def softmax(logits, out):
    return _rowwise(rows.softmax, logits, out)


def log_softmax(logits, out):
    return _rowwise(rows.log_softmax, logits, out)


def _rowwise(kernel, logits, out):
    """Implementation with a result of the shape of the logits."""
    check_floats("logits", logits, 1, 2)
    check_out(out, logits)
    shape, elements, new, kernel = SHAPE[logits.ndim], flat(logits), result(out), calling(kernel)

    def implementation(logits, out=None):
        n_rows, n_classes = shape(logits)
        z, proba = elements(logits), new(logits, out)
        to = contiguous(proba)
        n_chunks = chunks_of_logits(z.size)
        for chunk in prange(n_chunks):
            kernel((only(chunk), z, to, n_classes, n_rows, n_chunks))
        return proba

    return implementation


def logsumexp(logits):
    check_floats("logits", logits, 1, 2)
    shape, elements, kernel, one = SHAPE[logits.ndim], flat(logits), calling(rows.logsumexp), logits.ndim == 1

    def of_rows(logits):
        n_rows, n_classes = shape(logits)
        z = elements(logits)
        lse = zeros(n_rows).astype(z.dtype)
        n_chunks = chunks_of_logits(z.size)
        for chunk in prange(n_chunks):
            kernel((only(chunk), z, lse, n_classes, n_rows, n_chunks))
        return lse

    def of_row(logits):
        n_rows, n_classes = shape(logits)
        z = elements(logits)
        lse = zeros(n_rows).astype(z.dtype)
        kernel((only(0), z, lse, n_classes, n_rows, 1))
        return lse[0]

    return of_row if one else of_rows


def cross_entropy(logits, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction):
    check_floats("logits", logits, 1, 2)
    mean = choice("reduction", reduction, REDUCTIONS) == "mean"
    prepared = targets(y, sample_weight, class_weight, label_smoothing, ignore_index, logits.ndim)
    shape, elements, kernel = SHAPE[logits.ndim], flat(logits), calling(rows.cross_entropy)

    def implementation(
        logits, y, sample_weight=None, class_weight=None, label_smoothing=0.0, ignore_index=None, reduction="mean"
    ):
        n_rows, n_classes = shape(logits)
        z = elements(logits)
        labels, proba, gain, floor, weight, kind, divisor = prepared(
            y, n_rows, n_classes, z, sample_weight, class_weight, label_smoothing, ignore_index, mean
        )
        n_chunks = chunks_of_logits(z.size)
        partial, empty = zeros(n_chunks), z[:0]
        for chunk in prange(n_chunks):
            target = Target(labels, proba, gain, floor, weight, kind)
            kernel((only(chunk), z, n_classes, n_rows, target, 1.0 / divisor, empty, False, empty, partial))
        return total(partial) / divisor

    return implementation


def cross_entropy_and_grad(logits, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction, out):
    check_floats("logits", logits, 1, 2)
    check_out(out, logits)
    mean = choice("reduction", reduction, REDUCTIONS) == "mean"
    prepared = targets(y, sample_weight, class_weight, label_smoothing, ignore_index, logits.ndim)
    shape, elements, kernel, new = SHAPE[logits.ndim], flat(logits), calling(rows.cross_entropy), result(out)

    def implementation(
        logits,
        y,
        sample_weight=None,
        class_weight=None,
        label_smoothing=0.0,
        ignore_index=None,
        reduction="mean",
        out=None,
    ):
        n_rows, n_classes = shape(logits)
        z, grad = elements(logits), new(logits, out)
        labels, proba, gain, floor, weight, kind, divisor = prepared(
            y, n_rows, n_classes, z, sample_weight, class_weight, label_smoothing, ignore_index, mean
        )
        n_chunks = chunks_of_logits(z.size)
        partial, empty, to = zeros(n_chunks), z[:0], contiguous(grad)
        for chunk in prange(n_chunks):
            target = Target(labels, proba, gain, floor, weight, kind)
            kernel((only(chunk), z, n_classes, n_rows, target, 1.0 / divisor, empty, True, to, partial))
        return total(partial) / divisor, grad

    return implementation
