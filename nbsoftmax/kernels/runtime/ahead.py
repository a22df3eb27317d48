"""Compilation of kernels in helper processes, while this process compiles another one or computes.

A lock of Numba lets one process compile one function at a time. A caller that knows what it will call after its first
kernel says so with `expected`. If that first kernel must be compiled, which is once on a machine, helper processes
compile the others and store them in the disk cache (`runtime.cache`). When this process needs a kernel that a helper is
compiling, it waits; one that no helper has begun it compiles itself.

No helper starts if there is no disk cache, if this process may use only one thread, if Python is part of another
program, or if the environment variable NBSOFTMAX_HELPERS is 0. A helper that fails changes nothing: the kernel is then
compiled by the process that calls it. A helper ends with the process that has started it, also if that one is killed.
"""

import atexit
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

MOST_HELPERS = 3
PAUSE = 0.01  # seconds between two looks whether a kernel has been stored
LONGEST_WAIT = 60.0  # seconds; then this process compiles: the helper may have been stopped

# A helper imports this package from the same folders as the process that starts it.
_PROGRAM = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from nbsoftmax.kernels.runtime import ahead; signatures = pickle.load(sys.stdin.buffer); "
    "ahead.end_with_parent(); ahead.compile_all(signatures)"
)


class Signature(NamedTuple):
    """A kernel, the types of its arguments, and the file in which the compiled code will be stored."""

    module: str
    name: str
    types: tuple[Any, ...]
    path: str


Launch = tuple[Any, tuple[Any, ...]]  # a kernel and its arguments


class _Expectation(NamedTuple):
    later: Callable[[str], list[Launch]]
    n_threads: int


_recorded = threading.local()  # `launches`: a list in the thread that records
_expectations: list[_Expectation] = []
_helpers: list["subprocess.Popen[bytes]"] = []
_begun: dict[str, "subprocess.Popen[bytes]"] = {}  # the helper that has begun to compile what a file will contain


@contextmanager
def expected(later: Callable[[str], list[Launch]], n_threads: int) -> Iterator[None]:
    """Compile other kernels in helper processes, if a kernel must be compiled within the context.

    Parameters
    ----------
    later : callable
        Called with the name of that kernel; returns launches of others, with arguments of the types that later calls
        will have. Those that take longest to compile come first, because this process compiles what no helper has
        begun.
    n_threads : int
        Threads that the caller may use; one process less is started.
    """
    expectation = _Expectation(later, n_threads)
    try:
        _expectations.append(expectation)
        yield
    finally:
        try:  # noqa: SIM105  Ctrl-C could end `suppress` before it begins
            _expectations.remove(expectation)
        except ValueError:  # it has been used
            pass


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Record the launches of this thread in a list, and run none of them."""
    launches: list[Launch] = []
    _recorded.launches = launches
    try:
        yield launches
    finally:
        _recorded.launches = None


def recording(kernel: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether this thread records its launches; then this one is recorded."""
    launches = getattr(_recorded, "launches", None)
    if launches is None:
        return False
    launches.append((kernel, arguments))
    return True


def compiled_elsewhere(kernel: str, path: Path) -> bool:
    """Whether a helper has compiled a kernel that is not in the cache; it is waited for if it does so now.

    Otherwise this process will compile the kernel, and helpers start for those that are expected after it.
    """
    helper = _begun.get(str(path))
    if helper is None:
        _start_helpers(kernel, path)
        return False
    deadline = time.monotonic() + LONGEST_WAIT
    while helper.poll() is None and not path.exists() and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return path.exists()


def end_with_parent() -> None:
    """End a helper when the process that has started it ends: the system then closes the pipe to standard input."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def compile_all(signatures: list[Signature]) -> None:
    """Compile kernels in a helper, unless it would store one under another name: then its settings are others."""
    for signature in signatures:
        dispatcher = getattr(import_module(signature.module), signature.name)
        if str(_path(dispatcher, signature.types)) != signature.path:
            return
        # Tells the process that has started this one, in bytes: the encoding of text may have no such characters.
        sys.stdout.buffer.write(os.fsencode(signature.path) + b"\n")
        sys.stdout.buffer.flush()
        dispatcher.compile(signature.types)


def _path(dispatcher: Any, types: tuple[Any, ...]) -> Path | None:
    path: Path | None = dispatcher._cache._path(types, dispatcher.targetctx.codegen())
    return path


def _start_helpers(kernel: str, path: Path) -> None:
    """Start helpers for all kernels that are expected after this one, once for each expectation."""
    while _expectations:
        expectation = _expectations.pop()
        n = min(expectation.n_threads - 1, MOST_HELPERS)
        with suppress(Exception):  # this process then compiles
            if n > 0 and _allowed():
                todo = [each for each in _signatures(expectation.later(kernel)) if each.path != str(path)]
                for part in (todo[i::n] for i in range(n)):
                    if part:
                        _start(part)


def _allowed() -> bool:
    program = Path(sys.executable or "").name.lower()
    return (
        os.environ.get("NBSOFTMAX_HELPERS") != "0"
        and program.startswith(("python", "pypy"))  # otherwise it starts an application
        and not getattr(sys, "frozen", False)
    )


def _signatures(launches: list[Launch]) -> list[Signature]:
    """The kernels that are neither stored nor being compiled, each once."""
    found: dict[str, Signature] = {}
    for dispatcher, arguments in launches:
        types, function = tuple(map(dispatcher.typeof_pyval, arguments)), dispatcher.py_func
        path = _path(dispatcher, types)
        if path is not None and str(path) not in _begun and not path.exists():
            found.setdefault(str(path), Signature(function.__module__, function.__name__, types, str(path)))
    return list(found.values())


def _start(signatures: list[Signature]) -> None:
    """Start one helper, and a thread that listens to it."""
    message = pickle.dumps(sys.path) + pickle.dumps(signatures)
    helper = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],  # -P: no module of the current folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"NBSOFTMAX_HELPERS": "0", "NBSOFTMAX_QUIET": "1"},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    _helpers.append(helper)
    try:
        threading.Thread(target=_listen, args=(helper, message), name="nbsoftmax helper", daemon=True).start()
    except BaseException:  # the system has no more threads
        _end_helpers()
        raise


def _listen(helper: "subprocess.Popen[bytes]", message: bytes) -> None:
    with helper, suppress(OSError):
        assert helper.stdin is not None
        assert helper.stdout is not None
        helper.stdin.write(message)
        helper.stdin.flush()  # stays open: see `end_with_parent`
        for line in helper.stdout:
            _begun[os.fsdecode(line).rstrip("\r\n")] = helper
    with suppress(ValueError):
        _helpers.remove(helper)


@atexit.register
def _end_helpers() -> None:
    for helper in _helpers.copy():  # each leaves the list when it has ended
        with suppress(Exception):
            helper.kill()
            helper.wait()


def _forget() -> None:
    """In a forked child: the helpers are those of its parent."""
    _expectations.clear()
    _helpers.clear()
    _begun.clear()
    _recorded.launches = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
