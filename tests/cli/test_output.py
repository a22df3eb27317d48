"""What every command prints: help, versions, JSON, warnings and errors."""

import io
import json
import re
import subprocess
import sys
import tomllib
import warnings

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import versions
from nbsoftmax.data import tables
from tests.cli.commands import in_a_process, run
from tests.conftest import REPOSITORY


@pytest.mark.filterwarnings("default")
def test_other_warnings_are_a_line_on_stderr(flowers, tmp_path, capsys, monkeypatch):
    fit = nbs.Trainer.fit

    def fit_with_a_warning(*arguments, **options):
        warnings.warn("of two\nlines", RuntimeWarning, stacklevel=2)
        return fit(*arguments, **options)

    monkeypatch.setattr(nbs.Trainer, "fit", fit_with_a_warning)
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.01
    assert run("fit", flowers[0], *options) == 0
    err = capsys.readouterr().err
    assert err.startswith("nbsoftmax: warning: ")
    assert err.count("\n") == 1


def test_help_loads_nothing_heavy():
    code = "import sys, nbsoftmax.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'numpy', 'numba', 'scipy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "demo" in done.stdout


def test_wrong_input_is_one_line_and_exit_2_in_a_real_process(tmp_path):
    done = in_a_process("predict", tmp_path / "none.npz", tmp_path / "none.csv")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_json_is_what_the_text_says(flowers, model, tmp_path, capsys):
    path, X, y = flowers
    labels = "--target", "species", "--json"

    def said(*arguments):
        assert run(*arguments) == 0
        return json.loads(capsys.readouterr().out)

    fitted = said("fit", path, *labels, "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.01)
    assert fitted["converged"] is True
    assert fitted["solver"] == "newton-cg"
    loaded = nbs.SoftmaxModel.load(model)
    found = said("evaluate", model, path, *labels)
    assert found["accuracy"] == loaded.score(X, y)
    assert np.sum(found["confusion"]) == len(y)
    assert run("predict", model, path, "--top-k", 2, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label_1"] for line in lines] == loaded.predict(X).tolist()
    timed = said("bench", "--samples", 100, "--features", 3, "--classes", 2, "--json")
    assert set(timed) == {"softmax", "loss", "loss + gradient", "predict"}
    assert all(entry["seconds"] > 0 for entry in timed.values())


def test_the_version_is_said_and_without_a_command_there_is_help(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"nbsoftmax {nbs.__version__}\n"
    assert run() == 0
    out, err = capsys.readouterr()
    assert "usage: nbsoftmax" in out
    assert err == ""


def test_versions_of_all_that_matters_are_shown(capsys):
    nbs.show_versions()
    out = capsys.readouterr().out
    for name, value in {
        "nbsoftmax": nbs.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }.items():
        assert f"{name}: {value}" in out
    for name in ("numba", "llvmlite", "scipy", "threadpoolctl", "CPU", "vector", "threads", "BLAS", "scikit-learn"):
        assert f" {name}: " in out
    file = io.StringIO()
    nbs.show_versions(file)
    assert file.getvalue() == out


def test_versions_of_the_packages_of_all_extras_for_users_are_shown():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"test", "dev", "docs", "perf", "test-cuda", "test-gpu"}
    listed = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in listed} - {"nbsoftmax"}
    assert {"pyarrow", "distributed", "numba-cuda"} <= names
    assert names <= {*versions.NEEDED, *versions.OPTIONAL}


def test_versions_name_the_distribution_of_a_package_that_has_several(monkeypatch):
    def version(name):
        if name != "cupy-cuda12x":
            raise versions.PackageNotFoundError
        return "13.0"

    monkeypatch.setattr(versions, "version", version)
    file = io.StringIO()
    nbs.show_versions(file)
    assert " cupy: 13.0 (cupy-cuda12x)\n" in file.getvalue()
    assert " torch: not installed\n" in file.getvalue()


def test_versions_show_environment_variables_that_affect_computations_and_no_others(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    file = io.StringIO()
    nbs.show_versions(file)
    assert " OPENBLAS_NUM_THREADS: 3\n" in file.getvalue()
    assert "hunter2" not in file.getvalue()


@pytest.mark.parametrize(("given", "said"), [(("Unable to allocate 7 TiB",), None), ((), "none is left")])
def test_too_little_memory_is_a_line_and_exit_1(flowers, tmp_path, capsys, monkeypatch, given, said):
    def fail(*_, **__):
        raise MemoryError(*given)

    monkeypatch.setattr(tables, "read", fail)
    assert run("fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz") == 1
    assert capsys.readouterr().err == f"nbsoftmax: there is not enough memory ({said or given[0]})\n"
