"""What the README and the pages of docs/ say: the two commands are what they are said to be, and the Python runs."""

import os
import pydoc
import re
import shutil
import subprocess

import pytest

import nbsoftmax as nbs
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


# Docstrings, prose, and shell commands.
WITHOUT_CODE = {REPOSITORY / "docs" / name for name in ("api.md", "architecture.md", "command-line.md")}
PAGES = sorted(set((REPOSITORY / "docs").glob("*.md")) - WITHOUT_CODE)


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_python_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(README)
    assert len(blocks) == 1
    names = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    assert (tmp_path / "digits.npz").exists()
    assert names["result"].converged


def test_the_ratios_are_those_of_the_pages_of_results(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    from perf import summary

    assert summary.block() in README


def test_the_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]*))?\)", README)
    assert len(links) > 20
    for path, section in links:
        assert (REPOSITORY / path).exists(), path
        if section:
            titles = re.findall(r"^#+ (.*)$", (REPOSITORY / path).read_text(encoding="utf-8"), re.MULTILINE)
            assert section in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, section


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_the_python_blocks_of_the_docs_run_one_after_the_other(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(path.read_text(encoding="utf-8"))
    assert len(blocks) > 1
    exec(compile("\n".join(blocks), str(path), "exec"), {"__name__": "__main__"})  # as in a script


def test_every_public_name_is_in_the_reference():
    listed = set(re.findall(r"^::: nbsoftmax\.([\w.]+)$", (REPOSITORY / "docs" / "api.md").read_text(), re.MULTILINE))
    assert set(nbs.__all__) <= listed
    for name in listed:
        assert pydoc.locate(f"nbsoftmax.{name}") is not None, name


def test_every_page_is_in_the_navigation():
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (REPOSITORY / "docs").glob("*.md"):
        assert f": {path.name}\n" in navigation


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("target", "command"), [("demo", "nbsoftmax demo"), ("test", "pytest"), ("lint", "mypy")])
def test_make_sets_up_its_own_environment_and_runs_what_the_readme_says(target, command):
    assert f"make {target}" in README + (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    # Without the variables that a make above this test has set.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command_line = ["make", "--dry-run", "--always-make", target]
    steps = subprocess.run(command_line, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True).stdout
    assert "-m venv .venv" in steps
    assert "pip install" in steps
    assert command in steps.splitlines()[-1]
