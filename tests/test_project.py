"""What pyproject.toml, the Makefile, the hooks and the workflow say of one another."""

import ast
import re
import runpy
import tomllib

import pytest

from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
WORKFLOW = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
oldest = runpy.run_path(str(REPOSITORY / ".ci" / "oldest.py"))["oldest"]


def added_by(*extras):
    return set(oldest(PROJECT, list(extras))) - set(oldest(PROJECT, []))


def test_the_extra_all_has_what_users_need_and_no_tool_of_contributors():
    assert added_by("all") == added_by("sklearn", "plot", "cli", "onnx")
    assert added_by("dev") == added_by("test") | {"ruff", "mypy", "pre-commit"}
    assert not added_by("all") & {"pytest", "hypothesis", "ruff", "mypy", "pre-commit"}


def test_the_oldest_versions_are_the_lower_bounds_also_of_extras_that_name_others():
    project = {
        "name": "a",
        "dependencies": ["b>=1.2"],
        "optional-dependencies": {"one": ["c.d[e]>=3,<4"], "two": ["a[one]", "f-g>=5.0.1"]},
    }
    assert oldest(project, []) == {"b": "1.2"}
    assert oldest(project, ["two"]) == {"b": "1.2", "c.d": "3", "f-g": "5.0.1"}


@pytest.mark.parametrize("requirement", ["b", "b<2", "b==1", "b>1"])
def test_a_dependency_without_a_lower_bound_is_refused_by_name(requirement):
    with pytest.raises(ValueError, match=f"'{requirement}' has no lower bound"):
        oldest({"name": "a", "dependencies": [requirement]}, [])


def test_the_workflow_runs_every_supported_python():
    minors = [int(minor) for minor in re.findall(r":: Python :: 3\.(\d+)", "\n".join(PROJECT["classifiers"]))]
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"
    assert minors == list(range(minors[0], minors[-1] + 1))
    (tested,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert tested == ", ".join(f'"3.{minor}"' for minor in minors)


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".github/pull_request_template.md", ".ci/run"])
def test_every_make_target_that_is_named_exists(path):
    named = re.findall(r"\bmake ([a-z-]+)", (REPOSITORY / path).read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_the_hooks_run_the_commands_of_make_lint():
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"exec (.*)'", hooks) == re.findall(r"\$\(BIN\)/(.*)", recipe)


def test_without_make_the_workflow_installs_what_the_makefile_does():
    (extras,) = re.findall(r'--editable "(.*)"', WORKFLOW)
    assert f"--editable '{extras}'\n\ttouch $@ .venv/demo" in MAKEFILE  # the recipe of .venv/test


def test_benchmarks_and_the_package_import_no_tests():
    files = [path for folder in ("nbsoftmax", "perf") for path in (REPOSITORY / folder).rglob("*.py")]
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.partition(".")[0] == "tests" for name in names), path


def test_the_package_alone_states_the_version():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert PROJECT["dynamic"] == ["version"]
    assert tomllib.loads(text)["tool"]["hatch"]["version"] == {"path": "nbsoftmax/__init__.py"}
    assert "version" not in PROJECT
    assert not re.search(r"^version:", (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
