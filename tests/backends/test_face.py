"""The Hessian over some of the parameters is that part of the whole Hessian, by BLAS and by SciPy."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.backends import face

M, N = 150, 7
RNG = np.random.default_rng(0)
X = RNG.normal(size=(M, N)) * (RNG.uniform(size=(M, N)) < 0.5)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["dense", "BLAS", "SciPy"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with weights and offset"])
def test_it_is_a_part_of_the_whole_hessian(monkeypatch, n_classes, fit_intercept, kind, beside):
    monkeypatch.setattr(face, "NUMBERS", 64 * n_classes)  # several blocks of rows
    monkeypatch.setattr(face, "SPARSE_NS", 0.0 if kind == "SciPy" else np.inf)
    array = X if kind == "dense" else sparse.csr_array(X)
    more = {"sample_weight": RNG.uniform(size=M), "offset": RNG.normal(size=(M, n_classes))} if beside else {}
    y = RNG.integers(0, n_classes, M)
    objective = nbs.Objective(array, y, n_classes=n_classes, fit_intercept=fit_intercept, **more)
    params = RNG.normal(size=objective.shape)
    free = RNG.uniform(size=objective.shape) < 0.6
    free[:, -1] = fit_intercept
    whole = objective.hessian(params).reshape(free.size, -1)
    expected = whole[np.ix_(free.reshape(-1), free.reshape(-1))]
    np.testing.assert_allclose(objective.face_hessian(params, free), expected, rtol=1e-12, atol=1e-15)


def test_curvatures_of_nearly_certain_samples_do_not_cancel():
    objective = nbs.Objective(np.ones((1, 1)), [0], n_classes=3, fit_intercept=False)
    free = np.array([[True, False]] * 3)
    found = objective.face_hessian(np.array([[50.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), free)
    tiny = np.exp(-50.0)
    expected = tiny * np.array([[2.0, -1.0, -1.0], [-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=2 * tiny**2)
