"""Numba kernels. They validate nothing: their callers have (`nbsoftmax.validation`)."""

from nbsoftmax.kernels import sources  # noqa: F401  # remembers the state of the sources before they are imported
