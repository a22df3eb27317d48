"""Sums over sparse rows of two classes: `SparseSums` with the kernel that has one column of parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.sparse_design import Layout
from nbsoftmax.backends.sparse_sums import Stage
from nbsoftmax.backends.transposed import Blocks
from nbsoftmax.kernels import linear, sparse
from nbsoftmax.kernels.runtime.phases import launch_phases
from nbsoftmax.kernels.sparse_binary import Differences, sparse_binary
from nbsoftmax.kernels.sparse_linear import VARIANCES, Curved
from nbsoftmax.kernels.sparse_sums import Starts
from nbsoftmax.validation import Float64s

# Numbers of X up to which one thread adds the products by rows: it needs no transposed copy, and takes a third of the
# time where most columns have few numbers.
FEW_NUMBERS = 2**17


class BinarySums:
    """Sums over the rows of some blocks, as `SparseSums`, for two classes."""

    def __init__(self, blocks: Blocks, layout: Layout, *, fit_intercept: bool) -> None:
        self._blocks, self._layout, self._fit_intercept = blocks, layout, fit_intercept
        self._groups = -(-np.diff(blocks.starts) // layout.group)
        self._starts = Starts(blocks.starts, np.append(0, np.cumsum(self._groups)))
        self._by_rows = blocks.rows.data.size <= FEW_NUMBERS

    @property
    def n_groups(self) -> int:
        """Number of the groups of rows."""
        return int(self._starts.groups[-1])

    def by_rows(self, stage: Stage, params: Float64s) -> None:
        """As `SparseSums.by_rows`."""
        self._run(self._groups, stage, params, None, np.empty(0), squared=False)

    def products(
        self, stage: Stage, params: Float64s | None, direction: Float64s | None = None, *, squared: bool = False
    ) -> Float64s:
        """As `SparseSums.products`."""
        n_products = 1 if self._by_rows else sparse.TASKS + 1
        tasks = np.array([(groups, n_products) for groups in self._groups], np.int64).reshape(-1)
        out = np.zeros((2, self._layout.n_features + 1))
        self._run(tasks, stage, params, direction, out[1], squared=squared)
        same = isinstance(stage, Curved) and stage.memory == VARIANCES
        np.multiply(out[1], 1.0 if same else -1.0, out=out[0])
        return out

    def _run(
        self,
        tasks: NDArray[np.int64],
        stage: Stage,
        params: Float64s | None,
        direction: Float64s | None,
        out: Float64s,
        *,
        squared: bool,
    ) -> None:
        """Launch the kernel with phases of so many tasks."""
        layout, rows = self._layout, self._blocks.rows
        work = layout.work(rows) * ((out.size > 0) + (params is not None) + (direction is not None))
        d = np.empty(self._blocks.most_rows if out.size else 0, layout.dtype)
        columns = self._blocks.columns if out.size and not self._by_rows else self._blocks.no_columns
        points = Differences(self._difference(params), self._difference(direction))
        edges = np.append(0, np.cumsum(tasks))
        common = self._starts, rows, columns, layout.group, stage, points
        launch_phases(sparse_binary, edges, work, layout.n_threads, *common, d, squared, self._fit_intercept, out)

    def _difference(self, point: Float64s | None) -> linear.Weights:
        """w_1 - w_0 as the kernel takes it, with an intercept of 0 if it is not fitted; empty for None."""
        with np.errstate(over="ignore", invalid="ignore"):  # the sums are then inf or NaN, as those of more classes
            w = np.empty(0) if point is None else point[1] - point[0]
            w = w.astype(self._layout.dtype, copy=False)
        if w.size and not self._fit_intercept:
            w[-1] = 0.0
        return linear.weights_of(w, 2, 2, linear.TILES)
