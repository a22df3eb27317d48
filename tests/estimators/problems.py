"""A problem of three classes, and the objective of LogisticRegression."""

import numpy as np

from tests import reference


def problem(n_classes, m=300, n_features=5, seed=0):
    """Overlapping classes with string labels: no penalised or unpenalised fit runs away."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(n_classes, n_features))
    codes = np.arange(m) % n_classes
    X = centers[codes] + 1.5 * rng.normal(size=(m, n_features))
    return X, np.array(["ash", "beech", "cedar", "dogwood"])[codes]


def objective(fitted, X, y, C=1.0, l1_ratio=0.0, weight=1.0):
    """sum_i s_i L_i + (1 - l1_ratio)/(2 C) ||coef_||^2 + l1_ratio/C ||coef_||_1: scikit-learn's, in float64."""
    z = np.asarray(X, np.float64) @ fitted.coef_.T + fitted.intercept_
    z = z if z.shape[1] > 1 else np.hstack([np.zeros_like(z), z])
    losses = -reference.log_softmax(z)[np.arange(len(y)), np.searchsorted(fitted.classes_, y)]
    penalty = (1 - l1_ratio) / 2 * (fitted.coef_**2).sum() + l1_ratio * np.abs(fitted.coef_).sum()
    return (weight * losses).sum() + penalty / C


NO_STREAM = [
    ({"l1_ratio": 0.5}, "l1_ratio is 0.5"),
    ({"class_weight": "balanced"}, "all labels at once"),
    ({"standardize": True}, "all samples at once"),
]
