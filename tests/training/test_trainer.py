"""The trainer: labels and frames of all kinds, true reports, the optimum that scikit-learn agrees with."""

import contextlib
import sys
import warnings

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.callbacks import EarlyStopping
from nbsoftmax.data import digits
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.training.monitor import FitMonitor


def blobs(n=150, n_classes=3, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, n_features))
    y = rng.integers(0, n_classes, n)
    return centres[y] + rng.normal(size=(n, n_features)), y


def standardised(X):
    X = X.astype(np.float64)
    scale = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1)


@pytest.mark.parametrize(
    "labels",
    [
        [7, -3, 20],
        ["low", "mid", "high"],
        np.array(["a", "b", "c"], object),
        [2.0, 5.0, 9.0],
        np.array([0, 1, 2], np.uint8),
    ],
    ids=["integers", "strings", "objects", "whole floats", "small integers"],
)
def test_labels_of_any_kind_give_the_same_fit_and_come_back(labels):
    X, y = blobs()
    labels = np.asarray(labels)
    order = np.argsort(labels)  # classes are sorted: class k of the fit on indices is labels[order[k]]
    plain = nbs.Trainer(l2=0.01).fit(X, y)
    result = nbs.Trainer(l2=0.01).fit(X, labels[order][y])
    assert np.array_equal(result.model.coef, plain.model.coef)
    assert np.array_equal(result.model.predict(X), labels[order][plain.model.predict(X)])


def test_boolean_labels_are_two_classes():
    X, y = blobs(n_classes=2)
    model = nbs.Trainer(l2=0.01).fit(X, y == 1).model
    assert model.classes.tolist() == [False, True]
    coef, intercept = model.to_sigmoid()
    assert np.abs(nbs.sigmoid(X @ coef + intercept) - model.predict_proba(X)[:, 1]).max() <= 16 * np.finfo(float).eps


def test_rows_of_probabilities_that_are_certain_equal_labels():
    X, y = blobs()
    hard = nbs.Trainer(l2=0.01, tol=1e-10).fit(X, y)
    soft = nbs.Trainer(l2=0.01, tol=1e-10).fit(X, np.eye(3)[y])
    assert abs(hard.objective - soft.objective) <= 1e-10 * hard.objective


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_give_the_model_its_feature_names(library):
    frames = pytest.importorskip(library)
    X, y = blobs()
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame({name: X[:, j] for j, name in enumerate(names)})
    result = nbs.Trainer(l2=0.01).fit(frame, frames.Series(y))
    assert result.model.feature_names == tuple(names)
    assert np.abs(result.model.coef - nbs.Trainer(l2=0.01).fit(X, y).model.coef).max() <= 1e-6
    assert np.array_equal(result.model.predict(frame), result.model.predict(X))


def test_the_report_is_true():
    X, y = blobs()
    result = nbs.Trainer(l2=0.01).fit(X, y)
    objective = nbs.Objective(X, y, l2=0.01)
    params = np.column_stack([result.model.coef, result.model.intercept])
    value, grad = objective.value_and_grad(params)
    assert result.objective == value
    assert result.grad_norm == np.linalg.norm(grad)
    assert result.converged
    assert result.gap <= 1e-6 * value
    history = result.history
    assert {len(entries) for entries in history.values()} == {result.n_iter}
    assert history["objective"][-1] == value
    assert history["grad_norm"][-1] == result.grad_norm
    assert (np.diff(history["seconds"]) >= 0).all()
    assert history["seconds"][-1] <= result.seconds


def test_not_converging_is_said_with_what_to_do():
    X, y = blobs()
    with pytest.warns(nbs.ConvergenceWarning, match="increase max_iter"):
        result = nbs.Trainer(max_iter=2).fit(X, y)
    assert not result.converged
    assert result.n_iter == 2
    with pytest.warns(nbs.ConvergenceWarning, match="reduce learning_rate"):
        result = nbs.Trainer(solver=nbs.GradientDescent(1e6)).fit(X * 100, y)
    assert np.isfinite(result.model.coef).all()


def test_no_warning_where_it_converged():
    X, y = blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nbs.Trainer(l2=0.1).fit(X, y).converged
        assert nbs.Trainer(l2=0.1, solver="gd").fit(X, y).converged


def test_callbacks_see_every_iteration_and_can_stop():
    X, y = blobs()
    seen = []

    def watch(now):
        seen.append((now.n_iter, now.objective, now.params.shape))
        return now.n_iter == 2

    result = nbs.Trainer(callbacks=[watch]).fit(X, y)
    assert [n for n, *_ in seen] == [1, 2]
    assert seen[-1] == (2, result.objective, (3, 5))
    assert not result.converged
    assert result.stop_reason is StopReason.CALLBACK


def test_callbacks_cannot_change_the_parameters_and_may_answer_with_numpys_true():
    X, y = blobs()
    with pytest.raises(ValueError, match="read-only"):
        nbs.Trainer(callbacks=[lambda now: now.params.fill(7)]).fit(X, y)
    assert nbs.Trainer(callbacks=[lambda now: np.bool_(now.n_iter == 3)]).fit(X, y).n_iter == 3


@pytest.mark.parametrize("solver", ["newton-cg", "lbfgs", "gd"])
def test_data_of_extreme_scale_end_with_a_true_report(solver):
    X, y = blobs()
    for scale in (1e200, 1e-200):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nbs.ConvergenceWarning)
            result = nbs.Trainer(solver=solver, max_iter=50).fit(X * scale, y)
        assert np.isfinite(result.model.coef).all()
        assert result.objective <= np.log(3) + 1e-12
        assert result.converged == (result.gap <= 1e-6 * result.objective)


def test_balanced_weights_work_with_probabilities_and_with_a_class_of_weight_zero():
    X, y = blobs()
    soft = np.eye(3)[y]
    hard = nbs.Trainer(l2=0.1, tol=1e-10, class_weight="balanced").fit(X, y)
    assert nbs.Trainer(l2=0.1, class_weight="balanced").fit(X, soft).converged
    without = nbs.Trainer(l2=0.1, class_weight="balanced").fit(X, y, sample_weight=(y != 2).astype(float))
    assert without.converged
    assert hard.converged


def test_ctrl_c_returns_what_there_is_and_says_so():
    X, y = blobs()

    def interrupt(now):
        if now.n_iter == 4:
            raise KeyboardInterrupt

    result = nbs.Trainer(callbacks=[interrupt]).fit(X, y)
    params = np.column_stack([result.model.coef, result.model.intercept])
    assert not result.converged
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.n_iter == 4
    assert result.objective == nbs.Objective(X, y).value(params) == result.history["objective"][-1]


def test_ctrl_c_between_any_two_lines_of_the_bookkeeping_loses_nothing(tmp_path):
    X, y = blobs()
    for line in range(100):
        with interrupted_at(FitMonitor.__call__, n_iter=4, line=line) as reached:
            result = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
        if not reached:
            break
        assert result.stop_reason is StopReason.INTERRUPTED
        assert result.objective < np.log(3)
    assert 5 < line < 99  # there were such lines, and all have had their turn


@contextlib.contextmanager
def interrupted_at(function, *, n_iter, line):
    """Ctrl-C before the given line of one iteration's call; yields a list that stays empty if it never came."""
    reached, lines = [], []

    def trace(frame, event, _):
        if frame.f_code is not function.__code__ or frame.f_locals.get("n_iter") != n_iter:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == line + 1:
                reached.append(True)
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield reached
    finally:
        sys.settrace(before)


def test_ctrl_c_returns_the_best_point_of_a_fit_that_has_got_worse():
    X, y = blobs()

    def interrupt(now):
        if now.n_iter == 6:
            raise KeyboardInterrupt

    result = nbs.Trainer(solver=nbs.GradientDescent(12.0), l2=0.1, callbacks=[interrupt]).fit(2 * X, y)
    history = result.history["objective"]
    assert history.max() > history[0]  # such a rate does overshoot
    assert result.objective <= min(np.log(3), history.min())


def test_a_warm_start_at_the_optimum_needs_no_work():
    X, y = blobs()
    cold = nbs.Trainer(l2=0.01, tol=1e-9).fit(X, y)
    for init in (cold, cold.model, np.column_stack([cold.model.coef, cold.model.intercept])):
        warm = nbs.Trainer(l2=0.01, tol=1e-8).fit(X, y, init=init)
        assert warm.converged
        assert warm.n_iter < cold.n_iter / 2
    with pytest.raises(nbs.InputValueError, match="same classes"):
        nbs.Trainer().fit(X, y + 1, init=cold)
    with pytest.raises(nbs.InputValueError, match="init has shape"):
        nbs.Trainer().fit(X, y, init=np.zeros((2, 2)))


def test_validation_loss_is_in_the_history():
    X, y = blobs(200)
    result = nbs.Trainer(l2=0.01).fit(X[:150], y[:150], validation_data=(X[150:], y[150:]))
    expected = nbs.cross_entropy(result.model.decision_function(X[150:]), y[150:])
    assert abs(result.history["validation_loss"][-1] - expected) <= 1e-12
    with pytest.raises(nbs.InputValueError, match="not trained on"):
        nbs.Trainer().fit(X[:150], y[:150], validation_data=(X[150:], y[150:] + 7))


def test_class_weights_by_label_by_order_and_balanced_agree():
    X, y = blobs()
    names = np.array(["a", "b", "c"])[y]
    counts = np.bincount(y)
    weights = len(y) / (3 * counts)
    fits = [
        nbs.Trainer(l2=0.01, tol=1e-10, class_weight=w).fit(X, names).objective
        for w in ("balanced", dict(zip("abc", weights, strict=True)), weights)
    ]
    assert np.ptp(fits) <= 1e-9
    with pytest.raises(nbs.InputValueError, match="'d', which is no label"):
        nbs.Trainer(class_weight={"d": 2.0}).fit(X, names)


def test_without_an_intercept_it_stays_zero():
    X, y = blobs()
    result = nbs.Trainer(l2=0.01, fit_intercept=False).fit(X, y, init=np.ones((3, 5)))
    assert (result.model.intercept == 0).all()
    assert result.gap_kind == "strong-convexity"


def test_dtype_converts_the_samples():
    X, y = blobs()
    narrow = nbs.Trainer(l2=0.01, dtype="float32").fit(X, y)
    wide = nbs.Trainer(l2=0.01).fit(X, y)
    assert 0 < np.abs(narrow.model.coef - wide.model.coef).max() <= 1e-3


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"solver": "adam"}, nbs.InputValueError, "'adam', expected one of 'auto'"),
        ({"l2": -1.0}, nbs.InputValueError, "l2 is -1"),
        ({"l2": "much"}, nbs.InputTypeError, "l2 is 'much'"),
        ({"l1": -0.5}, nbs.InputValueError, "l1 is -0.5"),
        ({"tol": 0.0}, nbs.InputValueError, "tol is 0"),
        ({"tol": float("nan")}, nbs.InputValueError, "tol is nan"),
        ({"max_iter": 0}, nbs.InputValueError, "max_iter is 0"),
        ({"max_iter": 2.5}, nbs.InputTypeError, "max_iter is 2.5"),
        ({"solver": "adam"}, nbs.InputValueError, "expected one of 'auto', 'newton-cg'"),
        ({"solver": nbs.SGD}, nbs.InputTypeError, r"such as nbsoftmax.SGD\(\)"),
        ({"solver": 3}, nbs.InputTypeError, "solver is 3, expected a name"),
        ({"label_smoothing": 1.5}, nbs.InputValueError, "label_smoothing is 1.5"),
        ({"n_threads": 10_000}, nbs.InputValueError, "NUMBA_NUM_THREADS"),
        ({"device": "tpu"}, nbs.InputValueError, "device is 'tpu'"),
        ({"dtype": "int8"}, nbs.InputTypeError, "expected float32 or float64"),
        ({"callbacks": print}, nbs.InputTypeError, "sequence of functions"),
        ({"callbacks": [3]}, nbs.InputTypeError, "cannot be called"),
        ({"fit_intercept": "yes"}, nbs.InputTypeError, "True or False"),
        ({"random_state": -1}, nbs.InputValueError, "random_state is -1"),
    ],
)
def test_options_out_of_range_are_refused(options, error, said):
    with pytest.raises(error, match=said):
        nbs.Trainer(**options)


@pytest.mark.parametrize(
    ("X", "y", "error", "said"),
    [
        (np.zeros(3), [0, 1, 0], nbs.InputValueError, "1 dimension"),
        (np.zeros((3, 2)), [0, 1], nbs.InputValueError, "X has 3 rows, but y has 2 labels"),
        ([[0.0, 1.0], [np.nan, 2.0]], [0, 1], nbs.InputValueError, "nan at row 1, column 0"),
        ([[0.0, 1.0], [3.0, -np.inf]], [0, 1], nbs.InputValueError, "-inf at row 1, column 1"),
        (np.zeros((3, 2)), [5, 5, 5], nbs.InputValueError, "only the class 5|only the class np.int64"),
        (np.zeros((0, 2)), [], nbs.InputValueError, "no label"),
        (np.zeros((3, 2), object), [0, 1, 0], nbs.InputTypeError, "object"),
        (np.zeros((3, 2), complex), [0, 1, 0], nbs.InputTypeError, "complex"),
        ([["a", "b"], ["c", "d"]], [0, 1], nbs.InputTypeError, "expected float32 or float64"),
        (np.zeros((3, 2)), [0.5, 1.0, 0.0], nbs.InputValueError, "continuous"),
        (np.zeros((3, 2)), [0.0, 1.0, np.nan], nbs.InputValueError, "nan at row 2"),
        (np.zeros((3, 2)), ["a", None, "b"], nbs.InputValueError, "None at row 1: a missing label"),
        (np.zeros((2, 2)), [[0.5, 0.6], [1.0, 0.0]], nbs.InputValueError, "row 0 is not a probability"),
        ([[1.0, 2.0], [3.0]], [0, 1], nbs.InputValueError, "rectangular"),
    ],
)
def test_bad_data_is_refused(X, y, error, said):
    with pytest.raises(error, match=said):
        nbs.Trainer().fit(X, y)


@pytest.mark.parametrize("weight", [[-1.0, 1.0, 1.0], [np.nan, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0]])
def test_bad_sample_weights_are_refused(weight):
    with pytest.raises(nbs.InputValueError, match="sample_weight"):
        nbs.Trainer().fit(np.eye(3), [0, 1, 0], sample_weight=weight)


def test_on_digits_the_optimum_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = digits.load()
    X = X / 16
    agree_with(linear_model, X, y, C=1.0)


@pytest.mark.parametrize("name", ["satellite", "letterrecognition"])
def test_on_real_data_the_optimum_is_that_of_scikit_learn(name, shared_data):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = shared_data(name)
    agree_with(linear_model, standardised(X), y, C=1.0)


def agree_with(linear_model, X, y, *, C):
    l2 = 1 / (C * len(y))
    result = nbs.Trainer(l2=l2).fit(X, y)
    assert result.converged
    theirs = linear_model.LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(X, y)
    objective = nbs.Objective(X, y, l2=l2)
    best = objective.value(np.column_stack([theirs.coef_, theirs.intercept_]))
    assert abs(result.objective - best) <= 1e-6 * best


# --- data without a minimum --------------------------------------------------------------------------


def overlapping(rng):
    return rng.normal(size=(300, 4)), rng.integers(0, 3, 300)


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs", "gd"])
def test_separable_classes_without_a_penalty_are_named(solver):
    X, _ = overlapping(np.random.default_rng(0))
    with pytest.warns(nbs.ConvergenceWarning, match="add l2"):
        result = nbs.Trainer(solver=solver).fit(X, np.where(X[:, 0] > 0, "right", "left"))
    assert not result.converged
    assert result.stop_reason is StopReason.SEPARABLE
    assert "all" in result.reason
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
    assert "products" in result.summary


# --- limits ------------------------------------------------------------------------------------------


def test_max_seconds_ends_the_fit_and_is_named():
    X, y = overlapping(np.random.default_rng(0))
    with pytest.warns(nbs.ConvergenceWarning, match="max_seconds"):
        result = nbs.Trainer(solver="gd", tol=1e-15, max_seconds=1e-9).fit(X, y)
    assert result.n_iter == 1
    assert not result.converged
    assert np.isfinite(result.gap)


def test_early_stopping_restores_the_parameters_of_the_lowest_validation_loss():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 40))  # nearly as many features as samples: the fit learns the noise
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    held_out = rng.normal(size=(500, 40))
    labels = (held_out[:, 0] + rng.normal(size=500) > 0).astype(int)
    fit = {"X": X, "y": y, "validation_data": (held_out, labels)}
    result = nbs.Trainer(solver="lbfgs", l2=1e-6, callbacks=[EarlyStopping(3)]).fit(**fit)  # no warning: requested
    losses = result.history["validation_loss"]
    assert not result.converged
    assert result.stop_reason is StopReason.EARLY_STOPPING
    assert losses.argmin() == losses.size - 4
    reached = nbs.cross_entropy(result.model.decision_function(held_out), labels)
    assert reached == pytest.approx(losses.min(), rel=1e-12)
    assert result.objective == pytest.approx(result.history["objective"][losses.argmin()], rel=1e-12)
    assert result.gap > 0


def test_early_stopping_restores_the_best_parameters_also_of_a_fit_that_converged():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 40))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    held_out = rng.normal(size=(500, 40))
    labels = (held_out[:, 0] + rng.normal(size=500) > 0).astype(int)
    result = nbs.Trainer(l2=1e-3, callbacks=[EarlyStopping(100)]).fit(X, y, validation_data=(held_out, labels))
    reached = nbs.cross_entropy(result.model.decision_function(held_out), labels)
    assert reached == pytest.approx(result.history["validation_loss"].min(), rel=1e-12)


def test_early_stopping_without_validation_data_is_refused():
    with pytest.raises(nbs.InputValueError, match="validation_data"):
        nbs.Trainer(callbacks=[EarlyStopping(3)]).fit(*overlapping(np.random.default_rng(0)))


def test_an_interrupted_fit_still_says_how_far_it_is():
    def interrupt(now):
        if now.n_iter == 3:
            raise KeyboardInterrupt

    result = nbs.Trainer(solver="lbfgs", l2=1e-3, callbacks=[interrupt]).fit(*overlapping(np.random.default_rng(0)))
    assert result.stop_reason is StopReason.INTERRUPTED
    assert 0 < result.gap < np.inf


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton"])
@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")  # the bits count, not the end
def test_weights_beyond_float32_give_the_bits_of_weights_within(solver):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 3, 60)
    options = {"l2": 0.1, "l1": 0.01 if solver == "prox-newton" else 0.0, "max_iter": 5}
    s = rng.integers(1, 5, 60).astype(float)
    expected = nbs.Trainer(solver=solver, **options).fit(X, y, sample_weight=s)
    for unit in (2.0**-1000, 2.0**-150, 2.0**130):
        result = nbs.Trainer(solver=solver, **options).fit(X, y, sample_weight=s * unit)
        assert np.array_equal(result.model.coef, expected.model.coef)
        assert result.objective == expected.objective
        assert result.converged == expected.converged
        weighted = nbs.Trainer(solver=solver, class_weight=[unit] * 3, **options).fit(X, y, sample_weight=s)
        assert np.array_equal(weighted.model.coef, expected.model.coef)
        balanced = nbs.Trainer(solver=solver, class_weight="balanced", **options)
        assert np.array_equal(
            balanced.fit(X, y, sample_weight=s * unit).model.coef, balanced.fit(X, y, sample_weight=s).model.coef
        )


def test_a_fit_that_ctrl_c_ended_says_so_also_where_early_stopping_restores_the_best_parameters():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 3

    def interrupt(now):
        if now.n_iter == 4:
            raise KeyboardInterrupt

    data = {"validation_data": (X, (y + 1) % 3)}  # wrong labels: the loss rises from the first iteration on
    result = nbs.Trainer(solver="gd", callbacks=[interrupt, EarlyStopping(50)]).fit(X, y, **data)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.reason == "interrupted; the model is that of iteration 1"
    assert result.interrupted
    assert not nbs.Trainer(l2=0.1).fit(X, y).interrupted


FLOAT32 = {
    "newton-cg": {"l2": 1e-3},
    "newton-cg, no penalty": {},
    "newton": {"solver": "newton", "l2": 1e-3},
    "lbfgs": {"solver": "lbfgs", "l2": 1e-3},
    "gd": {"solver": "gd", "l2": 1e-3, "max_iter": 50},
    "sgd": {"solver": "sgd", "l2": 1e-3, "max_iter": 3, "label_smoothing": 0.5},
    "prox-newton": {"l1": 1e-3, "l2": 1e-3},
    "stopped": {"l2": 1e-3, "max_iter": 3},
    "stopped early": {"l2": 1e-3, "callbacks": [EarlyStopping(1)]},
    "interrupted": {"l2": 1e-3},
}


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e5])
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
@pytest.mark.parametrize("kind", FLOAT32)
def test_what_a_fit_to_float32_data_says_is_true_of_the_data(kind, tol, shift):
    # Beside features of 1e5 the rounding errors of float32 products are up to a tenth of the logits.
    options = dict(FLOAT32[kind])
    callbacks = options.pop("callbacks", [])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = (X[:, :3] + rng.normal(size=(300, 3))).argmax(axis=1)
    X = (X + shift).astype(np.float32)
    penalties = {name: options.get(name, 0.0) for name in ("l1", "l2", "label_smoothing")}
    J = nbs.Objective(X.astype(np.float64), y, **penalties)

    def interrupt(now):
        if kind == "interrupted" and now.n_iter == 3:
            raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        data = {"validation_data": (X[:50], y[:50])} if kind == "stopped early" else {}
        result = nbs.Trainer(tol=tol, callbacks=[interrupt, *callbacks], **options).fit(X, y, **data)
        best = nbs.Trainer(tol=1e-9, **penalties).fit(X.astype(np.float64), y).objective
    params = np.column_stack([result.model.coef, result.model.intercept])
    value, grad = J.value_and_subgrad(params)
    # Targets are float32 as well where they are smoothed. Of all else only the order of sums differs, of logits of 1e4.
    assert result.objective == pytest.approx(value, rel=1e-10 if penalties["label_smoothing"] == 0 else 1e-7)
    assert result.grad_norm == pytest.approx(np.linalg.norm(grad), rel=1e-6, abs=1e-9 * (1 + shift))
    if kind in ("newton-cg", "newton-cg, no penalty", "newton", "lbfgs", "prox-newton"):
        assert result.converged
    if result.converged:
        assert value - best <= tol * value
    if result.gap_kind != "estimate":
        assert value - best <= result.gap


@pytest.mark.parametrize("n_rows", [8, 12])
@pytest.mark.parametrize("options", [{}, {"validation_fraction": 0.3}], ids=str)
def test_probabilities_that_are_not_as_many_as_the_samples_are_refused(n_rows, options):
    X, proba = np.arange(20.0).reshape(10, 2), np.full((n_rows, 2), 0.5)
    with pytest.raises(nbs.InputValueError, match=f"y has {n_rows} entries, but X has 10 rows"):
        nbs.Trainer(l2=0.1, **options).fit(X, proba)
