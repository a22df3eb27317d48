"""Readers: what a good file holds, and the line where a bad one is wrong."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import arrays, csv, digits

GOOD = "length,width,species\n1,2.5,setosa\n3,4,virginica\n\n5e-1,-6,setosa\n"


def written(tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_gives_numbers_names_and_labels(tmp_path):
    table = csv.read(written(tmp_path, GOOD), target="species")
    assert np.array_equal(table.X, [[1, 2.5], [3, 4], [0.5, -6]])
    assert table.feature_names == ("length", "width")
    assert table.y.tolist() == ["setosa", "virginica", "setosa"]


def test_whole_numbers_as_labels_are_integers(tmp_path):
    assert csv.read(written(tmp_path, "a,y\n1,0\n2,-3\n"), target="y").y.tolist() == [0, -3]
    assert csv.read(written(tmp_path, "a,y\n1,007\n2,8\n"), target="y").y.tolist() == ["007", "8"]


def test_columns_are_chosen_by_name_in_the_given_order(tmp_path):
    table = csv.read(written(tmp_path, GOOD), features=["width", "length"])
    assert np.array_equal(table.X, [[2.5, 1], [4, 3], [-6, 0.5]])
    assert table.y is None


def test_quotes_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b'\xef\xbb\xbf"a","the label"\r\n"1","x, y"\r\n2,z\r\n')
    table = csv.read(path, target="the label")
    assert table.X.tolist() == [[1], [2]]
    assert table.y.tolist() == ["x, y", "z"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b,species\n", "no lines below"),
        ("a,b\n1,2\n", "no column 'species'; its columns are 'a', 'b'"),
        ("a,a,species\n1,2,x\n", "two columns named 'a'"),
        ("a,species\n1,x\n2\n3,y\n", "line 3 has 1 fields, expected 2"),
        ("a,species\n1,x\n2,y,z\n", "line 3 has 3 fields, expected 2"),
        ('a,species\n1,"x"\n2,y,z\n', "line 3 has 3 fields, expected 2"),
        ("a,b,species\n1,2,x\n1,two,y\n", "line 3 has 'two' in column 'b'"),
        ("a,b,species\n1,2,x\n1,,y\n", "line 3 has no value in column 'b'"),
        ("a,species\n1,x\n2,\n", "line 3 has no value in column 'species'"),
        ("species\nx\n", "no columns beside the target"),
        ('a,species\n1,"x\n2,y\n', "cannot be read as CSV"),
        (f"a,species\n1,{'x' * 140_000}\n", "cannot be read as CSV"),
    ],
)
def test_a_bad_csv_is_refused_with_the_place(tmp_path, text, said):
    with pytest.raises(nbs.InputValueError, match=r"data\.csv") as caught:
        csv.read(written(tmp_path, text), target="species")
    assert said in str(caught.value)


def test_a_missing_label_is_not_blamed_on_a_column_that_is_not_used(tmp_path):
    path = written(tmp_path, "a,note,y\n1,,x\n2,hi,\n")
    with pytest.raises(nbs.InputValueError, match="line 3 has no value in column 'y'"):
        csv.read(path, target="y", features=["a"])


def test_a_binary_file_is_no_csv(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"\xff\xfe\x00\x01" * 10)
    with pytest.raises(nbs.InputValueError, match="UTF-8"):
        csv.read(path, target="y")


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
