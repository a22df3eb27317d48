"""Sums over sparse rows: the phases of a launch of `kernels.sparse_sums`, and its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from nbsoftmax.backends.sparse_design import Layout
from nbsoftmax.backends.transposed import Blocks
from nbsoftmax.cached import cached_property
from nbsoftmax.kernels import linear, sparse
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.phases import launch_phases
from nbsoftmax.kernels.sparse_linear import Curved, Residuals
from nbsoftmax.kernels.sparse_sums import CLEAR, DIRECTION, POINT, PRODUCTS, ROWS, Plan, Points, Starts, sparse_sums
from nbsoftmax.validation import Float64s, Floats

Stage: TypeAlias = Residuals | Curved  # of `kernels.sparse_linear`


class RowGroups:
    """Rows of some blocks in groups, which are the tasks of a kernel.

    Parameters
    ----------
    blocks : Blocks
    layout : Layout
        That of the parameters.
    fit_intercept : bool
        False: the intercepts, and the sums for them, are 0.
    """

    def __init__(self, blocks: Blocks, layout: Layout, *, fit_intercept: bool) -> None:
        self._blocks, self._layout, self._fit_intercept = blocks, layout, fit_intercept
        self._groups = -(-np.diff(blocks.starts) // layout.group)  # of each block
        self._starts = Starts(blocks.starts, np.append(0, np.cumsum(self._groups)))

    @property
    def n_groups(self) -> int:
        """Number of the groups of rows."""
        return int(self._starts.groups[-1])

    def _work(self, points: tuple[Float64s | None, Float64s | None], *, products: bool) -> int:
        """Multiply-adds of the logits of these parameters and of the products, and the work of the exponentials."""
        return self._layout.work(self._blocks.rows) * (products + sum(point is not None for point in points))


class SparseSums(RowGroups):
    """Sums over the rows of some blocks."""

    def __init__(self, blocks: Blocks, layout: Layout, *, fit_intercept: bool) -> None:
        super().__init__(blocks, layout, fit_intercept=fit_intercept)
        copies = -(-(layout.n_features + 1) // sparse.COLUMNS)
        self._tasks = {kind: [copies] for kind in (POINT, DIRECTION, CLEAR)}
        self._tasks |= {ROWS: self._groups.tolist(), PRODUCTS: [sparse.TASKS + 1] * len(blocks)}
        self._spare: list[Scratch] = []

    def by_rows(self, stage: Stage, params: Float64s) -> None:
        """Compute a stage for all rows. Its residuals are not kept, only what it writes to its own arrays."""
        self._run([POINT, *[ROWS] * len(self._blocks)], stage, (params, None))

    def products(
        self, stage: Stage, params: Float64s | None, direction: Float64s | None = None, *, squared: bool = False
    ) -> Float64s:
        """X1^T D, (n_classes, n_features + 1), where D are the residuals of a stage; X is squared if `squared`.

        A stage that needs no parameters, or no direction, gets None.
        """
        kinds = [POINT] * (params is not None) + [DIRECTION] * (direction is not None)
        kinds += [CLEAR] * (len(self._blocks) > 1) + [ROWS, PRODUCTS] * len(self._blocks)
        out = np.empty((self._layout.n_classes, self._layout.n_features + 1))
        self._run(kinds, stage, (params, direction), squared=squared, out=out)
        return out

    def _run(
        self,
        kinds: list[int],
        stage: Stage,
        points: tuple[Float64s | None, Float64s | None],
        *,
        squared: bool = False,
        out: Float64s | None = None,
    ) -> None:
        """Launch the kernel with phases of some kinds; the phases of a kind are those of one block after the other."""
        seen: Counter[int] = Counter()
        blocks, edges = [], [0]
        for kind in kinds:
            blocks.append(seen[kind])
            edges.append(edges[-1] + self._tasks[kind][seen[kind]])
            seen[kind] += 1
        plan = Plan(np.array(kinds, np.int64), np.array(blocks, np.int64))
        layout, rows = self._layout, self._blocks.rows
        work = self._work(points, products=out is not None)
        with self._scratch() as scratch:
            if out is None:
                columns, d, sums, result = self._blocks.no_columns, scratch.block[:0], np.empty(0), np.empty(0)
            else:
                columns, d, sums, result = self._blocks.columns, scratch.block, scratch.sums, out.reshape(-1)
            common = (
                plan,
                self._starts,
                rows,
                columns,
                layout.panels,
                layout.group,
                stage,
                self._points(points, scratch),
            )
            memory = d, squared, self._fit_intercept, sums, result
            launch_phases(sparse_sums, np.array(edges, np.int64), work, layout.n_threads, *common, *memory)

    def _points(self, points: tuple[Float64s | None, Float64s | None], scratch: Scratch) -> Points:
        """The parameters and the direction as the kernel takes them; one that is None is empty."""
        layout, parts = self._layout, []
        for number, point in enumerate(points):
            params = np.empty(0) if point is None else self._fixed(point).reshape(-1)
            w = scratch.block[:0] if point is None else scratch.w if number == 0 else scratch.v
            parts += [params, linear.weights_of(w, layout.stride, layout.n_classes, linear.TILES)]
        return Points(*parts)

    def _fixed(self, point: Float64s) -> Float64s:
        """Parameters in C order, whose intercepts are 0 if they are not fitted."""
        if self._fit_intercept:
            return np.ascontiguousarray(point)
        return np.column_stack([point[:, :-1], np.zeros(self._layout.n_classes)])

    @contextmanager
    def _scratch(self) -> Iterator[Scratch]:
        """Memory for one evaluation, which is kept for later ones: fresh memory costs as much as a pass over it."""
        try:
            scratch = self._spare.pop()
        except IndexError:  # the first evaluation, or another thread is evaluating
            scratch = Scratch(self._layout, self._blocks.most_rows, len(self._blocks) > 1)
        yield scratch
        self._spare.append(scratch)


class Scratch:
    """Memory for one evaluation, aligned to cache lines: kernels read rows of classes at random.

    w, v : parameters and a direction by features; made when they are needed
    sums : float64 (n_features + 1, stride), flat; empty if there is only one block
    block : residuals of a block (n_rows, stride), flat
    """

    def __init__(self, layout: Layout, n_rows: int, several_blocks: bool) -> None:
        self._layout, self._several = layout, several_blocks
        self.block: Floats = self._new(n_rows * layout.stride + layout.more)

    def _new(self, n: int) -> Floats:
        memory: Floats = aligned.py_func(n, np.empty(0, self._layout.dtype))
        return memory

    @cached_property
    def w(self) -> Floats:
        """Memory for parameters."""
        return self._new(self._layout.size)

    @cached_property
    def v(self) -> Floats:
        """Memory for a direction."""
        return self._new(self._layout.size)

    @cached_property
    def sums(self) -> Float64s:
        """Memory for sums."""
        memory: Float64s = aligned.py_func(self._layout.size if self._several else 0, np.empty(0))
        return memory
