"""A fit to a stream of chunks of data: one epoch of mini-batch steps for each chunk, in shuffled order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.sgd import State
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.objective import PenalizedLoss
from nbsoftmax.solvers import sgd
from nbsoftmax.validation import Float64s

DIVERGED = 1e3  # a loss this many times as large as 1 + the previous chunk's means that the parameters diverge


class Stream:
    """The state of a fit to a stream: the parameters so far and the state of the optimizer.

    Parameters
    ----------
    classes : ndarray (n_classes,), sorted
    names : tuple of str or None
        Names of the features.
    options : dict
        Of `solvers.sgd.solve`: learning_rate, batch_size, optimizer, momentum, schedule, average, seed.
    """

    def __init__(self, classes: NDArray[Any], names: tuple[str, ...] | None, options: dict[str, Any]) -> None:
        self.classes, self.names, self.options = classes, names, options
        self.dtype: np.dtype[Any] | None = None  # of the first chunk; later chunks are converted
        self.n_features: int | None = None
        self._n_chunks = self._n_steps = 0
        self._rate, self._loss = options["learning_rate"], float(np.log(classes.size))  # the loss at parameters 0
        self._state: State | None = None

    def codes(self, y: NDArray[Any], n_samples: int) -> NDArray[Any]:
        """Encode labels as class indices; return rows of probabilities unchanged."""
        if y.ndim == 2 and y.shape[1] > 1:
            return y
        return validation.codes_of(y, self.classes, n_samples=n_samples)

    def begin(self, start: Float64s) -> None:
        """Start at the given parameters (n_classes, n_features + 1)."""
        adam = self.options["optimizer"] == "adam"
        self._state = sgd.begun(start, adam=adam, average=self.options["average"])

    def learn(self, objective: PenalizedLoss) -> None:
        """Make one epoch of steps through the samples of a chunk.

        Raises
        ------
        InputValueError
            If the parameters diverge; the state then remains that before this chunk.
        """
        shape, options = objective.shape, self.options
        rate = self._rate or sgd.rate_for(objective, shape, options)
        if self._state is None:
            self.begin(np.zeros(shape))
        assert self._state is not None
        state = State(*(part.copy() for part in self._state))
        n_steps = -(-objective.n_samples // options["batch_size"])
        epochs = self._n_chunks + np.arange(n_steps) / n_steps
        loss = objective.descend(
            state,
            sgd.shuffled(objective.n_samples, options["seed"], self._n_chunks),
            options["batch_size"],
            rate * sgd.schedule_of(options["schedule"], epochs),
            kind=sgd.KINDS[options["optimizer"]],
            momentum=options["momentum"],
            n_before=self._n_steps,
        )
        if not loss <= DIVERGED * (self._loss + 1) or not all(np.isfinite(part).all() for part in state):
            raise InputValueError(
                f"the parameters diverged in this chunk, at learning_rate {rate:g}; the chunk was left out. Give a "
                "smaller learning_rate, or features on the same scale as before."
            )
        self._state, self._rate, self._loss = state, rate, loss
        self._n_chunks += 1
        self._n_steps += n_steps

    def model(self) -> SoftmaxModel:
        """The model after the chunks so far."""
        assert self._state is not None, "no chunk has been learned"
        params = (self._state.mean if self.options["average"] else self._state.params).reshape(self.classes.size, -1)
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
            f"y has probabilities of {y.shape[1]} classes, which are 0, 1, ..., but classes are "
            f"{classes.tolist()[:10]}; leave classes out."
        )
    return classes
