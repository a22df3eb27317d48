"""Helper processes compile what a caller expects to need, and change nothing but the time that it waits."""

import os

import numpy as np
import pytest

from nbsoftmax.kernels import sparse
from nbsoftmax.kernels.runtime import ahead
from nbsoftmax.kernels.runtime.threads import launch
from tests.processes import output

# `by_features` is compiled by the process, `count_entries` is expected after it.
START = """
import numpy as np, os, time
from nbsoftmax.kernels import sparse
from nbsoftmax.kernels.runtime import ahead
from nbsoftmax.kernels.runtime.threads import launch

rows = sparse.SparseRows(np.ones(2), np.array([0, 3]), np.array([0, 1, 2]), 2, 4, 1, np.empty(0))
counts = np.zeros(1, np.int64)
arguments = rows, np.array([0, 2]), counts

def first():
    launch(sparse.by_features, 1, 1, 1, np.ones(6), 2, 2, 4, np.zeros(16))

def later(kernel):
    assert kernel == "by_features"
    with ahead.recorded() as launches:
        launch(sparse.count_entries, 1, 1, 1, *arguments)
    assert counts[0] == 0  # not run
    return launches

def wait(condition):
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
"""
BEGUN = """
with ahead.expected(later, 2):
    first()
    wait(lambda: ahead._begun)
"""
USE = """
launch(sparse.count_entries, 1, 1, 1, *arguments)
stats = sparse.count_entries.stats
print(counts[0], sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


# A program that says that it compiles the kernel, and then does something else.
BEGIN = (
    "import os, pickle, sys, time; pickle.load(sys.stdin.buffer); import nbsoftmax.kernels.sparse; "
    "(each,) = pickle.load(sys.stdin.buffer); print(each.path, flush=True); "
)


def with_helpers(script, tmp_path, **environment):
    options = {"NBSOFTMAX_HELPERS": None, "NUMBA_CACHE_DIR": str(tmp_path)} | environment
    return output(START + script, **options).split()


def compiled_after(condition, tmp_path, *, change=""):
    """Expect `count_entries`, and call it when the condition holds: the sum, hits and misses of the cache."""
    script = f"""
{change}
with ahead.expected(later, 2):
    first()
    wait(lambda: {condition})
"""
    return with_helpers(script + USE, tmp_path)


def test_a_helper_compiles_what_is_expected_and_this_process_loads_it(tmp_path):
    assert compiled_after("ahead._begun", tmp_path) == ["2", "1", "0"]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_the_folder_of_compiled_code_may_have_a_name_that_text_of_the_system_lacks(tmp_path, encoding):
    found = with_helpers(BEGUN + USE, tmp_path / "Jürgen 日本", PYTHONIOENCODING=encoding, NBSOFTMAX_QUIET="1")
    assert found == ["2", "1", "0"]


def test_a_helper_imports_nothing_from_the_current_folder(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "pickle.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    script = f"os.chdir({str(tmp_path / 'here')!r})"
    assert with_helpers(script + BEGUN + USE, tmp_path, PYTHONPATH=os.getcwd()) == ["2", "1", "0"]


def test_a_kernel_that_no_helper_has_begun_is_compiled_at_once(tmp_path):
    change = 'ahead._PROGRAM = "import time; time.sleep(600)"'
    assert compiled_after("ahead._helpers", tmp_path, change=change) == ["2", "0", "1"]


@pytest.mark.parametrize(
    "program",
    [
        "raise SystemExit(1)",
        "import sys; sys.stdout.buffer.write(b'\\xff\\n' * 9)",
        BEGIN + "os.kill(os.getpid(), 9)",
    ],
    ids=["fails", "prints", "is killed"],
)
def test_a_helper_that_fails_changes_nothing(tmp_path, program):
    change = f"ahead._PROGRAM = {program!r}"
    assert compiled_after("not ahead._helpers", tmp_path, change=change) == ["2", "0", "1"]


def test_a_helper_that_does_not_end_is_not_waited_for_without_limit(tmp_path):
    change = f"ahead.LONGEST_WAIT = 0.1; ahead._PROGRAM = {BEGIN + 'time.sleep(600)'!r}"
    assert compiled_after("ahead._begun", tmp_path, change=change) == ["2", "0", "1"]


def test_an_error_of_the_caller_is_no_error_of_the_first_kernel(tmp_path):
    script = """
def wrong(kernel):
    with ahead.recorded():
        raise ValueError
with ahead.expected(wrong, 2):
    first()
assert not ahead._helpers
"""
    assert with_helpers(script + USE, tmp_path) == ["2", "0", "1"]


NONE = """
with ahead.expected(later, n_threads):
    first()
assert not ahead._helpers
print("none")
"""


@pytest.mark.parametrize(
    ("change", "environment"),
    [
        ("n_threads = 1", {}),
        ("n_threads = 2", {"NBSOFTMAX_HELPERS": "0"}),
        ("n_threads = 2; import sys; sys.frozen = True", {}),
        ("n_threads = 2; import sys; sys.executable = '/usr/bin/editor'", {}),
        ("n_threads = 2; import sys; sys.executable = None", {}),
    ],
)
def test_no_helper_starts_where_it_would_be_wrong(tmp_path, change, environment):
    assert with_helpers(change + NONE, tmp_path, **environment) == ["none"]


def test_no_helper_starts_if_the_first_kernel_is_stored(tmp_path):
    script = "n_threads = 2" + NONE
    assert with_helpers("first()\nprint(1)", tmp_path) == ["1"]
    assert with_helpers(script, tmp_path) == ["none"]


@pytest.mark.skipif(os.name == "nt", reason="signal 0 asks on other systems whether a process exists")
def test_helpers_end_with_the_process(tmp_path):
    script = """
ahead._PROGRAM = "import time; time.sleep(600)"
with ahead.expected(later, 2):
    first()
print(ahead._helpers[0].pid)
"""
    (pid,) = with_helpers(script, tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


@pytest.mark.skipif(os.name == "nt", reason="fcntl")
def test_a_helper_ends_if_the_process_is_killed(tmp_path):
    import fcntl

    (tmp_path / "lock").touch()
    script = """
work = (
    "import fcntl, os, time; file = open('lock'); fcntl.flock(file, fcntl.LOCK_EX); print('locked', flush=True); "
    "time.sleep(30); open('late', 'w')"
)
os.chdir(os.environ["NUMBA_CACHE_DIR"])
ahead._PROGRAM = ahead._PROGRAM.replace("ahead.compile_all(signatures)", work)
with ahead.expected(later, 2):
    first()
    wait(lambda: ahead._begun)
print(*ahead._begun, flush=True)
os._exit(0)  # as if by a signal
"""
    assert with_helpers(script, tmp_path) == ["locked"]
    with open(tmp_path / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the helper has ended
    assert not (tmp_path / "late").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_does_not_end_the_helpers_of_its_parent(tmp_path):
    script = """
ahead._PROGRAM = "import time; time.sleep(600)"
with ahead.expected(later, 2):
    first()
child = os.fork()
if child == 0:
    assert not ahead._helpers
    ahead._end_helpers()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(ahead._helpers[0].poll())
"""
    assert with_helpers(script, tmp_path) == ["None"]


def test_a_helper_with_other_settings_compiles_nothing():
    signature = ahead.Signature(sparse.count_entries.py_func.__module__, "count_entries", (), "elsewhere.nbc")
    before = dict(sparse.count_entries.overloads)
    ahead.compile_all([signature])
    assert sparse.count_entries.overloads == before


def test_what_is_recorded_is_not_run():
    out = np.zeros(16)
    with ahead.recorded() as launches:
        launch(sparse.by_features, 1, 1, 1, np.ones(6), 2, 2, 4, out)
    assert len(launches) == 1
    assert not out.any()
    launch(sparse.by_features, 1, 1, 1, np.ones(6), 2, 2, 4, out)
    assert out.any()


def test_ctrl_c_while_kernels_become_expected_leaves_no_expectation(monkeypatch):
    class Interrupted(list):
        def append(self, expectation):
            super().append(expectation)
            raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "_expectations", Interrupted())
    with pytest.raises(KeyboardInterrupt), ahead.expected(lambda kernel: [], 2):
        pass
    assert not ahead._expectations  # one would keep the rows of the fit
