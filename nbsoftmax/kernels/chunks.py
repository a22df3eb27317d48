"""Number of chunks that rows are split into: a function of the shape alone, so that results do not depend on threads.

Compiled code calls these functions; Python calls their `py_func`.
"""

from nbsoftmax.kernels.runtime.jit import jit

# Chunks begin at multiples of this number of rows, so that every tile of a chunk except the last is full.
CHUNK_STEP = 32
# For logits: elements in a chunk at least, and the most chunks.
CHUNK_ELEMENTS = 2**14
MOST_CHUNKS_OF_LOGITS = 256
# For the samples of a linear model: multiply-adds of one product that are worth a chunk, and the most chunks. The
# gradient of each chunk is set to 0 and added, which takes as long as a few samples: beyond FEWER_CHUNKS, a chunk
# has at least CHUNK_SAMPLES of them.
CHUNK_WORK = 2**17
MOST_CHUNKS, FEWER_CHUNKS, CHUNK_SAMPLES = 64, 16, 256
# The most bytes that the gradients of all chunks may take.
PARTIAL_BYTES = 48 * 2**20


@jit
def chunks_of_logits(n_elements):
    """Number of chunks of an array of logits."""
    return max(1, min(MOST_CHUNKS_OF_LOGITS, n_elements // CHUNK_ELEMENTS))


@jit
def chunks_of_samples(n_samples, work, most):
    """Number of chunks, at most `most`, of samples whose logits take `work` multiply-adds; none is without samples."""
    most = min(
        most, (n_samples + CHUNK_STEP - 1) // CHUNK_STEP, MOST_CHUNKS, max(FEWER_CHUNKS, n_samples // CHUNK_SAMPLES)
    )
    chunks = max(1, min(work // CHUNK_WORK, most))
    return chunks // 8 * 8 if chunks > 8 else chunks // 2 * 2 if chunks > 2 else chunks
