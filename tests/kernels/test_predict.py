"""Fused prediction: every way of multiplying and every number of classes gives what plain float64 NumPy gives."""

import numpy as np
import pytest

from nbsoftmax import InputValueError
from nbsoftmax.backends.design import Design
from nbsoftmax.kernels.linear import BLAS, DOTS, TILES
from nbsoftmax.kernels.predict import BEST, LOG_PROBA, LOGITS, PANEL, PROBA
from tests import reference

FORMS = pytest.mark.parametrize("form", [TILES, DOTS, BLAS], ids=["tiles", "dots", "blas"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def design(X, n_classes, form, n_threads=2):
    made = Design(X, n_classes, np.empty((0, 0), X.dtype), n_threads)
    made.form = form
    return made


def problem(m, N, K, dtype):
    rng = np.random.default_rng(m + N + K)
    return rng.normal(size=(m, N)).astype(dtype), rng.normal(size=(K, N + 1)) / np.sqrt(N)


def split(params):
    """The coefficients and the intercepts."""
    return params[:, :-1], params[:, -1]


@DTYPES
@FORMS
@pytest.mark.parametrize(
    ("m", "N", "K"),
    [(1, 1, 2), (70, 9, 3), (33, 8, 7), (16, 65, 8), (50, 3, 64), (20, 17, 65), (40, 5, 1000), (18, 7, PANEL + 9)],
)
def test_all_that_can_be_asked_for(m, N, K, form, dtype):
    X, params = problem(m, N, K, dtype)
    z = np.column_stack([X.astype(np.float64), np.ones(m)]) @ params.T
    made = design(X, K, form)
    # Logits of the order of 1 from N products in the dtype of X: an error of some eps of the largest.
    bound = 64 * np.finfo(dtype).eps * max(1.0, np.abs(z).max())
    assert np.abs(made.predict(*split(params), LOGITS)[0] - z).max() <= bound
    assert np.abs(made.predict(*split(params), PROBA)[0] - reference.softmax(z)).max() <= bound
    assert np.abs(made.predict(*split(params), LOG_PROBA)[0] - reference.log_softmax(z)).max() <= 2 * bound
    logits = made.predict(*split(params), LOGITS)[0]  # ranks are those of the logits as rounded
    for k in sorted({1, 2, min(5, K), min(K, 40)}):
        proba, best = made.predict(*split(params), BEST, k, with_proba=True)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
        assert np.array_equal(best, order)
        assert np.abs(proba - np.take_along_axis(reference.softmax(z), order, axis=1)).max() <= bound
        none, alone = made.predict(*split(params), BEST, k)
        assert none.shape == (m, 0)
        assert np.array_equal(alone, order)


@FORMS
def test_of_equal_logits_the_first_class_comes_first(form):
    X, params = np.ones((3, 2)), np.zeros((PANEL + 20, 3))
    params[[5, PANEL + 3, PANEL + 4], 2] = 1.0
    made = design(X, len(params), form)
    assert made.predict(*split(params), BEST, 6)[1].tolist() == [[5, PANEL + 3, PANEL + 4, 0, 1, 2]] * 3
    assert made.predict(*split(params), BEST)[1].tolist() == [[5]] * 3


@pytest.mark.usefixtures("several_threads")
@FORMS
@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: np.repeat(X, 2, 1)[:, ::2], lambda X: X[::-1][::-1]])
def test_layouts_and_threads_change_nothing(form, layout):
    X, params = problem(300, 70, 12, np.float64)
    one, three = design(X, 12, form, n_threads=1), design(layout(X), 12, form, n_threads=3)
    for what in (LOGITS, PROBA, LOG_PROBA, BEST):
        for a, b in zip(one.predict(*split(params), what, 3), three.predict(*split(params), what, 3), strict=True):
            assert np.array_equal(a, b)


@FORMS
@DTYPES
@pytest.mark.parametrize("N", [1, 4, 7, 8, 15, 16, 17, 32])
def test_nothing_beyond_the_parameters_is_used(N, form, dtype):
    X, params = problem(37, N, 3, dtype)
    made = design(X, 3, form)
    weights = made.weights(params)
    among_nan = np.full(weights.w.size + 64, np.nan, dtype)
    among_nan[: weights.w.size] = weights.w
    wanted = made.predict(*split(params), LOGITS)[0]
    made.weights = lambda params: weights._replace(w=among_nan[: weights.w.size])
    assert np.isfinite(wanted).all()
    assert np.array_equal(made.predict(*split(params), LOGITS)[0], wanted)


@DTYPES
@FORMS
@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, lambda X: np.repeat(X, 2, axis=1)[::-1, ::2]]
)
@pytest.mark.parametrize(("N", "K"), [(1, 2), (9, 3), (40, 7), (17, 65), (5, PANEL + 9)])
def test_numbers_that_are_not_finite_are_found_in_every_place(N, K, layout, form, dtype):
    m = 70
    X, params = problem(m, N, K, dtype)
    params[0] = 0  # 0 times a number that is not finite is not 0
    places = [(i, j) for i in (0, 1, 30, 63, 64, m - 1) for j in {0, N // 2, N - 1}]
    results = [(LOGITS, 1, False), (PROBA, 1, False), (LOG_PROBA, 1, False), (BEST, 1, False), (BEST, 2, True)]
    for i, j in places:
        for bad in (np.nan, np.inf, -np.inf):
            other = layout(X.copy())
            other[i, j] = bad
            made = design(other, K, form)
            for what, k, with_proba in results:
                with pytest.raises(InputValueError, match=f"X contains {bad} at row {i}, column {j} "):
                    made.predict(*split(params), what, k, with_proba=with_proba)
    with pytest.raises(InputValueError, match=f"X has {bad} in column 'feature {j}' at row {i} "):
        made.predict(*split(params), PROBA, names=tuple(f"feature {j}" for j in range(N)))


@FORMS
def test_infinite_parameters_are_no_error_of_finite_rows(form):
    X, params = problem(70, 9, 3, np.float64)
    params[0, -1] = -np.inf  # the intercept of a class without samples
    made = design(X, 3, form)
    proba = made.predict(*split(params), PROBA)[0]
    assert np.array_equal(proba[:, 0], np.zeros(70))
    assert np.isfinite(proba).all()


@DTYPES
@FORMS
@pytest.mark.parametrize("K", [2, 3, 17, 64, 65])
def test_the_best_classes_of_equal_and_infinite_logits_are_distinct_and_in_order(K, form, dtype):
    m = 37
    rng = np.random.default_rng(K)
    X = np.zeros((m, 2), dtype)
    X[:, 0] = 1
    intercept = rng.integers(0, 3, K).astype(float)  # many equal logits
    intercept[rng.permutation(K)[: K // 2]] = -np.inf
    coef = np.zeros((K, 2))
    order = np.argsort(-intercept, kind="stable")
    for k in sorted({1, 2, K // 2 + 1, K}):
        proba, best = design(X, K, form).predict(coef, intercept, BEST, k, with_proba=True)
        assert np.array_equal(best, np.tile(order[:k], (m, 1)))
        expected = reference.softmax(intercept[None])[:, order[:k]]
        assert np.abs(proba - expected).max() <= 4 * np.finfo(dtype).eps
    alone = design(X, K, form).predict(coef, np.full(K, -np.inf), BEST, K)[1]
    assert np.array_equal(alone, np.tile(np.arange(K), (m, 1)))
