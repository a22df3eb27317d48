"""`nbs.data.open`: files whose rows are read in blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from nbsoftmax import validation
from nbsoftmax.data.arrow_files import FORMATS, TEXT, ArrowFiles
from nbsoftmax.data.block_cache import BlockCache
from nbsoftmax.data.block_source import BlockSource
from nbsoftmax.data.cut import Batch
from nbsoftmax.data.named_files import files_of
from nbsoftmax.data.npy_files import NpyFiles
from nbsoftmax.data.roles import Roles
from nbsoftmax.encoding import AnyEncoding, TableOptions
from nbsoftmax.errors import InputValueError, listed

Path = str | os.PathLike[str]
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4", ".br")


def open(
    path: Path | Sequence[Path],
    *,
    target: Any = None,
    features: Any = None,
    weight: Any = None,
    offset: Any = None,
    batch_rows: int | None = None,
    cache: Path | None = None,
    format: Any = None,
    table: TableOptions | AnyEncoding | None = None,
    classes: Any = None,
) -> BlockSource:
    """Files with the rows of a fit, which do not have to fit in memory. They are read in blocks, in every pass.

    Parameters
    ----------
    path : str, path, or list of these
        Files, folders, or patterns such as "train/*.parquet", in alphabetical order: Parquet, Arrow (Feather), CSV or
        TSV, which may be compressed (.csv.gz). They need pyarrow: pip install "nbsoftmax[data]". Or `.npy` files of X,
        (n_samples, n_features), which are mapped into memory.
    target : str or list of str, optional
        The column of the labels, or the columns of the probabilities of all classes. For predictions it may be missing.
        For `.npy` files: a file of labels (or a list or a pattern, one for each file of X), or the number of a column
        of X.
    features : list of str, optional
        Columns of X; by default all that have a name and no other use, without an index that pandas has written. A
        column of lists of one length (FixedSizeList) is a whole X, and is used without a copy. For `.npy` files:
        numbers of columns.
    weight : str, optional
        The column of the sample weights. For `.npy` files as `target`.
    offset : str or list of str, optional
        The columns of the offset, one for each class (for two classes, that of the second one is enough), or a column
        of lists. For `.npy` files: a file, or one for each.
    batch_rows : int, optional
        Rows of a block. By default as many as fit in 32 MiB, at most 262,144.
    cache : path, optional
        A folder for a copy of the rows that needs no decoding; the first pass writes it, if it pays: always for text,
        and for other formats if decoding is slower than 5 GB/s. It takes 4 or 8 bytes for each number. Later fits read
        it if no file has changed since. Remove the folder to remove the copies.
    format : {"parquet", "arrow", "csv", "tsv", "npy"} or pyarrow.dataset.CsvFileFormat, optional
        By default as the names of the files end. A CsvFileFormat sets the separator, quotes, spellings of missing
        values and so on.
    table : TableOptions or Encoding, optional
        For columns of text, dates or missing values: how they become features. The levels and means are found in a
        pass over all rows; those of a model are used if its `encoding` is given. By default only numbers are read.
    classes : array (n_classes,), optional
        For text files: the classes of a model. A label with the text of one of them becomes this class. By default the
        labels of text files are integers if all of them are, and text otherwise; a pass over all rows finds out.

    Returns
    -------
    BlockSource

    Raises
    ------
    InputValueError, InputTypeError
        If there is no such file or column, or a column does not hold numbers.
    """
    paths, kind = files_of(path), format
    if kind is None:
        kinds = {_format_of(each) for each in paths}
        if len(kinds) > 1:
            raise InputValueError(f"the files have several formats, {listed(sorted(kinds))}; give files of one format.")
        kind = kinds.pop()
    known = None if classes is None else validation.class_labels(classes)
    stamps = _stamps(paths)  # before a pass over the rows
    files: NpyFiles | ArrowFiles
    if kind == "npy":
        if table is not None:
            raise InputValueError("table is for files of columns, but .npy files hold numbers; leave it out.")
        files = NpyFiles(paths, target=target, features=features, weight=weight, offset=offset)
    else:
        files = ArrowFiles(paths, kind, Roles.of(target, features, weight, offset), table, known)
    copy = None
    if cache is not None and kind != "npy":
        always = not isinstance(kind, str) or kind in TEXT
        copy = BlockCache(cache, lambda: (files.key(), _stamps(files.paths), batch_rows), always=always)
    name = repr(paths[0]) if len(paths) == 1 else f"{len(paths)} files, the first is {paths[0]!r}"
    checked = _Unchanged(files, stamps)
    encoding = getattr(files, "encoding", None)
    if copy is not None and encoding is not None and encoding.sparse:
        raise InputValueError(
            "the features have so many levels that they are sparse, which cache does not support; leave cache out."
        )
    located, keeping = files.located, None
    if isinstance(files, ArrowFiles):
        drops = encoding is not None and encoding.drops_rows
        located = files.located_again if copy is not None or drops else files.located
        if drops:
            keeping = partial(_keeping_rows, files, stamps, name, batch_rows)
    seeks = checked.batches if files.seekable else None
    return BlockSource(
        checked.batches,
        batch_rows=batch_rows,
        batches_from=seeks,
        cache=copy,
        name=name,
        encoding=encoding,
        located=located,
        keeping=keeping,
    )


def _keeping_rows(files: ArrowFiles, stamps: list[tuple[Any, ...]], name: str, batch_rows: int | None) -> BlockSource:
    """A source of all rows of files, whose encoding drops some."""
    kept = files.keeping_rows()
    checked = _Unchanged(kept, stamps)
    return BlockSource(checked.batches, batch_rows=batch_rows, name=name, encoding=kept.encoding, located=kept.located)


class _Unchanged:
    """Reads files, and refuses those that have changed since they were opened with the first `stamps`."""

    def __init__(self, files: NpyFiles | ArrowFiles, stamps: list[tuple[Any, ...]]) -> None:
        self._files, self._stamps = files, [*stamps, *_stamps(files.paths[len(stamps) :])]

    def batches(self, first_row: int = 0) -> Iterator[Batch]:
        """The batches from a row on."""
        self._check()
        yield from self._files.batches(first_row)
        with suppress(FileNotFoundError):  # removed: its rows have been read
            self._check()

    def _check(self) -> None:
        """Refuse a file that has changed."""
        for old, new in zip(self._stamps, _stamps(self._files.paths), strict=True):
            if old != new:
                raise InputValueError(f"{old[0]} has changed since it was opened; open it again.")


def _stamps(paths: Sequence[str]) -> list[tuple[Any, ...]]:
    """What changes when a file does."""
    found = []
    for path in paths:
        status = os.stat(path)
        found.append((os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino))
    return found


def _format_of(path: str) -> str:
    """The format by the end of a name."""
    name = path.lower()
    for end in COMPRESSED:
        if name.endswith(end) and os.path.splitext(name[: -len(end)])[1] in (".csv", ".tsv"):
            name = name[: -len(end)]
    end = os.path.splitext(name)[1]
    if end not in FORMATS:
        raise InputValueError(
            f"the format of {path!r} is not known by its name; expected one of {listed(FORMATS, most=20)}; give format."
        )
    return FORMATS[end]
