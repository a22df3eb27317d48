"""Functions of logits for compiled code: see `nbsoftmax.functional`, whose functions have the same names."""

from numba import prange
from numba.core.errors import TypingError

from nbsoftmax.kernels import columns, rows
from nbsoftmax.kernels.chunks import chunks_of_logits
from nbsoftmax.kernels.columns import LEAST_BYTES
from nbsoftmax.kernels.overloads.arguments import (
    apart,
    check_out,
    choice,
    contiguous,
    flat,
    only,
    result,
    value_of,
    zeros,
)
from nbsoftmax.kernels.overloads.axes import (
    axis_of,
    check_logits,
    from_rows,
    grid,
    rows_of,
    to_rows,
    with_one,
    without_axis,
)
from nbsoftmax.kernels.overloads.calls import calling
from nbsoftmax.kernels.overloads.sums import mean
from nbsoftmax.kernels.overloads.targets import targets
from nbsoftmax.kernels.rows import Target

REDUCTIONS = ("mean", "sum")


def softmax(logits, axis, out):
    return _transform("softmax", logits, axis, out)


def log_softmax(logits, axis, out):
    return _transform("log_softmax", logits, axis, out)


def _transform(name, logits, axis, out):
    """Implementation with a result of the shape of the logits."""
    check_logits(logits)
    check_out(out, logits)
    place, elements, new, kernel = (
        axis_of(axis, logits),
        flat(logits),
        result(out, logits),
        calling(getattr(rows, name)),
    )

    def of_rows(logits, axis=-1, out=None):
        n_rows, n_classes, _ = grid(logits.shape, place)
        z, proba = elements(logits), new(logits, out)
        to = contiguous(proba)
        n_chunks = chunks_of_logits(z.size)
        for chunk in prange(n_chunks):
            kernel((only(chunk), z, to, n_classes, n_rows, n_chunks, False))
        return proba

    if place == logits.ndim - 1:
        return of_rows
    of_columns = calling(getattr(columns, name))

    def along_axis(logits, axis=-1, out=None):
        n_outer, n_classes, n_inner = grid(logits.shape, place)
        z, proba = elements(logits), new(logits, out)
        to = contiguous(proba)
        n_chunks = chunks_of_logits(z.size)
        if n_inner * z.itemsize >= LEAST_BYTES:
            for chunk in prange(n_chunks):
                of_columns((only(chunk), z, to, n_classes, n_inner, n_chunks))
        else:
            copy = to_rows(z, n_outer, n_classes, n_inner)
            for chunk in prange(n_chunks):
                kernel((only(chunk), copy, copy, n_classes, n_outer * n_inner, n_chunks, False))
            from_rows(copy, to, n_outer, n_classes, n_inner)
        return proba

    return along_axis


def logsumexp(logits, axis, b, keepdims, return_sign):
    check_logits(logits)
    if value_of(b) is not None or value_of(return_sign) is not False:
        raise TypingError("b and return_sign are for Python only, expected b=None and return_sign=False.")
    if value_of(keepdims) not in (False, True):
        raise TypingError(f"keepdims is {keepdims}, expected a literal: True or False.")
    place, elements, last = axis_of(axis, logits), flat(logits), logits.ndim - 1
    kernel, of_columns = calling(rows.logsumexp), calling(columns.logsumexp)
    reshaped = with_one if value_of(keepdims) else without_axis

    def of_row(logits, axis=-1, b=None, keepdims=False, return_sign=False):
        n_rows, n_classes, _ = grid(logits.shape, place)
        z = elements(logits)
        lse = zeros(n_rows).astype(z.dtype)
        kernel((only(0), z, lse, n_classes, n_rows, 1))
        return lse[0]

    def of_rows(logits, axis=-1, b=None, keepdims=False, return_sign=False):
        n_rows, n_classes, _ = grid(logits.shape, place)
        z = elements(logits)
        lse = zeros(n_rows).astype(z.dtype)
        n_chunks = chunks_of_logits(z.size)
        for chunk in prange(n_chunks):
            kernel((only(chunk), z, lse, n_classes, n_rows, n_chunks))
        return lse.reshape(reshaped(logits.shape, place))

    def along_axis(logits, axis=-1, b=None, keepdims=False, return_sign=False):
        n_outer, n_classes, n_inner = grid(logits.shape, place)
        z = elements(logits)
        lse = zeros(n_outer * n_inner).astype(z.dtype)
        n_chunks = chunks_of_logits(z.size)
        if n_inner * z.itemsize >= LEAST_BYTES:
            for chunk in prange(n_chunks):
                of_columns((only(chunk), z, lse, n_classes, n_inner, n_chunks))
        else:
            copy = to_rows(z, n_outer, n_classes, n_inner)
            for chunk in prange(n_chunks):
                kernel((only(chunk), copy, lse, n_classes, n_outer * n_inner, n_chunks))
        return lse.reshape(reshaped(logits.shape, place))

    if last == 0 and not value_of(keepdims):
        return of_row
    return of_rows if place == last else along_axis


def cross_entropy(logits, y, axis, sample_weight, class_weight, label_smoothing, ignore_index, reduction):
    check_logits(logits)
    prepared = targets(y, sample_weight, class_weight, label_smoothing, ignore_index, logits.ndim)
    # Literals last: Numba tries a wrong call again without them, and that message follows the first one.
    place, is_mean = axis_of(axis, logits), choice("reduction", reduction, REDUCTIONS) == "mean"
    target_rows, weight_rows = rows_of(y, logits, place)
    elements, kernel, last = flat(logits), calling(rows.cross_entropy), place == logits.ndim - 1

    def implementation(
        logits,
        y,
        axis=-1,
        sample_weight=None,
        class_weight=None,
        label_smoothing=0.0,
        ignore_index=None,
        reduction="mean",
    ):
        n_outer, n_classes, n_inner = grid(logits.shape, place)
        n_rows = n_outer * n_inner
        z = elements(logits) if last else to_rows(elements(logits), n_outer, n_classes, n_inner)
        labels, proba, gain, floor, weight, kind, divisor = prepared(
            target_rows(y, logits.shape, place), n_rows, n_classes, z, weight_rows(sample_weight, logits.shape, place),
            class_weight, label_smoothing, ignore_index, is_mean,
        )  # fmt: skip
        n_chunks = chunks_of_logits(z.size) if divisor > 0 else 0  # as in `sums.mean`
        partial, empty = zeros(n_chunks), z[:0]
        for chunk in prange(n_chunks):
            target = Target(labels, proba, gain, floor, weight, kind)
            kernel((only(chunk), z, n_classes, n_rows, target, 1.0 / divisor, empty, False, empty, partial))
        return mean(partial, divisor)

    return implementation


def cross_entropy_and_grad(logits, y, axis, sample_weight, class_weight, label_smoothing, ignore_index, reduction, out):
    check_logits(logits)
    check_out(out, logits)
    prepared = targets(y, sample_weight, class_weight, label_smoothing, ignore_index, logits.ndim)
    # Literals last: Numba tries a wrong call again without them, and that message follows the first one.
    place, is_mean = axis_of(axis, logits), choice("reduction", reduction, REDUCTIONS) == "mean"
    target_rows, weight_rows = rows_of(y, logits, place)
    elements, kernel, new, last = (
        flat(logits),
        calling(rows.cross_entropy),
        result(out, logits),
        place == logits.ndim - 1,
    )
    separate = apart(y, out)

    def implementation(
        logits,
        y,
        axis=-1,
        sample_weight=None,
        class_weight=None,
        label_smoothing=0.0,
        ignore_index=None,
        reduction="mean",
        out=None,
    ):
        n_outer, n_classes, n_inner = grid(logits.shape, place)
        n_rows = n_outer * n_inner
        z = elements(logits) if last else to_rows(elements(logits), n_outer, n_classes, n_inner)
        grad = new(logits, out)
        separate(y, out)
        labels, proba, gain, floor, weight, kind, divisor = prepared(
            target_rows(y, logits.shape, place), n_rows, n_classes, z, weight_rows(sample_weight, logits.shape, place),
            class_weight, label_smoothing, ignore_index, is_mean,
        )  # fmt: skip
        n_chunks = chunks_of_logits(z.size) if divisor > 0 else 0  # as in `sums.mean`
        partial, empty, to = zeros(n_chunks), z[:0], contiguous(grad) if last else z
        for chunk in prange(n_chunks):
            target = Target(labels, proba, gain, floor, weight, kind)
            kernel((only(chunk), z, n_classes, n_rows, target, 1.0 / divisor, empty, True, to, partial))
        if not last:
            from_rows(to, contiguous(grad), n_outer, n_classes, n_inner)
        return mean(partial, divisor), grad

    return implementation
