"""Validation: everything that comes from outside is checked here, once.

Each function takes what the user gave, returns what the kernels expect, and raises one error that says what came, what
was expected and what to do. Kernels, backends and solvers validate nothing again. An array that is already as the
kernels need it is not copied.

One file a subject: `conversion` (anything to NumPy arrays), `frames` (tables), `labels`, `arrays`, `targets`,
`weights`, `options`. Callers use all their functions by the name of this package, as in `validation.number`.
"""

try:
    from numba import config  # noqa: F401
except ValueError as error:  # about one of its settings
    raise ImportError(
        f"Numba cannot be imported ({error}); correct the environment variables NUMBA_*, such as NUMBA_NUM_THREADS"
    ) from error

from nbsoftmax.validation.arrays import (
    Float64s as Float64s,
)
from nbsoftmax.validation.arrays import (
    Floats as Floats,
)
from nbsoftmax.validation.arrays import (
    as_float64s as as_float64s,
)
from nbsoftmax.validation.arrays import (
    as_floats as as_floats,
)
from nbsoftmax.validation.arrays import (
    design as design,
)
from nbsoftmax.validation.arrays import (
    finite as finite,
)
from nbsoftmax.validation.arrays import (
    first_not_finite as first_not_finite,
)
from nbsoftmax.validation.arrays import (
    float_dtype as float_dtype,
)
from nbsoftmax.validation.arrays import (
    logits as logits,
)
from nbsoftmax.validation.arrays import (
    offset as offset,
)
from nbsoftmax.validation.arrays import (
    out as out,
)
from nbsoftmax.validation.arrays import (
    params as params,
)
from nbsoftmax.validation.arrays import (
    samples as samples,
)
from nbsoftmax.validation.arrays import (
    some_samples as some_samples,
)
from nbsoftmax.validation.arrays import (
    writeable_view as writeable_view,
)
from nbsoftmax.validation.conversion import (
    as_array as as_array,
)
from nbsoftmax.validation.conversion import (
    is_on_device as is_on_device,
)
from nbsoftmax.validation.frames import (
    by_label as by_label,
)
from nbsoftmax.validation.frames import (
    frame as frame,
)
from nbsoftmax.validation.frames import (
    same_features as same_features,
)
from nbsoftmax.validation.labels import (
    class_labels as class_labels,
)
from nbsoftmax.validation.labels import (
    codes_of as codes_of,
)
from nbsoftmax.validation.labels import (
    labels as labels,
)
from nbsoftmax.validation.labels import (
    positions as positions,
)
from nbsoftmax.validation.labels import (
    target_array as target_array,
)
from nbsoftmax.validation.options import (
    callables as callables,
)
from nbsoftmax.validation.options import (
    choice as choice,
)
from nbsoftmax.validation.options import (
    count as count,
)
from nbsoftmax.validation.options import (
    device as device,
)
from nbsoftmax.validation.options import (
    flag as flag,
)
from nbsoftmax.validation.options import (
    n_threads as n_threads,
)
from nbsoftmax.validation.options import (
    number as number,
)
from nbsoftmax.validation.targets import (
    MANY_CLASSES as MANY_CLASSES,
)
from nbsoftmax.validation.targets import (
    Targets as Targets,
)
from nbsoftmax.validation.targets import (
    distributions as distributions,
)
from nbsoftmax.validation.targets import (
    n_classes as n_classes,
)
from nbsoftmax.validation.targets import (
    needs_memory as needs_memory,
)
from nbsoftmax.validation.targets import (
    targets as targets,
)
from nbsoftmax.validation.weights import (
    BinaryTargets as BinaryTargets,
)
from nbsoftmax.validation.weights import (
    WeightedTargets as WeightedTargets,
)
from nbsoftmax.validation.weights import (
    binary_targets as binary_targets,
)
from nbsoftmax.validation.weights import (
    class_weights as class_weights,
)
from nbsoftmax.validation.weights import (
    in_units as in_units,
)
from nbsoftmax.validation.weights import (
    sample_weights as sample_weights,
)
from nbsoftmax.validation.weights import (
    scaled as scaled,
)
from nbsoftmax.validation.weights import (
    weighted_targets as weighted_targets,
)
