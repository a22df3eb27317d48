"""A fit to a stream of chunks of data: one epoch of mini-batch steps for each chunk, in shuffled order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, listed
from nbsoftmax.kernels.sgd import State
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.objective import PenalizedLoss
from nbsoftmax.solvers.sgd import SGD, rate_factors, sample_order
from nbsoftmax.validation import Float64s

DIVERGED = 1e3  # a loss this many times as large as 1 + the previous chunk's means that the parameters diverge


class Stream:
    """The state of a fit to a stream: the parameters so far and the state of the optimizer.

    Parameters
    ----------
    classes : ndarray (n_classes,), sorted
    names : tuple of str or None
        Names of the features.
    solver : SGD
    seed : int
        Of the order of the samples.
    """

    def __init__(self, classes: NDArray[Any], names: tuple[str, ...] | None, solver: SGD, seed: int) -> None:
        self.classes, self.names, self.solver, self.seed = classes, names, solver, seed
        self.dtype: np.dtype[Any] | None = None  # of the first chunk; later chunks are converted
        self.n_features: int | None = None
        self._n_chunks = self._n_steps = 0
        self._rate, self._loss = solver.learning_rate, float(np.log(classes.size))  # the loss at parameters 0
        self._state: State | None = None

    def codes(self, y: NDArray[Any], n_samples: int) -> NDArray[Any]:
        """Encode labels as class indices; return rows of probabilities unchanged."""
        if y.ndim == 2 and y.shape[1] > 1:
            return y
        return validation.codes_of(y, self.classes, n_samples=n_samples)

    def begin(self, start: Float64s) -> None:
        """Start at the given parameters (n_classes, n_features + 1)."""
        self._state = self.solver.initial_state(start)

    def learn(self, objective: PenalizedLoss) -> None:
        """Make one epoch of steps through the samples of a chunk.

        Raises
        ------
        InputValueError
            If the parameters diverge; the state then remains that before this chunk.
        """
        shape, solver = objective.shape, self.solver
        rate = self._rate or solver.initial_rate(objective, shape)
        if self._state is None:
            self.begin(np.zeros(shape))
        assert self._state is not None
        state = State(*(part.copy() for part in self._state))
        epochs = self._n_chunks + solver.fractions_of_epoch(objective)
        loss = solver.epoch(
            objective,
            state,
            sample_order(objective.n_samples, self.seed, self._n_chunks),
            rate * rate_factors(solver.schedule or "constant", epochs),
            n_before=self._n_steps,
        )
        if not loss <= DIVERGED * (self._loss + 1) or not all(np.isfinite(part).all() for part in state):
            raise InputValueError(
                f"the parameters diverged in this chunk, at learning_rate {rate:g}; the chunk was left out. Give a "
                "smaller learning_rate, or features on the same scale as before."
            )
        self._state, self._rate, self._loss = state, rate, loss
        self._n_chunks += 1
        self._n_steps += epochs.size

    def model(self) -> SoftmaxModel:
        """The model after the chunks so far."""
        assert self._state is not None, "no chunk has been learned"
        params = self.solver.params(self._state, (self.classes.size, -1))
        return SoftmaxModel(params[:, :-1].copy(), params[:, -1].copy(), self.classes, self.names)


def classes_of(given: ArrayLike | None, y: NDArray[Any]) -> NDArray[Any]:
    """All classes of a stream, sorted, from the arguments of its first call."""
    if given is None:
        if y.ndim == 2 and y.shape[1] > 1:
            return np.arange(y.shape[1])
        raise InputValueError("classes is missing; the first call of partial_fit needs all labels of the stream.")
    classes = validation.labels(given, name="classes")[1]
    if classes.size < 2:
        raise InputValueError(f"classes has {classes.size} different labels, expected at least two.")
    if y.ndim == 2 and y.shape[1] > 1 and not np.array_equal(classes, np.arange(y.shape[1])):
        raise InputValueError(
            f"y has probabilities of {y.shape[1]} classes, which are 0, 1, ..., but classes are [{listed(classes)}]; "
            "leave classes out."
        )
    return classes
