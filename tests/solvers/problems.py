"""A problem with a known minimum."""

import copy

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.solvers import table
from nbsoftmax.solvers.newton_cg import Newton, NewtonCG


def problem(*, n_features=5, l1=0.0, l2=0.1, fit_intercept=True, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(120, n_features))
    y = (X @ rng.normal(size=(n_features, 3)) + rng.normal(size=(120, 3))).argmax(axis=1)
    return nbs.Objective(X.astype(dtype), y, n_classes=3, l1=l1, l2=l2, fit_intercept=fit_intercept)


def minimum(objective):
    """The minimum by plain Newton steps with a dense Hessian from products: nothing in common with the solvers."""
    params = np.zeros(objective.shape)
    for _ in range(50):
        _, grad = objective.value_and_grad(params)
        eye = np.eye(params.size).reshape(-1, *objective.shape)
        hessian = np.stack([objective.hvp(params, v).ravel() for v in eye])
        params = params - np.linalg.lstsq(hessian, grad.ravel(), rcond=1e-12)[0].reshape(objective.shape)
    return objective.value(params)


def unpacked(objective):
    """The objective, whose fits use Hessian-vector products although it is small."""
    objective = copy.copy(objective)
    objective.packed = lambda: None
    return objective


class UnpackedNewtonCG(NewtonCG):
    """Newton-CG as for larger problems."""

    def solve(self, objective, start, **options):
        return super().solve(unpacked(objective), start, **options)


class UnpackedNewton(Newton):
    """Newton's method as for larger problems."""

    def solve(self, objective, start, **options):
        return super().solve(unpacked(objective), start, **options)


UNPACKED = {"newton-cg, unpacked": UnpackedNewtonCG(), "newton, unpacked": UnpackedNewton()}
# The solvers that reach the minimum of a smooth objective.
SOLVERS = {
    name: solver.solve
    for name, solver in (table.SOLVERS | UNPACKED).items()
    if solver.requires.smooth and not solver.requires.batches
}


def with_targets(kind, y, K):
    """Targets of a kind, "weights", "soft", "smoothed", "classes" or "offset", from labels y, and their options."""
    rng, m = np.random.default_rng(2), len(y)
    if kind == "soft":
        return rng.dirichlet(np.ones(K), m), {}
    return y, {
        "weights": {"sample_weight": rng.uniform(size=m) * (rng.uniform(size=m) > 0.2)},
        "smoothed": {"label_smoothing": 0.2},
        "classes": {"class_weight": rng.uniform(0.5, 2, K)},
        "offset": {"offset": rng.normal(size=(m, K))},
    }[kind]
