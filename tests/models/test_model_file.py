"""The file of a model: every kind of label is stored, and a damaged or foreign file is refused."""

import io
import os
import zipfile

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import npz
from tests.files.written import a_model, damaged, data, header


def string_dtype(*arguments, **options):
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("StringDType is NumPy 2's")
    return np.dtypes.StringDType(*arguments, **options)


LABELS = {
    "small integers": lambda: np.array([1, 2], np.uint8),
    "large unsigned integers": lambda: np.array([2**63, 1], np.uint64),
    "big-endian integers": lambda: np.array([1, 2], ">i8"),
    "Python integers": lambda: np.array([1, 2], object),
    "large Python integers": lambda: [2**63 + 1, 1],
    "large Python integers as objects": lambda: np.array([2**63, 1], object),
    "booleans": lambda: [True, False],
    "floats": lambda: [1.0, 2.0],
    "half precision": lambda: np.array([1, 2], np.float16),
    "long double": lambda: np.array([1, 2], np.longdouble),
    "big-endian floats": lambda: np.array([1, 2], ">f4"),
    "text": lambda: ["émeu", "b"],
    "big-endian text": lambda: np.array(["a", "b"], ">U3"),
    "text as objects": lambda: np.array(["a", "b"], object),
    "bytes": lambda: np.array([b"a", "é".encode()]),
    "StringDType": lambda: np.array(["b", "émeu"], string_dtype()),
    "StringDType with NULs": lambda: np.array(["a", "a\0"], string_dtype()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_every_label_that_a_model_takes_comes_back_from_its_file(tmp_path, kind):
    model = a_model(LABELS[kind](), names=("a", "a\0"))
    model.save(tmp_path / "m.npz")
    again = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert again.classes.dtype == model.classes.dtype
    assert again.classes.tolist() == model.classes.tolist()
    assert again.classes.tolist() == [label for label in np.array(LABELS[kind](), object)]
    assert again.feature_names == ("a", "a\0")


@pytest.mark.parametrize("kind", LABELS)
def test_every_label_that_a_model_takes_comes_out_of_onnx(tmp_path, kind):
    runtime = pytest.importorskip("onnxruntime")
    model = a_model(LABELS[kind]())
    model.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    X = np.array([[1.0, 1.0], [-1.0, -1.0]], np.float32)
    expected = [label.decode() if isinstance(label, bytes) else label for label in model.predict(X).tolist()]
    assert len(set(expected)) == 2
    assert np.asarray(session.run(["label"], {"X": X})[0]).tolist() == expected


@pytest.mark.parametrize(
    "classes",
    [
        lambda: np.array(["a", 1], object),
        lambda: np.array(["2020-01-01", "2021-01-01"], "M8[D]"),
        lambda: np.array([(1,), (2,)], [("a", int)]),
        lambda: np.array([b"a", b"b"], "V1"),
        lambda: [2**64, 1],
        lambda: [2**63, 2**63 + 1, -1],  # NumPy makes floats of them, of which two are the same
        lambda: np.array([-(2**63) - 1, 1], object),
        lambda: np.array(["a", None], string_dtype(na_object=None)),
        lambda: np.array(["a", np.nan], string_dtype(na_object=np.nan)),
    ],
)
def test_labels_that_no_file_can_hold_are_refused_at_once(classes):
    for use in (a_model, lambda y: nbs.Trainer().fit(np.eye(len(y)), y)):
        with pytest.raises(nbs.InputError) as raised:
            use(classes())
        assert "\n" not in str(raised.value)


def test_what_onnx_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    pytest.importorskip("onnx")
    for classes in ([b"a", b"\xff"], ["a", "\ud800"]):
        with pytest.raises(nbs.InputValueError, match="not valid UTF-8"):
            a_model(np.array(classes)).to_onnx(tmp_path / "m.onnx")
    assert not os.listdir(tmp_path)


def test_a_good_model_stays_where_another_cannot_be_saved(tmp_path):
    path = tmp_path / "m.npz"
    a_model().save(path)
    before = path.read_bytes()
    for odd in ({"x": np.float32(1)}, {"x": object()}, {(1, 2): 3}):
        with pytest.raises(nbs.InputTypeError, match="training cannot be written as JSON"):
            a_model(training=odd).save(path)
    with pytest.raises(nbs.InputTypeError, match="a has dtype object"):
        npz.write_npz(path, {"a": np.array([{}])})
    assert path.read_bytes() == before


def test_a_small_file_that_unpacks_to_a_huge_model_is_refused(tmp_path, monkeypatch):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    a_model().save(good)
    damaged(good, "coef.npy", header((2, 10**5), "<f8") + bytes(16 * 10**5), bad, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(npz, "ALWAYS", 10**5)
    with pytest.raises(nbs.InputValueError, match="would unpack to"):
        nbs.SoftmaxModel.load(bad)
    nbs.SoftmaxModel.load(good)


def test_a_compressed_copy_of_a_model_is_still_read(tmp_path):
    good, packed = tmp_path / "good.npz", tmp_path / "packed.npz"
    a_model().save(good)
    with np.load(good) as file:
        np.savez_compressed(packed, **file)
    assert np.array_equal(nbs.SoftmaxModel.load(packed).coef, a_model().coef)


def test_other_files_are_no_models_and_the_message_says_what_they_are(tmp_path):
    path = tmp_path / "bad.npz"
    X, y = data()
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c.npz")
    np.save(tmp_path / "a.npy", X)
    a_model().save(tmp_path / "good.npz")
    damaged(tmp_path / "good.npz", "format.npy", npy("nbsoftmax model 99"), tmp_path / "new.npz")
    with zipfile.ZipFile(tmp_path / "w.docx", "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    contents = {
        "it is empty": b"",
        "(it is not a .npz file); give a file that `save`": b"some text, and no model\n",
        "(it is a .npy file with a single array); give a file": (tmp_path / "a.npy").read_bytes(),
        "not a zip file": (tmp_path / "c.npz").read_bytes()[:200],
        "'nbsoftmax model 99'": (tmp_path / "new.npz").read_bytes(),
        "not a model but the checkpoint of a fit; resume the fit": (tmp_path / "c.npz").read_bytes(),
        "is not a model of this library": (tmp_path / "w.docx").read_bytes(),
    }
    for said, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(nbs.InputValueError, match=r"bad\.npz is not a model") as raised:
            nbs.SoftmaxModel.load(path)
        assert said in str(raised.value)
        assert "allow_pickle" not in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(IsADirectoryError):
        nbs.SoftmaxModel.load(tmp_path)


def npy(value):
    file = io.BytesIO()
    np.save(file, np.asarray(value))
    return file.getvalue()


ODD_MEMBERS = {
    "training is a list": {"training": '["a"]'},
    "training is a number": {"training": "3"},
    "classes in a column": {"classes": [["a"], ["b"]]},
    "classes in a dict": {"classes": '{"a": 1, "b": 2}'},
    "classes in a text": {"classes": '"ab"'},
    "classes of JSON that are no text": {"classes": "[1, 2]"},
    "names in a dict": {"feature_names": '{"a": 1, "b": 2}'},
    "names in a text": {"feature_names": '"ab"'},
    "names in a table": {"feature_names": [["a"], ["b"]]},
    "numbers as names": {"feature_names": [1.0, 2.0]},
    "a name twice": {"feature_names": ["a", "a"]},
    "has_names as text": {"has_names": "False"},
    "several has_names": {"has_names": [True]},
}


@pytest.mark.parametrize("case", ODD_MEMBERS)
def test_a_file_with_a_member_of_another_form_is_no_model(case, tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    a_model(("a", "b"), names=("a", "b"), training={}).save(good)
    nbs.SoftmaxModel.load(good)
    ((name, value),) = ODD_MEMBERS[case].items()
    damaged(good, f"{name}.npy", npy(value), bad)
    with pytest.raises(nbs.InputValueError, match=rf"bad\.npz is not a model.*{name}") as raised:
        nbs.SoftmaxModel.load(bad)
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_with_two_members_of_one_name_is_no_model(tmp_path):
    path = tmp_path / "m.npz"
    a_model().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("coef.npy", npy(np.zeros((2, 2))))
    with pytest.raises(nbs.InputValueError, match=r"m\.npz is not a model.*two members with the name 'coef\.npy'"):
        nbs.SoftmaxModel.load(path)


@pytest.mark.parametrize("names", ["ab", b"ab", {"a": 0, "b": 1}, ["a", "a"], [1, "1"]], ids=str)
def test_names_of_features_that_are_no_list_of_distinct_names_are_refused(names):
    with pytest.raises(nbs.InputError, match=r"^feature_names "):
        a_model(names=names)
