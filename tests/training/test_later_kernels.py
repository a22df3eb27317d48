"""What helpers compile ahead of a fit is what the fit, and predictions after it, call."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import nbsoftmax as nbs
from nbsoftmax.kernels.runtime import ahead
from nbsoftmax.penalized_loss import ObjectiveOptions
from nbsoftmax.problem import Problem
from nbsoftmax.training.later_kernels import _launches, later_kernels
from nbsoftmax.training.solver_choice import chosen_solver


def large(dtype=np.float64, n_classes=4, m=3000, n=120):
    """A problem that is too large for a whole Newton step in one kernel."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, m)
    y[:n_classes] = np.arange(n_classes)
    return rng.normal(size=(m, n)).astype(dtype), y


def names(launches):
    return [kernel.py_func.__name__ for kernel, _ in launches]


def recorded(X, y, first="loss_and_grad", **options):
    trainer = nbs.Trainer(**options)
    problem = Problem.from_labels(X, y)
    solver = chosen_solver(trainer.solver, trainer._penalty())
    return _launches(first, problem, ObjectiveOptions(trainer._penalty()), solver)


CASES = {
    "float64": ({"l2": 1e-2}, {"gram", "predict", "hess_vec"}),
    "float32": ({"l2": 1e-2}, {"gram", "loss_and_grad", "predict", "hess_vec"}),
    "many classes": ({"l2": 1e-2}, {"gram", "predict", "hess_vec"}),
    "l1": ({"l1": 1e-3}, {"gram", "predict", "hess_vec", "coupled_lasso"}),
    "few features with l1": ({"l1": 1e-3}, {"gram", "predict", "coupled_lasso"}),
    "grouped": ({"l1": 1e-3, "grouped": True}, {"gram", "predict", "hess_vec"}),
    "lbfgs": ({"l2": 1e-2, "solver": "lbfgs"}, {"predict"}),
    "sparse": (
        {"l2": 1e-2},
        {"by_features", "sparse_sums", "count_entries", "transpose", "sparse_predict"},
    ),
    "sparse, two classes": ({"l2": 1e-2}, {"sparse_binary", "sparse_predict"}),
    "two classes": ({"l2": 1e-2}, {"gram", "predict", "hess_vec"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fit_and_predictions_call_what_helpers_compile(case):
    options, kernels = CASES[case]
    X, y = large(np.float32 if case == "float32" else np.float64, 70 if case == "many classes" else 4)
    if case == "few features with l1":
        X = X[:, :10].copy()
    if case.endswith("two classes"):
        y %= 2
    if case.startswith("sparse"):
        X = csr_array(np.where(np.abs(X) > 1.5, X, 0))
    launches = recorded(X, y, **options)
    assert set(names(launches)) == kernels
    nbs.Trainer(**options).fit(X, y).model.predict_proba(X)
    for kernel, arguments in launches:
        types = tuple(map(kernel.typeof_pyval, arguments))
        assert types in kernel.overloads, kernel.py_func.__name__


def test_a_small_fit_calls_one_kernel_and_predictions_another():
    X, y = large(m=60, n=3)
    assert names(recorded(X, y, "newton_step", l2=1e-2)) == ["predict"]


def test_nothing_is_expected_of_large_models_and_other_devices():
    X, y = large(m=10, n=5)
    solver = chosen_solver("auto", nbs.Ridge(1.0))
    options = ObjectiveOptions(nbs.Ridge(1.0), device="cuda")
    for problem in (Problem.from_labels(np.zeros((10, 400_000)), y), None):
        with later_kernels(problem, ObjectiveOptions(nbs.Ridge(1.0)), solver):
            assert not ahead._expectations
    with later_kernels(Problem.from_labels(X, y), options, solver):
        assert not ahead._expectations
    with later_kernels(Problem.from_labels(X, y), ObjectiveOptions(nbs.Ridge(1.0)), solver):
        assert len(ahead._expectations) == 1
    assert not ahead._expectations
