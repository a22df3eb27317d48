"""`Problem`: the samples, targets and weights of a fit with rows in memory, validated once.

    samples, labels, weights --> Problem --> backend (sums over the rows) --> objective --> solver

Objectives, solvers and the trainer take a `Problem` and validate nothing again. Several fits may share a problem, since
it is never changed: `split`, `with_offset` and `with_sample_weight` return a new one, which shares the arrays that stay
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.cuda.device import devices, on_host
from nbsoftmax.backends.in_memory import in_memory
from nbsoftmax.encoding import AnyEncoding, is_table
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, counted, rows_called
from nbsoftmax.kernels.kinds import PARTIAL
from nbsoftmax.problem.class_weights import ClassWeight, weights_of_classes
from nbsoftmax.problem.held_out import rows_to_hold_out
from nbsoftmax.problem.refusals import refuse_no_weight, refuse_on_device, refuse_one_class
from nbsoftmax.problem.table_rows import encoded_rows
from nbsoftmax.validation import Float64s, Floats, WeightedTargets


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """Validated samples, targets and weights of a fit.

    Attributes
    ----------
    X : ndarray (n_samples, n_features), float32 or float64; a canonical csr_array of SciPy; or an array on a GPU
    y : ndarray
        Class indices (n_samples,), probabilities (n_samples, n_classes), or booleans (n_samples, n_classes) for partial
        labels.
    classes : ndarray (n_classes,)
        The labels that the class indices stand for.
    feature_names : tuple of str or None
    sample_weight : ndarray (n_samples,), or (0,) if all weights are 1
    class_weight : None, "balanced", mapping of label to weight, or array (n_classes,)
        In the form in which it was given.
    label_smoothing : float
    offset : ndarray (n_samples, n_classes) of the dtype of X, or (0, 0) for none
    target : WeightedTargets
        `y` with all its weights, as backends take it.
    held_out : Problem or None
        Validation data, which are not part of the fit.
    encoding : AnyEncoding or None
        How X was made from a table.
    """

    X: Any
    y: NDArray[Any]
    classes: NDArray[Any]
    feature_names: tuple[str, ...] | None
    sample_weight: Float64s
    class_weight: ClassWeight
    label_smoothing: float
    offset: Floats
    target: WeightedTargets
    held_out: Problem | None = None
    encoding: AnyEncoding | None = None

    @classmethod
    def from_labels(
        cls,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        class_weight: ClassWeight = None,
        label_smoothing: float = 0.0,
        dtype: Any = None,
        device: str = "cpu",
    ) -> Problem:
        """Validate samples and labels of any kind, or probabilities (n_samples, n_classes) of classes 0, 1, ...

        Booleans (n_samples, n_classes) are partial labels: the classes that are possible.
        `class_weight`, `label_smoothing`, `dtype` and `device` are options of `Trainer`.
        """
        array, names = _samples(X, dtype, device)
        if validation.device(device) != "cpu":
            y, sample_weight, offset = on_host(device, y, sample_weight, offset)
        codes, classes = validation.possible_classes(y) or encoded(y, array.shape[0])
        if len(codes) != array.shape[0]:
            raise InputValueError(
                f"y has {counted(len(codes), 'entry')}, but X has {counted(array.shape[0], 'row')}; give one target "
                "for each row."
            )
        weight = validation.sample_weights(sample_weight, array.shape[0])
        if codes.dtype == bool:
            validation.refuse_never_possible(codes, classes)
            codes, weight = validation.certain_labels(codes, weight) or (codes, weight)
        problem = cls.from_validated(
            array, codes, classes, names, weight, class_weight=class_weight, label_smoothing=label_smoothing
        )
        return problem.with_offset(offset)

    @classmethod
    def from_indices(
        cls,
        X: Any,
        y: ArrayLike,
        *,
        n_classes: int | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | None = None,
        label_smoothing: float = 0.0,
        offset: ArrayLike | None = None,
        device: str = "cpu",
    ) -> Problem:
        """Validate samples and class indices 0 to n_classes - 1, probabilities, or partial labels."""
        array, names = _samples(X, None, device)
        if validation.device(device) != "cpu":
            y, sample_weight, offset = on_host(device, y, sample_weight, offset)
        y = validation.as_array("y", y)
        n_samples, n = array.shape[0], validation.n_classes(n_classes, y, array.shape[1])
        checked = validation.targets(y, n_samples, n, array.dtype, n_of="X", partial=True)
        smoothing = validation.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        weight = validation.sample_weights(sample_weight, n_samples)
        by_class = validation.class_weights(class_weight, n)
        target = validation.weigh(checked, weight, by_class, n, array.dtype, label_smoothing=smoothing)
        refuse_no_weight(target.total)
        offset = validation.offset(offset, (n_samples, n), array.dtype, np.arange(n))
        return cls(array, y, np.arange(n), names, weight, class_weight, smoothing, offset, target)

    @classmethod
    def from_validated(
        cls,
        X: Any,
        y: NDArray[Any],
        classes: NDArray[Any],
        feature_names: tuple[str, ...] | None,
        sample_weight: Float64s,
        *,
        class_weight: ClassWeight,
        label_smoothing: float,
    ) -> Problem:
        """The problem of samples and sample weights, (0,) for none, that are validated already, with encoded labels."""
        smoothing = validation.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        target = _weighted(y, X.shape[0], classes, np.dtype(X.dtype), sample_weight, class_weight, smoothing)
        refuse_no_weight(target.total)
        no_offset = np.empty((0, 0), X.dtype)
        return cls(X, y, classes, feature_names, sample_weight, class_weight, smoothing, no_offset, target)

    def __repr__(self) -> str:
        """Sizes and dtype, without the arrays."""
        sizes = f"n_samples={self.n_samples}, n_features={self.n_features}, n_classes={self.n_classes}"
        return f"Problem({sizes}, dtype={self.dtype})"

    @property
    def n_samples(self) -> int:
        """Number of rows of X."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return int(self.X.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.classes.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of X."""
        dtype: np.dtype[Any] = np.dtype(self.X.dtype)
        return dtype

    @property
    def on_device(self) -> bool:
        """Whether X is on a GPU."""
        return not (isinstance(self.X, np.ndarray) or self.is_sparse)

    @property
    def is_sparse(self) -> bool:
        """Whether X is a sparse array."""
        return validation.is_sparse(self.X)

    @property
    def weight_sum(self) -> float:
        """S, the sum of sample weights times class weights, which the mean loss divides by."""
        return self.target.weight_sum

    @property
    def is_weighted(self) -> bool:
        """Whether there are sample weights."""
        return bool(self.sample_weight.size)

    @property
    def has_offset(self) -> bool:
        """Whether an offset is added to the logits."""
        return bool(self.offset.size)

    @property
    def has_partial_labels(self) -> bool:
        """Whether labels are sets of possible classes, so that the loss is not convex."""
        return bool(self.target.kind == PARTIAL)

    def backend(self, *, fit_intercept: bool, n_threads: int | None) -> Backend:
        """The sums over the rows, computed by the CPU."""
        options: dict[str, Any] = {"fit_intercept": fit_intercept, "n_threads": n_threads}
        return in_memory(self.X, self.target, offset=self.offset, **options)

    def identity(self) -> tuple[Any, ...]:
        """What `fingerprint` needs to recognise this problem, and its validation data."""
        held_out, target = self.held_out, self.target
        beside = () if held_out is None else held_out.rows_given()
        weights = target.weight, target.gain, target.floor
        return *beside, self.X, self.y, self.classes, *weights, *((self.offset,) if self.has_offset else ())

    def rows_given(self) -> tuple[Any, ...]:
        """The arrays of the rows, without what the options of a fit make of them."""
        return self.X, self.y, self.sample_weight, *((self.offset,) if self.has_offset else ())

    def target_in_float64(self) -> WeightedTargets:
        """`target` with probabilities and class weights in float64, also for float32 X."""
        if self.dtype == np.float64:
            return self.target
        weights = self.sample_weight, self.class_weight, self.label_smoothing
        return _weighted(self.y, self.n_samples, self.classes, np.dtype(np.float64), *weights)

    def weights_or_ones(self) -> Float64s:
        """The sample weights, (n_samples,): 1 for all samples if none were given."""
        return self.sample_weight if self.sample_weight.size else np.ones(self.n_samples)

    def class_mass(self) -> Float64s:
        """The share of each class in the weights of all targets, sum_i t_ik / S: (n_classes,)."""
        return self.target.class_sums() / self.target.total

    def separable_below(self) -> float:
        """A mean loss below which all classes are separated without error; 0 if the loss cannot show that."""
        return self.target.separable_below()

    def split(self, fraction: float, seed: int | None) -> Problem:
        """Hold out this share of the samples of positive weight as validation data, drawn by `seed`.

        About the same share of each class. The validation data have sample weights, but no class weights, and their
        targets are not smoothed.
        """
        validation.number("validation_fraction", fraction, low=0.0, high=0.9, low_open=True)
        seed = validation.seed(seed)
        refuse_on_device(self.on_device, "validation_fraction selects rows")
        counts = self.weights_or_ones() > 0
        out = np.zeros(self.n_samples, bool)
        out[counts] = rows_to_hold_out(self.y[counts], fraction, seed)
        held_out = self.rows(out, class_weight=None, label_smoothing=0.0)
        kept = self.rows(~out, class_weight=self.class_weight, label_smoothing=self.label_smoothing)
        return replace(kept, held_out=held_out)

    def rows(self, rows: NDArray[np.bool_], *, class_weight: ClassWeight, label_smoothing: float) -> Problem:
        """The samples of some rows, which are copied, with other class weights and label smoothing."""
        weight = self.sample_weight[rows] if self.sample_weight.size else self.sample_weight
        part = Problem.from_validated(
            self.X[rows],
            self.y[rows],
            self.classes,
            self.feature_names,
            weight,
            class_weight=class_weight,
            label_smoothing=label_smoothing,
        )
        return replace(part, offset=self.offset[rows] if self.has_offset else part.offset, encoding=self.encoding)

    def with_offset(self, offset: ArrayLike | None, classes: NDArray[Any] | None = None) -> Problem:
        """With fixed additions to the logits, which are validated here; `classes` are the labels of class indices."""
        if offset is None:
            return self
        added = validation.offset(
            offset, (self.n_samples, self.n_classes), self.dtype, self.classes if classes is None else classes
        )
        return replace(self, offset=added)

    def with_sample_weight(self, sample_weight: Float64s, *, class_weighted: bool = True) -> Problem:
        """The same samples with other weights; without class weights and label smoothing if not `class_weighted`."""
        weighted = Problem.from_validated(
            *(self.X, self.y, self.classes, self.feature_names, sample_weight),
            class_weight=self.class_weight if class_weighted else None,
            label_smoothing=self.label_smoothing if class_weighted else 0.0,
        )
        return replace(weighted, offset=self.offset, encoding=self.encoding)

    def with_validation_data(self, data: Any) -> Problem:
        """With validation data, given as `validation_problem` takes them, in the form of those of the fit."""
        return replace(self, held_out=validation_problem(self, data))


class Fitted(Protocol):
    """What validation data agree with: the problem of the fit."""

    @property
    def n_features(self) -> int: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def classes(self) -> NDArray[Any]: ...  # noqa: D102
    @property
    def feature_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def encoding(self) -> AnyEncoding | None: ...  # noqa: D102


def validation_problem(fitted: Fitted, data: Any) -> Problem:
    """The problem of validation data, given as (X, y), (X, y, sample_weight) or (X, y, sample_weight, offset)."""
    if not isinstance(data, (tuple, list)) or not 2 <= len(data) <= 4:
        raise InputTypeError(
            f"validation_data is {a_type(data)}, expected (X, y), (X, y, sample_weight) or "
            "(X, y, sample_weight, offset)."
        )
    X, y, sample_weight, offset = (*data, None, None)[:4]
    rows = None
    if fitted.encoding is not None and is_table(X):
        X, y, sample_weight, offset, rows = encoded_rows(fitted.encoding, X, y, sample_weight, offset)
    with rows_called(rows):
        return _validation_problem(fitted, X, y, sample_weight, offset)


def _validation_problem(fitted: Fitted, X: Any, y: Any, sample_weight: Any, offset: Any) -> Problem:
    array, names = validation.frame(X)
    validation.same_features(names, fitted.feature_names)
    X = validation.features(array, name="validation X", dtype=fitted.dtype, n_features=fitted.n_features, names=names)
    possible = validation.possible_in_order(y, fitted.classes, X.shape[0], name="validation y")
    y = validation.targets_in_order(y, fitted.classes, name="validation y") if possible is None else possible
    if y.ndim != 2 or y.shape[1] == 1:
        y = validation.codes_of(y, fitted.classes, n_samples=X.shape[0], name="validation y")
    weight = validation.sample_weights(sample_weight, X.shape[0])
    problem = Problem.from_validated(X, y, fitted.classes, names, weight, class_weight=None, label_smoothing=0.0)
    return problem.with_offset(offset)


def _samples(X: Any, dtype: Any, device: str) -> tuple[Any, tuple[str, ...] | None]:
    """X on the host or on a GPU, and the feature names of a table."""
    if not validation.is_on_device(X):
        device_for(X, validation.device(device))
        return validation.samples(X, dtype=None if dtype is None else validation.float_dtype(dtype))
    if dtype is not None:
        raise InputValueError("X is on a GPU, where it is not converted; convert it yourself, and leave dtype out.")
    gpus = devices(validation.device(device))
    if not gpus:
        raise InputValueError(f"X is on a GPU, and device is {device!r}: use device='cuda', or copy X to the host.")
    with gpus[0].here():
        return gpus[0].adopt(X), None


def device_for(X: Any, device: str) -> str:
    """The device for sums over X: sparse rows stay on the CPU, also with "auto", and are refused on a GPU."""
    if not validation.is_sparse(X):
        return device
    if device.startswith("cuda"):
        raise InputValueError(
            f"device is {device!r}, but X is sparse, which only the CPU supports; use device='cpu'.", parameter="device"
        )
    return "cpu"


def encoded(y: Any, n_samples: int | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Class indices and the labels that they stand for; rows of probabilities stay, with classes 0, 1, ..."""
    array = validation.target_array(y)
    if array.ndim == 2 and array.shape[1] > 1:
        classes = np.arange(array.shape[1])
        return validation.targets_in_order(y, classes), classes
    codes, classes = validation.labels(array, n_samples=n_samples)
    refuse_one_class(classes)
    return codes, classes


def _weighted(
    y: NDArray[Any],
    n_samples: int,
    classes: NDArray[Any],
    dtype: np.dtype[Any],
    sample_weight: Float64s,
    class_weight: ClassWeight,
    label_smoothing: float,
) -> WeightedTargets:
    """Encoded labels, or rows of probabilities, with validated sample weights and the class weights that were given."""
    target = validation.targets(y, n_samples, classes.size, dtype, n_of="X", partial=True)
    given = weights_of_classes(class_weight, y, classes, sample_weight)
    by_class = validation.class_weights(given, classes.size)
    return validation.weigh(target, sample_weight, by_class, classes.size, dtype, label_smoothing=label_smoothing)
