"""Temporary files: names, those of dead writers, synchronisation."""

import errno
import os
import time

import pytest

from nbsoftmax import files
from nbsoftmax.files import ABANDONED, whole_file
from tests.files.written import a_model, posix, write


def test_the_longest_names_can_be_written(tmp_path):
    longest = tmp_path / ("m" * 251 + ".npz")
    a_model().save(longest)
    a_model().save(longest)
    assert [path.name for path in tmp_path.iterdir()] == [longest.name]


@posix
def test_temporary_files_of_dead_writers_are_removed_at_the_next_write(tmp_path):
    long_ago = time.time() - ABANDONED - 60
    names = {"dead": ".nbsoftmax-1.tmp", "living": ".nbsoftmax-2.tmp", "fresh": ".nbsoftmax-3.tmp", "other": "x.tmp"}
    paths = {name: tmp_path / file for name, file in names.items()}
    for path in paths.values():
        path.write_bytes(b"half")
        os.utime(path, (long_ago, long_ago))
    os.utime(paths["fresh"])
    (tmp_path / ".nbsoftmax-4.tmp").mkdir()
    os.utime(tmp_path / ".nbsoftmax-4.tmp", (long_ago, long_ago))
    with open(paths["living"], "rb") as file:
        files._lock(file)
        write(tmp_path / "m")
    assert set(os.listdir(tmp_path)) == {"m", ".nbsoftmax-4.tmp"} | {
        path.name for name, path in paths.items() if name != "dead"
    }


@posix
def test_a_file_that_is_being_written_is_not_taken_for_an_abandoned_one(tmp_path):
    with whole_file(tmp_path / "slow") as file:
        file.write(b"slow")
        os.utime(file.name, (0, 0))
        write(tmp_path / "quick")
    assert (tmp_path / "slow").read_bytes() == b"slow"


def test_file_and_folder_are_synchronised(tmp_path, monkeypatch):
    synchronised = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synchronised.append(os.fstat(descriptor).st_ino))
    write(tmp_path / "m")
    assert synchronised[0] == (tmp_path / "m").stat().st_ino
    if os.name == "posix":
        assert synchronised[1:] == [tmp_path.stat().st_ino]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_after_an_error_the_old_file_is_there_and_no_other(tmp_path, error):
    (tmp_path / "m").write_bytes(b"old")
    with pytest.raises((KeyboardInterrupt, OSError)), whole_file(tmp_path / "m") as file:
        file.write(b"half")
        raise error
    assert os.listdir(tmp_path) == ["m"]
    assert (tmp_path / "m").read_bytes() == b"old"


@pytest.mark.parametrize("use", [write, files.check_writable])
def test_ctrl_c_as_soon_as_the_temporary_file_exists_leaves_nothing(use, tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_lock", interrupt)
    with pytest.raises(KeyboardInterrupt):
        use(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
    assert files._unfinished == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("fails", [False, True])
def test_a_forked_child_that_leaves_the_context_changes_nothing_in_the_file(tmp_path, fails):
    writing = whole_file(tmp_path / "m")
    file = writing.__enter__()
    file.write(b"a")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            file.write(b"b")
            error = ValueError("of the child")
            with pytest.raises((RuntimeError, ValueError), match="of the child" if fails else "forked this one"):
                assert not writing.__exit__(*(type(error), error, None) if fails else (None, None, None))
                raise error
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    file.write(b"c")
    writing.__exit__(None, None, None)
    assert os.listdir(tmp_path) == ["m"]
    assert (tmp_path / "m").read_bytes() == b"ac"
