"""Penalties with and without weights, penalties of a user, and data to fit."""

import numpy as np

WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5])


class OwnLasso:
    """The lasso with the methods that are required, written as a user would."""

    def __init__(self, l1):
        self.l1 = l1

    def value(self, coef):
        return self.l1 * np.abs(coef).sum()

    def prox(self, coef, step):
        return np.sign(coef) * np.maximum(np.abs(coef) - step * self.l1, 0)


def data(m=150, N=8, K=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N))
    return X, (X[:, :3] @ rng.normal(size=(3, K)) * 2 + rng.gumbel(size=(m, K))).argmax(axis=1)


def params_of(result):
    return np.column_stack([result.model.coef, result.model.intercept])
