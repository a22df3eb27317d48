"""Partial labels: fits to the sets of classes that are possible."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

import nbsoftmax as nbs
from nbsoftmax.errors import InputError

EPS = np.finfo(float).eps


def partial_problem(n_classes=4, m=200, n_features=3, share=0.3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n_features))
    truth = (X @ rng.normal(size=(n_features, n_classes)) + rng.gumbel(size=(m, n_classes))).argmax(axis=1)
    possible = rng.random((m, n_classes)) < share
    possible[np.arange(m), truth] = True
    return X, possible, truth


def reference(X, possible, params, weight=None, offset=0.0, l2=0.0):
    """The objective and its gradient, in NumPy; rows of which everything is possible count as left out."""
    z = np.asarray(X, np.float64) @ params[:, :-1].T + params[:, -1] + offset
    s = np.where(possible.all(axis=1), 0.0, 1.0 if weight is None else weight)
    inside = np.where(possible, z, -np.inf)
    losses = logsumexp(z, axis=1) - logsumexp(inside, axis=1)
    d = s[:, None] * (softmax(z, axis=1) - softmax(inside, axis=1)) / s.sum()
    grad = np.column_stack([d.T @ X + l2 * params[:, :-1], d.sum(axis=0)])
    return (s * losses).sum() / s.sum() + l2 / 2 * (params[:, :-1] ** 2).sum(), grad


def relative_to_the_first(model):
    params = np.column_stack([model.coef, model.intercept])
    return params - params[0]


@given(
    st.integers(0, 10**6),
    st.sampled_from([2, 3, 5, 9, 70]),  # up to 64 classes, rows are in lanes
    st.integers(1, 75),
    st.sampled_from([np.float64, np.float32]),
    st.sampled_from([0.1, 3.0, 60.0]),
    st.booleans(),
)
def test_loss_and_gradient_are_those_of_the_formula(seed, n_classes, m, dtype, scale, sparse):
    rng = np.random.default_rng(seed)
    X, possible, _ = partial_problem(n_classes, m, share=rng.random(), seed=seed)
    possible[0] = np.arange(n_classes) == 1  # at least one row counts
    X, offset, weight = X.astype(dtype), rng.normal(size=(m, n_classes)), rng.random(m) + 0.1
    params = scale * rng.normal(size=(n_classes, 4))
    given_X = scipy.sparse.csr_array(X) if sparse else X
    objective = nbs.Objective(given_X, possible, sample_weight=weight, offset=offset, l2=0.01)
    value, grad = objective.value_and_grad(params)
    expected, slope = reference(X, possible, params, weight, offset.astype(dtype), 0.01)
    size = 1 + np.abs(params).max() * 20  # of the logits, whose rounding errors the loss has
    assert abs(value - expected) <= 64 * np.finfo(dtype).eps * max(size, abs(expected))
    assert np.abs(grad - slope).max() <= 64 * np.finfo(dtype).eps * size * max(1.0, np.abs(slope).max())
    assert objective.value(params) == value


@pytest.mark.parametrize("n_classes", [4, 70])
def test_a_loss_near_0_has_its_digits(n_classes):
    X, possible = np.ones((1, 1)), np.arange(n_classes)[None] < 2
    params = np.zeros((n_classes, 2))
    params[:2, 0] = 300.0
    value = nbs.Objective(X, possible).value(params)
    # log(1 + x) = x for x = (K - 2) / 2 exp(-300), far below eps.
    assert value == pytest.approx((n_classes - 2) / 2 * np.exp(-300.0), rel=1e-14)


def test_the_gradient_is_the_derivative():
    X, possible, _ = partial_problem(5)
    objective, rng = nbs.Objective(X, possible, l2=0.1), np.random.default_rng(1)
    params, direction, h = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), 1e-5
    ahead, behind = objective.value(params + h * direction), objective.value(params - h * direction)
    slope = np.vdot(objective.value_and_grad(params)[1], direction)
    assert (ahead - behind) / (2 * h) == pytest.approx(slope, rel=1e-8)


@pytest.mark.usefixtures("several_threads")
def test_the_number_of_threads_changes_no_bit():
    X, possible, _ = partial_problem(6, m=3000, n_features=40)
    one, two = (nbs.Trainer(l2=1e-2, n_threads=n).fit(X, possible) for n in (1, 2))
    assert np.array_equal(one.model.coef, two.model.coef)
    assert one.n_iter == two.n_iter


def test_many_parameters_whose_classes_are_divided_over_threads():
    X, possible, _ = partial_problem(8192, m=20, n_features=2, share=0.01)
    params = np.random.default_rng(2).normal(size=(8192, 3))
    value, grad = nbs.Objective(X, possible).value_and_grad(params)
    expected, slope = reference(X, possible, params)
    assert value == pytest.approx(expected, rel=1e-12)
    assert np.abs(grad - slope).max() <= 1e-12 * np.abs(slope).max()


@pytest.mark.parametrize(("share", "l2"), [(0.2, 0.0), (0.2, 1e-3), (0.6, 1e-3)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fit_ends_where_another_solver_does(share, l2, dtype):
    X, possible, _ = partial_problem(4, m=500, share=share)
    X = X.astype(dtype)

    def flat(params):
        value, grad = reference(X.astype(np.float64), possible, params.reshape(4, 4), l2=l2)
        return value, grad.ravel()

    found = minimize(flat, np.zeros(16), jac=True, method="BFGS", options={"gtol": 1e-9})
    result = nbs.Trainer(l2=l2, tol=1e-11).fit(X, possible)
    assert result.converged
    assert result.solver == "lbfgs"
    assert result.grad_norm < 1e-6
    assert result.objective == pytest.approx(found.fun, rel=1e-10)
    theirs = found.x.reshape(4, 4)
    assert np.abs(relative_to_the_first(result.model) - (theirs - theirs[0])).max() < 1e-4  # sqrt of the tolerance


@pytest.mark.parametrize("weighted", [False, True])
def test_a_class_that_is_possible_for_all_samples_does_not_make_classes_separable(weighted):
    X, possible, _ = partial_problem(3, m=60)
    possible[:, 1] = True
    weight = np.ones(60)
    if weighted:
        possible[:5], weight[:5] = [True, False, False], 0.0
    result = nbs.Trainer().fit(X, possible, sample_weight=weight if weighted else None)
    assert result.stop_reason is nbs.StopReason.CONVERGED
    assert (result.model.predict(X) == 1).all()


def test_a_result_claims_no_distance_from_the_minimum():
    X, possible, _ = partial_problem()
    result = nbs.Trainer(l2=1e-3).fit(X, possible)
    assert result.gap_kind == "stationary"
    stopped = nbs.Trainer(l2=1e-3, max_iter=1)
    with pytest.warns(nbs.ConvergenceWarning):
        early = stopped.fit(X, possible)
    assert early.gap_kind == "stationary"
    assert early.gap == np.inf


def test_every_start_ends_in_a_stationary_point():
    X, possible, _ = partial_problem(share=0.8)
    rng = np.random.default_rng(3)
    for _ in range(4):
        result = nbs.Trainer(l2=1e-3, tol=1e-9).fit(X, possible, init=5 * rng.normal(size=(4, 4)))
        assert result.converged
        params = np.column_stack([result.model.coef, result.model.intercept])
        assert np.abs(reference(X, possible, params, l2=1e-3)[1]).max() < 1e-5


def test_one_possible_class_in_each_row_is_the_ordinary_fit():
    X, possible, truth = partial_problem(share=0.0)
    fits = [nbs.Trainer(l2=1e-3, class_weight="balanced").fit(X, y) for y in (possible, truth)]
    assert np.array_equal(fits[0].model.coef, fits[1].model.coef)
    assert fits[0].gap_kind == fits[1].gap_kind == "duality"


def test_rows_of_which_nothing_is_known_count_as_left_out():
    X, possible, truth = partial_problem(share=0.0)
    known = np.arange(200) % 4 > 0
    possible[~known] = True
    ordinary = nbs.Trainer(l2=1e-3, tol=1e-12).fit(X[known], truth[known])
    result = nbs.Trainer(l2=1e-3, tol=1e-12).fit(X, possible)
    assert result.objective == pytest.approx(ordinary.objective, rel=64 * EPS)
    X, possible, _ = partial_problem()
    left_out = nbs.Trainer(l2=1e-3, tol=1e-12).fit(X[known], possible[known])
    possible[~known] = True
    assert nbs.Trainer(l2=1e-3, tol=1e-12).fit(X, possible).objective == pytest.approx(left_out.objective, rel=1e-11)


def test_sample_weights_are_repetitions():
    X, possible, _ = partial_problem()
    weight = np.arange(200) % 3
    repeated = nbs.Trainer(l2=1e-3, tol=1e-12).fit(np.repeat(X, weight, axis=0), np.repeat(possible, weight, axis=0))
    weighted = nbs.Trainer(l2=1e-3, tol=1e-12).fit(X, possible, sample_weight=weight)
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-11)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame, pa.table])
def test_the_names_of_boolean_columns_are_the_classes(table):
    X, possible, truth = partial_problem(3)
    names = np.array(["owl", "auk", "jay"])
    y = table({name: possible[:, k] for k, name in enumerate(names)})
    order = np.argsort(names)
    expected = nbs.Trainer(l2=1e-3).fit(X, possible[:, order])
    result = nbs.Trainer(l2=1e-3).fit(X, y)
    assert result.model.classes.tolist() == ["auk", "jay", "owl"]
    assert np.array_equal(result.model.coef, expected.model.coef)
    right = result.model.predict(X) == names[truth]
    assert result.model.score(X, names[truth]) == right.mean()
    assert result.model.score(X, y) == possible[:, order][np.arange(200), expected.model.predict(X)].mean()


def test_the_estimator_takes_partial_labels():
    X, possible, _ = partial_problem(3)
    C = 1 / (1e-3 * (~possible.all(axis=1)).sum())
    expected = nbs.Trainer(l2=1e-3, tol=1e-10).fit(X, possible).model
    fitted = nbs.SoftmaxRegression(C=C, tol=1e-10).fit(X, possible.tolist())
    assert np.abs(fitted.coef_ - expected.coef).max() < 1e-5
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.score(X, possible) == possible[np.arange(200), fitted.predict(X)].mean()
    named = nbs.SoftmaxRegression().fit(X, pd.DataFrame(possible, columns=["b", "c", "a"]))
    assert named.classes_.tolist() == ["a", "b", "c"]


def test_classes_that_can_be_separated_are_reported():
    X = np.linspace(-1, 1, 40)[:, None]
    possible = np.column_stack([X[:, 0] < 0, X[:, 0] >= 0, X[:, 0] > -0.5])
    with pytest.warns(nbs.ConvergenceWarning, match="separable"):
        result = nbs.Trainer().fit(X, possible)
    assert not result.converged


def test_validation_data_may_be_partial():
    X, possible, _ = partial_problem()
    result = nbs.Trainer(l2=1e-3).fit(X, possible, validation_data=(X, possible))
    params = np.column_stack([result.model.coef, result.model.intercept])
    assert result.history["validation_loss"][-1] == pytest.approx(reference(X, possible, params)[0], rel=1e-12)


def test_columns_of_a_table_of_validation_labels_are_named_after_the_classes():
    pd = pytest.importorskip("pandas")
    X, possible, _ = partial_problem()
    names = ["virginica", "setosa", "versicolor", "blue flag"]
    table, order = pd.DataFrame(possible, columns=names), ["versicolor", "virginica", "blue flag", "setosa"]
    result = nbs.Trainer(l2=1e-3).fit(X, table, validation_data=(X, table[order]))
    params = np.column_stack([result.model.coef, result.model.intercept])
    expected = reference(X, possible[:, np.argsort(names)], params)[0]
    assert result.history["validation_loss"][-1] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(nbs.InputValueError, match="validation y has the columns"):
        nbs.Trainer(l2=1e-3).fit(X, table, validation_data=(X, table.rename(columns={"setosa": "other"})))


def test_a_fit_resumes_from_its_checkpoint(tmp_path):
    X, possible, _ = partial_problem(share=0.6)
    whole = nbs.Trainer(l2=1e-4).fit(X, possible)
    path = tmp_path / "c.npz"
    with pytest.warns(nbs.ConvergenceWarning):
        nbs.Trainer(l2=1e-4, max_iter=5).fit(X, possible, checkpoint=path)
    resumed = nbs.Trainer(l2=1e-4).fit(X, possible, checkpoint=path, resume=True)
    assert np.array_equal(resumed.model.coef, whole.model.coef)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "newton-cg"}, "'newton-cg' cannot minimise"),
        ({"solver": "sgd"}, "'sgd' cannot minimise"),
        ({"l1": 0.1}, "Lasso"),
        ({"class_weight": "balanced"}, "class_weight and label_smoothing"),
        ({"label_smoothing": 0.1}, "class_weight and label_smoothing"),
    ],
)
def test_options_without_a_meaning_for_partial_labels_are_refused(options, said):
    X, possible, _ = partial_problem()
    with pytest.raises(InputError, match=said):
        nbs.Trainer(**options).fit(X, possible)


def test_partial_labels_that_cannot_be_used_are_refused():
    X, possible, _ = partial_problem()
    trainer = nbs.Trainer(l2=1e-3)
    none, never = possible.copy(), possible.copy()
    none[[7, 9]] = False
    never[:, 2] = False
    never[~never.any(axis=1), 0] = True
    with pytest.raises(InputError, match="y row 7 has no possible class"):
        trainer.fit(X, none)
    with pytest.raises(InputError, match="class 2 is possible in no row"):
        trainer.fit(X, never)
    with pytest.raises(InputError, match="199 entries, but X has 200 rows"):
        trainer.fit(X, possible[1:])
    with pytest.raises(InputError, match="weights of the samples sum to 0"):
        trainer.fit(X, np.ones_like(possible))
    missing = pd.DataFrame(possible).astype("boolean")
    missing.iloc[5, 1] = pd.NA
    with pytest.raises(InputError, match="missing value at row 5"):
        trainer.fit(X, missing)
    twice = pd.DataFrame(possible, columns=["a", "a", "b", "c"])
    with pytest.raises(InputError, match="same name"):
        trainer.fit(X, twice)


def test_what_needs_one_label_for_each_row_refuses_partial_labels():
    X, possible, _ = partial_problem()
    result = nbs.Trainer(l2=1e-3).fit(X, possible)
    for call, said in (
        (lambda: nbs.cross_validate(X, possible), "one label for each row"),
        (result.inference, "information matrix"),
        (lambda: nbs.Trainer(l2=1e-3, solver="sgd").partial_fit(X, possible), "partial labels"),
        (lambda: nbs.Trainer().fit(nbs.data.from_batches([(X, possible)])), "rows in memory"),
        (lambda: nbs.Objective(X, possible).hvp(np.zeros((4, 4)), np.zeros((4, 4))), "Hessian"),
        (lambda: nbs.cross_entropy(np.zeros((200, 4)), possible), "several possible classes"),
        (lambda: result.model.score(X, possible[:, :3] | True), "the possible classes of each row"),
    ):
        with pytest.raises(InputError, match=said):
            call()
