"""Functions that run a command in this process or in a new one."""

import subprocess
import sys

import numpy as np
import pytest

from nbsoftmax import cli

SPECIES = np.array(["setosa", "versicolor", "virginica"])


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def refused(capsys, *arguments):
    """Run a command that must fail on its input; return its one line."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nbsoftmax: ")
    assert err.count("\n") == 1
    return err


def in_a_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "nbsoftmax", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def misused(capsys, *arguments):
    """Run a command whose options are wrong; return its one line."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nbsoftmax")
    assert err.count("\n") == 1
    return err
