"""Readers: what a good file holds, and the line where a bad one is wrong."""

import bz2
import csv as stdlib_csv
import gzip
import io
import lzma
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.data import arrays, csv, digits, source

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
        ("species\nx\n", "has no feature columns"),
        ("1.5,2,x\n2.5,3,y\n", "is its first line a header?"),
        ("a,,,species\n1,2,3,x\n", "two columns without a name"),
        ("a,species\n1_000,x\n", "line 2 has '1_000' in column 'a'"),
        ("a,species\n\uff11,x\n", "line 2 has '\uff11' in column 'a'"),
        ('a,species\n1_000, "x"\n', "line 2 has '1_000' in column 'a'"),
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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00\x01" * 10, "UTF-8"),
        (b"a,y\n" + b"1,x\n" * 5000 + b"2,caf\xe9\n", "byte 0xe9 in line 5002"),
        ("a,y\n1,x\n".encode("utf-16-le"), "NUL in line 1"),
    ],
)
def test_what_is_no_utf_8_text_is_no_csv(tmp_path, content, said):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(nbs.InputValueError, match="UTF-8") as caught:
        csv.read(path, target="y")
    assert said in str(caught.value)


def zipped(name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, "a,y\n1,x\n")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"a,y\n1,x\n", mtime=0), "gzip; unpack it, or give it as: zcat"),
        (bz2.compress(b"a,y\n1,x\n"), "bzip2; unpack it"),
        (lzma.compress(b"a,y\n1,x\n"), "xz; unpack it"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd; unpack it"),
        (zipped("data.csv"), "zip archive; unpack it"),
        (zipped("[Content_Types].xml"), "Excel workbook; save it as CSV"),
        (zipped("data.csv")[:40], "damaged zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel workbook"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"ARROW1\x00\x00", "Arrow"),
        ("a,y\n1,x\n".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
    ],
    ids=lambda part: part if isinstance(part, str) else "file",  # archives contain the time
)
def test_files_of_other_formats_are_named(tmp_path, content, said):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with source.opened(path) as data, pytest.raises(nbs.InputValueError, match=r"data\.csv is ") as caught:
        source.kind(data)
    assert said in str(caught.value)


@pytest.mark.parametrize(("separator", "said"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_another_separator_is_named(tmp_path, separator, said):
    path = written(tmp_path, GOOD.replace(",", separator))
    for options in ({"target": "species"}, {"features": ["length", "width"]}, {}):
        with pytest.raises(nbs.InputValueError, match="expected commas") as caught:
            csv.read(path, **options)
        assert f"separated by {said}" in str(caught.value)


@pytest.mark.parametrize(("separator", "said"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'"), (" ", "spaces")])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("quote", ['"', ""])
def test_another_separator_is_named_beside_quotes_as_r_writes_them(tmp_path, separator, said, mark, quote):
    path = tmp_path / "data.csv"
    lines = (separator.join(f"{quote}{field}{quote}" for field in line) for line in ("xzy", "12a", "34b"))
    path.write_bytes(mark + "\n".join(lines).encode())
    with pytest.raises(nbs.InputValueError, match="expected commas") as caught:
        csv.read(path, target="y")
    assert f"separated by {said}" in str(caught.value)


@pytest.mark.parametrize("labels", ["1 1.0 2", "1.00 1.0", "2 -1.0 -1", "01 01.0"])
def test_labels_that_are_one_number_in_two_forms_are_refused(tmp_path, labels):
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels.split())
    with pytest.raises(nbs.InputValueError, match="in column 'y', which are the same number; write"):
        csv.read(written(tmp_path, text), target="y")


def test_a_separator_in_the_name_of_a_single_column_is_part_of_it(tmp_path):
    assert csv.read(written(tmp_path, "a;b\n1\n"), features=["a;b"]).X.tolist() == [[1]]


def test_a_space_before_a_quote_belongs_to_neither(tmp_path):
    table = csv.read(written(tmp_path, 'a, "b", y\n1, "2", "red"\n 3,4, "x, 5, ""y"""\n "5", 6,blue\n'), target="y")
    assert table.feature_names == ("a", "b")
    assert table.X.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert table.y.tolist() == ["red", 'x, 5, "y"', "blue"]
    # A comma in such quotes does not move the columns behind it.
    table = csv.read(written(tmp_path, 'y,a\n "x, 5, z",2\n'), target="y")
    assert table.X.tolist() == [[2]]


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8).map(lambda text: f"v{text}")


@given(
    rows=st.lists(st.tuples(st.floats(-1e300, 1e300), TEXT, st.integers(-9, 9)), min_size=1, max_size=6),
    names=st.lists(TEXT, min_size=3, max_size=3, unique=True),
    quoting=st.sampled_from([stdlib_csv.QUOTE_ALL, stdlib_csv.QUOTE_MINIMAL, stdlib_csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    space=st.booleans(),
)
def test_what_pythons_writer_writes_is_read_back(rows, names, quoting, end, space):
    text = io.StringIO(newline="")
    writer = stdlib_csv.writer(text, quoting=quoting, lineterminator=end)
    for row in [names, *rows]:
        writer.writerow(row)
    content = text.getvalue()
    if (
        space
        and quoting == stdlib_csv.QUOTE_ALL
        and not any('","' in field for row in [names, *rows] for field in map(str, row))
    ):
        content = content.replace('","', '", "')
    table = csv.read(source.Source("data.csv", io.BytesIO(content.encode())), target=names[1])
    assert table.X.tolist() == [[x, k] for x, _, k in rows]
    assert table.y.tolist() == [label for _, label, _ in rows]
    assert table.feature_names == (names[0], names[2])


def test_lines_that_end_in_a_carriage_return_are_read(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b'a,y\r1,x\r2,"z"\r')
    table = csv.read(path, target="y")
    assert table.X.tolist() == [[1], [2]]
    assert table.y.tolist() == ["x", "z"]


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "NA", "N/A", "<NA>", "null"])
def test_a_missing_label_is_refused_with_its_line(tmp_path, missing):
    with pytest.raises(nbs.InputValueError, match=r"line 3 has .* in column 'y'"):
        csv.read(written(tmp_path, f"a,y\n1,x\n2,{missing}\n"), target="y")


@pytest.mark.parametrize("labels", ["0.5 1 2", "1.25 2.5 -3e-1", "1 2 inf", "1e3 2.5 7"])
def test_continuous_labels_are_refused_with_their_line(tmp_path, labels):
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels.split())
    with pytest.raises(nbs.InputValueError, match=r"line \d has .* continuous values cannot be labels"):
        csv.read(written(tmp_path, text), target="y")


@pytest.mark.parametrize(
    "labels", ["v1.5 v2.5", "1.5 a", "None Mild", "1.0 2.0", "007 8", "01 1", "01 1.0", "inf sup", "1_5.5 2"]
)
def test_labels_that_are_text_or_whole_are_taken_as_they_stand(tmp_path, labels):
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels.split())
    assert csv.read(written(tmp_path, text), target="y").y.tolist() == labels.split()


def test_a_hundred_thousand_columns_are_read(tmp_path):
    names = [f"c{j}" for j in range(100_000)]  # searching the header for each would take minutes
    row = ",".join(map(str, range(100_000)))
    path = written(tmp_path, f"{','.join(names)},y\n{row},p\n{row},q\n")
    table = csv.read(path, target="y", features=names[::-1], weight="c5")
    assert np.array_equal(table.X, [np.arange(100_000)[::-1]] * 2)
    assert table.weight.tolist() == [5, 5]


def test_a_text_file_is_no_numpy_file(tmp_path):
    (tmp_path / "X.npy").write_text("a,y\n1,x\n")
    with pytest.raises(nbs.InputValueError, match="not a NumPy file") as caught:
        arrays.read_npy(tmp_path / "X.npy")
    assert "pickle" not in str(caught.value)


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
