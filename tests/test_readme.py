"""What the README says: its two commands are what they are said to be, and its Python runs."""

import os
import re
import shutil
import subprocess

import pytest

from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "model.npz").exists()
    assert names["result"].converged
    assert names["product"].shape == names["objective"].shape


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("target", "command"), [("demo", "nbsoftmax demo"), ("test", "pytest"), ("lint", "mypy")])
def test_make_sets_up_its_own_environment_and_runs_what_the_readme_says(target, command):
    assert f"make {target}" in README
    # Without the variables that a make above this test has set.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command_line = ["make", "--dry-run", "--always-make", target]
    steps = subprocess.run(command_line, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True).stdout
    assert "-m venv .venv" in steps
    assert "pip install" in steps
    assert command in steps.splitlines()[-1]
