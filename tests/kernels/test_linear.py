"""The fused kernels of a linear model: every way of multiplying gives what plain float64 NumPy gives."""

import numpy as np
import pytest

from nbsoftmax import validation
from nbsoftmax.backends import dense
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.kernels.linear import BLAS, DOTS, TILES
from tests import reference

DTYPES = [np.float32, np.float64]
FORMS = [TILES, DOTS, BLAS]


def backend(X, y, n_classes, *, n_threads=2, offset=None, **options):
    target = validation.weighted_targets(
        y, len(X), n_classes, X.dtype, sample_weight=None, class_weight=None, label_smoothing=0.0
    )
    offset = np.empty((0, 0), X.dtype) if offset is None else offset
    made = DenseBackend(X, target, offset=offset, fit_intercept=True, n_threads=n_threads)
    form = options.pop("form", None)
    if form is not None:
        made._design.form = form
        made._fused = made._design  # two classes have a form of their own otherwise
    for name, value in options.items():
        setattr(made, name, value)
    return made


def problem(m, N, K, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(m, N)).astype(dtype), rng.integers(0, K, m)
    return X, y, rng.normal(size=(K, N + 1)) / np.sqrt(N), rng.normal(size=(K, N + 1))


def expected(X, y, params, v, offset=0.0):
    """Sums of losses, gradient and Hessian-vector product, float64."""
    X1 = np.column_stack([X.astype(np.float64), np.ones(len(X))])
    z = X1 @ params.T + offset
    a = reference.softmax(z)
    target = reference.one_hot(y, len(params))
    u = X1 @ v.T
    e = a * (u - (a * u).sum(axis=1, keepdims=True))
    losses = reference.logsumexp(z - z[np.arange(len(y)), y][:, None])
    return losses.sum(), (a - target).T @ X1, e.T @ X1


def close(got, wanted, dtype):
    # Products and sums of a block in the dtype of X: an error of some eps of the largest entry's size.
    return np.abs(got - wanted).max() <= 256 * np.finfo(dtype).eps * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS, ids=["tiles", "dots", "blas"])
@pytest.mark.parametrize(
    ("m", "N", "K"),
    [
        *[(1, 1, 2), (70, 65, 3), (33, 7, 17), (600, 33, 31), (300, 40, 130), (80, 70, 1000)],
        *[(90, 512, 11), (40, 9, 512)],  # rows of X, or of the logits, at a distance of 2 or 4 KB
    ],
)
def test_all_ways_of_multiplying_are_right(m, N, K, form, dtype):
    X, y, params, v = problem(m, N, K, dtype)
    made = backend(X, y, K, form=form)
    loss, grad, product = expected(X, y, params, v)
    got_loss, got_grad = made.loss_and_grad(params)
    assert close(got_loss / m, loss / m, dtype)
    assert close(made.loss(params) / m, loss / m, dtype)
    assert close(got_grad, grad, dtype)
    assert close(made.hess_vec(params, v), product, dtype)


@pytest.mark.parametrize("form", FORMS, ids=["tiles", "dots", "blas"])
@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: np.repeat(X, 3, axis=0)[::3],
        lambda X: X[::-1].copy()[::-1],
        lambda X: X[:, ::-1].copy()[:, ::-1],
        lambda X: np.column_stack([X, X])[:, : X.shape[1]],
    ],
    ids=["fortran", "every other column", "every third row", "rows backwards", "columns backwards", "left half"],
)
@pytest.mark.parametrize("N", [70, 256])
def test_every_layout_gives_the_same_bits(N, layout, form):
    X, y, params, v = problem(200, N, 9, np.float64)
    plain, other = backend(X, y, 9, form=form), backend(layout(X), y, 9, form=form)
    assert np.array_equal(layout(X), X)
    assert np.array_equal(plain.loss_and_grad(params)[1], other.loss_and_grad(params)[1])
    assert np.array_equal(plain.hess_vec(params, v), other.hess_vec(params, v))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "N", "K"), [(70, 3, 130), (33, 20, 257), (200, 5, 3), (1, 2, 300)])
def test_splitting_the_classes_over_threads_is_right(m, N, K, dtype):
    X, y, params, v = problem(m, N, K, dtype)
    offset = np.random.default_rng(1).normal(size=(m, K)).astype(dtype)
    loss, grad, product = expected(X, y, params, v, offset)
    for layout in (np.ascontiguousarray, np.asfortranarray):
        made = backend(layout(X), y, K, offset=offset, _block=32, form=BLAS, _n_chunks=1)
        got_loss, got_grad = made.loss_and_grad(params)
        assert close(got_loss / m, loss / m, dtype)
        assert made.loss(params) == got_loss
        assert close(got_grad, grad, dtype)
        assert close(made.hess_vec(params, v), product, dtype)


@pytest.mark.usefixtures("several_threads")
def test_tens_of_thousands_of_classes_are_split_and_right():
    X, y, params, v = problem(40, 12, 32768, np.float64)
    made = backend(X, y, 32768)
    assert made._block
    _, grad, product = expected(X, y, params, v)
    assert close(made.loss_and_grad(params)[1], grad, np.float64)
    assert close(made.hess_vec(params, v), product, np.float64)
    one = backend(X, y, 32768, n_threads=1)
    assert np.array_equal(made.loss_and_grad(params)[1], one.loss_and_grad(params)[1])


def test_rows_that_overlap_in_memory_are_read_right():
    series = np.random.default_rng(0).normal(size=300)
    X = np.lib.stride_tricks.sliding_window_view(series, 70)
    _, y, params, v = problem(len(X), 70, 5, np.float64)
    for form in FORMS:
        made = backend(validation.writeable_view(X), y, 5, form=form)
        assert close(made.loss_and_grad(params)[1], expected(X, y, params, v)[1], np.float64)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("form", FORMS, ids=["tiles", "dots", "blas"])
def test_the_threads_do_not_show_in_the_bits(form):
    X, y, params, v = problem(3000, 70, 40, np.float64)
    one, three = (backend(X, y, 40, n_threads=n, form=form) for n in (1, 3))
    assert np.array_equal(one.loss_and_grad(params)[1], three.loss_and_grad(params)[1])
    assert np.array_equal(one.hess_vec(params, v), three.hess_vec(params, v))


def test_blas_gets_its_threads_back():
    from threadpoolctl import threadpool_info, threadpool_limits

    X, y, params, _ = problem(100, 70, 9, np.float64)
    with threadpool_limits(2, user_api="blas"):
        before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        backend(X, y, 9, form=BLAS).loss_and_grad(params)
        after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert after[: len(before)] == before


@pytest.fixture(params=[dense.SPLIT_BYTES, 0], ids=["by rows", "by classes"])
def split(request, monkeypatch):
    """The work is split over threads by rows, or by classes as for many parameters."""
    monkeypatch.setattr(dense, "SPLIT_BYTES", request.param)
    return request.param


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize("K", [2, 5, 90])
def test_products_at_one_point_are_the_same_bits_whether_probabilities_are_made_or_kept(K):
    X, y, params, v = problem(300, 9, K, np.float64)
    made, other = backend(X, y, K), -params
    first, second, third = (made.hess_vec(params, v) for _ in range(3))  # made, made and kept, kept
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert close(made.hess_vec(other, v), expected(X, y, other, v)[2], np.float64)
    assert np.array_equal(made.hess_vec(params, v), first)
    a = reference.softmax(np.column_stack([X, np.ones(300)]) @ params.T)
    assert close(made.intercept_curvature(params), np.diag(a.sum(axis=0)) - a.T @ a, np.float64)
    assert made.intercept_curvature(other) is None


@pytest.mark.parametrize("K", [2, 5, 90])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_probabilities_are_kept_within_their_budget(K, share, split):
    X, y, params, v = problem(6000, 9, K, np.float64)
    columns = 1 if K == 2 and split > 0 else K
    budget = int(share * 6000 * columns * 8)
    made = backend(X, y, K, _kept_bytes=budget)
    first, second, third = (made.hess_vec(params, v) for _ in range(3))
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert made._kept[1].nbytes <= budget
    assert (made._kept[1].size > 0) == (share > 0)
    assert made.intercept_curvature(params) is None  # some are missing


def expected_grams(X, params, weight, offset=0.0):
    """Mean, class by class, and the whole Hessian, float64."""
    X1 = np.column_stack([X.astype(np.float64), np.ones(len(X))])
    a = reference.softmax(X1 @ params.T + offset)
    each = weight[:, None] * a * (1 - a)
    blocks = (np.eye(len(params)) - a[:, None, :]) * a[:, :, None] * weight[:, None, None]
    return (
        np.einsum("i,ij,ip->jp", weight, X1, X1),
        np.einsum("i,ij,ip->jp", each.mean(axis=1), X1, X1),
        np.einsum("ik,ij,ip->kjp", each, X1, X1),
        np.einsum("ikl,ij,ip->kjlp", blocks, X1, X1),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS, ids=["tiles", "dots", "blas"])
@pytest.mark.parametrize(
    ("m", "N", "K"), [(1, 1, 2), (70, 7, 3), (333, 8, 2), (300, 33, 5), (40, 130, 3), (40, 255, 2)]
)
@pytest.mark.parametrize("split_bytes", [0, dense.GRAM_SPLIT_BYTES], ids=["split", "tiles"])
def test_gram_matrices_and_the_hessian(m, N, K, form, dtype, split_bytes, monkeypatch):
    monkeypatch.setattr(dense, "GRAM_SPLIT_BYTES", split_bytes)
    X, y, params, v = problem(m, N, K, dtype)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, m).astype(dtype)
    made = backend(X, y, K, form=form, _curvature=weight.astype(np.float64))
    unit, mean, each, hessian = expected_grams(X, params, weight.astype(np.float64))
    assert close(made.gram(), unit, dtype)
    assert close(made.gram(params), mean, dtype)
    assert close(made.gram(0 * params), unit * (K - 1) / K**2, dtype)
    assert close(made.class_grams(params), each, dtype)
    assert close(made.curvatures(params), np.einsum("kjj->kj", each), dtype)
    got = made.hessian(params)
    assert close(got, hessian, dtype)
    assert np.array_equal(got, got.transpose(2, 3, 0, 1))
    assert close(np.einsum("kjlp,lp->kj", got, v), made.hess_vec(params, v), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gram_matrices_of_equal_probabilities_include_an_offset(dtype):
    X, y, params, _ = problem(70, 20, 3, dtype)
    offset = np.random.default_rng(1).normal(size=(70, 3)).astype(dtype)
    mean = expected_grams(X, 0 * params, np.ones(70), offset)[1]
    assert close(backend(X, y, 3, offset=offset).gram(0 * params), mean, dtype)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("split_bytes", [0, dense.GRAM_SPLIT_BYTES], ids=["split", "tiles"])
def test_gram_matrices_depend_on_no_thread_and_no_layout(split_bytes, monkeypatch):
    monkeypatch.setattr(dense, "GRAM_SPLIT_BYTES", split_bytes)
    X, y, params, _ = problem(3000, 40, 4, np.float64)
    one, other = backend(X, y, 4, n_threads=1), backend(np.asfortranarray(X), y, 4, n_threads=3)
    assert np.array_equal(one.gram(params), other.gram(params))
    assert np.array_equal(one.hessian(params), other.hessian(params))


def test_without_intercept_its_row_and_column_are_0():
    X, y, params, _ = problem(50, 6, 3, np.float64)
    made = backend(X, y, 3, fit_intercept=False)
    params[:, -1] = 0
    with_intercept = backend(X, y, 3)
    assert np.array_equal(made.gram(params)[:-1, :-1], with_intercept.gram(params)[:-1, :-1])
    assert not made.gram(params)[-1].any()
    assert not made.hessian(params)[:, -1].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 3])
def test_columns_are_transposed_whatever_their_number_and_that_of_the_rows(K, dtype):
    for m, N in [*((m, 11) for m in range(1, 70)), *((45, N) for N in range(1, 70)), (700, 100), (64, 1300)]:
        X, y, params, v = problem(m, N, K, dtype)
        wide = np.zeros((m + 3, 2 * N), dtype, order="F")  # columns further apart than their length
        wide[2 : m + 2, ::2] = X
        plain, other = backend(X, y, K), backend(wide[2 : m + 2, ::2], y, K)
        assert np.array_equal(plain.loss_and_grad(params)[1], other.loss_and_grad(params)[1])
        assert np.array_equal(plain.hess_vec(params, v), other.hess_vec(params, v))
        assert np.array_equal(plain.gram(params), other.gram(params))
        backwards = backend(np.ascontiguousarray(X[::-1])[::-1], y, K)
        assert np.array_equal(plain.gram(params), backwards.gram(params))
