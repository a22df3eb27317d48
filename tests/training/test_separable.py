"""Perfectly separable classes have no minimum without a penalty, and are named."""

import numpy as np
import pytest
import scipy.sparse

import nbsoftmax as nbs
from nbsoftmax.solvers.stop_reason import StopReason
from tests.training.problems import overlapping


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs", "gd"])
def test_separable_classes_without_a_penalty_are_named(solver):
    X, _ = overlapping(np.random.default_rng(0))
    with pytest.warns(nbs.ConvergenceWarning, match="add or increase l2"):
        result = nbs.Trainer(solver=solver).fit(X, np.where(X[:, 0] > 0, "right", "left"))
    assert not result.converged
    assert result.stop_reason is StopReason.SEPARABLE
    assert "all" in result.reason
    assert (result.gap, result.gap_kind) == (result.objective, "duality")  # the infimum is 0
    assert result.model.score(X, np.where(X[:, 0] > 0, "right", "left")) == 1.0


@pytest.mark.parametrize("solver", ["newton-cg", "newton"])
def test_one_class_that_stands_apart_is_named(solver):
    rng = np.random.default_rng(0)
    X, y = overlapping(rng)
    X[:, 3] = (y == 1) + 0.1 * rng.uniform(size=300)
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: 1"):
        result = nbs.Trainer(solver=solver).fit(X, y)
    assert not result.converged


@pytest.mark.parametrize("solver", ["newton-cg", "newton"])
def test_a_fit_that_ends_at_its_limit_says_so_also_where_a_class_stands_apart(solver):
    X, y = overlapping(np.random.default_rng(0))
    X[:, 3] = y == 1
    for max_iter in (1, 3, 5):
        with pytest.warns(nbs.ConvergenceWarning, match="max_iter reached"):
            result = nbs.Trainer(solver=solver, max_iter=max_iter).fit(X, y)
        assert result.stop_reason is StopReason.MAX_ITER


@pytest.mark.parametrize("solver", ["newton-cg", "newton"])
def test_some_samples_that_give_their_class_away_are_noticed(solver):
    rng = np.random.default_rng(0)
    X, y = overlapping(rng)
    X[:, 3] = (y == 1) & (rng.uniform(size=300) < 0.3)  # quasi-separable: the others of class 1 are like the rest
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: 1"):
        nbs.Trainer(solver=solver).fit(X, y)


@pytest.mark.parametrize("options", [{"l2": 1e-6}, {"label_smoothing": 0.01}], ids=["a penalty", "label smoothing"])
def test_separable_classes_have_a_minimum_with(options):
    X, _ = overlapping(np.random.default_rng(0))
    result = nbs.Trainer(**options).fit(X, X[:, 0] > 0)
    assert result.converged


def test_samples_of_weight_zero_do_not_keep_classes_together():
    X, _ = overlapping(np.random.default_rng(0))
    y = X[:, 0] > 0
    wrong, weight = y.copy(), np.ones(300)
    wrong[:10], weight[:10] = ~y[:10], 0.0
    with pytest.warns(nbs.ConvergenceWarning, match="no minimum"):
        nbs.Trainer().fit(X, wrong, sample_weight=weight)


def test_overlapping_classes_converge_and_the_work_is_accounted_for():
    result = nbs.Trainer().fit(*overlapping(np.random.default_rng(0)))
    assert result.converged
    assert result.solver == "newton-cg"
    assert "3 steps" in result.summary  # the last one computed the decrement


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_separable_classes_of_blocks_are_named_as_in_memory(share, dtype, sparse):
    rng = np.random.default_rng(0)
    X, y = overlapping(rng)
    X[:, 3] = (y == 1) & (rng.uniform(size=300) < share)
    X = X.astype(dtype)
    rows = scipy.sparse.csr_array(X) if sparse else X

    def batches():
        return ((rows[i : i + 70], y[i : i + 70]) for i in range(0, 300, 70))

    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: 1"):
        result = nbs.Trainer(dtype=dtype).fit(nbs.data.from_batches(batches))
    assert result.stop_reason is StopReason.SEPARABLE
    X[:, 3] = rng.uniform(size=300) < 0.5
    rows = scipy.sparse.csr_array(X) if sparse else X
    assert nbs.Trainer(dtype=dtype).fit(nbs.data.from_batches(batches)).converged


def quasi_separable(rng):
    """Class 0 is apart, and the others are noise."""
    X = rng.normal(size=(60, 3))
    return X, np.where(X[:, 0] > 0, 0, rng.integers(1, 3, 60))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "newton"},
        {"solver": "lbfgs"},
        {"l2": 0.1, "penalty_weight": [0, 1, 1]},
        {"l2": 0.1, "penalty_weight": [0, 1, 1], "solver": "lbfgs"},
        {"l1": 0.1, "penalty_weight": [0, 1, 1]},
        {"bounds": (None, 50.0)},
    ],
    ids=repr,
)
def test_coefficients_that_nothing_holds_have_no_minimum(options):
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes"):
        result = nbs.Trainer(**options).fit(*quasi_separable(np.random.default_rng(0)))
    assert result.stop_reason is StopReason.SEPARABLE


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.1, "penalty_weight": [1, 0, 1]},
        {"l1": 0.1, "penalty_weight": [1, 0, 1]},
        {"bounds": (-5.0, 5.0)},
        {"l2": 0.1},
    ],
    ids=repr,
)
def test_a_penalty_or_bounds_of_the_separating_feature_make_a_minimum(options):
    assert nbs.Trainer(**options).fit(*quasi_separable(np.random.default_rng(0))).converged


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs"])
def test_a_class_without_weight_does_not_make_others_separable(solver):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    result = nbs.Trainer(solver=solver, tol=1e-9).fit(X, y, sample_weight=(y > 0).astype(float))
    assert result.converged
    two = nbs.Trainer(tol=1e-9).fit(X[y > 0], y[y > 0])
    np.testing.assert_allclose(
        result.model.coef[2] - result.model.coef[1], two.model.coef[1] - two.model.coef[0], atol=1e-3
    )
    apart = np.where(y == 0, 0, 1 + (X[:, 0] > 0))
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes"):
        nbs.Trainer(solver=solver).fit(X, apart, sample_weight=(apart > 0).astype(float))


@pytest.mark.parametrize(
    "options",
    [{"solver": solver} for solver in ("newton-cg", "newton", "lbfgs", "gd")]
    + [
        {"l2": 0.1, "penalty_weight": [1, 0]},
        {"l1": 0.1, "penalty_weight": [1, 0]},
        {"bounds": (0, None)},
        {"fit_intercept": False},
    ],
    ids=repr,
)
def test_one_class_with_weight_is_not_separable_from_those_without(options):
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    X[:, 0] = np.abs(X[:, 0])  # so that the features alone predict the class, too
    weight = (y == 1).astype(float)
    batches = nbs.data.from_batches(lambda: iter([(X, y, weight)]))
    for result in (
        nbs.Trainer(**options).fit(X, y, sample_weight=weight),
        nbs.Trainer(**options, class_weight={0: 0.0, 1: 1.0, 2: 0.0}).fit(X, y),
        nbs.Trainer(**options).fit(batches),
    ):
        assert result.stop_reason is StopReason.CONVERGED
        assert result.objective < 1e-6
        assert (result.model.predict(X) == 1).all()


@pytest.mark.parametrize("penalty", [{}, {"l2": 0.1, "penalty_weight": [0, 1, 1]}], ids=["none", "of two features"])
@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs"])
def test_an_offset_that_predicts_the_classes_does_not_make_them_separable(solver, penalty):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    offset = 9.0 * np.eye(3)[y]
    result = nbs.Trainer(solver=solver, tol=1e-9, **penalty).fit(X, y, offset=offset)
    assert result.stop_reason is StopReason.CONVERGED
    params = np.column_stack([result.model.coef, result.model.intercept])
    gradient = nbs.Objective(X, y, offset=offset, **penalty).value_and_grad(params)[1]
    assert np.abs(gradient).max() < 1e-7  # 1e-5 at zero


@pytest.mark.parametrize(
    "options", [{}, {"l2": 0.1, "penalty_weight": [0, 1, 1]}, {"l1": 0.01, "penalty_weight": [0, 1, 1]}]
)
@pytest.mark.parametrize("scale", [0.0, 3.0], ids=["no offset", "offset"])
@pytest.mark.parametrize("blocks", [False, True], ids=["in memory", "in blocks"])
def test_the_fit_ends_when_the_coefficients_that_nothing_holds_separate_all_classes(blocks, scale, options):
    rng = np.random.default_rng(0)
    X, offset = rng.normal(size=(300, 3)), scale * rng.normal(size=(300, 3))
    y = np.digitize(X[:, 0], [-0.4, 0.4])
    data = nbs.data.from_batches(lambda: iter([(X, y, None, offset)])) if blocks else X
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: all"):
        result = nbs.Trainer(**options).fit(data, **({} if blocks else {"y": y, "offset": offset}))
    assert result.n_iter < 40


@pytest.mark.parametrize(
    "options",
    [{"l2": 1e-10, "solver": solver} for solver in ("newton-cg", "newton", "lbfgs")] + [{"l1": 1e-8}],
    ids=repr,
)
def test_a_tiny_penalty_of_the_separating_feature_makes_a_minimum(options):
    X = np.random.default_rng(0).normal(size=(300, 3))
    result = nbs.Trainer(penalty_weight=[1, 0, 1], **options).fit(X, X[:, 0] > 0)
    assert result.stop_reason is StopReason.CONVERGED


class TinyRidge:
    """A penalty of the user, of which the package does not know that it holds all coefficients."""

    def value(self, coef):
        return 1e-8 / 2 * float((coef**2).sum())

    def prox(self, coef, step):
        return coef / (1 + 1e-8 * step)


def test_a_penalty_of_the_user_is_taken_to_make_a_minimum():
    X = np.random.default_rng(0).normal(size=(300, 3))
    assert nbs.Trainer(penalty=TinyRidge()).fit(X, X[:, 0] > 0).stop_reason is StopReason.CONVERGED


@pytest.mark.parametrize("solver", ["newton-cg", "lbfgs"])
def test_classes_with_weight_are_all_separated_by_a_feature_that_nothing_holds(solver):
    X = np.random.default_rng(0).normal(size=(300, 3))
    y = np.digitize(X[:, 0], [-0.4, 0.4])
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: all"):
        nbs.Trainer(solver=solver, l2=0.1, penalty_weight=[0, 1, 1]).fit(X, y, sample_weight=(y > 0).astype(float))
