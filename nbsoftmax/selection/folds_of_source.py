"""Folds of a source of blocks of rows, for cross-validation: rows of the other part have the weight 0."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.data.blocks import AnyBlock, Block, RowBlocks
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.kernels.predict import BEST
from nbsoftmax.models.in_blocks import Trained, accuracy_in_blocks, no_accuracy
from nbsoftmax.models.predictions import predictions
from nbsoftmax.models.softmax import SoftmaxModel, params_of
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import ProblemInParts, problem_of
from nbsoftmax.selection.fit import fit_for_c
from nbsoftmax.selection.path import n_selected


class PartOfFold:
    """The rows that a fold holds out, or all others, with their weights; the rest has the weight 0.

    Each row is in one of the folds, drawn by the seed and the number of its block, which depends on the dtype of X.
    """

    def __init__(self, source: RowBlocks, fold: int, n_folds: int, seed: int, *, held_out: bool) -> None:
        self._source, self._fold, self._n_folds, self._seed, self._held_out = source, fold, n_folds, seed, held_out

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Those of the source."""
        return self._source.feature_names

    def blocks(self, dtype: np.dtype[Any] | None = None) -> Iterator[Block]:
        """All rows from the first one."""
        for i, block in enumerate(self._source.blocks(dtype)):
            yield self._weighted(i, block)
            del block

    def block(self, i: int, dtype: np.dtype[Any] | None = None) -> Block | None:
        """The block number i of `blocks`; None if blocks can only be read one after the other."""
        block = self._source.block(i, dtype) if isinstance(self._source, AnyBlock) else None
        return None if block is None else self._weighted(i, block)

    def _weighted(self, i: int, block: Block) -> Block:
        n = block.X.shape[0]
        chosen = np.random.default_rng([self._seed, i]).integers(self._n_folds, size=n) == self._fold
        weight = validation.sample_weights(block.sample_weight, n, all_zero=True)
        kept = chosen if self._held_out else ~chosen
        return block._replace(sample_weight=np.where(kept, weight if weight.size else 1.0, 0.0))


class FoldOfSource:
    """One fold: the problem of its training part, and the last model, from which its next fit starts."""

    def __init__(self, source: RowBlocks, fold: int, n_folds: int, seed: int, options: dict[str, Any]) -> None:
        self._problem = problem_of(PartOfFold(source, fold, n_folds, seed, held_out=False), **options)
        self._held_out = PartOfFold(source, fold, n_folds, seed, held_out=True)
        classes, dtype = self._problem.classes, self._problem.dtype
        absent = self._problem.class_mass() == 0
        if absent.any():
            raise InputValueError(
                f"class {plain(classes[int(absent.argmax())])} has no sample in the training part of a fold; leave the "
                "class out."
            )
        if isinstance(self._problem, ProblemInParts) and self._problem.survey.soft:
            raise no_accuracy()
        held_out = ProblemInParts.from_blocks(self._held_out, dtype=dtype, classes=classes)
        self._loss = PenalizedLoss(held_out, ObjectiveOptions())
        self._last: SoftmaxModel | None = None

    def evaluate(self, C: float, l1_ratio: float, options: dict[str, Any]) -> tuple[float, float, int]:
        """Log-loss and accuracy of the held-out samples, and the number of features, for the next C."""
        model = self._last = fit_for_c(self._problem, C, l1_ratio, options, init=self._last).model

        def predict(X: Any, offset: Any, names: Any) -> tuple[Any, Any]:
            return predictions(model.coef, model.intercept, X, BEST, offset=offset, names=names)

        features, dtype = Trained(model.n_features, model.feature_names), self._problem.dtype
        right = accuracy_in_blocks(self._held_out, features, predict, model.classes, dtype=dtype)
        return self._loss.value(params_of(model)), right, n_selected(model)


def folds_of_source(source: RowBlocks, folds: Any, seed: int | None, options: dict[str, Any]) -> list[FoldOfSource]:
    """The folds of a source; `options` are those of `problem_of`."""
    if not isinstance(folds, (int, np.integer)):
        raise InputTypeError(f"folds is {plain(folds)}, but for a source of blocks of rows it is a number of folds.")
    n = validation.count("folds", folds, low=2)
    make = partial(FoldOfSource, source, n_folds=n, seed=validation.seed(seed), options=options)
    return [make(fold=k) for k in range(n)]
