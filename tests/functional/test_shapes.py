"""Functions of logits against the reference, at every shape around the width of a vector."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests import reference
from tests.functional.shapes import (
    CLASSES,
    DTYPES,
    SAMPLES,
    Guarded,
    chain,
    close,
    draw,
    options,
    samples,
    surrounded_by_nan,
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_softmax_is_right_and_stays_in_its_memory_at_every_shape(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        out = Guarded(z.shape, dtype)
        assert nbs.softmax(surrounded_by_nan(z), out=out.array) is not None
        spread = np.abs(reference.below(z)).max(initial=0)
        close(out.array, reference.softmax(z), dtype, 12 + spread / 2, scale=0.0)
        assert out.kept_its_surroundings()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_log_softmax_is_right_and_stays_in_its_memory_at_every_shape(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        out = Guarded(z.shape, dtype)
        nbs.log_softmax(surrounded_by_nan(z), out=out.array)
        # log s of a sum that is right to 8 eps is right to 8 eps in absolute terms
        close(out.array, reference.log_softmax(z), dtype, 10)
        assert out.kept_its_surroundings()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_logsumexp_is_right_at_every_shape(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        close(nbs.logsumexp(surrounded_by_nan(z)), reference.logsumexp(z), dtype, 10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_cross_entropy_and_its_gradient_are_right_at_every_shape_and_target(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        guarded = surrounded_by_nan(z)
        for y, target in options(m, K, dtype):
            losses, grad, divisor = reference.cross_entropy(z, y, **target)
            out = Guarded(z.shape, dtype)
            loss, dlogits = nbs.cross_entropy_and_grad(guarded, y, reduction="none", out=out.array, **target)
            close(loss, losses, dtype, 32)  # the weights, each rounded once, and up to K products
            # a - y cancels, so the error is that of a, which is at most 1, times weights of at most 4
            close(dlogits, grad, dtype, max(32, chain(K, dtype)))
            assert out.kept_its_surroundings()
            total = nbs.cross_entropy(guarded, y, reduction="sum", **target)
            # log s of s = 1 + little is right to eps of 1, not of itself
            scale = 32 * np.finfo(dtype).eps * np.maximum(losses, 1).sum()
            assert abs(total - losses.sum()) <= scale
            if divisor:
                mean, dmean = nbs.cross_entropy_and_grad(guarded, y, **target)
                assert abs(mean - losses.sum() / divisor) <= scale / divisor
                close(dmean, grad / divisor, dtype, max(32, chain(K, dtype)), scale=1 / divisor)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoids_and_binary_cross_entropy_are_cross_entropy_of_zero_and_z_at_every_length(dtype):
    for m in [*SAMPLES, 17, 33, 1000]:
        z = draw(m, 1, dtype)[:, 0]
        two = np.stack([np.zeros(m), z], axis=1)
        guarded = surrounded_by_nan(z)
        close(nbs.sigmoid(guarded), reference.softmax(two)[:, 1], dtype, 4, scale=0.0)
        close(nbs.log_sigmoid(guarded), -np.logaddexp(0.0, -z.astype(float)), dtype, 4, scale=0.0)
        for y, target in options(m, 2, dtype):
            losses, grad, divisor = reference.cross_entropy(two, y, **target)
            y1 = y[:, 1] if y.ndim == 2 else y
            out = Guarded(z.shape, dtype)
            loss, dz = nbs.binary_cross_entropy_and_grad(guarded, y1, reduction="none", out=out.array, **target)
            close(loss, losses, dtype, 16)
            close(dz, grad[:, 1], dtype, 16)
            assert out.kept_its_surroundings()
            if divisor:
                mean, dmean = nbs.binary_cross_entropy_and_grad(guarded, y1, **target)
                assert abs(mean - losses.sum() / divisor) <= 16 * np.finfo(dtype).eps * losses.sum() / divisor
                close(dmean, grad[:, 1] / divisor, dtype, 16, scale=1 / divisor)
