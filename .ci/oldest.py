"""Print the lower bound of each dependency as a constraint for pip: python .ci/oldest.py EXTRA...

The bounds are those of pyproject.toml: the requirements of the package and of the given extras.
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def oldest(project: dict, extras: list[str]) -> dict[str, str]:
    """Lower bounds by package.

    Parameters
    ----------
    project : dict
        Table `project` of pyproject.toml.
    extras : list of str
        Names of optional dependencies to include; these may refer to others, for example `nbsoftmax[test]`.

    Raises
    ------
    ValueError
        If a requirement has no lower bound.
    """
    bounds: dict[str, str] = {}
    requirements = list(project["dependencies"])
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    for requirement in requirements:
        others = re.fullmatch(rf"{project['name']}\[(.+)\]", requirement)
        bound = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
        if others is not None:
            bounds |= oldest(project, others[1].split(","))
        elif bound is not None:
            bounds[bound[1]] = bound[2]
        else:
            raise ValueError(f"pyproject.toml: {requirement!r} has no lower bound, expected 'name>=version'")
    return bounds


if __name__ == "__main__":
    found = oldest(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"], sys.argv[1:])
    print("\n".join(f"{name}=={version}" for name, version in found.items()))
