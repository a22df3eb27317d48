"""The conda recipe says what pyproject.toml says."""

import re
import tomllib

import pytest

import nbsoftmax as nbs
from tests.conftest import REPOSITORY

yaml = pytest.importorskip("yaml")  # Dask, mkdocs and pre-commit install it
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
RECIPE = yaml.safe_load((REPOSITORY / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
OTHER_NAMES = {"matplotlib": "matplotlib-base"}  # conda-forge's matplotlib also installs Qt


def bounds(requirements):
    """Packages and their conditions, as conda writes them: "name >=version"."""
    found = [re.fullmatch(r"([\w-]+)(>=[\w.]+)", requirement) for requirement in requirements]
    assert all(found)
    return {f"{OTHER_NAMES.get(each[1], each[1])} {each[2]}" for each in found}


def rendered(text):
    """A text of the recipe with the variables of its context."""
    return re.sub(r"\$\{\{ (\w+) \}\}", lambda found: RECIPE["context"].get(found[1], found[0]), text)


def test_the_version_and_the_name_are_those_of_the_package():
    assert RECIPE["context"]["version"] == nbs.__version__
    assert RECIPE["context"]["name"] == PROJECT["project"]["name"]
    assert (REPOSITORY / "conda" / RECIPE["source"]["path"] / "pyproject.toml").exists()


def test_the_dependencies_are_those_of_the_package():
    needs = PROJECT["project"]["requires-python"]
    assert {rendered(each) for each in RECIPE["requirements"]["run"]} == {
        f"python {needs}",
        *bounds(PROJECT["project"]["dependencies"]),
    }


def test_the_constraints_are_those_of_the_extras_for_users():
    extras = PROJECT["project"]["optional-dependencies"]
    (names,) = re.findall(r"\[(.*)\]", extras["all"][0])
    expected = bounds(requirement for name in names.split(",") for requirement in extras[name])
    assert set(RECIPE["requirements"]["run_constraints"]) == expected


def test_it_is_built_by_the_backend_of_the_package_on_the_oldest_python():
    needs = PROJECT["project"]["requires-python"].removeprefix(">=")
    host = {rendered(each) for each in RECIPE["requirements"]["host"]}
    assert host == {f"python {needs}.*", "pip", *bounds(PROJECT["build-system"]["requires"])}
    assert RECIPE["build"]["noarch"] == "python"


def test_the_description_the_licence_and_the_command_are_those_of_the_package():
    project = PROJECT["project"]
    assert RECIPE["about"]["summary"] == project["description"]
    assert RECIPE["about"]["license"] == project["license"]
    assert RECIPE["about"]["license_file"] == project["license-files"]
    assert all((REPOSITORY / name).is_file() for name in RECIPE["about"]["license_file"])
    commands = [f"{name} = {where}" for name, where in project["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == commands
