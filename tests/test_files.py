"""Files that are written atomically, keep what belonged to the old file, and are read within bounds."""

import errno
import io
import os
import stat
import sys
import threading
import time
import warnings
import zipfile

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import cli, files
from nbsoftmax.files import ABANDONED, NotWrittenWarning, check_writable, whole_file
from nbsoftmax.plots import ConvergenceDisplay, save_picture
from nbsoftmax.training.callbacks import JsonLines, ModelCheckpoint, ProgressBar

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and devices of POSIX")
linux = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")


def write(path, content=b"new"):
    with whole_file(path) as file:
        file.write(content)


def a_model(classes=(0, 1), names=None, training=None):
    k = len(classes)
    return nbs.SoftmaxModel(np.arange(2.0 * k).reshape(k, 2), np.zeros(k), classes, names, training)


def data(m=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, 2))
    return X, (X @ [1.0, -1.0] + rng.logistic(size=m) > 0).astype(int)


# --- what was there -----------------------------------------------------------------------------------


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


@pytest.fixture
def null(tmp_path):
    """A device that takes everything; our own where that is allowed: a fault could replace the system's."""
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
        path.write_bytes(b"")  # fails in a folder without devices
    except OSError:
        return "/dev/null"
    return path


@posix
def test_a_device_is_written_to_and_stays_one(null):
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
@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is reserved by posix_fallocate")
def test_writing_over_a_file_on_a_full_disk_leaves_it_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"longer than before")
    assert path.read_bytes() == b"old"


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"protected")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write it
    for attempt in (write, check_writable):
        with pytest.raises(PermissionError, match=r"'.*m'"):
            attempt(path)
    assert path.read_bytes() == b"protected"


# --- temporary files ----------------------------------------------------------------------------------


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


# --- names ----------------------------------------------------------------------------------------------

SAVERS = {
    "model": lambda path: a_model().save(path),
    "load": nbs.SoftmaxModel.load,
    "plot": ConvergenceDisplay.from_log,
    "onnx": lambda path: a_model().to_onnx(path),
    "log": JsonLines,
    "model so far": ModelCheckpoint,
    "checkpoint": lambda path: nbs.Trainer().fit(*data(), checkpoint=path),
    "resumed": lambda path: nbs.Trainer().fit(*data(), checkpoint=path, resume=True),
}


@pytest.mark.parametrize("use", SAVERS)
@pytest.mark.parametrize(("name", "said"), [("", "path is empty"), ("a\0b.npz", "NUL"), (3, "path is a int")])
def test_what_is_no_name_of_a_file_is_refused_before_the_work(use, name, said):
    with pytest.raises(nbs.InputError, match=said):
        SAVERS[use](name)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("no/m.npz", FileNotFoundError, "the folder of .*m.npz does not exist; create it first"),
        ("new.npz/", IsADirectoryError, "name of a folder"),
        ("folder", IsADirectoryError, "is a folder"),
        ("folder/.", IsADirectoryError, "is a folder"),
        ("file/m.npz", NotADirectoryError, "m.npz"),
        ("loop", OSError, "loop"),
        ("m" * 300, OSError, "m" * 300),
    ],
)
@posix
def test_errors_name_the_file_that_was_meant(tmp_path, name, error, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(os.listdir(tmp_path))
    for attempt in (a_model().save, check_writable):
        with pytest.raises(error, match=said) as raised:
            attempt(f"{tmp_path}/{name}")
        assert "\n" not in str(raised.value)
        assert files.SUFFIX not in str(raised.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_tilde_is_not_expanded_and_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="expanduser"):
        a_model().save("~/m.npz")


# --- full disks -------------------------------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_fit_goes_on_where_the_model_so_far_cannot_be_written(tmp_path, monkeypatch):
    expected = nbs.Trainer(l2=0.1).fit(*data())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(NotWrittenWarning, match=r"model .*m\.npz could not be written .*No space left") as seen:
        result = nbs.Trainer(l2=0.1, callbacks=[ModelCheckpoint(tmp_path / "m.npz", seconds=0)]).fit(*data())
    assert len(seen) == 1
    assert result.model.coef.tobytes() == expected.model.coef.tobytes()
    assert not os.listdir(tmp_path)


@linux
def test_the_fit_goes_on_where_its_log_cannot_be_written():
    with pytest.warns(NotWrittenWarning, match="log /dev/full could not be written") as seen:
        result = nbs.Trainer(l2=0.1, callbacks=[JsonLines("/dev/full")]).fit(*data())
    assert len(seen) == 1
    assert result.converged


def test_a_line_of_the_log_that_fits_only_in_part_is_taken_back(tmp_path):
    """On a disk that is full for a while, every line of the log is whole or not there."""

    class NearlyFull(io.FileIO):
        calls = 0

        def write(self, line):
            NearlyFull.calls += 1
            if NearlyFull.calls == 3:
                return super().write(line[:10])
            return full() if NearlyFull.calls == 4 else super().write(line)

    log = JsonLines(tmp_path / "log")
    setup = log.setup

    def nearly_full(*arguments):
        setup(*arguments)
        log._file.close()
        log._file = NearlyFull(tmp_path / "log", "a")

    log.setup = nearly_full
    with pytest.warns(NotWrittenWarning):
        result = nbs.Trainer(l2=0.1, callbacks=[log]).fit(*data())
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert len(lines) == result.n_iter + 1 - 1
    assert all(line.startswith(b"{") and line.endswith(b"}") for line in lines)


def test_a_fit_goes_on_where_its_progress_cannot_be_shown(monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            full()

    for stream, options in (("stderr", {"callbacks": [ProgressBar()]}), ("stdout", {"verbose": True})):
        terminal = Full()
        with monkeypatch.context() as patch:
            patch.setattr(sys, stream, terminal)
            assert nbs.Trainer(l2=0.1, **options).fit(*data()).converged
        assert "iteration     1" in terminal.getvalue()


def test_a_log_that_cannot_be_opened_is_refused_before_the_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="log"):
        nbs.Trainer(callbacks=[JsonLines(tmp_path / "no" / "log")]).fit(*data())


# --- the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    X, y = data()
    path = tmp_path / "d.csv"
    path.write_text("\n".join(["a,b,c", *(f"{r[0]},{r[1]},{k}" for r, k in zip(X, y, strict=True))]))
    return path


@pytest.fixture
def model(tmp_path):
    a_model(names=["a", "b"]).save(tmp_path / "model.npz")
    return tmp_path / "model.npz"


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def fit(table, out, *options):
    return run("fit", table, "--target", "c", "--l2", 0.1, "--quiet", "--out", out, *options)


def test_the_model_of_a_fit_is_kept_where_out_cannot_be_written(table, tmp_path, capsys, monkeypatch):
    out, kept = tmp_path / "m.npz", tmp_path / "kept"
    out.write_bytes(b"old")
    kept.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kept))
    whole = nbs.SoftmaxModel.save
    monkeypatch.setattr(nbs.SoftmaxModel, "save", lambda self, path: full() if path == out else whole(self, path))
    assert fit(table, out) == 1
    said, err = capsys.readouterr()
    (name,) = kept.iterdir()
    assert f"model: {name}" in said
    assert err == f"nbsoftmax: No space left on device; the model is saved in {name}\n"
    assert nbs.SoftmaxModel.load(name).n_classes == 2
    assert out.read_bytes() == b"old"


def test_a_model_that_nothing_can_hold_is_said_to_be_lost(table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(nbs.SoftmaxModel, "save", full)
    assert fit(table, tmp_path / "m.npz") == 1
    assert "the model is lost" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == before


def test_a_full_disk_is_one_line_and_exit_1_and_old_files_stay(table, model, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("matplotlib")
    outs = {name: tmp_path / name for name in ("p.csv", "p.png", "m.onnx")}
    for out in outs.values():
        out.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    for arguments in (
        ("predict", model, table, "--out", outs["p.csv"]),
        ("plot", "coefficients", model, "--out", outs["p.png"]),
        ("convert", model, outs["m.onnx"]),
    ):
        assert run(*arguments) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"nbsoftmax: {arguments[-1]}: No space left on device\n"
    assert {out.read_bytes() for out in outs.values()} == {b"old"}


@linux
def test_a_log_that_cannot_be_written_costs_no_model(table, tmp_path, capsys):
    out = tmp_path / "m.npz"
    assert fit(table, out, "--log", "/dev/full") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "log /dev/full could not be written" in err
    assert nbs.SoftmaxModel.load(out).n_classes == 2


@linux
def test_an_interrupted_fit_leaves_devices_alone(table, null, tmp_path, capsys, monkeypatch):
    from nbsoftmax.training import callbacks

    class Interrupts:
        def on_fit_task_end(self, trainer, context):
            raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(callbacks, "ProgressBar", Interrupts)
    assert run("fit", table, "--target", "c", "--out", null) == 130
    assert stat.S_ISCHR(os.stat(null).st_mode)
    assert not os.path.exists(f"{null}.partial")
    (kept,) = tmp_path.glob("nbsoftmax-*.npz")
    assert str(kept) in capsys.readouterr().err


def test_an_output_is_no_other_file_of_the_command(table, model, tmp_path, capsys):
    before = table.read_bytes(), model.read_bytes()
    labelled = "fit", table, "--target", "c", "--quiet"
    for arguments in (
        (*labelled, "--out", table),
        (*labelled, "--out", tmp_path / "m.npz", "--checkpoint", tmp_path / "m.npz"),
        (*labelled, "--out", tmp_path / "m.npz", "--log", table),
        ("predict", model, table, "--out", table),
        ("predict", model, table, "--out", model),
        ("cv", table, "--target", "c", "--out", tmp_path / "." / "d.csv"),
    ):
        assert run(*arguments) == 2
        assert "given twice" in capsys.readouterr().err
    assert (table.read_bytes(), model.read_bytes()) == before


def test_an_output_is_no_file_of_weights_or_options(table, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, array in {"X": rng.normal(size=(20, 2)), "y": rng.integers(0, 2, 20), "w": rng.random(20)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    run_toml, weights = tmp_path / "run.toml", tmp_path / "w.npy"
    run_toml.write_text("[fit]\nl2 = 1.0\n", encoding="utf-8")
    before = run_toml.read_bytes(), weights.read_bytes()
    arrays = tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--sample-weight", weights, "--out", weights
    for arguments in (
        ("fit", *arrays),
        ("cv", *arrays),
        ("fit", table, "--target", "c", "--config", run_toml, "--out", run_toml),
        ("fit", table, "--target", "c", "--config", run_toml, "--out", tmp_path / "m.npz", "--log", run_toml),
    ):
        assert run(*arguments) == 2
        assert "given twice" in capsys.readouterr().err
    assert (run_toml.read_bytes(), weights.read_bytes()) == before


@pytest.mark.parametrize("option", ["data", "--checkpoint", "--log"])
def test_an_interrupted_fit_would_overwrite_no_other_file_of_the_command(table, tmp_path, capsys, monkeypatch, option):
    monkeypatch.setattr(nbs.Trainer, "fit", lambda *_, **__: pytest.fail("the fit began"))
    partial = tmp_path / "m.partial.npz"
    if option == "data":
        partial.write_bytes(table.read_bytes())
    words = [partial] if option == "data" else [table, option, partial]
    assert run("fit", *words, "--target", "c", "--out", tmp_path / "m.npz") == 2
    assert f"{partial} is where an interrupted fit saves its model" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--checkpoint", "--log"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(table, tmp_path, capsys, monkeypatch, option):
    monkeypatch.setattr(nbs.Trainer, "fit", lambda *_, **__: pytest.fail("the fit began"))
    for name, said in (("no/x", "the folder of"), ("", "is a folder")):
        outputs = {"--out": tmp_path / "m.npz"} | {option: tmp_path / name}
        words = [word for output in outputs.items() for word in output]
        assert run("fit", table, "--target", "c", *words) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert said in err


def test_a_nul_in_an_argument_or_an_option_of_a_file_is_one_line(table, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text('[fit]\nout = "a\\u0000b"\n')
    for arguments in (
        ("fit", table, "--target", "c", "--out", "a\0b"),
        ("fit", table, "--target", "c", "--config", config),
        ("fit", table, "--config", "a\0b"),
        ("evaluate", "a\0b", table),
    ):
        assert run(*arguments) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "NUL" in err


# --- models and their labels ----------------------------------------------------------------------------------


def string_dtype(*arguments, **options):
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("StringDType is NumPy 2's")
    return np.dtypes.StringDType(*arguments, **options)


LABELS = {
    "small integers": lambda: np.array([1, 2], np.uint8),
    "large unsigned integers": lambda: np.array([2**63, 1], np.uint64),
    "big-endian integers": lambda: np.array([1, 2], ">i8"),
    "Python integers": lambda: np.array([1, 2], object),
    "large Python integers": lambda: [2**63 + 1, 1],
    "large Python integers as objects": lambda: np.array([2**63, 1], object),
    "booleans": lambda: [True, False],
    "floats": lambda: [1.0, 2.0],
    "half precision": lambda: np.array([1, 2], np.float16),
    "long double": lambda: np.array([1, 2], np.longdouble),
    "big-endian floats": lambda: np.array([1, 2], ">f4"),
    "text": lambda: ["émeu", "b"],
    "big-endian text": lambda: np.array(["a", "b"], ">U3"),
    "text as objects": lambda: np.array(["a", "b"], object),
    "bytes": lambda: np.array([b"a", "é".encode()]),
    "StringDType": lambda: np.array(["b", "émeu"], string_dtype()),
    "StringDType with NULs": lambda: np.array(["a", "a\0"], string_dtype()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_every_label_that_a_model_takes_comes_back_from_its_file(tmp_path, kind):
    model = a_model(LABELS[kind](), names=("a", "a\0"))
    model.save(tmp_path / "m.npz")
    again = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert again.classes.dtype == model.classes.dtype
    assert again.classes.tolist() == model.classes.tolist()
    assert again.classes.tolist() == [label for label in np.array(LABELS[kind](), object)]
    assert again.feature_names == ("a", "a\0")


@pytest.mark.parametrize("kind", LABELS)
def test_every_label_that_a_model_takes_comes_out_of_onnx(tmp_path, kind):
    runtime = pytest.importorskip("onnxruntime")
    model = a_model(LABELS[kind]())
    model.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    X = np.array([[1.0, 1.0], [-1.0, -1.0]], np.float32)
    expected = [label.decode() if isinstance(label, bytes) else label for label in model.predict(X).tolist()]
    assert len(set(expected)) == 2
    assert np.asarray(session.run(["label"], {"X": X})[0]).tolist() == expected


@pytest.mark.parametrize(
    "classes",
    [
        lambda: np.array(["a", 1], object),
        lambda: np.array(["2020-01-01", "2021-01-01"], "M8[D]"),
        lambda: np.array([(1,), (2,)], [("a", int)]),
        lambda: np.array([b"a", b"b"], "V1"),
        lambda: [2**64, 1],
        lambda: [2**63, 2**63 + 1, -1],  # NumPy makes floats of them, of which two are the same
        lambda: np.array([-(2**63) - 1, 1], object),
        lambda: np.array(["a", None], string_dtype(na_object=None)),
        lambda: np.array(["a", np.nan], string_dtype(na_object=np.nan)),
    ],
)
def test_labels_that_no_file_can_hold_are_refused_at_once(classes):
    for use in (a_model, lambda y: nbs.Trainer().fit(np.eye(len(y)), y)):
        with pytest.raises(nbs.InputError) as raised:
            use(classes())
        assert "\n" not in str(raised.value)


def test_what_onnx_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    pytest.importorskip("onnx")
    for classes in ([b"a", b"\xff"], ["a", "\ud800"]):
        with pytest.raises(nbs.InputValueError, match="no UTF-8"):
            a_model(np.array(classes)).to_onnx(tmp_path / "m.onnx")
    assert not os.listdir(tmp_path)


def test_a_good_model_stays_where_another_cannot_be_saved(tmp_path):
    path = tmp_path / "m.npz"
    a_model().save(path)
    before = path.read_bytes()
    for odd in ({"x": np.float32(1)}, {"x": object()}, {(1, 2): 3}):
        with pytest.raises(nbs.InputTypeError, match="training cannot be written as JSON"):
            a_model(training=odd).save(path)
    with pytest.raises(nbs.InputTypeError, match="a has dtype object"):
        files.write_npz(path, {"a": np.array([{}])})
    assert path.read_bytes() == before


# --- bounds on reading ------------------------------------------------------------------------------------------


def header(shape, dtype):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue()


def damaged(good, name, content, path, compression=zipfile.ZIP_STORED):
    """A copy of an archive with one member replaced."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", compression) as new:
        for member in old.namelist():
            new.writestr(member, content if member == name else old.read(member))
    return path


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((10**11, 2), "<f8"), ((2, 10**18), "<f8"), ((-1, 2), "<f8"), ((10**12,), "<U0"), ((3, 2), "<f8"), ((2,), "|O")],
)
def test_a_header_that_asks_for_more_than_there_is_is_refused(tmp_path, shape, dtype):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    a_model().save(good)
    damaged(good, "coef.npy", header(shape, dtype) + bytes(32), bad)
    with pytest.raises(nbs.InputValueError, match=r"bad\.npz is no model, or a damaged one") as raised:
        nbs.SoftmaxModel.load(bad)
    assert "allow_pickle" not in str(raised.value)


def test_a_small_file_that_unpacks_to_a_huge_model_is_refused(tmp_path, monkeypatch):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    a_model().save(good)
    damaged(good, "coef.npy", header((2, 10**5), "<f8") + bytes(16 * 10**5), bad, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(files, "ALWAYS", 10**5)
    with pytest.raises(nbs.InputValueError, match="would unpack to"):
        nbs.SoftmaxModel.load(bad)
    nbs.SoftmaxModel.load(good)


def test_a_compressed_copy_of_a_model_is_still_read(tmp_path):
    good, packed = tmp_path / "good.npz", tmp_path / "packed.npz"
    a_model().save(good)
    with np.load(good) as file:
        np.savez_compressed(packed, **file)
    assert np.array_equal(nbs.SoftmaxModel.load(packed).coef, a_model().coef)


def test_other_files_are_no_models_and_the_message_says_what_they_are(tmp_path):
    path = tmp_path / "bad.npz"
    X, y = data()
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c.npz")
    np.save(tmp_path / "a.npy", X)
    a_model().save(tmp_path / "good.npz")
    damaged(tmp_path / "good.npz", "format.npy", npy("nbsoftmax model 99"), tmp_path / "new.npz")
    with zipfile.ZipFile(tmp_path / "w.docx", "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    contents = {
        "it is empty": b"",
        "it is not a .npz file": b"some text, and no model\n",
        "it is a .npy file with a single array": (tmp_path / "a.npy").read_bytes(),
        "not a zip file": (tmp_path / "c.npz").read_bytes()[:200],
        "'nbsoftmax model 99'": (tmp_path / "new.npz").read_bytes(),
        "no model but the checkpoint of a fit; resume the fit": (tmp_path / "c.npz").read_bytes(),
        "is no model of this library": (tmp_path / "w.docx").read_bytes(),
    }
    for said, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(nbs.InputValueError, match=r"bad\.npz is no model") as raised:
            nbs.SoftmaxModel.load(path)
        assert said in str(raised.value)
        assert "allow_pickle" not in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(IsADirectoryError):
        nbs.SoftmaxModel.load(tmp_path)


def npy(value):
    file = io.BytesIO()
    np.save(file, np.asarray(value))
    return file.getvalue()


def test_a_checkpoint_is_read_within_bounds_too(tmp_path):
    path, bad = tmp_path / "c.npz", tmp_path / "bad.npz"
    X, y = data()
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=path)
    damaged(path, "params.npy", header((10**11, 3), "<f8") + bytes(48), bad)
    with pytest.raises(nbs.InputValueError, match="no checkpoint, or a damaged one"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=bad, resume=True)


def test_data_are_read_within_bounds_too(tmp_path):
    from nbsoftmax.data import arrays

    X = data()[0]
    np.savez(tmp_path / "good.npz", X=X)
    bad = damaged(tmp_path / "good.npz", "X.npy", header((10**11, 2), "<f8") + bytes(32), tmp_path / "bad.npz")
    (tmp_path / "bad.npy").write_bytes(header((10**11, 2), "<f8") + bytes(32))
    (tmp_path / "text.npy").write_text("a,b\n1,2\n")
    np.save(tmp_path / "good.npy", X)
    for read in (
        lambda: arrays.read_npz(bad, target=None),
        lambda: arrays.read_npy(tmp_path / "bad.npy"),
        lambda: arrays.read_npy(tmp_path / "text.npy"),
    ):
        with pytest.raises(nbs.InputValueError, match="NumPy file") as raised:
            read()
        assert "allow_pickle" not in str(raised.value)
    assert np.array_equal(arrays.read_npy(tmp_path / "good.npy"), X)
    assert np.array_equal(arrays.read_npz(tmp_path / "good.npz", target=None)[0], X)


# --- pictures ---------------------------------------------------------------------------------------------------


def test_pictures_are_written_atomically_in_every_format(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure((1, 1))
    from nbsoftmax.plots import FORMATS

    for ending in FORMATS:
        save_picture(figure, tmp_path / f"p.{ending.upper()}", dpi=30)
        assert (tmp_path / f"p.{ending.upper()}").stat().st_size > 0
    assert len(os.listdir(tmp_path)) == len(FORMATS)
    for name in ("p", "p.gif", "p.txt", ".png"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(nbs.InputValueError, match=r"expected one of \.png, \.svg, \.pdf"):
                save_picture(figure, tmp_path / name, dpi=30)
