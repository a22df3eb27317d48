"""What `predict` writes, block by block: CSV, objects of JSON, or Parquet."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol
from zlib import crc32

from nbsoftmax.cli.output import to_json
from nbsoftmax.errors import InputValueError

AT_ONCE = 2**13  # rows that are turned into text at once
# Endings of files of objects of JSON, and of others that are neither these nor CSV.
JSON = {".json", ".jsonl", ".ndjson"}
OTHERS = {
    *(".tsv", ".html", ".md", ".tex", ".yaml", ".yml", ".xml"),
    *(".npy", ".npz", ".pkl", ".pickle", ".joblib", ".onnx", ".mat", ".h5", ".hdf5"),
    *(".arrow", ".feather", ".ipc", ".orc", ".avro", ".xls", ".xlsx", ".ods", ".db", ".sqlite"),
    *(".gz", ".bz2", ".xz", ".zst", ".lz4", ".br", ".zip"),
}


class Output(Protocol):
    """A table that is written block by block."""

    def begin(self) -> None:
        """Write from the first row that is not kept; what has been written of it is replaced."""

    def write(self, columns: Sequence[Any]) -> None:
        """Write the columns, arrays (n,), of the next rows."""

    def keep(self) -> None:
        """Keep the rows that have been written."""

    def end(self) -> None:
        """All rows have been written."""


@contextmanager
def output_of(path: Path | None, header: Sequence[str], *, as_json: bool) -> Iterator[Output]:
    """The table at a path, which exists once it is complete; without a path, on standard output."""
    from nbsoftmax.files import whole_file

    if path is None:
        yield _Text(_RepeatedText(sys.stdout), header, as_json=as_json)
        return
    ending = path.suffix.lower()
    is_parquet = ending == ".parquet"
    if is_parquet:
        _check_parquet(path, as_json=as_json)
    elif ending in OTHERS:
        raise InputValueError(
            f"--out {path} ends in {ending}, but predictions are written as CSV, as JSON (--json) or as .parquet; give "
            "another name."
        )
    elif ending in JSON and not as_json:
        raise InputValueError(f"--out {path} ends in {ending}, but predictions are written as CSV; add --json.")
    elif ending == ".csv" and as_json:
        raise InputValueError(
            f"--json writes an object for each row, but {path} ends in .csv; leave --json out, or rename it."
        )
    with whole_file(path) as file:
        if is_parquet:
            table = _Parquet(file, header)
            try:
                yield table
            finally:
                table.close()
            return
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield _Text(text, header, as_json=as_json)
        text.detach()  # flushes the text, and leaves the file open


def _check_parquet(path: Path, *, as_json: bool) -> None:
    from nbsoftmax.data.arrow import require_pyarrow

    if as_json:
        raise InputValueError(f"--json writes text, but {path} is to be Parquet; leave --json out, or rename the file.")
    require_pyarrow("Parquet files")


class _Text:
    """Rows of CSV, or objects of JSON."""

    def __init__(self, file: Any, header: Sequence[str], *, as_json: bool) -> None:
        self._file, self._header, self._as_json = file, header, as_json
        self._is_empty = True
        self._kept, self._keeps_none = 0, True  # where the rows to keep end

    def begin(self) -> None:
        self._file.seek(self._kept)
        self._file.truncate()
        self._is_empty = self._keeps_none

    def write(self, columns: Sequence[Any]) -> None:
        writer = csv.writer(self._file, lineterminator="\n")
        if self._is_empty and not self._as_json:
            writer.writerow(self._header)
        self._is_empty = False
        for first in range(0, len(columns[0]), AT_ONCE):
            rows = zip(*(column[first : first + AT_ONCE].tolist() for column in columns), strict=True)
            if self._as_json:
                for row in rows:
                    self._file.write(to_json(dict(zip(self._header, row, strict=True))) + "\n")
            else:
                writer.writerows(rows)

    def keep(self) -> None:
        self._kept, self._keeps_none = self._file.tell(), self._is_empty

    def end(self) -> None:
        self._file.flush()


class _RepeatedText:
    """Standard output, to which the same text may be written again from its beginning, and then more."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._n, self._sum = 0, 0  # characters that have been written, and their checksum
        self._left, self._again = 0, 0  # those that are to be repeated, and the checksum of the repetition

    def tell(self) -> int:
        """The number of characters that have been written; the next repetition begins here."""
        if self._left:
            raise _changed()
        self._n = self._sum = 0
        return 0

    def seek(self, _: int) -> None:
        """Begin to repeat the text since the last `tell`."""
        self._left, self._again = self._n, 0

    def truncate(self) -> None:
        """What has been written cannot be removed."""

    def write(self, text: str) -> None:
        if self._left:
            old, text = text[: self._left], text[self._left :]
            self._left -= len(old)
            self._again = crc32(old.encode("utf-8", "surrogatepass"), self._again)
            if self._left == 0 and self._again != self._sum:
                raise _changed()
        if text:
            self._n, self._sum = self._n + len(text), crc32(text.encode("utf-8", "surrogatepass"), self._sum)
            self._file.write(text)

    def flush(self) -> None:
        """Write out; the text must have been repeated."""
        if self._left:
            raise _changed()
        self._file.flush()


def _changed() -> InputValueError:
    return InputValueError(
        "the input has unusual quotes, which were found only after rows had been written, and these rows are wrong; "
        "give --out FILE for this file alone, which is written again from its beginning."
    )


class _Parquet:
    """A file of Parquet with a group of rows for each block.

    Rows that are not kept are replaced, or, after rows that are, skipped when they come again.
    """

    def __init__(self, file: IO[bytes], header: Sequence[str]) -> None:
        self._file, self._header = file, header
        self._writer: Any = None
        self._keeps_some = False
        self._n, self._sums = 0, [0] * len(header)  # rows since the last `keep`, and the checksums of their columns
        self._left, self._again = 0, self._sums  # those that are to be skipped, and their checksums

    def begin(self) -> None:
        if self._keeps_some:
            self._left, self._again = self._n, [0] * len(self._header)
            return
        self.close()
        self._file.seek(0)
        self._file.truncate()

    def write(self, columns: Sequence[Any]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        from nbsoftmax.data.arrow import LeftOpen

        if self._left:
            old, columns = [column[: self._left] for column in columns], [column[self._left :] for column in columns]
            self._left, self._again = self._left - len(old[0]), _checksums(old, self._again)
            if self._left == 0 and self._again != self._sums:
                raise _changed()
            if not len(columns[0]):
                return
        if self._keeps_some:
            self._n, self._sums = self._n + len(columns[0]), _checksums(columns, self._sums)
        table = pa.table([_array(column) for column in columns], names=list(self._header))
        if self._writer is None:
            self._writer, self._schema = parquet.ParquetWriter(LeftOpen(self._file), table.schema), table.schema
        self._writer.write_table(self._as_before(table))

    def _as_before(self, table: Any) -> Any:
        """The table with the column types of the first rows; in later rows, a column of --id may have another type."""
        for i, (before, now) in enumerate(zip(self._schema, table.schema, strict=True)):
            if now.type == before.type:
                continue
            try:
                if not _holds(before.type, now.type):
                    raise ValueError
                table = table.set_column(i, before, table.column(i).cast(before.type))
            except ValueError:  # of pyarrow, too
                raise InputValueError(
                    f"the column {now.name!r} is {before.type} in the first rows, and {now.type} in later ones, which "
                    "a Parquet file cannot hold; write CSV, or leave it out of --id."
                ) from None
        return table

    def keep(self) -> None:
        if self._left:
            raise _changed()
        self._keeps_some = True
        self._n, self._sums = 0, [0] * len(self._header)

    def end(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the writer while its file is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _array(column: Any) -> Any:
    """A column of Arrow; integers of 64 bits and times in nanoseconds keep their digits."""
    import pyarrow as pa

    try:
        found = pa.array(column)
    except OverflowError:
        return pa.array(column, pa.uint64())
    types = pa.types
    if types.is_timestamp(found.type) and any(getattr(value, "nanosecond", 0) for value in column):
        return pa.array(column, pa.timestamp("ns", found.type.tz))
    if types.is_duration(found.type) and any(getattr(value, "nanoseconds", 0) for value in column):
        return pa.array(column, pa.duration("ns"))
    return found


def _holds(before: Any, now: Any) -> bool:
    """Whether a type holds the values of another one unchanged, if they are in its range."""
    import pyarrow as pa

    types = pa.types
    numbers = types.is_integer, types.is_floating
    if types.is_null(now) or (types.is_floating(before) and types.is_integer(now)):
        return True
    alike = any(of(before) and of(now) for of in (*numbers, types.is_decimal, types.is_duration))
    return alike or (types.is_timestamp(before) and types.is_timestamp(now) and before.tz == now.tz)


def _checksums(columns: Sequence[Any], before: Sequence[int]) -> list[int]:
    """Checksums of columns, arrays (n,), that continue those of earlier rows."""
    return [
        crc32(
            "".join(f"{value!r}," for value in column.tolist()).encode("utf-8", "surrogatepass")
            if column.dtype == object
            else column.tobytes(),
            old,
        )
        for column, old in zip(columns, before, strict=True)
    ]
