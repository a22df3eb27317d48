"""What the README and the pages of docs/ say: the two commands are what they are said to be, and the Python runs."""

import importlib
import os
import pydoc
import re
import runpy
import shutil
import subprocess

import pytest

import nbsoftmax as nbs
from nbsoftmax.cli.parser import build_parser
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


DOCS = REPOSITORY / "docs"
# Prose, and shell commands. The pages of the reference show docstrings.
WITHOUT_CODE = {DOCS / name for name in ("architecture.md", "command-line.md", "containers.md")}
PAGES = sorted(set(DOCS.glob("*.md")) - WITHOUT_CODE)
GENERATED = {"reference/command-line.md", "changelog.md"}  # by docs/hooks, when the site is built
MODULES = (
    "nbsoftmax",
    "nbsoftmax.callbacks",
    "nbsoftmax.dask",
    "nbsoftmax.data",
    "nbsoftmax.plots",
    "nbsoftmax.testing",
)


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


@pytest.mark.filterwarnings("ignore:60 of 3000 rows have missing values and are left out")  # which inference.md says
@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_the_python_blocks_of_the_docs_run_one_after_the_other(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(path.read_text(encoding="utf-8"))
    assert len(blocks) > 1
    exec(compile("\n".join(blocks), str(path), "exec"), {"__name__": "__main__"})  # as in a script


def test_the_page_about_clusters_is_a_script_that_workers_can_import():
    blocks = python_blocks((DOCS / "cluster.md").read_text(encoding="utf-8"))
    exec("\n".join(blocks), {"__name__": "__mp_main__"})  # as each worker does; only the first process starts workers


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_one_page_of_the_reference(module):
    texts = [path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md")]
    listed = [name for text in texts for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)]
    assert len(listed) == len(set(listed))
    public = {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    assert public - set(MODULES) <= set(listed)
    for name in listed:
        assert pydoc.locate(name) is not None, name


def test_the_navigation_names_every_page_once():
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | GENERATED
    pages |= {path.relative_to(DOCS).with_suffix(".md").as_posix() for path in DOCS.rglob("*.ipynb")}
    named = re.findall(r": ([\w/-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(named) == sorted(pages)


def test_the_page_of_the_command_line_has_every_command_and_option():
    pytest.importorskip("mkdocs")
    page = runpy.run_path(str(DOCS / "hooks" / "command_line.py"))["page"]()
    for name, parser in build_parser()[1].items():
        section = page.partition(f"## nbsoftmax {name}\n")[2].partition("\n## ")[0]
        for action in parser._actions:
            assert action.help, (name, action.dest)
            for option in action.option_strings or [action.metavar or action.dest]:
                assert f"`{option}`" in section, (name, option)


def test_the_reference_shows_the_defaults_of_the_signatures_and_whole_types():
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions("dataclasses", str(DOCS / "hooks" / "docstrings.py"))
    paths = [str(REPOSITORY)]
    package = griffe.load("nbsoftmax", search_paths=paths, extensions=extensions, docstring_parser="numpy")
    checked = 0
    for name in nbs.__all__:
        documented = package[name].final_target if package[name].is_alias else package[name]
        for callable_ in (documented, *(member for member in documented.members.values() if member.is_function)):
            if not (callable_.is_class or callable_.is_function) or callable_.docstring is None:
                continue
            defaults = {parameter.name: str(parameter.default) for parameter in callable_.parameters}
            for section in callable_.docstring.parsed:
                if section.kind is griffe.DocstringSectionKind.parameters:
                    for parameter in (p for p in section.value if not p.name.startswith("*")):
                        assert str(parameter.value) == defaults[parameter.name], (callable_.path, parameter.name)
                        assert not set("{}`") & set(str(parameter.annotation)), (callable_.path, parameter.name)
                        checked += 1
    assert checked > 100


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
