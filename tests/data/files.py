"""Reading of a file of columns in a test."""

from contextlib import contextmanager

from nbsoftmax.data import tables
from nbsoftmax.data.dialect import TextOptions
from nbsoftmax.data.source import opened, recognised

DEFAULT = TextOptions()


@contextmanager
def table_file(path, options=DEFAULT, wanted=frozenset()):
    """Open a file of columns: text, Parquet or Arrow."""
    with opened(path) as source, recognised(source) as (content, kind):
        yield tables.file_of(content, kind, options, wanted)


def read(path, *, options=None, **request):
    """Read the requested columns of a file; `options` are those of a text file."""
    requested = tables.Request(**request)
    with table_file(path, TextOptions(**(options or {})), requested.names) as file:
        return tables.read(file, requested)


def written(tmp_path, content, name="data.csv"):
    """Write a file of text, as UTF-8, or of bytes; return its path."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
