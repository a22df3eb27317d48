"""The CUDA kernels are tested in environments of their own: make test-cuda, or on a GPU make test-gpu."""

import importlib.util

if importlib.util.find_spec("numba_cuda") is None:
    collect_ignore_glob = ["test_*.py"]
elif importlib.util.find_spec("greenlet") is None:  # the executor needs it, tests on a GPU do not
    collect_ignore_glob = ["test_[!h]*.py"]
