"""Kernels for NVIDIA GPUs, twins of those in `kernels`: the same stages, the same numbers.

A kernel is a plain function made by a factory, whose closure holds what is fixed when it is compiled; `plan` chooses
one for a shape. Nothing here is compiled, and no driver needed, before `launch`. Verified by executing source and PTX
on the CPU; not yet run on a GPU.
"""
