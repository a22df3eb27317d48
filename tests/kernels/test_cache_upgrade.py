"""An upgrade of the package never executes code that the previous version compiled."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nbsoftmax as nbs

SIGMOID = """
import numba, numpy as np
from nbsoftmax.kernels.binary import SIGMOID, sigmoid
value = np.zeros(1)
sigmoid(np.array([0, 1]), value, value, 1, SIGMOID)
hits = sum(sigmoid.stats.cache_hits.values())
assert numba.njit(lambda x: hash(x) + np.ones(1)[0])(2.0) == 3.0  # to compile is possible after loading, too
print(round(value[0], 3), "loaded" if hits else "compiled")
"""


TWICE_EXP = """
from nbsoftmax.kernels.runtime.jit import inlined
old_exp = exp_of_difference

@inlined
def exp_of_difference(x, c):
    return 2.0 * old_exp(x, c)
"""


@pytest.fixture
def installed(tmp_path):
    """A copy of the package that can be replaced, and a function that starts a process which uses it."""
    package = tmp_path / "site" / "nbsoftmax"
    shutil.copytree(Path(nbs.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    names = {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",  # Python's own cache does not notice an edit within a second
    }

    def start():
        command = [sys.executable, "-c", SIGMOID]
        return subprocess.Popen(
            command, env=os.environ | names, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return package, start


def output(process):
    printed, errors = process.communicate(timeout=300)
    assert not errors
    return printed.strip()


def test_an_upgrade_that_changes_a_helper_runs_no_old_code_nor_does_the_way_back(installed):
    package, start = installed
    together = [start(), start()]
    assert [output(process) for process in together] == ["0.5 compiled"] * 2
    assert output(start()) == "0.5 loaded"
    vmath = package / "kernels" / "lang" / "vmath.py"  # not the file of the kernel, which calls `exp_of_difference`
    old = vmath.read_text(encoding="utf-8")
    vmath.write_text(old + TWICE_EXP, encoding="utf-8")
    assert output(start()) == "0.333 compiled"
    vmath.write_text(old, encoding="utf-8")
    assert output(start()) == "0.5 loaded"
