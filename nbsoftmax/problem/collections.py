"""Dask collections to tasks, each of which makes the block of rows of one partition.

X may be a Dask Array, dense or of CSR blocks, or a Dask DataFrame; y, the weights and the offset may be either, or in
memory for an X whose numbers of rows are known. The tables among them are read together, so that a file is read once,
and Dask's optimisation, which may join partitions, treats them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import uuid4

import dask
import numpy as np

from nbsoftmax import validation
from nbsoftmax.data.blocks import Block, ClassColumns
from nbsoftmax.encoding import AnyEncoding, Learner, TableOptions, columns_of
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, counted, listed, rows_called, with_article


class EncodedBlock(Block):
    """A block whose features an encoding has made, with counts of the levels that it does not know."""

    unknown: Mapping[str, tuple[int, tuple[str, ...]]] = MappingProxyType({})


def learners_of(X: Any, options: TableOptions) -> list[Any]:
    """Delayed tasks for what each partition of a Dask DataFrame says about the encoding of all.

    The result of a task is a `Learner`, or the error of a column that cannot be encoded.
    """
    check_columns(X, any_kind=True)
    name = f"nbsoftmax-columns-{uuid4().hex}"
    task = dask.delayed(partial(_learner, options), pure=False)
    return [task(part, dask_key_name=(name, i)) for i, part in enumerate(X.to_delayed())]


class Parts(NamedTuple):
    """Inputs of the same rows: `given` by name, each with its partitions, and the `columns` of y and the offset."""

    given: dict[str, Any]
    columns: ClassColumns


def checked_parts(X: Any, y: Any, sample_weight: Any, offset: Any, *, any_kind: bool) -> Parts:
    """The inputs with partitions of the same rows; checked as far as no partition has to be read.

    With `any_kind`, X may have columns of text and other kinds.
    """
    if not validation.is_dask(X):
        raise InputTypeError(
            f"X is {a_type(X)}, expected a Dask Array or DataFrame, because a cluster does the work; give for "
            "example dask.array.from_array(X, chunks=(100_000, -1)). With all rows in memory use Trainer or "
            "SoftmaxRegression, after y.compute() if y is a Dask collection."
        )
    given = {"X": X, "y": y, "sample_weight": sample_weight, "offset": offset}
    given = {name: part for name, part in given.items() if part is not None or name == "y"}
    for name, part in given.items():
        _check_kind(name, part)
    check_columns(X, any_kind=any_kind)
    return Parts(
        {name: part if name == "X" else aligned(name, part, X) for name, part in given.items()},
        ClassColumns(*map(class_columns, (y, offset))),
    )


def partitions_of(
    parts: Parts, *, dtype: np.dtype[Any] | None, encoding: AnyEncoding | None
) -> tuple[list[Any], tuple[str, ...] | None]:
    """Delayed tasks for the blocks of checked inputs, and the names of the features, which an encoding may make.

    The result of a task is a `Block`, or the error of its validation.
    """
    columns_by_name = {
        name: tuple(map(str, part.columns)) for name, part in parts.given.items() if is_table(part) and part.ndim == 2
    }
    names = columns_by_name.get("X")
    make = partial(_block, tuple(parts.given), columns_by_name, parts.columns, dtype)
    shared = None if encoding is None else dask.delayed(encoding)  # may have 100,000 levels: not in each task
    columns = _columns(parts.given)
    name = f"nbsoftmax-rows-{uuid4().hex}"
    task = dask.delayed(make, pure=False)
    rows = zip(*columns, strict=True)
    tasks = [task(shared, *row, dask_key_name=(name, i)) for i, row in enumerate(rows)]
    return tasks, names if encoding is None else encoding.names


def is_table(a: Any) -> bool:
    """Whether `a` is a Dask DataFrame or Series."""
    return _is_collection(a) and hasattr(a, "npartitions") and hasattr(a, "divisions")


def class_columns(a: Any) -> tuple[str, ...] | None:
    """`validation.class_columns` of a collection or of a table in memory."""
    return validation.class_columns(a._meta if is_table(a) else a)


def is_array(a: Any) -> bool:
    """Whether `a` is a Dask Array."""
    return _is_collection(a) and hasattr(a, "chunks") and hasattr(a, "to_delayed")


def _is_collection(a: Any) -> bool:
    return validation.is_dask(a) and not validation.is_delayed(a)


def _check_kind(name: str, a: Any) -> None:
    if validation.is_dask(a) and not (is_table(a) or is_array(a)):
        kind = "Delayed" if validation.is_delayed(a) else type(a).__name__
        raise InputTypeError(
            f"{name} is {with_article(kind)} of Dask, expected a Dask Array, DataFrame or Series; "
            f"{name}.to_dataframe() makes one of a Bag, and dask.array.from_delayed one of a delayed array."
        )


def check_columns(X: Any, *, any_kind: bool) -> None:
    """Refuse an X that is not (n_samples, n_features), whose rows are not whole in a chunk, or with text.

    With `any_kind`, a DataFrame may have columns of text and other kinds.
    """
    if is_table(X):
        if X.ndim != 2:
            raise InputTypeError(
                "X is a Dask Series, expected a DataFrame with a column for each feature; give X.to_frame()."
            )
        if not any_kind:
            validation.frame(X._meta)  # the empty table by which Dask knows the columns: no partition has to be read
        return
    if X.ndim != 2:
        raise InputValueError(
            f"X is a Dask Array with {counted(X.ndim, 'dimension')}, expected 2, (n_samples, n_features)."
        )
    if len(X.chunks[1]) > 1:
        raise InputValueError(
            f"X is a Dask Array with {len(X.chunks[1])} chunks of columns, expected one, so that each block has whole "
            "rows; give X.rechunk({1: -1})."
        )


def aligned(name: str, a: Any, X: Any) -> Any:
    """`a`, which has an entry for each row, with partitions of the same rows as X, as far as Dask knows.

    The parts of an array in memory are a list.
    """
    _check_kind(name, a)
    lengths: tuple[Any, ...] = () if is_table(X) else X.chunks[0]
    known = not is_table(X) and not np.isnan(lengths).any()
    n = X.npartitions if is_table(X) else len(lengths)
    if not validation.is_dask(a):
        return _cut(name, a, lengths if known else None)
    if is_array(a):
        if a.ndim == 2 and len(a.chunks[1]) > 1:
            a = a.rechunk({1: -1})
        if known and not np.isnan(a.chunks[0]).any():
            validation.refuse_other_length(name, sum(a.chunks[0]), sum(lengths))
            return a if a.chunks[0] == lengths else a.rechunk({0: lengths})
    found = a.npartitions if is_table(a) else len(a.chunks[0])
    both = is_table(a) and is_table(X)
    if found != n or (both and a.known_divisions and X.known_divisions and a.divisions != X.divisions):
        if both:
            how = f"{name}.repartition(divisions=X.divisions)"
        elif is_table(X):
            how = f"X.to_dask_array(lengths=True), and {name}.rechunk({{0: X.chunks[0]}})"
        else:
            as_array = f"{name}.to_dask_array(lengths=True)" if is_table(a) else name
            how = f"{as_array}.rechunk({{0: X.chunks[0]}})"
        other = counted(found, "partition") if found != n else "other divisions"
        raise InputValueError(
            f"X has {counted(n, 'partition')}, but {name} has {other}; give partitions of the same rows, for example "
            f"{how}, or columns of one DataFrame."
        )
    return a


def _cut(name: str, a: Any, lengths: Sequence[int] | None) -> list[Any]:
    """An array in memory in parts for the tasks."""
    if a is None:
        validation.target_array(a, name=name)  # raises an error
    if lengths is None:
        raise InputValueError(
            f"{name} is in memory, but the numbers of rows of the partitions of X are not known; give {name} as a Dask "
            "collection of the same partitions (for a DataFrame, one of its columns), or compute them with "
            "X.compute_chunk_sizes() or X.to_dask_array(lengths=True)."
        )
    array = np.atleast_1d(validation.target_array(a, name=name))
    validation.refuse_other_length(name, len(array), sum(lengths))
    return np.split(array, np.cumsum(lengths)[:-1])


def _columns(inputs: dict[str, Any]) -> list[Any]:
    """For each input its partitions: delayed ones, or arrays."""
    tables = {name: a for name, a in inputs.items() if is_table(a)}
    read: dict[str, Any] = {}
    if tables:
        alone = len(tables) == len(inputs)  # else Dask must not join partitions
        together = _together(list(tables.values())).to_delayed(optimize_graph=alone)
        read = {name: [part[i] for part in together] for i, name in enumerate(tables)}
    for name, a in inputs.items():
        if is_array(a):
            read[name] = list(a.to_delayed(optimize_graph=False).reshape(-1))
        elif name not in read:
            read[name] = a
    return [read[name] for name in inputs]


def _together(tables: list[Any]) -> Any:
    """One collection, whose partitions are tuples of those of the tables."""
    from dask.dataframe import map_partitions

    options = {"enforce_metadata": False, "align_dataframes": False, "meta": tables[0]._meta}
    return map_partitions(_tuple, *tables, **options)


def _tuple(*parts: Any) -> tuple[Any, ...]:
    return parts


def _learner(options: TableOptions, X: Any) -> Any:
    """What a partition says about the encoding, or its error: an error that is raised would be tried again."""
    learner = Learner(options)
    try:
        learner.add(columns_of(X))
    except (InputValueError, InputTypeError) as error:
        return error
    return learner


def _block(
    given: tuple[str, ...],
    columns: dict[str, tuple[str, ...]],
    of_classes: ClassColumns,
    dtype: Any,
    encoding: AnyEncoding | None,
    *parts: Any,
) -> Any:
    """The block of one partition, or the error of its validation: an error that is raised would be tried again.

    `columns` are those of the tables among the inputs, as Dask knows them; a partition may have another order.
    """
    rows = dict(zip(given, parts, strict=True))
    try:
        for name, expected in columns.items():
            if name != "X" or encoding is None:
                rows[name] = _in_order(name, rows[name], expected)
        if encoding is not None:
            return _encoded(encoding, dtype, **rows, columns=of_classes)
        array = validation.frame(rows.pop("X"))[0]
        X = validation.features(array, dtype=dtype, names=columns.get("X"))
        y, weight, offset = _beside(X, **rows)
        return Block(X, y, weight, offset, of_classes)
    except (InputValueError, InputTypeError) as error:
        return error


def _in_order(name: str, part: Any, expected: tuple[str, ...]) -> Any:
    """A table of one partition with its columns in the order of the collection."""
    found = tuple(map(str, part.columns))
    if found == expected:
        return part
    if sorted(found) != sorted(expected) or len(set(found)) < len(found):
        raise InputValueError(
            f"{name} has the columns {listed(found)}, but those of the collection are {listed(expected)}; give "
            "the same in all partitions."
        )
    return part.iloc[:, [found.index(column) for column in expected]]


def _encoded(
    encoding: AnyEncoding,
    dtype: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    offset: Any = None,
    *,
    columns: ClassColumns,
) -> Block:
    """The block of one partition whose features an encoding makes, without the rows that it drops."""
    found = encoding.encode(X, drop=True)
    made, rows = validation.features(found.X, dtype=dtype, names=encoding.names), None
    if found.kept is not None:
        y, sample_weight, offset = validation.kept_beside(found.kept, y=y, sample_weight=sample_weight, offset=offset)
        rows = np.flatnonzero(found.kept)
    with rows_called(rows):
        y, sample_weight, offset = _beside(made, y, sample_weight, offset)
    block = EncodedBlock(made, y, sample_weight, offset, columns)
    block.unknown = found.unknown
    return block


def _beside(X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> tuple[Any, ...]:
    """The targets, weights and offset of rows."""
    n, dtype = X.shape[0], X.dtype
    weight = None if sample_weight is None else validation.sample_weights(sample_weight, n, all_zero=True)
    given = None if offset is None else validation.as_floats("offset", offset, dtype=dtype)
    return validation.target_array(y), weight, given
