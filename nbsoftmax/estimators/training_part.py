"""Fits to the training part of one fold, along a path of penalties.

A class without samples there has probability 0 in the limit of the fit: its intercept, which is not penalised, falls to
-inf, and the penalty leaves its coefficients at 0. The other classes then have the fit of a problem without this class.
Without an intercept, or with label smoothing, every class has a finite minimum.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.penalties import limits_of
from nbsoftmax.problem import Problem
from nbsoftmax.selection.cross_validation import weights_of_rows
from nbsoftmax.selection.fit import fit_for_c
from nbsoftmax.training.convergence_warning import ConvergenceWarning
from nbsoftmax.validation import Float64s


class TrainingPart:
    """The samples of the training part of a fold.

    Parameters
    ----------
    problem : Problem
        Of all samples, with labels.
    rows : ndarray of int
        The samples of the training part; one that is named twice counts twice.
    options : dict
        Of `Trainer`, other than the penalty.

    Attributes
    ----------
    absent : ndarray of bool (n_classes,)
        The classes without samples in the training part, whose probability is 0.
    """

    def __init__(self, problem: Problem, rows: NDArray[np.int64], options: dict[str, Any]) -> None:
        part = problem.with_sample_weight(weights_of_rows(rows, problem.weights_or_ones()))
        self.absent = np.zeros(problem.n_classes, bool)
        if options["fit_intercept"] and problem.label_smoothing == 0:
            self.absent = (part.target.class_sums() == 0) & (problem.target.class_sums() > 0)
        self._shape = (problem.n_classes, problem.n_features)
        self._part, self._options = part, options
        if self.absent.any():
            kept = np.flatnonzero(~self.absent)
            self._part = _of_classes(part, kept)
            self._options = options | {"bounds": _bounds_of(options["bounds"], kept)}

    def path(self, Cs: Float64s, l1_ratio: float) -> tuple[Float64s, Float64s, NDArray[np.int32]]:
        """Fits from the strongest to the weakest penalty, each started from the previous one.

        Returns coefficients (n_Cs, n_classes, n_features), intercepts (n_Cs, n_classes) and the numbers of iterations
        (n_Cs,), in the order of Cs.
        """
        present = ~self.absent
        coef = np.zeros((Cs.size, *self._shape))
        intercept = np.zeros((Cs.size, self._shape[0]))
        intercept[:, self.absent] = -np.inf
        n_iter = np.zeros(Cs.size, np.int32)
        if present.sum() == 1:
            return coef, intercept, n_iter
        last: SoftmaxModel | None = None
        for i in np.argsort(Cs, kind="stable").tolist():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                result = fit_for_c(self._part, Cs[i], l1_ratio, self._options, init=last, n_classes=self._shape[0])
            last, n_iter[i] = result.model, result.n_iter
            coef[i, present], intercept[i, present] = last.coef, last.intercept
        return coef, intercept, n_iter


def _bounds_of(bounds: Any, kept: NDArray[np.int64]) -> Any:
    """Bounds on the coefficients of these classes only."""
    if bounds is None:
        return None
    return tuple(end[kept] if end.ndim == 2 else end for end in limits_of(bounds))


def _of_classes(problem: Problem, kept: NDArray[np.int64]) -> Problem:
    """The problem with these classes only, where no sample of another class has weight."""
    given = problem.class_weight
    part = Problem.from_validated(
        problem.X,
        np.searchsorted(kept, problem.y).clip(max=kept.size - 1),
        problem.classes[kept],
        problem.feature_names,
        problem.sample_weight,
        class_weight=None if given is None else np.asarray(given)[kept],
        label_smoothing=problem.label_smoothing,
    )
    return replace(part, offset=np.ascontiguousarray(problem.offset[:, kept])) if problem.offset.size else part
