"""Kernels for NVIDIA GPUs: counterparts of the CPU kernels, with the same stages and the same results.

A kernel is a plain function that a factory returns; its closure holds the compile-time constants, and `plan` chooses
the kernel for a shape. Until `launch`, nothing is compiled and no driver is needed. The tests execute the Python source
on the CPU and check the PTX; the kernels have not yet run on a GPU.
"""
