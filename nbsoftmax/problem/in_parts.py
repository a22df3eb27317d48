"""`ProblemInParts`: the samples of a fit that are not in memory together, but in parts that are made when needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.descent import DescendingRows
from nbsoftmax.backends.sum import Parts, SumOfRows
from nbsoftmax.data.blocks import Block, RowBlocks, is_source
from nbsoftmax.encoding import AnyEncoding, TableOptions, encoding_for
from nbsoftmax.errors import InputError, InputTypeError, InputValueError, counted, rows_called
from nbsoftmax.problem.block_parts import BlockParts, OnRows, Reading
from nbsoftmax.problem.class_weights import ClassWeight, weights_of_classes
from nbsoftmax.problem.in_memory import Problem, validation_problem
from nbsoftmax.problem.refusals import refuse_no_weight, refuse_one_class
from nbsoftmax.problem.survey import Survey, Weighting
from nbsoftmax.problem.table_rows import encoded_rows
from nbsoftmax.validation import Float64s

PartsOf = Callable[["ProblemInParts", bool, int | None], Parts]


@dataclass(frozen=True, eq=False, repr=False)
class ProblemInParts:
    """The data of a fit whose rows are in parts. Its other attributes and methods are those of `Problem`.

    Attributes
    ----------
    survey : Survey
        Of all rows.
    weighting : Weighting
        Of the targets of each part.
    parts_of : callable (problem, fit_intercept, n_threads) -> Parts
        Where the backends of the parts come from.
    digest : callable () -> str
        The digest of all rows, which takes a pass over them.
    feature_names : tuple of str or None
    class_weight : None, "balanced", mapping of label to weight, or array (n_classes,)
    label_smoothing : float
    held_out : Problem or ProblemInParts or None
    reading : Reading or None
        Of blocks that this process reads.
    encoding : AnyEncoding or None
        How X was made from the columns of tables.
    """

    survey: Survey
    weighting: Weighting
    parts_of: PartsOf
    digest: Callable[[], str]
    feature_names: tuple[str, ...] | None
    class_weight: ClassWeight
    label_smoothing: float
    held_out: AnyProblem | None = None
    reading: Reading | None = None
    encoding: AnyEncoding | None = None

    on_device = False

    @classmethod
    def from_blocks(
        cls,
        source: RowBlocks,
        *,
        class_weight: ClassWeight = None,
        label_smoothing: float = 0.0,
        dtype: Any = None,
        device: str = "cpu",
        classes: NDArray[Any] | None = None,
        on_rows: OnRows | None = None,
    ) -> ProblemInParts:
        """The problem of blocks of rows, after one pass over them.

        `class_weight`, `label_smoothing`, `dtype` and `device` are options of `Trainer`; `classes` are those of a
        model, if there is one; `on_rows` is that of `Reading`.
        """
        if validation.device(device).startswith("cuda"):
            raise InputValueError(
                f"device is {device!r}, but blocks of rows are summed on the CPU; use device='cpu'.", parameter="device"
            )
        reading = Reading(source, on_rows)
        survey = reading.survey(None if dtype is None else validation.float_dtype(dtype))
        problem = cls.from_survey(
            survey,
            partial(_parts_of_blocks, reading),
            partial(reading.digest, survey.dtype, survey.n_samples),
            source.feature_names,
            class_weight=class_weight,
            label_smoothing=label_smoothing,
            classes=classes,
        )
        return replace(problem, reading=reading, encoding=getattr(source, "encoding", None))

    @classmethod
    def from_dask(  # noqa: PLR0913  the options of a fit, and those of the cluster
        cls,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        offset: Any = None,
        class_weight: ClassWeight = None,
        label_smoothing: float = 0.0,
        dtype: Any = None,
        device: str = "cpu",
        classes: NDArray[Any] | None = None,
        client: Any = None,
        timeout: float | None = None,
        table: TableOptions | AnyEncoding | None = None,
    ) -> ProblemInParts:
        """The problem of Dask collections, after one pass over them; the parameters are those of `RowsOnCluster`.

        `class_weight`, `label_smoothing`, `dtype` and `device` are options of `Trainer`; `classes` are those of a
        model, if there is one.
        """
        from nbsoftmax.problem.on_cluster import RowsOnCluster

        if validation.device(device).startswith("cuda"):
            raise InputValueError(
                f"device is {device!r}, but rows of Dask collections are summed by the CPUs of the workers; use "
                "device='cpu'.",
                parameter="device",
            )
        dtype = None if dtype is None else validation.float_dtype(dtype)
        rows = RowsOnCluster(X, y, sample_weight, offset, dtype=dtype, client=client, timeout=timeout, table=table)
        options: dict[str, Any] = {"class_weight": class_weight, "label_smoothing": label_smoothing}
        names = rows.feature_names
        problem = cls.from_survey(rows.survey(), rows.parts, rows.digest, names, classes=classes, **options)
        return replace(problem, encoding=rows.encoding)

    @classmethod
    def from_survey(
        cls,
        survey: Survey,
        parts_of: PartsOf,
        digest: Callable[[], str],
        feature_names: tuple[str, ...] | None,
        *,
        class_weight: ClassWeight,
        label_smoothing: float,
        classes: NDArray[Any] | None = None,
    ) -> ProblemInParts:
        """The problem of rows that were surveyed before."""
        labels = survey.labels if classes is None else classes
        refuse_one_class(labels)
        if survey.offset_width not in (0, labels.size):
            raise InputValueError(f"the offset has {survey.offset_width} columns, expected {labels.size}.")
        validation.in_order_of_classes("offset", survey.columns.offset, labels)
        validation.in_order_of_classes("y", survey.columns.y if survey.soft else None, labels)
        smoothing = validation.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        given = weights_of_classes(class_weight, np.arange(labels.size), labels, survey.sums_of(labels))
        weighting = Weighting.of(survey, labels, given, smoothing)
        refuse_no_weight(weighting.total)
        return cls(survey, weighting, parts_of, digest, feature_names, class_weight, smoothing)

    def __repr__(self) -> str:
        """Sizes and dtype."""
        sizes = f"n_samples={self.n_samples}, n_features={self.n_features}, n_classes={self.n_classes}"
        return f"ProblemInParts({sizes}, dtype={self.dtype})"

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.survey.n_samples

    @property
    def is_weighted(self) -> bool:
        """Whether there are sample weights."""
        return self.survey.weighted

    @property
    def has_offset(self) -> bool:
        """Whether an offset is added to the logits."""
        return self.survey.offset_width > 0

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return self.survey.n_features

    @property
    def classes(self) -> NDArray[Any]:
        """The labels that the class indices stand for."""
        return self.weighting.classes

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.classes.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of X."""
        return self.survey.dtype

    @property
    def weight_sum(self) -> float:
        """S, the sum of sample weights times class weights."""
        return self.weighting.weight_sum

    def class_mass(self) -> Float64s:
        """The share of each class in the weights of all targets, sum_i t_ik / S: (n_classes,)."""
        return self.weighting.class_sums / self.weighting.total

    def separable_below(self) -> float:
        """A mean loss below which all classes are separated without error; 0 if the loss cannot show that."""
        least = self.weighting.least_weight
        return float(np.log(2)) * least / self.weighting.total if np.isfinite(least) else 0.0

    def backend(self, *, fit_intercept: bool, n_threads: int | None) -> Backend:
        """The sums over all parts, added in their order."""
        parts = self.parts_of(self, fit_intercept, n_threads)
        sizes: dict[str, Any] = {
            "dtype": self.dtype,
            "n_samples": self.n_samples,
            "n_features": self.n_features,
            "n_classes": self.n_classes,
            "weight_sum": self.weighting.total,
        }
        if isinstance(parts, BlockParts):
            return DescendingRows(parts, parts.shuffled, parts.lengths, **sizes)
        return SumOfRows(parts, **sizes)

    def part(self, block: Block, *, fit_intercept: bool, n_threads: int | None) -> Backend:
        """The backend of some rows."""
        return self.weighting.backend(block, fit_intercept=fit_intercept, n_threads=n_threads)

    def identity(self) -> tuple[Any, ...]:
        """What `fingerprint` needs to recognise this problem, and its validation data."""
        beside = () if self.held_out is None else self.held_out.rows_given()
        by_class, smoothing = self.weighting.by_class, self.label_smoothing
        return *beside, *self.rows_given(), self.classes, by_class, smoothing

    def rows_given(self) -> tuple[Any, ...]:
        """The digest of the rows."""
        return (self.digest(),)

    def split(self, fraction: float, seed: int | None) -> ProblemInParts:
        """Refuse to hold out samples, which would have to be drawn from all of them."""
        raise InputValueError(
            "validation_fraction draws samples from rows in memory, but these are read in parts; give "
            "validation_data instead."
        )

    def with_validation_data(self, data: Any) -> ProblemInParts:
        """With validation data given as `validation_problem` takes them, in blocks, or in Dask collections."""
        if is_source(data):
            held_out = ProblemInParts.from_blocks(data, dtype=self.dtype, classes=self.classes)
        elif isinstance(data, (tuple, list)) and 2 <= len(data) <= 4 and validation.is_dask(data[0]):
            X, y, sample_weight, offset = (*data, None, None)[:4]
            of_rows: dict[str, Any] = {"sample_weight": sample_weight, "offset": offset}
            of_rows["table"] = self.encoding if hasattr(X, "columns") else None
            try:
                held_out = ProblemInParts.from_dask(X, y, **of_rows, dtype=self.dtype, classes=self.classes)
            except InputError as error:
                raise type(error)(f"in validation_data: {error}") from None
        else:
            return replace(self, held_out=validation_problem(self, data))
        validation.same_features(held_out.feature_names, self.feature_names)
        if held_out.n_features != self.n_features:
            raise InputValueError(
                f"validation_data has {counted(held_out.n_features, 'feature')}, but X has {self.n_features}; give the "
                "same ones."
            )
        return replace(self, held_out=held_out)


AnyProblem = Problem | ProblemInParts


def problem_of(
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    offset: Any = None,
    validation_data: Any = None,
    on_rows: OnRows | None = None,
    table: TableOptions | AnyEncoding | None = None,
    **options: Any,
) -> AnyProblem:
    """The problem of rows in memory, in blocks or in Dask collections, or X itself if it is a problem.

    `options` are `class_weight`, `label_smoothing`, `dtype` and `device`, as `Trainer` has them. With `table`, tables
    may have columns of any kind; without it, only numbers.
    """
    if isinstance(X, AnyProblem):
        if not (y is sample_weight is offset is validation_data is None):
            raise InputValueError("a Problem has its own y, weights, offset and validation data; give it alone.")
        return X
    problem: AnyProblem
    encoding = rows = None
    if is_source(X):
        if not (y is sample_weight is offset is None):
            raise InputTypeError(
                "X is a source of blocks of rows, which has its own y, sample weights and offset; give it alone."
            )
        if table not in (None, TableOptions()):
            raise InputTypeError(
                "X is a source of blocks of rows, which encodes its own columns; give table= where it is opened, for "
                "example to nbs.data.open, and not to the trainer."
            )
        problem = ProblemInParts.from_blocks(X, on_rows=on_rows, **options)
    elif any(map(validation.is_dask, (X, y, sample_weight, offset))):
        options["table"] = table if validation.is_dask(X) else None
        problem = ProblemInParts.from_dask(X, y, sample_weight=sample_weight, offset=offset, **options)
    else:
        encoding = None if table is None else encoding_for(X, table)
        if encoding is not None:
            dense = str(options.get("device")).startswith("cuda")
            X, y, sample_weight, offset, rows = encoded_rows(encoding, X, y, sample_weight, offset, dense=dense)
        with rows_called(rows):
            problem = Problem.from_labels(X, y, sample_weight=sample_weight, offset=offset, **options)
    if encoding is not None:
        problem = replace(problem, feature_names=encoding.names, encoding=encoding)
    return problem if validation_data is None else problem.with_validation_data(validation_data)


def _parts_of_blocks(reading: Reading, problem: ProblemInParts, fit_intercept: bool, n_threads: int | None) -> Parts:
    return BlockParts(reading, problem.survey, partial(problem.part, fit_intercept=fit_intercept, n_threads=n_threads))
