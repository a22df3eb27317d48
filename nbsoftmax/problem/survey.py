"""What one pass over the rows finds out: how many there are, their classes, and the weights of each class.

The surveys of parts of the rows add up to that of all, in their order. From it and the options of a fit follows how
the targets of every part are weighted: in the same units, with the same divisor of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.in_memory import in_memory
from nbsoftmax.cached import cached_property
from nbsoftmax.data.blocks import Block, ClassColumns, CodedLabels
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.kernels.kinds import INDEX
from nbsoftmax.problem.fingerprint import fingerprint
from nbsoftmax.validation import Float64s, WeightedTargets

MOST_ENTRIES = 2**16  # of a table of classes
NO_SCALING = 60  # class weights are not scaled if the largest is between 2^-60 and 2^60


@dataclass(frozen=True, eq=False)
class Survey:
    """The counts, labels and weights of some rows.

    Attributes
    ----------
    n_samples, n_features : int
    dtype : dtype
        Of X.
    labels : ndarray (n_labels,)
        The sorted labels that occur; 0, 1, ... for probabilities.
    soft : bool
        Whether the targets are probabilities.
    weighted : bool
        Whether there are sample weights.
    sums : ndarray (n_labels,)
        The sum of the sample weights of each label, sum_i s_i q_ik, in units of 2^exponent.
    least, most : ndarray (n_labels,)
        The smallest positive and the largest sample weight of each label; for probabilities those of all samples.
    weight : float
        sum_i s_i, in units of 2^exponent.
    exponent : int
        With which these sums do not overflow.
    offset_width : int
        Columns of the offset; 0 for none.
    lengths : tuple of int
        The numbers of rows of the blocks.
    columns : ClassColumns
        The names of the columns of probabilities and of the offset.
    """

    n_samples: int
    n_features: int
    dtype: np.dtype[Any]
    labels: NDArray[Any]
    soft: bool
    weighted: bool
    sums: Float64s
    least: Float64s
    most: Float64s
    weight: float
    exponent: int
    offset_width: int
    lengths: tuple[int, ...]
    columns: ClassColumns

    @classmethod
    def of(cls, block: Block, names: tuple[str, ...] | None) -> Survey:
        """Check a block, and count what is in it."""
        X = validation.features(block.X, names=names)
        n = X.shape[0]
        y, labels = targets_of(block)
        weight = validation.sample_weights(block.sample_weight, n, all_zero=True)
        scaled, exponent = validation.scaled(weight)
        width = 0
        if block.offset is not None:
            width = max(2, np.shape(block.offset)[-1]) if np.ndim(block.offset) == 2 else 2
            validation.offset(block.offset, (n, width), X.dtype)
        soft = labels is None
        if labels is None:
            proba = validation.targets(y, n, y.shape[1], X.dtype, n_of="X").proba.astype(np.float64, copy=False)
            labels = np.arange(y.shape[1])
            sums = np.einsum("i,ik->k", scaled, proba) if weight.size else proba.sum(axis=0)
            used = weight if weight.size else np.ones(n)
            least = np.full(labels.size, used.min(initial=np.inf, where=used > 0))
            most = np.full(labels.size, used.max(initial=0.0))
        else:
            sums = np.bincount(y, scaled if weight.size else None, labels.size).astype(np.float64)
            least, most = np.full(labels.size, np.inf), np.zeros(labels.size)
            if weight.size:
                np.minimum.at(least, y, np.where(weight > 0, weight, np.inf))
                np.maximum.at(most, y, weight)
            else:
                least[:], most[:] = 1.0, 1.0
        weighted = block.sample_weight is not None
        total = float(scaled.sum()) if weight.size else float(n)
        return cls(
            n,
            X.shape[1],
            X.dtype,
            labels,
            soft,
            weighted,
            sums,
            least,
            most,
            total,
            exponent,
            width,
            (n,),
            block.columns,
        )

    def sums_of(self, classes: NDArray[Any]) -> Float64s:
        """`sums` in the order of the classes, 0 for one that does not occur."""
        return _by_class(self.sums, self.labels, classes, 0.0)

    def __add__(self, other: Survey) -> Survey:
        """The survey of these rows, and then the others."""
        self._check_same(other)
        labels = self.labels
        if labels.dtype != other.labels.dtype or not np.array_equal(labels, other.labels):
            found = [survey.labels for survey in (self, other) if survey.labels.size]  # blocks may have no rows
            labels = found[0] if len(found) == 1 else validation.labels(validation.joined_labels(found))[1]
        places = [
            np.searchsorted(labels, survey.labels)
            if survey.labels.dtype == labels.dtype
            else validation.positions(survey.labels, labels)  # exact, where NumPy compares integers as floats
            for survey in (self, other)
        ]
        exponent = max((survey.exponent for survey in (self, other) if survey.weight > 0), default=0)
        sums, least, most = np.zeros(labels.size), np.full(labels.size, np.inf), np.zeros(labels.size)
        for survey, place in zip((self, other), places, strict=True):
            sums[place] += np.ldexp(survey.sums, survey.exponent - exponent)
            least[place] = np.minimum(least[place], survey.least)
            most[place] = np.maximum(most[place], survey.most)
        return replace(
            self,
            n_samples=self.n_samples + other.n_samples,
            labels=labels,
            sums=sums,
            least=least,
            most=most,
            weight=sum(float(np.ldexp(survey.weight, survey.exponent - exponent)) for survey in (self, other)),
            exponent=exponent,
            lengths=self.lengths + other.lengths,
            columns=self.columns.joined(other.columns),
        )

    def _check_same(self, other: Survey) -> None:
        """Refuse blocks that differ in more than their rows."""

        def differ(what: str, ours: Any, theirs: Any, advice: str = "") -> InputValueError:
            return InputValueError(f"the blocks of rows differ: {what} {ours} in the first, {theirs} here{advice}.")

        if self.n_features != other.n_features:
            raise differ("the number of features is", self.n_features, other.n_features)
        if self.dtype != other.dtype:
            advice = "; give the same dtype in all, or dtype to the Trainer"
            raise differ("the dtype of X is", self.dtype, other.dtype, advice)
        if self.soft != other.soft or (self.soft and self.labels.size != other.labels.size):
            shapes = [f"(n, {s.labels.size})" if s.soft else "(n,)" for s in (self, other)]
            raise differ("the shape of y is", *shapes)
        if _kind(self.labels) != _kind(other.labels) and self.labels.size and other.labels.size:
            first, here = plain(self.labels[0]), plain(other.labels[0])
            raise InputTypeError(f"the blocks of rows have labels of several kinds: {first} and {here}; use one.")
        if self.weighted != other.weighted:
            raise differ("sample weights are", *("given" if s.weighted else "missing" for s in (self, other)))
        if self.offset_width != other.offset_width:
            raise differ("the columns of the offset are", self.offset_width, other.offset_width)


def _kind(labels: NDArray[Any]) -> str:
    kind = labels.dtype.kind
    return "number" if kind in "iuf" else "text" if kind in "UTO" else kind


@dataclass(frozen=True, eq=False)
class Weighting:
    """How the targets of any part of the rows are weighted.

    Attributes
    ----------
    classes : ndarray (n_classes,)
    soft : bool
        Whether the targets are probabilities.
    dtype : dtype
        Of X.
    by_class : ndarray (n_classes,), or (0,) for none
        In units of 2^class_exponent.
    label_smoothing : float
    sample_exponent, class_exponent : int
        Weights of samples and of classes are divided by 2 to this power.
    total : float
        What a mean of all rows divides by, in these units.
    class_sums : ndarray (n_classes,)
        sum_i t_ik over all rows, in these units.
    least_weight : float
        As in `WeightedTargets`, over all rows.
    form : tuple of (str, object)
        What blocks have alike, besides their rows: the number of features, for example.
    columns : ClassColumns
        The names of the columns of probabilities and of the offset.
    """

    classes: NDArray[Any]
    soft: bool
    dtype: np.dtype[Any]
    by_class: Float64s
    label_smoothing: float
    sample_exponent: int
    class_exponent: int
    total: float
    class_sums: Float64s
    least_weight: float
    form: tuple[tuple[str, Any], ...]
    columns: ClassColumns

    @classmethod
    def of(
        cls, survey: Survey, classes: NDArray[Any], class_weight: ArrayLike | None, label_smoothing: float
    ) -> Weighting:
        """For rows of this survey; `class_weight` is (n_classes,) in the order of the classes."""
        sums, least, most = (
            _by_class(a, survey.labels, classes, rest)
            for a, rest in ((survey.sums, 0.0), (survey.least, np.inf), (survey.most, 0.0))
        )
        by_class = validation.class_weights(class_weight, classes.size)
        exponent = 0
        if by_class.size and not 2.0**-NO_SCALING < by_class.max() < 2.0**NO_SCALING:
            by_class, exponent = validation.scaled(by_class)
        w = by_class if by_class.size else np.ones(classes.size)
        weighted = INDEX if not (survey.soft or label_smoothing > 0) else None
        most, shift = validation.scaled(most)
        largest = float((most * w).max(initial=0.0)) if weighted == INDEX else float(most.max(initial=0.0))
        sample_exponent = int(np.frexp(largest)[1]) - 1 + shift if survey.weighted and largest > 0 else 0
        sums, mass = (np.ldexp(a, survey.exponent - sample_exponent) for a in (sums, survey.weight))
        total = validation.in_units(float(mass), -exponent) if survey.soft else float((sums * w).sum())
        e = label_smoothing
        class_sums = sums * w if weighted == INDEX else sums * w * (1 - e) + mass * w * e / classes.size
        # t_ik > 0 are the weights of the samples only where each target is a single class.
        counts = np.isfinite(least) & (w > 0)
        smallest = float((np.ldexp(least[counts], -sample_exponent) * w[counts]).min(initial=np.inf))
        return cls(
            classes,
            survey.soft,
            survey.dtype,
            by_class,
            label_smoothing,
            sample_exponent,
            exponent,
            total,
            class_sums,
            smallest if weighted == INDEX else 0.0,
            _form(survey.n_features, weighted=survey.weighted, has_offset=survey.offset_width > 0),
            survey.columns,
        )

    @property
    def weight_sum(self) -> float:
        """The sum of the weights, in the units in which they were given."""
        return validation.in_units(self.total, self.sample_exponent + self.class_exponent)

    def target(self, block: Block) -> WeightedTargets:
        """The weighted targets of a block."""
        n, n_classes = block.X.shape[0], self.classes.size
        codes = self._by_table(block.y, n)
        if codes is None:
            y, labels = targets_of(block)
            codes = y if labels is None else validation.positions(labels, self.classes, codes=y)[y]
            checked = validation.targets(codes, n, n_classes, self.dtype, n_of="X")
        else:  # `_by_table` has checked them
            checked = validation.Targets(codes, np.empty((0, 0), self.dtype))
        weight = validation.sample_weights(block.sample_weight, n, all_zero=True)
        if weight.size and self.sample_exponent:
            weight = np.ldexp(weight, -self.sample_exponent)
        e, dtype = self.label_smoothing, self.dtype
        target = validation.weigh(checked, weight, self.by_class, n_classes, dtype, label_smoothing=e, mean=False)
        return replace(target, total=self.total, exponent=self.sample_exponent + self.class_exponent)

    def backend(self, block: Block, *, fit_intercept: bool, n_threads: int | None) -> Backend:
        """The sums over the rows of a block, which `Survey.of` has checked in the first pass."""
        X = block.X
        given = _form(X.shape[1], weighted=block.sample_weight is not None, has_offset=block.offset is not None)
        for (what, first), (_, here) in zip(self.form, given, strict=True):
            if first != here:
                raise InputValueError(
                    f"{what} {here} in a block of rows of this pass, but {first} in the first pass; the source must "
                    "yield the same blocks every time."
                )
        self.columns.joined(block.columns)  # refuses other names
        X = validation.features(X) if validation.is_sparse(X) else validation.writeable_view(np.asarray(X, self.dtype))
        offset = np.empty((0, 0), X.dtype)
        if block.offset is not None:
            offset = validation.offset_columns(np.asarray(block.offset, X.dtype))
        return in_memory(X, self.target(block), offset=offset, fit_intercept=fit_intercept, n_threads=n_threads)

    @cached_property
    def _table(self) -> tuple[int, int, NDArray[np.int32] | None] | None:
        """The smallest class, how many whole numbers there are up to the largest one, and the place of each of them.

        No places if they are 0, 1, ...; None unless classes are such numbers.
        """
        if self.classes.dtype.kind != "i" or int(self.classes.max()) - int(self.classes.min()) >= MOST_ENTRIES:
            return None
        low = int(self.classes.min())
        size = int(self.classes.max()) - low + 1
        table = np.full(size, -1, np.int32)
        table[np.subtract(self.classes, low, dtype=np.intp)] = np.arange(self.classes.size)
        return low, size, None if np.array_equal(table, np.arange(size)) else table

    def _by_table(self, y: Any, n: int) -> NDArray[np.int32] | None:
        """The places of labels, in less time than `targets_of` takes; None if they are no such numbers."""
        if self.soft or self._table is None or not isinstance(y, np.ndarray) or y.shape != (n,) or y.dtype.kind != "i":
            return None
        low, size, table = self._table
        if n == 0 or y.min() < low or y.max() >= low + size:
            return None
        if table is None and low == 0:
            return y.astype(np.int32)
        places = np.subtract(y, low, dtype=np.intp)  # (int8 would overflow)
        if table is None:
            return places.astype(np.int32)
        codes = table.take(places)
        return codes if codes.min() >= 0 else None


def _form(n_features: int, *, weighted: bool, has_offset: bool) -> tuple[tuple[str, Any], ...]:
    """What is the same in all blocks, with the words of messages."""
    weights, offset = ("given" if some else "missing" for some in (weighted, has_offset))
    return ("the number of features is", n_features), ("sample weights are", weights), ("the offset is", offset)


def digest_of(block: Block) -> str:
    """The digest of the arrays of a block, which `Survey.of` has checked."""
    X = validation.features(block.X) if validation.is_sparse(block.X) else block.X
    return fingerprint(X, *targets_of(block), block.sample_weight, block.offset)


def targets_of(block: Block) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Probabilities and None, or the places of the labels of a block among the sorted labels that occur, and these."""
    y, n = block.y, block.X.shape[0]
    if y is None:
        raise InputTypeError("the rows have no labels; name their column: target='label', or give batches (X, y).")
    if isinstance(y, CodedLabels):
        codes, labels = validation.labels(y.labels)
        return codes[y.codes], labels
    array = validation.target_array(y)
    return (array, None) if array.ndim == 2 and array.shape[1] > 1 else validation.labels(array, n_samples=n)


def _by_class(numbers: Float64s, labels: NDArray[Any], classes: NDArray[Any], rest: float) -> Float64s:
    """Numbers of the labels that occur, in the order of the classes; `rest` for the other classes."""
    full = np.full(classes.size, rest)
    full[validation.positions(labels, classes)] = numbers
    return full
