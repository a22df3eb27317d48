"""Targets and weights in compiled code, as `validation.weighting` prepares them for Python.

The functions return the fields of a `kernels.rows.Target`, because Numba fails to pass named tuples to parallel loops.
Weights are not scaled by powers of two here, so their products with losses must be in the range of the logits' dtype.
"""

import numpy as np
from numba.core import types
from numba.core.errors import TypingError

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.kinds import INDEX, INDEX_SMOOTHED, PROBA, ROW_SUM_TOLERANCE
from nbsoftmax.kernels.overloads.arguments import FLOATS, check_known, check_number, check_weights, is_array, value_of
from nbsoftmax.kernels.overloads.sums import total
from nbsoftmax.kernels.runtime.jit import jit


@jit
def labels_of(y, n_rows, n_classes, ignore_index):
    """Class indices as int32, -1 for an ignored sample."""
    if y.size != n_rows:
        raise InputValueError("y must have one class index for each row.")
    labels = np.empty(n_rows, np.int32)
    if ignore_index is None:
        ignores, ignored = False, 0
    else:
        ignores, ignored = True, ignore_index
    for i in range(n_rows):
        label = y[i]
        if ignores and label == ignored:
            labels[i] = -1
        elif label < 0 or label >= n_classes:
            raise InputValueError("y contains a class outside 0 to n_classes - 1; count classes from 0.")
        else:
            labels[i] = label
    return labels


@jit
def weights_of(weight, n):
    """Weights as a new float64 array (n,); (0,) for None."""
    if weight is None:
        return np.empty(0)
    else:  # Numba compiles one of the branches
        if weight.size != n:
            raise InputValueError("the number of weights is not that of the samples or classes.")
        copy = np.empty(n)
        for i in range(n):
            copy[i] = weight[i]
            if not 0.0 <= copy[i] < np.inf:
                raise InputValueError("a weight is negative or not finite.")
        return copy


@jit
def scaled_by_class(by_class, share, z):
    """Weights of classes times a number, in the dtype of the logits; all weights are 1 for (0,)."""
    return (by_class * share).astype(z.dtype)


@jit
def smoothing_of(label_smoothing):
    """The label smoothing, as a float."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise InputValueError("label_smoothing must be from 0 to 1.")
    return float(label_smoothing)


@jit
def divisor_of(mean, divisor):
    """What the sum of the losses is divided by."""
    if not mean:
        return 1.0
    if divisor == 0.0:
        raise InputValueError(
            "the mean is undefined: there are no samples, or all are ignored or have weight 0; "
            'skip such batches, or use reduction="sum" of cross_entropy, which returns 0.'
        )
    return divisor


@jit
def index_targets(
    y, n_rows, n_classes, z, sample_weight, class_weight, label_smoothing, ignore_index, mean
):  # fmt: skip
    """The fields of the `Target` of class indices, and the divisor of the loss."""
    labels = labels_of(y, n_rows, n_classes, ignore_index)
    weight, by_class = weights_of(sample_weight, n_rows), weights_of(class_weight, n_classes)
    e = smoothing_of(label_smoothing)
    if by_class.size > 0 and e == 0.0:  # each sample has one class, so its weight becomes that of the sample
        product = np.empty(n_rows)
        for i in range(n_rows):
            of_class = by_class[max(labels[i], 0)]
            product[i] = weight[i] * of_class if weight.size > 0 else of_class
        weight, by_class = product, np.empty(0)
    n_counted, counted = 0, np.empty(n_rows if by_class.size > 0 else 0)
    for i in range(n_rows):
        if labels[i] >= 0:
            n_counted += 1
        elif weight.size > 0:
            weight[i] = 0.0
        if by_class.size > 0:
            of_class = by_class[labels[i]] if labels[i] >= 0 else 0.0
            counted[i] = of_class * weight[i] if weight.size > 0 else of_class
    if by_class.size > 0:
        divisor = total(counted)
    else:
        divisor = total(weight) if weight.size > 0 else float(n_counted)
        by_class = np.ones(n_classes)
    gain, floor = scaled_by_class(by_class, 1.0 - e, z), (by_class * e / n_classes).astype(z.dtype)
    kind = INDEX_SMOOTHED if e > 0.0 else INDEX
    return labels, z[:0], gain, floor, weight, kind, divisor_of(mean, divisor)


@jit
def one_index_target(
    y, n_rows, n_classes, z, sample_weight, class_weight, label_smoothing, ignore_index, mean
):  # fmt: skip
    """As `index_targets`, for one class index."""
    only = np.empty(1, np.int64)
    only[0] = y
    return index_targets(
        only, n_rows, n_classes, z, sample_weight, class_weight, label_smoothing, ignore_index, mean
    )  # fmt: skip


@jit
def check_distributions(y, n_rows, n_classes):
    """Check rows of probabilities, as `validation.targets` does."""
    for i in range(n_rows):
        sum_of_row, least = 0.0, np.float64(y[i, 0])
        for k in range(n_classes):
            proba = np.float64(y[i, k])
            sum_of_row += proba
            least = min(least, proba)
        if not (least >= 0.0 and abs(sum_of_row - 1.0) <= ROW_SUM_TOLERANCE):
            raise InputValueError("a row of y is no probability distribution; divide each row by its sum.")


@jit
def proba_targets(
    y, n_rows, n_classes, z, sample_weight, class_weight, label_smoothing, ignore_index, mean
):  # fmt: skip
    """The fields of the `Target` of rows of probabilities, and the divisor of the loss."""
    if y.shape != (n_rows, n_classes):
        raise InputValueError("y must have a row of probabilities for each row, and a column for each class.")
    check_distributions(y, n_rows, n_classes)
    proba = np.ascontiguousarray(y).astype(z.dtype).reshape(-1)
    weight, by_class = weights_of(sample_weight, n_rows), weights_of(class_weight, n_classes)
    e = smoothing_of(label_smoothing)
    if by_class.size == 0:
        by_class = np.ones(n_classes)
    divisor = total(weight) if weight.size > 0 else float(n_rows)
    gain, floor = scaled_by_class(by_class, 1.0 - e, z), (by_class * e / n_classes).astype(z.dtype)
    kind = PROBA
    return np.empty(0, np.int32), proba, gain, floor, weight, kind, divisor_of(mean, divisor)


def targets(y, sample_weight, class_weight, label_smoothing, ignore_index, n_dims):
    """The function that prepares targets of this type; `n_dims` is that of the logits."""
    of_labels = max(1, n_dims - 1)
    check_weights("sample_weight", sample_weight, of_labels)
    check_weights("class_weight", class_weight)
    check_number("label_smoothing", label_smoothing)
    if is_array(y, (types.Integer, types.Boolean), of_labels):
        function = index_targets
    elif isinstance(y, (types.Integer, types.Boolean)) and n_dims == 1:
        function = one_index_target
    elif is_array(y, types.Float, n_dims, max(2, n_dims)) and y.dtype in FLOATS:
        if value_of(ignore_index) is not None:
            raise TypingError("ignore_index is for class indices, but y has rows of probabilities.")
        return proba_targets
    else:
        raise TypingError(
            f"y is {y}, expected class indices (a {of_labels}-D array of integers) or probabilities "
            f"(a {n_dims}-D array of float32 or float64)."
        )
    check_known("ignore_index", ignore_index)
    ignored = value_of(ignore_index)
    if isinstance(ignored, bool) or not isinstance(ignored, (type(None), int, types.Integer)):
        raise TypingError(f"ignore_index is {ignore_index}, expected an integer or None.")
    return function
