"""Numba kernels. They validate nothing: their callers have (`nbsoftmax.check`)."""
