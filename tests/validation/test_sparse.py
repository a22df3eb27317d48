"""A sparse X becomes a CSR array in one canonical form; nothing that the caller gave is changed."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import nbsoftmax as nbs
from nbsoftmax import validation
from tests.validation.refusals import refused

FORMATS = [
    f"{name}_{kind}" for name in ("csr", "csc", "coo", "bsr", "lil", "dia", "dok") for kind in ("matrix", "array")
]


def dense(m=20, n=6, seed=0):
    rng = np.random.default_rng(seed)
    X = np.where(rng.uniform(size=(m, n)) < 0.3, rng.normal(size=(m, n)), 0.0)
    X[3], X[:, 2] = 0.0, 0.0  # an empty row and an empty column
    return X


def with_duplicates(kind, dtype=np.float64):
    """A CSR or CSC matrix whose indices are neither sorted nor unique, and the array that it stands for."""
    rng = np.random.default_rng(1)
    shape = (9, 7)
    outer, inner = shape if kind.startswith("csr") else shape[::-1]
    starts = np.append(0, np.cumsum(rng.integers(0, 9, outer)))
    indices, data = rng.integers(0, inner, starts[-1]), rng.integers(-9, 9, starts[-1]).astype(dtype)
    expected = np.zeros((outer, inner))
    np.add.at(expected, (np.repeat(np.arange(outer), np.diff(starts)), indices), data)
    X = getattr(sp, kind)((data, indices, starts), shape=shape)
    return X, expected if kind.startswith("csr") else expected.T


def is_canonical(X):
    again = sp.csr_array((X.data, X.indices, X.indptr), shape=X.shape)
    return isinstance(X, sp.csr_array) and again.has_canonical_format and X.indices.dtype == X.indptr.dtype


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.uint64, np.bool_])
def test_every_format_and_dtype_becomes_the_same_array(kind, dtype):
    D = dense().astype(dtype)
    X = validation.features(getattr(sp, kind)(D))
    assert is_canonical(X)
    assert X.dtype == (np.float32 if dtype == np.float32 else np.float64)
    assert np.array_equal(X.toarray(), D.astype(np.float64))


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_canonical_matrix_is_shared(kind, dtype):
    X = getattr(sp, kind)(dense().astype(dtype))
    found = validation.features(X)
    for name in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(found, name), getattr(X, name))


def test_read_only_and_mapped_arrays_are_shared_as_writeable_views(tmp_path):
    # Numba would compile its kernels again for arrays that are read-only.
    X = sp.csr_array(dense())
    X.data.flags.writeable = X.indices.flags.writeable = False
    np.save(tmp_path / "starts.npy", X.indptr)
    X.indptr = np.load(tmp_path / "starts.npy", mmap_mode="r")
    found = validation.features(X)
    assert np.shares_memory(found.data, X.data)
    for array in (found.data, found.indices, found.indptr):
        assert type(array) is np.ndarray
        assert array.flags.writeable


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_array", "csc_matrix"])
def test_duplicates_are_added_and_the_callers_arrays_stay_as_they_are(kind):
    X, expected = with_duplicates(kind)
    before = [a.copy() for a in (X.data, X.indices, X.indptr)]
    assert X.nnz > np.count_nonzero(expected)
    found = validation.features(X)
    assert is_canonical(found)
    assert np.array_equal(found.toarray(), expected)
    assert all(map(np.array_equal, (X.data, X.indices, X.indptr), before))
    assert not X.has_sorted_indices


def test_duplicates_of_coordinates_are_added():
    X = sp.coo_array(([1.0, 2.0, 4.0], ([2, 2, 0], [1, 1, 3])), shape=(3, 4))
    assert np.array_equal(validation.features(X).toarray(), [[0, 0, 0, 4], [0, 0, 0, 0], [0, 3, 0, 0]])
    assert X.nnz == 3


def test_explicit_zeros_are_kept_and_a_longer_buffer_is_cut():
    X = sp.csr_array(([1.0, 0.0, 7.0, 7.0], [0, 2, 1, 1], [0, 2, 2]), shape=(2, 3))
    found = validation.features(X)
    assert found.nnz == found.data.size == found.indices.size == 2
    assert np.array_equal(found.toarray(), [[1, 0, 0], [0, 0, 0]])


def test_wide_indices_become_narrow_ones_where_they_fit():
    X = sp.csr_array(dense())
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    found = validation.features(X)
    assert found.indices.dtype == found.indptr.dtype == np.int32
    assert np.shares_memory(found.data, X.data)
    wide = sp.coo_array(([1.0, 2.0], ([1, 0], [2**40, 3])), shape=(2, 2**41))
    found = validation.features(wide)
    assert found.indices.dtype == found.indptr.dtype == np.int64
    assert found.indices.tolist() == [3, 2**40]


@pytest.mark.parametrize("dtype", [np.float16, ">f4", ">f8"])
def test_numbers_that_scipy_cannot_add_are_converted_first(dtype):
    X, expected = with_duplicates("csr_array")
    X.data = X.data.astype(dtype)
    with warnings.catch_warnings(action="ignore"):  # of SciPy, for the dtype
        found = validation.features(X)
    assert np.array_equal(found.toarray(), expected)
    assert found.dtype == (np.float64 if dtype == ">f8" else np.float32)


def test_a_wanted_dtype_is_converted_to():
    X = sp.csr_array(dense())
    found = validation.features(X, dtype=np.float32)
    assert np.array_equal(found.toarray(), X.toarray().astype(np.float32))
    assert X.dtype == np.float64


def test_x_without_nonzeros_or_rows():
    assert validation.features(sp.csr_array((4, 3))).nnz == 0
    assert validation.features(sp.csc_array((0, 3))).shape == (0, 3)


def damaged(kind, **arrays):
    X = getattr(sp, kind)(dense(4, 3))
    for name, array in arrays.items():
        setattr(X, name, np.array(array, getattr(X, name).dtype))
    return X


def not_finite(value, kind="csr_array"):
    D = dense()
    D[3, 4] = value
    return getattr(sp, kind)(D)


BAD_VALUES = {
    "nan": (lambda: validation.features(not_finite(np.nan)), r"X contains nan at row 3, column 4 \(counted"),
    "inf": (lambda: validation.features(not_finite(-np.inf, "csc_matrix")), "X contains -inf at row 3, column 4"),
    "nan in a column with a name": (
        lambda: validation.features(not_finite(np.nan), names=tuple("abcdef")),
        r"X has a missing value \(NaN\) in column 'e' at row 3",
    ),
    "overflow of float32": (
        lambda: validation.features(sp.csr_array([[0, 0, 1e300]]), dtype=np.float32),
        "X contains inf at row 0, column 2",
    ),
    "sum of duplicates that overflows": (
        lambda: validation.features(sp.coo_array(([1e308, 1e308], ([0, 0], [1, 1])), shape=(1, 2))),
        "X contains inf at row 0, column 1",
    ),
    "no features": (lambda: validation.features(sp.csr_array((3, 0))), "X has no features"),
    "other features": (lambda: validation.features(sp.csr_array((3, 2)), n_features=4), "X has 2 features, but 4 are"),
    "column too large": (lambda: validation.features(damaged("csr_array", indices=[0, 5])), "indices do not fit"),
    "negative column": (lambda: validation.features(damaged("csc_matrix", indices=[-1, 0])), "indices do not fit"),
    "decreasing pointer": (
        lambda: validation.features(damaged("csr_matrix", indptr=[0, 2, 1, 1, 1], indices=[0, 1])),
        "indices do not fit",
    ),
    "pointer beyond the end": (
        lambda: validation.features(damaged("csr_array", indptr=[0, 1, 1, 2, 99], data=[1, 2], indices=[0, 1])),
        "indices do not fit",
    ),
    "fewer columns than numbers": (
        lambda: validation.features(damaged("csr_array", indptr=[0, 1, 1, 1, 2], data=[1, 2], indices=[0])),
        "indices do not fit",
    ),
    "fewer numbers than columns": (
        lambda: validation.features(damaged("csr_array", indptr=[0, 1, 1, 1, 2], data=[1], indices=[0, 1])),
        "indices do not fit",
    ),
    "pointer too short": (lambda: validation.features(damaged("csr_array", indptr=[0, 1, 1])), "indices do not fit"),
    "coordinate too large": (lambda: validation.features(too_large()), "indices do not fit"),
}
BAD_TYPES = {
    "complex": (lambda: validation.features(sp.csr_array([[1j, 2]])), "X is complex"),
    "objects": (lambda: validation.features(objects()), "X has dtype object"),
}


def too_large():
    X = sp.coo_matrix(dense(4, 3))
    X.row[0] = 4
    return X


def objects():
    X = sp.csr_array([[1.0, 2.0]])
    X.data = X.data.astype(object)
    return X


@refused(BAD_VALUES, BAD_TYPES)
def test_what_is_no_sparse_matrix_of_finite_numbers_is_refused(error, call, message):
    with warnings.catch_warnings(action="ignore"), pytest.raises(error, match=message):  # warnings of SciPy and NumPy
        call()


def test_one_dimension_is_refused_with_the_advice_for_arrays():
    X = sp.coo_array([1.0, 0.0, 2.0])
    if X.ndim != 1:
        pytest.skip("this SciPy has no sparse arrays of one dimension")
    with pytest.raises(nbs.InputValueError, match=r"X has 1 dimension, .*X\.reshape\(1, -1\)"):
        validation.features(X)
    with pytest.raises(ValueError, match=r"[Rr]eshape"):
        nbs.SoftmaxRegression().fit(X, [0, 1, 0])


# --- pandas' sparse columns -------------------------------------------------------------------------------


def table(m=40, n=5, dtype="Sparse[float64]", fill=0):
    pandas = pytest.importorskip("pandas")
    D = dense(m, n)
    name = dtype.removeprefix("Sparse[").removesuffix("]")
    columns = {f"c{j}": pandas.arrays.SparseArray(D[:, j].astype(name), fill_value=fill) for j in range(n)}
    return pandas.DataFrame(columns), D.astype(name)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
def test_a_table_of_sparse_columns_becomes_a_sparse_array(dtype):
    X, D = table(dtype=dtype, fill=False if dtype == "bool" else 0)
    found, names = validation.samples(X)
    assert is_canonical(found)
    assert found.dtype == (np.float32 if dtype == "float32" else np.float64)
    assert np.array_equal(found.toarray(), D)
    assert names == ("c0", "c1", "c2", "c3", "c4")
    assert found.nnz == np.count_nonzero(D)


def test_missing_values_in_sparse_columns_are_named():
    X, D = table()
    D[7, 1] = np.nan
    X["c1"] = type(X["c1"].array)(D[:, 1], fill_value=0)
    with pytest.raises(nbs.InputValueError, match=r"missing value \(NaN\) in column 'c1' at row 7"):
        validation.samples(X)


def test_columns_whose_fill_value_is_not_0_become_dense():
    X, D = table(fill=1.0)
    assert np.array_equal(validation.samples(X)[0], D)
    X, _ = table(fill=np.nan)
    assert isinstance(validation.samples(X)[0], np.ndarray)


def test_a_table_with_some_dense_columns_is_sparse_only_where_that_is_much_smaller():
    pandas = pytest.importorskip("pandas")
    X, D = table()
    X["age"] = np.arange(40.0)
    found, names = validation.samples(X)
    assert isinstance(found, np.ndarray)
    assert names[-1] == "age"
    zeros = pandas.DataFrame(np.zeros((40, 200))).astype(pandas.SparseDtype(float, 0))
    wide = pandas.concat([X, zeros], axis=1)
    found, names = validation.samples(wide)
    assert is_canonical(found)
    assert len(names) == 206
    assert np.array_equal(found[:, :6].toarray(), np.column_stack([D, np.arange(40.0)]))


def test_sparse_columns_are_dense_where_only_arrays_are_accepted():
    X, D = table()
    assert np.array_equal(nbs.softmax(X), nbs.softmax(D))
