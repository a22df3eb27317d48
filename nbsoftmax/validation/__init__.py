"""Validation: everything that comes from outside is checked here, once.

Each function takes what the user gave and returns what the kernels expect. For bad input it raises one error, which
says what was given, what was expected and what to do. Kernels, backends and solvers validate nothing again. An array
that already has the right dtype and layout is not copied.

Each file has one subject:

    conversion   arrays, lists, columns and tensors to NumPy arrays
    frames       tables of pandas, polars and Arrow to NumPy arrays with feature names; arrow_tables, column_dtypes
    names        names of features: none twice, and those of the training
    records      the error about dicts in the place of a table
    arrays       arrays of numbers: X, logits, parameters, offsets, outputs
    axes         logits of any shape, with their targets and weights
    sparse       X that may be a sparse matrix
    labels       labels of classes to class indices and sorted classes
    partial      sets of possible classes
    targets      class indices, or rows of probabilities
    weights      sample weights and class weights
    weighting    targets and weights together, as the kernels use them
    binary       the same for binary cross-entropy
    size         the number of classes, and whether a problem fits in memory
    options      numbers, choices, flags, devices, numbers of threads

Callers use the functions by the name of this package, for example `validation.number`.
"""

try:
    from numba import config  # noqa: F401
except ValueError as error:  # a setting of Numba has an invalid value
    raise ImportError(
        f"Numba cannot be imported ({error}); correct the environment variables NUMBA_*, such as NUMBA_NUM_THREADS"
    ) from error

from nbsoftmax.validation.arrays import (
    Float64s,
    Floats,
    all_finite,
    as_float64s,
    as_floats,
    design,
    finite,
    finite_numbers,
    first_not_finite,
    float_dtype,
    logits,
    offset,
    offset_columns,
    out,
    params,
    some_samples,
    writeable_view,
)
from nbsoftmax.validation.axes import Along, logits_along, target_rows, weight_rows
from nbsoftmax.validation.beside import (
    class_columns,
    in_order_of_classes,
    kept_beside,
    refuse_other_length,
    targets_in_order,
)
from nbsoftmax.validation.binary import binary_targets, positive_weights
from nbsoftmax.validation.conversion import EXACT_INTEGERS, TEXT, as_array, is_on_device, refuse_tensor
from nbsoftmax.validation.frames import by_label, frame, is_series
from nbsoftmax.validation.labels import (
    by_text,
    class_labels,
    codes_of,
    in_order,
    joined_labels,
    keys_of,
    labels,
    positions,
    target_array,
    unknown_label,
)
from nbsoftmax.validation.lazy import computed, is_dask, is_delayed
from nbsoftmax.validation.names import first_repeated, refuse_twice, same_features
from nbsoftmax.validation.options import callables, choice, count, device, flag, n_threads, number, seed
from nbsoftmax.validation.partial import certain_labels, possible_classes, possible_in_order, refuse_never_possible
from nbsoftmax.validation.records import refuse_records
from nbsoftmax.validation.size import n_classes, needs_memory
from nbsoftmax.validation.sparse import features, is_sparse, samples, with_indices, with_last_numbers
from nbsoftmax.validation.targets import MULTILABEL, Targets, distributions, targets
from nbsoftmax.validation.weighting import WeightedTargets, weigh, weighted_targets
from nbsoftmax.validation.weights import class_weights, in_units, sample_weights, scaled, summable

__all__ = [
    "EXACT_INTEGERS",
    "MULTILABEL",
    "TEXT",
    "Along",
    "Float64s",
    "Floats",
    "Targets",
    "WeightedTargets",
    "all_finite",
    "as_array",
    "as_float64s",
    "as_floats",
    "binary_targets",
    "by_label",
    "by_text",
    "callables",
    "certain_labels",
    "choice",
    "class_columns",
    "class_labels",
    "class_weights",
    "codes_of",
    "computed",
    "count",
    "design",
    "device",
    "distributions",
    "features",
    "finite",
    "finite_numbers",
    "first_not_finite",
    "first_repeated",
    "flag",
    "float_dtype",
    "frame",
    "in_order",
    "in_order_of_classes",
    "in_units",
    "is_dask",
    "is_delayed",
    "is_on_device",
    "is_series",
    "is_sparse",
    "joined_labels",
    "kept_beside",
    "keys_of",
    "labels",
    "logits",
    "logits_along",
    "n_classes",
    "n_threads",
    "needs_memory",
    "number",
    "offset",
    "offset_columns",
    "out",
    "params",
    "positions",
    "positive_weights",
    "possible_classes",
    "possible_in_order",
    "refuse_never_possible",
    "refuse_other_length",
    "refuse_records",
    "refuse_tensor",
    "refuse_twice",
    "same_features",
    "sample_weights",
    "samples",
    "scaled",
    "seed",
    "some_samples",
    "summable",
    "target_array",
    "target_rows",
    "targets",
    "targets_in_order",
    "unknown_label",
    "weigh",
    "weight_rows",
    "weighted_targets",
    "with_indices",
    "with_last_numbers",
    "writeable_view",
]
