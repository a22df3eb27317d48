"""A hash of the source files that kernels are compiled from.

A kernel is compiled together with helpers and constants from other files, so the compiled code is valid for one state
of all files in this folder. Nothing from other folders of the package is compiled into a kernel.
"""

import hashlib
import sys
from functools import cache
from pathlib import Path


def files() -> list[Path]:
    """All source files; or the zip archive or the frozen program that contains them."""
    folder = Path(__file__).parent
    found = sorted(path for path in folder.rglob("*.py") if path.parent.name != "cuda") if folder.is_dir() else []
    if not found:
        found = [parent for parent in folder.parents if parent.is_file()]
    if not found and getattr(sys, "frozen", False):
        found = [Path(sys.executable)]
    return found


def _state() -> list[tuple[str, int, int, int]]:
    """Name, time, size and inode of each file: one of them changes when the file is edited or replaced."""
    try:
        return [(str(path), (s := path.stat()).st_mtime_ns, s.st_size, s.st_ino) for path in files()]
    except OSError:  # another process has just removed a file
        return []


# Recorded before the first kernel is imported: see the package's __init__.
_AT_IMPORT = _state()


def unchanged() -> bool:
    """Whether the files have not changed since this process imported them."""
    return bool(_AT_IMPORT) and _state() == _AT_IMPORT


@cache
def digest() -> str | None:
    """Hash the names and contents of all files; None if they cannot be read or have changed since the import."""
    hashed = hashlib.sha256()
    try:
        for path in files():
            content = path.read_bytes()
            hashed.update(f"{path.name} {len(content)} ".encode() + content)
    except OSError:
        return None
    return hashed.hexdigest() if unchanged() else None
