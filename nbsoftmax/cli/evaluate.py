"""`nbsoftmax evaluate`: accuracy, log-loss and confusion matrix of a model on labelled data."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.offsets import warn_without_offset
from nbsoftmax.cli.options import add_data, file
from nbsoftmax.cli.output import format_number, print_report, without_controls
from nbsoftmax.cli.reading import read_model
from nbsoftmax.cli.reading_blocks import read_in_blocks
from nbsoftmax.cli.several import add_more
from nbsoftmax.cli.thresholds import add_thresholds, read_thresholds
from nbsoftmax.errors import InputValueError

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.data.blocks import Block
    from nbsoftmax.models.softmax import SoftmaxModel


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    command.add_argument("model", type=file, help="model file written by fit or cv (.npz)")
    add_data(command)
    add_more(command, "more files; DATA may also be a folder, or a pattern such as 'test/*.parquet'")
    add_thresholds(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the scores of a model on labelled data."""
    model = read_model(arguments.model, arguments.data)
    warn_without_offset(arguments, model)
    scores = partial(scores_of, model, thresholds=read_thresholds(arguments, model))
    found, *others = read_in_blocks(arguments, model, scores, labels=True, n_results=model.n_classes)
    for one in others:
        found.merge(one)
    confusion = found.confusion
    lines = [
        f"samples:  {found.n_samples}{' (the results are weighted)' if found.is_weighted else ''}",
        f"accuracy: {found.accuracy:.4f}",
        f"log-loss: {found.log_loss:.4f}",
        *_tables([without_controls(str(label)) for label in model.classes.tolist()], confusion),
    ]
    facts = {
        "samples": found.n_samples,
        "accuracy": found.accuracy,
        "log_loss": found.log_loss,
        "confusion": confusion.tolist(),
        "classes": model.classes.tolist(),
    }
    print_report(arguments, lines, facts)
    return 0


class Scores:
    """The scores of a model, from sums over blocks of rows.

    Attributes
    ----------
    n_samples : int
    is_weighted : bool
    confusion : array (n_classes, n_classes), counts or sums of weights
    """

    def __init__(self, n_classes: int, thresholds: Any = None) -> None:
        import numpy as np

        from nbsoftmax.models.thresholds import above_thresholds

        self._above = above_thresholds(np.zeros(n_classes), thresholds)
        self.n_samples, self.is_weighted = 0, False
        self.confusion: Any = np.zeros((n_classes, n_classes), np.int64)
        self._loss = self._largest = 0.0

    def add(self, logits: Any, truth: Any, weight: Any) -> None:
        """Add rows: their logits (n, n_classes), true class indices (n,) and weights (n,) or None."""
        from nbsoftmax import validation
        from nbsoftmax.functional import cross_entropy
        from nbsoftmax.models.scores import confusion

        self.n_samples += len(truth)
        if weight is not None:
            weight = validation.sample_weights(weight, len(truth), all_zero=True)
            self.is_weighted, self._largest = True, max(self._largest, float(weight.max(initial=0.0)))
            self._check_weights()
        self._loss += cross_entropy(logits, truth, sample_weight=weight, reduction="sum")
        best = (logits + self._above).argmax(axis=1)
        self.confusion = self.confusion + confusion(truth, best, len(self.confusion), weight)

    def merge(self, others: Scores) -> None:
        """Add the rows of other scores of the same model."""
        self.n_samples, self.is_weighted = self.n_samples + others.n_samples, self.is_weighted or others.is_weighted
        self._largest, self._loss = max(self._largest, others._largest), self._loss + others._loss
        self.confusion = self.confusion + others.confusion
        self._check_weights()

    def _check_weights(self) -> None:
        if self._largest > 1e300 / max(self.n_samples, 1):
            raise InputValueError(
                f"the largest weight is {self._largest:g}, too large to add up {self.n_samples}; divide all by it."
            )

    @property
    def accuracy(self) -> float:
        """The share of the samples, by weight, whose class is predicted."""
        return float(self.confusion.trace() / self._total)

    @property
    def log_loss(self) -> float:
        """The mean cross-entropy."""
        return float(self._loss / self._total)

    @property
    def _total(self) -> Any:
        total = self.confusion.sum()
        if total == 0:
            raise InputValueError(
                "no sample is left, or the weights of all are 0, so that a mean is undefined; give complete rows."
            )
        return total


def scores_of(model: SoftmaxModel, blocks: Iterable[Block], *, thresholds: Any = None) -> Scores:
    """The scores of a model on blocks of rows whose y are class indices."""
    scores = Scores(model.n_classes, thresholds)
    for block in blocks:
        scores.add(model.decision_function(block.X, offset=block.offset), block.y, block.sample_weight)
        del block  # while the next one is read
    return scores


def _tables(names: list[str], confusion: Any) -> list[str]:
    """Return precision and recall of each class, and the confusion matrix, as lines."""
    width = max(9, *map(len, names))
    lines = ["", f"{'class':>{width}}  precision     recall    samples"]
    for k, name in enumerate(names):
        right, predicted, actual = confusion[k, k], confusion[:, k].sum(), confusion[k].sum()
        shares = [f"{right / n:10.4f}" if n else f"{'-':>10}" for n in (predicted, actual)]
        lines.append(f"{name:>{width}} {shares[0]} {shares[1]} {format_number(actual):>10}")
    cell = max(4, *map(len, names), *(len(format_number(n)) for n in confusion.flat)) + 1
    lines += ["", "confusion matrix (rows: true, columns: predicted)"]
    lines.append(" " * width + "".join(f"{name:>{cell}}" for name in names))
    for k, name in enumerate(names):
        lines.append(f"{name:>{width}}" + "".join(f"{format_number(n):>{cell}}" for n in confusion[k]))
    return lines
