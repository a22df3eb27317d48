"""Results in an array that overlaps an input: the logits themselves may be it, and nothing else."""

import numpy as np
import pytest
from numba import njit

import nbsoftmax as nbs


@njit
def softmax(z, out):
    return nbs.softmax(z, out=out)


@njit
def gradient(z, y, out):
    return nbs.cross_entropy_and_grad(z, y, out=out)[1]


def shifted(z, y, by):
    """An `out` that begins `by` numbers after `y` in one buffer."""
    buffer = np.empty(y.size + by)
    buffer[: y.size] = y.ravel()
    return buffer[: y.size].reshape(y.shape), buffer[by:].reshape(y.shape)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(200, 3), (3, 60)])
def test_out_may_not_overlap_probabilities(compiled, shape):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=shape), rng.dirichlet(np.ones(shape[1]), shape[0])
    of = gradient if compiled else lambda z, y, out: nbs.cross_entropy_and_grad(z, y, out=out)[1]
    expected = nbs.cross_entropy_and_grad(z, y)[1]
    for by in (0, 6):
        q, out = shifted(z, y, by)
        with pytest.raises(nbs.InputValueError, match="out overlaps y"):
            of(z, q, out)
        assert np.array_equal(q, y)
    assert np.array_equal(of(z, y, np.empty_like(z)), expected)
    own = z.copy()
    assert np.array_equal(of(own, y, own), expected)


def test_out_may_not_overlap_weights():
    z, y = np.random.default_rng(0).normal(size=(4, 3)), [0, 1, 2, 0]
    out = np.ones((4, 3))
    with pytest.raises(nbs.InputValueError, match="out overlaps sample_weight"):
        nbs.cross_entropy_and_grad(z, y, sample_weight=out.reshape(-1)[:4], out=out)


@pytest.mark.parametrize("shape", [(200, 3), (50, 60)])
def test_in_compiled_code_out_may_not_overlap_logits_in_part(shape):
    z, out = shifted(None, np.random.default_rng(0).normal(size=shape), 2)
    expected = nbs.softmax(z.copy())
    with pytest.raises(nbs.InputValueError, match="out overlaps the logits in part"):
        softmax(z, out)
    every_other = np.repeat(z, 2, axis=0)[::2]  # is copied first
    assert np.array_equal(softmax(every_other, np.empty(shape)), expected)
    assert np.array_equal(softmax(z, z), expected)


@pytest.mark.parametrize("function", [nbs.softmax, nbs.log_softmax])
@pytest.mark.parametrize("axis", [0, -1])
def test_out_may_not_be_a_masked_array(function, axis):
    with pytest.raises(nbs.InputTypeError, match="out is a MaskedArray, expected a numpy array"):
        function(np.zeros((4, 3)), axis, out=np.ma.zeros((4, 3)))
