"""A tiny kernel and its entries in the cache."""

import numba

from nbsoftmax.kernels.runtime import cache


def twice(x):
    return 2 * x


twice.__module__ = cache.__name__  # only kernels are kept


def process():
    """The kernel as a new process has it."""
    return cache.on_disk(numba.njit(twice))


def loaded(kernel):
    """Whether a call takes compiled code from the disk, rather than compiling."""
    assert kernel(21) == 42
    return sum(kernel.stats.cache_hits.values()) == 1


def entry(folder):
    (path,) = folder.iterdir()
    return path
