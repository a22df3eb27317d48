"""A fit to a stream of chunks of data: one epoch of mini-batch steps for each chunk, in shuffled order."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.backends.base import SampleOrder
from nbsoftmax.encoding import AnyEncoding, TableOptions, encoding_for, is_table
from nbsoftmax.errors import InputTypeError, InputValueError, listed, rows_called
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.kernels.sgd import State
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import Problem
from nbsoftmax.problem.table_rows import encoded_rows
from nbsoftmax.solvers.sgd import SGD, rate_factors
from nbsoftmax.solvers.table import Solver
from nbsoftmax.training.start import initial_params
from nbsoftmax.validation import Float64s

DIVERGED = 1e3  # a loss this many times as large as 1 + the previous chunk's means that the parameters diverge
ENCODING_FIRST = (
    "partial_fit cannot learn an encoding from one chunk, but Trainer(table=encoding) applies one: that of a model, or "
    "of a source that reads all rows once, nbs.data.from_batches(frames, table=nbs.TableOptions()).encoding."
)


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
    encoding : AnyEncoding or None
        How the features are made from the columns of tables.
    """

    _n_samples, _weight = 0, 0.0  # also of a stream that an earlier version has pickled

    def __init__(
        self,
        classes: NDArray[Any],
        names: tuple[str, ...] | None,
        solver: SGD,
        seed: int,
        encoding: AnyEncoding | None = None,
    ) -> None:
        self.classes, self.names, self.solver, self.seed, self.encoding = classes, names, solver, seed, encoding
        self.dtype: np.dtype[Any] | None = None  # of the first chunk; later chunks are converted
        self.n_features: int | None = None
        self._n_chunks = self._n_steps = 0
        self._rate, self._loss = solver.learning_rate, float(np.log(classes.size))  # the loss at parameters 0
        self._state: State | None = None
        self._n_samples, self._weight = 0, 0.0  # so far, and the sum of their weights

    def codes(self, y: NDArray[Any], n_samples: int) -> NDArray[Any]:
        """Encode labels as class indices; return rows of probabilities unchanged."""
        if y.ndim == 2 and y.shape[1] > 1:
            return y
        return validation.codes_of(y, self.classes, n_samples=n_samples)

    def begin(self, start: Float64s) -> None:
        """Start at the given parameters (n_classes, n_features + 1)."""
        self._state = self.solver.initial_state(start)

    def learn(self, objective: PenalizedLoss, loss_of_offset: float) -> None:
        """Make one epoch of steps through the samples of a chunk, whose offset alone may have a large loss.

        The gradient of a sample is that of a fit to all samples so far: its loss is divided by their mean weight.

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
        n_samples, weight = self._n_samples + objective.n_samples, self._weight + objective.weight_sum
        loss = solver.epoch(
            objective,
            state,
            SampleOrder(self.seed, self._n_chunks),
            rate * rate_factors(solver.schedule or "constant", epochs),
            n_before=self._n_steps,
            emphasis=objective.weight_sum / objective.n_samples * (n_samples / weight),
        )
        most = DIVERGED * (max(self._loss, loss_of_offset) + 1)
        if not loss <= most or not all(np.isfinite(part).all() for part in state):
            raise InputValueError(
                f"the parameters diverged in this chunk, at learning_rate {rate:g}; the chunk was left out. Give a "
                "smaller learning_rate, or features on the same scale as before."
            )
        self._state, self._rate, self._loss = state, rate, loss
        self._n_samples, self._weight = n_samples, weight
        self._n_chunks += 1
        self._n_steps += epochs.size

    def model(self) -> SoftmaxModel:
        """The model after the chunks so far."""
        assert self._state is not None, "no chunk has been learned"
        params = self.solver.params(self._state, (self.classes.size, -1))
        coef, intercept = params[:, :-1].copy(), params[:, -1].copy()
        return SoftmaxModel(coef, intercept, self.classes, self.names, encoding=self.encoding)


@dataclass(frozen=True, eq=False)
class StreamOptions:
    """The options of a Trainer that a fit to a stream uses."""

    solver: SGD
    seed: int
    dtype: np.dtype[Any] | None
    class_weight: Mapping[Any, float] | ArrayLike | None
    label_smoothing: float
    table: TableOptions | AnyEncoding | None
    objective: ObjectiveOptions

    @property
    def encoding(self) -> AnyEncoding | None:
        """The encoding of the tables; None for tables of numbers.

        Raises
        ------
        InputValueError
            For options with which tables of numbers need an encoding too: options need all rows at once to learn one.
        """
        if isinstance(self.table, TableOptions) and self.table.always:
            raise InputValueError(f"table is {self.table!r}; {ENCODING_FIRST}")
        return None if isinstance(self.table, TableOptions) else self.table


def streaming_solver(solver: Solver, class_weight: Any, *, standardize: bool) -> SGD:
    """The solver, which must be able to learn from a stream with these options."""
    if not isinstance(solver, SGD):
        raise InputValueError(
            f'partial_fit needs solver="sgd", which learns from mini-batches, but the solver is {solver.name!r}.'
        )
    if solver.schedule not in {None, "constant", "inverse"}:
        raise InputValueError(
            f"schedule is {solver.schedule!r}, which has a last epoch, but a stream has none; "
            'give schedule="constant" or "inverse".'
        )
    obstacle = needs_all_samples(class_weight, standardize=standardize)
    if obstacle is not None:
        raise InputValueError(obstacle)
    return solver


def needs_all_samples(class_weight: Any, *, standardize: bool) -> str | None:
    """The message about an option that a stream cannot have, because it depends on all samples; None without one."""
    if standardize:
        return "standardize=True needs the deviations of all samples at once; scale the features."
    if isinstance(class_weight, str):
        return f"class_weight is {class_weight!r}, which needs all labels at once; give the weights themselves."
    return None


def learn_chunk(
    before: Stream | None,
    options: StreamOptions,
    X: Any,
    y: Any,
    sample_weight: ArrayLike | None,
    offset: ArrayLike | None,
    *,
    classes: ArrayLike | None,
    init: Any,
) -> Stream:
    """The stream after a chunk of samples; the first chunk (`before` is None) begins a stream.

    Raises
    ------
    InputValueError, InputTypeError
        For invalid input, and if the parameters diverge; `before` then remains as it was.
    """
    encoding, rows = options.encoding, None
    if encoding is not None:
        encoding_for(X, encoding)  # refuses an array
        dense = str(options.objective.device).startswith("cuda")
        X, y, sample_weight, offset, rows = encoded_rows(encoding, X, y, sample_weight, offset, dense=dense)
    with rows_called(rows):
        array, names = _array_of(X) if encoding is None else (X, encoding.names)
        columns, y = validation.class_columns(y), validation.target_array(y)
        stream = copy(before) or Stream(classes_of(classes, y), names, options.solver, options.seed, encoding)
        validation.same_features(names, stream.names)
        validation.in_order_of_classes("y", columns, stream.classes)
        again = None if before is None or classes is None else classes_of(classes, y)
        if again is not None and not np.array_equal(again, stream.classes):
            raise InputValueError(
                f"classes are [{listed(again)}], but the stream began with [{listed(stream.classes)}]; "
                "a new Trainer begins a new stream."
            )
        X = validation.features(array, dtype=options.dtype or stream.dtype, n_features=stream.n_features, names=names)
        codes = stream.codes(y, X.shape[0])
        if init is not None:
            if before is not None:
                raise InputValueError("init is given, but the stream has begun; a new Trainer begins a new one.")
            shape = (stream.classes.size, X.shape[1] + 1)
            stream.begin(initial_params(init, shape, stream.classes, fit_intercept=options.objective.fit_intercept))
        problem = Problem.from_validated(
            X,
            codes,
            stream.classes,
            names,
            validation.sample_weights(sample_weight, X.shape[0]),
            class_weight=options.class_weight,
            label_smoothing=options.label_smoothing,
        ).with_offset(offset)
    objective = PenalizedLoss(problem, options.objective)
    with one_thread():
        stream.learn(objective, 0.0 if offset is None else objective.value(np.zeros(objective.shape)))
    stream.dtype, stream.n_features = X.dtype, X.shape[1]
    return stream


def _array_of(X: Any) -> tuple[Any, tuple[str, ...] | None]:
    """The array of a chunk, and the names of its features."""
    try:
        return validation.frame(X)
    except InputTypeError as error:
        if not is_table(X):
            raise
        raise InputTypeError(f"{error} {ENCODING_FIRST}") from None


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
