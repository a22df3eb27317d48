"""A small data set of flowers in a CSV file, and a model that `fit` has saved."""

import numpy as np
import pytest

from tests.cli.commands import SPECIES, run


@pytest.fixture
def flowers(tmp_path):
    """A CSV of three species and two measures; returns (path, X, labels)."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    X = np.round(rng.normal(size=(90, 2)) + 3 * y[:, None], 3)
    path = tmp_path / "flowers.csv"
    lines = ["length,width,species", *(f"{a},{b},{SPECIES[k]}" for (a, b), k in zip(X, y, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, X, SPECIES[y]


@pytest.fixture
def model(flowers, tmp_path, capsys):
    """A model trained on the flowers by the command line."""
    path = tmp_path / "model.npz"
    assert run("fit", flowers[0], "--target", "species", "--out", path, "--l2", 0.01, "--quiet") == 0
    capsys.readouterr()
    return path
