"""Use an installed nbsoftmax as its documentation says: python -I use_installed.py VERSION README PART...

Run by `.ci/release.py` in an empty folder. The parts: `versions`; `demo`; `doctests` of all modules; `first-block`, the
first Python of the README; `readme`, all its Python and its commands. Any failure ends with an exit code that is not 0.
"""

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

import nbsoftmax as nbs

VERSION, README, *PARTS = sys.argv[1:]
TEXT = Path(README).read_text(encoding="utf-8")
COMMAND = Path(sys.executable).parent / ("nbsoftmax.exe" if os.name == "nt" else "nbsoftmax")
NOT_IMPORTED = ("nbsoftmax.kernels.cuda", "nbsoftmax.testing")  # they need numba-cuda, hypothesis


def command(*words):
    """Run nbsoftmax; its exit code must be 0."""
    print("$ nbsoftmax", *words, flush=True)
    subprocess.run([COMMAND, *words], check=True)


def versions():
    """The version is the one that was built, and the package is the installed one."""
    assert nbs.__version__ == VERSION, (nbs.__version__, VERSION)
    assert Path(nbs.__file__).is_relative_to(sys.prefix), nbs.__file__
    nbs.show_versions()
    command("--version")


def demo():
    """The demo writes its model."""
    command("demo", "--out", "demo")
    assert nbs.SoftmaxModel.load("demo/digits-model.npz").n_classes == 10


def doctests():
    """Examples in docstrings print what they say."""
    attempted = 0
    for module in pkgutil.walk_packages(nbs.__path__, "nbsoftmax."):
        if module.name.startswith(NOT_IMPORTED) or module.name.endswith("__main__"):
            continue
        found = doctest.testmod(importlib.import_module(module.name))
        assert not found.failed, module.name
        attempted += found.attempted
    assert attempted, "there are no doctests"
    print(f"{attempted} examples in docstrings passed")


def blocks():
    """The Python of the README."""
    found = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert found, "the README has no Python"
    return found


def first_block():
    """The first block runs without extras."""
    exec(compile(blocks()[0], "README.md", "exec"), {})
    print("the README's first block ran")


def readme():
    """All blocks run one after the other, and then the commands, on files such as it describes."""
    names = {}
    for block in blocks():
        exec(compile(block, "README.md", "exec"), names)
    print(f"{len(blocks())} blocks of the README ran")
    rng = np.random.default_rng(0)
    X = np.round(rng.normal(size=(90, 4)), 3)
    species = np.array(["setosa", "versicolor", "virginica"])[(X[:, 0] > -0.5).astype(int) + (X[:, 1] > 0.5)]
    header = "sepal_length,sepal_width,petal_length,petal_width"
    rows = [",".join(map(str, row)) for row in X]
    labelled = [f"{row},{label}" for row, label in zip(rows, species, strict=True)]
    Path("flowers.csv").write_text("\n".join([f"{header},species", *labelled]), encoding="utf-8")
    Path("new.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    lines = re.findall(r"^(?:    |\$ )nbsoftmax (.+)$", TEXT, re.MULTILINE)
    assert lines, "the README has no commands"
    for line in lines:
        command(*shlex.split(line, comments=True))


if __name__ == "__main__":
    known = {"versions": versions, "demo": demo, "doctests": doctests, "first-block": first_block, "readme": readme}
    for part in PARTS:
        known[part]()
