"""Models of proximal Newton by products: when the Gram matrices of each class are made again."""

import itertools

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.tools import coupled_model
from nbsoftmax.solvers.tools.working_set import CHANGED, WorkingSet
from tests.solvers.test_prox_newton import data, minimise


@pytest.fixture
def made_at(monkeypatch):
    """The parameters at which matrices for each class are made, by fits with products."""
    monkeypatch.setattr(coupled_model, "MOST_NUMBERS", 0)
    made, make = [], WorkingSet._new_metric

    def record(working_set, at, *, per_class):
        if per_class:
            made.append(at)
        return make(working_set, at, per_class=per_class)

    monkeypatch.setattr(WorkingSet, "_new_metric", record)
    return made


def test_matrices_for_each_class_are_made_again_only_if_logits_have_changed(made_at):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 40)) + 0.1 * rng.normal(size=(400, 40))
    y = (X @ rng.normal(size=(40, 4)) + rng.gumbel(size=(400, 4))).argmax(axis=1)
    assert minimise(nbs.Objective(X, y, l1=1e-4), tol=1e-8).converged
    assert len(made_at) >= 2
    for before, after in itertools.pairwise(made_at):
        change = (X @ (after - before)[:, :-1].T + (after - before)[:, -1]) ** 2
        assert change.max() > CHANGED  # not less than the weighted mean of a class, which is more than CHANGED


def test_matrices_for_each_class_are_made_again_without_an_intercept_too(made_at):
    X, y = data(m=400, N=20, informative=20)
    assert minimise(nbs.Objective(X, y, l1=1e-4, fit_intercept=False)).converged
    assert len(made_at) >= 2
