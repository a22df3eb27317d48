"""Properties of the linear CUDA kernels, on problems that Hypothesis draws: those of the CPU's, on the stand-in.

`nbs.Objective` runs whole here, its device the executor; expected values are the float64 reference's.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax import penalized_loss, validation
from nbsoftmax.testing import problems
from tests import reference
from tests.gpu.standin import StandIn

SEEDS = st.integers(0, 2**31)
ORDERS = st.sampled_from(["forward", "reverse", "random"])
drawn = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def on_the_stand_in(monkeypatch):
    devices = {}

    def named(name):
        return [] if name == "cpu" else [devices.setdefault(name, StandIn(order=name.partition(":")[2] or "forward"))]

    monkeypatch.setattr(penalized_loss, "devices", named)
    monkeypatch.setattr(validation, "device", lambda name: name)


def made(problem, order="forward", **given):
    given = {"n_classes": problem.n_classes, "sample_weight": problem.sample_weight, **given}
    return nbs.Objective(problem.X, problem.y, device=f"cuda:{order}", **given)


def params_of(problem, seed):
    shape = problem.n_classes, problem.X.shape[1] + 1
    return np.random.default_rng(seed).normal(size=shape)


def near(found, expected, problem):
    """Of a few terms of up to 8 x 3 each, summed in either precision."""
    eps = np.finfo(problem.X.dtype).eps
    np.testing.assert_allclose(found, expected, rtol=512 * eps, atol=4096 * eps * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@drawn
@given(data=st.data(), seed=SEEDS, order=ORDERS, smoothing=st.sampled_from([0.0, 0.2]))
def test_value_gradient_and_product_are_the_references(dtype, data, seed, order, smoothing):
    problem = data.draw(problems(dtype=dtype))
    J = made(problem, order, l2=0.1, label_smoothing=smoothing)
    target = {"sample_weight": problem.sample_weight, "label_smoothing": smoothing}
    expected = reference.Objective(problem.X, problem.y, problem.n_classes, l2=0.1, **target)
    w, v = params_of(problem, seed), params_of(problem, seed + 1)
    value, gradient = J.value_and_grad(w)
    near(value, np.float64(expected.value_and_grad(w)[0]), problem)
    near(gradient, expected.value_and_grad(w)[1], problem)
    near(J.hvp(w, v), expected.hvp(w, v), problem)
    assert J.value(w) == value


@drawn
@given(problem=problems(weighted=False), seed=SEEDS, data=st.data())
def test_weights_equal_repetition_of_rows(problem, seed, data):
    m = len(problem.X)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=m, max_size=m)))
    times[0] += times.sum() == 0
    w = params_of(problem, seed)
    weighted = made(problem, sample_weight=times.astype(float)).value_and_grad(w)
    repeated = nbs.Objective(
        np.repeat(problem.X, times, axis=0), np.repeat(problem.y, times, axis=0), n_classes=problem.n_classes,
        device="cuda",
    ).value_and_grad(w)  # fmt: skip
    near(weighted[0], np.float64(repeated[0]), problem)
    near(weighted[1], repeated[1], problem)


@drawn
@given(problem=problems(), seed=SEEDS)
def test_a_shift_of_all_classes_by_one_vector_changes_nothing(problem, seed):
    J, w = made(problem), params_of(problem, seed)
    shift = params_of(problem, seed + 1)[0]
    near(J.value(w + shift), np.float64(J.value(w)), problem)
    near(J.value_and_grad(w)[1].sum(axis=0), np.zeros(w.shape[1]), problem)
    near(J.hvp(w, np.tile(shift, (problem.n_classes, 1))), np.zeros(w.shape), problem)


@drawn
@given(problem=problems(), seed=SEEDS, order=ORDERS)
def test_the_hessian_is_symmetric_whatever_the_threads_order(problem, seed, order):
    J, w = made(problem, order), params_of(problem, seed)
    u, v = params_of(problem, seed + 1), params_of(problem, seed + 2)
    near(np.vdot(u, J.hvp(w, v)), np.float64(np.vdot(v, J.hvp(w, u))), problem)
    assert np.vdot(v, J.hvp(w, v)) >= -1e-9
    assert np.array_equal(J.hvp(w, v), made(problem).hvp(w, v))
