"""Predictions for a source of blocks of rows, one block after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.data.ahead import ahead
from nbsoftmax.data.blocks import Block, RowBlocks
from nbsoftmax.errors import InputError, InputTypeError, InputValueError
from nbsoftmax.problem.survey import targets_of

Features = tuple[int, tuple[str, ...] | None]  # of the training: their number, and their names if there are some


def in_blocks(
    source: RowBlocks, trained: Features, predict: Callable[[Any, Any], tuple[NDArray[Any], NDArray[Any]]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays that `predict` returns for X, which is validated, and the offset of each block, joined."""
    found = [predict(block.X, block.offset) for block in _checked(source, trained)]
    first, second = zip(*found, strict=True)
    return np.concatenate(first), np.concatenate(second)


def accuracy_in_blocks(
    source: RowBlocks,
    trained: Features,
    predict: Callable[[Any, Any], tuple[NDArray[Any], NDArray[Any]]],
    classes: NDArray[Any],
) -> float:
    """The proportion of rows whose class `predict` finds, weighted by the sample weights if the source has some."""
    right = total = 0.0
    for block in _checked(source, trained):
        places, labels = targets_of(block)
        if labels is None:
            raise InputValueError("y holds probabilities, for which the accuracy is not defined; give labels.")
        hit = predict(block.X, block.offset)[1][:, 0] == validation.positions(labels, classes)[places]
        weight = validation.sample_weights(block.sample_weight, hit.size, all_zero=True)
        right += float(weight[hit].sum()) if weight.size else int(hit.sum())
        total += float(weight.sum()) if weight.size else hit.size
    if total == 0:
        raise InputValueError("the weights of the rows sum to 0, so the accuracy is not defined.")
    return right / total


def refuse_offset(offset: Any) -> None:
    """Refuse an offset beside a source."""
    if offset is not None:
        raise InputTypeError("X is a source of blocks of rows, which has its own offset; give it alone.")


def _checked(source: RowBlocks, trained: Features) -> Iterator[Block]:
    """The blocks, with validated X; an error says where the block begins."""
    n = None
    for block in ahead(source.blocks()):
        names = source.feature_names
        validation.same_features(names, trained[1])
        try:
            features = validation.features(block.X, names=names, n_features=trained[0])
        except InputError as error:
            raise type(error)(f"in the block of rows that begins at row {n or 0}: {error}") from None
        yield block._replace(X=features)
        n = (n or 0) + block.X.shape[0]
        del block
    if n is None:
        raise InputValueError("the source has no rows; expected at least one.")
