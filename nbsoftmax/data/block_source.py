"""`BlockSource`: rows that are read in blocks, and cut from whatever batches they arrive in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.data.ahead import check_process
from nbsoftmax.data.block_cache import BlockCache
from nbsoftmax.data.blocks import Block
from nbsoftmax.data.cut import Batch, cut
from nbsoftmax.encoding import AnyEncoding
from nbsoftmax.errors import InputError

# Passes in a forked child that its parent has begun. Their end would wait for threads of pyarrow that it does not have.
_of_parent: list[Iterator[Block]] = []


class BlockSource:
    """Rows in blocks, made by `open` and `from_batches`, for `Trainer.fit`, models and estimators.

    `for block in source.blocks(): ...` gives the blocks one after another, each with the attributes `X`, `y`,
    `sample_weight` and `offset`, in memory that does not depend on the number of rows; `np.asarray(block.y)` are its
    labels.

    Attributes
    ----------
    feature_names : tuple of str or None
        Known once the first block has been read.
    encoding : AnyEncoding or None
        How the features are made from the columns of tables.
    """

    def __init__(
        self,
        batches: Callable[[], Iterator[Batch]],
        *,
        batch_rows: int | None = None,
        batches_from: Callable[[int], Iterator[Batch]] | None = None,
        cache: BlockCache | None = None,
        name: str = "batches",
        encoding: AnyEncoding | None = None,
        located: Callable[[InputError, int], InputError] | None = None,
        keeping: Callable[[], BlockSource] | None = None,
    ) -> None:
        self.feature_names: tuple[str, ...] | None = None
        self.encoding, self._located, self._keeping = encoding, located, keeping
        self._batches, self._batches_from, self._cache, self._name = batches, batches_from, cache, name
        self._batch_rows = None if batch_rows is None else validation.count("batch_rows", batch_rows)
        self._own: np.dtype[Any] | None = None  # dtype of the blocks if none is asked for, once it is known
        self._n_rows: dict[np.dtype[Any], int] = {}  # of a block

    def __repr__(self) -> str:
        return f"BlockSource({self._name})"

    def blocks(self, dtype: Any = None) -> Iterator[Block]:
        """All rows from the first one, X in this dtype; by default float32 and float64 stay as they are."""
        asked, process = self._asked(dtype), os.getpid()
        blocks = self._cut(self._batches(), asked) if self._cache is None else self._cached(self._cache, asked)
        try:
            for block in blocks:
                own = np.dtype(block.X.dtype)
                self._own = own if asked is None else self._own
                self._n_rows.setdefault(own, block.X.shape[0])
                yield block
                del block
                check_process(process)
        finally:
            if os.getpid() != process:
                _of_parent.append(blocks)

    def block(self, i: int, dtype: Any = None) -> Block | None:
        """The block number i of `blocks`, once all have been read; None if they can only be read in their order."""
        asked = self._asked(dtype)
        n = self._n_rows.get(self._own if asked is None else asked)  # type: ignore[arg-type]
        if n is None or self._batches_from is None:  # whether there is a copy may depend on timing
            return None
        cached = None if self._cache is None else self._cache.opened(asked)
        if cached is not None and (found := cached.block(i)) is not None:
            return found
        return next(self._cut(self._batches_from(i * n), asked), None)

    def located(self, error: InputError, first_row: int) -> InputError | None:
        """The error with the name of its file; None if there is no file, or the error is not about a row."""
        return None if self._located is None or not error.parts else self._located(error, first_row)

    def keeping_rows(self) -> BlockSource:
        """All rows: those that the encoding would drop are errors."""
        return self if self._keeping is None else self._keeping()

    def summary(self) -> str:
        """What is worth knowing of how the rows were read."""
        return "" if self._cache is None else self._cache.summary()

    def _asked(self, dtype: Any) -> np.dtype[Any] | None:
        """The dtype to convert to; None if that is the dtype of the rows."""
        wanted = None if dtype is None else validation.float_dtype(dtype)
        return None if self._own is not None and wanted == self._own else wanted  # (a dtype of float64 equals None)

    def _cut(self, batches: Iterator[Batch], dtype: np.dtype[Any] | None) -> Iterator[Block]:
        return cut(self._named(batches), batch_rows=self._batch_rows, dtype=dtype)

    def _named(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.feature_names = batch.names
            yield batch
            del batch

    def _cached(self, cache: BlockCache, dtype: np.dtype[Any] | None) -> Iterator[Block]:
        """The blocks of the copy; without one, or from its first damaged block on, those of the files."""
        cached, n = cache.opened(dtype), 0
        if cached is not None:
            self.feature_names = cached.names
            for block in cached.blocks():
                n += 1
                yield block
                del block
            if not cached.damaged:
                return
        yield from islice(cache.written(self._cut(self._batches(), dtype), dtype, lambda: self.feature_names), n, None)
