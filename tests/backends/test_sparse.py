"""The sums of a sparse backend are those of a dense one."""

import numpy as np
import pytest
from scipy import sparse

from nbsoftmax import validation
from nbsoftmax.backends.base import FixesPoint, Margins, Refinable, SelectsFeatures, Stochastic, hessian_at
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.backends.design import Design
from nbsoftmax.backends.moments import mean_and_variance, moments
from nbsoftmax.backends.sparse import SparseBackend
from nbsoftmax.backends.sparse_design import SparseDesign
from nbsoftmax.kernels.predict import BEST, LOG_PROBA, LOGITS, PROBA

# Every sum of the protocol, as a function of a backend, parameters w and a direction v.
SUMS = {
    "loss": lambda backend, w, v: (backend.loss(w),),
    "loss_and_grad": lambda backend, w, v: backend.loss_and_grad(w),
    "hess_vec": lambda backend, w, v: (backend.hess_vec(w, v), backend.hess_vec(w, -v), backend.hess_vec(v, w)),
    "hessian_at": lambda backend, w, v: [hessian_at(backend, p)(d) for p in (w, v) for d in (w, v)],
    "gram": lambda backend, w, v: (backend.gram(), backend.gram(w)),
    "curvatures": lambda backend, w, v: (backend.curvatures(w),),
    "class_grams": lambda backend, w, v: (backend.class_grams(w),),
    # the second of these uses the probabilities that the first one has kept
    "intercept_curvature": lambda backend, w, v: (backend.hess_vec(w, v), backend.intercept_curvature(w)),
    "hessian": lambda backend, w, v: (backend.hessian(w),),
}
# Sums of up to 300 terms in the dtype of X: 4 sqrt(300) times its eps of the largest result.
TOLERANCE = {"float64": 2e-14, "float32": 1e-5}


def rows_of(m, n, density, dtype, seed=0):
    """A sparse X with empty rows and columns, explicit zeros and a column that is nearly full."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((m, n)) < density, rng.normal(size=(m, n)), 0)
    X[:, 0] = rng.normal(size=m)
    X[::7] = 0
    X[:, 1::5] = 0
    X = sparse.csr_array(X.astype(dtype))
    X.data[::11] = 0
    return X


def target_of(m, k, dtype, kind, seed=1):
    rng = np.random.default_rng(seed)
    y, options = rng.integers(0, k, m), {}
    if kind in ("weights", "all"):
        options["sample_weight"] = rng.uniform(0.5, 2, m) * (rng.random(m) < 0.9)
    if kind in ("class_weights", "all"):
        options["class_weight"] = rng.uniform(0.5, 2, k)
    if kind in ("soft", "all"):
        y = rng.dirichlet(np.ones(k), m)
    smoothing = 0.1 if kind in ("smoothed", "all") else 0.0
    options = {"sample_weight": None, "class_weight": None, "label_smoothing": smoothing} | options
    return validation.weighted_targets(y, m, k, np.dtype(dtype), **options)


def pair(m=150, n=13, k=5, dtype="float64", kind="plain", *, offset=False, intercept=True, density=0.2, **options):
    """A sparse and a dense backend of the same data, and two points."""
    X, target = rows_of(m, n, density, dtype), target_of(m, k, dtype, kind)
    rng = np.random.default_rng(2)
    fixed = rng.normal(size=(m, k)).astype(dtype) if offset else np.empty((0, 0), dtype)
    common = {"offset": fixed, "fit_intercept": intercept, "n_threads": options.pop("n_threads", 1)}
    points = rng.normal(size=(k, n + 1)), rng.normal(size=(k, n + 1))
    return SparseBackend(X, target, **common, **options), DenseBackend(X.toarray(), target, **common), *points


def assert_close(a, b, dtype):
    """Within rounding errors, relative to the largest number of an array."""
    for one, other in zip(a, b, strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE[dtype] * max(1.0, np.abs(other).max(initial=0)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SUMS)
def test_sums_are_those_of_dense_rows(name, dtype):
    mine, dense, w, v = pair(dtype=dtype)
    assert_close(SUMS[name](mine, w, v), SUMS[name](dense, w, v), dtype)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("kind", ["weights", "class_weights", "soft", "smoothed", "all"])
def test_targets_weights_offset_and_intercept_have_the_effect_that_they_have_on_dense_rows(kind, offset, intercept):
    mine, dense, w, v = pair(kind=kind, offset=offset, intercept=intercept)
    for name in ("loss_and_grad", "hess_vec", "curvatures", "intercept_curvature", "gram"):
        assert_close(SUMS[name](mine, w, v), SUMS[name](dense, w, v), "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [2, 3, 4, 7, 8, 12, 16, 17, 20, 31, 53, 64, 65, 100, 130])
def test_every_number_of_classes(k, dtype):
    mine, dense, w, v = pair(k=k, dtype=dtype)
    for name in ("loss", "loss_and_grad", "hess_vec", "curvatures"):
        assert_close(SUMS[name](mine, w, v), SUMS[name](dense, w, v), dtype)


@pytest.mark.parametrize("name", ["loss", "loss_and_grad", "hess_vec", "curvatures", "intercept_curvature"])
def test_small_blocks_of_rows_change_only_the_rounding(name):
    mine, dense, w, v = pair(m=333, n=40, k=3, block_bytes=1)
    assert_close(SUMS[name](mine, w, v), SUMS[name](dense, w, v), "float64")


@pytest.mark.parametrize(
    ("cache", "m", "n_blocks"),
    [(0, 40_000, 1), (2**20, 40_000, 1), (2**21, 30_000, 1), (2**21, 40_000, 3), (2**24, 40_000, 3)],
)
def test_the_second_level_cache_changes_only_the_size_of_blocks(cache, m, n_blocks, monkeypatch):
    monkeypatch.setattr("nbsoftmax.backends.sparse._second_level_cache", lambda: cache)
    mine, dense, w, v = pair(m=m, n=3, k=8)  # 2.5 MB of logits, or 1.9
    assert len(mine._blocks) == n_blocks
    assert_close(SUMS["loss_and_grad"](mine, w, v), SUMS["loss_and_grad"](dense, w, v), "float64")


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bits_do_not_depend_on_the_number_of_threads(dtype):
    options = {"m": 5000, "n": 3000, "k": 20, "dtype": dtype, "density": 0.02, "block_bytes": 2**17}
    alone, _, w, v = pair(**options)
    together = pair(**options, n_threads=2)[0]
    for name in ("loss", "loss_and_grad", "hess_vec", "curvatures", "intercept_curvature"):
        for one, other in zip(SUMS[name](alone, w, v), SUMS[name](together, w, v), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(3, 0), (1, 1), (20, 5)])
def test_x_may_be_empty(shape):
    X = sparse.csr_array(shape, dtype=np.float64)
    target = target_of(shape[0], 3, "float64", "plain")
    common = {"offset": np.empty((0, 0)), "fit_intercept": True, "n_threads": 1}
    w = np.ones((3, shape[1] + 1))
    mine, dense = SparseBackend(X, target, **common), DenseBackend(X.toarray(), target, **common)
    assert_close(mine.loss_and_grad(w), dense.loss_and_grad(w), "float64")


@pytest.mark.parametrize("intercept", [True, False])
def test_margins_are_those_of_dense_rows(intercept):
    mine, dense, w, _ = pair(kind="weights", offset=True, intercept=intercept)
    for part in (slice(0, 10), slice(100, 1000)):
        labels, margins = mine.margins(w, part)
        expected = dense.margins(w, part)
        np.testing.assert_array_equal(labels, expected[0])
        assert_close((margins,), (expected[1],), "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_some_features_are_a_sparse_backend_in_float64(dtype):
    mine, dense, w, v = pair(dtype=dtype, n=30, offset=True)
    features = np.array([0, 3, 4, 17, 29])
    part, expected = mine.with_features(features), dense.with_features(features)
    assert isinstance(part, SparseBackend) and part.dtype == np.float64
    picked = [np.column_stack([point[:, features], point[:, -1]]) for point in (w, v)]
    for sums in SUMS.values():
        assert_close(sums(part, *picked), sums(expected, *picked), "float64")


def test_float32_rows_in_float64_have_the_accuracy_of_float64():
    mine, dense, w, v = pair(dtype="float32", kind="all", offset=True)
    precise, expected = mine.in_float64(hessian=True), dense.in_float64(hessian=True)
    for name in SUMS.keys() - {"intercept_curvature"}:  # converted blocks of dense rows keep no probabilities
        assert_close(SUMS[name](precise, w, v), SUMS[name](expected, w, v), "float64")
    curvature = SUMS["intercept_curvature"](precise, w, v)[1]
    assert_close((curvature,), (dense.hessian(w)[:, -1, :, -1],), "float32")


def test_float32_rows_in_float64_keep_the_hessian_of_float32_unless_asked_otherwise():
    mine, _, w, v = pair(dtype="float32")
    np.testing.assert_array_equal(mine.in_float64().hess_vec(w, v), mine.hess_vec(w, v))


def test_rows_that_no_dense_array_could_hold():
    m = n = 10**6
    rng = np.random.default_rng(0)
    X = sparse.csr_array((rng.normal(size=m), rng.integers(0, n, m), np.arange(m + 1)), shape=(m, n))
    target = target_of(m, 2, "float64", "plain")
    backend = SparseBackend(X, target, offset=np.empty((0, 0)), fit_intercept=True, n_threads=2)
    loss, gradient = backend.loss_and_grad(np.zeros((2, n + 1)))
    # At 0 every loss is log 2, and every residual 1/2 or -1/2; sums of 10^6 terms.
    assert abs(loss - m * np.log(2)) <= 1e-12 * m
    residuals = np.where(target.labels[:, None] == np.arange(2), -0.5, 0.5)
    np.testing.assert_allclose(gradient[:, :-1], (X.T @ residuals).T, rtol=0, atol=1e-13)


def test_capabilities_are_those_of_rows_in_memory():
    mine = pair()[0]
    assert all(isinstance(mine, kind) for kind in (Margins, SelectsFeatures, Refinable, Stochastic))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [2, 5, 20, 70])
def test_predictions_are_those_of_dense_rows(k, dtype):
    X = rows_of(200, 13, 0.2, dtype)
    rng = np.random.default_rng(3)
    coef, intercept = rng.normal(size=(k, 13)), rng.normal(size=k)
    mine, dense = SparseDesign(X, k, 1), Design(X.toarray(), k, np.empty((0, 0), dtype), 1)
    for what in (LOGITS, PROBA, LOG_PROBA):
        one, other = (design.predict(coef, intercept, what)[0] for design in (mine, dense))
        assert one.dtype == dtype
        assert_close((one,), (other,), dtype)
    for top in (1, 2):
        for with_proba in (False, True):
            one, other = (design.predict(coef, intercept, BEST, top, with_proba=with_proba) for design in (mine, dense))
            assert_close((one[0],), (other[0],), dtype)
            # Two logits as close as rounding errors may change places; empty rows have equal logits in all designs.
            assert (one[1] == other[1]).mean() > 0.99


@pytest.mark.parametrize("density", [0.1, 0.9])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gram_matrices_of_dense_and_sparse_columns(dtype, intercept, density):
    mine, dense, w, _ = pair(dtype=dtype, intercept=intercept, density=density, kind="weights", block_bytes=1)
    assert_close(SUMS["gram"](mine, w, w), SUMS["gram"](dense, w, w), dtype)


def test_the_gram_matrix_of_some_features_is_a_part_of_that_of_all():
    mine, dense, w, _ = pair(n=30, kind="weights", block_bytes=1)
    features = np.array([0, 3, 5, 17, 29])
    chosen = np.append(features, 30)
    for params in (None, w):
        assert_close((mine.frequent_gram(params, features),), (dense.gram(params)[np.ix_(chosen, chosen)],), "float64")


def test_counts_are_those_of_stored_numbers():
    mine, _, _, _ = pair()
    X = rows_of(150, 13, 0.2, "float64")
    np.testing.assert_array_equal(mine.counts(), np.diff(X.tocsc().indptr))
    assert mine.n_numbers == X.nnz


@pytest.mark.parametrize("block_bytes", [2**22, 2**9])
def test_moments_are_sums_with_the_variances_of_probabilities(block_bytes):
    ours, dense, w, _ = pair(kind="all", block_bytes=block_bytes)
    squares, sums = ours.moments(w)
    np.testing.assert_array_equal(squares, ours.curvatures(w))
    # The sums of X are the last columns of the diagonal blocks of the Hessian.
    expected = dense.class_grams(w)[:, :, -1]
    np.testing.assert_allclose(sums, expected, rtol=0, atol=2e-14 * np.abs(expected).max())


def test_several_products_at_a_point_are_those_of_one_each():
    ours, _, w, v = pair()
    assert isinstance(ours, FixesPoint)
    times = ours.hessian_at(w)
    first = times(v)
    ours.hess_vec(v, w)  # keeps the probabilities at another point
    np.testing.assert_array_equal(times(v), first)
    np.testing.assert_array_equal(times(w), ours.hess_vec(w, w))


@pytest.mark.parametrize("shift", [1e4, 1e6, 1e8, 1 / 3])
def test_moments_of_a_column_without_zeros_are_as_accurate_as_those_of_dense_rows(shift):
    rng = np.random.default_rng(0)
    X = np.column_stack([shift + rng.normal(size=300) * (shift > 1), rng.normal(size=300)])
    weight = rng.choice([0.0, 1.0, 1e-6, 1e6, 0.5, 1e-30], 300)
    found, expected = (
        mean_and_variance(lambda centre, rows=rows: moments(rows, weight, centre), 2)
        for rows in (sparse.csr_array(X), X)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
