"""Compressed files, and other formats that are recognised by their first bytes."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import compression, source
from tests.data.files import read, written

pa = pytest.importorskip("pyarrow")


def by_arrow(method):
    def compress(content):
        file = pa.BufferOutputStream()
        with pa.CompressedOutputStream(file, method) as packed:
            packed.write(content)
        return file.getvalue().to_pybytes()

    return compress


def in_members(content):
    """Compress by gzip as bgzip and parallel compressors do: in several members."""
    return b"".join(gzip.compress(content[i : i + 50_000], mtime=0) for i in range(0, len(content), 50_000))


METHODS = {
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "gzip in members": in_members,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": by_arrow("zstd"),
    "lz4": by_arrow("lz4"),
}
LINES = "a,y\n" + "".join(f"{i}.5,k{i % 3}\n" for i in range(50_000))


@pytest.mark.parametrize("method", METHODS)
def test_compressed_text_is_read(tmp_path, method):
    path = written(tmp_path, METHODS[method](LINES.encode()), "data")
    table = read(path, target="y")
    assert np.array_equal(table.X[:, 0], np.arange(50_000) + 0.5)
    assert np.array_equal(table.y, [f"k{i % 3}" for i in range(50_000)])


@pytest.mark.parametrize("method", METHODS)
def test_mistakes_in_compressed_text_are_refused_with_their_line(tmp_path, method):
    for bad, said in (
        ("x,k0", "line 40002 has 'x'"),
        ("1", "line 40002 has 1 field"),
        ("NA,k", "line 40002 has 'NA'"),
    ):
        lines = LINES.splitlines()
        lines[40_001] = bad
        with pytest.raises(nbs.InputValueError, match=said):
            read(written(tmp_path, METHODS[method]("\n".join(lines).encode())), target="y")


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_compressed_file_is_one_line(tmp_path, method):
    good = METHODS[method](LINES.encode())
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0x10
    for broken in (good[: len(good) // 2], good[:-3], bytes(flipped)):
        with pytest.raises(nbs.InputValueError, match=r"data\.csv") as caught:
            read(written(tmp_path, broken), target="y")
        assert "is a damaged" in str(caught.value) or "xz" not in method
        assert "\n" not in str(caught.value)


def test_arrays_and_parquet_may_be_compressed_too(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    content = io.BytesIO()
    parquet.write_table(pa.table({"a": [1.0, 2], "y": ["p", "q"]}), content)
    assert read(written(tmp_path, gzip.compress(content.getvalue())), target="y").X.tolist() == [[1], [2]]
    content = io.BytesIO()
    np.save(content, np.arange(3.0))
    for name in ("X.npy.gz", "X"):
        path = written(tmp_path, gzip.compress(content.getvalue()), name)
        with source.opened(path) as packed, source.recognised(packed) as (data, kind):
            assert kind == "npy"
            assert np.load(data.file).tolist() == [0, 1, 2]


def test_a_decompressed_file_can_be_read_again_from_any_place():
    content = bytes(range(256)) * 1000
    file = compression.Decompressed("d.gz", io.BytesIO(gzip.compress(content)), "gzip")
    assert file.read() == content
    assert file.seek(0) == 0
    assert file.read(10) == content[:10]
    assert file.seek(1000) == file.tell() == 1000
    assert file.read(10) == content[1000:1010]
    assert file.seek(-20, 1) == 990
    assert file.read(300) == content[990:1290]
    with pytest.raises(io.UnsupportedOperation):
        file.seek(0, 2)


def test_a_method_that_this_python_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lzma", None)
    path = written(tmp_path, lzma.compress(LINES.encode()))
    with pytest.raises(nbs.InputValueError, match="compressed by xz, which this Python lacks"):
        read(path, target="y")


def zipped(name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, "a,y\n1,x\n")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped("data.csv"), "zip archive; unpack it"),
        (zipped("[Content_Types].xml"), "Excel workbook; save it as CSV"),
        (zipped("data.csv")[:40], "damaged zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel workbook"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 file"),
        (b"SQLite format 3\0", "SQLite database"),
        (b'{"a": 1}\n{"a": 2}\n', "is JSON; save it as CSV or Parquet"),
    ],
    ids=lambda part: part if isinstance(part, str) else "file",  # archives contain the time
)
def test_files_of_other_formats_are_named(tmp_path, content, said):
    with (
        source.opened(written(tmp_path, content)) as data,
        pytest.raises(nbs.InputValueError, match=r"data\.csv is ") as caught,
    ):
        source.kind(data)
    assert said in str(caught.value)


def test_reports_say_how_much_of_a_file_has_been_read(tmp_path):
    for packed in (LINES.encode(), gzip.compress(LINES.encode(), mtime=0)):
        reports = []

        def report(*numbers, to=reports):
            to.append(numbers)

        path = written(tmp_path, packed)
        with source.opened(path) as data, source.recognised(data, report) as (content, kind):
            assert kind == "text"
            assert content.file.read() == LINES.encode()
        assert reports[-1] == (len(packed), len(packed))
