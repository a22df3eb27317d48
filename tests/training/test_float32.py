"""Fits to float32 data: weights beyond float32, and reports that are true of the data."""

import warnings

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.callbacks import EarlyStopping


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton"])
@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")  # the bits count, not the end
def test_weights_beyond_float32_give_the_bits_of_weights_within(solver):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 3, 60)
    options = {"l2": 0.1, "l1": 0.01 if solver == "prox-newton" else 0.0, "max_iter": 5}
    s = rng.integers(1, 5, 60).astype(float)
    expected = nbs.Trainer(solver=solver, **options).fit(X, y, sample_weight=s)
    for unit in (2.0**-1000, 2.0**-150, 2.0**130):
        result = nbs.Trainer(solver=solver, **options).fit(X, y, sample_weight=s * unit)
        assert np.array_equal(result.model.coef, expected.model.coef)
        assert result.objective == expected.objective
        assert result.converged == expected.converged
        weighted = nbs.Trainer(solver=solver, class_weight=[unit] * 3, **options).fit(X, y, sample_weight=s)
        assert np.array_equal(weighted.model.coef, expected.model.coef)
        balanced = nbs.Trainer(solver=solver, class_weight="balanced", **options)
        assert np.array_equal(
            balanced.fit(X, y, sample_weight=s * unit).model.coef, balanced.fit(X, y, sample_weight=s).model.coef
        )


FLOAT32 = {
    "newton-cg": {"l2": 1e-3},
    "newton-cg, no penalty": {},
    "newton": {"solver": "newton", "l2": 1e-3},
    "lbfgs": {"solver": "lbfgs", "l2": 1e-3},
    "gd": {"solver": "gd", "l2": 1e-3, "max_iter": 50},
    "sgd": {"solver": "sgd", "l2": 1e-3, "max_iter": 3, "label_smoothing": 0.5},
    "prox-newton": {"l1": 1e-3, "l2": 1e-3},
    "stopped": {"l2": 1e-3, "max_iter": 3},
    "stopped early": {"l2": 1e-3, "callbacks": [EarlyStopping(1)]},
    "interrupted": {"l2": 1e-3},
}


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e5])
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
@pytest.mark.parametrize("kind", FLOAT32)
def test_what_a_fit_to_float32_data_says_is_true_of_the_data(kind, tol, shift):
    # Beside features of 1e5 the rounding errors of float32 products are up to a tenth of the logits.
    options = dict(FLOAT32[kind])
    callbacks = options.pop("callbacks", [])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = (X[:, :3] + rng.normal(size=(300, 3))).argmax(axis=1)
    X = (X + shift).astype(np.float32)
    penalties = {name: options.get(name, 0.0) for name in ("l1", "l2", "label_smoothing")}
    J = nbs.Objective(X.astype(np.float64), y, **penalties)

    def interrupt(now):
        if kind == "interrupted" and now.n_iter == 3:
            raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        data = {"validation_data": (X[:50], y[:50])} if kind == "stopped early" else {}
        result = nbs.Trainer(tol=tol, callbacks=[interrupt, *callbacks], **options).fit(X, y, **data)
        best = nbs.Trainer(tol=1e-9, **penalties).fit(X.astype(np.float64), y).objective
    params = np.column_stack([result.model.coef, result.model.intercept])
    value, grad = J.value_and_subgrad(params)
    # Targets are float32 as well where they are smoothed. Of all else only the order of sums differs, of logits of 1e4.
    assert result.objective == pytest.approx(value, rel=1e-10 if penalties["label_smoothing"] == 0 else 1e-7)
    assert result.grad_norm == pytest.approx(np.linalg.norm(grad), rel=1e-6, abs=1e-9 * (1 + shift))
    if kind in ("newton-cg", "newton-cg, no penalty", "newton", "lbfgs", "prox-newton"):
        assert result.converged
    if result.converged:
        assert value - best <= tol * value
    if result.gap_kind != "estimate":
        assert value - best <= result.gap
