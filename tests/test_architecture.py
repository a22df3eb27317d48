"""The order of the packages, the sizes of files and functions, and what the pages for contributors say of files."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

import nbsoftmax
from tests.conftest import REPOSITORY

PACKAGE = Path(nbsoftmax.__file__).parent
# From the lowest layer to the highest. A module imports its own layer's package and layers below.
LAYERS = [
    {"cached", "errors", "in_cache"},
    {"files", "kernels", "sums"},
    {"npz"},
    {"validation"},
    {"backends", "encoding"},
    {"data", "functional", "testing", "versions"},
    {"problem"},
    {"gradients", "linear_loss"},
    {"collinearity", "penalties"},
    {"penalized_loss"},
    {"firth_loss", "objective"},
    {"solvers"},
    {"models"},
    {"training"},
    {"callbacks", "selection"},
    {"estimators"},
    {"dask", "plots"},
    {"cli"},
    {"__main__"},
]
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported(path):
    """Modules of the package that a file imports, anywhere in it, as tuples of names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nbsoftmax":
            for alias in node.names:
                yield (*node.module.split(".")[1:], alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "nbsoftmax":
                    yield tuple(alias.name.split(".")[1:])


def module_of(names):
    """The file that a name is imported from, relative to the package and without its suffix."""
    for n in range(len(names), 0, -1):
        path = PACKAGE.joinpath(*names[:n])
        if path.with_suffix(".py").exists():
            return names[:n]
        if path.is_dir():
            return (*names[:n], "__init__")
    return ("__init__",)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_nothing_from_a_higher_layer(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert own in HEIGHT, f"{own} is in no layer; add it to LAYERS"
    for names in imported(path):
        other = module_of(names)[0] if names else "__init__"
        if other in {"__init__", own}:  # of the package itself only the version
            assert other == own or names[-1] == "__version__" or names == (), names
        else:
            assert HEIGHT[other] < HEIGHT[own], f"{own} imports {'.'.join(names)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_cached_property_has_no_lock(path):
    if path != PACKAGE / "cached.py":
        text = path.read_text(encoding="utf-8")
        assert "from functools import cached_property" not in text
        assert "functools.cached_property" not in text


def test_no_modules_import_one_another_in_a_circle():
    graph = {}
    for path in MODULES:
        name = path.relative_to(PACKAGE).with_suffix("").parts
        graph[name] = {module_of(names) for names in imported(path)} - {name}
    done, open_ = set(), []

    def visit(name):
        if name in done or name not in graph:
            return
        assert name not in open_, " -> ".join(".".join(part) for part in [*open_[open_.index(name) :], name])
        open_.append(name)
        for other in graph[name]:
            visit(other)
        open_.pop()
        done.add(name)

    for name in graph:
        visit(name)


# Python files whose sizes are limited. Kernels are not: they take arrays one by one, and their branches are loops.
SIZED = sorted(
    path
    for folder in ("nbsoftmax", "tests", "perf")
    for path in (REPOSITORY / folder).rglob("*.py")
    if PACKAGE / "kernels" not in path.parents
)
LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 60, 10


def beyond_the_limits(text):
    """Functions that are too long or have too many parameters, without a comment on their line `def` that says why."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_docstring = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
            docstring = first.end_lineno - first.lineno + 1 if is_docstring else 0
            length = node.end_lineno - node.lineno + 1 - docstring
            parameters = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
            reason = re.search(r"[:(]  # (?:noqa: [A-Z0-9, ]+?  )?(?!noqa)\S+ \S+", lines[node.lineno - 1])
            if not reason and (length > LONGEST_FUNCTION or parameters > MOST_PARAMETERS):
                yield f"{node.name}, line {node.lineno}: {length} lines, {parameters} parameters"


@pytest.mark.parametrize("path", SIZED, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_a_file_and_its_functions_are_short_or_say_why_not(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    assert list(beyond_the_limits(text)) == []


def test_the_limits_of_functions_count_lines_and_parameters_and_accept_a_reason():
    long = "def f():\n" + '    """One\n    two."""\n' + "    pass\n" * 59
    assert not list(beyond_the_limits(long))
    assert list(beyond_the_limits(long + "    pass\n")) == ["f, line 1: 61 lines, 0 parameters"]
    many = "def f(a, b, c, d, e, f, g, h, i, j{}):{}\n    pass\n"
    assert not list(beyond_the_limits(many.format("", "")))
    assert list(beyond_the_limits(many.format(", *, k", ""))) == ["f, line 1: 2 lines, 11 parameters"]
    assert list(beyond_the_limits(many.format(", k", "  # noqa: PLR0913")))
    assert not list(beyond_the_limits(many.format(", k", "  # noqa: PLR0913  the arguments of BLAS")))
    assert not list(beyond_the_limits(many.format(", k", "  # the arguments of BLAS")))


PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")


def listed_files():
    """Files in the tree of docs/architecture.md; those of a folder are indented under it."""
    (tree,) = re.findall(r"```text\nnbsoftmax/\n(.*?)```", PAGE, re.DOTALL)
    folders = []
    for line in tree.splitlines():
        name = line.split()[0]
        folders = folders[: (len(line) - len(line.lstrip())) // 2 - 1]
        if name.endswith("/"):
            folders.append(name.rstrip("/"))
        else:
            yield "/".join([*folders, name])


def test_the_page_on_the_architecture_lists_every_file():
    assert sorted(listed_files()) == sorted(
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.suffix in {".py", ".typed"}
    )


def test_the_page_on_the_architecture_has_the_order_of_the_layers():
    layers = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| \d+ \|([^|]*)\|", PAGE, re.MULTILINE)]
    for lower, higher in pairwise(layers):
        assert max(HEIGHT[name] for name in lower) <= min(HEIGHT[name] for name in higher)
    others = {"callbacks", "data", "testing", "versions", "__main__"}
    assert {name for layer in layers for name in layer} == set(HEIGHT) - others


def test_the_files_that_contributing_names_exist():
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| topic \|.*?\n((?:\|.*\n)+)", guide, re.MULTILINE)
    rows = [row.split("|")[2:4] for row in table.splitlines()[1:]]
    assert len(rows) > 20
    for files, tests in rows:
        for folder, cell in ((PACKAGE, files), (REPOSITORY / "tests", tests)):
            for path in re.findall(r"`([^`]+)`", cell):
                assert (folder / path).exists(), path


def test_the_tests_that_the_page_on_extending_names_exist():
    page = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    commands = re.findall(r"`pytest ([^`]+)`", page)
    assert len(commands) == 4
    for path in " ".join(commands).split():
        assert (REPOSITORY / path).exists(), path
