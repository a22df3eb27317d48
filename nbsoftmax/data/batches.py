"""`nbs.data.from_batches`: rows from anything that can make its batches again for every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.data.arrow import arrow
from nbsoftmax.data.block_source import BlockSource
from nbsoftmax.data.cut import Batch
from nbsoftmax.data.roles import Names, Roles, batches_of_arrow, of_frame
from nbsoftmax.errors import InputTypeError
from nbsoftmax.validation.arrays import check_shape

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

    Returns
    -------
    BlockSource

    Raises
    ------
    InputTypeError
        If the batches can be made only once, or are something else.
    """
    roles = Roles.of(target, features, weight, offset)
    return BlockSource(partial(_made, _Opener(batches), roles), batch_rows=batch_rows)


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
            self._open = partial(_read_only, batches) if isinstance(batches, (list, tuple)) else partial(iter, batches)
        else:
            raise InputTypeError(
                f"batches is a {type(batches).__name__}, expected a function that returns batches of rows, or a list "
                "of them."
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


def _is_frame(given: Any) -> bool:
    """Whether it is a data frame of pandas or polars."""
    return hasattr(given, "to_numpy") and hasattr(given, "columns")


def _refuse_iterator(given: Any) -> None:
    """Refuse what can be read only once."""
    if hasattr(given, "__next__") or hasattr(given, "read_next_batch"):
        raise InputTypeError(
            f"batches is a {type(given).__name__}, which can be read only once, but a fit makes many passes; {AGAIN}."
        )


def _read_only(batches: Any) -> Iterator[Any]:
    """The batches of a list, whose arrays stay as they are: blocks may be views of them."""

    def fixed(part: Any) -> Any:
        if type(part) is not np.ndarray:
            return part
        view = part.view()
        view.flags.writeable = False
        return view

    for batch in batches:
        yield tuple(map(fixed, batch)) if isinstance(batch, (tuple, list)) else batch


def _items(opened: Any) -> Iterator[Any]:
    """The batches, in the form in which they come."""
    if _is_data_iter(opened):
        yield from _of_data_iter(opened)
    elif _is_frame(opened):
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
            f"the function returned a {type(opened).__name__}, expected an iterator over batches of rows; let it "
            "yield them, or return a list of them."
        )


def _of_data_iter(opened: Any) -> Iterator[Batch]:
    """The batches that XGBoost's DataIter passes to a function."""
    opened.reset()
    found: list[Batch] = []

    def input_data(data: Any, label: Any = None, weight: Any = None, base_margin: Any = None, **others: Any) -> None:
        given = [name for name, value in others.items() if value is not None and name not in NAMES]
        if given:
            raise InputTypeError(
                f"the DataIter passes {given[0]}, which has no meaning here; pass data, label, weight and base_margin."
            )
        batch = _of_tuple((data, label, weight, base_margin))
        names = others.get("feature_names")
        found.append(batch if names is None else batch._replace(names=tuple(names)))

    while opened.next(input_data):
        yield from found
        found.clear()


def _made(opener: _Opener, roles: Roles) -> Iterator[Batch]:
    """The batches in one form."""
    n = 0
    for item in opener():
        if isinstance(item, (tuple, list)):
            if roles != Roles():
                raise InputTypeError(
                    "target, features, weight and offset name columns of tables, but the batches are arrays; leave "
                    "them out."
                )
            yield item if isinstance(item, Batch) else _of_tuple(item)
            continue
        if hasattr(item, "schema") and (hasattr(item, "num_rows") or hasattr(item, "to_batches")):
            for batch in batches_of_arrow([item], roles, n):
                n += batch.X.shape[0]
                yield batch
        elif _is_frame(item):
            yield of_frame(item, roles)
        elif hasattr(item, "__arrow_c_stream__"):
            yield from batches_of_arrow(arrow().RecordBatchReader.from_stream(item), roles)
        else:
            raise InputTypeError(
                f"a batch is a {type(item).__name__}, expected a tuple (X, y) with weights and an offset if there are "
                "any, or a table."
            )


def _of_tuple(item: Any) -> Batch:
    """The arrays of a tuple (X, y, sample_weight, offset), of which the last ones may be missing."""
    if not 1 <= len(item) <= 4:
        raise InputTypeError(f"a batch is a tuple of {len(item)}, expected (X, y, sample_weight, offset).")
    X, y, weight, offset = (*item, None, None, None)[:4]
    X, names = validation.frame(X, sparse=False)
    if validation.is_sparse(X):
        X = X.tocsr()
    else:
        X = validation.as_array("X", X)
        check_shape("X", X.shape, None)
    return Batch(
        X,
        None if y is None else validation.target_array(y),
        None if weight is None else validation.as_float64s("sample_weight", weight),
        None if offset is None else validation.as_array("offset", offset),
        names,
    )
