"""Sums over sparse rows of two classes: `SparseSums` with the kernel that has one column of parameters."""

from __future__ import annotations

import numpy as np

from nbsoftmax.backends.sparse_design import Layout
from nbsoftmax.backends.sparse_sums import RowGroups, Stage
from nbsoftmax.backends.transposed import Blocks
from nbsoftmax.kernels import linear, sparse
from nbsoftmax.kernels.runtime.phases import launch_phases
from nbsoftmax.kernels.sparse_binary import Differences, sparse_binary
from nbsoftmax.kernels.sparse_linear import VARIANCES, Curved
from nbsoftmax.validation import Float64s

# If X has at most so many stored numbers, one thread adds the products row by row. This needs no transposed copy, and
# takes a third of the time if most columns have few numbers.
FEW_NUMBERS = 2**17


class BinarySums(RowGroups):
    """Sums over the rows of some blocks, as `SparseSums`, for two classes."""

    def __init__(self, blocks: Blocks, layout: Layout, *, fit_intercept: bool) -> None:
        super().__init__(blocks, layout, fit_intercept=fit_intercept)
        self._in_one_task = blocks.rows.data.size <= FEW_NUMBERS
        n_products = 1 if self._in_one_task else sparse.TASKS + 1
        tasks = np.column_stack([self._groups, np.full(len(blocks), n_products, np.int64)])
        self._edges = np.append(0, np.cumsum(tasks))  # of the phases where there are products

    def by_rows(self, stage: Stage, params: Float64s) -> None:
        """As `SparseSums.by_rows`."""
        self._run(stage, (params, None))

    def products(
        self, stage: Stage, params: Float64s | None, direction: Float64s | None = None, *, squared: bool = False
    ) -> Float64s:
        """As `SparseSums.products`."""
        out = np.zeros((2, self._layout.n_features + 1))
        self._run(stage, (params, direction), squared=squared, out=out[1])
        same = isinstance(stage, Curved) and stage.memory == VARIANCES
        np.multiply(out[1], 1.0 if same else -1.0, out=out[0])
        return out

    def _run(
        self,
        stage: Stage,
        points: tuple[Float64s | None, Float64s | None],
        *,
        squared: bool = False,
        out: Float64s | None = None,
    ) -> None:
        """Launch the kernel; without `out` there are no products."""
        layout, blocks, work = self._layout, self._blocks, self._work(points, products=out is not None)
        if out is None:
            edges, d, out = self._starts.groups, np.empty(0, layout.dtype), np.empty(0)
        else:
            edges, d = self._edges, np.empty(max(1, blocks.most_rows), layout.dtype)
        columns = blocks.columns if d.size and not self._in_one_task else blocks.no_columns
        differences = Differences(*map(self._difference, points))
        common = self._starts, blocks.rows, columns, layout.group, stage, differences
        launch_phases(sparse_binary, edges, work, layout.n_threads, *common, d, squared, self._fit_intercept, out)

    def _difference(self, point: Float64s | None) -> linear.Weights:
        """w_1 - w_0 as the kernel takes it, with an intercept of 0 if it is not fitted; empty for None."""
        if point is None:
            return linear.weights_of(np.empty(0, self._layout.dtype), 1, 1, linear.LOGIT)
        weights = self._layout.difference(point)
        if not self._fit_intercept:
            weights.w[-1] = 0.0
        return weights
