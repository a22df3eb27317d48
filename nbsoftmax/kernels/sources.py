"""The sources that kernels are compiled from, as one hash.

A kernel is compiled together with helpers and constants from other files, so the compiled code is valid for one state
of all files in this folder. Nothing from other folders of the package is compiled into a kernel.
"""

import hashlib
import sys
from functools import cache
from pathlib import Path


def files() -> list[Path]:
    """All sources; if they are not files, the zip archive or the frozen program that contains them."""
    folder = Path(__file__).parent
    found = sorted(path for path in folder.rglob("*.py") if path.parent.name != "cuda") if folder.is_dir() else []
    if not found:
        found = [parent for parent in folder.parents if parent.is_file()]
    if not found and getattr(sys, "frozen", False):
        found = [Path(sys.executable)]
    return found


def _state() -> list[tuple[str, int, int, int]]:
    """Name, time, size and inode of each source: one of them changes when a source is edited or replaced."""
    try:
        return [(str(path), (s := path.stat()).st_mtime_ns, s.st_size, s.st_ino) for path in files()]
    except OSError:  # a file was removed just now
        return []


# Taken before the first kernel is imported: see the package's __init__.
_AT_IMPORT = _state()


def unchanged() -> bool:
    """Whether the files are still those that this process has imported."""
    return bool(_AT_IMPORT) and _state() == _AT_IMPORT


@cache
def digest() -> str | None:
    """A hash of names and contents of all files; None where they cannot be read or are not those that were imported."""
    hashed = hashlib.sha256()
    try:
        for path in files():
            content = path.read_bytes()
            hashed.update(f"{path.name} {len(content)} ".encode() + content)
    except OSError:
        return None
    return hashed.hexdigest() if unchanged() else None
