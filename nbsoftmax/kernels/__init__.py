"""Numba kernels. They validate nothing, because their callers have done so (`nbsoftmax.validation`)."""

from nbsoftmax.kernels import sources  # noqa: F401  # records the state of the source files before they are imported
