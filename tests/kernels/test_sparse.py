"""The layouts of sparse data: transposed blocks of rows, and parameters by features."""

import numpy as np
import pytest
from scipy import sparse as scipy_sparse

from nbsoftmax.backends.sparse_design import Layout
from nbsoftmax.backends.transposed import MOST_ROWS, Blocks
from nbsoftmax.kernels.lang.panels import MOST_VECTORS, N_TAILS, padded, panels_of
from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
from nbsoftmax.kernels.sparse import SEGMENT, TASKS

NO_OFFSET = np.empty((0, 0))


def random_rows(m, n, density, index=np.int32, seed=0):
    rng = np.random.default_rng(seed)
    X = scipy_sparse.csr_array(np.where(rng.random((m, n)) < density, rng.normal(size=(m, n)), 0))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


def columns_of(blocks, b):
    """The rows of a block as a dense array, from its transposed copy."""
    columns, part = blocks.columns, blocks.part(b)
    dense = np.zeros((part.stop - part.start, columns.n_features))
    for e in range(*blocks.entries(b).indices(columns.columns.size)):
        numbers = slice(columns.starts[e], columns.starts[e + 1])
        dense[columns.rows[numbers], columns.columns[e]] = columns.data[numbers]
    return dense


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("m", "n", "density"), [(40, 30, 0.2), (1000, 7, 0.9), (3, 500, 0.01), (5, 4, 0.0), (20, 0, 0.5)]
)
@pytest.mark.parametrize("n_rows", [16, 10**6])
def test_the_transposed_copy_holds_the_same_numbers(m, n, density, index, n_rows):
    X = random_rows(m, n, density, index)
    blocks = Blocks(X, NO_OFFSET, n_rows, 1)
    assert blocks.starts[0] == 0 and blocks.starts[-1] == m
    for b in range(len(blocks)):
        np.testing.assert_array_equal(columns_of(blocks, b), X[blocks.part(b)].toarray())


def test_entries_have_few_numbers_and_no_task_shares_a_column():
    columns = Blocks(random_rows(1000, 90, 0.5), NO_OFFSET, MOST_ROWS, 1).columns
    sizes = np.diff(columns.starts)
    assert sizes.min() > 0 and sizes.max() <= SEGMENT
    assert (columns.columns.size) > 90  # columns with more numbers than that have several entries
    bounds = columns.bounds
    assert bounds[0] == 0 and bounds[-1] == columns.columns.size and (np.diff(bounds) >= 0).all()
    owners = np.repeat(np.arange(TASKS), np.diff(bounds))
    for column in np.unique(columns.columns):
        assert np.unique(owners[columns.columns == column]).size == 1


def test_tasks_have_similar_numbers_of_numbers():
    rng = np.random.default_rng(0)
    columns = np.minimum(rng.zipf(1.3, 200_000) - 1, 9999)  # a few columns have most numbers
    X = scipy_sparse.csr_array(
        (np.ones(columns.size), columns, np.arange(0, columns.size + 1, 20)), shape=(10_000, 10_000)
    )
    X.sum_duplicates()
    columns = Blocks(X, NO_OFFSET, MOST_ROWS, 1).columns
    starts, bounds = columns.starts, columns.bounds
    work = np.diff(starts[bounds])
    longest = np.bincount(X.indices).max()  # a column belongs to one task
    assert work.max() <= longest + 2 * X.nnz / TASKS


@pytest.mark.parametrize("itemsize", [4, 8])
def test_panels_cover_all_classes_with_little_padding(itemsize):
    for k in range(2, 300):
        stride, panels = padded(k, itemsize), panels_of(k, itemsize).reshape(-1, 2)
        assert k <= stride < k + VECTOR_BYTES // itemsize
        assert stride * itemsize % 16 == 0
        assert panels[0, 0] == 0 and (panels[:, 1] > 0).all() and (panels[:, 1] <= MOST_VECTORS * N_TAILS).all()
        whole = panels[:, 1] // N_TAILS * VECTOR_BYTES // itemsize
        np.testing.assert_array_equal(panels[1:, 0], (panels[:, 0] + whole)[:-1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [2, 3, 8, 9, 20, 33, 70])
def test_parameters_by_features_are_the_transposed_ones(k, dtype):
    params = np.random.default_rng(0).normal(size=(k, 1100))
    layout = Layout(1099, k, np.dtype(dtype), 1)
    weights = layout.weights(params, np.full(layout.size, np.nan, dtype))
    rows = weights.w[: 1100 * layout.stride].reshape(1100, layout.stride)
    np.testing.assert_array_equal(rows[:, :k], params.T.astype(dtype))
    assert np.isfinite(rows).all()
    parts = layout.weights_of_parts(params[:, :-1], params[:, -1]).w
    np.testing.assert_array_equal(parts[: rows.size], rows.ravel())
    assert parts.size == layout.size
