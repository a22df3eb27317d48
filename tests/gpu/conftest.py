"""The CUDA kernels are tested in an environment of their own: make test-cuda."""

import importlib.util

if importlib.util.find_spec("numba_cuda") is None or importlib.util.find_spec("greenlet") is None:
    collect_ignore_glob = ["test_*.py"]
