"""What type checkers say of calls from outside: `mypy` accepts one file of right uses and refuses wrong ones."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("mypy")

RIGHT = """
from typing import assert_type

import numpy as np
import nbsoftmax as nbs
from nbsoftmax.functional import Reduction
from nbsoftmax.validation import Floats

z, y = np.zeros((2, 3)), np.array([0, 1])
assert_type(nbs.cross_entropy(z, y), float)
assert_type(nbs.cross_entropy(z, y, reduction="sum", label_smoothing=0.1), float)
assert_type(nbs.cross_entropy(z, y, reduction="none", sample_weight=[1.0, 2.0]), Floats)
assert_type(nbs.cross_entropy_and_grad(z, y), tuple[float, Floats])
assert_type(nbs.cross_entropy_and_grad(z, y, reduction="none", out=z), tuple[Floats, Floats])
assert_type(nbs.binary_cross_entropy(z[0], y), float)
assert_type(nbs.binary_cross_entropy(z[0], y, reduction="none"), Floats)
assert_type(nbs.binary_cross_entropy_and_grad(z[0], y, reduction="mean"), tuple[float, Floats])


def any_reduction(reduction: Reduction) -> None:
    assert_type(nbs.cross_entropy(z, y, reduction=reduction), float | Floats)
    assert_type(nbs.binary_cross_entropy(z, y, reduction=reduction), float | Floats)
"""
WRONG = """
import nbsoftmax as nbs

nbs.cross_entropy([0.0, 1.0], 0, reduction="average")  # line 4
nbs.cross_entropy([0.0, 1.0], 0, smoothing=0.1)  # line 5
loss: float = nbs.cross_entropy([[0.0, 1.0]], [0], reduction="none")  # line 6
"""


def mypy(path, source):
    path.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(REPOSITORY / ".mypy_cache" / "types")]
    done = subprocess.run([*command, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if f"{path.name}:" in line and "error:" in line]


def test_the_type_of_a_loss_follows_from_its_reduction(tmp_path):
    assert mypy(tmp_path / "right.py", RIGHT) == []


def test_wrong_calls_of_a_loss_are_refused_by_mypy(tmp_path):
    errors = mypy(tmp_path / "wrong.py", WRONG)
    assert {line.split(":")[1] for line in errors} == {"4", "5", "6"}
