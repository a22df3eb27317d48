"""`nbs.data.from_batches`: rows from anything that can make its batches again for every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.data.arrow import arrow
from nbsoftmax.data.block_source import BlockSource
from nbsoftmax.data.blocks import ClassColumns
from nbsoftmax.data.cut import Batch
from nbsoftmax.data.roles import Names, Roles, TableRows, is_matrix, selected
from nbsoftmax.encoding import (
    AnyEncoding,
    Learner,
    TableOptions,
    checked_options,
    columns_of,
    names_of,
    needs_encoding,
)
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, plain, rows_called
from nbsoftmax.validation.arrays import check_shape
from nbsoftmax.validation.arrow_tables import index_of
from nbsoftmax.validation.frames import is_data_frame, library_of

NAMES = ("feature_names", "feature_types")  # that a DataIter of XGBoost may pass, too
AGAIN = "give a function that makes it, which is called for every pass: from_batches(lambda: ...)"


def from_batches(
    batches: Any,
    *,
    target: Names = None,
    features: Names = None,
    weight: str | None = None,
    offset: Names = None,
    batch_rows: int | None = None,
    table: TableOptions | AnyEncoding | None = None,
) -> BlockSource:
    """A source of rows that arrive in batches, of any lengths.

    Parameters
    ----------
    batches : callable or iterable
        A function that returns the batches from the first one, each time that it is called; or an object that can be
        iterated over any number of times, such as a list, a table of Arrow, or an object with the methods
        `next(input_data)` and `reset()` of XGBoost's `DataIter`. A generator, which can run only once, is refused.
        A batch is a tuple (X, y), (X, y, sample_weight) or (X, y, sample_weight, offset), where X may be a sparse
        matrix of SciPy; or a RecordBatch or Table of Arrow, a pandas or polars data frame. Instead of batches, the
        function may return an object with `__arrow_c_stream__` (a relation of DuckDB) or a LazyFrame (polars 1.34 or
        newer).
    target, features, weight, offset
        Columns, for batches that are tables; as for `open`.
    batch_rows : int, optional
        As for `open`.
    table : TableOptions or Encoding, optional
        As for `open`, for batches that are tables, or tuples whose X is one. Options are learned at once, in a pass
        over all batches; their result does not depend on how the rows are cut into batches.

    Returns
    -------
    BlockSource

    Raises
    ------
    InputTypeError
        If the batches can be made only once, or are something else.
    InputValueError, InputTypeError
        With `table`, for a column that cannot be encoded.
    """
    roles, opener = Roles.of(target, features, weight, offset), _Opener(batches)
    encoding = None if table is None else checked_options(table)
    if isinstance(encoding, TableOptions):
        encoding = _learned(_tables(opener, roles), roles, encoding)
    made = partial(_made, opener, roles, encoding)
    source = partial(BlockSource, batch_rows=batch_rows, encoding=encoding)
    if encoding is None or not encoding.drops_rows:
        return source(made)
    return source(made, keeping=lambda: source(partial(made, drop=False)))


class _Opener:
    """Makes the batches from the first one, as often as it is called."""

    def __init__(self, batches: Any) -> None:
        self._last: Any = None
        self._open: Callable[[], Any]
        if _is_data_iter(batches) or _is_stream(batches):
            _refuse_iterator(batches)
            self._open = lambda: batches
        elif callable(batches):
            self._open = batches
        elif hasattr(batches, "__iter__") and not isinstance(batches, (str, bytes, dict, np.ndarray)):
            _refuse_iterator(batches)
            self._open = partial(_fixed, batches) if isinstance(batches, (list, tuple)) else partial(iter, batches)
        else:
            raise InputTypeError(
                f"batches is {a_type(batches)}, expected a function that returns batches of rows, or a list of them."
            )

    def __call__(self) -> Iterator[Any]:
        opened = self._open()
        if hasattr(opened, "__next__"):
            if opened is self._last:
                raise InputTypeError(
                    f"the function returned the same {type(opened).__name__} as before, which has ended; make a new "
                    "one in every call."
                )
            self._last = opened
        return _items(opened)


def _is_data_iter(given: Any) -> bool:
    """Whether it has the methods of XGBoost's DataIter."""
    return not isinstance(given, type) and all(callable(getattr(given, name, None)) for name in ("next", "reset"))


def _is_stream(given: Any) -> bool:
    """Whether it is a table, a data set or a query as a whole."""
    return not isinstance(given, type) and any(
        hasattr(given, name) for name in ("__arrow_c_stream__", "to_batches", "collect_batches")
    )


def _refuse_iterator(given: Any) -> None:
    """Refuse what can be read only once."""
    if hasattr(given, "__next__") or hasattr(given, "read_next_batch"):
        raise InputTypeError(
            f"batches is {a_type(given)}, which can be read only once, but a fit makes many passes; {AGAIN}."
        )


def _fixed(batches: Any) -> Iterator[Any]:
    """The batches of a list, whose arrays stay as they are: blocks may be views of them."""
    for batch in batches:
        known = isinstance(batch, (tuple, list)) and not isinstance(batch, Batch) and 1 <= len(batch) <= 4
        yield Batch(*batch)._replace(fixed=True) if known else batch


def _items(opened: Any) -> Iterator[Any]:
    """The batches, in the form in which they come."""
    if _is_data_iter(opened):
        yield from _of_data_iter(opened)
    elif is_data_frame(opened):
        yield opened
    elif hasattr(opened, "collect_batches"):
        yield from opened.collect_batches()
    elif hasattr(opened, "to_batches"):
        yield from opened.to_batches()
    elif hasattr(opened, "__arrow_c_stream__"):
        yield from arrow().RecordBatchReader.from_stream(opened)
    elif hasattr(opened, "__iter__") and not isinstance(opened, (str, bytes, dict, np.ndarray)):
        yield from opened
    else:
        raise InputTypeError(
            f"the function returned {a_type(opened)}, expected an iterator over batches of rows; let it "
            "yield them, or return a list of them."
        )


def _of_data_iter(opened: Any) -> Iterator[Batch]:
    """The batches that XGBoost's DataIter passes to a function, as they are."""
    opened.reset()
    found: list[Batch] = []

    def input_data(data: Any, label: Any = None, weight: Any = None, base_margin: Any = None, **others: Any) -> None:
        given = [name for name, value in others.items() if value is not None and name not in NAMES]
        if given:
            raise InputTypeError(
                f"the DataIter passes {given[0]}, which has no meaning here; pass data, label, weight and base_margin."
            )
        names = others.get("feature_names")
        names = None if names is None else tuple(map(str, names))
        found.append(Batch(data if names is None else _renamed(data, names), label, weight, base_margin, names))

    with suppress(StopIteration):  # some say so that there are no more
        while opened.next(input_data):
            yield from found
            found.clear()


def _renamed(data: Any, names: tuple[str, ...]) -> Any:
    """The data with other names of the columns, if they are a table."""
    library = library_of(data)
    if library is None:
        return data
    n_columns = len(names_of(data, index=True))
    if len(names) != n_columns:
        raise InputValueError(
            f"the DataIter passes {len(names)} feature_names, but data has {n_columns} columns; pass one name for each "
            "column."
        )
    if library == "pyarrow":
        return data.rename_columns(list(names))
    renamed = data.copy(deep=False) if library == "pandas" else data.clone()
    renamed.columns = list(names)
    return renamed


def _tables(opener: _Opener, roles: Roles) -> Iterator[Any]:
    """The batches as tuples, data frames or RecordBatches."""
    for item in opener():
        if isinstance(item, (tuple, list)):
            if roles != Roles():
                raise InputTypeError(
                    "target, features, weight and offset name columns of tables, but the batches are arrays; leave "
                    "them out."
                )
            if not isinstance(item, Batch) and not 1 <= len(item) <= 4:
                raise InputTypeError(f"a batch is a tuple of {len(item)}, expected (X, y, sample_weight, offset).")
            yield item
        elif is_data_frame(item):
            yield item
        elif hasattr(item, "schema") and (hasattr(item, "num_rows") or hasattr(item, "to_batches")):
            yield from item.to_batches() if hasattr(item, "to_batches") else [item]
        elif hasattr(item, "__arrow_c_stream__"):
            yield from arrow().RecordBatchReader.from_stream(item)
        else:
            raise InputTypeError(
                f"a batch is {a_type(item)}, expected a tuple (X, y) with weights and an offset if there are "
                "any, or a table."
            )


def _learned(items: Iterator[Any], roles: Roles, options: TableOptions) -> AnyEncoding | None:
    """The encoding of all rows; None if all features are numbers."""
    learner, needed = Learner(options), options.always
    for item in items:
        X = item[0] if isinstance(item, (tuple, list)) else item
        index = index_of(X.schema) if library_of(X) == "pyarrow" else ()
        names = roles.of_columns(names_of(X, index=True), index) if library_of(X) is not None else ()
        if not names or (library_of(X) == "pyarrow" and is_matrix([X.schema.field(name).type for name in names])):
            if options.always or learner.n_rows:
                raise InputTypeError(
                    f"table says how columns become features, but a batch is {a_type(X)} that is not made of "
                    "columns of numbers and text; give tables, or leave table out."
                )
            return None
        needed = needed or needs_encoding(selected(X, names))
        learner.add(columns_of(X, names))
    if not learner.n_rows:
        raise InputValueError("the batches have no rows, so that there is nothing to learn; give at least one.")
    learner.warn_of_dropped()
    return learner.encoding() if needed else None


def _made(opener: _Opener, roles: Roles, encoding: AnyEncoding | None, *, drop: bool = True) -> Iterator[Batch]:
    """The batches in one form; unless `drop`, rows that the encoding would drop are errors."""
    rows = TableRows(roles, encoding, drop=drop)
    for item in _tables(opener, roles):
        if not isinstance(item, (tuple, list)):
            yield rows.batch(item)
        else:
            yield _of_tuple(item) if encoding is None else _encoded(item, rows, encoding)
    rows.warn_of_unknown()


def _of_tuple(item: Any) -> Batch:
    """The arrays of a tuple (X, y, sample_weight, offset), of which the last ones may be missing."""
    X, y, weight, offset = _padded(item)
    columns = _class_columns(y, offset)
    X, names = validation.frame(X, sparse=False)
    if not validation.is_sparse(X):
        X = validation.as_array("X", X)
    check_shape("X", X.shape, None)
    if validation.is_sparse(X):
        X = X.tocsr()
    own, fixed = (item.names, item.fixed) if isinstance(item, Batch) else (None, False)
    return Batch(X, *_beside(y, weight, offset), own or names, fixed, columns)


def _encoded(item: Any, rows: TableRows, encoding: AnyEncoding) -> Batch:
    """The arrays of a tuple whose X is a table, without the rows that an encoding drops."""
    X, y, weight, offset = _padded(item)
    columns = _class_columns(y, offset)
    if library_of(X) is None:
        raise InputTypeError(f"table is an encoding of tables, but X of a batch is {a_type(X)}; give a table.")
    first, found = rows.n_rows, rows.encoded(X)
    called = None
    if found.kept is not None:
        y, weight, offset = validation.kept_beside(found.kept, y=y, sample_weight=weight, offset=offset)
        called = first + np.flatnonzero(found.kept)
    with rows_called(called):
        beside = _beside(y, weight, offset)
    return Batch(found.X, *beside, encoding.names, columns=columns)


def _padded(item: Any) -> tuple[Any, ...]:
    """X, y, sample_weight and offset of a tuple; None for those that it lacks."""
    return (*item[:4], None, None, None)[:4]


def _class_columns(y: Any, offset: Any) -> ClassColumns:
    """The names of the columns of y and the offset, if they are tables."""
    return ClassColumns(validation.class_columns(y), validation.class_columns(offset))


def _beside(y: Any, weight: Any, offset: Any) -> tuple[Any, Any, Any]:
    """The targets, weights and offset of a tuple as arrays."""
    for name, given in (("y", y), ("sample_weight", weight), ("offset", offset)):
        if np.isscalar(given) or (isinstance(given, np.ndarray) and given.ndim == 0):
            raise InputValueError(f"{name} of a batch is {plain(given)}, expected one for each row.")
    return (
        None if y is None else validation.target_array(y),
        None if weight is None else validation.as_float64s("sample_weight", weight),
        None if offset is None else validation.as_array("offset", offset),
    )
