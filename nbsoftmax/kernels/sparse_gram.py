"""Weighted Gram matrices of some features of sparse X: sum_i w_i (x_i, 1) (x_i, 1)^T over these features.

Only the lower triangle, with the diagonal, is computed. A row of the matrix is a task: it fits in a first-level cache,
and each number of its feature adds to it the numbers of the same sample.

Several matrices, with other weights of the samples, are computed together, those of a vector at a time: its lanes are
the matrices. To add to a place of all of them takes at most twice as long as to one number.
"""

from collections import namedtuple

import numpy as np

from nbsoftmax.kernels.lang.simd import filled, fma, lanes, lanes_of, load, store
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take

WIDTH = lanes_of(np.dtype(np.float64))  # matrices that are computed together
# In multiply-adds of a product with X: what each of its numbers takes, which begins to add those of its sample, and for
# each place that is added to, in one matrix or in a vector of them.
NUMBER_WORK, PLACE_WORK, VECTOR_WORK = 300, 8, 16
# Rows of a block.
Part = namedtuple("Part", "first end")


def n_vectors(n_matrices):
    """How many vectors have a lane for each matrix."""
    return -(-n_matrices // WIDTH)


def work_of(n_rows, n_numbers, n_matrices):
    """Multiply-adds of so many matrices, of rows with so many numbers in all."""
    place = PLACE_WORK if n_matrices == 1 else VECTOR_WORK
    return n_vectors(n_matrices) * n_numbers * (NUMBER_WORK + place * n_numbers / max(1, n_rows) / 2)


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
def add_gram(todo, rows, columns, entries, weights, numbers, features, counts, part, reached, g):
    """Add the matrix of a block to the lower triangle of g, flat.

    Feature j of the chosen ones has the entries entries[j, 0] to entries[j, 1] - 1 of `columns`, and the samples have
    the numbers that `keep_features` wrote. The rows part.first to part.end - 1 take part, whose weights are `weights`:
    they stay in a second-level cache. `reached` says where the numbers of each feature begin in them, and is set to
    where they end.
    """
    n_features = entries.shape[0]
    order = n_features + 1
    task = take(todo)
    while task >= 0:
        j = n_features - task  # the ones, and then the longest rows first
        total, at = 0.0, j * order
        if j == n_features:
            for i in range(part.end - part.first):
                total += weights[i]
            g[at + j] += total
        else:
            t, end = reached[j], columns.starts[entries[j, 1]]
            while t < end and columns.rows[t] < part.end:
                r = columns.rows[t]
                factor = weights[r - part.first] * columns.data[t]
                total += factor
                first = rows.indptr[r] - rows.indptr[0]
                for s in range(first, first + counts[r]):
                    c = features[s]
                    if c > j:
                        break
                    g[at + c] += factor * numbers[s]
                t += 1
            reached[j] = t
            g[n_features * order + j] += total
        task = take(todo)


@jit
def add_grams(todo, rows, columns, entries, weights, numbers, features, counts, part, reached, g):
    """Add several matrices of a block, as `add_gram` one, to the lower triangles in g.

    Vectors of matrices follow one another: the weights are (n_vectors, n_rows, lanes) and g is (n_vectors, order,
    order, lanes), both flat.
    """
    n_features, width = entries.shape[0], lanes(g)
    order = n_features + 1
    n_rows = part.end - part.first
    n_vectors = weights.size // (n_rows * width)
    task = take(todo)
    while task >= 0:
        j, vector = n_features - task // n_vectors, task % n_vectors
        own, at = vector * n_rows * width, (vector * order + j) * order * width
        total = filled(g, 0.0)
        if j == n_features:
            for i in range(n_rows):
                total += load(weights, own + i * width)
        else:
            t, end = reached[vector * n_features + j], columns.starts[entries[j, 1]]
            while t < end and columns.rows[t] < part.end:
                r = columns.rows[t]
                factor = load(weights, own + (r - part.first) * width) * float(columns.data[t])
                total += factor
                first = rows.indptr[r] - rows.indptr[0]
                for s in range(first, first + counts[r]):
                    c = features[s]
                    if c > j:
                        break
                    place = at + c * width
                    store(g, place, fma(factor, float(numbers[s]), load(g, place)))
                t += 1
            reached[vector * n_features + j] = t
        place = ((vector * order + n_features) * order + j) * width
        store(g, place, load(g, place) + total)
        task = take(todo)
