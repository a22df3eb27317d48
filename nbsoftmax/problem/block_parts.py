"""Parts of a problem that are made from the blocks of a source, in every pass anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import Backend, SampleOrder, Stochastic
from nbsoftmax.backends.sum import Call, MadeParts
from nbsoftmax.data.ahead import ahead
from nbsoftmax.data.block_source import BlockSource
from nbsoftmax.data.blocks import AnyBlock, Block, RowBlocks, located_in
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.problem.fingerprint import fingerprint
from nbsoftmax.problem.survey import Survey, digest_of

OnRows = Callable[[int, int | None], None]
WINDOW = 4  # blocks from which the next one is drawn, of a source that can only be read in its order


class _Progress(threading.local):
    """What a fit reports of its reading. Fits of several threads may read one source at once: each has its own."""

    on_rows: OnRows | None = None
    n_passes = 0


class Reading:
    """A source of blocks, read by a second thread.

    Parameters
    ----------
    source : RowBlocks
    on_rows : callable (n_rows, n_samples) or None
        Called after each block with the number of rows of this pass so far, and that of all, which is None in the first
        pass.
    """

    def __init__(self, source: RowBlocks, on_rows: OnRows | None = None) -> None:
        self.source, self._progress = source, _Progress()
        self._progress.on_rows = on_rows

    @contextmanager
    def reported(self, on_rows: OnRows) -> Iterator[None]:
        """Within this context, a fit of this thread, its rows are reported to `on_rows` and its passes counted."""
        progress = self._progress
        before, progress.on_rows, progress.n_passes = progress.on_rows, on_rows, 0
        try:
            yield
        finally:
            progress.on_rows = before

    def survey(self, dtype: np.dtype[Any] | None) -> Survey:
        """The survey of all blocks, in one pass."""
        survey, n = None, 0
        for block in ahead(self.source.blocks(dtype)):
            with located_in(self.source, n):
                found = Survey.of(block, self.source.feature_names)
                survey = found if survey is None else survey + found
            n = survey.n_samples
            self._report(n, None)
            del block
        if survey is None:
            name = plain(self.source) if isinstance(self.source, BlockSource) else "the source"
            raise InputValueError(f"{name} has no rows; expected at least one.")
        return survey

    def digest(self, dtype: np.dtype[Any], n_samples: int) -> str:
        """The digest of all rows, in one pass."""
        digests: list[str] = []
        n = 0
        for block in ahead(self.source.blocks(dtype)):
            digests.append(digest_of(block))
            n += block.X.shape[0]
            self._report(n, n_samples)
            del block
        return fingerprint(*digests)

    def parts(self, made: Iterator[Any], n_samples: int) -> Iterator[Any]:
        """What is made from all blocks, reported and counted."""
        n = 0
        for part in ahead(made):
            n += len_of(part)
            yield part
            del part
            self._report(n, n_samples)
        self._progress.n_passes += 1
        if n != n_samples:
            raise InputValueError(
                f"the source has {n} rows in this pass, but {n_samples} in the first; it must yield the same blocks "
                "every time."
            )

    def summary(self) -> str:
        """What to add to the summary of a fit."""
        of_source = getattr(self.source, "summary", None)
        note = of_source() if callable(of_source) else ""
        return f"{self._progress.n_passes} passes over the rows besides the first" + (f", {note}" if note else "")

    def _report(self, n: int, n_samples: int | None) -> None:
        if self._progress.on_rows is not None:
            self._progress.on_rows(n, n_samples)


class BlockParts:
    """The parts of the blocks of a source.

    Parameters
    ----------
    reading : Reading
    survey : Survey
        Of all blocks.
    part : callable
        Makes the backend of a block.
    """

    def __init__(self, reading: Reading, survey: Survey, part: Callable[[Block], Backend]) -> None:
        self._reading, self._survey, self._part = reading, survey, part

    @property
    def lengths(self) -> tuple[int, ...]:
        """The numbers of samples of the parts."""
        return self._survey.lengths

    def total(self, call: Call) -> Any:
        """The results of `call` for all parts, added in the order of the blocks."""
        return MadeParts(self._all).total(call)

    def shuffled(self, order: SampleOrder) -> Iterator[tuple[Stochastic, NDArray[np.int64]]]:
        """All parts in the order of an epoch, each with the order of its samples.

        If the source can only be read in its order, the next block is drawn from the next few.
        """
        rng = order.generator()

        def made() -> Iterator[tuple[Any, NDArray[np.int64]]]:
            for block in self._drawn(rng):
                samples = rng.permutation(block.X.shape[0])
                part = self._part(block)
                del block
                yield part, samples
                del part

        return self._reading.parts(made(), self._survey.n_samples)

    def _all(self) -> Iterator[Backend]:
        def made() -> Iterator[Backend]:
            for block in self._reading.source.blocks(self._survey.dtype):
                yield self._part(block)
                del block

        return self._reading.parts(made(), self._survey.n_samples)

    def _drawn(self, rng: np.random.Generator) -> Iterator[Block]:
        """All blocks in random order."""
        source, dtype = self._reading.source, self._survey.dtype
        order = rng.permutation(len(self.lengths)).tolist()
        first = source.block(order[0], dtype) if isinstance(source, AnyBlock) else None
        if first is not None and isinstance(source, AnyBlock):
            yield first
            del first
            for i in order[1:]:
                block = source.block(i, dtype)
                if block is not None:
                    yield block
                    del block
            return
        waiting: list[Block] = []
        for block in source.blocks(dtype):
            waiting.append(block)
            del block
            if len(waiting) == WINDOW:
                yield waiting.pop(int(rng.integers(WINDOW)))
        while waiting:
            yield waiting.pop(int(rng.integers(len(waiting))))


def len_of(part: Any) -> int:
    """The number of samples of a part, which may come with their order."""
    return int(part[1].size if isinstance(part, tuple) else part.n_samples)
