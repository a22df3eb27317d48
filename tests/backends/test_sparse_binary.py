"""Two classes of sparse rows: the sums of one column of parameters are those of two."""

import warnings

import numpy as np
import pytest
from scipy import sparse

from nbsoftmax.backends import sparse_binary
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.backends.sparse import SparseBackend
from tests.backends.test_sparse import SUMS, assert_close, pair, target_of

NAMES = ("loss", "loss_and_grad", "hess_vec", "hessian_at", "curvatures", "intercept_curvature", "gram")


@pytest.fixture(params=["by rows", "by columns"])
def way(request, monkeypatch):
    """How products are added: by rows where X has few numbers, otherwise from a transposed copy."""
    if request.param == "by columns":
        monkeypatch.setattr(sparse_binary, "FEW_NUMBERS", -1)
    return request.param


@pytest.mark.parametrize("block_bytes", [None, 1])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["plain", "all"])
def test_sums_are_those_of_dense_rows(kind, dtype, block_bytes, way):
    for options in ({"offset": True}, {"intercept": False}):
        mine, dense, w, v = pair(m=333, k=2, kind=kind, dtype=dtype, block_bytes=block_bytes, **options)
        assert isinstance(mine._sums, sparse_binary.BinarySums)
        for name in NAMES:
            assert_close(SUMS[name](mine, w, v), SUMS[name](dense, w, v), dtype)


def test_moments_have_the_same_sign_for_both_classes(way):
    mine, dense, w, _ = pair(k=2, kind="all")
    hessian = dense.hessian(w)
    assert_close((mine.moments(w)[1],), ([hessian[k, :, k, -1] for k in (0, 1)],), "float64")


def test_float64_sums_of_float32_rows(way):
    mine, _, w, _ = pair(k=2, dtype="float32")
    X = mine._source[0].toarray().astype(float)
    exact = DenseBackend(X, target_of(150, 2, "float64", "plain"), **common())
    assert_close(mine.in_float64().loss_and_grad(w), exact.loss_and_grad(w), "float64")


def common():
    return {"offset": np.empty((0, 0)), "fit_intercept": True, "n_threads": 1}


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bits_do_not_depend_on_the_number_of_threads(dtype, way):
    options = {"m": 5000, "n": 3000, "k": 2, "dtype": dtype, "density": 0.02, "block_bytes": 2**12}
    alone, _, w, v = pair(**options)
    together = pair(**options, n_threads=2)[0]
    for name in ("loss", "loss_and_grad", "hess_vec", "curvatures"):
        for one, other in zip(SUMS[name](alone, w, v), SUMS[name](together, w, v), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_common_change_of_both_classes_changes_nothing(way):
    mine, _, w, v = pair(k=2)
    same = w + np.random.default_rng(3).integers(-9, 9, w.shape[1]) / 2**20  # nearly exact
    assert_close(mine.loss_and_grad(same), mine.loss_and_grad(w), "float64")
    gradient, product = mine.loss_and_grad(w)[1], mine.hess_vec(w, v)
    np.testing.assert_array_equal(gradient[0], -gradient[1])
    np.testing.assert_array_equal(product[0], -product[1])


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 1), (20, 5)])
def test_x_may_be_empty(shape, way):
    X, w = sparse.csr_array(shape, dtype=np.float64), np.arange(2.0 * (shape[1] + 1)).reshape(2, -1)
    target = target_of(shape[0], 2, "float64", "plain")
    mine, dense = SparseBackend(X, target, **common()), DenseBackend(X.toarray(), target, **common())
    assert_close(mine.loss_and_grad(w), dense.loss_and_grad(w), "float64")


def test_64_bit_indices(way):
    mine, _, w, v = pair(k=2)
    X = mine._source[0].copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    long = SparseBackend(X, mine._source[1], **common())
    for name in ("loss_and_grad", "hess_vec"):
        assert_close(SUMS[name](long, w, v), SUMS[name](mine, w, v), "float64")


def test_a_row_that_overflows_changes_only_its_columns(way):
    X = sparse.csr_array(np.array([[1e300, 0, 1], [1, 0, 0], [0, 2, 0], [0, 1, 0]]))
    mine = SparseBackend(X, target_of(4, 2, "float64", "plain"), **common())
    w = np.array([[0, 0, 0, 0], [1e300, 1, 1, 0]])
    with np.errstate(all="ignore"):
        gradient = mine.hess_vec(w, w)
    assert np.isfinite(gradient[:, 1]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parameters_that_overflow_give_no_warning(dtype, way):
    mine, _, w, _ = pair(k=2, dtype=dtype)
    huge = np.sign(w) * (1.5e308 if dtype == "float64" else 1e39)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.isfinite(mine.loss(huge))
