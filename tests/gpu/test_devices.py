"""Names of devices, arrays that are on one, and whole fits on the stand-in."""

import numpy as np
import pytest
from numba import cuda

import nbsoftmax as nbs
from nbsoftmax import check, objective
from nbsoftmax.cuda import device
from tests.gpu.standin import StandIn


def data(m=30, n=4, k=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, n)) * [1, 10, 0.1, 3]
    return X, (X @ rng.normal(size=(n, k)) + rng.gumbel(size=(m, k))).argmax(axis=1)


@pytest.mark.skipif(cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:all"])
def test_without_a_driver_the_error_says_so(name):
    X, y = data()
    with pytest.raises(check.InputValueError, match=r"finds no NVIDIA driver.*nvidia-smi"):
        nbs.Objective(X, y, device=name)


@pytest.mark.parametrize("n_devices", [1, 2])
@pytest.mark.parametrize(("solver", "given"), [("newton-cg", {"l2": 0.01}), ("prox-newton", {"l1": 0.05})])
def test_fits_are_those_of_the_cpu(solver, given, n_devices, monkeypatch):
    X, y = data()
    expected = nbs.Trainer(solver=solver, tol=1e-9, **given).fit(X, y)
    gpus = [StandIn() for _ in range(n_devices)]
    monkeypatch.setattr(objective, "devices", lambda name: gpus if name != "cpu" else [])
    found = nbs.Trainer(solver=solver, tol=1e-9, device="cuda", **given).fit(X, y)
    assert found.converged and found.n_iter == expected.n_iter
    np.testing.assert_allclose(found.model.coef, expected.model.coef, rtol=1e-6, atol=1e-9)
    for gpu in gpus:
        assert "fused" in gpu.launches
        assert gpu.sent < 40 * X.nbytes  # X once, and parameters


class There:
    """An array of some device's, by its description alone."""

    def __init__(self, shape=(6, 2), typestr="<f8", strides=None):
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": typestr, "data": (64, False), "version": 3, "strides": strides,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (There((6,)), "expected 2 dimensions"),
        (There(typestr="<i4"), "convert it there to float32 or float64"),
        (There(strides=(8, 48)), "not contiguous by rows"),
    ],
)
def test_arrays_that_cannot_be_used_where_they_are(array, said):
    with pytest.raises(check.InputValueError, match=said):
        device.on_device(array)


def test_no_nan_gets_in_unseen(monkeypatch):
    X, y = data(150)
    X[3, 1] = np.nan
    gpu = StandIn()
    there = gpu.empty(X.size, X.dtype)
    gpu.put(X.reshape(-1), there, None)
    there = there.reshape(*X.shape)
    there.__cuda_array_interface__ = {"data": (64, False)}
    monkeypatch.setattr(objective, "devices", lambda name: [gpu] if name == "cuda" else [])
    monkeypatch.setattr(objective, "on_device", lambda X: X)
    with pytest.raises(check.InputValueError, match="NaN or inf"):
        nbs.Objective(there, y, device="cuda")
    X[3, 1] = 1.0
    gpu.put(X.reshape(-1), there.reshape(-1), None)
    before = gpu.sent
    found = nbs.Objective(there, y, device="cuda", l2=0.1)
    params = np.full(found.shape, 0.1)
    np.testing.assert_allclose(found.value(params), nbs.Objective(X, y, l2=0.1).value(params), rtol=1e-12)
    assert gpu.sent - before < X.nbytes  # labels and parameters: X was there
