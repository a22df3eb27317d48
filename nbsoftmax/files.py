"""Files: written atomically, and read without allocating more than they can hold.

A regular file is written under a temporary name in the same folder, synchronised, and renamed to its own name. A
device, a pipe or a socket is written to as it is; symbolic links are followed. An existing file keeps its mode, and its
owner and access list where the system allows it. Other hard links to it keep the old content: backups rely on that.
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
except ImportError:  # Windows, where the file of a living writer cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

PREFIX, SUFFIX = ".nbsoftmax-", ".tmp"  # of temporary files
ABANDONED = 3600.0  # seconds after which the temporary file of a dead writer is removed
STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")  # open already: never replaced, whatever is behind them
NOT_REPLACEABLE = (EACCES, EPERM, EROFS, EBUSY)  # folder without write permission, or a file mounted on its own
FULL = (ENOSPC, EDQUOT, EFBIG)
NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"  # first bytes of .npy files, and of .npz files, which are zip archives
RATIO, ALWAYS = 100, 1 << 28  # a file may unpack to 256 MiB, plus a hundred times its own size


class NotWrittenWarning(RuntimeWarning):
    """A file could not be written while a fit went on."""


def file_name(path: str | os.PathLike[str]) -> str:
    """Check the name of a file: text or a path, not empty, without NUL characters."""
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise InputTypeError(f"path is a {type(path).__name__}, expected the name of a file as str or Path.") from None
    if not name:
        raise InputValueError("path is empty, expected the name of a file, for example 'model.npz'.")
    if "\0" in name:
        raise InputValueError(f"path {name!r} contains a NUL character, which no file name can; remove it.")
    return name


# --- writing ----------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` when it is complete and on disk; after an error `path` is as it was.

    Raises
    ------
    InputValueError, InputTypeError
        If `path` is no name of a file.
    OSError
        If it cannot be written; its `filename` is `path`.
    """
    name = file_name(path)
    with _errors_about(name):
        old = _status(name)
        if _is_stream(name, old):
            content = io.BytesIO()
            yield content
            with open(name, "ab") as stream:  # "a" never truncates
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
    """Write arrays to `path`, a `.npz` file without pickles; an array that needs one is refused before the writing."""
    for name, array in arrays.items():
        dtype = np.asarray(array).dtype
        if dtype.hasobject:
            raise InputTypeError(f"{name} has dtype {dtype}, which a .npz file cannot hold without pickles.")
    with whole_file(path) as file:
        np.savez(file, **arrays)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the error that `whole_file` would raise for `path`, before the work whose result goes there."""
    name = file_name(path)
    with _errors_about(name):
        old = _status(name)
        if not _is_stream(name, old):
            file = _temporary(os.path.realpath(name), old)
            if file is not None:
                file.close()
                os.unlink(file.name)


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a regular file, or would become one: not a device, a pipe or a socket."""
    name = file_name(path)
    return not _is_stream(name, _status(name))


class WriteFailures:
    """Failures to write one file, of which the first is a warning, during a fit that goes on without the file."""

    def __init__(self, what: str, path: str) -> None:
        self.what, self.path, self._warned = what, path, False

    def warn(self, error: OSError) -> None:
        """Warn of a failure, unless there was one before."""
        if not self._warned:
            said = f"the {self.what} {self.path} could not be written ({one_line(error)}); the fit goes on without it."
            warnings.warn(said, NotWrittenWarning, stacklevel=3)
        self._warned = True


def one_line(error: BaseException, *, longest: int = 300) -> str:
    """The message of an error as one line; that of the system with the file first, and without its number."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= longest else text[:longest] + "..."


@contextmanager
def _errors_about(name: str) -> Iterator[None]:
    """System errors name the file that was meant, not a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not (error.filename is None or SUFFIX in str(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, name) from error


def _status(name: str) -> os.stat_result | None:
    """The status of an existing file that may be written; None for a new file in an existing folder."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        if os.path.basename(name) in {"", ".", ".."}:
            raise IsADirectoryError(EISDIR, "the name of a folder, expected the name of a file", name) from None
        if not os.path.isdir(os.path.dirname(os.path.realpath(name))):
            hint = "; ~ stands for the home folder only in a shell, use os.path.expanduser" * name.startswith("~")
            raise FileNotFoundError(f"the folder of {name} does not exist{hint or '; make it first'}.") from None
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(EISDIR, "is a folder, expected the name of a file", name)
    if not os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(EACCES, os.strerror(EACCES), name)
    return status


def _is_stream(name: str, status: os.stat_result | None) -> bool:
    return name.startswith(STREAMS) or (status is not None and not stat.S_ISREG(status.st_mode))


def _temporary(target: str, old: os.stat_result | None) -> Any:
    """A new file beside `target`; None where only the existing file can be written, not its folder."""

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    folder = os.path.dirname(target)
    name = os.path.join(folder, f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}")
    try:
        # Exclusive creation applies the umask and the folder's default access list to a new file.
        file = open(name, "xb", opener=private if old else None)  # noqa: SIM115 - closed by the caller
    except OSError as error:
        if old is not None and error.errno in NOT_REPLACEABLE:
            return None
        raise
    with suppress(OSError):  # some network file systems have no locks
        _lock(file)
    _remove_abandoned(folder, os.fstat(file.fileno()).st_mtime)
    return file


def _remove_abandoned(folder: str, now: float) -> None:
    """Remove temporary files in which nothing was written for long, and whose writer is dead: it would hold a lock."""
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
        except OSError:  # no locks here: the age decides
            return False
    return False


def _copy_access(target: str, old: os.stat_result, temporary: str) -> None:
    """Give a file the owner, attributes (access lists among them) and mode of the file it replaces, where allowed."""
    if hasattr(os, "chown"):
        for user in (-1, old.st_uid):  # the group alone may be allowed
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
    """Write over an existing file that cannot be replaced; the space is reserved first, so a full disk does no harm."""
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
    """Make a rename survive a crash of the machine; Windows and some network file systems cannot."""
    with suppress(OSError):
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# --- reading ----------------------------------------------------------------------------------------


def read_npz(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """All arrays of a `.npz` file that `write_npz` has written, by name; also from a pipe.

    Raises
    ------
    Exception
        Of almost any kind, for another or a damaged file; its message says what is wrong.
    """
    source: BinaryIO = file if file.seekable() else io.BytesIO(file.read())
    start, size = _start(source)
    if start == NPY:
        raise ValueError("it is a single array, a .npy file")
    if not start.startswith(ZIP):
        raise ValueError("it is no .npz file")
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
    """Check a `.npy` or `.npz` file of data before it is read: that its arrays are as large as their headers say."""
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
        raise ValueError("it does not begin as one")
    file.seek(0)


def _start(file: IO[bytes]) -> tuple[bytes, int]:
    """First bytes of a file, as many as `NPY` has, and its size; an empty one is refused."""
    start = file.read(len(NPY))
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0:
        raise ValueError("it is empty")
    return start, size


def check_header(file: Any, size: int, *, exactly: bool = True) -> None:
    """Check that an array of `.npy` format, in `size` bytes, is not larger than they are; reads its header alone."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its .npy version is {version}, expected 1.0 or 2.0")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    count, left = math.prod(shape), size - file.tell()
    if count > size or count * dtype.itemsize > left or (exactly and count * dtype.itemsize != left):
        raise ValueError(f"an array of shape {shape} and dtype {dtype} is announced, but {left} bytes are there")
