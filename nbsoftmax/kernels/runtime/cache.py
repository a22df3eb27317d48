"""Disk cache of compiled kernels, for later processes.

Numba's own cache identifies a kernel by the file that defines it, and would continue to use machine code of helpers
that have changed. Here the key of an entry is a hash of everything that the code depends on: all source files of the
kernels, the versions of this package, Python, Numba, LLVM and NumPy, the processor, Numba's settings, and the types of
the arguments. There is no index: an entry is one file, which is written atomically:

    <the folder that Numba chooses>/nbsoftmax-<hash of sources and versions>/<kernel>-<hash of the rest>.nbc

It contains the SHA-256 of the remaining bytes, then a pickle of the types and of the compiled function as Numba
serializes it. The cache never makes a call fail: if a file is damaged, absent or not readable, the kernel is compiled
again, and an error while writing is ignored. CUDA kernels are not cached on disk.
"""

import hashlib
import os
import pickle
import shutil
import stat
import sys
import time
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core import config

from nbsoftmax import __version__
from nbsoftmax.kernels import sources
from nbsoftmax.kernels.runtime import ahead

try:
    from numba.core.caching import CompileResultCacheImpl, NullCache
    from numba.core.runtime import rtsys
    from numba.core.serialize import dumps

    SUPPORTED = True
except ImportError:  # these names of Numba are not documented; without them there is no disk cache
    NullCache, SUPPORTED = object, False

# Number of folders that are kept, those used last. There is one for each state of sources and versions, of about 10 MB.
KEPT = 4
# Seconds after which the temporary files of killed processes are removed.
ABANDONED_AFTER = 3600.0
# Windows has access lists: the mode of all folders is 0o777 there, and that of read-only files 0o444.
_HAS_MODES = os.name != "nt"

# Settings of Numba that affect machine code.
_SETTINGS = (
    "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "DEBUG_JIT", "DEBUG_NRT", "ENABLE_PROFILING", "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS", "LLVM_REFPRUNE_PASS", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE",
)  # fmt: skip


def on_disk(dispatcher):
    """Give a dispatcher the disk cache, and return it.

    Functions of other packages and functions with a closure are returned unchanged, because the hash includes neither
    their sources nor the values of the closure.
    """
    if SUPPORTED and isinstance(getattr(dispatcher, "_cache", None), NullCache):
        function = dispatcher.py_func
        if function.__module__.startswith(f"{sources.__package__}.") and function.__closure__ is None:
            dispatcher._cache = KernelCache(function)
    return dispatcher


class KernelCache(NullCache):
    """Cache of one Numba dispatcher. Numba calls `load_overload` before it compiles, and `save_overload` afterwards."""

    def __init__(self, function):
        self._function = function.__module__, function.__qualname__, function.__code__.co_firstlineno
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}".replace("<lambda>", "lambda")

    @property
    def cache_path(self):
        """Folder of the entries, which `dispatcher.stats` shows."""
        return cache_folder()

    def load_overload(self, sig, target_context):
        """Load the code compiled for these types; None if there is none or it is damaged.

        Numba's own cache refreshes all registries first, which takes 0.2 s. Compiled code does not need them, only the
        runtime that counts references to arrays; a compilation refreshes the registries itself.
        """
        try:
            path = self._path(sig, target_context.codegen())
            compiled = path and _read(path, sig)
            if path and compiled is None and ahead.compiled_elsewhere(self._function[1], path):
                compiled = _read(path, sig)
            if compiled is None:
                return None
            rtsys.initialize(target_context)
            return _folder_of_numba().rebuild(target_context, compiled)
        except Exception:  # after any error the kernel is compiled instead
            return None

    def save_overload(self, sig, data):
        """Store the code compiled for these types, if there is a folder and the sources have not changed."""
        with suppress(Exception):  # the kernel works without the entry
            path = self._path(sig, data.codegen)
            portable = not data.library.has_dynamic_globals  # these are addresses of this process
            if path and sources.unchanged() and portable:
                _write(path, dumps((sig, _folder_of_numba().reduce(data))))

    def _path(self, sig, codegen):
        from nbsoftmax.kernels.lang import simd  # imports this module

        folder = cache_folder()
        if folder is None:
            return None
        settings = [(name, getattr(config, name, None)) for name in _SETTINGS]
        key = (self._function, sig, codegen.magic_tuple(), simd.VECTOR_BYTES, simd.HAS_SCALEF, settings)
        return folder / f"{self._name}-{_hash(key)}.nbc"


def _hash(key):
    return hashlib.sha256(repr(key).encode()).hexdigest()[:32]


@cache
def _folder_of_numba():
    """Numba's object that finds the cache folder and serializes compiled functions."""
    return CompileResultCacheImpl(_hash)  # any function of this file


@cache
def cache_folder():
    """Folder of the entries for these sources and versions; None if nothing can be stored."""
    digest = sources.digest()
    if digest is None or not SUPPORTED:
        return None
    try:
        locator = _folder_of_numba().locator
        locator.ensure_cache_path()
        parent = Path(locator.get_cache_path())
        # Entries are code: a folder that all users may write is unsafe, unless they may write the sources, too.
        if _HAS_MODES and parent.stat().st_mode & ~sources.files()[0].stat().st_mode & stat.S_IWOTH:
            return None
    except Exception:  # no folder can be written, or this version of Numba has other names
        return None
    versions = (__version__, sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, np.__version__)
    folder = parent / f"nbsoftmax-{_hash((digest, versions))}"
    with suppress(OSError):
        os.utime(folder)  # `_tidy` keeps the folders that were used last
    return folder


def _read(path, sig):
    """Read an entry; None if there is none, or if it is damaged or has other types."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    types, compiled = pickle.loads(body)
    return compiled if types == sig else None


def _write(path, body):
    path.parent.mkdir(mode=0o755, exist_ok=True)
    _tidy(path.parent)  # runs once in each process
    temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
            file.write(hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@cache
def _tidy(folder):
    """Remove folders of other sources and versions, except those used last, and temporary files of killed processes."""
    others = [path for path in folder.parent.glob("nbsoftmax-*") if path != folder]
    for path in sorted(others, key=_time, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.parent.glob("nbsoftmax-*/*.tmp"):
        if _time(path) < time.time() - ABANDONED_AFTER:
            path.unlink(missing_ok=True)


def _time(path):
    """Time of the last write or use of a file or folder; 0 if another process has just removed it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
