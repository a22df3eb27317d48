"""NumPy files and the digits of the demo."""

import zipfile

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import arrays, digits


def test_a_text_file_is_no_numpy_file(tmp_path):
    (tmp_path / "X.npy").write_text("a,y\n1,x\n")
    with pytest.raises(nbs.InputValueError, match="not a NumPy file") as caught:
        arrays.read_npy(tmp_path / "X.npy")
    assert "pickle" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_npz_files_with_a_member_twice_or_without_npy_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    for name, said in (("y.npy", "two members with the name 'y.npy'"), ("X", "has a member 'X', not 'X.npy'")):
        np.savez(path, X=np.eye(3), y=[0, 1, 0])
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, archive.read("X.npy"))
        with pytest.raises(nbs.InputValueError, match=rf"d\.npz .*{said}"):
            arrays.read_npz(path, target="y")


def test_npy_and_npz_are_read_and_never_unpickled(tmp_path):
    X = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "X.npy", X)
    np.savez(tmp_path / "d.npz", X=X, y=np.array([0, 1, 0]))
    np.savez(tmp_path / "pickled.npz", X=np.array([{}], object), y=[0])
    assert np.array_equal(arrays.read_npy(tmp_path / "X.npy"), X)
    assert np.array_equal(arrays.read_npz(tmp_path / "d.npz", target="y")[1], [0, 1, 0])
    with pytest.raises(nbs.InputValueError, match="pickled"):
        arrays.read_npz(tmp_path / "pickled.npz", target="y")
    with pytest.raises(nbs.InputValueError, match="no array 'label'; it has 'X', 'y'"):
        arrays.read_npz(tmp_path / "d.npz", target="label")
    with pytest.raises(nbs.InputValueError, match="several arrays"):
        arrays.read_npy(tmp_path / "d.npz")
    with pytest.raises(nbs.InputValueError, match="single array"):
        arrays.read_npz(tmp_path / "X.npy", target=None)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:100])
    with pytest.raises(nbs.InputValueError, match="damaged"):
        arrays.read_npz(tmp_path / "cut.npz", target=None)


def test_the_embedded_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = digits.load()
    expected = datasets.load_digits()
    assert np.array_equal(X, expected.data)
    assert np.array_equal(y, expected.target)
