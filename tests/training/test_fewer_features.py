"""Features of sparse data without numbers, or of one sample: the solver has fewer, and nothing else shows it."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.penalized_loss import ObjectiveOptions
from nbsoftmax.problem import Problem
from nbsoftmax.training.fewer_features import FewerFeatures
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


RIDGE = nbs.Ridge(0.1)


def found(array, start=None, *, penalty=RIDGE, y=Y, merge=True):
    problem = Problem.from_labels(array, y)
    start = np.zeros((K, array.shape[1] + 1)) if start is None else start
    return FewerFeatures.of(problem, ObjectiveOptions(penalty), start, merge=merge)


def test_only_sparse_data_with_many_empty_columns_are_cut():
    cut = found(X)
    np.testing.assert_array_equal(cut.kept, OCCUR)
    assert cut.merged is None
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


@pytest.mark.parametrize(
    "options", [{"l1": 0.1}, {"l1": 0.1, "grouped": True}, {"l1": 0.1, "l2": 0.1}, {"l2": 0.1}, {}]
)
def test_columns_without_any_number_leave_the_intercepts(options):
    y = np.repeat([0, 1, 2], [10, 20, 30])
    result = nbs.Trainer(tol=1e-10, **options).fit(sparse.csr_array((60, 6)), y)
    assert result.converged
    assert not result.model.coef.any()
    np.testing.assert_allclose(result.model.predict_proba(np.zeros((1, 6)))[0], [1 / 6, 1 / 3, 1 / 2], atol=1e-5)


# --- features of one sample ---------------------------------------------------------------------------

TEXT_N = 200
TEXT_D = np.zeros((M, TEXT_N))
TEXT_D[:, :FULL] = D[:, OCCUR]
SINGLES = np.arange(FULL, TEXT_N - 20)  # the last features have no numbers
TEXT_D[RNG.integers(0, M - 5, SINGLES.size), SINGLES] = RNG.normal(size=SINGLES.size)
TEXT_D = TEXT_D[:, np.append(RNG.permutation(TEXT_N - 1), TEXT_N - 1)]
TEXT = sparse.csr_array(TEXT_D)
N_MERGED = np.count_nonzero((TEXT_D[:, (TEXT_D != 0).sum(axis=0) == 1] != 0).any(axis=1))


def test_features_of_one_sample_are_merged():
    cut = found(TEXT)
    assert cut.objective.n_features == FULL + N_MERGED < TEXT_N / 2
    assert cut.merged.features.size == SINGLES.size
    # By l1, by strengths of their own, and with SGD, features are not exchangeable for one.
    weights = np.linspace(1, 2, TEXT_N)
    for penalty in (nbs.Lasso(0.1), nbs.ElasticNet(0.1, 0.1), nbs.Ridge(0.1, weights), nbs.Ridge(0.0)):
        assert found(TEXT, penalty=penalty) is None
    assert found(TEXT, merge=False) is None
    # One sample more makes the copy of X larger than what it saves.
    assert found(sparse.vstack([TEXT, np.ones((40, TEXT_N))]), y=np.append(Y, np.zeros(40))) is None


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_objective_of_merged_features_is_that_of_all(dtype):
    array = TEXT.astype(dtype)
    cut = found(array)
    part = RNG.normal(size=(K, cut.objective.n_features + 1))
    whole = cut.whole(part)
    objective = nbs.Objective(array, Y, l2=0.1).in_float64()
    value, grad = objective.value_and_grad(whole)
    value_of_part, grad_of_part = cut.objective.in_float64().value_and_grad(part)
    assert value_of_part == pytest.approx(value, rel=1e-14)
    assert np.linalg.norm(grad_of_part) == pytest.approx(np.linalg.norm(grad), rel=1e-6)
    np.testing.assert_allclose(cut.start(whole), part, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["default", "no intercept", "L-BFGS", "gd", "float32"])
def test_the_minimum_of_merged_features_is_that_of_dense_data(name):
    options = {"tol": 1e-10} | OPTIONS[name]
    expected, cut = nbs.Trainer(**options).fit(TEXT_D, Y), nbs.Trainer(**options).fit(TEXT, Y)
    assert cut.model.coef.shape == (K, TEXT_N)
    assert cut.converged == expected.converged
    assert cut.objective == pytest.approx(expected.objective, rel=2 * options["tol"] + 1e-9 * (name == "float32"))
    assert abs(cut.model.coef - expected.model.coef).max() <= 10 * options["tol"] ** 0.5
    if cut.gap_kind != "estimate":
        assert cut.objective - expected.objective <= cut.gap + 1e-9 * (name == "float32")


def test_stored_zeros_are_no_numbers():
    i, j = 0, TEXT_N - 1  # a feature without another number
    row, column = TEXT.tocoo().coords
    with_zero = sparse.csr_array((np.append(TEXT.data, 0.0), (np.append(row, i), np.append(column, j))), TEXT.shape)
    assert with_zero.nnz == TEXT.nnz + 1
    expected, fit = (nbs.Trainer(l2=1e-2).fit(array, Y) for array in (TEXT, with_zero))
    np.testing.assert_array_equal(fit.model.coef, expected.model.coef)
    assert not fit.model.coef[:, j].any()


@pytest.mark.parametrize("number", [1e200, 1e-200, 1e154])
def test_extreme_numbers_are_not_squared_to_inf_or_0(number):
    extreme = TEXT.copy()
    extreme.data[:] = np.where(np.isin(extreme.indices, np.flatnonzero((TEXT_D != 0).sum(axis=0) == 1)), number, 1.0)
    cut = found(extreme)
    assert cut is None or np.isfinite(cut.objective.value(np.zeros((K, cut.objective.n_features + 1))))


def test_a_fit_continues_from_the_minimum_of_merged_features_but_not_from_any_start():
    first = nbs.Trainer(l2=1e-2, tol=1e-12).fit(TEXT, Y)
    start = np.column_stack([first.model.coef, first.model.intercept])
    assert found(TEXT, start).merged is not None
    again = nbs.Trainer(l2=1e-2, tol=1e-9).fit(TEXT, Y, init=first.model)
    assert again.n_iter <= 1 < first.n_iter
    other = RNG.normal(size=(K, TEXT_N + 1))
    assert found(TEXT, other) is None
    np.testing.assert_allclose(
        nbs.Trainer(l2=1e-2, tol=1e-12).fit(TEXT, Y, init=other).model.coef,
        first.model.coef,
        atol=1e-5,
    )


RESUMED = [(X, "default"), (X, "l1"), (X, "sgd"), (TEXT, "default"), (TEXT, "L-BFGS"), (TEXT, "float32")]


@pytest.mark.parametrize(("array", "name"), RESUMED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fit_that_was_stopped_resumes_with_the_same_bits(tmp_path, array, name):
    whole = nbs.Trainer(**OPTIONS[name]).fit(array, Y)
    for n in range(1, min(whole.n_iter, 4)):
        path = tmp_path / str(n)
        nbs.Trainer(**OPTIONS[name], callbacks=[lambda at, n=n: at.n_iter == n]).fit(array, Y, checkpoint=path)
        same(whole, nbs.Trainer(**OPTIONS[name]).fit(array, Y, checkpoint=path, resume=True))
