"""Atomic writing of files, and safe reading of `.npz` files.

A regular file is written under a temporary name in the same folder, synchronised to disk, and renamed. Devices, pipes
and sockets are written to directly; symbolic links are followed. An existing file keeps its mode and, where the system
allows it, its owner and access list. Other hard links to it keep the old content, on which backups rely.

A file is refused before it is read if its arrays would need more memory than its size justifies.
"""

from __future__ import annotations

import io
import math
import os
import secrets
import stat
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EBUSY, EDQUOT, EFBIG, EISDIR, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, InputValueError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

PREFIX, SUFFIX = ".nbsoftmax-", ".tmp"  # of temporary files
ABANDONED = 3600.0  # seconds after which the temporary file of a process that has ended is removed
STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")  # names of open files, which are never replaced
NOT_REPLACEABLE = (EACCES, EPERM, EROFS, EBUSY)  # a folder without write permission, or a file that is a mount point
FULL = (ENOSPC, EDQUOT, EFBIG)
NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"  # first bytes of .npy files, and of .npz files, which are zip archives
RATIO, ALWAYS = 100, 1 << 28  # an archive may unpack to 256 MiB plus 100 times its own size


class NotWrittenWarning(RuntimeWarning):
    """A file could not be written during a fit; the fit continues."""


def file_name(path: str | os.PathLike[str]) -> str:
    """Check the name of a file: str or Path, not empty, without NUL characters."""
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise InputTypeError(f"path is a {type(path).__name__}, expected the name of a file as str or Path.") from None
    if not name:
        raise InputValueError("path is empty, expected the name of a file, for example 'model.npz'.")
    if "\0" in name:
        raise InputValueError(f"path is {name!r}, expected a file name without NUL characters; remove them.")
    return name


# --- writing ----------------------------------------------------------------------------------------


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
            with open(name, "ab") as stream:  # mode "a" does not truncate
                stream.write(content.getbuffer())
            return
        target = os.path.realpath(name)
        file = _temporary(target, old)
        if file is None:
            content = io.BytesIO()
            yield content
            _overwrite(target, content.getbuffer())
            return
        try:
            with file:
                yield file
                file.flush()
                if old is not None:
                    _copy_access(target, old, file.name)
                os.fsync(file.fileno())
            _replace(file.name, target, old)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
        _synchronise_folder(target)


def write_npz(path: str | os.PathLike[str], arrays: dict[str, Any]) -> None:
    """Write arrays to `path`, a `.npz` file; an array of Python objects, which needs pickle, is refused beforehand."""
    for name, array in arrays.items():
        dtype = np.asarray(array).dtype
        if dtype.hasobject:
            raise InputTypeError(f"{name} has dtype {dtype}, which needs pickle; expected numbers, booleans or text.")
    with whole_file(path) as file:
        np.savez(file, **arrays)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the error that `whole_file` would raise for `path`, before work is done whose result goes there."""
    name = file_name(path)
    with _errors_about(name):
        old = _status(name)
        if not _is_stream(name, old):
            file = _temporary(os.path.realpath(name), old)
            if file is not None:
                file.close()
                os.unlink(file.name)


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
            warnings.warn(message, NotWrittenWarning, stacklevel=3)
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
    try:
        # A new file gets its mode from the umask and the default access list of the folder.
        file = open(name, "xb", opener=private if old else None)  # noqa: SIM115 - closed by the caller
    except OSError as error:
        if old is not None and error.errno in NOT_REPLACEABLE:
            return None
        raise
    with suppress(OSError):  # some network file systems do not support locks
        _lock(file)
    _remove_abandoned(folder, os.fstat(file.fileno()).st_mtime)
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
    with open(target, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, max(1, len(content)))
            except OSError as error:
                if error.errno in FULL:
                    file.truncate(size)
                    raise
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _synchronise_folder(target: str) -> None:
    """Synchronise the folder, so that a rename survives a crash; Windows and some network file systems cannot."""
    with suppress(OSError):
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# --- reading ----------------------------------------------------------------------------------------


def read_npz(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read the arrays of a `.npz` file from `write_npz`, by name; the file may be a pipe.

    Raises
    ------
    Exception
        Of any type, for a damaged file or another format; the message says what is wrong.
    """
    source: BinaryIO = file if file.seekable() else io.BytesIO(file.read())
    start, size = _start(source)
    if start == NPY:
        raise ValueError("it is a .npy file with a single array")
    if not start.startswith(ZIP):
        raise ValueError("it is not a .npz file")
    with zipfile.ZipFile(source) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        unpacked, limit = sum(member.file_size for member in members), ALWAYS + RATIO * size
        if unpacked > limit:
            raise ValueError(f"it would unpack to {unpacked} bytes, more than {limit}, the limit for its size")
        arrays = {}
        for member in members:
            with archive.open(member) as opened:
                check_header(opened, member.file_size)
            with archive.open(member) as opened:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(opened, allow_pickle=False)
        return arrays


def check_sizes(file: IO[bytes]) -> None:
    """Check before reading that the arrays of a `.npy` or `.npz` file are as large as their headers say."""
    if not file.seekable():
        return
    start, size = _start(file)
    if start == NPY:
        check_header(file, size, exactly=False)  # np.save may have appended other arrays
    elif start.startswith(ZIP):
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as opened:
                        check_header(opened, member.file_size)
    else:
        raise ValueError("it does not begin like one")
    file.seek(0)


def _start(file: IO[bytes]) -> tuple[bytes, int]:
    """First bytes of a file, as many as `NPY` has, and its size; an empty file is refused."""
    start = file.read(len(NPY))
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0:
        raise ValueError("it is empty")
    return start, size


def check_header(file: Any, size: int, *, exactly: bool = True) -> None:
    """Check that an array in `.npy` format fits in the `size` bytes of its file; only the header is read."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its .npy version is {version}, expected 1.0 or 2.0")
    if dtype.hasobject:
        raise ValueError("it contains Python objects, which are not unpickled for safety")
    count, left = math.prod(shape), size - file.tell()
    if count > size or count * dtype.itemsize > left or (exactly and count * dtype.itemsize != left):
        raise ValueError(f"its header says shape {shape} and dtype {dtype}, but the file has {left} bytes of data")
