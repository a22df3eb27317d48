"""The limit of CPU time of the control groups of this process, as containers have it on Linux.

The documentation of the Linux kernel describes the files: "Control Group v2" and, of v1, "CFS Bandwidth Control".
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")  # lines of: hierarchy, controllers (none for v2), path of the group
MOUNTS = {"": ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), "cpu": ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct")}


@cache
def cpu_limit() -> float:
    """How many CPUs this process may keep busy, or inf if that is not limited.

    A process with more busy threads is stopped for a part of the time.
    """
    with suppress(OSError, ValueError):  # ValueError: the file is not as documented, or not in the encoding of text
        return min((_limit(folder) for folder in _folders(GROUPS.read_text())), default=math.inf)
    return math.inf  # another system


def _folders(groups: str) -> Iterator[Path]:
    """The folders of the groups of this process, and of the groups that contain them."""
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            for mount in map(Path, MOUNTS.get(controller, ())):
                group = mount / path.lstrip("/")  # in a container its group is often the mount itself
                yield from (group, *(each for each in group.parents if each.is_relative_to(mount)))


def _limit(folder: Path) -> float:
    """CPU time in a period, divided by the period."""
    with suppress(OSError, ValueError):  # no such file, or "max"
        time, period = map(int, (folder / "cpu.max").read_text().split())
        return time / period
    with suppress(OSError, ValueError):
        time = int((folder / "cpu.cfs_quota_us").read_text())
        return time / int((folder / "cpu.cfs_period_us").read_text()) if time > 0 else math.inf
    return math.inf
