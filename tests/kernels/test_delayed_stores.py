"""Results that wait, and go to memory later or past the caches, have the same bits, and nothing else is changed."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.kernels import delayed_stores, rows
from nbsoftmax.kernels.chunks import CHUNK_STEP
from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
from nbsoftmax.kernels.runtime.threads import launch

RNG = np.random.default_rng(0)
FUNCTIONS = {"softmax": nbs.softmax, "log_softmax": nbs.log_softmax}


def logits(n_rows, n_classes, dtype):
    z = RNG.normal(size=(n_rows, n_classes)) * 3
    z[RNG.random(z.shape) < 0.01] = np.inf
    z[RNG.random(z.shape) < 0.01] = -np.inf
    z[RNG.random(n_rows) < 0.02] = np.nan
    return z.astype(dtype)


@pytest.fixture
def both(monkeypatch):
    """A function of a call: its results through the caches, and past them."""

    def call(function):
        found = []
        for least in (2**62, 0):
            monkeypatch.setattr(delayed_stores, "LEAST_BYTES_PAST_CACHES", least)
            found.append(function())
        return found

    return call


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_classes", [1, 2, 3, 5, 8, 10, 17, 37, 47, 64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_past_the_caches_have_the_same_bits_and_stay_within_the_array(name, n_classes, dtype, both):
    n_lanes = 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
    for n_rows in (1, n_lanes - 1, n_lanes, n_lanes + 1, 2 * n_lanes, 3 * n_lanes - 1, 4 * n_lanes, CHUNK_STEP * 3 + 5):
        z = logits(n_rows, n_classes, dtype)
        for start in range(0, 16, 3):  # the results begin at any place of a line
            raw = np.full(z.size + 32, 7, dtype)
            out = raw[start : start + z.size].reshape(z.shape)
            in_place = raw.copy()[start : start + z.size].reshape(z.shape)
            in_place[:] = z
            FUNCTIONS[name](in_place, out=in_place)
            one_by_one = np.concatenate([FUNCTIONS[name](row[None]) for row in z]) if n_rows < 4 * n_lanes else in_place
            usual, past = both(lambda z=z, out=out: FUNCTIONS[name](z, out=out).copy())
            np.testing.assert_array_equal(usual, one_by_one)
            np.testing.assert_array_equal(in_place, usual)
            np.testing.assert_array_equal(past, usual)
            assert (raw[:start] == 7).all() and (raw[start + z.size :] == 7).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_classes", [2, 5, 16, 47])
@pytest.mark.parametrize("target", ["labels", "weights", "probabilities", "smoothing"])
def test_gradients_past_the_caches_have_the_same_bits(target, n_classes, dtype, both):
    for n_rows in (1, 31, 64, 3 * CHUNK_STEP + 9):
        z = RNG.normal(size=(n_rows, n_classes)).astype(dtype) * 3
        y, options = RNG.integers(0, n_classes, n_rows), {}
        if target == "weights":
            options = {"sample_weight": RNG.integers(0, 3, n_rows) + (np.arange(n_rows) == 0)}
        elif target == "smoothing":
            options = {"label_smoothing": 0.1}
        elif target == "probabilities":
            y = nbs.softmax(RNG.normal(size=z.shape))
        usual, past = both(lambda z=z, y=y, options=options: nbs.cross_entropy_and_grad(z, y, **options))
        assert past[0] == usual[0]
        np.testing.assert_array_equal(past[1], usual[1])


def test_a_loss_alone_is_not_stored_past_the_caches(both):
    z = RNG.normal(size=(500, 10)).astype(np.float32)
    tiny = np.full(500, 1e-60)  # for which the loss is computed in float64
    usual, past = both(lambda: nbs.cross_entropy(z, np.zeros(500, int), sample_weight=tiny, reduction="sum"))
    assert past == usual
    assert not delayed_stores.past_caches(z, z[:0])


def test_large_results_are_stored_past_the_caches_unless_they_replace_the_logits():
    z = np.zeros((delayed_stores.LEAST_BYTES_PAST_CACHES // 80 + 1, 10))
    raw = np.empty(z.nbytes + 1, np.uint8)
    out, unaligned = np.empty_like(z), raw[1:].view(np.float64).reshape(z.shape)
    assert delayed_stores.past_caches(z, out)
    assert not delayed_stores.past_caches(z, z)
    assert not delayed_stores.past_caches(z[:-2], out[:-2])
    assert not delayed_stores.past_caches(z, unaligned)
    for name, function in FUNCTIONS.items():
        expected = np.full(10, {"softmax": 0.1, "log_softmax": -np.log(10)}[name])
        np.testing.assert_allclose(function(z[:1])[0], expected, rtol=1e-15)
        np.testing.assert_array_equal(function(z), np.broadcast_to(function(z[:1]), z.shape))
    np.testing.assert_array_equal(nbs.softmax(z, out=unaligned), nbs.softmax(z))


def test_results_do_not_depend_on_the_number_of_threads_and_chunks():
    z = logits(40 * CHUNK_STEP + 3, 7, np.float64)
    expected, found = np.empty_like(z), np.empty_like(z)
    launch(rows.softmax, 8, 2**30, 1, z.reshape(-1), expected.reshape(-1), 7, len(z), 8, False)
    for past in (False, True):
        for n_threads in (1, 2):
            for n_chunks in (1, 8, 40):
                found[:] = 0
                work = z.reshape(-1), found.reshape(-1), 7, len(z), n_chunks, past
                launch(rows.softmax, n_chunks, 2**30, n_threads, *work)
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_classes", [2, 7, 37, 60])
def test_probabilities_of_a_model_are_those_of_its_logits_and_stay_within_their_array(n_classes, dtype):
    X = RNG.normal(size=(3 * CHUNK_STEP + 5, 4)).astype(dtype)
    model = nbs.SoftmaxModel(RNG.normal(size=(n_classes, 4)), RNG.normal(size=n_classes), np.arange(n_classes))
    z = model.decision_function(X)
    np.testing.assert_array_equal(model.predict_proba(X), nbs.softmax(z))
    np.testing.assert_array_equal(model.predict_log_proba(X), nbs.log_softmax(z))
    np.testing.assert_array_equal(model.predict_proba(X[:9]), nbs.softmax(z[:9]))
