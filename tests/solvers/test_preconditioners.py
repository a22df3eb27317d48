"""Preconditioners: each is an inverse, keeps to its memory, and leads to the minimum."""

from types import SimpleNamespace

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.base import evaluate, never_stop
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.newton_cg import NewtonCG, NewtonSteps
from nbsoftmax.solvers.tools import preconditioner_choice, preconditioners
from nbsoftmax.solvers.tools.preconditioner_choice import CHEAP, PreconditionerChoice
from nbsoftmax.solvers.tools.preconditioners import KINDS, Preconditioner, costs
from tests.solvers.problems import minimum, problem, unpacked

OF_DENSE = [kind for kind in KINDS if kind not in {"frequent", "levels"}]


@pytest.mark.parametrize("kind", OF_DENSE)
def test_what_products_have_shown_corrects_a_preconditioner_as_l_bfgs_does(kind):
    rng = np.random.default_rng(5)
    objective = problem()
    params = rng.normal(size=objective.shape)

    def centred(v):
        return v - v.mean(axis=0)

    plain, corrected = (Preconditioner(objective, params, kind) for _ in range(2))
    pairs = []
    for _ in range(3):  # of other points, so that they are not conjugate
        step = centred(rng.normal(size=objective.shape))
        pairs.append((step, objective.hvp(params + 0.1 * rng.normal(size=objective.shape), step)))
        corrected.record(*pairs[-1])
    residual = centred(rng.normal(size=objective.shape))
    assert (corrected(residual) == plain(residual)).all()  # not before it has learnt
    corrected.update()
    # J. Nocedal, "Updating quasi-Newton matrices with limited storage", 1980: the two loops, written out.
    expected, factors = residual, []
    for step, product in reversed(pairs):
        factors.append(np.vdot(step, expected) / np.vdot(step, product))
        expected = expected - factors[-1] * product
    expected = plain(expected)
    for (step, product), factor in zip(pairs, reversed(factors), strict=True):
        expected = expected + (factor - np.vdot(product, expected) / np.vdot(step, product)) * step
    np.testing.assert_allclose(corrected(residual), expected, rtol=1e-10, atol=1e-12)
    step, product = pairs[-1]
    np.testing.assert_allclose(corrected(product), step, rtol=1e-9, atol=1e-11)  # the last pair holds as it is


def test_a_preconditioner_keeps_the_last_pairs_alone_and_none_of_parameters_that_are_too_many(monkeypatch):
    objective = problem()
    preconditioner = Preconditioner(objective, np.zeros(objective.shape), "gram")
    steps = np.random.default_rng(0).normal(size=(preconditioners.MOST_PAIRS + 3, *objective.shape))
    for step in steps:
        preconditioner.record(step, objective.hvp(np.zeros(objective.shape), step))
        preconditioner.update()
    kept = preconditioner.memory.pairs[0]
    assert len(kept) == preconditioners.MOST_PAIRS
    last = steps[-1].ravel()
    assert abs(kept[-1] @ last / np.linalg.norm(kept[-1]) / np.linalg.norm(last) - 1) <= 1e-12
    monkeypatch.setattr(preconditioners, "PAIRS_BYTES", 16 * steps[0].size - 1)
    preconditioner = Preconditioner(objective, np.zeros(objective.shape), "gram")
    preconditioner.record(step, objective.hvp(np.zeros(objective.shape), step))
    preconditioner.update()
    assert len(preconditioner.memory) == 0


def dense_hessian(objective, params):
    eye = np.eye(params.size).reshape(-1, *objective.shape)
    return np.stack([objective.hvp(params, v).ravel() for v in eye])


@pytest.mark.parametrize("kind", OF_DENSE)
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_preconditioner_is_the_inverse_of_its_part_of_the_hessian(kind, l2, fit_intercept):
    objective = problem(l2=l2, fit_intercept=fit_intercept)
    params = np.random.default_rng(3).normal(size=objective.shape)
    (k, d), hessian = objective.shape, dense_hessian(objective, params)
    blocks = [hessian[i * d : (i + 1) * d, i * d : (i + 1) * d] for i in range(k)]
    if kind == "diagonal":
        part = np.diag(np.diag(hessian))
    elif kind == "gram":
        part = np.kron(np.eye(k), sum(blocks) / k)
    elif kind == "blocks":
        part = np.zeros_like(hessian)
        for i, block in enumerate(blocks):
            part[i * d : (i + 1) * d, i * d : (i + 1) * d] = block
    else:
        part = hessian
    residual = np.random.default_rng(4).normal(size=objective.shape)
    residual -= residual.mean(axis=0)
    if not fit_intercept:
        residual[:, -1] = 0
    # The pseudo-inverse leaves out what nothing depends on: the intercept that is not fitted, shifts of all classes.
    expected = (np.linalg.pinv(part, rcond=1e-12) @ residual.ravel()).reshape(k, d)
    expected -= expected.mean(axis=0)
    found = Preconditioner(objective, params, kind)(residual)
    # The diagonal is raised by a share of 1e-10, which the condition number of the rest, some tens, multiplies.
    assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("kind", OF_DENSE)
def test_every_preconditioner_leads_to_the_minimum(kind):
    objective = problem(l2=1e-4)
    start = np.zeros(objective.shape)
    driver = Driver(objective, start, tol=1e-10, max_iter=500, on_iteration=never_stop, state=None, uses_hessian=True)
    solution = driver.minimize(NewtonSteps(driver, (kind,)))
    assert solution.converged
    assert solution.objective - minimum(objective) <= 1e-10 * solution.objective
    assert kind in solution.summary


def test_what_does_not_fit_in_memory_is_never_chosen():
    X = np.random.default_rng(0).normal(size=(30, 3000))
    objective = nbs.Objective(X, np.arange(30) % 3, l2=0.1)
    known = costs(objective)
    assert known["gram"] == known["blocks"] == known["hessian"] == np.inf
    assert NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-6).converged
    with pytest.raises(nbs.InputValueError, match="newton-cg"):
        nbs.Trainer(solver="newton", l2=0.1).fit(X, np.arange(30) % 3)


@pytest.fixture
def choice_among(monkeypatch):
    """A choice among kinds of given costs, in products; a preconditioner is its kind, its memory and its uses."""
    monkeypatch.setattr(
        preconditioner_choice,
        "Preconditioner",
        lambda objective, params, kind, memory=None: SimpleNamespace(kind=kind, memory=memory, products=0),
    )

    def make(**costs_of_kinds):
        monkeypatch.setattr(preconditioner_choice, "costs", lambda objective: costs_of_kinds)
        return PreconditionerChoice(problem(), tuple(costs_of_kinds))

    return make


def test_the_first_preconditioner_is_the_most_accurate_one_that_is_cheap(choice_among):
    dense = choice_among(gram=preconditioners.AFFORDABLE, blocks=CHEAP, hessian=CHEAP + 1)
    assert dense.first(None).kind == "blocks"
    assert dense.first(None, uniform=True).kind == "gram"  # as accurate as any, where all probabilities are equal
    assert choice_among(diagonal=1, frequent=CHEAP - 1, gram=np.inf).first(None).kind == "diagonal"
    assert choice_among(blocks=CHEAP + 2, hessian=CHEAP + 1).first(None).kind == "blocks"


@pytest.mark.parametrize(
    ("n_products", "n_left", "kind"),
    [
        (19, np.inf, "diagonal"),
        (20, np.inf, "frequent"),
        (34, np.inf, "frequent"),
        (35, np.inf, "gram"),
        (90, 39, "diagonal"),
    ],
)
def test_a_more_accurate_preconditioner_follows_a_direction_and_a_rest_of_the_fit_that_are_worth_it(
    choice_among, n_products, n_left, kind
):
    last = SimpleNamespace(kind="diagonal", memory="pairs", products=0)
    found = choice_among(diagonal=5, frequent=20, gram=70).next(last, None, n_products, n_left)
    assert (found.kind, found.memory) == (kind, "pairs")


@pytest.mark.parametrize(
    ("products", "n_left", "same"), [(5, np.inf, True), (6, np.inf, False), (6, 9, True), (6, 10, False)]
)
def test_a_preconditioner_is_made_again_once_its_uses_and_the_rest_of_the_fit_are_worth_it(
    choice_among, products, n_left, same
):
    last = SimpleNamespace(kind="diagonal", memory="pairs", products=products)
    found = choice_among(diagonal=5).renewed(last, None, n_left)
    assert (found is last) == same
    assert found.memory == "pairs"


def test_nearly_separable_data_end_with_the_whole_hessian():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    y = (X[:, :3] + 0.02 * rng.normal(size=(400, 3))).argmax(axis=1)
    objective = nbs.Objective(X, y, l2=1e-9)
    solution = NewtonCG().solve(unpacked(objective), np.zeros(objective.shape), tol=1e-6)
    assert solution.converged
    assert "hessian" in solution.summary
    assert solution.objective <= minimum(objective) * (1 + 1e-6)


def test_the_memory_keeps_the_last_pairs_and_never_changes_those_it_has_shown():
    from nbsoftmax.solvers.tools.lbfgs_memory import LBFGSMemory

    rng = np.random.default_rng(0)
    memory, expected, shown = LBFGSMemory(7, 5), np.empty((2, 0, 7)), []
    for turn in range(60):
        pairs = [(s, s * rng.uniform(0.5, 2, 7)) for s in rng.normal(size=(rng.integers(0, 8), 7))]
        scaled = [np.array(pair)[:, None] / np.sqrt(np.vdot(*pair)) for pair in pairs]
        memory.add(pairs)
        expected = np.concatenate([expected, *scaled], axis=1)[:, -5:]
        if turn in (20, 40):
            memory.clear()
            expected = expected[:, :0]
        shown.append((memory.pairs, expected))
        assert all(np.allclose(mine, other, rtol=1e-14, atol=0) for mine, other in shown)


def test_rough_products_of_an_earlier_point_are_forgotten():
    objective = problem(l2=1e-4)
    start = np.zeros(objective.shape)
    driver = Driver(objective, start, tol=10.0, max_iter=1, on_iteration=never_stop, state=None, uses_hessian=True)
    steps, point = NewtonSteps(driver, ("diagonal",)), evaluate(objective, start)
    steps.hides_curvature = True
    assert steps.converged(0, point, [point.value], certify=True)
    assert not steps.hides_curvature
