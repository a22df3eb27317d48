"""Files that change, or are removed, while they are read."""

import os

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import open_files
from tests.data.rows import M, X, Y, table, write
from tests.data.test_open_files import COLUMNS


def test_files_that_changed_since_they_were_opened_are_refused(tmp_path):
    path = write(tmp_path / "t.parquet")
    source = nbs.data.open(path, **COLUMNS)
    list(source.blocks())
    write(path, table().slice(1))
    with pytest.raises(nbs.InputValueError, match=r"t\.parquet has changed"):
        next(source.blocks())


@pytest.mark.parametrize("i", [0, 1])
def test_files_that_change_during_the_last_pass_are_refused(i, tmp_path):
    files = [write(tmp_path / f"{j}.parquet") for j in range(2)]
    blocks = nbs.data.open(tmp_path, batch_rows=300, **COLUMNS).blocks()
    next(blocks)
    os.replace(write(tmp_path / "new.parquet", table(-X)), files[i])
    with pytest.raises(nbs.InputValueError, match=rf"{i}\.parquet has changed since"):
        list(blocks)


def test_a_file_that_is_removed_after_it_was_read_is_no_error(tmp_path):
    path = write(tmp_path / "t.parquet")
    blocks = nbs.data.open(path, batch_rows=300, **COLUMNS).blocks()
    first = next(blocks)
    path.unlink()
    assert len(first.X) + sum(len(block.X) for block in blocks) == M


def test_a_file_that_changes_while_its_labels_are_learned_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "t.csv")
    learn = open_files.ArrowFiles.__init__

    def slow(files, *given):
        learn(files, *given)
        write(path, table(y=np.where(Y == "ant", "bee", Y)))

    monkeypatch.setattr(open_files.ArrowFiles, "__init__", slow)
    with pytest.raises(nbs.InputValueError, match="has changed since"):
        list(nbs.data.open(path, **COLUMNS).blocks())
