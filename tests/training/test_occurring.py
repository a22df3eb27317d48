"""Columns of sparse data without numbers: the solver leaves them out, and nothing else shows it."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.penalized_loss import ObjectiveOptions
from nbsoftmax.problem import Problem
from nbsoftmax.training.occurring import OccurringFeatures
from tests.training.killed import same

M, K, FULL, N = 90, 3, 8, 20
RNG = np.random.default_rng(0)
D = np.zeros((M, N))
OCCUR = np.sort(RNG.choice(N, FULL, replace=False))
D[:, OCCUR] = RNG.normal(size=(M, FULL)) * (RNG.uniform(size=(M, FULL)) < 0.5)
X = sparse.csr_array(D)
Y = (D[:, OCCUR[:K]] + RNG.gumbel(size=(M, K))).argmax(axis=1)
EMPTY = np.setdiff1d(np.arange(N), OCCUR)
OPTIONS = {
    "default": {"l2": 1e-2},
    "no intercept": {"l2": 1e-2, "fit_intercept": False},
    "no penalty": {},
    "by feature": {"penalty": nbs.ElasticNet(1e-3, 1e-2, np.linspace(0.5, 2, N))},
    "l1": {"l1": 1e-2},
    "grouped": {"l1": 1e-2, "grouped": True},
    "standardized": {"l2": 1e-2, "standardize": True},
    "L-BFGS": {"l2": 1e-2, "solver": "lbfgs"},
    "gd": {"l2": 1e-1, "solver": "gd"},
    "sgd": {"l2": 1e-1, "solver": nbs.SGD(batch_size=9), "max_iter": 300, "tol": 1e-4},
    "float32": {"l2": 1e-2, "dtype": "float32"},
}


def found(array, start=None, **options):
    problem = Problem.from_labels(array, Y)
    start = np.zeros((K, array.shape[1] + 1)) if start is None else start
    return OccurringFeatures.of(problem, ObjectiveOptions(nbs.Ridge(0.1)), start)


def test_only_sparse_data_with_many_empty_columns_are_cut():
    cut = found(X)
    np.testing.assert_array_equal(cut.columns, [*OCCUR, N])
    assert cut.objective.n_features == FULL
    assert found(D) is None
    assert found(X[:, OCCUR]) is None
    start = np.zeros((K, N + 1))
    start[0, EMPTY[0]] = 1.0
    assert found(X, start) is None
    start[0] = 0.0
    start[0, -1] = 1.0
    assert found(X, start) is not None


@pytest.mark.parametrize("name", OPTIONS)
def test_the_minimum_is_that_of_dense_data(name):
    options = {"tol": 1e-10} | OPTIONS[name]
    expected, cut = nbs.Trainer(**options).fit(D, Y), nbs.Trainer(**options).fit(X, Y)
    assert cut.model.coef.shape == (K, N)
    assert (cut.model.coef[:, EMPTY] == 0).all()
    assert cut.converged == expected.converged
    assert cut.objective == pytest.approx(expected.objective, rel=2 * options["tol"] + 1e-9 * (name == "float32"))
    assert abs(cut.model.coef - expected.model.coef).max() <= 10 * options["tol"] ** 0.5


def test_callbacks_and_validation_data_see_all_columns():
    shapes = []
    options = {"l2": 1e-2, "callbacks": [lambda at: shapes.append(at.params.shape)]}
    result = nbs.Trainer(**options).fit(X, Y, validation_data=(np.ones((2, N)), [0, 1]))
    assert set(shapes) == {(K, N + 1)}
    proba = result.model.predict_proba(np.ones((2, N)))
    assert result.history["validation_loss"][-1] == pytest.approx(-np.log(proba[[0, 1], [0, 1]]).mean())


def test_separable_classes_are_detected():
    rows = sparse.csr_array((np.ones(4), ([0, 1, 2, 3], [3, 3, 9, 9])), shape=(4, N))
    with pytest.warns(nbs.ConvergenceWarning, match="separable"):
        assert not nbs.Trainer().fit(rows, [0, 0, 1, 1]).converged


@pytest.mark.parametrize("name", ["default", "l1", "sgd"])
def test_a_fit_that_was_stopped_resumes_with_the_same_bits(tmp_path, name):
    whole = nbs.Trainer(**OPTIONS[name]).fit(X, Y)
    for n in range(1, min(whole.n_iter, 4)):
        path = tmp_path / str(n)
        nbs.Trainer(**OPTIONS[name], callbacks=[lambda at, n=n: at.n_iter == n]).fit(X, Y, checkpoint=path)
        same(whole, nbs.Trainer(**OPTIONS[name]).fit(X, Y, checkpoint=path, resume=True))


@pytest.mark.parametrize(
    "options", [{"l1": 0.1}, {"l1": 0.1, "grouped": True}, {"l1": 0.1, "l2": 0.1}, {"l2": 0.1}, {}]
)
def test_columns_without_any_number_leave_the_intercepts(options):
    y = np.repeat([0, 1, 2], [10, 20, 30])
    result = nbs.Trainer(tol=1e-10, **options).fit(sparse.csr_array((60, 6)), y)
    assert result.converged
    assert not result.model.coef.any()
    np.testing.assert_allclose(result.model.predict_proba(np.zeros((1, 6)))[0], [1 / 6, 1 / 3, 1 / 2], atol=1e-5)
