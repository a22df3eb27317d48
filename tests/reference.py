"""Reference implementations in float64 NumPy, short and simple, with which every kernel is compared.

c = max(z) and s = sum(exp(z - c)) are kept apart: a difference from c + log(s) would lose digits in proportion to |c|.
Nothing is validated; logits are (m, K), targets `q` are rows of probabilities (see `one_hot`).
"""

import numpy as np


def below(z):
    """z - max(z) of each row; 0 for the entries that equal the maximum, also if it is infinite."""
    c = z.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(z == c, 0.0, z - c)


def softmax(logits):
    e = np.exp(below(np.asarray(logits, np.float64)))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(logits):
    d = below(np.asarray(logits, np.float64))
    return d - np.log(np.exp(d).sum(axis=1, keepdims=True))


def logsumexp(logits):
    z = np.asarray(logits, np.float64)
    return z.max(axis=1) + np.log(np.exp(below(z)).sum(axis=1))


def one_hot(y, n_classes):
    """Rows of probabilities for class indices; a row of zeros for an index that is not a class (ignored)."""
    return (np.asarray(y)[:, None] == np.arange(n_classes)).astype(np.float64)


def weighted_target(
    y, n_samples, n_classes, sample_weight=None, class_weight=None, label_smoothing=0.0, ignore_index=None
):
    """t_ik = s_i w_k q_ik with q = (1 - e) y + e / K, for L_i = -sum_k t_ik log a_ik; and the divisor of the mean."""
    s = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight, np.float64)
    w = np.ones(n_classes) if class_weight is None else np.asarray(class_weight, np.float64)
    soft = np.ndim(y) == 2
    p = np.asarray(y, np.float64) if soft else one_hot(y, n_classes)
    if not soft and ignore_index is not None:
        s = np.where(np.asarray(y) == ignore_index, 0.0, s)
    q = (1 - label_smoothing) * p + label_smoothing / n_classes
    return s[:, None] * w * q, s.sum() if soft else (s * (p @ w)).sum()


def cross_entropy(logits, y, **target):
    """Losses (m,), gradient (m, K) of their sum, divisor of their mean; a row without weight always gives 0."""
    t, divisor = weighted_target(y, *np.shape(logits), **target)
    with np.errstate(invalid="ignore"):
        losses = np.where(t > 0, -t * log_softmax(logits), 0.0).sum(axis=1)
        mass = t.sum(axis=1, keepdims=True)
        grad = np.where(mass > 0, softmax(logits) * mass - t, 0.0)
    return losses, grad, divisor


class Objective:
    """J(params) = sum_i L_i / divisor + l2/2 ||coef||^2 + l1 ||coef||_1, by operations on whole matrices."""

    def __init__(self, X, y, n_classes, l1=0.0, l2=0.0, fit_intercept=True, offset=None, **target):
        m, N = np.shape(X)
        self.X1 = np.hstack([np.asarray(X, np.float64), np.full((m, 1), float(fit_intercept))])  # (m, N + 1)
        self.y, self.l1, self.l2, self.target = y, l1, l2, target
        self.offset = np.zeros(n_classes) if offset is None else np.asarray(offset, np.float64)
        self.penalised = np.r_[np.ones(N), 0.0]

    def logits(self, params):
        return self.X1 @ params.T + self.offset

    def value_and_grad(self, params):
        losses, dlogits, divisor = cross_entropy(self.logits(params), self.y, **self.target)
        coef = params * self.penalised
        value = losses.sum() / divisor + self.l2 / 2 * (coef**2).sum() + self.l1 * np.abs(coef).sum()
        return value, dlogits.T @ self.X1 / divisor + self.l2 * coef

    def hvp(self, params, v):
        """Sum over samples of mass (diag(a) - a a^T) u x^T, with u = V x and mass = sum_k t_k, plus the penalty."""
        a, u = softmax(self.logits(params)), self.X1 @ v.T  # (m, K)
        t, divisor = weighted_target(self.y, *a.shape, **self.target)
        r = a * (u - (a * u).sum(axis=1, keepdims=True)) * t.sum(axis=1, keepdims=True)
        return r.T @ self.X1 / divisor + self.l2 * v * self.penalised
