"""Stochastic gradient descent: every step is the formula's, every run can be repeated, and reports are true."""

import warnings
from copy import copy
from dataclasses import replace
from math import ceil

import numba
import numpy as np
import pytest
from scipy.sparse import csr_array

import nbsoftmax as nbs
from nbsoftmax.backends.base import SampleOrder
from nbsoftmax.kernels.sgd import State
from nbsoftmax.solvers import sgd
from tests import reference
from tests.solvers.problems import with_targets

THREE_THREADS = min(3, numba.config.NUMBA_NUM_THREADS)

OPTIMIZERS = ["momentum", "nesterov", "adam"]


def data(m=50, N=6, K=3, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N)).astype(dtype)
    return X, (X @ rng.normal(size=(N, K)) + rng.gumbel(size=(m, K))).argmax(axis=1)


def epoch_by_numpy(X, y, params, order, batch_size, rates, optimizer, mu, l2=0.0, average=False, **target):
    """The definitions, step by step. `target` as in `reference.Objective`."""
    m, K = len(X), len(params)
    w, v, q, mean = params.copy(), np.zeros_like(params), np.zeros_like(params), params.copy()
    weight = target.pop("sample_weight", None)
    offset = target.pop("offset", None)
    total = reference.weighted_target(y, m, K, sample_weight=weight, **target)[1]
    for t, rate in enumerate(rates, 1):
        i = order[(t - 1) * batch_size : t * batch_size]
        s = None if weight is None else weight[i]
        X1 = np.column_stack([X[i], np.ones(len(i))])
        z = X1 @ w.T + (0 if offset is None else offset[i])
        d = reference.cross_entropy(z, y[i], sample_weight=s, **target)[1]
        B = min(batch_size, m)
        g = d.T @ X1 * m / (B * total)
        g[:, :-1] += l2 * w[:, :-1] * len(i) / B
        if optimizer == "adam":
            v, q = mu * v + (1 - mu) * g, 0.999 * q + 0.001 * g**2
            w = w - rate * (v / (1 - mu**t)) / (np.sqrt(q / (1 - 0.999**t)) + 1e-8)
        else:
            v = mu * v + g
            w = w - rate * (v if optimizer == "momentum" else g + mu * v)
        mean += 4 / (3 + t) * (w - mean)
    return mean if average else w


def epoch(X, y, K, order, batch_size, rates, optimizer, mu, average=False, start=None, **options):
    objective = nbs.Objective(X, y, n_classes=K, **options)
    start = np.zeros(objective.shape) if start is None else start
    state = sgd.SGD(optimizer=optimizer, average=average).initial_state(start)
    objective.descend(state, order, batch_size, rates, kind=sgd.KINDS[optimizer], momentum=mu, n_before=0)
    return (state.mean if average else state.params).reshape(objective.shape)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 7, 16, 33, 50, 1000])
def test_an_epoch_is_the_formula_step_by_step(optimizer, batch_size, average):
    X, y = data()
    order = np.random.default_rng(1).permutation(50)
    rates = np.linspace(0.1, 0.02, ceil(50 / batch_size))
    given = (order, batch_size, rates, optimizer, 0.8)
    found = epoch(X, y, 3, *given, average=average, l2=0.1)
    expected = epoch_by_numpy(X, y, np.zeros((3, 7)), *given, average=average, l2=0.1)
    # Up to 50 steps, each of which adds rounding errors of a few eps to parameters near 1.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["weights", "soft", "smoothed", "classes", "offset"])
@pytest.mark.parametrize("K", [2, 10, 70])  # dot products, rows in lanes, classes in lanes
def test_targets_and_weights_are_those_of_the_objective(K, kind):
    X, y = data(m=90, N=5, K=K)
    y, options = with_targets(kind, y, K)
    order, rates = np.random.default_rng(3).permutation(90), np.full(6, 0.05)
    found = epoch(X, y, K, order, 16, rates, "nesterov", 0.9, **options)
    expected = epoch_by_numpy(X, y, np.zeros((K, 6)), order, 16, rates, "nesterov", 0.9, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("N", [1, 64, 130])
@pytest.mark.parametrize("layout", ["C", "F", "reversed"])
def test_any_layout_and_float32_samples(layout, N):
    X, y = data(m=70, N=N, K=4, dtype=np.float32)
    view = {"C": X, "F": np.asfortranarray(X), "reversed": X[::-1, ::-1].copy()[::-1, ::-1]}[layout]
    order, rates = np.random.default_rng(3).permutation(70), np.full(3, 0.02)
    found = epoch(view, y, 4, order, 30, rates, "momentum", 0.9)
    expected = epoch_by_numpy(X.astype(np.float64), y, np.zeros((4, N + 1)), order, 30, rates, "momentum", 0.9)
    # Products in float32: some N * eps of gradients of up to 30 samples, times rates that sum to 0.1.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("K", [20, 27, 50, 59])  # panels of all widths, for vectors of 16, 32 and 64 bytes
def test_classes_in_several_panels(K):
    X, y = data(m=40, N=17, K=K)
    order, rates = np.arange(40), np.full(4, 0.1)
    found = epoch(X, y, K, order, 10, rates, "nesterov", 0.9, l2=0.01)
    expected = epoch_by_numpy(X, y, np.zeros((K, 18)), order, 10, rates, "nesterov", 0.9, l2=0.01)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_classes_in_hundreds_by_products_of_blas():
    X, y = data(m=40, N=64, K=600)
    order, rates = np.arange(40), np.full(2, 0.1)
    found = epoch(X, y, 600, order, 20, rates, "nesterov", 0.9, l2=0.01)
    expected = epoch_by_numpy(X, y, np.zeros((600, 65)), order, 20, rates, "nesterov", 0.9, l2=0.01)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_large_batches_give_the_same_bits_on_any_number_of_threads(optimizer, average, monkeypatch):
    monkeypatch.setattr("nbsoftmax.backends.dense.BATCH_CHUNK_WORK", 2**10)
    X, y = data(m=900, N=20, K=5)
    order, rates = np.random.default_rng(4).permutation(900), np.full(3, 0.02)
    given = (X, y, 5, order, 400, rates, optimizer, 0.9)
    one, three = (epoch(*given, average=average, n_threads=n) for n in (1, THREE_THREADS))
    assert one.tobytes() == three.tobytes()
    expected = epoch_by_numpy(X, y, np.zeros((5, 21)), order, 400, rates, optimizer, 0.9, average=average)
    np.testing.assert_allclose(one, expected, rtol=0, atol=1e-12)


def test_without_an_intercept_it_stays_zero():
    X, y = data()
    found = epoch(X, y, 3, np.arange(50), 10, np.full(5, 0.1), "nesterov", 0.9, fit_intercept=False)
    assert (found[:, -1] == 0).all()
    assert (found[:, :-1] != 0).all()


@pytest.mark.parametrize(
    ("name", "at_the_end"), [("constant", 1.0), ("step", 0.01), ("cosine", 0.0), ("inverse", 1 / 1.9)]
)
def test_schedules_fall_from_the_whole_rate(name, at_the_end):
    epochs = np.linspace(0, 9, 91)
    factors = sgd.rate_factors(name, epochs, 9 if name == "cosine" else 10)
    assert factors[0] == 1
    assert (np.diff(factors) <= 0).all()
    assert factors[-1] == pytest.approx(at_the_end, abs=1e-15)


# --- the solver in the trainer --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 32, 10_000])
def test_the_default_rate_suits_any_scale_of_the_data(optimizer, batch_size, scale):
    X, y = data(m=400)
    fit = nbs.Trainer(solver=nbs.SGD(optimizer=optimizer, batch_size=batch_size), fit_intercept=False).fit
    result = fit(X * scale, y)
    best = nbs.Trainer(fit_intercept=False).fit(X, y).objective
    start = np.log(3)
    # Half of the way in 50 epochs, of one step each for the largest batch; measured: 0.77 and more.
    assert start - result.objective >= 0.5 * (start - best)


def test_it_converges_where_the_gap_says_so():
    X, y = data(m=400)
    result = nbs.Trainer(solver="sgd", l2=0.05, max_iter=200, tol=1e-6).fit(X, y)
    best = nbs.Trainer(l2=0.05, tol=1e-10).fit(X, y).objective
    assert result.converged
    assert result.objective - best <= 1e-6 * best
    assert result.n_iter <= 200
    assert "nesterov" in result.summary


def test_not_having_converged_is_said():
    X, y = data(m=400)
    with pytest.warns(nbs.ConvergenceWarning, match=r"max_iter reached \(2 epochs\)"):
        result = nbs.Trainer(solver="sgd", max_iter=2).fit(X, y)
    objective = nbs.Objective(X, y)
    params = np.column_stack([result.model.coef, result.model.intercept])
    assert result.objective == objective.value(params) == result.history["objective"].min()
    assert not result.converged
    assert result.gap > 1e-6 * result.objective


def test_a_rate_that_is_too_large_is_named_and_the_best_parameters_are_kept():
    X, y = data(m=400)
    with pytest.warns(nbs.ConvergenceWarning, match="reduce learning_rate"):
        result = nbs.Trainer(solver=nbs.SGD(learning_rate=1e200)).fit(X, y)
    assert np.isfinite(result.model.coef).all()
    assert result.objective <= np.log(3)
    assert "learning_rate 1e+200 is too large" in result.reason


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("scale", "dtype"), [(1e200, np.float64), (1e30, np.float32)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_features_whose_squares_overflow_are_refused_by_what_to_do(optimizer, scale, dtype):
    X, y = data(m=40)
    trainer = nbs.Trainer(solver=nbs.SGD(optimizer=optimizer))
    with pytest.raises(nbs.InputValueError, match="scale X"):
        trainer.fit((X * scale).astype(dtype), y)
    with pytest.raises(nbs.InputValueError, match="scale X"):
        trainer.partial_fit((X * scale).astype(dtype), y, classes=[0, 1, 2])


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
def test_a_seed_gives_the_same_bits_and_another_one_others():
    X, y = data(m=400)

    def coef(**options):
        return nbs.Trainer(solver="sgd", max_iter=3, **options).fit(X, y).model.coef.tobytes()

    assert coef(random_state=1) == coef(random_state=1, n_threads=THREE_THREADS)
    assert coef(random_state=1) != coef(random_state=2)
    assert coef() == coef(random_state=0)


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
def test_a_resumed_fit_has_the_bits_of_one_that_was_not_interrupted(optimizer, tmp_path):
    X, y = data(m=300)
    solver = nbs.SGD(optimizer=optimizer, average=True)
    options = {"solver": solver, "max_iter": 12}
    whole = nbs.Trainer(**options).fit(X, y)
    path = tmp_path / "fit.npz"
    nbs.Trainer(**options, callbacks=[lambda now: now.n_iter == 5]).fit(X, y, checkpoint=path)
    rest = nbs.Trainer(**options).fit(X, y, checkpoint=path, resume=True)
    assert rest.n_iter == whole.n_iter == 12
    assert rest.model.coef.tobytes() == whole.model.coef.tobytes()
    assert rest.history["objective"].tobytes() == whole.history["objective"].tobytes()
    other = replace(solver, schedule="constant")
    with pytest.raises(nbs.InputValueError, match="another file"):
        nbs.Trainer(solver=other, max_iter=12).fit(X, y, checkpoint=path, resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "rmsprop"}, "optimizer"),
        ({"schedule": "linear"}, "schedule"),
        ({"momentum": 1.0}, "must be less than 1"),
        ({"momentum": -0.1}, "momentum"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(nbs.InputValueError, match=message):
        nbs.SGD(**options)


def test_numbers_of_any_type_are_the_same_options():
    # A checkpoint tells solvers apart by their repr.
    assert repr(nbs.SGD(np.float64(1), np.int64(64), np.float32(0.5))) == repr(nbs.SGD(1, 64, 0.5))


def test_a_smooth_solver_refuses_l1():
    with pytest.raises(nbs.InputValueError, match="cannot minimise"):
        nbs.Trainer(solver=nbs.SGD(), l1=0.1)


# --- streams --------------------------------------------------------------------------------------


def chunks(X, y, size=100):
    return [(X[i : i + size], y[i : i + size]) for i in range(0, len(X), size)]


def test_a_stream_learns_what_a_fit_learns():
    X, y = data(m=20_000)
    best = nbs.Trainer().fit(X, y).model
    trainer = nbs.Trainer(solver=nbs.SGD(average=True))
    for Xs, ys in chunks(X, y):
        model = trainer.partial_fit(Xs, ys, classes=[2, 0, 1])
    new_X, new_y = data(m=20_000)
    objective = nbs.Objective(new_X, new_y)
    loss, least = (objective.value(np.column_stack([m.coef, m.intercept])) for m in (model, best))
    assert loss - least <= 0.01 * least


def test_the_first_chunk_is_one_epoch_and_labels_may_be_missing_from_it():
    X, y = data(m=64)
    labels = np.array(["a", "b", "c"])
    trainer = nbs.Trainer(solver=nbs.SGD(learning_rate=0.05, batch_size=16), l2=0.1)
    few = y < 2
    model = trainer.partial_fit(X[few], labels[y[few]], classes=["c", "a", "b"])
    order = SampleOrder(0, 0).of(int(few.sum()))
    rates = np.full(ceil(few.sum() / 16), 0.05)
    expected = epoch_by_numpy(X[few], y[few], np.zeros((3, 7)), order, 16, rates, "nesterov", 0.9, l2=0.1)
    np.testing.assert_allclose(np.column_stack([model.coef, model.intercept]), expected, rtol=0, atol=1e-13)
    assert model.classes.tolist() == ["a", "b", "c"]
    again = trainer.partial_fit(X, labels[y])
    assert (again.coef != model.coef).all()


def test_a_stream_and_its_copy_continue_independently():
    X, y = data(m=64)
    trainer, twin = nbs.Trainer(solver="sgd"), nbs.Trainer(solver="sgd")
    for one in (trainer, twin):
        one.partial_fit(X[:32], y[:32], classes=[0, 1, 2])
    expected = twin.partial_fit(X[32:], y[32:]).coef.tobytes()
    for one in (copy(trainer), trainer):
        assert one.partial_fit(X[32:], y[32:]).coef.tobytes() == expected


def test_a_stream_of_probabilities_needs_no_classes():
    X, _ = data(m=40)
    proba = np.random.default_rng(5).dirichlet(np.ones(4), 40)
    model = nbs.Trainer(solver="sgd").partial_fit(X, proba)
    assert model.classes.tolist() == [0, 1, 2, 3]


def test_what_does_not_fit_the_stream_is_refused_and_changes_nothing():
    X, y = data(m=40)
    trainer = nbs.Trainer(solver="sgd")
    with pytest.raises(nbs.InputValueError, match="classes is missing"):
        trainer.partial_fit(X, y)
    with pytest.raises(nbs.InputValueError, match="at least two"):
        trainer.partial_fit(X, y, classes=[1])
    twin = nbs.Trainer(solver="sgd")
    for one in (trainer, twin):
        one.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(nbs.InputValueError, match="label 7"):
        trainer.partial_fit(X, np.where(y == 0, 7, y))
    with pytest.raises(nbs.InputValueError, match="4 features, but 6"):
        trainer.partial_fit(X[:, :4], y)
    with pytest.raises(nbs.InputValueError, match="a new Trainer"):
        trainer.partial_fit(X, y, classes=[0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(nbs.InputValueError, match="the parameters diverged"):
            trainer.partial_fit(np.sign(X) * 1e308, y)
    assert trainer.partial_fit(X, y).coef.tobytes() == twin.partial_fit(X, y).coef.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'partial_fit needs solver="sgd"'),
        ({"solver": nbs.SGD(schedule="cosine")}, "a stream has none"),
        ({"solver": "sgd", "class_weight": "balanced"}, "all labels at once"),
    ],
)
def test_options_that_no_stream_can_have_are_refused(options, message):
    X, y = data()
    with pytest.raises(nbs.InputValueError, match=message):
        nbs.Trainer(**options).partial_fit(X, y, classes=[0, 1, 2])


def test_the_state_has_the_names_that_checkpoints_keep():
    assert State._fields == ("params", "velocity", "square", "mean")


@pytest.mark.parametrize("weighted", ["classes", "samples"])
@pytest.mark.parametrize("sparse", [False, True])
def test_weights_count_whatever_the_size_of_the_chunks(weighted, sparse):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    y = (X[:, 0] + 2 * rng.normal(size=2000) > 0).astype(int)
    given = csr_array(X) if sparse else X
    share = {}
    for size in (1, 10, 400, 2000):
        solver = nbs.SGD(learning_rate=0.01, batch_size=1, momentum=0.0)
        trainer = nbs.Trainer(solver=solver, l2=1e-4, class_weight=[1, 10] if weighted == "classes" else None)
        for start in range(0, 2000, size):
            rows = slice(start, start + size)
            weight = np.where(y[rows], 10.0, 1.0) if weighted == "samples" else None
            model = trainer.partial_fit(given[rows], y[rows], classes=[0, 1], sample_weight=weight)
        share[size] = model.predict_proba(X)[:, 1].mean()
    # 0.89 in fits and in chunks of any size; without the weights of chunks of one sample it would be 0.48.
    assert max(share.values()) - min(share.values()) <= 0.03
    assert min(share.values()) >= 0.8


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l2", [0.01, 0.1, 1.0])
def test_the_rate_of_momentum_is_its_formula(l2, fit_intercept):
    rng = np.random.default_rng(0)
    X, y, K = rng.normal(size=(500, 6)), rng.integers(0, 20, 500), 20
    objective = nbs.Objective(X, y, l2=l2, fit_intercept=fit_intercept)
    Z = np.column_stack([X, np.ones(500)]) if fit_intercept else X
    largest = np.linalg.eigvalsh(Z.T @ Z / 500)[-1] / K  # of the curvature at 0, where a (1 - a) + a^2 = 1 / K
    r = (Z**2).sum(axis=1).mean() / 2
    expected = 1 / (largest * K / 2 + 4 * r / (64 * (1 - 0.9)) + l2)
    found = nbs.SGD(batch_size=64, momentum=0.9).initial_rate(objective, (K, 7))
    assert found == pytest.approx(expected, rel=0.05)  # the power method ends after a few products
