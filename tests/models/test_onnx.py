"""ONNX: what ONNX Runtime computes from the file is what the model computes."""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import nbsoftmax as nbs
from nbsoftmax import cli

EPS = {np.float32: np.finfo(np.float32).eps, np.float64: np.finfo(np.float64).eps}


def a_model(classes=(0, 1, 2, 3), names=None, n_features=5):
    rng = np.random.default_rng(0)
    n = len(classes)
    return nbs.SoftmaxModel(rng.normal(size=(n, n_features)), rng.normal(size=n), classes, names)


def samples(n, dtype, n_features=5):
    return np.random.default_rng(1).normal(size=(n, n_features)).astype(dtype)


def run(path, X):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["label", "proba"], {"X": X})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "classes",
    [
        [3, 5, -9, 11],
        np.array([1, 2, 3, 200], np.uint8),
        ["bird", "cat", "dog", "émeu"],
        np.array(["b", "a"], object),
        [False, True],
        [1.0, 2.0, 4.0],
    ],
    ids=["integers", "small integers", "strings", "objects", "booleans", "floats"],
)
def test_the_runtime_computes_what_the_model_computes(tmp_path, dtype, classes):
    model, path = a_model(classes), tmp_path / "m.onnx"
    model.to_onnx(path, dtype=dtype)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (200, 1, 0):  # the batch may have any size
        X = samples(n, dtype)
        label, proba = session.run(["label", "proba"], {"X": X})
        expected = model.predict_proba(X)
        assert proba.dtype == expected.dtype == dtype
        # Logits are sums of six terms of about 1, in another order.
        assert np.abs(proba - expected).max(initial=0) <= 32 * EPS[dtype]
        clear = np.sort(expected, axis=1)[:, -2:] @ [-1, 1] > 64 * EPS[dtype]
        assert np.array_equal(np.asarray(label)[clear], model.predict(X)[clear])
        assert clear.sum() >= 0.9 * n
    kind = np.asarray(label).dtype.kind
    assert kind == {"i": "i", "u": "i", "U": "O", "O": "O", "b": "b", "f": "f"}[np.asarray(classes).dtype.kind]


def test_of_equal_probabilities_the_first_class_wins_there_as_well(tmp_path):
    model = nbs.SoftmaxModel(np.zeros((3, 1)), [0.0, 1.0, 1.0], ["z", "y", "x"])
    model.to_onnx(tmp_path / "m.onnx")
    assert (
        run(tmp_path / "m.onnx", np.ones((2, 1), np.float32))[0].tolist()
        == ["y", "y"]
        == model.predict([[1], [1]]).tolist()
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("thresholds", [{1: 0.2, 3: 0.4}, [0.5, 0.1, 1e-3, 2.0], [1.0, 0.0, 1.0, 1.0], [0.1] * 4])
@pytest.mark.parametrize("with_offset", [False, True])
def test_labels_of_the_graph_follow_the_decision_thresholds_and_the_offset(tmp_path, dtype, thresholds, with_offset):
    model, X = a_model(), samples(300, dtype)
    offset = {"offset": 3 * samples(300, dtype, n_features=4)[::-1]} if with_offset else {}
    model.to_onnx(tmp_path / "m.onnx", dtype=dtype, thresholds=thresholds, offset=with_offset)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    label, proba = session.run(["label", "proba"], {"X": X, **offset})
    assert np.abs(proba - model.predict_proba(X, **offset)).max() <= 64 * EPS[dtype]
    expected = model.predict(X, thresholds=thresholds, **offset)
    # Labels may differ where two ratios are nearly equal; differences of logits have errors of some eps.
    t = np.array([thresholds.get(k, 1.0) for k in range(4)] if isinstance(thresholds, dict) else thresholds)
    ratio = model.predict_proba(X, **offset) / np.maximum(t, 1e-30)
    second, best = np.sort(ratio, axis=1)[:, -2:].T
    clear = best > second * (1 + 256 * EPS[dtype])
    assert clear.sum() >= 295
    assert np.array_equal(label[clear], expected[clear])
    if len(set(t)) > 1:
        assert (expected != model.predict(X, **offset)).any()
    if with_offset:
        assert (expected != model.predict(X, thresholds=thresholds)).any() or 0 in t
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["thresholds"]) == t.tolist()


def test_an_estimator_is_exported_with_its_thresholds(tmp_path):
    X = samples(200, np.float32)
    t = {"yes": 0.1}
    fitted = nbs.SoftmaxRegression(thresholds=t).fit(X, np.where(X[:, 0] > 0.8, "yes", "no"))
    fitted.model_.to_onnx(tmp_path / "m.onnx", thresholds=fitted.thresholds)
    assert run(tmp_path / "m.onnx", X)[0].tolist() == fitted.predict(X).tolist() != fitted.model_.predict(X).tolist()


def test_extreme_logits_do_not_overflow_there_either(tmp_path):
    model = nbs.SoftmaxModel([[1000.0], [0.0], [-1000.0]], np.zeros(3), [0, 1, 2])
    model.to_onnx(tmp_path / "m.onnx")
    assert run(tmp_path / "m.onnx", np.array([[1.0]], np.float32))[1].tolist() == [[1.0, 0.0, 0.0]]


def test_feature_names_and_classes_are_in_the_metadata(tmp_path):
    a_model(names=["a", "b", "ü", "d", "e"]).to_onnx(tmp_path / "m.onnx")
    meta = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"]).get_modelmeta()
    assert json.loads(meta.custom_metadata_map["feature_names"]) == ["a", "b", "ü", "d", "e"]
    assert json.loads(meta.custom_metadata_map["classes"]) == [0, 1, 2, 3]
    assert meta.producer_name == "nbsoftmax"
    a_model().to_onnx(tmp_path / "m.onnx")
    assert "feature_names" not in {prop.key for prop in onnx.load(tmp_path / "m.onnx").metadata_props}


def test_an_interrupted_export_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    a_model().to_onnx(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:

        def interrupted(*_):
            raise KeyboardInterrupt

        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            a_model([7, 8]).to_onnx(path)
    assert os.listdir(tmp_path) == ["m.onnx"]
    assert path.read_bytes() == before


def test_what_cannot_be_exported_is_refused_before_anything_is_written(tmp_path):
    model = nbs.SoftmaxModel([[1e300], [0.0]], np.zeros(2), [0, 1])
    with pytest.raises(nbs.InputValueError, match=r"too large for float32; use dtype=np\.float64"):
        model.to_onnx(tmp_path / "m.onnx")
    with pytest.raises(nbs.InputTypeError, match="dtype is 'int8', expected float32 or float64"):
        model.to_onnx(tmp_path / "m.onnx", dtype="int8")
    with pytest.raises(nbs.InputValueError, match="names 7, which is no class"):
        a_model().to_onnx(tmp_path / "m.onnx", thresholds={7: 0.5})
    with pytest.raises(nbs.InputTypeError, match="offset is 1, expected True or False"):
        a_model().to_onnx(tmp_path / "m.onnx", offset=1)
    assert not os.listdir(tmp_path)
    model.to_onnx(tmp_path / "m.onnx", dtype=np.float64)
    assert run(tmp_path / "m.onnx", np.array([[1.0]]))[0].tolist() == [0]


def test_without_onnx_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    model = a_model()
    model.save(tmp_path / "m.npz")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "nbsoftmax\[onnx\]"'):
        model.to_onnx(tmp_path / "m.onnx")
    assert cli.main(["convert", str(tmp_path / "m.npz"), str(tmp_path / "m.onnx")]) == 1
    assert capsys.readouterr().err == (
        'nbsoftmax: ONNX export needs onnx; install it with: pip install "nbsoftmax[onnx]"\n'
    )
    assert os.listdir(tmp_path) == ["m.npz"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_command_line_converts_a_saved_model(tmp_path, capsys, dtype):
    model, out = a_model(["a", "b", "c"]), tmp_path / "m.onnx"
    model.save(tmp_path / "m.npz")
    assert cli.main(["convert", str(tmp_path / "m.npz"), str(out), "--dtype", dtype]) == 0
    assert capsys.readouterr().out == f"ONNX: {out}\n"
    X = samples(20, dtype)
    assert run(out, X)[0].tolist() == model.predict(X).tolist()
    assert cli.main(["convert", str(tmp_path / "m.npz"), str(out), "--dtype", dtype, "--thresholds", "b=0.01"]) == 0
    expected = model.predict(X, thresholds={"b": 0.01})
    assert run(out, X)[0].tolist() == expected.tolist() != model.predict(X).tolist()
    assert cli.main(["convert", str(tmp_path / "m.npz"), str(out), "--dtype", dtype, "--offset"]) == 0
    inputs = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"]).get_inputs()
    assert [(one.name, one.shape) for one in inputs] == [("X", ["n_samples", 5]), ("offset", ["n_samples", 3])]
    capsys.readouterr()
    for wrong in (["m.npz", "m.txt"], ["none.npz", "m.onnx"], ["m.npz", "none/m.onnx"]):
        assert cli.main(["convert", *(str(tmp_path / name) for name in wrong)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
