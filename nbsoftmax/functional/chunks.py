"""The number of chunks that kernels split logits into, for Python callers."""

from collections.abc import Callable

from nbsoftmax.kernels.chunks import chunks_of_logits

n_chunks: Callable[[int], int] = chunks_of_logits.py_func
