"""Blocks of arrays: `in_cache`."""

import numpy as np
import pytest

from nbsoftmax.in_cache import NUMBERS, blocks_in_cache
from nbsoftmax.penalties import Ridge

SHAPES = [(0, 3), (3, 0), (1, 1), (7, 5), (3, NUMBERS), (2, NUMBERS + 1), (NUMBERS + 1, 1), (300, 1000)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_number_is_in_one_block_and_no_block_is_too_large(shape):
    seen = np.zeros(shape, int)
    for block in blocks_in_cache(shape):
        assert 0 < seen[block].size <= NUMBERS
        seen[block] += 1
    assert (seen == 1).all()


def test_a_small_array_is_one_block():
    assert len(list(blocks_in_cache((32, NUMBERS // 32)))) == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(3, NUMBERS + 5), (NUMBERS // 2, 7)])
def test_a_penalty_of_many_coefficients_is_that_of_all_of_its_blocks(shape, weighted):
    rng = np.random.default_rng(0)
    coef, weights = rng.normal(size=shape), rng.uniform(size=shape[1]) if weighted else np.ones(shape[1])
    penalty = Ridge(0.5, weights if weighted else None)
    assert penalty.value(coef) == pytest.approx(0.25 * (weights * coef**2).sum(), rel=1e-13)
    gradient = np.ones(shape)
    penalty.add_gradient(coef, gradient, times=-2.0)
    np.testing.assert_allclose(gradient, 1 - weights * coef, rtol=1e-14, atol=1e-15)
