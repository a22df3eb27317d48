"""Where `predict` and `evaluate` read samples in blocks, in memory that does not depend on their number.

Files of columns, and `.npy` files on a disk, are read block by block; the samples of others are one block.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from nbsoftmax.cli.offsets import check_order
from nbsoftmax.cli.reading import (
    as_classes,
    check_options,
    read_content,
    table_of,
    warn_of_dropped,
    warn_of_unknown,
    weights_of,
)
from nbsoftmax.cli.reading_progress import ReadingProgress
from nbsoftmax.cli.several import each_file
from nbsoftmax.errors import InputError, NoRowsError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from nbsoftmax.data.blocks import Block
    from nbsoftmax.data.encoded_blocks import EncodedBlocks
    from nbsoftmax.data.source import Source
    from nbsoftmax.models.softmax import SoftmaxModel

T = TypeVar("T")


def read_in_blocks(
    arguments: argparse.Namespace,
    model: SoftmaxModel,
    use: Callable[[Iterator[Block]], T],
    *,
    labels: bool,
    n_results: int,
) -> list[T]:
    """Read the samples for a model block by block, one file after the other.

    Parameters
    ----------
    arguments : argparse.Namespace
        As for `read_data`; `data`, and `more` if the command has it, may stand for several files.
    model : SoftmaxModel
    use : function of an iterator over Block
        Called for each file, and a second time if a file must be read again from its beginning. The y of blocks are
        class indices, or without labels the columns of --id, (n, n_columns) of objects, if there are some.
    labels : bool
        Whether labels are read, too.
    n_results : int
        Numbers that `use` computes for each row: the more, the shorter the blocks.

    Returns
    -------
    list of what `use` returns for each file
    """
    import numpy as np

    from nbsoftmax.data.cut import rows_of_a_block
    from nbsoftmax.encoding.reports import Unknown, add_unknown

    n = rows_of_a_block(max(model.n_features, n_results), np.dtype(np.float64))
    unknown: Unknown = {}
    n_dropped, results = 0, list[T]()
    for of_file in each_file(arguments):
        try:
            result, encoded = _read_file(of_file, model, use, labels=labels, batch_rows=n)
        except NoRowsError as error:  # some programs write files without rows
            empty = error
            continue
        results.append(result)
        if encoded is not None:
            add_unknown(unknown, encoded.unknown)
            n_dropped += encoded.n_dropped
    if not results:
        raise empty
    warn_of_unknown(unknown)
    warn_of_dropped(n_dropped)
    return results


def _read_file(
    arguments: argparse.Namespace,
    model: SoftmaxModel,
    use: Callable[[Iterator[Block]], T],
    *,
    labels: bool,
    batch_rows: int,
) -> tuple[T, EncodedBlocks | None]:
    """What `use` returns for the blocks of one file, and the reader of its columns if the model encodes them."""
    from nbsoftmax import validation
    from nbsoftmax.data import source, table_blocks
    from nbsoftmax.data.blocks import Block
    from nbsoftmax.data.encoded_blocks import EncodedBlocks
    from nbsoftmax.data.encoded_tables import encoding_for_file

    name = str(getattr(arguments, "labels", None) or arguments.data)

    def codes(y: Any, n_samples: int | None = None) -> Any:
        n_samples = len(y) if n_samples is None else n_samples
        labels = as_classes(y, model.classes, name=name)
        return validation.codes_of(labels, model.classes, n_samples=n_samples, name=name, with_row=False)

    with (
        ReadingProgress(arguments) as progress,
        source.opened(arguments.data, progress) as data,
        source.recognised(data, progress) as (content, kind),
    ):
        check_options(arguments, data.name, kind, labels=labels)
        if kind in source.TABLES:
            file, request = table_of(arguments, content, kind, labels=labels, model=model)
            check_order(request.offset, model)
            encoding = encoding_for_file(file, model.encoding, model.feature_names)
            if encoding is None:
                return table_blocks.read_in_blocks(file, request, use, batch_rows=batch_rows, encode=codes), None
            rows = EncodedBlocks(file, request, encoding, drop=labels)
            return rows.read(use, batch_rows=batch_rows, encode=codes), rows
        mapped = _mapped(arguments, content, labels=labels) if kind == "npy" else None
        if mapped is not None:
            return use(_cut(*mapped, codes, batch_rows)), None
        read = read_content(arguments, content, kind, labels=labels, model=model)
        y = None if read.y is None else codes(read.y, validation.some_samples(read.X).shape[0])
        return use(iter([Block(read.X, y, read.sample_weight)])), None


def _mapped(arguments: argparse.Namespace, content: Source, *, labels: bool) -> tuple[Any, Any, Any] | None:
    """X, labels and weights as memory maps; None if one is no plain `.npy` file, or has the wrong shape."""
    from nbsoftmax.data.arrays import map_npy

    def is_plain(path: str | Path | None) -> bool:
        return path is None or os.path.isfile(path)

    wanted = [arguments.data, arguments.labels if labels else None, weights_of(arguments)]
    if not all(map(is_plain, wanted)) or (labels and arguments.labels is None):
        return None
    if os.path.getsize(arguments.data) != content.file.seek(0, os.SEEK_END):  # compressed
        return None
    X, y, weight = (None if path is None else map_npy(path) for path in wanted)
    beside = [array for array in (y, weight) if array is not None]
    if X is None or X.ndim != 2 or len(X) == 0 or any(array.shape != X.shape[:1] for array in beside):
        return None
    return X, y, weight


def _cut(X: Any, y: Any, weight: Any, codes: Callable[[Any], Any], n: int) -> Iterator[Block]:
    """Blocks of n rows; the error about a number says in which block it is."""
    from nbsoftmax import validation
    from nbsoftmax.data.blocks import Block

    for first in range(0, len(X), n):
        rows = slice(first, first + n)
        try:
            features = validation.features(X[rows])  # the model checks their number
        except InputError as error:
            if first == 0:
                raise
            raise type(error)(f"in the rows from {first} on: {error}") from None
        yield Block(features, None if y is None else codes(y[rows]), None if weight is None else weight[rows])
