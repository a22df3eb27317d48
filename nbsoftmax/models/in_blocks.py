"""Predictions for a source of blocks of rows, one block after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.data.ahead import ahead
from nbsoftmax.data.block_source import BlockSource
from nbsoftmax.data.blocks import Block, RowBlocks, located_in
from nbsoftmax.encoding import AnyEncoding
from nbsoftmax.errors import InputTypeError, InputValueError
from nbsoftmax.problem.survey import targets_of

T = TypeVar("T")
# A function of X, the offset, and the names of the features, which returns what `predictions.predictions` does. It
# raises the error for a NaN or inf in a dense X, with the name of the feature.
Predict = Callable[[Any, Any, tuple[str, ...] | None], tuple[NDArray[Any], NDArray[Any]]]


class Trained(NamedTuple):
    """The features of the training."""

    n_features: int
    names: tuple[str, ...] | None
    encoding: AnyEncoding | None = None  # how they are made from the columns of tables


def in_blocks(
    source: RowBlocks, trained: Trained, predict: Predict, classes: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays that `predict` returns for X and the offset of each block, joined.

    Rows that an encoding leaves out of fits are errors, so that there is a prediction for each row.
    """
    source = source.keeping_rows() if isinstance(source, BlockSource) else source
    found = list(_each(source, trained, lambda block, names: predict(block.X, offset_of(block, classes), names)))
    first, second = zip(*found, strict=True)
    return np.concatenate(first), np.concatenate(second)


def accuracy_in_blocks(
    source: RowBlocks,
    trained: Trained,
    predict: Predict,
    classes: NDArray[Any],
    *,
    dtype: np.dtype[Any] | None = None,
) -> float:
    """The proportion of rows whose class `predict` finds, weighted by the sample weights if the source has some.

    `dtype` is that of X; None: that of the source. The length of the blocks depends on it.
    """
    return accuracy_of(_each(source, trained, lambda block, names: hits_in(block, predict, classes, names), dtype))


def hits_in(
    block: Block, predict: Predict, classes: NDArray[Any], names: tuple[str, ...] | None = None
) -> tuple[float, float, int]:
    """The weights of the correct predictions in a block and of all its rows, in units of 2^exponent; the exponent."""
    places, labels = targets_of(block)
    if labels is None:
        raise no_accuracy()
    truth = validation.positions(labels, classes, codes=places)[places]
    hit = predict(block.X, offset_of(block, classes), names)[1][:, 0] == truth
    given = validation.sample_weights(block.sample_weight, hit.size, all_zero=True)
    weight, exponent = validation.scaled(given if given.size else np.ones(hit.size))
    return float(weight[hit].sum()), float(weight.sum()), exponent


def no_accuracy() -> InputValueError:
    """The error for probabilities in the place of labels."""
    return InputValueError("y holds probabilities, for which the accuracy is not defined; give labels.")


def accuracy_of(hits: Iterable[tuple[float, float, int]]) -> float:
    """The accuracy from `hits_in` of all blocks; the sum of the weights may overflow."""
    found = [one for one in hits if one[1] > 0]
    if not found:
        raise InputValueError("the weights of the rows sum to 0, so the accuracy is not defined.")
    rights, totals, exponents = map(np.array, zip(*found, strict=True))
    units = np.ldexp(1.0, exponents - exponents.max())
    return float((units * rights).sum() / (units * totals).sum())


def offset_of(block: Block, classes: NDArray[Any]) -> Any:
    """The offset of a block, whose columns are in the order of the classes if they have their names."""
    validation.in_order_of_classes("offset", block.columns.offset, classes)
    return block.offset


def refuse_beside_source(**given: Any) -> None:
    """Refuse labels, weights or an offset, by their names, beside a source X."""
    name = next((name for name, value in given.items() if value is not None), None)
    if name is not None:
        raise InputTypeError(
            f"X is a source of blocks of rows, which has its own y, sample weights and offset; leave {name} out."
        )


def _stored(encoding: AnyEncoding) -> str:
    """What a model file stores of an encoding, as text, in which a NaN equals another."""
    return json.dumps(encoding.to_dict(), sort_keys=True)


def _each(
    source: RowBlocks,
    trained: Trained,
    function: Callable[[Block, tuple[str, ...] | None], T],
    dtype: np.dtype[Any] | None = None,
) -> Iterator[T]:
    """Yield `function(block, feature_names)` for each block; an error says where the row or the block is.

    X is validated before, but for the numbers of dense rows, which the predictions check.
    """
    n, own = None, getattr(source, "encoding", None)
    if own is not None and trained.encoding is not None and _stored(own) != _stored(trained.encoding):
        raise InputValueError(
            "the source has learned from its own rows how to encode its columns, such as the means of missing numbers, "
            "which are not those of the training; open it with table=model.encoding."
        )
    for block in ahead(source.blocks(dtype)):
        names = source.feature_names
        validation.same_features(names, trained.names)
        with located_in(source, n or 0):
            features = validation.features(block.X, names=names, n_features=trained.n_features, finite=False)
            found = function(block._replace(X=features), names)
        n = (n or 0) + block.X.shape[0]
        del block, features
        yield found
    if n is None:
        raise InputValueError("the source has no rows; expected at least one.")
