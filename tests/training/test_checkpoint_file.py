"""The file of a checkpoint: damaged files and those of other problems are refused; a failed write is a warning."""

import os
import warnings

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.training.killed import OPTIONS, problem, same

pytestmark = pytest.mark.usefixtures("at_every_iteration")


@pytest.mark.parametrize("damage", ["truncated", "a flipped byte", "empty", "another file"])
def test_a_damaged_checkpoint_is_refused_and_left(damage, tmp_path):
    X, y = problem()
    file = tmp_path / "c.npz"
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=file)
    content = bytearray(file.read_bytes())
    if damage == "a flipped byte":
        content[content.index(b"params.npy") + 400] ^= 16
    changed = {"truncated": bytes(content[: len(content) // 2]), "empty": b"", "another file": b"a,b\n1,2\n"}
    file.write_bytes(changed.get(damage, bytes(content)))
    before = file.read_bytes()
    with pytest.raises(nbs.InputValueError, match="checkpoint"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=file, resume=True)
    assert file.read_bytes() == before


def test_a_model_is_no_checkpoint(tmp_path):
    X, y = problem()
    nbs.Trainer(l2=0.1).fit(X, y).model.save(tmp_path / "m.npz")
    with pytest.raises(nbs.InputValueError, match="not a checkpoint"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "m.npz", resume=True)


def changes(arrays):
    """Each array of a checkpoint left out, of another shape, of another dtype, and with another value."""
    for name, array in arrays.items():
        yield {other: value for other, value in arrays.items() if other != name}
        yield arrays | {name: np.append(array, array.ravel()[:1]).reshape(-1, 1)}
        if array.dtype.kind in "iuf":
            yield arrays | {name: array.astype("f4")}
        if array.dtype.kind in "iuf" and array.size:
            yield arrays | {name: -1 - array}


@pytest.mark.parametrize("solver", OPTIONS)
def test_a_checkpoint_with_other_arrays_than_were_saved_is_refused_and_left(solver, tmp_path):
    X, y = problem(m=60)
    file, options = tmp_path / "c.npz", OPTIONS[solver] | {"max_iter": 3, "tol": 1e-3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        nbs.Trainer(**options).fit(X, y, checkpoint=file, validation_data=(X, y))
    with np.load(file) as opened:
        arrays = dict(opened)
    assert len(arrays) > 8
    for changed in changes(arrays):
        np.savez(file, **changed)
        before = file.read_bytes()
        with pytest.raises(nbs.InputValueError, match="checkpoint"):
            nbs.Trainer(**options).fit(X, y, checkpoint=file, validation_data=(X, y), resume=True)
        assert file.read_bytes() == before


@pytest.mark.parametrize("other", ["data", "labels", "weights", "penalty", "solver", "start", "held-out", "held-out y"])
def test_the_checkpoint_of_another_problem_is_refused(other, tmp_path):
    X, y = problem()
    options, given = {"l2": 0.1, "solver": "lbfgs"}, {"validation_data": (X[:20], y[:20])}
    nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / "c", **given)
    if other == "data":
        X = X.copy()
        X[-1, -1] += 1e-9
    elif other == "labels":
        y = np.where(np.arange(y.size) == 5, (y + 1) % 4, y)
    elif other == "weights":
        given["sample_weight"] = np.linspace(1, 2, y.size)
    elif other == "start":
        given["init"] = np.ones((4, 13))
    elif other == "held-out":
        given["validation_data"] = X[20:40], y[:20]
    elif other == "held-out y":
        given["validation_data"] = X[:20], y[20:40]
    options |= {"penalty": {"l2": 0.2}, "solver": {"solver": "gd"}}.get(other, {})
    with pytest.raises(nbs.InputValueError, match="other data"):
        nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / "c", resume=True, **given)


def test_a_checkpoint_that_cannot_be_written_is_one_warning_and_the_fit_goes_on(tmp_path, monkeypatch):
    X, y = problem()
    expected = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
    before = (tmp_path / "c").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="No space left") as seen:
        result = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
    assert len(seen) == 1
    same(expected, result)
    assert (tmp_path / "c").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]  # nothing half-written is left


def test_what_cannot_be_resumed_says_so(tmp_path):
    X, y = problem()
    with pytest.raises(nbs.InputValueError, match="name the file"):
        nbs.Trainer().fit(X, y, resume=True)


@pytest.mark.parametrize("other", ["model", "text", "data"])
def test_a_file_that_is_no_checkpoint_is_not_written_over(tmp_path, other):
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    path = tmp_path / "m.npz"
    if other == "model":
        nbs.Trainer(l2=0.1).fit(X, y).model.save(path)
    elif other == "data":
        np.savez(path, X=X, y=y)
    else:
        path.write_text("a,b\n1,2\n")
    before = path.read_bytes()
    with pytest.raises(nbs.InputValueError, match=r"checkpoint is .*m\.npz, which exists and is not a checkpoint"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=path)
    assert path.read_bytes() == before
