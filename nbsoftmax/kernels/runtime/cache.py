"""Disk cache of compiled kernels, for later processes.

Numba's own cache identifies a kernel by the file that defines it, and would go on running the machine code of helpers
that have changed since. Here the key of an entry is a hash of everything that it was compiled from: all sources of the
kernels, the versions of this package, Python, Numba, LLVM and NumPy, the processor, Numba's settings, and the types of
the arguments. There is no index, so an entry is one file, which is written atomically:

    <the folder that Numba chooses>/nbsoftmax-<hash of sources and versions>/<kernel>-<hash of the rest>.nbc

It contains the SHA-256 of the remaining bytes, then a pickle of the types and of the compiled function as Numba
serializes it. The cache never makes a call fail: if a file is damaged, absent or not readable, the kernel is compiled
again, and a file that cannot be written is left out. CUDA kernels are not cached on disk.
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

try:
    from numba.core.caching import CompileResultCacheImpl, NullCache
    from numba.core.runtime import rtsys
    from numba.core.serialize import dumps

    SUPPORTED = True
except ImportError:  # names that Numba does not document: without them every process compiles what it uses
    NullCache, SUPPORTED = object, False

# So many folders stay, one for each state of sources and versions, the last used ones; each may take some 10 MB.
KEPT = 4
# Temporary files of writers that were killed are removed after so many seconds.
ABANDONED_AFTER = 3600.0

# Settings of Numba that change machine code.
_SETTINGS = (
    "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "DEBUG_JIT", "DEBUG_NRT", "ENABLE_PROFILING", "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS", "LLVM_REFPRUNE_PASS", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE",
)  # fmt: skip


def on_disk(dispatcher):
    """The same dispatcher, which from now on keeps its compiled code on disk.

    A function of another package is left alone, since its source is not in the hash, and so is one with a closure,
    whose values are not.
    """
    if SUPPORTED and isinstance(getattr(dispatcher, "_cache", None), NullCache):
        function = dispatcher.py_func
        if function.__module__.startswith(f"{sources.__package__}.") and function.__closure__ is None:
            dispatcher._cache = KernelCache(function)
    return dispatcher


class KernelCache(NullCache):
    """The cache of one Numba dispatcher, which asks it before it compiles a function and gives it the result."""

    def __init__(self, function):
        self._function = function.__module__, function.__qualname__, function.__code__.co_firstlineno
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}".replace("<lambda>", "lambda")

    @property
    def cache_path(self):
        """The folder, as `dispatcher.stats` shows it."""
        return _folder()

    def load_overload(self, sig, target_context):
        """The code compiled for these types; None if there is none or it is damaged.

        Numba's own cache refreshes all of its registries first, for 0.2 s. Compiled code needs none of them, only the
        runtime that counts references of arrays; and a compilation begins with a refresh itself.
        """
        try:
            path = self._path(sig, target_context.codegen())
            compiled = path and _read(path, sig)
            if compiled is None:
                return None
            rtsys.initialize(target_context)
            return _folder_of_numba().rebuild(target_context, compiled)
        except Exception:  # whatever is wrong with the entry, the kernel can be compiled
            return None

    def save_overload(self, sig, data):
        """Store the code compiled for these types, if there is a folder and the sources are still the same."""
        with suppress(Exception):  # the kernel is compiled, and works without the entry
            path = self._path(sig, data.codegen)
            if path and sources.unchanged() and not data.library.has_dynamic_globals:  # addresses of this process
                _write(path, dumps((sig, _folder_of_numba().reduce(data))))

    def _path(self, sig, codegen):
        from nbsoftmax.kernels.lang import simd  # which needs this module

        folder = _folder()
        if folder is None:
            return None
        settings = [(name, getattr(config, name, None)) for name in _SETTINGS]
        key = (self._function, sig, codegen.magic_tuple(), simd.VECTOR_BYTES, simd.HAS_SCALEF, settings)
        return folder / f"{self._name}-{_hash(key)}.nbc"


def _hash(key):
    return hashlib.sha256(repr(key).encode()).hexdigest()[:32]


@cache
def _folder_of_numba():
    """Numba's object that finds a folder, and serializes compiled functions."""
    return CompileResultCacheImpl(_hash)  # any function of this file


@cache
def _folder():
    """Folder of the entries of this state of sources and versions; None if nothing can be stored."""
    digest = sources.digest()
    if digest is None:
        return None
    try:
        locator = _folder_of_numba().locator
        locator.ensure_cache_path()
        parent = Path(locator.get_cache_path())
        # Entries are code: a folder that everybody may write will not do, unless everybody may write the sources too.
        if parent.stat().st_mode & ~sources.files()[0].stat().st_mode & stat.S_IWOTH:
            return None
    except (OSError, RuntimeError):  # no folder can be written
        return None
    versions = (__version__, sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, np.__version__)
    folder = parent / f"nbsoftmax-{_hash((digest, versions))}"
    with suppress(OSError):
        os.utime(folder)  # `_tidy` keeps the last used ones
    return folder


def _read(path, sig):
    """Content of an entry; None if there is none, or it is damaged or of other types."""
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
    _tidy(path.parent)  # once a process
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
    """Remove the folders of other states, except the last used ones, and the temporary files of killed writers."""
    others = [path for path in folder.parent.glob("nbsoftmax-*") if path != folder]
    for path in sorted(others, key=_time, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.parent.glob("nbsoftmax-*/*.tmp"):
        if _time(path) < time.time() - ABANDONED_AFTER:
            path.unlink(missing_ok=True)


def _time(path):
    """When a file or folder was last written or used; 0 if another process has just removed it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
