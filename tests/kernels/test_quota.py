"""Limits of CPU time of containers, from copies of the files of Linux."""

import math
import sys
from pathlib import Path

import numba
import pytest

from nbsoftmax.kernels.runtime import quota, threads
from tests.processes import output


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make files of control groups, and return the limit of this process; the first argument are its groups."""
    mounts = {
        controller: [str(tmp_path / Path(mount).relative_to("/")) for mount in of_linux]
        for controller, of_linux in quota.MOUNTS.items()
    }
    monkeypatch.setattr(quota, "MOUNTS", mounts)
    monkeypatch.setattr(quota, "GROUPS", tmp_path / "groups")

    def limit(groups, files):
        quota.GROUPS.write_text(groups)
        for name, text in files.items():
            file = tmp_path / "sys/fs/cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return quota.cpu_limit.__wrapped__()

    return limit


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 25000\n"}, 2.0),  # a slice that contains it
        ("0::/a/b\n", {"a/b/cpu.max": "10000 100000\n", "a/cpu.max": "50000 25000\n"}, 0.1),
        ("0::/of/the/host\n", {"cpu.max": "300000 100000\n"}, 3.0),  # the folders of a container begin with its group
        ("0::/a:b\n", {"a:b/cpu.max": "100000 100000\n"}, 1.0),
        ("0::/\n", {"cpu.max": "what\n"}, math.inf),
        (
            "4:memory:/\n3:cpu,cpuacct:/d\n1:name=systemd:/\n0::/\n",
            {"cpu,cpuacct/d/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/d/cpu.cfs_period_us": "100000\n"},
            4.0,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_the_limit_is_the_least_of_the_groups_of_the_process(machine, groups, files, limit):
    assert machine(groups, files) == limit


def test_other_systems_have_no_such_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(quota, "GROUPS", tmp_path / "none")
    assert quota.cpu_limit.__wrapped__() == math.inf


@pytest.mark.parametrize("groups", [b"no colons\n", b"0::/caf\xe9\n"])
def test_a_file_of_another_form_is_no_limit(tmp_path, monkeypatch, groups):
    monkeypatch.setattr(quota, "GROUPS", tmp_path / "groups")
    quota.GROUPS.write_bytes(groups)
    assert quota.cpu_limit.__wrapped__() == math.inf


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_it_can_be_read_here():
    assert quota.cpu_limit() > 0


@pytest.mark.parametrize(
    ("limit", "cores", "chosen", "n"),
    [
        (1.5, 8, None, 2),
        (0.3, 8, None, 1),
        (9.0, 8, None, 8),
        (math.inf, 8, None, 8),
        (1.5, 8, "8", 8),
        (1.5, 8, "3", 3),
    ],
)
def test_threads_observe_the_limit_unless_a_user_has_set_their_number(monkeypatch, limit, cores, chosen, n):
    def not_started():
        raise ValueError

    monkeypatch.setattr(numba, "threading_layer", not_started)
    monkeypatch.setattr(numba.config, "NUMBA_DEFAULT_NUM_THREADS", cores)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", int(chosen or cores))
    monkeypatch.setattr(threads, "cpu_limit", lambda: limit)
    if chosen is None:
        monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("NUMBA_NUM_THREADS", chosen)
    assert threads.default_threads() == n


def test_a_limited_process_says_so_and_starts_no_more_threads():
    script = """
        import numba
        import numpy as np
        import nbsoftmax as nbs
        from nbsoftmax.kernels.runtime import quota, threads

        for module in (quota, threads):
            module.cpu_limit = lambda: 1.5
        numba.config.NUMBA_DEFAULT_NUM_THREADS = numba.config.NUMBA_NUM_THREADS = 8  # the cores of another machine
        threads.THREAD_WORK = 1
        nbs.sigmoid(np.zeros(1_000_000))
        assert threads._n_helpers == 1
        nbs.show_versions()
    """
    shown = output(script, NUMBA_NUM_THREADS=None)
    assert " of them usable, CPU time of 1.5\n" in shown
    assert " threads: 2\n" in shown
