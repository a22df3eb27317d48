"""Atomic writing of files.

A regular file is written under a temporary name in the same folder, synchronised to disk, and renamed. Devices, pipes
and sockets are written to directly; symbolic links are followed. An existing file keeps its mode and, where the system
allows it, its owner and access list. Other hard links to it keep the old content, on which backups rely.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from errno import EACCES, EBUSY, EDQUOT, EFBIG, EISDIR, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import Any, BinaryIO

from nbsoftmax.errors import InputTypeError, InputValueError, a_type, warn

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

PREFIX, SUFFIX = ".nbsoftmax-", ".tmp"  # of temporary files
ABANDONED = 3600.0  # seconds after which the temporary file of a process that has ended is removed
STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")  # names of open files, which are never replaced
NOT_REPLACEABLE = (EACCES, EPERM, EROFS, EBUSY)  # a folder without write permission, or a file that is a mount point
FULL = (ENOSPC, EDQUOT, EFBIG)
_unfinished: dict[str, BinaryIO | None] = {}  # temporary files that this process writes; None before one is open


class NotWrittenWarning(RuntimeWarning):
    """A file could not be written during a fit; the fit continues."""


def file_name(path: str | os.PathLike[str]) -> str:
    """Check the name of a file: str or Path, not empty, without NUL characters."""
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise InputTypeError(f"path is {a_type(path)}, expected the name of a file as str or Path.") from None
    if not name:
        raise InputValueError("path is empty, expected the name of a file, for example 'model.npz'.")
    if "\0" in name:
        raise InputValueError(f"path is {name!r}, expected a file name without NUL characters; remove them.")
    return name


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` once it is complete and on disk; an error leaves `path` unchanged.

    Raises
    ------
    InputValueError, InputTypeError
        If `path` is not the name of a file.
    OSError
        If the file cannot be written; its `filename` is `path`.
    """
    name = file_name(path)
    with _errors_about(name):
        old = _status(name)
        if _is_stream(name, old):
            content = io.BytesIO()
            yield content
            with open(name, "ab") as stream, content.getbuffer() as view:  # mode "a" does not truncate
                stream.write(view)
            return
        target = os.path.realpath(name)
        file = _temporary(target, old)
        if file is None:
            content = io.BytesIO()
            yield content
            with content.getbuffer() as view:  # after an error, its content could not be freed beside a view
                _overwrite(target, view)
            return
        try:
            with file:
                yield file
                if file.name not in _unfinished:
                    raise RuntimeError(f"{name} is being written by another process, which has forked this one.")
                file.flush()
                if old is not None:
                    _copy_access(target, old, file.name)
                os.fsync(file.fileno())
            _replace(file.name, target, old)
        except BaseException:
            if file.name in _unfinished:
                Path(file.name).unlink(missing_ok=True)
            raise
        finally:
            _unfinished.pop(file.name, None)
        _synchronise_folder(target)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the error that `whole_file` would raise for `path`, before work is done whose result goes there."""
    name = file_name(path)
    with _errors_about(name):
        old = _status(name)
        if not _is_stream(name, old):
            file = _temporary(os.path.realpath(name), old)
            if file is not None:
                try:
                    file.close()
                    os.unlink(file.name)
                finally:
                    _unfinished.pop(file.name, None)


def remove_unfinished() -> None:
    """Remove the temporary files that this process is writing, because a signal is about to end it."""
    for name in list(_unfinished):
        with suppress(OSError):
            os.unlink(name)


def _leave_to_parent() -> None:
    """In a forked child, which shares the open files of its parent: nothing that it still writes gets there."""
    for file in _unfinished.values():
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            if file is not None:
                os.dup2(nowhere.fileno(), file.fileno())
    _unfinished.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a regular file or a new one, not a device, a pipe or a socket."""
    name = file_name(path)
    return not _is_stream(name, _status(name))


class WriteFailures:
    """Warns of the first failure to write a file during a fit, which continues."""

    def __init__(self, what: str, path: str) -> None:
        self.what, self.path, self._warned = what, path, False

    def warn(self, error: OSError) -> None:
        """Warn of a failure, unless there was one before."""
        if not self._warned:
            message = f"the {self.what} {self.path} could not be written ({one_line(error)}); the fit continues."
            warn(message, NotWrittenWarning)
        self._warned = True


def one_line(error: BaseException, *, longest: int = 300) -> str:
    """The message of an error on one line; for a system error: the file name, then the message without its number."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= longest else text[:longest] + "..."


@contextmanager
def _errors_about(name: str) -> Iterator[None]:
    """Replace the name of a temporary file in a system error by `name`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not (error.filename is None or SUFFIX in str(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, name) from error


def _status(name: str) -> os.stat_result | None:
    """Status of an existing file that may be written; None for a new file in an existing folder."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        if os.path.basename(name) in {"", ".", ".."}:
            raise IsADirectoryError(EISDIR, "the name of a folder, expected the name of a file", name) from None
        if not os.path.isdir(os.path.dirname(os.path.realpath(name))):
            hint = "; only a shell expands ~, use os.path.expanduser" * name.startswith("~")
            raise FileNotFoundError(f"the folder of {name} does not exist{hint or '; create it first'}.") from None
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(EISDIR, "is a folder, expected the name of a file", name)
    if not os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(EACCES, os.strerror(EACCES), name)
    return status


def _is_stream(name: str, status: os.stat_result | None) -> bool:
    return name.startswith(STREAMS) or (status is not None and not stat.S_ISREG(status.st_mode))


def _temporary(target: str, old: os.stat_result | None) -> Any:
    """Create a temporary file beside `target`; None if the folder cannot be written, but the existing file can."""

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    folder = os.path.dirname(target)
    name = os.path.join(folder, f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}")
    file: Any = None
    _unfinished[name] = None
    try:
        # A new file gets its mode from the umask and the default access list of the folder.
        file = open(name, "xb", opener=private if old else None)  # noqa: SIM115 - closed by the caller
        _unfinished[name] = file
        with suppress(OSError):  # some network file systems do not support locks
            _lock(file)
        _remove_abandoned(folder, os.fstat(file.fileno()).st_mtime)
    except BaseException as error:  # Ctrl-C may come as soon as the file exists
        with suppress(OSError), file or nullcontext():
            os.unlink(name)
        _unfinished.pop(name, None)
        if old is not None and isinstance(error, OSError) and error.errno in NOT_REPLACEABLE:
            return None
        raise
    return file


def _remove_abandoned(folder: str, now: float) -> None:
    """Remove old temporary files of processes that have ended; a running writer holds a lock on its file."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX)):
                continue
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and now - status.st_mtime > ABANDONED and not _is_locked(entry.path):
                    os.unlink(entry.path)


def _lock(file: BinaryIO) -> None:
    if fcntl is not None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_locked(name: str) -> bool:
    with open(name, "rb") as file:
        try:
            _lock(file)
        except BlockingIOError:
            return True
        except OSError:  # locks are not supported here: the age alone decides
            return False
    return False


def _copy_access(target: str, old: os.stat_result, temporary: str) -> None:
    """Copy owner, extended attributes (with access lists) and mode from the replaced file, as far as allowed."""
    if hasattr(os, "chown"):
        for user in (-1, old.st_uid):  # changing only the group may be allowed
            with suppress(OSError):
                os.chown(temporary, user, old.st_gid)
    if hasattr(os, "listxattr"):
        with suppress(OSError):
            for attribute in os.listxattr(target):
                with suppress(OSError):
                    os.setxattr(temporary, attribute, os.getxattr(target, attribute))
    with suppress(OSError):
        os.chmod(temporary, stat.S_IMODE(old.st_mode))


def _replace(temporary: str, target: str, old: os.stat_result | None) -> None:
    try:
        os.replace(temporary, target)
    except OSError as error:
        if old is None or error.errno not in NOT_REPLACEABLE:
            raise
        _overwrite(target, memoryview(Path(temporary).read_bytes()))
        os.unlink(temporary)


def _overwrite(target: str, content: memoryview) -> None:
    """Overwrite a file that cannot be replaced; space is reserved first, so that a full disk loses no data."""
    with open(target, "r+b", buffering=0) as file:  # a buffer would be written again when the file is closed
        size = os.fstat(file.fileno()).st_size
        try:
            _reserve(file, size, len(content))
        except OSError:
            file.truncate(size)
            raise
        _write(file, content)
        file.truncate()
        os.fsync(file.fileno())


def _reserve(file: io.FileIO, size: int, needed: int) -> None:
    """Reserve the space for `needed` bytes of a file that has `size`; where the system cannot, zeros are appended."""
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, needed))
        except OSError as error:  # with musl, some file systems do not support it
            if error.errno in FULL:
                raise
        else:
            return
    file.seek(size)
    _write(file, memoryview(bytes(max(0, needed - size))))
    os.fsync(file.fileno())
    file.seek(0)


def _write(file: io.FileIO, content: memoryview) -> None:
    """Write all bytes to an unbuffered file, which may take them in parts."""
    written = 0
    while written < len(content):
        with content[written:] as rest:  # released after an error, too
            written += file.write(rest)


def _synchronise_folder(target: str) -> None:
    """Synchronise the folder, so that a rename survives a crash; Windows and some network file systems cannot."""
    with suppress(OSError):
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
