"""Run tests with every supported Python of this machine: python .ci/matrix.py FOLDER [VERSION ...].

For each supported version of Python that is found, with the newest versions of all dependencies, and for the oldest one
also with the oldest versions that pyproject.toml allows. Each combination has an environment of its own in FOLDER. A
version that is not installed here is one line, and no failure; CI has all of them.

An interpreter is found as python3.X on the path, in pyenv, or by uv.
"""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The tests that depend most on versions: each dependency and Python feature is used by one of them. `make test-oldest`
# and CI run all tests.
TESTS = (
    "tests/test_import.py",
    "tests/test_security.py",
    "tests/files",
    "tests/kernels/test_cache.py",  # Numba's internals
    "tests/kernels/test_threads.py",
    "tests/functional",
    "tests/validation/test_frames.py",  # pandas, polars, pyarrow
    "tests/data/test_columnar.py",
    "tests/encoding/test_encoding.py",
    "tests/cluster/test_estimator.py",  # Dask
    "tests/estimators/test_checks.py",  # scikit-learn
    "tests/models/test_model.py",
    "tests/models/test_onnx.py",  # onnx, onnxruntime
    "tests/models/test_inference.py",  # statsmodels
    "tests/plots/test_plots.py",  # matplotlib
    "tests/cli/test_output.py",
)


def supported():
    """The supported versions of Python, for example "3.11", oldest first."""
    return re.findall(r":: Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))


def candidates(version):
    """Possible interpreters of a version, the most likely first."""
    yield shutil.which(f"python{version}")
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    if shutil.which("uv"):
        command = ["uv", "python", "find", "--offline", version]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        yield done.stdout.strip() if done.returncode == 0 else None


def interpreter(version):
    """An interpreter of this version that runs and can create virtual environments; None if there is none."""
    code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in candidates(version):
        if path:
            done = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.strip() == version:
                return str(path)
    return None


def combinations(versions):
    """(version of Python, whether with the oldest dependencies)."""
    oldest = supported()[0]
    return [(version, old) for version in versions for old in ((True, False) if version == oldest else (False,))]


def install(python, folder, oldest):
    """Make an environment; its Python, or the last line of what went wrong."""
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    own = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [own, "-m", "pip", "install", "--quiet", "--editable", f"{REPOSITORY}[all,test]"]
    if oldest:
        bounds = runpy.run_path(str(REPOSITORY / ".ci" / "oldest.py"))["oldest"](PROJECT, ["all", "test"])
        (folder / "constraints.txt").write_text("\n".join(f"{name}=={bound}" for name, bound in bounds.items()))
        command += ["--constraint", folder / "constraints.txt"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")] or done.stdout.splitlines()
        return None, errors[-1]
    return own, ""


def run(version, oldest, folder):
    """Run the tests in one combination; one line about it, and whether it is no failure."""
    title = f"Python {version}, {'oldest' if oldest else 'newest'} dependencies"
    found = interpreter(version)
    if found is None:
        return f"{title}: skipped, not installed here", True
    print(f"\n{title}", flush=True)
    python, error = install(found, folder / f"{version}-{'oldest' if oldest else 'newest'}", oldest)
    if python is None:
        return f"{title}: the dependencies cannot be installed: {error}", False
    command = [python, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "not slow", "-p", "no:cacheprovider"]
    code = subprocess.run([*command, *TESTS], cwd=REPOSITORY, check=False).returncode
    return f"{title}: {'passed' if code == 0 else 'FAILED'}", code == 0


def main(folder, versions):
    """Run all combinations; exit code 1 if one failed."""
    unknown = sorted(set(versions) - set(supported()))
    if unknown:
        sys.exit(f"make test-matrix: {', '.join(unknown)} is not supported; expected {', '.join(supported())}")
    results = [run(version, oldest, folder) for version, oldest in combinations(versions or supported())]
    print("\n" + "\n".join(line for line, _ in results))
    sys.exit(not all(passed for _, passed in results))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
