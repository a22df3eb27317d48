"""Kernels for NVIDIA GPUs: counterparts of the CPU kernels, with the same stages and the same results.

A kernel is a plain function, which a factory returns if its closure holds compile-time constants; `plan` chooses the
kernel for a shape. Until it is `configured` and called, nothing is compiled and no driver is needed. The tests execute
the Python source and the PTX on the CPU; `make test-gpu` runs the kernels on a GPU.
"""
