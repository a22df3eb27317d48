"""Losses by their definitions, number by number in long doubles, as PyTorch, ONNX and optax define them."""

import numpy as np

REAL = np.longdouble


def log_softmax(row):
    """Log-softmax of one row of long doubles."""
    d = row - row.max()
    return d - np.log(np.exp(d).sum())


def cross_entropy(z, y, axis, *, weight=None, ignore_index=None, label_smoothing=0.0, reduction="mean"):
    """Cross-entropy of class indices or probabilities, one row after the other."""
    z, axis = np.asarray(z, REAL), axis % np.ndim(z)
    n_classes, shape = z.shape[axis], z.shape[:axis] + z.shape[axis + 1 :]
    w = np.ones(n_classes, REAL) if weight is None else np.asarray(weight, REAL)
    soft, e = np.shape(y) == z.shape, REAL(label_smoothing)
    losses, total = np.zeros(shape, REAL), REAL(0)
    for i in np.ndindex(shape):
        row = (*i[:axis], slice(None), *i[axis:])
        log_a = log_softmax(z[row])
        if soft:
            q = (1 - e) * np.asarray(y, REAL)[row] + e / n_classes
            losses[i], total = -sum(w * q * log_a), total + 1
        elif np.asarray(y)[i] != ignore_index:
            k = int(np.asarray(y)[i])
            losses[i] = -(1 - e) * w[k] * log_a[k] - e / n_classes * sum(w * log_a)
            total += w[k]
    return losses if reduction == "none" else losses.sum() / (total if reduction == "mean" else 1)


def binary_cross_entropy(z, y, pos_weight=1.0, reduction="mean"):
    """Binary cross-entropy of logits, with weights of positive labels that are broadcast."""
    z, y = np.asarray(z, REAL), np.asarray(y, REAL)
    log_a, log_b = -np.log1p(np.exp(-z)), -z - np.log1p(np.exp(-z))
    losses = -(np.asarray(pos_weight, REAL) * y * log_a + (1 - y) * log_b)
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()
