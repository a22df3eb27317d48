"""Checks of X that may be a sparse matrix or array of SciPy.

Below this package a sparse X is always a `scipy.sparse.csr_array` in canonical form:

- float32 or float64 data in native byte order;
- within each row the column indices increase, so that none occurs twice (the values of duplicates are added);
- indices of int32 if the shape and the number of stored elements allow it, otherwise of int64;
- the arrays `data`, `indices` and `indptr` are contiguous, and nothing but this package changes them.

The arrays of a matrix that is in this form already are shared, not copied. `scipy.sparse` is imported only where the
caller has imported it, since otherwise no such matrix can exist.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError, a_type
from nbsoftmax.validation.arrays import (
    check_shape,
    design,
    first_not_finite,
    float_dtype_of,
    refuse_not_finite,
    writeable_view,
)
from nbsoftmax.validation.frames import frame


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or array of SciPy."""
    if type(X) is np.ndarray:
        return False
    module = sys.modules.get("scipy.sparse")
    return module is not None and bool(module.issparse(X))


def samples(X: Any, *, dtype: Any = None) -> tuple[Any, tuple[str, ...] | None]:
    """Check X as `features` does; also return the feature names of a table, which error messages then use."""
    array, names = frame(X)
    return features(array, dtype=dtype, names=names), names


def features(
    X: Any,
    *,
    name: str = "X",
    dtype: Any = None,
    n_features: int | None = None,
    names: tuple[str, ...] | None = None,
    finite: bool = True,
) -> Any:
    """Check X, dense or sparse: (n_samples, n_features), float32 or float64, finite.

    If `finite` is False, the numbers of a dense X are not checked.

    Returns
    -------
    ndarray as from `design`, or scipy.sparse.csr_array in canonical form
    """
    if not is_sparse(X):
        return design(X, name=name, dtype=dtype, n_features=n_features, names=names, finite=finite)
    wanted = float_dtype_of(name, X.dtype, dtype)
    check_shape(name, X.shape, n_features)
    array = _canonical(name, X, wanted)
    bad = first_not_finite(array.data[None, :])
    if bad is not None:
        i = int(np.searchsorted(array.indptr, bad[1], side="right")) - 1
        refuse_not_finite(name, array.data[bad[1]], i, int(array.indices[bad[1]]), names)
    return array


def with_indices(X: Any, indices: NDArray[Any], n_features: int) -> Any:
    """X in canonical form with other column indices, in the same order within each row; the numbers are shared."""
    parts = X.data, indices.astype(X.indices.dtype, copy=False), X.indptr
    return type(X)(parts, shape=(X.shape[0], n_features))


def with_last_numbers(
    X: Any,
    kept: NDArray[np.bool_],
    places: NDArray[np.int64],
    has: NDArray[np.bool_],
    columns: NDArray[np.int64],
    values: NDArray[Any],
    n_features: int,
) -> Any:
    """X in canonical form with some of its numbers, and with one more number at the end of some rows.

    Parameters
    ----------
    kept : ndarray of bool (n_numbers,)
        Which numbers remain.
    places : ndarray of int (n_features,)
        The new column of each of their columns, in the same order.
    has : ndarray of bool (n_samples,)
        Which rows have one more number.
    columns, values : ndarray (n_samples,)
        The column of that number, after all others of the row, and the number.
    n_features : int
        The new number of columns.
    """
    indptr = np.append(0, np.cumsum(kept))[X.indptr] + np.append(0, np.cumsum(has))
    last = indptr[1:][has] - 1
    data, indices = np.empty(indptr[-1], X.dtype), np.empty(indptr[-1], X.indices.dtype)
    others = np.ones(data.size, bool)
    others[last] = False
    data[last], data[others] = values[has], X.data[kept]
    indices[last], indices[others] = columns[has], places[X.indices[kept]]
    return type(X)((data, indices, indptr.astype(X.indptr.dtype)), shape=(X.shape[0], n_features))


def _canonical(name: str, X: Any, dtype: Any) -> Any:
    """X in canonical form; its own arrays are never changed."""
    from scipy.sparse import csc_array, csr_array

    if X.dtype.newbyteorder("=") != X.dtype or X.dtype == np.float16:
        X = X.astype(dtype)  # SciPy computes with neither
    if X.format == "csr":
        array = csr_array(_compressed(name, X, *X.shape), shape=X.shape)
        if not array.has_canonical_format:
            array = array.copy()
    elif X.format == "csc":
        array = csc_array(_compressed(name, X, *X.shape[::-1]), shape=X.shape).tocsr()
    else:
        if X.format == "coo":
            _check_range(name, X, X.row, X.shape[0])
            _check_range(name, X, X.col, X.shape[1])
        array = csr_array(_compressed(name, X.tocsr(), *X.shape), shape=X.shape)
    array.sum_duplicates()  # also sorts; does nothing if the array is canonical
    index = np.int32 if max(array.nnz, *array.shape) <= np.iinfo(np.int32).max else np.int64
    arrays = ((array.data, dtype), (array.indices, index), (array.indptr, index))
    parts = tuple(writeable_view(np.ascontiguousarray(a, as_dtype)) for a, as_dtype in arrays)
    result = csr_array(parts, shape=X.shape)
    result.has_canonical_format = True
    return result


def _compressed(name: str, X: Any, n_outer: int, n_inner: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Data, indices and index pointer of a CSR or CSC matrix, checked: its rows or columns are the outer dimension.

    SciPy checks neither the range nor the order of indices, and kernels with wrong ones would use foreign memory.
    """
    data, indices, indptr = np.asarray(X.data), np.asarray(X.indices), np.asarray(X.indptr)
    if not (data.ndim == indices.ndim == indptr.ndim == 1 and indptr.size == n_outer + 1 and indptr[0] == 0):
        _refuse_damaged(name, X)
    n = int(indptr[-1])
    if n > min(data.size, indices.size) or (indptr[1:] < indptr[:-1]).any():
        _refuse_damaged(name, X)
    _check_range(name, X, indices[:n], n_inner)
    return data[:n], indices[:n], indptr


def _check_range(name: str, X: Any, indices: NDArray[Any], n: int) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < n:
        _refuse_damaged(name, X)


def _refuse_damaged(name: str, X: Any) -> None:
    raise InputValueError(
        f"{name} is {a_type(X)} of shape {X.shape} whose indices do not fit this shape; make it again from "
        "rows and columns, for example by scipy.sparse.coo_array."
    )
