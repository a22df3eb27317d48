"""The columns of pandas, polars and Arrow tables as `Column`. None of these libraries is imported here."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.encoding.column import CATEGORY, DATE, NUMBER, Column, text_of
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, listed, look_alike, plain
from nbsoftmax.validation import frames, refuse_records, refuse_twice
from nbsoftmax.validation.arrow_tables import floats_of, is_number_of_arrow, without_index
from nbsoftmax.validation.column_dtypes import TIMES, advice_for, plain_dtype

Table = Any  # a table of a library, or a dict of Column


def is_table(X: Any) -> bool:
    """Whether X is a table of pandas, polars or Arrow, or columns by name."""
    if type(X) is np.ndarray:
        return False
    return (isinstance(X, dict) and not hasattr(X, "nnz")) or frames.library_of(X) is not None


def needs_encoding(X: Any) -> bool:
    """Whether a table has a column that is not one of numbers or booleans."""
    return frames.has_other_columns(X)


def names_of(table: Table, *, index: bool = False) -> tuple[str, ...]:
    """The names of the columns of a table, with those that are an index of pandas only if `index`."""
    if isinstance(table, dict):
        return tuple(table)
    library = frames.library_of(table)
    if library == "pandas":
        return tuple(map(str, table.columns.tolist()))
    if library == "pyarrow":
        return tuple((table if index else without_index(table)).schema.names)
    return tuple(map(str, table.columns))


def columns_of(table: Table, wanted: Sequence[str] | None = None) -> Iterator[Column]:
    """The wanted columns of a table, or all, in this order.

    Raises
    ------
    InputValueError
        If a column is missing or occurs twice.
    InputTypeError
        If a column has values of another kind, such as lists or durations.
    """
    table = validation.computed("X", table)
    if not (isinstance(table, dict) and all(isinstance(value, Column) for value in table.values())):
        refuse_records("X", table)
    if not is_table(table):
        raise InputTypeError(f"X is {a_type(table)}, expected a table of pandas, polars or Arrow.")
    names = names_of(table, index=wanted is not None)
    known = set(names)
    missing = [] if wanted is None else [name for name in wanted if name not in known]
    if missing:
        s = "s" * (len(missing) > 1)
        raise InputValueError(
            f"X lacks the column{s} {listed(missing)} that the model was trained on; its columns are {listed(names)}"
            f"{look_alike(missing[0], names)}."
        )
    if len(known) < len(names):
        chosen = known if wanted is None else set(wanted)
        refuse_twice([name for name in names if name in chosen])
    if isinstance(table, dict):
        yield from (table[name] for name in wanted or names)
        return
    library = str(frames.library_of(table))
    read = {"pandas": _of_pandas, "polars": _of_polars, "pyarrow": column_of_arrow}[library]
    column = _reader(table, library)
    number = {name: j for j, name in enumerate(names_of(table, index=True))}
    for name in wanted or names:
        yield read(name, column(number[name]))


def column_in(table: Any, name: str) -> Any:
    """The column of a table with a name, which must occur once, in its own form."""
    names = names_of(table, index=True)
    refuse_twice([each for each in names if each == name])
    return _reader(table, str(frames.library_of(table)))(names.index(name))


def _reader(table: Any, library: str) -> Callable[[int], Any]:
    """The function from the number of a column of a table to the column in its own form."""
    if library == "pandas":
        if not table.columns.is_unique:
            return lambda j: table.iloc[:, j]
        labels = table.columns.tolist()  # by label in a third of the time, which counts in predictions of one row
        return lambda j: table[labels[j]]
    reader: Callable[[int], Any] = table.to_series if library == "polars" else table.column
    return reader


def _of_pandas(name: str, values: Any) -> Column:
    pandas = sys.modules["pandas"]
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "O":
        values = frames.inferred(values)  # objects that are all numbers
    dtype = values.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        levels = tuple(text_of(level) for level in dtype.categories.tolist())
        codes = values.array.codes.astype(np.int64)
        # The order of the categories is declared also without `ordered`, which only allows them to be compared.
        return _category(name, codes, levels, ordered=True, strict=bool(dtype.ordered))
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if arrow is not None:
        return column_of_arrow(name, values.array.__arrow_array__())
    if frames.is_number_of_pandas(dtype):
        return Column(name, NUMBER, frames.numbers_of_pandas(values, np.float64), truth=dtype.kind == "b")
    if dtype.kind == "M":
        days = values.dt.tz_localize(None) if getattr(dtype, "tz", None) is not None else values
        return Column(name, DATE, days.to_numpy().astype("datetime64[D]"))
    if not (dtype.kind == "O" or isinstance(dtype, pandas.StringDtype)):
        _refuse(name, str(dtype))
    given = values.to_numpy() if isinstance(dtype, np.dtype) else values.array
    try:
        codes, distinct = pandas.factorize(given)  # before version 3, pandas warns of its own array of objects
    except TypeError:  # values such as lists, which have no hash
        _refuse_objects(name, values.tolist())
    return _of_objects(name, codes.astype(np.int64), distinct.tolist())


def _of_objects(name: str, codes: NDArray[np.int64], distinct: list[Any]) -> Column:
    """A column of Python's objects, which are all texts, numbers, truth values or dates."""
    if all(isinstance(value, str) for value in distinct):
        return _category(name, codes, tuple(distinct))
    if all(isinstance(value, (Real, Decimal, np.bool_)) for value in distinct):
        try:
            numbers = list(map(float, distinct))
        except OverflowError:
            raise InputValueError(
                f"X has a whole number of more than 308 digits in column {plain(name)}, which no float can hold; drop "
                "the column."
            ) from None
        truth = all(isinstance(value, (bool, np.bool_)) for value in distinct)
        return Column(name, NUMBER, np.array([*numbers, np.nan])[codes], truth=truth)
    if all(isinstance(value, datetime.date) for value in distinct):
        days = [np.datetime64(value.isoformat()[:10], "D") for value in distinct]
        return Column(name, DATE, np.array([*days, np.datetime64("NaT", "D")])[codes])
    _refuse_objects(name, distinct)


def _refuse_objects(name: str, values: list[Any]) -> NoReturn:
    kinds = sorted({type(value).__name__ for value in values})
    raise InputTypeError(
        f"X has values of {'several types' if len(kinds) > 1 else 'the type'} {', '.join(kinds)} in column "
        f"{plain(name)}, expected numbers, text or dates; convert them to one of these, or drop the column."
    )


def _of_polars(name: str, values: Any) -> Column:
    polars = sys.modules["polars"]
    dtype = values.dtype
    if frames.is_number_of_polars(dtype):
        return Column(name, NUMBER, values.cast(polars.Float64).to_numpy(), truth=dtype == polars.Boolean)
    if isinstance(dtype, polars.Enum):
        codes = values.to_physical().cast(polars.Int64).fill_null(-1).to_numpy()
        return _category(name, codes, tuple(dtype.categories.to_list()), ordered=True, strict=True)
    if dtype in (polars.String, polars.Categorical):
        texts = values.cast(polars.String)
        levels = texts.drop_nulls().unique().sort()
        codes = texts.cast(polars.Enum(levels)).to_physical().cast(polars.Int64).fill_null(-1).to_numpy()
        return _category(name, codes, tuple(levels.to_list()))
    if dtype == polars.Null:
        return Column(name, NUMBER, np.full(len(values), np.nan))
    if dtype in (polars.Date, polars.Datetime):
        days = values.dt.date() if dtype == polars.Datetime else values
        return Column(name, DATE, days.to_numpy().astype("datetime64[D]"))
    _refuse(name, str(dtype))


def column_of_arrow(name: str, values: Any) -> Column:
    """A column of Arrow, an Array or a ChunkedArray."""
    pa = sys.modules["pyarrow"]
    types, kind = pa.types, values.type
    if is_number_of_arrow(kind):
        numbers = floats_of(values).astype(np.float64, copy=False)
        return Column(name, NUMBER, numbers, truth=types.is_boolean(kind))
    if types.is_dictionary(kind):
        whole = _whole(values)
        codes = whole.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        inner = whole.dictionary
        inside = column_of_arrow(name, inner).as_levels()  # distinct values may have one text, and null may be a value
        places = np.append(inside.values, -1)
        ordered = bool(kind.ordered)  # otherwise it is the order in which values were met
        return _category(name, places[codes], inside.levels, ordered=ordered, strict=ordered)
    if any(check(kind) for check in (types.is_string, types.is_large_string, types.is_string_view)):
        return _texts(name, values)
    if types.is_timestamp(kind) or types.is_date(kind):
        if types.is_timestamp(kind) and kind.tz is not None:
            import pyarrow.compute as pc

            values = pc.local_timestamp(values)
        days = values.cast(pa.date32(), safe=False)
        return Column(name, DATE, days.to_numpy(zero_copy_only=False).astype("datetime64[D]"))
    if types.is_null(kind):
        return Column(name, NUMBER, np.full(len(values), np.nan))
    _refuse(name, str(kind))


def _texts(name: str, values: Any) -> Column:
    pa = sys.modules["pyarrow"]
    encoded = _whole(values.cast(pa.large_string()).dictionary_encode())
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return _category(name, codes, tuple(encoded.dictionary.to_pylist()))


def _whole(values: Any) -> Any:
    """An array with a dictionary, of all chunks."""
    pa = sys.modules["pyarrow"]
    if not isinstance(values, pa.ChunkedArray):
        return values
    chunks, kind = values.unify_dictionaries().chunks, values.type
    if chunks:
        return pa.concat_arrays(chunks)
    # `pa.array([], kind)` of pyarrow 18 fails for a dictionary of large_string.
    return pa.DictionaryArray.from_arrays(pa.array([], kind.index_type), pa.array([], kind.value_type))


def _category(
    name: str, codes: NDArray[np.int64], levels: tuple[str, ...], *, ordered: bool = False, strict: bool = False
) -> Column:
    """A column of levels, of which some may be the same text."""
    for level in levels:
        try:
            level.encode()
        except UnicodeEncodeError as error:  # a model file could not be read by other programs
            raise frames.not_unicode(error) from None
    if len(set(levels)) == len(levels):
        return Column(name, CATEGORY, codes, levels, ordered, strict)
    places: dict[str, int] = {}
    lookup = [places.setdefault(level, len(places)) for level in levels]
    return Column(name, CATEGORY, np.array([*lookup, -1])[codes], tuple(places), ordered, strict)


def _refuse(name: str, dtype: str) -> NoReturn:
    is_time = advice_for(dtype) == TIMES
    advice = TIMES if is_time else "convert it to numbers or text, or drop it"
    raise InputTypeError(
        f"X has dtype {plain_dtype(dtype)} in column {plain(name)}, expected numbers, text, categories or "
        f"dates; {advice}."
    )
