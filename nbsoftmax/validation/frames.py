"""Conversion of pandas, polars and Arrow tables, and of their columns, to NumPy arrays.

None of these libraries is imported here: an object of a library can exist only after the caller has imported it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, a_type, plain
from nbsoftmax.validation.arrow_tables import floats_of, is_number_of_arrow, of_arrow, without_index, without_views
from nbsoftmax.validation.column_dtypes import common_dtype
from nbsoftmax.validation.lazy import computed
from nbsoftmax.validation.names import refuse_twice
from nbsoftmax.validation.packing import pack
from nbsoftmax.validation.records import refuse_records
from nbsoftmax.validation.wide_integers import is_wide, narrowed

# A table with dense and sparse columns becomes a sparse array if that needs about a tenth of the memory or less.
SPARSER = 16


def is_series(a: Any) -> bool:
    """Whether `a` is a single column or row of a table of pandas, polars or Dask."""
    return type(a) is not np.ndarray and hasattr(a, "to_frame") and hasattr(a, "dtype") and not hasattr(a, "columns")


def frame(X: Any, *, name: str = "X", sparse: bool = True, unique: bool = True) -> tuple[Any, tuple[str, ...] | None]:
    """Split a pandas, polars, Arrow or Dask table into (array, feature names); anything else is (X, None).

    The array is float32 if all columns are float32 or float16, and float64 otherwise; missing values are NaN. For a
    column that is not numeric, the error names the column. If `sparse`, a table with sparse columns may become a sparse
    array, see `_sparse_of_pandas`. If `unique`, as for features, a single column is refused, and so is a name that
    occurs twice. Errors call the table `name`.
    """
    if type(X) is np.ndarray:  # the usual case first: the tests below take as long as a prediction of one row
        return X, None
    X = computed(name, X)
    if unique and is_series(X):
        raise InputTypeError(
            f"{name} is {a_type(X)}, one column or one row of a table, expected a table with a column for each "
            "feature; table[['name']] is a table of one column, and table[i : i + 1] one of one row."
        )
    if _is(X, "pandas", "DataFrame"):
        array, names = _of_pandas(name, X, sparse=sparse)
    elif _is(X, "polars", "DataFrame"):
        array, names = _of_polars(name, X)
    elif _is(X, "pyarrow", "Table", "RecordBatch"):
        array, names = of_arrow(name, X)
    elif is_data_frame(X):
        array, names = X.to_numpy(), tuple(map(str, X.columns))
        if array.dtype.kind not in "fiub":
            raise InputTypeError(
                f"{name} is {a_type(X)} whose to_numpy() has dtype {array.dtype}, expected numbers; "
                "convert its columns to numbers first."
            )
    else:
        refuse_records(name, X)
        return X, None
    if unique:
        refuse_twice(names)
    return array, names


def library_of(X: Any) -> str | None:
    """The library of a table: "pandas", "polars" or "pyarrow"; None for anything else."""
    tables = (("pandas", ("DataFrame",)), ("polars", ("DataFrame",)), ("pyarrow", ("Table", "RecordBatch")))
    return next((library for library, types in tables if _is(X, library, *types)), None)


def is_data_frame(a: Any) -> bool:
    """Whether `a` is a data frame of pandas, polars or a library with the same interface."""
    return library_of(a) != "pyarrow" and hasattr(a, "to_numpy") and hasattr(a, "columns")


def has_other_columns(X: Any) -> bool:
    """Whether a table of pandas, polars or Arrow has a column that is not one of numbers or booleans."""
    library = library_of(X)
    if library == "pandas":
        try:
            dtypes = set(X.dtypes)
            if any(isinstance(dtype, np.dtype) and dtype.kind == "O" for dtype in dtypes):
                if len(X) and any(isinstance(value, str) for value in X.iloc[0]):
                    return True
                dtypes = set(inferred(X).dtypes)
        except UnicodeEncodeError as error:  # from the hash of categories
            raise not_unicode(error) from None
        return not all(map(is_number_of_pandas, dtypes))
    if library == "polars":
        return not all(map(is_number_of_polars, set(X.dtypes)))
    return library == "pyarrow" and not all(map(is_number_of_arrow, set(without_index(X).schema.types)))


def inferred(a: Any) -> Any:
    """A table or column of pandas with the dtypes of its objects; a column that begins with text is unchanged."""
    if a.ndim == 1 and len(a) and isinstance(a.iloc[0], str):
        return a  # to convert the texts takes pandas 3 as long as to count the distinct ones, which follows
    try:
        return a.infer_objects()
    except OverflowError:  # of pandas 2.2; later versions leave such a column to `encoding.frames`
        raise InputValueError(
            "X has a whole number of more than 308 digits, which no float can hold; drop its column."
        ) from None
    except UnicodeEncodeError as error:
        raise not_unicode(error) from None


def not_unicode(error: UnicodeEncodeError) -> InputValueError:
    """The error about a text of X that cannot be encoded."""
    return InputValueError(
        f"X has text that is not valid Unicode, {plain(error.object[error.start : error.end])} in "
        f"{plain(error.object)}; correct it, or drop the column."
    )


def column(name: str, a: Any) -> Any:
    """Turn a column of pandas, polars or Arrow into an array of the same kind; anything else is returned unchanged.

    For a missing value, the error names the row.
    """
    if _is(a, "pandas", "Series", "Index") or _is_pandas_array(a):
        if not isinstance(a.dtype, np.dtype):
            _refuse_missing(name, np.asarray(a.isna()))
            arrow = getattr(a.dtype, "pyarrow_dtype", None)
            if arrow is not None and sys.modules["pyarrow"].types.is_decimal(arrow):
                return a.to_numpy(dtype=np.float64)
            known = getattr(a.dtype, "numpy_dtype", None)
            if known is not None and known.kind in "fiub":
                return a.to_numpy(dtype=known)
        return a.to_numpy() if hasattr(a, "to_numpy") else np.asarray(a)
    if _is(a, "polars", "Series"):
        if a.null_count():
            _refuse_missing(name, a.is_null().to_numpy())
        if str(a.dtype).startswith("Decimal"):
            a = a.cast(sys.modules["polars"].Float64)
        return narrowed(a) if is_wide(a) else a.to_numpy()
    if _is(a, "pyarrow", "Array", "ChunkedArray"):
        if a.null_count:
            _refuse_missing(name, np.asarray(a.is_null()))
        pa = sys.modules["pyarrow"]
        return floats_of(a) if pa.types.is_decimal(a.type) else np.asarray(a)
    return a.to_numpy() if hasattr(a, "to_numpy") and not hasattr(a, "columns") else a


def only_column(a: Any) -> Any:
    """Return the column of a table that has only one; anything else is returned unchanged."""
    if _is(a, "pandas", "DataFrame") and a.shape[1] == 1:
        return a.iloc[:, 0]
    if _is(a, "polars", "DataFrame") and a.shape[1] == 1:
        return a.to_series()
    if _is(a, "pyarrow", "Table", "RecordBatch") and (a := without_index(a)).num_columns == 1:
        return a.column(0)
    return a


def is_tabular(a: Any) -> bool:
    """Whether `a` is a table or a column of pandas, polars or Arrow."""
    columns = (("pandas", ("Series", "Index")), ("polars", ("Series",)), ("pyarrow", ("Array", "ChunkedArray")))
    return (
        library_of(a) is not None or _is_pandas_array(a) or any(_is(a, library, *types) for library, types in columns)
    )


def rows_where(kept: NDArray[np.bool_], a: Any) -> Any:
    """The rows of an array, or of a table or column in its own form, where `kept` is true."""
    if _is(a, "polars", "DataFrame", "Series"):
        return a.filter(kept)
    if _is(a, "pyarrow", "Table", "RecordBatch"):
        for i, field in enumerate(a.schema):
            column = without_views(a.column(i))
            if column.type != field.type:
                a = a.set_column(i, field.with_type(column.type), column)
        return a.filter(sys.modules["pyarrow"].array(kept))
    if _is(a, "pyarrow", "Array", "ChunkedArray"):
        return without_views(a).filter(sys.modules["pyarrow"].array(kept))
    return a[kept]


def boolean_columns(a: Any, *, name: str) -> tuple[NDArray[np.bool_], tuple[str, ...]] | None:
    """The array and the names of a table of two or more columns that are all boolean; None for anything else."""
    if _is(a, "pandas", "DataFrame") or _is(a, "polars", "DataFrame"):
        dtypes = list(a.dtypes)
    elif _is(a, "pyarrow", "Table", "RecordBatch"):
        dtypes = list(without_index(a).schema.types)
    else:
        return None
    if len(dtypes) < 2 or not all(str(dtype).lower().startswith("bool") for dtype in dtypes):
        return None
    array, names = frame(a, sparse=False, unique=False)
    _refuse_missing(name, np.isnan(array).any(axis=1))
    return array != 0, names or ()


def by_label(weights: Any, n_classes: int) -> Any:
    """Turn a pandas Series of weights into a dict, because its index holds the class labels.

    Anything else is returned unchanged, and so is a Series whose index is 0, 1, ..., n_classes - 1.
    """
    if _is(weights, "pandas", "Series") and list(weights.index) != list(range(n_classes)):
        twice = weights.index[weights.index.duplicated()].tolist()
        if twice:
            raise InputValueError(
                f"class_weight has several weights of the class {plain(twice[0])}; give one for each."
            )
        return weights.to_dict()
    return weights


def _of_pandas(name: str, X: Any, *, sparse: bool) -> tuple[Any, tuple[str, ...]]:
    names, dtypes = tuple(map(str, X.columns.tolist())), list(X.dtypes)
    if any(isinstance(dtype, np.dtype) and dtype.kind == "O" for dtype in dtypes):
        X = inferred(X)  # a column of objects that are all numbers becomes numeric; pandas 2 copies the others
        dtypes = list(X.dtypes)

    def is_single(dtype: Any) -> bool:
        inner = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
        return isinstance(inner, np.dtype) and inner.kind == "f" and inner.itemsize <= 4

    for j, dtype in enumerate(dtypes):
        if isinstance(dtype, np.dtype) and dtype.kind == "O":
            missing = _only_missing(X.iloc[:, j])
            _refuse_missing(f"{name}, in column {plain(names[j])},", missing, "drop such rows, or impute the values")
    common = common_dtype(name, names, dtypes, is_number_of_pandas, is_single)
    if all(isinstance(dtype, np.dtype) for dtype in set(dtypes)):
        return X.to_numpy(dtype=common), names
    found = _sparse_of_pandas(X, dtypes, common) if sparse else None
    if found is not None:
        return found, names
    array = np.empty(X.shape, common)
    pack(enumerate(numbers_of_pandas(values, common) for _, values in X.items()), array)
    return array, names


def numbers_of_pandas(values: Any, dtype: Any) -> NDArray[Any]:
    """A column of pandas, of numbers or booleans, as an array, without a copy where none is needed; NA is NaN."""
    # Dtypes of NumPy have no NA, for which `to_numpy` looks as long as a prediction of one row takes.
    missing = {} if isinstance(values.dtype, np.dtype) else {"na_value": np.nan}
    return np.asarray(values.to_numpy(dtype=dtype, **missing))


def _sparse_of_pandas(X: Any, dtypes: list[Any], common: np.dtype[Any]) -> Any:
    """The table as a `scipy.sparse.csc_array`; None if it becomes a dense array.

    It becomes sparse if all its columns are sparse with the fill value 0, or if some are and a dense array would be
    SPARSER times as large as the numbers to store.
    """
    pandas = sys.modules["pandas"]
    is_sparse = [isinstance(dtype, pandas.SparseDtype) and bool(dtype.fill_value == 0) for dtype in dtypes]
    if not any(is_sparse):
        return None
    columns = [values.array for _, values in X.items()]
    n_stored = sum(values.npoints if sparse else len(X) for values, sparse in zip(columns, is_sparse, strict=True))
    if not all(is_sparse) and SPARSER * n_stored > len(X) * len(columns):
        return None
    from scipy.sparse import csc_array

    rows, numbers = [], []
    for values, sparse in zip(columns, is_sparse, strict=True):
        if sparse:
            rows.append(values.sp_index.to_int_index().indices)
            numbers.append(values.sp_values.astype(common))
        else:
            dense = values.to_numpy(dtype=common, na_value=np.nan)
            rows.append(np.flatnonzero(dense))
            numbers.append(dense[rows[-1]])
    starts = np.cumsum([0, *map(len, rows)])
    return csc_array((np.concatenate(numbers), np.concatenate(rows), starts), shape=X.shape)


def _only_missing(values: Any) -> NDArray[np.bool_]:
    """Which values of a pandas column of objects are missing; none if it has text, which gets an error of its own."""
    is_text = any(isinstance(value, str) for value in values)
    return np.zeros(len(values), bool) if is_text else np.asarray(values.isna())


def _of_polars(name: str, X: Any) -> tuple[NDArray[Any], tuple[str, ...]]:
    polars = sys.modules["polars"]
    names = tuple(X.columns)
    common = common_dtype(
        name, names, X.dtypes, is_number_of_polars, lambda dtype: str(dtype) in {"Float16", "Float32"}
    )
    return X.cast(polars.Float32 if common == np.float32 else polars.Float64).to_numpy(), names


def is_number_of_pandas(dtype: Any) -> bool:
    """Whether a dtype of pandas is one of numbers or booleans."""
    return bool(dtype.kind == "b" or (dtype.kind != "c" and sys.modules["pandas"].api.types.is_numeric_dtype(dtype)))


def is_number_of_polars(dtype: Any) -> bool:
    """Whether a dtype of polars is one of numbers or booleans."""
    return bool(dtype.is_numeric() or dtype == sys.modules["polars"].Boolean)


def _refuse_missing(name: str, missing: NDArray[np.bool_], advice: str = "drop such rows") -> None:
    if missing.any():
        raise InputValueError.about_rows(
            f"{name} has a missing value at row ",
            int(missing.argmax()),
            f" (counted from 0); {advice}.",
        )


def _is(a: Any, library: str, *types: str) -> bool:
    """Whether `a` has one of these types of a library that may not be installed."""
    module = sys.modules.get(library)
    return module is not None and isinstance(a, tuple(getattr(module, name, ()) for name in types))


def _is_pandas_array(a: Any) -> bool:
    """Whether `a` is one of pandas' own arrays, such as a Categorical."""
    return "pandas" in sys.modules and isinstance(a, sys.modules["pandas"].api.extensions.ExtensionArray)
