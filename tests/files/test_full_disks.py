"""A fit goes on where its model, log or progress cannot be written."""

import io
import os
import sys

import pytest

import nbsoftmax as nbs
from nbsoftmax.files import NotWrittenWarning
from nbsoftmax.training.callbacks import JsonLines, ModelCheckpoint, ProgressBar
from tests.files.written import data, full, linux


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

    for options in ({"callbacks": [ProgressBar()]}, {"verbose": True}):
        terminal = Full()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal)
            assert nbs.Trainer(l2=0.1, **options).fit(*data()).converged
        assert "iteration     1" in terminal.getvalue()


def test_a_log_that_cannot_be_opened_is_refused_before_the_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="log"):
        nbs.Trainer(callbacks=[JsonLines(tmp_path / "no" / "log")]).fit(*data())
