"""The caches of this CPU, for the sizes of blocks: only the speed of a computation may depend on them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNITS = {"K": 2**10, "M": 2**20}


@cache
def second_level_bytes() -> int:
    """Size of the second-level cache of a core; 0 if it is unknown, as on other systems than Linux."""
    for entry in sorted(CACHES.glob("index*")):
        try:
            level, size = ((entry / name).read_text(encoding="ascii").strip() for name in ("level", "size"))
            if level == "2":
                return int(size[:-1]) * UNITS[size[-1:]]
        except (OSError, ValueError, KeyError):
            continue
    return 0
