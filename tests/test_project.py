"""What pyproject.toml, the Makefile, the hooks and the workflow say of one another."""

import ast
import os
import platform
import re
import runpy
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
WORKFLOW = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
ARM = REPOSITORY / ".ci" / "arm.py"
oldest = runpy.run_path(str(REPOSITORY / ".ci" / "oldest.py"))["oldest"]


def added_by(*extras):
    return set(oldest(PROJECT, list(extras))) - set(oldest(PROJECT, []))


def test_the_extra_all_has_what_users_need_and_no_tool_of_contributors():
    assert added_by("all") == added_by("sklearn", "plot", "cli", "onnx", "data", "dask", "formula")
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


def test_the_environment_for_arm64_has_what_the_tests_in_it_import():
    installed = {re.match(r"[\w-]+", each)[0].replace("-", "_") for each in runpy.run_path(str(ARM))["requirements"]()}
    (listed,) = re.findall(r"^ARM_TESTS := (.*)", MAKEFILE, re.MULTILINE)
    paths = [REPOSITORY / path for path in listed.split()]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    files += [file for file in (REPOSITORY / "tests").glob("*.py") if not file.name.startswith("test_")]
    assert len(files) > len(paths)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            packages = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
            assert packages <= installed | {"llvmlite", "nbsoftmax", "perf", "tests"}, file


@pytest.mark.skipif(platform.machine().lower() in {"aarch64", "arm64"}, reason="needs no emulator")
@pytest.mark.skipif(os.name != "posix", reason="programs are shell scripts")
@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ([], "apt-get was not found; expected Debian or a system derived from it."),
        (["apt-get", "dpkg"], "cannot download Debian's packages for arm64: E: no network"),
    ],
    ids=["not Debian", "no packages"],
)
def test_an_environment_for_arm64_that_cannot_be_made_is_one_message(programs, message, tmp_path):
    for name in programs:
        (tmp_path / name).write_text("#!/bin/sh\necho E: no network\nexit 100\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    command = [sys.executable, ARM, tmp_path / "folder"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"make test-arm: {message}\n")


def test_the_package_alone_states_the_version():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert PROJECT["dynamic"] == ["version"]
    assert tomllib.loads(text)["tool"]["hatch"]["version"] == {"path": "nbsoftmax/__init__.py"}
    assert "version" not in PROJECT
    assert not re.search(r"^version:", (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
