"""Names of files: which are refused, and which name an error reports."""

import os

import pytest

import nbsoftmax as nbs
from nbsoftmax import files
from nbsoftmax.files import check_writable
from nbsoftmax.plots import ConvergenceDisplay
from nbsoftmax.training.callbacks import JsonLines, ModelCheckpoint
from tests.files.written import a_model, data, posix

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
@pytest.mark.parametrize(("name", "said"), [("", "path is empty"), ("a\0b.npz", "NUL"), (3, "path is an int")])
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
