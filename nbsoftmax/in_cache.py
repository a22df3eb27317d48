"""Blocks of large arrays, so that several NumPy operations in turn find their numbers in a cache.

Each NumPy operation passes over all of its arrays, and its result is a new one. Over a block that fits in a
second-level cache, the passes after the first one do not read from memory.
"""

from collections.abc import Iterator

NUMBERS = 2**15  # of a block of each array


def blocks_in_cache(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """The rows and columns of each block of an array (n_rows, n_columns); all of a small array."""
    n_rows, n_columns = shape
    width = max(1, min(n_columns, NUMBERS))
    height = NUMBERS // width
    for row in range(0, n_rows, height):
        for column in range(0, n_columns, width):
            yield slice(row, row + height), slice(column, column + width)
