"""standardize=True: the fit of standardized features, with coefficients of the features as they are."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.errors import InputValueError
from nbsoftmax.problem import Problem, ProblemInParts
from nbsoftmax.training.standardize import deviations
from tests.problem.test_in_parts import Source

M, N, K = 300, 4, 3
rng = np.random.default_rng(3)
X = rng.normal(size=(M, N)) * [1.0, 1e-3, 50.0, 1e4] + [0.0, 1.0, -30.0, 1e6]
Y = np.argmax((X - X.mean(0)) / X.std(0) @ rng.normal(size=(N, K)) + rng.gumbel(size=(M, K)), axis=1)
W = rng.uniform(0.1, 3.0, M)
PENALTIES = {
    "ridge": {"l2": 0.02},
    "lasso": {"l1": 0.02},
    "elastic net": {"l1": 0.02, "l2": 0.01},
    "group lasso": {"l1": 0.03, "l2": 0.01, "grouped": True},
    "weighted": {"penalty": nbs.ElasticNet(0.01, 0.02, weights=[1.0, 2.0, 0.0, 0.5])},
}


def deviation(X, weight):
    mean = np.average(X, axis=0, weights=weight)
    return np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("kind", PENALTIES)
def test_the_fit_is_that_of_standardized_features(kind, weight):
    sd, mean = deviation(X, weight), np.average(X, axis=0, weights=weight)
    ours = nbs.Trainer(**PENALTIES[kind], standardize=True, tol=1e-9).fit(X, Y, sample_weight=weight)
    scaled = nbs.Trainer(**PENALTIES[kind], tol=1e-9).fit((X - mean) / sd, Y, sample_weight=weight)
    assert ours.converged
    assert ours.objective == pytest.approx(scaled.objective, rel=2e-9)
    np.testing.assert_allclose(ours.model.coef * sd, scaled.model.coef, atol=2e-4)
    np.testing.assert_allclose(ours.model.predict_proba(X), scaled.model.predict_proba((X - mean) / sd), atol=1e-3)


@pytest.mark.parametrize("kind", ["ridge", "elastic net", "group lasso"])
def test_the_reported_gap_bounds_the_distance_from_the_minimum(kind):
    rough = nbs.Trainer(**PENALTIES[kind], standardize=True, tol=1e-2).fit(X, Y)
    exact = nbs.Trainer(**PENALTIES[kind], standardize=True, tol=1e-10).fit(X, Y)
    assert rough.gap_kind != "estimate"
    assert rough.objective - exact.objective <= rough.gap


def test_deviations_have_the_digits_of_two_passes():
    raw = rng.normal(size=(2000, 3)) * [1e-3, 1.0, 1e3] + 1e5
    problem = Problem.from_labels(raw, np.arange(2000) % 2)
    np.testing.assert_allclose(deviations(problem, None), raw.std(axis=0), rtol=1e-9)
    single = Problem.from_labels(raw.astype(np.float32), np.arange(2000) % 2)
    assert deviations(single, None)[0] == 1.0  # of 100000 + 0.001 z, float32 keeps no digit of z
    expected = raw.astype(np.float32).astype(float).std(axis=0)
    np.testing.assert_allclose(deviations(single, None)[1:], expected[1:], rtol=1e-9)


def test_a_constant_feature_keeps_the_scale_1():
    raw = np.column_stack([X, np.full(M, 0.1), np.zeros(M)])
    np.testing.assert_array_equal(deviations(Problem.from_labels(raw, Y), None)[-2:], [1.0, 1.0])
    assert nbs.Trainer(l2=0.1, standardize=True).fit(raw, Y).converged


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_whether_a_feature_is_constant_does_not_depend_on_its_unit(scale):
    expected = deviations(Problem.from_labels(X, Y), None)
    np.testing.assert_allclose(deviations(Problem.from_labels(scale * X, Y), None), scale * expected, rtol=1e-12)


def test_sparse_rows_and_blocks_have_the_same_deviations():
    rows = sparse.csr_array(sparse.random(M, 6, density=0.3, random_state=1)) * 10
    dense = rows.toarray()
    problems = [
        Problem.from_labels(dense, Y, sample_weight=W),
        Problem.from_labels(rows, Y, sample_weight=W),
        ProblemInParts.from_blocks(Source(X=dense, y=Y, weight=W, n=77)),
    ]
    for problem in problems:
        np.testing.assert_allclose(deviations(problem, None), deviation(dense, W), rtol=1e-10)
    fits = [nbs.Trainer(l2=0.01, standardize=True, tol=1e-10).fit(p).objective for p in problems]
    np.testing.assert_allclose(fits, fits[0], rtol=1e-9)


def test_paths_and_estimators_standardize():
    path = nbs.fit_path(X, Y, l2s=[0.1, 0.02], standardize=True, tol=1e-9)
    alone = nbs.Trainer(l2=0.02, standardize=True, tol=1e-9).fit(X, Y)
    assert path.results[1].objective == pytest.approx(alone.objective, rel=2e-9)
    pytest.importorskip("sklearn")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ours = nbs.SoftmaxRegression(C=0.5, standardize=True, tol=1e-10).fit(X, Y)
    scaled = make_pipeline(StandardScaler(), nbs.SoftmaxRegression(C=0.5, tol=1e-10)).fit(X, Y)
    np.testing.assert_allclose(ours.predict_proba(X), scaled.predict_proba(X), atol=1e-4)
    chosen = nbs.SoftmaxRegressionCV(Cs=[0.5], cv=3, standardize=True, tol=1e-10).fit(X, Y)
    np.testing.assert_allclose(chosen.predict_proba(X), scaled.predict_proba(X), atol=1e-4)


def test_a_checkpoint_knows_the_option(tmp_path):
    path = tmp_path / "state"
    nbs.Trainer(l2=0.1, standardize=True).fit(X, Y, checkpoint=path)
    with pytest.raises(InputValueError, match="other data"):
        nbs.Trainer(l2=0.1).fit(X, Y, checkpoint=path, resume=True)


def test_a_fit_is_resumed_to_the_same_bits_from_an_array_of_another_order(tmp_path):
    other, weighted = np.asfortranarray(X), {"sample_weight": W}
    path, trainer = tmp_path / "state", nbs.Trainer(l2=0.1, standardize=True)
    np.testing.assert_array_equal(
        deviations(Problem.from_labels(other, Y, **weighted), None),
        deviations(Problem.from_labels(X, Y, **weighted), None),
    )
    whole = trainer.fit(X, Y, **weighted, checkpoint=path).model
    resumed = trainer.fit(other, Y, **weighted, checkpoint=path, resume=True).model
    np.testing.assert_array_equal(resumed.coef, whole.coef)


def test_what_cannot_be_standardized_is_refused():
    class Own:
        def value(self, coef):
            return 0.0

        def prox(self, coef, step):
            return coef

    with pytest.raises(InputValueError, match="needs a penalty of this package"):
        nbs.Trainer(penalty=Own(), standardize=True).fit(X, Y)
    with pytest.raises(InputValueError, match="deviations of all samples"):
        nbs.Trainer(solver="sgd", l2=0.1, standardize=True).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(InputValueError, match="exceeds the range of float64"):
        nbs.Trainer(l2=0.1, standardize=True).fit(X * 1e200, Y)
