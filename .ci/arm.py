"""Make a folder with Python and the dependencies of the tests for arm64: python .ci/arm.py FOLDER, on Debian.

    FOLDER/usr/bin/python   runs arm64's Python in the emulator, with this repository on its path

Python and the emulator come from Debian's package lists of this machine, the rest from the wheels for Linux on arm64.
Nothing outside the folder changes: apt-get keeps its lists and downloads in it, packages are unpacked and not
installed, and no administrator rights are needed.
"""

import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("python3:arm64", "libstdc++6:arm64", "libgomp1:arm64", "qemu-user-static")
# What the selected tests need of the extra `test`; its other packages have large wheels.
TEST_PACKAGES = ("pytest", "hypothesis", "pytest-xdist", "mpmath")
# Minor versions of glibc 2 that wheels may need: all since arm64 has wheels, up to Debian 12's.
GLIBC = range(17, 37)
# A common CPU without SVE; newer models compute pointer authentication, which is slow to emulate.
CPU = "neoverse-n1"
WRAPPER = """\
#!/bin/sh
exec "{emulator}" -cpu {cpu} -L "{folder}" -0 "$0" "{python}" "$@"
"""


def stop(message):
    """End with one line."""
    sys.exit(f"make test-arm: {message}")


def run(command, task):
    """Run a command; stop with the last line of its output if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        reason = (done.stdout.splitlines() or [f"exit status {done.returncode}"])[-1]
        stop(f"cannot {task}: {reason}")


def unpack_packages(folder):
    """Download and unpack Python for arm64 and the emulator, with all packages that they need."""
    apt = folder / "apt"
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()  # no package is installed
    options = {
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "root",  # of no effect for other users
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
    }
    command = ["apt-get", *(f"--option={name}={value}" for name, value in options.items())]
    # Some of the sources may have no packages for arm64. If a package is missing, the next command says so.
    subprocess.run([*command, "update"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    download = [*command, "install", "--download-only", "--no-install-recommends", "--yes", *PACKAGES]
    run(download, "download Debian's packages for arm64")
    for package in sorted((apt / "archives").glob("*.deb")):
        if package.name.startswith("qemu-user") or package.name.endswith("_arm64.deb"):
            run(["dpkg", "-x", package, folder], f"unpack {package.name}")
    shutil.rmtree(apt)


def binary(folder, pattern):
    """The program in the unpacked packages whose name matches the pattern."""
    found = [path for path in (folder / "usr" / "bin").iterdir() if re.fullmatch(pattern, path.name)]
    if len(found) != 1:
        stop(f"expected one program {pattern} in Debian's packages, found {len(found)}.")
    return found[0]


def requirements():
    """Requirements of the package and of the selected tests."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = runpy.run_path(str(REPOSITORY / ".ci" / "oldest.py"))["oldest"]
    bounds = oldest(project, ["test"])
    missing = set(TEST_PACKAGES) - set(bounds)
    if missing:
        stop(f"not in the extra `test` of pyproject.toml: {', '.join(sorted(missing))}")
    return [*project["dependencies"], *(f"{name}>={bounds[name]}" for name in TEST_PACKAGES)]


def install_wheels(folder, minor):
    """Unpack the wheels for Python 3.`minor`, and put this repository on the path."""
    site = folder / "usr" / "local" / "lib" / f"python3.{minor}" / "dist-packages"
    platforms = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in GLIBC] + ["--platform=manylinux2014_aarch64"]
    run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", site, "--only-binary=:all:", "--implementation=cp", f"--python-version=3.{minor}"),
            *platforms,
            *requirements(),
        ],
        "download the wheels for arm64",
    )
    (site / "nbsoftmax.pth").write_text(f"{REPOSITORY}\n", encoding="utf-8")


def main(folder):
    """Make the folder anew."""
    if platform.machine().lower() in {"aarch64", "arm64"}:
        stop("this machine is arm64; run `make test`.")
    for command in ("apt-get", "dpkg"):
        if not shutil.which(command):
            stop(f"{command} was not found; expected Debian or a system derived from it.")
    shutil.rmtree(folder, ignore_errors=True)
    unpack_packages(folder)
    python, emulator = binary(folder, r"python3\.\d+"), binary(folder, r"qemu-aarch64(-static)?")
    for other in set(emulator.parent.glob("qemu-*")) - {emulator}:  # 300 MB
        other.unlink()
    install_wheels(folder, python.name.partition(".")[2])
    wrapper = python.with_name("python")
    wrapper.write_text(WRAPPER.format(emulator=emulator, cpu=CPU, folder=folder, python=python), encoding="utf-8")
    wrapper.chmod(0o755)
    run([wrapper, "-c", "import nbsoftmax"], "run Python for arm64")


if __name__ == "__main__":
    main(Path(os.path.abspath(sys.argv[1])))
