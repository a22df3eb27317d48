"""A folder for compiled code that is empty at the start of a test."""

import pytest

from nbsoftmax.kernels.runtime import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for this state of the sources."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "nbsoftmax-now")
    return tmp_path / "nbsoftmax-now"
