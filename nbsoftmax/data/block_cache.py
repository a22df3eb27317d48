"""A copy of blocks on disk, ready to be summed: an Arrow file in which X is a column of lists of one length.

Later passes, and later fits, read it by memory map, without decoding. It is written during the first pass, under a
temporary name, and renamed at its end. Its name is a digest of the files, of their sizes and times of change, and of
the options of the source, so that a copy of other data is never read. When a block is read for the first time, the
structure of its columns is validated, before they are used, and then its checksum is compared.

Text is always copied. Another format is copied unless its first blocks are decoded faster than MAPPED, which is about
the rate at which one core reads a mapped file: from then on a copy would save nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data.arrow import arrow
from nbsoftmax.data.blocks import Block, ClassColumns, CodedLabels
from nbsoftmax.data.roles import Roles, of_arrow
from nbsoftmax.files import WriteFailures, file_name, whole_file

FORMAT = "nbsoftmax blocks 3"
MAPPED = 5e9  # bytes per second
TRIED = 4  # blocks after which the rate of decoding is known
Names = tuple[str, ...] | None


class BlockCache:
    """The copies of one source in a folder, one for each dtype of X.

    Parameters
    ----------
    folder : str or path
        It is created if necessary.
    key : callable
        Returns what identifies the blocks: files, their sizes and times of change, and the options of the source.
    always : bool
        Whether to write a copy however fast the blocks are decoded.
    """

    def __init__(self, folder: str | os.PathLike[str], key: Callable[[], Any], *, always: bool) -> None:
        self._folder, self._key, self._always = file_name(folder), key, always
        self._opened: dict[Any, CachedBlocks] = {}
        self._given_up = False  # a copy could not be written, or would save nothing: later passes do not try again
        self._note = ""

    def opened(self, dtype: np.dtype[Any] | None) -> CachedBlocks | None:
        """The blocks of the copy, if there is one."""
        path = self._path(dtype)
        found = self._opened.get(dtype)
        if found is not None and found.path == path and not found.damaged:
            return found
        try:
            found = CachedBlocks(path)
        except _unreadable():  # none, or a damaged one
            return None
        self._opened[dtype] = found
        self._note = self._note or f"read from the copy in {self._folder}"
        return found

    def summary(self) -> str:
        """Whether there was a copy, or why there was none."""
        return self._note

    def written(
        self, blocks: Iterator[Block], dtype: np.dtype[Any] | None, names: Callable[[], Names]
    ) -> Iterator[Block]:
        """The same blocks, which are copied on the way if that pays."""
        path, failures = self._path(dtype), WriteFailures("copy of the blocks", self._folder)
        writer: _Writer | None = None
        seconds, n_bytes, n = 0.0, 0, 0
        try:
            while True:
                began = time.perf_counter()
                block = next(blocks, None)
                seconds += time.perf_counter() - began
                if block is None:
                    break
                n, n_bytes = n + 1, n_bytes + block.X.nbytes
                try:
                    if n == 1 and not self._given_up:
                        writer = _Writer(path, block, names())
                    if writer is not None:
                        writer.add(block)
                except (OSError, ValueError) as error:
                    failures.warn(error if isinstance(error, OSError) else OSError(str(error)))
                    _drop(writer)
                    writer, self._given_up = None, True
                if n == TRIED and writer is not None and not self._always and n_bytes > MAPPED * seconds:
                    self._note = "decoded so fast that no copy was made"
                    _drop(writer)
                    writer, self._given_up = None, True
                yield block
                del block
            if writer is not None and path == self._path(dtype):  # the files have not changed
                try:
                    writer.finish()
                    self._note, writer = f"copied to {self._folder}, and read from there", None
                except OSError as error:
                    failures.warn(error)
                    self._given_up = True
        finally:
            _drop(writer)

    def _path(self, dtype: np.dtype[Any] | None) -> str:
        digest = hashlib.sha256(repr((FORMAT, self._key(), None if dtype is None else dtype.name)).encode())
        return os.path.join(self._folder, f"{digest.hexdigest()[:40]}.arrow")


class CachedBlocks:
    """The blocks of one copy, mapped into memory.

    Attributes
    ----------
    path : str
    names : tuple of str or None
        Of the features.
    damaged : bool
        Whether a block does not have its checksum; the iteration ended before it.
    """

    def __init__(self, path: str) -> None:
        pa = arrow()
        self.path, self.damaged = path, False
        self._file = pa.ipc.open_file(pa.memory_map(path))
        about = json.loads((self._file.schema.metadata or {})[b"nbsoftmax"])
        names, *beside = (None if given is None else tuple(given) for given in about)
        self.names: Names = names
        self._beside = ClassColumns(*beside)  # the names of columns of y and the offset
        columns = {name: name for name in ("y", "sample_weight", "offset") if name in self._file.schema.names}
        self._roles = Roles(columns.get("y"), ("X",), columns.get("sample_weight"), columns.get("offset"))
        self._checked: set[int] = set()  # blocks whose checksum has been compared

    def __len__(self) -> int:
        return int(self._file.num_record_batches)

    def blocks(self) -> Iterator[Block]:
        """All blocks, up to a damaged one."""
        for i in range(len(self)):
            block = self.block(i)
            if block is None:
                return
            yield block
            del block

    def block(self, i: int) -> Block | None:
        """The block number i; None if it is damaged."""
        try:
            found = self._file.get_batch_with_custom_metadata(i)
            if i not in self._checked:
                found.batch.validate(full=True)  # casts of text with damaged offsets would end the process
            block = Block(*of_arrow(found.batch, self._roles)[:4], self._beside)
            if i not in self._checked:
                self.damaged = int(found.custom_metadata[b"crc32"]) != _checksum(block, self.names)
                self._checked.add(i)
        except _unreadable():
            self.damaged = True
        return None if self.damaged else block


class _Writer:
    """A copy that is being written."""

    def __init__(self, path: str, first: Block, names: Names) -> None:
        self._schema = _batch(first).schema.with_metadata({"nbsoftmax": json.dumps([names, *first.columns])})
        self._names = names
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._open = ExitStack()
        self._batches = arrow().ipc.new_file(self._open.enter_context(whole_file(path)), self._schema)

    def add(self, block: Block) -> None:
        """Write a block."""
        batch = _batch(block).replace_schema_metadata(self._schema.metadata)
        self._batches.write_batch(batch, custom_metadata={"crc32": str(_checksum(block, self._names))})

    def finish(self) -> None:
        """Give the file its name."""
        self._batches.close()
        self._open.close()

    def drop(self) -> None:
        """Remove the file."""
        error = InterruptedError("incomplete")
        with suppress(OSError):
            self._open.__exit__(type(error), error, None)


def _drop(writer: _Writer | None) -> None:
    if writer is not None:
        writer.drop()


def _batch(block: Block) -> Any:
    """A block as a RecordBatch."""
    pa = arrow()
    columns = {"X": block.X, "y": block.y, "sample_weight": block.sample_weight, "offset": block.offset}
    return pa.RecordBatch.from_pydict({name: _column(a) for name, a in columns.items() if a is not None})


def _column(array: Any) -> Any:
    pa = arrow()
    if isinstance(array, CodedLabels):
        labels = pa.array(array.labels.tolist())
        return pa.DictionaryArray.from_arrays(pa.array(array.codes), labels).cast(labels.type)
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).reshape(-1)), array.shape[1])


def _unreadable() -> tuple[type[BaseException], ...]:
    """What pyarrow, json and the conversion to a block raise for a damaged copy."""
    return OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, arrow().ArrowException


def _checksum(block: Block, names: Names) -> int:
    """The checksum of the numbers of a block, of the type and shape of X, and of the names of columns."""
    y: tuple[Any, ...] = (block.y,)
    if isinstance(block.y, CodedLabels):  # whatever the order of its table
        labels = [str(label) for label in block.y.labels.tolist()]
        order = sorted(range(len(labels)), key=labels.__getitem__)
        rank: NDArray[Any] = np.empty(len(labels), np.int64)
        rank[order] = np.arange(len(labels))
        y = rank[block.y.codes], np.frombuffer("\0".join(sorted(labels)).encode(), np.uint8)
    found = zlib.crc32(json.dumps([names, *block.columns, block.X.dtype.str, block.X.shape]).encode())
    for array in (block.X, *y, block.sample_weight, block.offset):
        if array is not None:
            found = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data, found)
    return found
