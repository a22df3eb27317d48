"""SciPy's LAPACK without the import of `scipy.linalg`, which takes longer than a small fit."""

import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import scipy

_USED = ("dpotrf", "dpotri", "dpotrs", "dpstrf", "dstebz", "dtrtrs")


@cache
def lapack() -> ModuleType:
    """The functions of `scipy.linalg.lapack`.

    They are those of an extension module, which loads in 0.01 s; `scipy.linalg` takes 0.15 to 0.2 s. The name of the
    extension module is private to SciPy: where there is none, or it lacks a function, `scipy.linalg` is imported.
    """
    extension = None if "scipy.linalg" in sys.modules else _extension()
    if extension is not None and all(hasattr(extension, name) for name in _USED):
        return extension
    import scipy.linalg.lapack

    return scipy.linalg.lapack


def _extension() -> ModuleType | None:
    spec = PathFinder.find_spec("scipy.linalg._flapack", [str(Path(folder) / "linalg") for folder in scipy.__path__])
    if spec is None or spec.loader is None:
        return None
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return module
