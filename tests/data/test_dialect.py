"""How a text file is written: found in its first lines, or given."""

import csv as stdlib_csv
import io
import os

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data.dialect import TextOptions, _Reader
from tests.data.files import read, written
from tests.processes import fork_beside_a_thread

pytest.importorskip("pyarrow")

GOOD = "length,width,species\n1,2.5,setosa\n3,4,virginica\n\n5e-1,-6,setosa\n"
X = [[1, 2.5], [3, 4], [0.5, -6]]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_separator_is_found(tmp_path, separator, mark, end):
    path = written(tmp_path, mark + GOOD.replace(",", separator).replace("\n", end))
    table = read(path, target="species")
    assert table.X.tolist() == X
    assert table.y.tolist() == ["setosa", "virginica", "setosa"]
    assert read(path, features=["length", "width"]).X.tolist() == X
    assert read(path, drop=["species"]).X.tolist() == X


@pytest.mark.parametrize("separator", [";", "\t", "|", " "])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quote", ['"', ""])
def test_tables_of_r_are_read(tmp_path, separator, mark, quote):
    lines = (separator.join(f"{quote}{field}{quote}" for field in line) for line in ("xzy", "12a", "34b"))
    table = read(written(tmp_path, mark + "\n".join(lines)), target="y")
    assert table.X.tolist() == [[1, 2], [3, 4]]
    assert table.y.tolist() == ["a", "b"]


def test_names_of_rows_without_a_header_are_too_many_fields(tmp_path):
    path = written(tmp_path, '"x" "y"\n"1" 3 "a"\n"2" 5 "b"\n')
    with pytest.raises(nbs.InputValueError, match="line 2 has 3 fields, expected 2 as in the header"):
        read(path, target="y")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sepal length,kind\n1,wild rose\n2,red rose\n", ("sepal length", "kind")),
        ("x\tcity, state\n1\tAustin, TX\n2\tReno, NV\n", ("x", "city, state")),
        ("a;b\n1\n2\n", ("a;b",)),
        ("sepal length\n1\n", ("sepal length",)),
        ("a,b\n1,2\n1;2\n", ("a", "b")),
        ('sep=;\na;"b,c"\n1;2\n', ("a", "b,c")),
        ("a  b   c\n1 2   3  \n 4 5 6\n", ("a", "b", "c")),
    ],
)
def test_characters_in_names_and_labels_are_no_separators(tmp_path, text, names):
    with pytest.raises(nbs.InputValueError, match="no column 'none'") as caught:
        read(written(tmp_path, text), target="none")
    assert f"its columns are {', '.join(map(repr, names))}" in str(caught.value)


def test_columns_aligned_by_spaces_are_read(tmp_path):
    table = read(written(tmp_path, "a   b    y\n 1   2   p  \n 3.5 4   q\n"), target="y")
    assert table.X.tolist() == [[1, 2], [3.5, 4]]
    assert table.y.tolist() == ["p", "q"]


def test_a_name_that_is_asked_for_decides_on_the_separator(tmp_path):
    path = written(tmp_path, "a;b,c;d\n1;2,3;4\n")
    assert read(path, features=["a", "d"]).X.tolist() == [[1, 4]]
    assert read(written(tmp_path, "a;b\n1\n"), features=["a;b"]).X.tolist() == [[1]]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a;b\n1,5;2,25\n-3;,5\n", [[1.5, 2.25], [-3, 0.5]]),
        ("a\tb\n1,5e3\t+2\n", [[1500, 2]]),
        ('a,b\n"1,5","2,50"\n', [[1.5, 2.5]]),
        ("a;b\n1,500;0,5\n", [[1.5, 0.5]]),  # 0,5 shows that commas are decimal marks
        ("a;b\n1.5;2\n", [[1.5, 2]]),
        ("a;b\n1,5\u00a0;2\n", [[1.5, 2]]),
    ],
)
def test_a_decimal_comma_is_found(tmp_path, text, numbers):
    assert read(written(tmp_path, text)).X.tolist() == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a;b\n1,500;2,250\n", "line 2 has '1,500' in column 'a', expected a number; give --decimal , if"),
        ('a,b\n"1,234,567","2"\n', "line 2 has '1,234,567' in column 'a', expected a number; give --decimal , if"),
        ("a;b\n1;2.5\n1,5;2\n", "line 3 has '1,5' in column 'a', expected a number; give --decimal , if"),
        ("a;b\n1,5;2\n" + "1,5;2\n" * 300 + "1.5;2\n", "line 303 has '1.5' in column 'a', expected a number; give --"),
        ("a;b\n1.234,5;2\n", "line 2 has '1.234,5' in column 'a', expected a number"),
    ],
)
def test_commas_that_may_separate_thousands_are_refused(tmp_path, text, said):
    with pytest.raises(nbs.InputValueError, match="expected a number") as caught:
        read(written(tmp_path, text))
    assert said in str(caught.value)


def test_the_options_overrule_the_first_lines(tmp_path):
    path = written(tmp_path, "a;b\n1,500;2,250\n")
    assert read(path, options={"decimal": ","}).X.tolist() == [[1.5, 2.25]]
    path = written(tmp_path, "a:b\n1:2\n")
    assert read(path, options={"sep": ":"}).X.tolist() == [[1, 2]]
    for sep in ("\t", "\\t", "tab"):
        assert read(written(tmp_path, "a\tb\n1\t2\n"), options={"sep": sep}).X.tolist() == [[1, 2]]
    path = written(tmp_path, "a,y\n1,'p,q'\n2,'it''s'\n")
    assert read(path, options={"quote": "'"}, target="y").y.tolist() == ["p,q", "it's"]
    path = written(tmp_path, 'a,y\n1,"p\n2,q"\n')
    assert read(path, options={"quote": ""}, target="y").y.tolist() == ['"p', 'q"']


def test_missing_values_have_the_spellings_that_are_given(tmp_path):
    path = written(tmp_path, "a,y\n1,NA\n2,x\n-999,x\n")
    with pytest.raises(nbs.InputValueError, match="line 2 has 'NA', which marks a missing value, in column 'y'"):
        read(path, target="y")
    with pytest.raises(nbs.InputValueError, match="line 4 has '-999', which marks a missing value, in column 'a'"):
        read(path, target="y", options={"null": ("-999",)})
    assert read(path, target="y", options={"null": ("?",)}).y.tolist() == ["NA", "x", "x"]
    for text, column in ((",x", "a"), ("1,", "y")):  # the empty field is always a missing value
        with pytest.raises(nbs.InputValueError, match=f"line 2 has no value in column '{column}'"):
            read(written(tmp_path, f"a,y\n{text}\n"), target="y", options={"null": ("?",)})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_recognised(tmp_path, encoding):
    text = "largeur,esp\u00e8ce\n" + "1.5,\u00e9rable\n2,\u0142\u00f3d\u017a\n" * 40_000  # larger than a block
    table = read(written(tmp_path, text.encode(encoding)), target="esp\u00e8ce")
    assert table.X[:2].tolist() == [[1.5], [2]]
    assert table.X.shape == (80_000, 1)
    assert np.unique(table.y).tolist() == ["\u00e9rable", "\u0142\u00f3d\u017a"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1250", "utf-16-le", "shift_jis", "UTF8"])
def test_other_encodings_are_given(tmp_path, encoding):
    label = (
        "\u30c6\u30b9\u30c8" if encoding == "shift_jis" else "ch\u00e2teau" if "12" not in encoding else "\u201ca\u201d"
    )
    path = written(tmp_path, f"a,y\n1.5,{label}\n2,x\n".encode(encoding))
    table = read(path, target="y", options={"encoding": encoding})
    assert table.X.tolist() == [[1.5], [2]]
    assert table.y.tolist() == [label, "x"]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (
            b"a,y\n1,x\n2,caf\xe9\n",
            {},
            "is not UTF-8 text (byte 0xe9 in line 3); save it as UTF-8, or name",
        ),
        (b"a,y\n" + b"1,x\n" * 200_000 + b"2,caf\xe9\n", {}, "byte 0xe9 in line 200002"),
        (b"a,y\n1,x\n2,caf\xe9\n", {"encoding": "ascii"}, "is not ASCII text (byte 0xe9 in line 3)"),
        ("a,y\n1,x\n".encode("utf-16") + b"\0", {}, "is not UTF-16 text"),
        (b"\0\0\2\3" * 100, {}, "is not text (a NUL in line 1)"),
        (b"a,y\n1,x\n" + bytes(10), {}, "is not text (a NUL in line 3)"),
    ],
)
def test_bytes_that_are_not_text_are_refused_with_their_line(tmp_path, content, options, said):
    with pytest.raises(nbs.InputValueError, match=r"data\.csv") as caught:
        read(written(tmp_path, content), target="y", options=options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sep": ""}, "sep is '', expected one ASCII character"),
        ({"sep": "::"}, "sep is '::', expected one ASCII character"),
        ({"sep": "\u00a7"}, "expected one ASCII character"),
        ({"sep": "\n"}, "expected one ASCII character"),
        ({"sep": "'", "quote": "'"}, "which is also the quote"),
        ({"sep": '"'}, "which is also the quote"),
        ({"quote": "<>"}, "quote is '<>', expected one ASCII character"),
        ({"decimal": ";"}, "decimal is ';', expected '.' or ','"),
        ({"encoding": "utf-9"}, "encoding is 'utf-9', which Python does not know"),
        ({"encoding": "base64"}, "encoding is 'base64', which Python does not know"),
        ({"encoding": "a\0"}, "which Python does not know"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(nbs.InputValueError, match=f"^{next(iter(options))} is") as caught:
        TextOptions(**options)
    assert said in str(caught.value)
    assert caught.value.parameter == next(iter(options))


def test_what_pandas_writes_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.5, -2e-7, 3], "b": [1, 2, 3], "y": ["p", 'q "r"', "s\nt"]})
    for options in (
        {},
        {"sep": ";", "decimal": ","},
        {"sep": "\t", "encoding": "utf-16"},
        {"quoting": stdlib_csv.QUOTE_ALL, "lineterminator": "\r\n"},
        {"sep": "|", "encoding": "utf-8-sig"},
    ):
        content = io.BytesIO()
        frame.to_csv(content, index=False, **options)
        table = read(written(tmp_path, content.getvalue()), target="y")
        assert np.array_equal(table.X, frame[["a", "b"]].to_numpy())
        assert table.y.tolist() == frame["y"].tolist()


@pytest.mark.parametrize("first", [0, 250, 3000])
@pytest.mark.parametrize("quote", ["", '"', ' "'])
def test_a_long_field_is_read_and_the_limit_of_csv_stays(tmp_path, first, quote):
    limit = stdlib_csv.field_size_limit()
    long = f"{quote}{'x' * 150_000}{quote.strip()}"
    rows = ["1,short,u"] * first + [f"2,{long},v"] + ["3,short,u"] * 5
    path = written(tmp_path, "\n".join(["a,note,y", *rows]))
    table = read(path, target="y", drop=["note"])
    assert table.y.tolist() == ["u"] * first + ["v"] + ["u"] * 5
    (block,) = nbs.data.open(path, target="y", features=["a"]).blocks()
    assert block.X.tolist() == table.X.tolist() == [[1]] * first + [[2]] + [[3]] * 5
    assert stdlib_csv.field_size_limit() == limit


@pytest.mark.parametrize(("before", "line"), [("", 1), ("sep=;\n", 2), ("sep=;\n\n", 3), ("\n\n", 3)])
def test_two_columns_of_one_name_have_the_line_of_the_header(tmp_path, before, line):
    with pytest.raises(nbs.InputValueError, match=rf"two columns named 'a' in line {line};"):
        read(written(tmp_path, before + "a;a\n1;2\n"), target="y")


def test_the_limit_of_csv_is_set_for_several_rows_at_once_and_restored_before_they_are_used(monkeypatch):
    calls, original = [], stdlib_csv.field_size_limit

    def counted(*limit):
        calls.extend(limit)
        return original(*limit)

    monkeypatch.setattr(stdlib_csv, "field_size_limit", counted)
    reader = _Reader(io.StringIO("1,2\n" * 1000, newline=""), ",", '"', strict=True)
    for n, row in enumerate(reader, 1):
        assert row == ["1", "2"]
        assert reader.line_num == n
        assert original() == calls[-1] == calls[1]
    assert n == 1000
    assert len(calls) < 200


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 40])
def test_rows_before_an_error_of_csv_are_read(n):
    rows = []
    reader = _Reader(io.StringIO("1\n" * n + '"a"b\n', newline=""), ",", '"', strict=True)
    with pytest.raises(stdlib_csv.Error):
        for row in reader:
            rows.append(row)  # noqa: PERF402 - those before the error
    assert rows == [["1"]] * n


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_reads_text_while_another_thread_of_its_parent_does():
    setup = """
        from nbsoftmax.data.dialect import _Reader

        def slow():
            begun.set()
            ended.wait()
            yield "1,2"
    """
    busy = """list(_Reader(slow(), ",", '"'))"""
    child = """list(_Reader(["1,2"], ",", '"')) == [["1", "2"]]"""
    fork_beside_a_thread(setup, busy=busy, child=child)
