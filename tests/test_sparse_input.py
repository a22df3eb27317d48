"""A sparse X in every function that takes samples: the results are those of the dense array."""

import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numba
import numpy as np
import pytest
import scipy.sparse as sp

import nbsoftmax as nbs
from nbsoftmax.backends import transposed
from nbsoftmax.problem import Problem
from nbsoftmax.validation import sparse
from tests.processes import output, run

M, N, K = 120, 15, 4
RNG = np.random.default_rng(0)
D = np.where(RNG.uniform(size=(M, N)) < 0.25, RNG.normal(size=(M, N)), 0.0)
Y = (D @ RNG.normal(size=(N, K)) + RNG.gumbel(size=(M, K))).argmax(axis=1)
Y[:K] = range(K)
S = RNG.uniform(0.5, 2, M)
P = RNG.normal(size=(K, N + 1))
OFFSET = RNG.normal(size=(M, K))
MODEL = nbs.SoftmaxModel(P[:, :-1], P[:, -1], list("abcd"))
SOFT = nbs.softmax(RNG.normal(size=(M, K)))


def unsorted(X):
    """The CSR array X with the entries of each row in reverse order."""
    order = np.concatenate([np.arange(b - 1, a - 1, -1) for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)])
    return sp.csr_array((X.data[order], X.indices[order], X.indptr), shape=X.shape)


FORMS = {
    "csr": lambda dtype: sp.csr_array(D.astype(dtype)),
    "csc matrix": lambda dtype: sp.csc_matrix(D.astype(dtype)),
    "unsorted": lambda dtype: unsorted(sp.csr_array(D.astype(dtype))),
}

# Each takes X and returns numbers that are equal for dense and sparse X up to rounding errors.
SUMS = {
    "value and gradient": lambda X: nbs.Objective(X, Y, l2=0.1).value_and_grad(P)[1],
    "weights": lambda X: nbs.Objective(X, Y, sample_weight=S, class_weight=[1, 2, 3, 4]).value_and_grad(P)[1],
    "offset": lambda X: nbs.Objective(X, Y, offset=OFFSET).value_and_grad(P)[1],
    "no intercept": lambda X: nbs.Objective(X, Y, fit_intercept=False).value_and_grad(P)[1],
    "soft targets": lambda X: nbs.Objective(X, SOFT, sample_weight=S).value_and_grad(P)[1],
    "smoothing": lambda X: nbs.Objective(X, Y, label_smoothing=0.1).value_and_grad(P)[1],
    "subgradient": lambda X: nbs.Objective(X, Y, l1=0.01).value_and_subgrad(P)[1],
    "Hessian-vector product": lambda X: nbs.Objective(X, Y, sample_weight=S, offset=OFFSET).hvp(P, P[::-1]),
    "loss_and_grad": lambda X: nbs.loss_and_grad(X, Y, P[:, :-1], P[:, -1], sample_weight=S)[1],
    "decision_function": MODEL.decision_function,
    "predict_proba": MODEL.predict_proba,
    "predict_log_proba": MODEL.predict_log_proba,
    "top_k": lambda X: MODEL.top_k(X, 3)[1],
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_and_predictions_are_those_of_the_dense_array(name, form, dtype):
    expected, found = SUMS[name](D.astype(dtype)), SUMS[name](FORMS[form](dtype))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    # Sums of at most M or N products of numbers of about 1, added in another order.
    assert np.abs(found - expected).max() <= 16 * np.finfo(dtype).eps * max(1, np.abs(expected).max())


def test_labels_of_a_prediction_are_those_of_the_dense_array():
    X = sp.csr_array(D)
    assert np.array_equal(MODEL.predict(X), MODEL.predict(D))
    assert np.array_equal(MODEL.top_k(X, 3)[0], MODEL.top_k(D, 3)[0])
    truth = MODEL.classes[Y]
    assert MODEL.score(X, truth) == MODEL.score(D, truth)


def test_equally_probable_classes_are_in_the_order_of_the_classes():
    model = nbs.SoftmaxModel(np.ones((5, N)), np.zeros(5), range(5))
    assert not model.predict(sp.csr_array(D)).any()
    assert np.array_equal(model.top_k(sp.csr_array(D), 5)[0], np.tile(np.arange(5), (M, 1)))


def test_predictions_of_no_rows():
    X = sp.csr_array((0, N))
    assert MODEL.predict_proba(X).shape == (0, K)
    assert MODEL.predict(X).shape == (0,)
    assert MODEL.top_k(X, 2)[1].shape == (0, 2)


FITS = {
    "newton-cg": {"l2": 0.01},
    "newton": {"l2": 0.01, "solver": "newton"},
    "lbfgs": {"l2": 0.01, "solver": "lbfgs"},
    "gd": {"l2": 0.1, "solver": "gd"},
    "l1": {"l1": 0.01},
    "elastic net": {"l1": 0.01, "l2": 0.01, "fit_intercept": False},
    "group lasso": {"l1": 0.02, "grouped": True},
    "own penalty": {"penalty": nbs.Ridge(0.01, np.arange(1.0, N + 1))},
    "class weights": {"l2": 0.01, "class_weight": "balanced", "label_smoothing": 0.05},
    "float32": {"l2": 0.01, "dtype": np.float32},
}


@pytest.mark.parametrize("name", FITS)
def test_a_fit_is_that_of_the_dense_array(name):
    tol = 1e-6 if name == "float32" else 1e-9
    ours, theirs = (nbs.Trainer(tol=tol, **FITS[name]).fit(X, Y, sample_weight=S) for X in (sp.csr_array(D), D))
    assert ours.converged
    assert theirs.converged
    assert ours.gap_kind == theirs.gap_kind
    # Both objectives are within tol of one minimum.
    assert abs(ours.objective - theirs.objective) <= 2 * tol * theirs.objective
    assert np.array_equal((ours.model.coef != 0).any(axis=0), (theirs.model.coef != 0).any(axis=0))


def test_validation_data_may_be_sparse_or_dense():
    def history(X, held_out):
        trainer = nbs.Trainer(l2=0.01, solver="lbfgs")  # which takes the same steps for both
        return trainer.fit(X, Y, validation_data=(held_out, Y[:40])).history["validation_loss"]

    expected = history(D, D[:40])
    for X, held_out in ((sp.csr_array(D), sp.csc_array(D[:40])), (sp.csr_array(D), D[:40]), (D, sp.csr_array(D[:40]))):
        assert np.allclose(history(X, held_out), expected, rtol=1e-9, atol=0)


def test_held_out_rows_are_those_of_the_dense_array():
    ours, theirs = (Problem.from_labels(X, Y, sample_weight=S).split(0.3, 1) for X in (sp.csr_array(D), D))
    assert np.array_equal(ours.X.toarray(), theirs.X)
    assert np.array_equal(ours.held_out.X.toarray(), theirs.held_out.X)
    assert np.array_equal(ours.held_out.sample_weight, theirs.held_out.sample_weight)
    trainer = nbs.Trainer(l2=0.01, solver="lbfgs", validation_fraction=0.25)
    ours, theirs = (trainer.fit(X, Y).history["validation_loss"] for X in (sp.csr_array(D), D))
    assert np.allclose(ours, theirs, rtol=1e-9, atol=0)


def test_other_weights_share_x():
    problem = Problem.from_labels(sp.csr_array(D), Y)
    assert not problem.on_device
    assert problem.with_sample_weight(S).X is problem.X


USES = {
    "fit": lambda X: nbs.Trainer(l2=0.1).fit(X, Y),
    "l1": lambda X: nbs.Trainer(l1=0.01).fit(X, Y),
    "estimator": lambda X: nbs.SoftmaxRegression().fit(X, Y),
    "path": lambda X: nbs.fit_path(X, Y, Cs=[0.1, 1.0]),
    "cross-validation": lambda X: nbs.cross_validate(X, Y, Cs=[0.1, 1.0], folds=3),
    "prediction": MODEL.predict,
}


@pytest.mark.parametrize("use", USES)
def test_the_nonzeros_are_searched_for_nan_once(use, monkeypatch):
    seen = []
    search = sparse.first_not_finite
    monkeypatch.setattr(sparse, "first_not_finite", lambda a: seen.append(a.size) or search(a))
    X = sp.csr_array(D)
    USES[use](X)
    assert seen == [X.nnz]


@pytest.mark.parametrize("use", [*USES, "partial_fit"])
@pytest.mark.parametrize("form", ["csr_array", "coo_matrix"])
def test_nan_is_named_by_row_and_column(use, form):
    stream = {"partial_fit": lambda X: nbs.Trainer(solver="sgd").partial_fit(X, Y, classes=range(K))}
    bad = D.copy()
    bad[7, 3] = np.nan
    with pytest.raises(ValueError, match="nan at row 7, column 3"):
        (USES | stream)[use](getattr(sp, form)(bad))


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("options", [{"l2": 0.01}, {"l2": 0.01, "solver": "lbfgs"}, {"l1": 0.01}])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fit_has_the_same_bits_for_every_number_of_threads(options, dtype):
    rng = np.random.default_rng(1)
    X = sp.csr_array(sp.random(3000, 400, density=0.02, random_state=rng)).astype(dtype)
    y = rng.integers(0, 5, 3000)
    most = numba.config.NUMBA_NUM_THREADS
    fits = [nbs.Trainer(n_threads=min(n, most), max_iter=8, **options) for n in (1, 2, 3)]
    with warnings.catch_warnings(action="ignore", category=nbs.ConvergenceWarning):
        coefs = [trainer.fit(X, y).model.coef for trainer in fits]
    assert np.array_equal(coefs[0], coefs[1])
    assert np.array_equal(coefs[0], coefs[2])


COPIES = {
    "loss": (0, lambda X: nbs.Objective(X, Y).value(P)),
    "two gradients": (1, lambda X: [objective.value_and_grad(P) for objective in [nbs.Objective(X, Y)] * 2]),
    "validation data": (1, lambda X: nbs.Trainer(l2=0.1).fit(X, Y, validation_data=(X, Y))),
    "a fraction held out": (1, lambda X: nbs.Trainer(l2=0.1, validation_fraction=0.3).fit(X, Y)),
    "folds": (4, lambda X: nbs.cross_validate(X, Y, Cs=[0.1], folds=3)),
    "predictions": (0, lambda X: nbs.calibrate(MODEL, X, MODEL.classes[Y])),
    "later chunks of a stream": (
        0,
        lambda X: nbs.Trainer(solver=nbs.SGD(learning_rate=0.1)).partial_fit(X, Y, classes=range(K)),
    ),
}


@pytest.mark.parametrize("use", COPIES)
def test_only_gradients_and_products_make_a_transposed_copy(use, monkeypatch):
    made, make = [], transposed._transposed
    monkeypatch.setattr(transposed, "_transposed", lambda *source: made.append(source) or make(*source))
    expected, call = COPIES[use]
    call(sp.csr_array(D))
    assert len(made) == expected


def test_threads_that_need_the_transposed_copy_at_once_share_it(monkeypatch):
    made, make, start = [], transposed._transposed, Barrier(4)

    def slow(*source):
        made.append(source)
        time.sleep(0.1)
        return make(*source)

    monkeypatch.setattr(transposed, "_transposed", slow)
    objective = nbs.Objective(sp.csr_array(D), Y)
    expected = nbs.Objective(D, Y).value_and_grad(P)[1]

    def gradient(_):
        start.wait()
        return objective.value_and_grad(P)[1]

    objective.value(P)  # makes the backend
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(gradient, range(4)):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    assert len(made) == 1


# --- checkpoints --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"l2": 0.01}, {"l1": 0.003}, {"l2": 0.01, "solver": "lbfgs"}])
def test_a_resumed_fit_has_the_bits_of_an_uninterrupted_one(options, tmp_path):
    X = sp.csr_array(D)
    whole = nbs.Trainer(tol=1e-9, **options).fit(X, Y)
    with pytest.warns(nbs.ConvergenceWarning):
        nbs.Trainer(tol=1e-9, max_iter=2, **options).fit(X, Y, checkpoint=tmp_path / "c")
    resumed = nbs.Trainer(tol=1e-9, **options).fit(sp.coo_array(X), Y, checkpoint=tmp_path / "c", resume=True)
    assert resumed.n_iter == whole.n_iter > 2
    assert np.array_equal(resumed.model.coef, whole.model.coef)


def other_value(X):
    X.data[5] += 1
    return X


def other_column(X):
    row = np.flatnonzero(np.diff(X.indptr) == 1)[0]
    X.indices[X.indptr[row]] = (X.indices[X.indptr[row]] + 1) % N
    return X


def other_row(X):
    return sp.csr_array(X.toarray()[np.r_[1, 0, 2:M]])


def other_shape(X):
    return sp.csr_array((X.data, X.indices, X.indptr), shape=(M, N + 1))


@pytest.mark.parametrize("other", [other_value, other_column, other_row, other_shape])
def test_a_checkpoint_of_other_sparse_data_is_refused(other, tmp_path):
    trainer = nbs.Trainer(l2=0.01)
    trainer.fit(sp.csr_array(D), Y, checkpoint=tmp_path / "c")
    with pytest.raises(nbs.InputValueError, match="other data"):
        trainer.fit(other(sp.csr_array(D)), Y, checkpoint=tmp_path / "c", resume=True)


# --- what uses fits and predictions -------------------------------------------------------------------------


def test_a_path_and_cross_validation_are_those_of_the_dense_array():
    ours, theirs = (nbs.fit_path(X, Y, Cs=[0.1, 1.0], tol=1e-10).coefs for X in (sp.csr_array(D), D))
    assert np.allclose(ours, theirs, rtol=0, atol=1e-4)
    options = {"Cs": [0.1, 1.0, 10.0], "folds": 3, "tol": 1e-10}
    ours, theirs = (nbs.cross_validate(X, Y, **options) for X in (sp.csc_array(D), D))
    # Objectives within 1e-10 of their minima have weights within about 1e-5 of theirs.
    assert np.allclose(ours.log_loss, theirs.log_loss, rtol=1e-4, atol=0)
    assert np.array_equal(ours.accuracy, theirs.accuracy)
    assert ours.best == theirs.best


def test_calibration_is_that_of_the_dense_array():
    ours, theirs = (nbs.calibrate(MODEL, X, MODEL.classes[Y]) for X in (sp.csr_array(D), D))
    assert np.allclose(ours.coef, theirs.coef, rtol=1e-9, atol=0)


@pytest.mark.parametrize("cov", ["fisher", "sandwich"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_inference_is_that_of_the_dense_array(cov, dtype):
    few = D[:, :4].astype(dtype)
    ours, theirs = (nbs.Trainer().fit(X, Y).inference(cov=cov) for X in (sp.csr_array(few), few))
    # The estimates solve equations of the same numbers, whose sums differ by rounding errors of float64.
    assert np.allclose(ours.params, theirs.params, rtol=1e-8, atol=1e-8)
    assert np.allclose(ours.covariance, theirs.covariance, rtol=1e-8, atol=1e-12)
    low = [found.predict_interval(X).low for found, X in ((ours, sp.csr_array(few)), (theirs, few))]
    assert np.allclose(*low, rtol=1e-8, atol=1e-12)
    again = nbs.inference(ours.model, sp.coo_array(few), Y, cov=cov)
    assert np.allclose(again.covariance, ours.covariance, rtol=1e-8, atol=1e-12)


def test_inference_with_many_features_is_refused_as_for_an_array():
    X = sp.csr_array(sp.random(50, 20_000, density=0.001, random_state=np.random.default_rng(0)))
    model = nbs.SoftmaxModel(np.zeros((2, 20_000)), [0, 0], [0, 1])
    with pytest.raises(nbs.InputValueError, match="covariance of 20001 parameters would not fit in memory"):
        nbs.inference(model, X, np.arange(50) % 2)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:all"])
def test_a_gpu_is_refused(device):
    X = sp.csr_array(D)
    problem = Problem.from_labels(X, Y)
    calls = [
        lambda: nbs.Objective(X, Y, device=device),
        lambda: nbs.Trainer(device=device).fit(X, Y),
        lambda: nbs.Trainer(device=device).fit(problem),
        lambda: nbs.cross_validate(X, Y, device=device),
        lambda: nbs.SoftmaxRegression(device=device).fit(X, Y),
    ]
    for call in calls:
        with pytest.raises(nbs.InputValueError, match=f"device is '{device}', but X is sparse"):
            call()


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize(
    "fit",
    [
        lambda X: nbs.Trainer(solver="sgd", l2=0.1).fit(X, Y, sample_weight=S).model.coef,
        lambda X: nbs.Trainer(solver="sgd").partial_fit(X, Y, classes=range(K)).coef,
        lambda X: nbs.SoftmaxRegression().partial_fit(X, Y, classes=range(K)).coef_,
    ],
)
def test_mini_batches_are_those_of_the_dense_array(fit):
    # Rounding errors grow a little in hundreds of steps.
    np.testing.assert_allclose(fit(sp.csr_array(D)), fit(D), rtol=0, atol=1e-9)


def test_the_device_auto_is_the_cpu():
    ours, theirs = (nbs.Trainer(l2=0.1, device=device).fit(sp.csr_array(D), Y) for device in ("auto", "cpu"))
    assert np.array_equal(ours.model.coef, theirs.model.coef)


# --- what a process loads, and what it needs ----------------------------------------------------------------


def test_fits_to_arrays_do_not_load_scipy_sparse():
    script = """
        import sys
        import numpy as np
        import nbsoftmax as nbs
        X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
        model = nbs.Trainer(l2=0.1).fit(X, y).model
        model.predict(X), nbs.loss_and_grad(X, y, model.coef, model.intercept)
        print([name for name in sys.modules if name.startswith("scipy.sparse") or name == "nbsoftmax.backends.sparse"])
    """
    assert output(script).strip() == "[]"


HUGE = """
    import resource
    import numpy as np, scipy.sparse as sp, nbsoftmax as nbs

    m, N, per_row = 100_000, 1_000_000, 5
    rng = np.random.default_rng(0)
    columns = rng.integers(0, N, (m, per_row))
    columns[:, 0] = rng.integers(0, 200, m)
    y = (columns[:, 0] % 2) ^ (rng.uniform(size=m) < 0.1)
    X = sp.csr_array((np.ones(m * per_row), columns.ravel(), np.arange(0, m * per_row + 1, per_row)), shape=(m, N))
    nbs.Trainer(l2=1e-2).fit(X[:1000, :100], y[:1000])  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = nbs.Trainer(l2=1e-4, **{options}).fit(X, y)
    model = result.model
    assert result.converged
    assert model.score(X, y) > 0.8
    model.top_k(X, 1), model.predict_proba(X), nbs.calibrate(model, X, rng.permutation(y) | y)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((after - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the largest memory has other units")
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"l1": 1e-3}])
def test_an_x_whose_dense_form_would_not_fit_in_memory(options):
    # The array would have 800 GB. The parameters have 16 MB, and the solvers keep a few dozen arrays of that size.
    done = run(HUGE.replace("{options}", repr(options)))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2000, done.stdout
