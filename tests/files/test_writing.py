"""A file that is written keeps its mode, owner, links and kind."""

import errno
import os
import stat
import threading
from contextlib import suppress

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import files
from nbsoftmax.files import check_writable, whole_file
from tests.files.written import a_model, full, linux, null_device, posix, write


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "m"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_an_existing_file_keeps_its_owner_where_that_is_allowed(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"old")
    try:
        os.chown(path, 1, 1)
    except PermissionError:
        pytest.skip("only root may give files away")
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1, 1)


@posix
def test_an_existing_file_keeps_its_extended_attributes(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.note", b"mine")
    except (AttributeError, OSError):
        pytest.skip("no extended attributes here")
    write(path)
    assert os.getxattr(path, "user.note") == b"mine"


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_mode_of_the_umask_which_is_not_touched(tmp_path, mask, monkeypatch):
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            # The umask belongs to the whole process: to set it, even for a moment, is a race with other threads.
            patch.setattr(os, "umask", lambda _: pytest.fail("the umask of the process was set"))
            write(tmp_path / "m")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o666 & ~mask


@posix
@pytest.mark.parametrize("links", [1, 2])
@pytest.mark.parametrize("dangling", [True, False])
def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path, links, dangling):
    (tmp_path / "a").mkdir()
    target = tmp_path / "a" / "target"
    if not dangling:
        target.write_bytes(b"old")
    names = [target]
    for n in range(links):
        names.append(tmp_path / f"link{n}")
        names[-1].symlink_to(os.path.relpath(names[-2], tmp_path))
    write(names[-1])
    assert all(name.is_symlink() for name in names[1:])
    assert not target.is_symlink()
    assert target.read_bytes() == b"new"


@posix
def test_another_hard_link_keeps_the_old_content(tmp_path):
    (tmp_path / "m").write_bytes(b"old")
    os.link(tmp_path / "m", tmp_path / "backup")
    write(tmp_path / "m")
    assert (tmp_path / "backup").read_bytes() == b"old"


@posix
def test_a_device_is_written_to_and_stays_one(tmp_path):
    null = null_device(tmp_path)
    write(null)
    a_model().save(null)
    assert stat.S_ISCHR(os.stat(null).st_mode)


@posix
def test_a_pipe_gets_the_whole_content_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    a_model().save(pipe)
    reader.join(60)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    (tmp_path / "m.npz").write_bytes(got[0])
    assert np.array_equal(nbs.SoftmaxModel.load(tmp_path / "m.npz").coef, a_model().coef)


@posix
def test_a_model_can_be_read_from_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=a_model().save, args=[pipe])
    writer.start()
    loaded = nbs.SoftmaxModel.load(pipe)
    writer.join(60)
    assert np.array_equal(loaded.coef, a_model().coef)


@posix
def test_what_fails_before_it_is_complete_sends_nothing_to_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RuntimeError), whole_file(pipe) as file:  # would wait for a reader, if it opened the pipe
        file.write(b"half")
        raise RuntimeError


@linux
def test_an_open_descriptor_is_appended_to_not_replaced(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"kept ")
    with open(path, "ab") as file:
        write(f"/dev/fd/{file.fileno()}")
        write(f"/proc/self/fd/{file.fileno()}", b" twice")
    assert path.read_bytes() == b"kept new twice"


@posix
@pytest.mark.parametrize("error", [errno.EBUSY, errno.EACCES])
def test_a_file_that_cannot_be_replaced_is_written_over(tmp_path, monkeypatch, error):
    """As one that is mounted on its own, or of another user in a folder with the sticky bit."""

    def refuse(*_):
        raise OSError(error, os.strerror(error))

    for old in (b"old and longer", b""):
        (tmp_path / "m").write_bytes(old)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refuse)
            write(tmp_path / "m")
            with pytest.raises(OSError, match="none") as raised:
                write(tmp_path / "none")
        assert raised.value.errno == error
        assert (tmp_path / "m").read_bytes() == b"new"
        assert os.listdir(tmp_path) == ["m"]


@posix
def test_a_file_in_a_folder_without_write_permission_is_written_over(tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"old and longer")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)  # of a temporary file: root may write anywhere
        check_writable(path)
        write(path)
    assert path.read_bytes() == b"new"


def denied(name, *_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


@posix
@pytest.mark.parametrize("reserves", [True, False], ids=["posix_fallocate", "zeros"])
def test_writing_over_a_file_on_a_full_disk_leaves_it_as_it_was(tmp_path, monkeypatch, reserves):
    path = tmp_path / "m"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "open", denied)
    if reserves:
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    else:  # macOS and Windows
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), whole_file(path) as file:
        file.write(b"longer than before")
    assert path.read_bytes() == b"old"
    file.close()  # a view of its content, which Python 3.12 cannot free, would be an error


@posix
@pytest.mark.parametrize("unsupported", [True, False], ids=["of musl", "none"])
def test_a_file_is_written_over_where_the_system_reserves_no_space(tmp_path, monkeypatch, unsupported):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if unsupported:
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    else:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(os, "open", denied)
    for old in (b"", b"old", b"old, and longer than what replaces it"):
        path = tmp_path / "m"
        path.write_bytes(old)
        write(path, b"a new content")
        assert path.read_bytes() == b"a new content"


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"protected")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write it
    for attempt in (write, check_writable):
        with pytest.raises(PermissionError, match=r"'.*m'"):
            attempt(path)
    assert path.read_bytes() == b"protected"


@pytest.mark.parametrize("fails", [False, True])
def test_no_file_is_unfinished_after_a_check_or_a_write(tmp_path, monkeypatch, fails):
    def refused(*_):
        raise PermissionError(13, "denied")

    with monkeypatch.context() as patch, suppress(OSError):
        if fails:
            patch.setattr(os, "unlink", refused)
        check_writable(tmp_path / "a")
    with suppress(ValueError), whole_file(tmp_path / "b"):
        if fails:
            raise ValueError
    assert not files._unfinished
