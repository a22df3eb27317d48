"""What SECURITY.md says: which files are safe to read, and what a file from somebody else cannot do."""

import ast
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import nbsoftmax as nbs
from nbsoftmax.data import arrays, sparse
from tests.cli.commands import run
from tests.conftest import REPOSITORY
from tests.files.written import a_model, damaged, data
from tests.models.test_model_file import npy

SOURCES = sorted((REPOSITORY / "nbsoftmax").rglob("*.py"))
# Entries of the disk cache are pickles of compiled code; Dask's keys are never read.
UNPICKLES = {"kernels/runtime/cache.py"}


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def calls():
    """(file relative to the package, dotted name of the function, keywords) of all calls in the package."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                keywords = {keyword.arg: keyword.value for keyword in node.keywords}
                yield path.relative_to(REPOSITORY / "nbsoftmax").as_posix(), ast.unparse(node.func), keywords


def test_numpy_never_unpickles_and_only_the_cache_of_compiled_code_does():
    found = list(calls())
    loads = [(file, given) for file, name, given in found if name in {"np.load", "np.lib.format.read_array"}]
    assert len(loads) >= 4
    for file, given in loads:
        assert "allow_pickle" in given, file
        assert ast.unparse(given["allow_pickle"]) == "False", file
    unpickling = (
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "joblib.load",
        "cloudpickle.loads",
        "marshal.loads",
    )
    assert {file for file, name, _ in found if name in unpickling} == UNPICKLES
    assert not [file for file, name, _ in found if name in {"eval", "exec", "os.system", "shelve.open"}]


@pytest.fixture
def payload(tmp_path):
    """An array of objects that would create a file, and this file, which must not exist at the end."""
    target = tmp_path / "the payload was run"
    array = np.empty(3, object)
    array[:] = [Payload(target)] * 3
    yield array
    assert not target.exists()


def test_the_payload_of_these_tests_runs_if_it_is_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("member", ["format", "coef", "intercept", "classes", "feature_names", "has_names", "training"])
def test_a_model_file_cannot_run_code(member, payload, tmp_path):
    a_model().save(tmp_path / "good.npz")
    bad = damaged(tmp_path / "good.npz", f"{member}.npy", npy(payload), tmp_path / "bad.npz")
    with pytest.raises(nbs.InputValueError, match="not unpickled"):
        nbs.SoftmaxModel.load(bad)


def test_a_checkpoint_cannot_run_code(payload, tmp_path):
    X, y = data()
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "good.npz")
    bad = damaged(tmp_path / "good.npz", "params.npy", npy(payload), tmp_path / "bad.npz")
    with pytest.raises(nbs.InputValueError, match="not unpickled"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=bad, resume=True)


def test_files_of_arrays_cannot_run_code(payload, tmp_path):
    np.save(tmp_path / "a.npy", payload, allow_pickle=True)
    np.savez(tmp_path / "a.npz", X=payload)
    sp.save_npz(tmp_path / "good.npz", sp.csr_array(np.eye(3)))
    damaged(tmp_path / "good.npz", "data.npy", npy(payload), tmp_path / "sparse.npz")
    for read in (
        lambda: arrays.read_npy(tmp_path / "a.npy"),
        lambda: arrays.map_npy(tmp_path / "a.npy"),
        lambda: arrays.read_npz(tmp_path / "a.npz", target=None),
        lambda: sparse.read_npz(tmp_path / "sparse.npz"),
        lambda: nbs.data.open(tmp_path / "a.npy"),
    ):
        with pytest.raises(nbs.InputValueError):
            read()


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.csv", "a.parquet", "a.pkl"])
def test_a_pickle_with_any_name_is_not_read(name, payload, tmp_path):
    (tmp_path / name).write_bytes(pickle.dumps(payload))
    with pytest.raises(nbs.InputError):
        nbs.SoftmaxModel.load(tmp_path / name)
    assert run("fit", tmp_path / name, "--target", "y", "--out", tmp_path / "m.npz") == 2


def places(stored, path=()):
    """Where values are in a JSON document."""
    yield path
    entries = stored.items() if isinstance(stored, dict) else enumerate(stored) if isinstance(stored, list) else ()
    for key, value in entries:
        yield from places(value, (*path, key))


def replaced(stored, path, value):
    """A copy of a JSON document with another value in one place."""
    if not path:
        return value
    copy = json.loads(json.dumps(stored))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return copy


def test_a_model_whose_encoding_was_changed_is_refused_or_usable(tmp_path):
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2020-01-01", periods=8)
    table = pd.DataFrame({"a": list("abcabcab"), "b": [1.0, None, 2, 3, 4, 5, 6, 7], "c": days})
    options = nbs.TableOptions(missing="mean", indicators=True, dates="parts")
    model = nbs.Trainer(l2=0.1, table=options).fit(table, [0, 1] * 4).model
    model.save(tmp_path / "good.npz")
    stored = model.encoding.to_dict()
    n_refused = 0
    for path in places(stored):
        for value in (None, -1, 10**400, 2.5, float("inf"), True, "x", [], ["a", "a", "b"], [["a"]], {}):
            content = npy(json.dumps(replaced(stored, path, value)))
            bad = damaged(tmp_path / "good.npz", "encoding.npy", content, tmp_path / "bad.npz")
            try:
                nbs.SoftmaxModel.load(bad).predict_proba(table)
            except nbs.InputError:  # any other exception fails the test
                n_refused += 1
    assert n_refused > 100


@pytest.mark.parametrize("control", ["\x1b]0;title\x07", "\x1b[2J", "\x9b2J", "\u202e", "\nclasses:  9 (", "\u2028"])
def test_text_from_a_model_file_does_not_control_a_terminal(control, tmp_path, capsys):
    path = tmp_path / "m.npz"
    a_model((control + "a", "b"), (control, "x"), {control: control}).save(path)
    assert run("inspect", path) == 0
    out = capsys.readouterr().out
    assert control not in out
    assert ascii(control)[1:-1] in out
    if control[0] != "\n":
        assert control[0] not in out


def test_the_page_names_the_supported_versions_and_no_address_that_does_not_exist():
    page = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    assert f"| {'.'.join(nbs.__version__.split('.')[:2])}.x | yes |" in page
    assert "@" not in page
