"""Softmax regression on Dask collections: fits on the workers of a cluster, and lazy predictions.

`nbsoftmax.Trainer.fit` takes Dask collections too; this module has the estimator with scikit-learn's parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    import distributed  # noqa: F401
    from sklearn.base import clone
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError(
        "nbsoftmax.dask needs the packages distributed and scikit-learn; install them with: pip install "
        '"nbsoftmax[dask,sklearn]"'
    ) from error

from nbsoftmax import validation
from nbsoftmax.data.blocks import is_source
from nbsoftmax.encoding import AnyEncoding, TableOptions, checked_options, warn_of_unknown
from nbsoftmax.encoding import is_table as is_table_in_memory
from nbsoftmax.errors import ClusterError, InputError, InputTypeError, InputValueError, a_type
from nbsoftmax.estimators import SoftmaxRegression
from nbsoftmax.estimators.bounds import bounds_of_classes
from nbsoftmax.estimators.other_names import names_checked
from nbsoftmax.kernels.predict import BEST
from nbsoftmax.models.in_blocks import Trained, accuracy_of, hits_in
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.models.thresholds import Thresholds, thresholds_of
from nbsoftmax.problem import ProblemInParts
from nbsoftmax.problem.collections import (
    aligned,
    check_columns,
    checked_parts,
    class_columns,
    is_array,
    is_table,
    partitions_of,
)
from nbsoftmax.problem.on_cluster import checked_client, in_partition, or_raised
from nbsoftmax.solvers.table import Solver

__all__ = ["ClusterError", "DaskSoftmaxRegression"]

OF_CLUSTERS = frozenset({"client", "timeout", "table"})  # parameters that `SoftmaxRegression` does not have


class DaskSoftmaxRegression(SoftmaxRegression):
    """`SoftmaxRegression` whose rows are on the workers of a Dask cluster.

    The objective, the attributes and the result are those of `SoftmaxRegression`, up to rounding. The sums over the
    partitions are added in one order: the result has the same bits for any number of workers and threads, also if
    workers are lost during the fit.

    Parameters
    ----------
    client : dask.distributed.Client, optional
        Default: the current client when it is needed. It is not saved when the estimator is pickled.
    C, l1_ratio, class_weight, fit_intercept, standardize, penalty_weight, bounds, label_smoothing, thresholds
        As for `SoftmaxRegression`, as are `solver`, `tol`, `max_iter`, `warm_start`, `random_state` and `verbose`. The
        solver "sgd" needs all rows in memory.
    n_jobs : int, optional
        Number of threads of each task; default: as many as the worker has.
    device : {"cpu", "auto"}
        The same here: workers sum on their CPUs.
    timeout : float, optional
        Seconds after which a fit ends with a `ClusterError` if no worker runs. Default: Dask's configuration
        `nbsoftmax.timeout`, or 300.
    table : TableOptions or Encoding, optional
        How columns of a DataFrame that are not numbers become features, as for `Trainer`.

    Attributes
    ----------
    client_ : dask.distributed.Client
        The client that a fit uses.
    encoding_ : Encoding or None
        How the features are made from the columns of a DataFrame; `coef_` has a column for each of `encoding_.names`,
        while `n_features_in_` and `feature_names_in_` are those of the DataFrame. Predictions then take tables.
    coef_, intercept_, classes_, n_features_in_, feature_names_in_, n_iter_, converged_, gap_, history_
        As for `SoftmaxRegression`.

    Warns
    -----
    UnknownLevelsWarning
        In predictions of tables with levels that the fit has not seen. Predictions of collections are computed on the
        workers, and the warning is written to their logs.
    """

    encoding_: AnyEncoding | None = None  # until a fit

    @names_checked
    def __init__(  # noqa: PLR0913  scikit-learn takes options from the constructor
        self,
        client: Any = None,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        class_weight: Any = None,
        fit_intercept: bool = True,
        standardize: bool = False,
        penalty_weight: ArrayLike | None = None,
        bounds: Any = None,
        label_smoothing: float = 0.0,
        thresholds: Thresholds = None,
        solver: str | Solver = "auto",
        tol: float = 1e-6,
        max_iter: int | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        device: str = "cpu",
        random_state: Any = None,
        verbose: int | bool = 0,
        timeout: float | None = None,
        table: TableOptions | AnyEncoding | None = None,
    ) -> None:
        super().__init__(
            C,
            l1_ratio=l1_ratio,
            class_weight=class_weight,
            fit_intercept=fit_intercept,
            standardize=standardize,
            penalty_weight=penalty_weight,
            bounds=bounds,
            label_smoothing=label_smoothing,
            thresholds=thresholds,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            n_jobs=n_jobs,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.client = client
        self.timeout = timeout
        self.table = table

    @property
    def client_(self) -> Any:
        """The client that a fit uses: `client`, or the current one."""
        return checked_client(self.client)

    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, offset: Any = None
    ) -> DaskSoftmaxRegression:
        """Fit to collections of Dask.

        Parameters
        ----------
        X : Dask Array or DataFrame (n_samples, n_features)
            An array has one chunk of columns; its blocks are dense, or sparse arrays of SciPy. A DataFrame may
            have columns of text and other kinds, see `table`.
        y : Dask Array or Series, or array_like (n_samples,)
            Labels. A collection has the partitions of X; for an array in memory, Dask must know the numbers of rows.
        sample_weight : Dask Array or Series, or array_like (n_samples,), optional
        offset : Dask Array, DataFrame or Series, or array_like (n_samples, n_classes), optional
            Added to the logits, or (n_samples,) to those of the second of two classes; with the partitions of X.

        Warns
        -----
        ConvergenceWarning
            If the fit has not converged.

        Raises
        ------
        ValueError, TypeError
            For input or parameters that cannot be used.
        ClusterError
            If no worker runs for `timeout` seconds, if workers die on one partition, or if the scheduler is gone.
        """
        problem = ProblemInParts.from_dask(
            X,
            y,
            sample_weight=sample_weight,
            offset=offset,
            class_weight=self.class_weight,
            label_smoothing=self.label_smoothing,
            device=self.device,
            client=self.client,
            timeout=self.timeout,
            table=TableOptions() if self.table is None else checked_options(self.table),
        )
        l1, l2 = self._penalties(problem.weight_sum, problem.n_classes)
        thresholds_of(self.thresholds, problem.classes)  # wrong ones are refused before the fit
        start = self._start(problem.n_features, problem.classes)
        bounds = bounds_of_classes(self.bounds, problem.n_classes, problem.n_features)
        result = self._trainer(l1, l2, bounds, ()).fit(problem, init=start)
        self.encoding_ = problem.encoding
        names = problem.feature_names if self.encoding_ is None else self.encoding_.columns
        self.n_features_in_ = problem.n_features if names is None else len(names)
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.array(names, object)
        self._set_fitted(result, problem.classes)
        if result.interrupted:
            raise KeyboardInterrupt  # after setting the attributes; a search over many fits must end as well
        return self

    @property
    def model_(self) -> SoftmaxModel:
        """The fitted `SoftmaxModel`, with its encoding of tables if there is one."""
        if self.encoding_ is None:
            return super().model_
        coef, intercept = self._two_rows()
        names = self.encoding_.names
        return SoftmaxModel(coef, intercept, self.classes_, names, self._known(), encoding=self.encoding_)

    @property
    def partial_fit(self) -> Any:
        """Not available."""
        raise AttributeError("DaskSoftmaxRegression has no partial_fit; fit all partitions, or use SoftmaxRegression.")

    def predict(self, X: Any, offset: Any = None) -> Any:
        """Most probable labels (n_samples,): lazy if X is a collection, a Series for a DataFrame."""
        return self._lazy("predict", X, offset) if validation.is_dask(X) else super().predict(X, offset)

    def predict_proba(self, X: Any, offset: Any = None) -> Any:
        """Probabilities (n_samples, n_classes): lazy if X is a collection, a DataFrame for a DataFrame."""
        return self._lazy("predict_proba", X, offset) if validation.is_dask(X) else super().predict_proba(X, offset)

    def predict_log_proba(self, X: Any, offset: Any = None) -> Any:
        """Logarithms of the probabilities: lazy if X is a collection."""
        if validation.is_dask(X):
            return self._lazy("predict_log_proba", X, offset)
        return super().predict_log_proba(X, offset)

    def decision_function(self, X: Any, offset: Any = None) -> Any:
        """Logits (n_samples, n_classes), for two classes their difference (n_samples,): lazy if X is a collection."""
        if validation.is_dask(X):
            return self._lazy("decision_function", X, offset)
        return super().decision_function(X, offset)

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, offset: Any = None) -> float:
        """Accuracy: the proportion of samples whose label is predicted, weighted by the sample weights.

        Of collections, a label that is not in `classes_` is refused, as of sources of blocks.
        """
        if not validation.is_dask(X):
            return super().score(X, y, sample_weight, offset)
        import dask

        check_is_fitted(self)
        parts = checked_parts(X, y, sample_weight, offset, any_kind=self.encoding_ is not None)
        tasks, names = partitions_of(parts, dtype=None, encoding=self.encoding_)
        validation.same_features(names, self.model_.feature_names)
        hits = dask.delayed(_hits, pure=False)
        local = dask.delayed(copy.copy(self))
        return accuracy_of(_checked(dask.compute(*(hits(local, task) for task in tasks))))

    def to_local(self) -> SoftmaxRegression:
        """The fitted `SoftmaxRegression`, without a client.

        After a fit to a table with columns of any kind it takes such tables, and matrices `encoding_.encode(table).X`.
        """
        check_is_fitted(self)
        options = {name: value for name, value in self.get_params().items() if name not in OF_CLUSTERS}
        local = SoftmaxRegression(**options)
        for name, value in vars(self).items():
            if name.endswith("_") and not name.startswith("_") and name != "encoding_":
                setattr(local, name, value)
        if self.encoding_ is not None:
            local._encoding, local.n_features_in_ = self.encoding_, len(self.encoding_.names)
            local.feature_names_in_ = np.array(self.encoding_.names, object)
        return local

    def _trained(self) -> Trained:
        """The features that sources of blocks must have."""
        return super()._trained() if (made := self.encoding_) is None else Trained(len(made.names), made.names, made)

    def _predict(self, X: Any, what: int, offset: Any) -> tuple[Any, NDArray[np.int64]]:
        """As that of `SoftmaxRegression`, also for tables that the encoding makes features of."""
        if self.encoding_ is None or is_source(X):
            return super()._predict(X, what, offset)
        if not is_table_in_memory(X):
            raise InputTypeError(
                f"X is {a_type(X)}, but the model was trained on a table with columns of text or other kinds; "
                "give such a table, or the matrix `encoding_.encode(table).X` to the estimator of `to_local()`."
            )
        found = self.encoding_.encode(X)
        warn_of_unknown(found.unknown)
        return self._predict_validated(validation.features(found.X, finite=False), offset, what=what)

    def _lazy(self, method: str, X: Any, offset: Any) -> Any:
        """The results of a method of the local estimator, a partition at a time."""
        import dask

        check_is_fitted(self)
        check_columns(X, any_kind=self.encoding_ is not None)
        offsets = [] if offset is None else [self._offset(offset, X)]
        # A copy: this estimator may be fitted again before the results are computed.
        local = dask.delayed(self.to_local() if self.encoding_ is None else copy.copy(self))
        n_classes = self.classes_.size
        by_row = method == "predict" or (method == "decision_function" and n_classes == 2)
        shape = (0,) if by_row else (0, n_classes)
        if is_table(X):
            if self.encoding_ is None:
                validation.same_features(tuple(map(str, X.columns)), self.model_.feature_names)
                self._check_width(len(X.columns))
            else:
                self.encoding_.encode(X._meta)  # refuses missing columns
            floats = np.float64 if self.encoding_ is not None else _floats_of(validation.frame(X._meta)[0].dtype)
            empty = np.empty(shape, self.classes_.dtype if method == "predict" else floats)
            classes = None if by_row else self.classes_
            meta = _as_table(empty, X._meta, classes)
            given = local, method, empty, classes, *offsets
            return X.map_partitions(_predicted, *given, meta=meta, align_dataframes=False)
        if self.encoding_ is not None:
            raise InputTypeError(
                "X is a Dask Array, but the model was trained on a DataFrame with columns of text or other kinds; give "
                "such a DataFrame."
            )
        if not np.isnan(X.shape[1]):
            self._check_width(X.shape[1])
        floats = _floats_of(X.dtype)
        empty = np.empty(shape, self.classes_.dtype if method == "predict" else floats)
        axes: dict[str, Any] = {"drop_axis": 1} if by_row else {"chunks": (X.chunks[0], (n_classes,))}
        return X.map_blocks(_predicted, local, method, empty, None, *offsets, dtype=empty.dtype, meta=empty, **axes)

    def _check_width(self, n_features: int) -> None:
        if n_features != self.n_features_in_:
            raise InputValueError(f"X has {n_features} features, but the model was trained on {self.n_features_in_}.")

    def _offset(self, offset: Any, X: Any) -> Any:
        """The offset as a collection of the kind of X, with its partitions; an array has a column at least."""
        import dask.array as da

        found = aligned("offset", offset, X)
        validation.in_order_of_classes("offset", class_columns(offset), self.classes_)
        if isinstance(found, list):
            whole = np.concatenate(found)
            found = da.from_array(whole, chunks=(X.chunks[0], *whole.shape[1:]))
        if is_table(found) and not is_table(X):
            found = found.to_dask_array()
            found._chunks = (X.chunks[0], *found.chunks[1:])  # as `aligned` has checked as far as it can be known
        if is_array(found) and found.ndim == 1:
            found = found[:, None]
        return found.to_dask_dataframe() if is_table(X) and is_array(found) else found

    def __sklearn_clone__(self) -> DaskSoftmaxRegression:
        options = {name: clone(value, safe=False) for name, value in self.get_params().items() if name != "client"}
        return type(self)(self.client, **options)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        return {**state, "client": None}


def _floats_of(dtype: Any) -> Any:
    """The dtype of predictions for an X of this one."""
    return np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64


def _checked(results: Iterable[Any]) -> Iterator[Any]:
    """The results of all partitions; one that is an error of the input is raised, with the number of its partition."""
    for i, result in enumerate(results):
        with in_partition(i):
            yield or_raised(result)


def _hits(local: Any, block: Any) -> Any:
    """What `hits_in` finds in the rows of one partition, or the error of its input."""
    if isinstance(block, InputError):
        return block
    try:
        return hits_in(block, partial(local._predict_validated, what=BEST), np.asarray(local.classes_))
    except InputError as error:
        return error


def _predicted(
    X: Any,
    local: Any,
    method: str,
    empty: NDArray[Any],
    classes: Any,
    offset: Any = None,
    *,
    block_id: Any = (),
    partition_info: Any = None,
) -> Any:
    """The predictions of one partition, as a table if X is one. Dask gives one of the last two arguments."""
    with in_partition(partition_info["number"] if partition_info else block_id[0]):
        found = getattr(local, method)(X, offset) if X.shape[0] else empty
    return _as_table(found, X, classes) if hasattr(X, "columns") else found


def _as_table(found: NDArray[Any], X: Any, classes: Any) -> Any:
    import pandas as pd

    return pd.Series(found, X.index) if found.ndim == 1 else pd.DataFrame(found, X.index, columns=classes)
