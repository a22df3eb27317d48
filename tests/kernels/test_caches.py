"""The size of the second-level cache, from the files of Linux."""

import pytest

from nbsoftmax.kernels.runtime import caches


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "CACHES", tmp_path)
    caches.second_level_bytes.cache_clear()
    yield tmp_path
    caches.second_level_bytes.cache_clear()


def add(folder, index, level, size):
    entry = folder / f"index{index}"
    entry.mkdir()
    (entry / "level").write_text(f"{level}\n")
    (entry / "size").write_text(size)


@pytest.mark.parametrize(("text", "size"), [("512K\n", 2**19), ("2048K\n", 2**21), ("2M\n", 2**21)])
def test_the_second_level_is_found_among_the_others(folder, text, size):
    add(folder, 0, 1, "32K\n")
    add(folder, 1, 1, "48K\n")
    add(folder, 2, 2, text)
    add(folder, 3, 3, "32768K\n")
    assert caches.second_level_bytes() == size


@pytest.mark.parametrize("text", ["", "big\n", "2048\n", "K\n"])
def test_a_size_that_is_not_understood_is_unknown(folder, text):
    add(folder, 2, 2, text)
    assert caches.second_level_bytes() == 0


def test_a_system_without_such_files_has_an_unknown_size(folder):
    assert caches.second_level_bytes() == 0
    (folder / "index2").mkdir()
    caches.second_level_bytes.cache_clear()
    assert caches.second_level_bytes() == 0
