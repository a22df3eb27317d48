"""Build the wheel and the source distribution, and check both outside the repository: python .ci/release.py FOLDER.

The distributions are left in FOLDER. The checks, in temporary environments in which the repository is not on the path:

1. Contents: the source distribution has exactly the files of the repository, the wheel exactly those of the package.
   A wheel built from the source distribution has the same files, byte by byte, as the wheel.
2. Metadata: twine's checks, which render the README; licence files, versions of Python, extras.
3. The wheel alone, without extras: the versions, the demo, the README's first block.
4. The wheel with all extras of users: also the doctests, and the README's Python and commands.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
TOOLS = ("build>=1.2", "twine>=6.1")


def stop(message):
    """End with one line."""
    sys.exit(f"make release-check: {message}")


def say(message):
    """Print a line at once, also before the output of another process."""
    print(message, flush=True)


def run(*command, folder, **options):
    """Run a command in a folder without the variables that would let it find the repository; stop if it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([*map(str, command)], cwd=folder, env=kept, check=False, **options)
    if done.returncode:
        stop(f"{' '.join(map(str, command[:4]))} ... ended with {done.returncode}")
    return done


def environment(folder, *requirements):
    """A new virtual environment with these packages; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(python, "-m", "pip", "install", "--quiet", *requirements, folder=folder)
    return python


def tracked():
    """The files of the repository in its current state, as git names them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        stop(f"expected a git repository: {done.stderr.strip()}")
    return {name for name in done.stdout.splitlines() if (REPOSITORY / name).is_file()}


def build(python, source, folder, *options):
    """Build distributions of a source folder; the new files by suffix."""
    run(python, "-m", "build", "--outdir", folder, *options, source, folder=folder.parent, stdout=subprocess.DEVNULL)
    return {path.suffix: path for path in folder.iterdir()}


def files_of_sdist(path):
    """Contents by name, without the folder that holds them all."""
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        return {member.name.partition("/")[2]: archive.extractfile(member).read() for member in members}


def files_of_wheel(path):
    """Contents by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def same_names(what, found, expected):
    """Stop if two sets of names differ."""
    if found != expected:
        stop(f"{what} lacks {sorted(expected - found)[:9]} and has {sorted(found - expected)[:9]}, which it should not")
    say(f"{what}: {len(found)} files")


def check_contents(sdist, wheel, again):
    """Compare the files of the distributions with the repository and with one another."""
    repository = tracked()
    same_names("source distribution", set(files_of_sdist(sdist)), repository | {"PKG-INFO"})
    files = files_of_wheel(wheel)
    package = {name for name in repository if name.startswith("nbsoftmax/")}
    same_names("wheel", {name for name in files if ".dist-info/" not in name}, package)
    for name in ("nbsoftmax/py.typed", "nbsoftmax/data/digits.npz", "nbsoftmax/data/DIGITS.md"):
        if name not in files:
            stop(f"the wheel lacks {name}")
    if files != files_of_wheel(again):
        stop("the wheel that is built from the source distribution has other contents than the wheel")
    say("the source distribution builds the same wheel")


def check_metadata(python, wheel, paths):
    """Compare the metadata with pyproject.toml, and run twine's checks."""
    run(python, "-m", "twine", "--no-color", "check", "--strict", *paths, folder=wheel.parent)
    files = files_of_wheel(wheel)
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(files[name].decode())
    project = PROJECT["project"]
    expected = {
        "License-Expression": {project["license"]},
        "License-File": set(project["license-files"]),
        "Requires-Python": {project["requires-python"]},
        "Classifier": set(project["classifiers"]),
        "Provides-Extra": set(project["optional-dependencies"]),
        "Project-URL": {f"{label}, {url}" for label, url in project.get("urls", {}).items()},
    }
    for key, values in expected.items():
        if set(metadata.get_all(key, [])) != values:
            stop(f"{key} of the wheel is {metadata.get_all(key)}, expected {sorted(values)}")
    say(f"metadata: {metadata['Name']} {metadata['Version']}, {', '.join(sorted(project['license-files']))}")
    return metadata["Version"]


def check_installed(wheel, version, folder):
    """Install the wheel without extras, and with those of users, and use both."""
    script, readme = folder / "use_installed.py", folder / "README.md"
    shutil.copy(REPOSITORY / ".ci" / "use_installed.py", script)
    shutil.copy(REPOSITORY / "README.md", readme)
    for extras, parts in (
        ("", ("versions", "demo", "first-block")),
        ("[all]", ("versions", "demo", "doctests", "readme")),
    ):
        say(f"\nthe wheel{extras or ' without extras'}, in an empty environment")
        name = f"env{re.sub(r'[^a-z]', '', extras)}"
        python = environment(folder / name, f"nbsoftmax{extras} @ {wheel.as_uri()}")
        used = folder / f"used-{name}"
        used.mkdir()
        run(python, "-I", script, version, readme, *parts, folder=used)


def main(folder):
    """Build into the folder, and check."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nbsoftmax-release-") as name:
        temporary = Path(name)
        python = environment(temporary / "tools", *TOOLS)
        (temporary / "dist").mkdir()
        built = build(python, REPOSITORY, temporary / "dist", "--sdist", "--wheel")
        sdist, wheel = built[".gz"], built[".whl"]
        with tarfile.open(sdist) as archive:
            archive.extractall(temporary / "unpacked", filter="data")
        (unpacked,) = (temporary / "unpacked").iterdir()
        (temporary / "again").mkdir()
        again = build(python, unpacked, temporary / "again", "--wheel")[".whl"]
        check_contents(sdist, wheel, again)
        version = check_metadata(python, wheel, (sdist, wheel))
        check_installed(wheel, version, temporary)
        for path in (sdist, wheel):
            shutil.copy(path, folder)
    say(f"\nchecked, and left in {folder.name}/: {sdist.name}, {wheel.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
