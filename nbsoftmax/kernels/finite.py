"""Whether all numbers of an array are finite: one pass over it, as fast as the threads read memory."""

from nbsoftmax.kernels.lang.simd import Tile, filled, lanes, load, load_part, sum_of
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take

CHUNKS = 64


@jit
def mark_not_finite(todo, x, marks):
    """Make marks[chunk] NaN if a number of a chunk of x, flat, is NaN or inf, else 0. Chunks are tasks.

    0 times a number is NaN unless the number is finite. The sums of four registers do not wait for each other.
    """
    tile = Tile(x)
    width = lanes(tile)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk * x.size // marks.size, (chunk + 1) * x.size // marks.size
        even, odd, last = filled(tile, 0), filled(tile, 0), filled(x, 0)
        whole = low + (high - low) // (2 * width) * (2 * width)
        for i in range(low, whole, 2 * width):
            even += load(tile, i) * 0.0
            odd += load(tile, i + width) * 0.0
        for i in range(whole, high, lanes(x)):
            last += load_part(x, i, high - i, 0.0) * 0.0
        marks[chunk] = sum_of(even + odd) + sum_of(last)
        chunk = take(todo)
