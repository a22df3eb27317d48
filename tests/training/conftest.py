"""Checkpoints at every iteration, for tests of resumed fits."""

import pytest

from nbsoftmax.training import checkpoint


@pytest.fixture
def at_every_iteration(monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
