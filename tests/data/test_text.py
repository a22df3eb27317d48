"""Text files of columns: what a good file holds, and the line where a bad one is wrong."""

import csv as stdlib_csv
import io
import math
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.data import source, text_content
from nbsoftmax.data.text import TextFile
from tests.data.files import read, table_file, written

pytest.importorskip("pyarrow")

GOOD = "length,width,species\n1,2.5,setosa\n3,4,virginica\n\n5e-1,-6,setosa\n"


def test_a_csv_gives_numbers_names_and_labels(tmp_path):
    table = read(written(tmp_path, GOOD), target="species")
    assert np.array_equal(table.X, [[1, 2.5], [3, 4], [0.5, -6]])
    assert table.X.dtype == np.float64
    assert table.feature_names == ("length", "width")
    assert table.y.tolist() == ["setosa", "virginica", "setosa"]


def test_whole_numbers_as_labels_are_integers(tmp_path):
    y = read(written(tmp_path, "a,y\n1,0\n2,-3\n"), target="y").y
    assert y.tolist() == [0, -3]
    assert y.dtype == np.int64
    assert read(written(tmp_path, "a,y\n1,007\n2,8\n"), target="y").y.tolist() == ["007", "8"]


def test_columns_are_chosen_by_name_in_the_given_order(tmp_path):
    table = read(written(tmp_path, GOOD), features=["width", "length"])
    assert np.array_equal(table.X, [[2.5, 1], [4, 3], [-6, 0.5]])
    assert table.y is None


def test_weights_are_a_column_of_their_own(tmp_path):
    table = read(written(tmp_path, "a,w,y\n1,0.5,p\n2,2,q\n"), target="y", weight="w")
    assert table.X.tolist() == [[1], [2]]
    assert table.weight.tolist() == [0.5, 2]


def test_numbers_are_rounded_to_the_nearest_float64(tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**63, 2000, dtype=np.uint64).view(np.float64)
    texts = [repr(x) for x in bits[np.isfinite(bits)].tolist()]
    texts += [f"{x:.30e}" for x in rng.normal(size=500)]  # more digits than are needed
    texts += [
        "9007199254740993",
        "0.1",
        "2.2250738585072011e-308",
        "5e-324",
        "1e-400",
        "+7",
        "1.",
        ".5",
        "00012",
        "1E+5",
    ]
    X = read(written(tmp_path, "a\n" + "\n".join(texts) + "\n")).X
    assert X[:, 0].tolist() == [float(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b,species\n", "no lines below"),
        ("a,b,species", "no lines below"),
        ("a,b\n1,2\n", "no column 'species'; its columns are 'a', 'b'"),
        ("a,a,species\n1,2,x\n", "two columns named 'a' in line 1"),
        ("a,species\n1,x\n2\n3,y\n", "line 3 has 1 field, expected 2"),
        ("a,species\n1,x\n2,y,z\n", "line 3 has 3 fields, expected 2"),
        ("a,species\n1,x\n  \n", "line 3 has 1 field, expected 2"),
        ('a,species\n1,"x"\n2,y,z\n', "line 3 has 3 fields, expected 2"),
        ("a,b,species\n1,2,x\n1,two,y\n", "line 3 has 'two' in column 'b', expected a number"),
        ("a,b,species\n1,2,x\n1,True,y\n", "line 3 has 'True' in column 'b', expected a number"),
        ("a,b,species\n1,2,x\n1,2026-11-26,y\n", "line 3 has '2026-11-26' in column 'b', expected a number"),
        ("a,b,species\n1,2,x\n1,0x10,y\n", "line 3 has '0x10' in column 'b', expected a number"),
        ("a,b,species\n1,2,x\n1,1d5,y\n", "line 3 has '1d5' in column 'b', expected a number"),
        ("a,b,species\n1,2,x\n1,1 000,y\n", "line 3 has '1 000' in column 'b', expected a number"),
        ("a,b,species\n1,2,x\n1,1\0,y\n", "a NUL in line 3"),
        ("a,b,species\n1,2,x\n1,,y\n", "line 3 has no value in column 'b'"),
        ("a,b,species\n1,2,x\n1, ,y\n", "line 3 has no value in column 'b'"),
        ("a,b,species\n1,2,x\n1,NA,y\n", "line 3 has 'NA', which marks a missing value, in column 'b'"),
        ("a,b,species\n1,2,x\n1,nan,y\n", "line 3 has 'nan', which marks a missing value, in column 'b'"),
        ("a,b,species\n1,2,x\n1,NaN,y\n", "line 3 has 'NaN', which marks a missing value, in column 'b'"),
        ("a,b,species\n1,2,x\n1,-inf,y\n", "line 3 has -inf in column 'b', expected a finite number"),
        ("a,b,species\n1,2,x\n1,1e999,y\n", "line 3 has 1e999 in column 'b', expected a finite number"),
        ("a,species\n1,x\n2,\n", "line 3 has no value in column 'species'"),
        ("species\nx\n", "has no feature columns"),
        ("1.5,2,x\n2.5,3,y\n", "is its first line a header?"),
        ("a,,,species\n1,2,3,x\n", "two columns without a name"),
        ("a,species\n1_000,x\n", "line 2 has '1_000' in column 'a'"),
        ("a,species\n\uff11,x\n", "line 2 has '\uff11' in column 'a'"),
        ('a,species\n1_000, "x"\n', "line 2 has '1_000' in column 'a'"),
        ('a,species\n1,"x\n2,y\n', "cannot be read as text of columns (unexpected end of data); correct its quotes"),
        ('a,species\n1,x\n2,"y"z\n3,"u\n', "correct its quotes"),
        ('"a"b,species\n1,x\n', "correct the quotes"),
        # pyarrow alone takes the lines from one stray quote to the next as one field, and lines below it are lost.
        ('a,species,note\n1,x,fine\n2,y,"so\n3,x,fine\n4,y,"so\n', "correct its quotes"),
        ('"a",species\n"4"2.5,x\n', "correct its quotes"),
        ('a,species\n1,"x"y\n', "correct its quotes"),
        ('a,species\n1,x\n2,"y\n', "correct its quotes"),
        ("a,species\n++4,x\n", "line 2 has '++4' in column 'a'"),
        ("a,species\n+-4,x\n", "line 2 has '+-4' in column 'a'"),
        ("a,species\n+ 4,x\n", "line 2 has '+ 4' in column 'a'"),
        ('a,species,note\n1,x,fine\n2,y,"so\n3,x,fine\n', "correct its quotes"),
    ],
)
def test_a_bad_csv_is_refused_with_the_place(tmp_path, text, said):
    with pytest.raises(nbs.InputValueError, match=r"data\.csv") as caught:
        read(written(tmp_path, text), target="species", drop=["note"] if "note" in text else [])
    assert said in str(caught.value)


def test_the_line_of_a_mistake_is_that_of_a_text_editor(tmp_path):
    below = "\n\n" + '1,"two\nlines"\n' * 3 + "\n"  # lines 3 to 10
    for bad, said in (("nil,x", "line 11 has 'nil'"), (",x", "line 11 has no value"), ("2,", "line 11 has no value")):
        for end in ("\n", "\r\n", "\r"):
            text = f'"the\nfeature",y{below}{bad}\n1,x\n'.replace("\n", end)
            with pytest.raises(nbs.InputValueError, match=said):
                read(written(tmp_path, text), target="y")


def test_a_mistake_far_below_is_found_in_its_line(tmp_path):
    lines = ["1,x"] * 400_000  # more than pyarrow parses at once
    for bad, said in (("one,x", "has 'one'"), ("1", "has 1 field"), ("NA,x", "has 'NA'"), ("1\0,x", "has '1")):
        lines[333_333] = bad
        text = "\n".join(["a,b", *lines])
        with pytest.raises(nbs.InputValueError, match=f"line 333335 {said}"):
            read(written(tmp_path, text), target="b")


def test_a_missing_label_is_not_blamed_on_a_column_that_is_not_used(tmp_path):
    path = written(tmp_path, "a,note,y\n1,,x\n2,hi,\n")
    with pytest.raises(nbs.InputValueError, match="line 3 has no value in column 'y'"):
        read(path, target="y", features=["a"])


def test_columns_that_are_not_used_may_hold_anything(tmp_path):
    path = written(tmp_path, 'a,note,y\n1,"two\nlines",x\n2,,y\n3,1e999,x\n')
    table = read(path, target="y", drop=["note"])
    assert table.X.tolist() == [[1], [2], [3]]
    assert table.y.tolist() == ["x", "y", "x"]


@pytest.mark.parametrize("labels", ["1 1.0 2", "1.00 1.0", "2 -1.0 -1", "01 01.0"])
def test_labels_that_are_one_number_in_two_forms_are_refused(tmp_path, labels):
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels.split())
    with pytest.raises(nbs.InputValueError, match="in column 'y', which are the same number; write"):
        read(written(tmp_path, text), target="y")


def test_a_space_before_a_quote_belongs_to_neither(tmp_path):
    table = read(written(tmp_path, 'a, "b", y\n1, "2", "red"\n 3,4, "x, 5, ""y"""\n "5", 6,blue\n'), target="y")
    assert table.feature_names == ("a", "b")
    assert table.X.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert table.y.tolist() == ["red", 'x, 5, "y"', "blue"]
    # A comma in such quotes does not move the columns behind it.
    table = read(written(tmp_path, 'y,a\n "x, 5, z",2\n'), target="y")
    assert table.X.tolist() == [[2]]


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8).map(lambda text: f"v{text}")


@given(
    rows=st.lists(st.tuples(st.floats(-1e300, 1e300), TEXT, st.integers(-9, 9)), min_size=1, max_size=6),
    names=st.lists(TEXT, min_size=3, max_size=3, unique=True),
    quoting=st.sampled_from([stdlib_csv.QUOTE_ALL, stdlib_csv.QUOTE_MINIMAL, stdlib_csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    space=st.booleans(),
)
def test_what_pythons_writer_writes_is_read_back(rows, names, quoting, end, separator, encoding, space):
    text = io.StringIO(newline="")
    writer = stdlib_csv.writer(text, quoting=quoting, lineterminator=end, delimiter=separator)
    for row in [names, *rows]:
        writer.writerow(row)
    content, between = text.getvalue(), f'"{separator}"'
    if (
        space
        and quoting == stdlib_csv.QUOTE_ALL
        and not any(between in field for row in [names, *rows] for field in map(str, row))
    ):
        content = content.replace(between, f'"{separator} "')
    data = source.Source("data.csv", io.BytesIO(content.encode(encoding)))
    table = read(data, target=names[1], offset=[names[2]])  # named: the separator is certain
    assert table.X.tolist() == [[x] for x, _, _ in rows]
    assert table.offset.tolist() == [[k] for _, _, k in rows]
    assert table.y.tolist() == [label for _, label, _ in rows]
    assert table.feature_names == (names[0],)


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "NA", "N/A", "<NA>", "null"])
def test_a_missing_label_is_refused_with_its_line(tmp_path, missing):
    with pytest.raises(nbs.InputValueError, match=r"line 3 has .* in column 'y'"):
        read(written(tmp_path, f"a,y\n1,x\n2,{missing}\n"), target="y")


@pytest.mark.parametrize("labels", ["0.5 1 2", "1.25 2.5 -3e-1", "1 2 inf", "1e3 2.5 7"])
def test_continuous_labels_are_refused_with_their_line(tmp_path, labels):
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels.split())
    with pytest.raises(nbs.InputValueError, match=r"line \d has .* continuous values cannot be labels"):
        read(written(tmp_path, text), target="y")


@pytest.mark.parametrize(
    "labels", ["v1.5 v2.5", "1.5 a", "None Mild", "1.0 2.0", "007 8", "01 1", "01 1.0", "inf sup", "1_5.5 2"]
)
def test_labels_that_are_text_or_whole_are_taken_as_they_stand(tmp_path, labels):
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels.split())
    assert read(written(tmp_path, text), target="y").y.tolist() == labels.split()


def test_known_labels_are_taken_as_they_stand(tmp_path):
    path = written(tmp_path, "a,y\n1,NA\n2,1.5\n3,NA\n")
    assert read(path, target="y", labels={"NA", "1.5"}).y.tolist() == ["NA", "1.5", "NA"]


def test_a_hundred_thousand_columns_are_read(tmp_path):
    names = [f"c{j}" for j in range(100_000)]  # searching the header for each would take minutes
    row = ",".join(map(str, range(100_000)))
    path = written(tmp_path, f"{','.join(names)},y\n{row},p\n{row},q\n")
    table = read(path, target="y", features=names[:5:-1], weight="c5")
    assert np.array_equal(table.X, [np.arange(6, 100_000)[::-1]] * 2)
    assert table.weight.tolist() == [5, 5]


def test_a_row_that_is_longer_than_a_block_is_read(tmp_path):
    long = "x" * 120_000
    rows = [f"{i},{','.join([long] * 20)},{i % 2}" for i in range(5)]  # 2.4 MB each, below a short header
    rows = ["0" + "," * 20 + ",1"] * 300 + rows
    notes = [f"n{j}" for j in range(20)]
    path = written(tmp_path, "\n".join([f"a,{','.join(notes)},y", *rows]))
    table = read(path, target="y", drop=notes)
    assert table.X[:, 0].tolist() == [0] * 300 + list(range(5))
    assert table.y.tolist() == [1] * 300 + [0, 1, 0, 1, 0]


def test_the_options_of_pyarrow_read_the_same_in_batches(tmp_path):
    """What a reader of files larger than memory needs."""
    pa = pytest.importorskip("pyarrow")
    arrow_csv = pytest.importorskip("pyarrow.csv")
    path = written(tmp_path, "\n".join(["a;b;y", "", *(f"{i},5;{i};k{i % 3}" for i in range(300_000))]))
    with table_file(path) as file:
        assert isinstance(file, TextFile)
        types = {"b": pa.float64(), "a": pa.float64(), "y": pa.string()}
        read_options, parse_options, convert_options = file.format.arrow_options(types)
    batches = list(arrow_csv.open_csv(path, read_options, parse_options, convert_options))
    assert len(batches) > 1
    assert batches[0].schema.names == ["b", "a", "y"]
    assert math.isclose(sum(batch.column(1).to_numpy().sum() for batch in batches), 300_000 * 150_000)


def test_an_ordinary_file_is_not_read_again(tmp_path, monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(TextFile, "_read_rewritten", fail)
    for text in (GOOD, GOOD.replace(",", ";"), '"a","y"\r\n"1","p ""q"""\r\n\r\n"2","two\nlines"\r\n'):
        path = written(tmp_path, text)
        assert len(read(path, target="species" if "species" in text else "y").X) > 1


def test_when_an_error_is_raised_pyarrow_has_released_the_file(tmp_path, monkeypatch):
    # A thread of pyarrow that releases an object of Python while the interpreter shuts down aborts the process.
    lent = []

    class Lent(text_content.Lent):
        def __init__(self, content):
            super().__init__(content)
            lent.append(weakref.ref(self))

    monkeypatch.setattr(text_content, "Lent", Lent)
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n" + "1.5,u\n2.5,v\n" * 20_000 + "3.5\n", encoding="utf-8")
    with pytest.raises(nbs.InputValueError, match=r"rows\.csv line 40002 has 1 field"):
        list(nbs.data.open(path, target="y").blocks())
    assert lent
    assert [each() for each in lent] == [None] * len(lent)


def test_an_error_of_a_read_does_not_pass_through_pyarrow():
    def rows():
        yield ["1.5", "u"]
        raise nbs.InputValueError("line 3 has 1 field")

    content = text_content.Rewritten(rows())
    with pytest.raises(nbs.InputValueError, match="line 3"), content.errors_raised():
        assert bytes(text_content.Lent(content).read(100)) == b""  # pyarrow would keep the error until the process ends
    content.stop()
