"""Fits that are killed after some iterations."""

import numpy as np

import nbsoftmax as nbs
from tests.solvers.problems import UNPACKED

OPTIONS = {
    "newton-cg": {"solver": "newton-cg", "l2": 1e-7, "tol": 1e-12},
    "newton": {"solver": "newton", "l2": 1e-7, "tol": 1e-12},
    **{name: {"solver": solver, "l2": 1e-7, "tol": 1e-12} for name, solver in UNPACKED.items()},
    "lbfgs": {"solver": "lbfgs", "l2": 1e-4, "tol": 1e-9},
    "gd": {"solver": "gd", "l2": 0.5, "tol": 1e-4},
    "sgd": {"solver": nbs.SGD(batch_size=100), "l2": 0.5, "tol": 1e-4, "max_iter": 200},
    "prox-newton": {"solver": "prox-newton", "l1": 1e-2, "l2": 1e-4, "tol": 1e-9},
    "grouped": {"solver": "prox-newton", "l1": 1e-2, "grouped": True, "tol": 1e-9},
}


def problem(dtype=np.float64, m=600):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, 12)) * 2.0 ** np.arange(-3, 3, 0.5)
    y = (X[:, :4] + 0.5 * rng.normal(size=(m, 4))).argmax(axis=1)
    return X.astype(dtype), y


def same(one, other):
    assert one.model.coef.tobytes() == other.model.coef.tobytes()
    assert one.model.intercept.tobytes() == other.model.intercept.tobytes()
    assert (one.objective, one.gap, one.n_iter, one.reason) == (other.objective, other.gap, other.n_iter, other.reason)
    for name in ("objective", "grad_norm", "validation_loss"):
        if name in one.history:
            assert one.history[name].tobytes() == other.history[name].tobytes()
