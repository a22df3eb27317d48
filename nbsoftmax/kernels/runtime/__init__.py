"""Compilation, disk cache, threads and BLAS of the kernels."""
