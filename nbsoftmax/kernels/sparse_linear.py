"""The stages of `linear` for groups of sparse rows: what is multiplied by X1^T to give a gradient or a product."""

from collections import namedtuple

from nbsoftmax.kernels.lang.panels import logits_panel
from nbsoftmax.kernels.lang.simd import element
from nbsoftmax.kernels.linear import OneLogit, add_offset, cross_entropy_of, curvature_of, softmax_of
from nbsoftmax.kernels.logit import logit_variances
from nbsoftmax.kernels.rows import FORGET, KEPT, class_variances, weight_of
from nbsoftmax.kernels.runtime.jit import by_type, part

# Bytes of the logits of a group of rows: half of a first-level cache.
GROUP_BYTES = 2**14

# What is computed for a row. Residuals: the gradients of the losses by the logits; `losses` (n_groups,) are the sums of
# the losses. Curved: the Hessian of the losses times the changes of the logits; `memory` says whether probabilities are
# stored in `kept`, flat, or taken from it. With VARIANCES for `memory`: h_i a_ik (1 - a_ik), and their means over the
# classes in `means`, unless that is empty. The two are one stage because most fits need both, and compile them once.
Residuals = namedtuple("Residuals", "target want_grad losses")
Curved = namedtuple("Curved", "curvature memory kept means")
VARIANCES = 3  # FORGET, KEEP and KEPT are less


def sparse_logits(rows, weights, panels, start, n, z):
    """Compute the logits of n rows, without offset; row r is at z[r * stride].

    For two classes with `linear.LOGIT`, w (N + 1,) and z (n,) are the differences of their parameters and logits.
    """
    raise NotImplementedError("this function works in compiled code only")


@by_type(sparse_logits)
def _sparse_logits(rows, weights, panels, start, n, z):
    return _differences if weights.instance_class is OneLogit else _by_panels


def _by_panels(rows, weights, panels, start, n, z):
    w, stride = weights.w, weights.stride
    for p in range(0, panels.size, 2):
        k, form = panels[p], panels[p + 1]
        logits_panel(
            rows.data, rows.indices, rows.indptr, start, n, rows.last, w, stride, k, form, rows.n_features, z, k
        )  # fmt: skip


def _differences(rows, weights, panels, start, n, z):
    w, nothing = weights.w, weights.w.dtype.type(0)
    for r in range(n):
        total, second, third, fourth = w[rows.n_features], nothing, nothing, nothing
        # Four totals take turns, because an addition to a total waits for the previous one.
        for t in range(rows.indptr[start + r], rows.indptr[start + r + 1]):
            total += element(rows.data, t) * element(w, element(rows.indices, t))
            total, second, third, fourth = second, third, fourth, total
        z[r] = (total + second) + (third + fourth)


def group_rows(stride, itemsize):
    """Number of rows of a group."""
    return min(128, max(16, GROUP_BYTES // (stride * itemsize) // 16 * 16))


@part
def fixed_logits(rows, weights, panels, start, n, z):
    """Compute the logits of n rows, with offset, at z[0]."""
    sparse_logits(rows, weights, panels, start, n, z)
    add_offset(rows, start, n, weights.n_classes, z, weights.stride)


def write_rows(stage, rows, weights, v, panels, start, n, group, memory, z):
    """Write the residuals of a stage for n rows from `start` on to z, (n, stride) and a vector more.

    `group` is the number of this group of rows, and `memory` consists of two tiles and the logits of a group.
    """
    raise NotImplementedError("this function works in compiled code only")


@by_type(write_rows)
def _write_rows(stage, rows, weights, v, panels, start, n, group, memory, z):
    if stage.instance_class is Residuals:
        return _write_residuals
    return _write_curved_logits if weights.instance_class is OneLogit else _write_curved


def _write_residuals(stage, rows, weights, v, panels, start, n, group, memory, z):
    """Write the sum of the losses of the rows to stage.losses[group]; if wanted, the gradients by the logits to z."""
    tile, proba_tile, _ = memory
    fixed_logits(rows, weights, panels, start, n, z)
    stage.losses[group] = cross_entropy_of(weights, z, n, start, stage.target, 1.0, stage.want_grad, tile, proba_tile)


def _write_curved(stage, rows, weights, v, panels, start, n, group, memory, z):
    """Write what the fields of `Curved` say to z, with the probabilities of the first rows from memory or to it."""
    if stage.memory == VARIANCES:
        fixed_logits(rows, weights, panels, start, n, z)
        softmax_of(weights, z, n)
        variances_of(z, weights.n_classes, weights.stride, start, n, stage.curvature, stage.means)
        return
    _write_products(stage, rows, weights, v, panels, start, n, memory, z)


def _write_curved_logits(stage, rows, weights, v, panels, start, n, group, memory, z):
    """As `_write_curved` for two classes with one logit: a (1 - a) takes the place of probabilities."""
    if stage.memory == VARIANCES:
        fixed_logits(rows, weights, panels, start, n, z)
        logit_variances(z, n, start, stage.curvature)
        if stage.means.size > 0:
            for r in range(n):
                stage.means[start + r] = z[r]
        return
    _write_products(stage, rows, weights, v, panels, start, n, memory, z)


@part
def _write_products(stage, rows, weights, v, panels, start, n, memory, z):
    """Write the Hessian of the losses of n rows times the changes of their logits to z."""
    tile, other_tile, logits = memory
    at = start * weights.n_classes
    mode = stage.memory if at + n * weights.n_classes <= stage.kept.size else FORGET
    if mode != KEPT:
        fixed_logits(rows, weights, panels, start, n, logits)
    sparse_logits(rows, v, panels, start, n, z)
    curvature_of(weights, logits, z, n, start, stage.curvature, mode, stage.kept, at, tile, other_tile)


@part
def variances_of(z, n_classes, stride, start, n, curvature, means):
    """Replace the probabilities of n rows by h_i a_ik (1 - a_ik); store the means over the classes, if wanted."""
    for r in range(n):
        total = class_variances(z, r * stride, n_classes, weight_of(start + r, curvature), z, r * stride)
        if means.size > 0:
            means[start + r] = total / n_classes
