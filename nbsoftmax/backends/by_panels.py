"""Large Gram matrices: blocks of rows, while panels of the matrices are split over threads (`kernels.gram`)."""

from __future__ import annotations

from nbsoftmax.backends.design import Design
from nbsoftmax.kernels.gram import GROUP, PANEL, add_panels, pack_by_rows
from nbsoftmax.kernels.linear import Weights, whole_vectors
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.validation import Float64s


def gram(
    design: Design,
    weights: Weights,
    what: int,
    curvature: Float64s,
    *,
    fit_intercept: bool,
    n_columns: int,
    size: int,
    sums: Float64s,
) -> None:
    """`kernels.gram.gram` without chunks, over blocks of `size` rows, added to `sums`."""
    rows = design.rows
    order = rows.n_features + 1
    x = aligned.py_func(size * whole_vectors.py_func(order, rows.x), rows.x)
    w = aligned.py_func(size * n_columns, rows.x)
    with one_thread():
        for start in range(0, rows.n_rows, size):
            n = min(size, rows.n_rows - start)
            work = n * order * n_columns
            packed = weights, what, curvature, fit_intercept, x, w, n_columns
            design.run(pack_by_rows, -(-n // GROUP), work, rows, start, n, *packed)
            n_panels = n_columns * -(-order // PANEL)
            design.run(add_panels, n_panels, work * order // 2, n, order, x, w, n_columns, sums)
