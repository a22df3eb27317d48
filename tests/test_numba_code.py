"""Functions of the package in functions that Numba compiles: the same bits as from Python, on one thread or several."""

import os
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest
from numba import njit, prange

import nbsoftmax as nbs
from nbsoftmax.kernels.chunks import chunks_of_logits
from nbsoftmax.kernels.overloads.calls import Kernel
from nbsoftmax.kernels.overloads.sums import total
from nbsoftmax.sums import pairwise_sum
from tests.processes import output, run

pytestmark = pytest.mark.filterwarnings(
    "ignore::numba.core.errors.NumbaPerformanceWarning"
)  # one row: no parallel loop

DTYPES = (np.float32, np.float64)


def of_logits(z, y, weight, by_class, proba, ignored):
    loss, grad = nbs.cross_entropy_and_grad(z, y)
    return (
        nbs.softmax(z),
        nbs.log_softmax(z),
        nbs.logsumexp(z),
        nbs.sigmoid(z),
        nbs.log_sigmoid(z),
        loss,
        grad,
        nbs.cross_entropy(z, y, reduction="sum"),
        nbs.cross_entropy(z, y, sample_weight=weight, class_weight=by_class),
        nbs.cross_entropy_and_grad(
            z, y, sample_weight=weight, class_weight=by_class, label_smoothing=0.1, ignore_index=ignored
        ),
        nbs.cross_entropy_and_grad(z, proba, class_weight=by_class, reduction="sum"),
    )


def of_samples(X, y, coef, intercept, weight):
    return (
        nbs.loss_and_grad(X, y, coef, intercept),
        nbs.loss_and_grad(X, y, coef, intercept, sample_weight=weight, label_smoothing=0.1),
    )


COMPILED = {
    (function.__name__, parallel): njit(parallel=parallel)(function)
    for function in (of_logits, of_samples)
    for parallel in (False, True)
}


def flat(results):
    for each in results:
        yield from flat(each) if isinstance(each, tuple) else [each]


def assert_same_bits(found, expected):
    found, expected = list(flat(found)), list(flat(expected))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        if np.ndim(b):
            assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def problem(m, n_classes, dtype, seed=0):
    rng = np.random.default_rng((seed, m, n_classes))
    z = 3 * rng.standard_normal((m, n_classes)).astype(dtype)
    proba = nbs.softmax(rng.standard_normal((m, n_classes)).astype(dtype))
    return z, rng.integers(0, n_classes, m), rng.uniform(0.1, 3, m), rng.uniform(0.1, 3, n_classes), proba


FEW_ROWS = [(m, n_classes) for n_classes in range(1, 71) for m in (1 + n_classes % 17,)] + [(7, 1000), (33, 1000)]
MANY_ROWS = [(20_001, 2), (9_999, 10), (1_001, 70), (130, 1000), (300_000, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parallel", [False, True])
def test_functions_of_logits_have_the_bits_of_the_python_functions(dtype, parallel):
    assert chunks_of_logits(300_000 * 3) > 32
    for m, n_classes in FEW_ROWS + MANY_ROWS:
        arguments = (*problem(m, n_classes, dtype), n_classes - 1 if n_classes > 1 else 5)
        if n_classes > 1:
            arguments[1][0] = 0  # one sample is not ignored
        assert_same_bits(COMPILED["of_logits", parallel](*arguments), of_logits(*arguments))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parallel", [False, True])
def test_loss_and_grad_has_the_bits_of_the_python_function(dtype, parallel):
    rng = np.random.default_rng(1)
    for m, n_features, n_classes in [
        (1, 1, 2), (5, 3, 2), (17, 9, 7), (400, 33, 70), (3000, 54, 7), (2500, 200, 3), (700, 20, 100), (300, 7, 1000),
    ]:  # fmt: skip
        X, y = rng.standard_normal((m, n_features)).astype(dtype), rng.integers(0, n_classes, m)
        coef, intercept = rng.standard_normal((n_classes, n_features)), rng.standard_normal(n_classes)
        arguments = X, y, coef, intercept, rng.uniform(0.1, 2, m)
        assert_same_bits(COMPILED["of_samples", parallel](*arguments), of_samples(*arguments))


def test_loss_and_grad_is_the_value_and_the_gradient_of_the_objective():
    rng = np.random.default_rng(2)
    X, y, coef, intercept = (
        rng.normal(size=(50, 4)),
        rng.integers(0, 3, 50),
        rng.normal(size=(3, 4)),
        rng.normal(size=3),
    )
    options = {"sample_weight": rng.uniform(0, 1, 50), "class_weight": [1, 2, 3], "label_smoothing": 0.1}
    loss, dcoef, dintercept = nbs.loss_and_grad(X, y, coef, intercept, **options)
    objective = nbs.Objective(X, y, n_classes=3, **options)
    value, gradient = objective.value_and_grad(np.column_stack([coef, intercept]))
    assert loss == value
    assert dcoef.flags.c_contiguous
    assert np.array_equal(np.column_stack([dcoef, dintercept]), gradient)


@pytest.mark.parametrize(
    ("X", "coef", "intercept", "message"),
    [
        (np.ones((3, 2)), np.ones((2, 3)), np.ones(2), "coef has shape"),
        (np.ones((3, 2)), np.ones((2, 2)), np.ones(3), "coef has shape"),
        (np.ones((3, 2)), np.ones((2, 2)), [np.nan, 0], "intercept contains NaN"),
        (np.full((3, 2), np.inf), np.ones((2, 2)), np.ones(2), "X contains"),
    ],
)
def test_loss_and_grad_validates_its_arguments_in_python(X, coef, intercept, message):
    with pytest.raises(nbs.InputValueError, match=message):
        nbs.loss_and_grad(X, [0, 1, 1], coef, intercept)


def test_parallel_callers_run_the_chunks_in_a_parallel_loop():
    def uses_threads(function):
        return "numba_parallel_for" in "".join(function.inspect_llvm().values())

    z = np.zeros((2, 3))
    for parallel in (True, False):
        function = njit(parallel=parallel)(lambda z: nbs.softmax(z))  # noqa: PLW0108  Numba compiles functions of its own
        function(z)
        assert uses_threads(function) == parallel


def test_one_row_and_single_numbers():
    @njit
    def compiled(z, x):
        return (
            nbs.softmax(z), nbs.log_softmax(z), nbs.logsumexp(z), nbs.cross_entropy(z, 2),
            nbs.cross_entropy_and_grad(z, 1), nbs.sigmoid(x), nbs.log_sigmoid(x), nbs.sigmoid(3),
        )  # fmt: skip

    for dtype in DTYPES:
        z = np.array([3, 4, 6], dtype)
        for x in (0.3, -0.0, -800.0, 1e308, np.inf, -np.inf, np.nan):
            x = dtype(x) if abs(x) < 1e38 else dtype(np.sign(x) * np.inf) if x == x else dtype(x)  # noqa: PLW2901
            assert_same_bits(compiled(z, x), compiled.py_func(z, x))


def test_infinite_logits_and_nan_are_as_in_python():
    z = np.zeros((20, 12))
    z[3, 4], z[5, 6], z[7], z[9, :2] = np.nan, np.inf, -np.inf, np.inf
    y, weight, by_class, proba = problem(20, 12, np.float64)[1:]
    arguments = z, y, weight, by_class, proba, -100
    assert_same_bits(COMPILED["of_logits", False](*arguments), of_logits(*arguments))
    assert np.isnan(COMPILED["of_logits", False](*arguments)[0][3]).all()


@njit
def softmax(z):
    return nbs.softmax(z)


@pytest.mark.parametrize(
    "view", [np.asfortranarray, lambda z: z[::2, ::-1], lambda z: z.T, lambda z: z[:0]], ids=["F", "A", "T", "empty"]
)
def test_arrays_of_any_layout(view):
    z = view(np.random.default_rng(3).normal(size=(10, 7)))
    assert_same_bits((softmax(z),), (nbs.softmax(z),))
    assert softmax(z).flags.c_contiguous


def test_probabilities_of_any_layout_as_targets():
    z = np.random.default_rng(3).normal(size=(6, 4))
    wide, proba = np.zeros((6, 8)), nbs.softmax(z[::-1])
    wide[:, ::2] = proba
    function = njit(lambda z, y: nbs.cross_entropy_and_grad(z, y))  # noqa: PLW0108
    for logits in (z, z.astype(np.float32)):
        for same in (proba, np.asfortranarray(proba), proba.T.copy().T, wide[:, ::2]):
            assert_same_bits(function(logits, same), nbs.cross_entropy_and_grad(logits, same))


def test_samples_of_any_layout_and_read_only_arrays():
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(90, 6)), rng.integers(0, 3, 90)
    coef, intercept = rng.normal(size=(3, 6)), rng.normal(size=3)
    function = njit(lambda X, y, coef, intercept: nbs.loss_and_grad(X, y, coef, intercept))  # noqa: PLW0108
    expected = nbs.loss_and_grad(X, y, coef, intercept)
    X.flags.writeable = False
    wide = np.zeros((90, 12))
    wide[:, ::2] = X
    for same in (X, np.asfortranarray(X), wide[:, ::2]):
        assert_same_bits(function(same, y, coef, intercept), expected)


def test_results_go_to_out():
    z, y = problem(30, 5, np.float64)[:2]
    out = np.empty_like(z)

    @njit
    def compiled(z, y, out):
        loss, grad = nbs.cross_entropy_and_grad(z, y, out=out)
        nbs.softmax(z, out=z)
        return loss, grad

    expected, proba = nbs.cross_entropy_and_grad(z, y), nbs.softmax(z)
    loss, grad = compiled(z, y, out)
    assert_same_bits((loss, out, z), (*expected, proba))
    assert np.shares_memory(grad, out)


def test_functions_imported_by_name_and_from_their_module():
    from nbsoftmax import logsumexp
    from nbsoftmax.functional import log_softmax

    z = np.array([[1.0, 2.0]])
    assert_same_bits(njit(lambda z: (logsumexp(z), log_softmax(z)))(z), (logsumexp(z), log_softmax(z)))


def test_sums_are_added_in_the_order_of_the_python_functions():
    rng = np.random.default_rng(5)
    for n in [*range(300), 1000, 12_345, 1_000_003]:
        terms = rng.lognormal(size=n)
        assert total(terms) == pairwise_sum(terms)


LAYERS = """
    import numba
    import numpy as np
    import nbsoftmax as nbs

    z, y = np.random.default_rng(0).normal(size=(20_000, 7)), np.arange(20_000) % 7

    @numba.njit(parallel=True)
    def chunks(z, y):
        return nbs.softmax(z), nbs.cross_entropy(z, y)

    @numba.njit(parallel=True)
    def own_loop(z):
        proba = np.empty_like(z)
        for i in numba.prange(4):
            proba[5000 * i : 5000 * (i + 1)] = nbs.softmax(z[5000 * i : 5000 * (i + 1)])
        return proba

    expected, loss = nbs.softmax(z), nbs.cross_entropy(z, y)
    for n_threads in (1, 2, 3):
        numba.set_num_threads(n_threads)
        found = chunks(z, y)
        assert np.array_equal(found[0], expected) and found[1] == loss
        assert np.array_equal(own_loop(z), expected)
    print(numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])
def test_every_threading_layer_gives_the_same_bits_with_any_number_of_threads(layer):
    done = run(LAYERS, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="3")
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [layer]


CACHED = """
    import numba
    import numpy as np
    import nbsoftmax as nbs

    @numba.njit(cache=True)
    def loss(z, y):
        return nbs.cross_entropy(z, y)

    z = np.array([[0.0, 1.0], [2.0, 1.0]])
    try:
        loss(z, np.array([0, 2]))
    except nbs.InputValueError:
        print(loss(z, np.array([0, 1])) == nbs.cross_entropy(z, [0, 1]), sum(loss.stats.cache_hits.values()))
"""


def test_functions_that_call_the_package_can_be_cached_on_disk(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(CACHED))
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for hits in (0, 1):
        done = subprocess.run(
            [sys.executable, script], env=env, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["True", str(hits)]


def test_a_function_cached_with_other_kernels_is_missing_from_the_cache():
    # Numba takes an OSError while it reads an entry for a missing file, and compiles the function again.
    kernel = Kernel("nbsoftmax.kernels.overloads.sigmoids", "sigmoid_of_number", (numba.float64, numba.int64))
    restore, (digest, identity) = kernel.__reduce__()
    assert restore(digest, identity).symbol == kernel.symbol
    for other in ("0" * 64, None):
        with pytest.raises(OSError, match="another version"):
            restore(other, identity)


def test_other_numba_functions_do_not_load_the_kernels():
    script = """
        import sys
        import numba
        import nbsoftmax as nbs
        numba.njit(lambda x: x + 1)(1)
        print("nbsoftmax.functional" in sys.modules)
        numba.njit(lambda x: nbs.sigmoid(x))(1.0)
        print("nbsoftmax.functional" in sys.modules)
    """
    assert output(script).split() == ["False", "True"]


def test_a_function_in_a_loop_of_the_user():
    @njit(parallel=True)
    def each(z):
        lse = np.empty(z.shape[0])
        for i in prange(z.shape[0]):
            lse[i] = nbs.logsumexp(z[i])
        return lse

    z = problem(40, 11, np.float64)[0]
    assert_same_bits((each(z),), (nbs.logsumexp(z),))
