"""The quotes of text files: which texts are plain, and what files that are read in batches hold."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.data.quotes import Quotes, quotes_of
from tests.data.files import read, written

pa = pytest.importorskip("pyarrow")

PIECES = ['"', '""', ",", "x", "\n", " ", "\r\n"]


def plain(text, size=2**20):
    quotes, content = Quotes(",", '"'), text.encode()
    for start in range(0, len(content), size):
        quotes.add(content[start : start + size])
    return quotes.are_plain()


def rows_of(text):
    """The rows that Python's csv module reads; None for wrong quotes."""
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("a,b\n", True),
        ('"a","b"', True),
        ('\ufeff"a"\n', True),
        ('"","",""""\r\n"two\nlines","a ""b"""', True),
        ('a,"b', False),
        ('a,"b"c', False),
        ('a, "b"', False),
        ('a"b"', False),
        ('a""b', False),
        ('2,"so\n3,fine\n4,"so\n', False),
    ],
)
def test_plain_quotes_are_at_edges_of_fields_or_doubled(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "n", "after_space"),
    [("", 0, False), ("a, b\n", 0, False), ('"a", b"\n', 3, False), ('a, "b"', 2, True), ('"a "', 2, True)],
)
@pytest.mark.parametrize("size", [1, 2**20])
def test_quotes_are_counted_and_a_space_before_one_is_found(text, n, after_space, size):
    quotes = Quotes(",", '"')
    for start in range(0, len(text), size):
        quotes.add(text[start : start + size].encode())
    quotes.are_plain()
    assert (quotes.n, quotes.after_space) == (n, after_space)


def test_the_quotes_of_a_file_are_those_from_its_beginning():
    file = io.BytesIO(b'"a,b\n1,2\n')
    file.seek(5)
    quotes = quotes_of(file, ",", '"')
    assert quotes.n == 1
    assert not quotes.are_plain()
    assert quotes_of(file, ",", "").n == 0


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12), size=st.integers(1, 5))
def test_plain_quotes_are_not_wrong_for_python_and_blocks_do_not_matter(pieces, size):
    text = "".join(pieces)
    assert plain(text, size) == plain(text)
    if plain(text):
        assert rows_of(text) is not None


@given(rows=st.lists(st.lists(st.text('", \nx', max_size=4), min_size=2, max_size=2), max_size=5))
def test_what_pythons_writer_writes_is_plain(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    assert plain(text.getvalue())


def table(rows):
    """A text with many rows, of which the last ones are given."""
    return "\n".join(["a,note,y", *(f"{i},p,{'uv'[i % 2]}" for i in range(2500)), *rows, *["1,q,u"] * 500]) + "\n"


@pytest.mark.parametrize("row", ['1,"p","u', '1,p,"u"y', '1,"p"x,u', '1,"p,u'])
@pytest.mark.parametrize("target", ["y", None])
def test_wrong_quotes_far_below_are_refused_in_memory_and_in_batches(tmp_path, row, target):
    path = written(tmp_path, table([row]))
    with pytest.raises(nbs.InputValueError, match=r"data\.csv .*correct its quotes"):
        read(path, target=target, features=["a"])
    with pytest.raises(nbs.InputValueError, match=r"data\.csv .*correct its quotes"):
        list(nbs.data.open(path, target=target, features=["a"]).blocks())


@pytest.mark.parametrize("row", ['1,"p","u', '1,p,"u"y', '1,"p,u'])
@pytest.mark.parametrize(
    ("end", "method"),
    [("", ""), (".gz", "gzip"), (".bz2", "bz2"), (".zst", "zstd"), (".lz4", "lz4"), (".br", "brotli")],
)
def test_wrong_quotes_are_refused_before_the_first_pass_however_a_file_is_compressed(tmp_path, row, end, method):
    path, content = tmp_path / f"data.csv{end}", table([row]).encode()
    with pa.output_stream(path, compression=method or None) as file:
        file.write(content)
    with pytest.raises(nbs.InputValueError, match=r"data\.csv.*correct its quotes"):
        nbs.data.open(path, target="y", features=["a"])
    with pa.output_stream(path, compression=method or None) as file:
        file.write(table(['1, "p, q", "v"']).encode())
    (block,) = nbs.data.open(path, target="y", features=["a"]).blocks()
    assert block.X[2500:2502].tolist() == [[1], [1]]
    assert np.asarray(block.y)[2500:2502].tolist() == ["v", "u"]


@pytest.mark.parametrize("rows", [['1, "p", "u"'], ['1, "p, q", "v"', '"2", "p", u'], ['1,5" p,u'], ['1,"p ""q""",u']])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_quotes_after_a_space_are_read_in_batches_as_in_memory(tmp_path, rows, end):
    import gzip

    content = table(rows).encode()
    path = written(tmp_path, gzip.compress(content) if end else content, f"data.csv{end}")
    expected = read(path, target="y", features=["a"])
    (block,) = nbs.data.open(path, target="y", features=["a", "note"], table=nbs.TableOptions()).blocks()
    (numbers,) = nbs.data.open(path, target="y", features=["a"]).blocks()
    assert np.asarray(numbers.y).tolist() == np.asarray(block.y).tolist() == expected.y.tolist()
    assert numbers.X.tolist() == block.X[:, :1].tolist() == expected.X.tolist()


@pytest.mark.parametrize("number", ["+300000", "300000\u00a0"])  # newer versions of pyarrow read a sign +
def test_rows_after_a_row_that_pyarrow_does_not_read_are_read_once(tmp_path, number):
    rows = [f"{i},{'uv'[i % 2]}" for i in range(400_000)]  # more than pyarrow parses at once
    rows[300_000] = f"{number},u"
    path = written(tmp_path, "\n".join(["a,y", *rows]))
    blocks = list(nbs.data.open(path, target="y").blocks())
    assert np.concatenate([block.X[:, 0] for block in blocks]).tolist() == list(range(400_000))


def test_a_row_with_too_few_fields_has_its_line_in_batches(tmp_path):
    path = written(tmp_path, table(["1,p"]))
    with pytest.raises(nbs.InputValueError, match=r"data\.csv line 2502 has 2 fields, expected 3"):
        list(nbs.data.open(path, target="y", features=["a"]).blocks())
