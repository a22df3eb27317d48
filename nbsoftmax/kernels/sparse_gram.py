"""Weighted Gram matrices of some features of sparse X: sum_i w_i (x_i, 1) (x_i, 1)^T over these features.

Only the lower triangle, with the diagonal, is computed. A row of the matrix is a task: it fits in a first-level cache,
and each number of its feature adds to it the numbers of the same sample.
"""

from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take


@jit
def keep_features(todo, rows, places, group, numbers, features, counts):
    """Copy the numbers of the chosen features of a block, with the places of these features, row by row.

    `places` has the place of each feature, or -1. Those of row r begin where its numbers do in the block, and `counts`
    has their number. Groups of rows are tasks.
    """
    task = take(todo)
    while task >= 0:
        for r in range(task * group, min(rows.n_rows, (task + 1) * group)):
            at = first = rows.indptr[r] - rows.indptr[0]
            for t in range(rows.indptr[r], rows.indptr[r + 1]):
                place = places[rows.indices[t]]
                if place >= 0:
                    numbers[at], features[at] = rows.data[t], place
                    at += 1
            counts[r] = at - first
        task = take(todo)


@jit
def add_gram(todo, rows, columns, entries, weights, numbers, features, counts, g):
    """Add the matrix of a block to the lower triangle of g, flat.

    Feature j of the chosen ones has the entries entries[j, 0] to entries[j, 1] - 1 of `columns`; the samples have the
    weights `weights`, and the numbers that `keep_features` wrote.
    """
    n_features = entries.shape[0]
    order = n_features + 1
    task = take(todo)
    while task >= 0:
        j = n_features - task  # the ones, and then the longest rows first
        total, at = 0.0, j * order
        if j == n_features:
            for r in range(rows.n_rows):
                total += weights[r]
            g[at + j] += total
        else:
            for t in range(columns.starts[entries[j, 0]], columns.starts[entries[j, 1]]):
                r = columns.rows[t]
                factor = weights[r] * columns.data[t]
                total += factor
                first = rows.indptr[r] - rows.indptr[0]
                for s in range(first, first + counts[r]):
                    c = features[s]
                    if c > j:
                        break
                    g[at + c] += factor * numbers[s]
            g[n_features * order + j] += total
        task = take(todo)
