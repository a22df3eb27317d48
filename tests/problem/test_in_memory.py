"""`Problem`: what a fit sums over, validated once."""

import gc
import weakref

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import objective
from nbsoftmax.problem import Problem
from nbsoftmax.validation import arrays


def data(m=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, 4)), rng.integers(0, 3, m), rng.uniform(0.5, 2, m)


@pytest.fixture
def scans(monkeypatch):
    """The shapes of the arrays whose elements were searched for NaN and inf."""
    seen = []
    search = arrays.first_not_finite

    def counted(X):
        seen.append(X.shape)
        return search(X)

    monkeypatch.setattr(arrays, "first_not_finite", counted)
    return seen


def fit(X, y):
    return nbs.Trainer(l2=0.1).fit(X, y)


def fit_by_solver(X, y):
    return nbs.Trainer(l1=0.01, l2=0.1).fit(X, y)


def estimator(X, y):
    return nbs.SoftmaxRegression().fit(X, y)


def path(X, y):
    return nbs.fit_path(X, y, l2s=[1.0, 0.1, 0.01])


def cross_validation(X, y):
    return nbs.cross_validate(X, y, Cs=[0.1, 1.0], folds=3)


def table(X, y):
    pandas = pytest.importorskip("pandas")
    return nbs.SoftmaxRegression().fit(pandas.DataFrame(X, columns=list("abcd")), y)


@pytest.mark.parametrize("use", [fit, fit_by_solver, estimator, path, cross_validation, table])
def test_x_is_searched_for_nan_once(use, scans):
    X, y, _ = data()
    use(X, y)
    assert [shape for shape in scans if shape == X.shape] == [X.shape]


def test_validation_data_are_searched_once_as_well(scans):
    X, y, _ = data()
    nbs.Trainer(l2=0.1).fit(X, y, validation_data=(X[:20], y[:20]))
    assert sorted(scans) == [(20, 4), (60, 4)]


def test_a_fit_of_a_problem_is_the_fit_of_what_it_was_made_of():
    X, y, s = data()
    options = {"class_weight": "balanced", "label_smoothing": 0.1}
    problem = Problem.from_labels(X, y, sample_weight=s, **options)
    ours = nbs.Trainer(l2=0.1).fit(problem)
    theirs = nbs.Trainer(l2=0.1, **options).fit(X, y, sample_weight=s)
    assert np.array_equal(ours.model.coef, theirs.model.coef)
    assert ours.objective == theirs.objective


def test_the_sum_of_weights_is_that_of_the_objective():
    X, y, s = data()
    w = {0: 1.0, 1: 2.0, 2: 0.5}
    problem = Problem.from_labels(X, y, sample_weight=s, class_weight=w)
    expected = sum(si * w[yi] for si, yi in zip(s, y.tolist(), strict=True))
    assert problem.weight_sum == pytest.approx(expected, rel=1e-14)
    assert nbs.Objective(X, y, sample_weight=s, class_weight=w).weight_sum == problem.weight_sum
    assert problem.class_mass().sum() == pytest.approx(1, rel=1e-14)


def test_a_split_divides_the_rows_with_their_weights_and_balances_the_rest():
    X, y, s = data(90)
    X[:, 0] = np.arange(90)
    problem = Problem.from_labels(X, y, sample_weight=s, class_weight="balanced")
    parts = problem.split(0.3, 1)
    rows = np.concatenate([parts.X[:, 0], parts.held_out.X[:, 0]]).astype(int)
    assert sorted(rows) == list(range(90))
    assert np.array_equal(parts.sample_weight, s[parts.X[:, 0].astype(int)])
    assert np.array_equal(parts.held_out.sample_weight, s[parts.held_out.X[:, 0].astype(int)])
    again = Problem.from_labels(parts.X, y[parts.X[:, 0].astype(int)], sample_weight=parts.sample_weight,
                                class_weight="balanced")  # fmt: skip
    assert parts.weight_sum == again.weight_sum
    assert parts.held_out.class_weight is None


def test_other_weights_share_x():
    X, y, s = data()
    problem = Problem.from_labels(X, y)
    assert problem.X is X
    assert problem.with_sample_weight(s).X is X
    assert problem.with_sample_weight(s).weight_sum == pytest.approx(s.sum(), rel=1e-14)


def test_weights_whose_products_sum_to_0_are_refused():
    X, y, _ = data()
    with pytest.raises(nbs.InputValueError, match="sum to 0"):
        Problem.from_labels(X, y, sample_weight=np.where(y == 0, 0.0, 1.0), class_weight={1: 0.0, 2: 0.0})


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_fit_leaves_no_circle_of_references_that_would_keep_x(tmp_path, checkpoint):
    X, y, _ = data()
    options = {"checkpoint": tmp_path / "state"} if checkpoint else {}
    nbs.Trainer(l2=0.1).fit(X, y, **options)  # compiles
    gc.collect()
    gc.disable()
    try:
        copy = X.copy()
        gone = weakref.ref(copy)
        result = nbs.Trainer(l2=0.1, callbacks=[lambda now: None]).fit(copy, y, **options)
        del copy, result
        assert gone() is None
    finally:
        gc.enable()


def test_solvers_call_an_objective_that_validates_nothing(monkeypatch):
    X, y, _ = data()
    calls = []
    check = objective.validation.params
    monkeypatch.setattr(objective.validation, "params", lambda *a, **k: calls.append(1) or check(*a, **k))
    nbs.Trainer(l2=0.1).fit(X, y)
    assert not calls
    nbs.Objective(X, y).value(np.zeros((3, 5)))
    assert calls


@pytest.mark.parametrize("given", [{"y": [0, 1]}, {"sample_weight": [1.0]}, {"validation_data": ([[1.0]], [0])}])
def test_a_problem_takes_nothing_beside_it(given):
    X, y, _ = data()
    with pytest.raises(nbs.InputValueError, match="give it alone"):
        nbs.Trainer(l2=0.1).fit(Problem.from_labels(X, y), **given)
