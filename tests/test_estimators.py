"""`SoftmaxRegression` is a scikit-learn estimator, and minimises what `LogisticRegression` minimises."""

import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

import nbsoftmax as nbs
from nbsoftmax.models.softmax import one_row, two_rows
from tests import reference

HAS_CALLBACKS = hasattr(nbs.SoftmaxRegression, "set_callbacks")  # scikit-learn 1.9


def problem(n_classes, m=300, n_features=5, seed=0):
    """Overlapping classes with string labels: no penalised or unpenalised fit runs away."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(n_classes, n_features))
    codes = np.arange(m) % n_classes
    X = centers[codes] + 1.5 * rng.normal(size=(m, n_features))
    return X, np.array(["ash", "beech", "cedar", "dogwood"])[codes]


def objective(fitted, X, y, C=1.0, l1_ratio=0.0, weight=1.0):
    """sum_i s_i L_i + (1 - l1_ratio)/(2 C) ||coef_||^2 + l1_ratio/C ||coef_||_1: scikit-learn's, in float64."""
    z = np.asarray(X, np.float64) @ fitted.coef_.T + fitted.intercept_
    z = z if z.shape[1] > 1 else np.hstack([np.zeros_like(z), z])
    losses = -reference.log_softmax(z)[np.arange(len(y)), np.searchsorted(fitted.classes_, y)]
    penalty = (1 - l1_ratio) / 2 * (fitted.coef_**2).sum() + l1_ratio * np.abs(fitted.coef_).sum()
    return (weight * losses).sum() + penalty / C


# --- scikit-learn's own checks --------------------------------------------------------------------


CHECKS = parametrize_with_checks([nbs.SoftmaxRegression(), nbs.SoftmaxRegressionCV(Cs=3, cv=3)])


# Two checks make separable data, whose intercepts run away or whose objective is 0: the warning that comes is right.
@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)  # older ones give pytest an iterator
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


# --- the same objective as LogisticRegression -----------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Line search failed")
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
@pytest.mark.parametrize("n_classes", [2, None])
@pytest.mark.parametrize("name", ["dna", "letterrecognition", "satellite"])
def test_the_objective_is_no_worse_than_that_of_logistic_regression_on_real_data(shared_data, name, n_classes, solver):
    X, y = shared_data(name)
    rows = np.flatnonzero(y < (n_classes or y.max() + 1))
    rows = rows[:: max(1, rows.size // 400)]
    X, y = X[rows].astype(np.float64), y[rows]
    ours = nbs.SoftmaxRegression(tol=1e-10).fit(X, y)
    theirs = LogisticRegression(tol=1e-10, solver=solver, max_iter=500).fit(X, y)
    # Ours promises to be within tol of the minimum, relative to it, and theirs is not below the minimum.
    assert ours.converged_
    assert objective(ours, X, y) <= objective(theirs, X, y) * (1 + 1e-10)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0, np.inf])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_coefficients_are_those_of_logistic_regression(n_classes, C, fit_intercept):
    X, y = problem(n_classes)
    s = np.random.default_rng(1).uniform(0.5, 2.0, y.size)
    ours = nbs.SoftmaxRegression(C, fit_intercept=fit_intercept, class_weight={"ash": 3.0}, tol=1e-14)
    theirs = LogisticRegression(
        C=C, fit_intercept=fit_intercept, class_weight={"ash": 3.0}, tol=1e-12, solver="newton-cholesky"
    )
    ours.fit(X, y, sample_weight=s)
    theirs.fit(X, y, sample_weight=s)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    # A share d of the objective above the minimum is a distance of about sqrt(d) in the parameters: 1e-7 here.
    weights = [ours.coef_ - ours.coef_.mean(axis=0), theirs.coef_ - theirs.coef_.mean(axis=0)]
    if n_classes == 2:
        weights = [ours.coef_, theirs.coef_]
    np.testing.assert_allclose(*weights, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.decision_function(X).shape, theirs.decision_function(X).shape)
    assert (ours.predict(X) == theirs.predict(X)).all()
    assert ours.predict(X).dtype == theirs.predict(X).dtype


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_a_share_of_l1_means_what_it_means_to_logistic_regression(n_classes, l1_ratio):
    X, y = problem(n_classes)
    ours = nbs.SoftmaxRegression(0.1, l1_ratio=l1_ratio, tol=1e-10).fit(X, y)  # rounding errors end fits at 1e-11
    theirs = saga(l1_ratio).fit(X, y)
    assert objective(ours, X, y, 0.1, l1_ratio) <= objective(theirs, X, y, 0.1, l1_ratio) * (1 + 1e-10)
    # As above: the distance of the coefficients is about the root of that of the objectives, 1e-10 for "saga".
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    assert np.array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    assert l1_ratio < 1 or (ours.coef_ == 0).any()


def saga(l1_ratio):
    options = {"C": 0.1, "l1_ratio": l1_ratio, "solver": "saga", "tol": 1e-10, "max_iter": 100_000, "random_state": 0}
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        options["penalty"] = "elasticnet"
    return LogisticRegression(**options)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
def test_the_penalty_of_one_row_is_that_of_the_cheapest_two_rows(l1_ratio):
    X, y = problem(2, m=60)
    rng = np.random.default_rng(2)
    C, coef, intercept = 0.7, rng.normal(size=(1, 5)), rng.normal(size=1)
    estimator = nbs.SoftmaxRegression(C, l1_ratio=l1_ratio)
    l1, l2 = estimator._penalties(float(y.size), 2)
    two = reference.Objective(X, np.searchsorted(["ash", "beech"], y), 2, l1=l1, l2=l2)
    best = two.value_and_grad(np.column_stack(two_rows(coef, intercept)))[0]
    estimator.coef_, estimator.intercept_, estimator.classes_ = coef, intercept, np.array(["ash", "beech"])
    np.testing.assert_allclose(best, objective(estimator, X, y, C, l1_ratio) / y.size, rtol=1e-14)
    shifts = rng.normal(size=(20, 5))  # the same difference, another pair
    others = [two.value_and_grad(np.column_stack(two_rows(coef, intercept)) + np.append(v, 0.0))[0] for v in shifts]
    assert min(others) >= best * (1 - 1e-14)
    np.testing.assert_array_equal(one_row(*two_rows(coef, intercept))[0], coef)


def test_balanced_classes_count_weights_of_samples():
    X, y = problem(3)
    s = np.where(y == "ash", 4.0, 1.0)
    balanced = nbs.SoftmaxRegression(class_weight="balanced", tol=1e-14).fit(X, y, s)
    share = {label: s.sum() / (3 * s[y == label].sum()) for label in balanced.classes_}
    explicit = nbs.SoftmaxRegression(class_weight=share, tol=1e-14).fit(X, y, s)
    np.testing.assert_allclose(balanced.coef_, explicit.coef_, rtol=1e-12)


def test_label_smoothing_is_that_of_cross_entropy():
    X, y = problem(3)
    fitted = nbs.SoftmaxRegression(C=np.inf, label_smoothing=0.1, tol=1e-14).fit(X, y)
    loss = nbs.cross_entropy(fitted.decision_function(X), np.searchsorted(fitted.classes_, y), label_smoothing=0.1)
    np.testing.assert_allclose(fitted.history_["objective"][-1], loss, rtol=1e-13)
    # The least that smoothed targets allow is their entropy.
    target = np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    assert loss > -xlogy(target, target).sum()


# --- parameters and attributes --------------------------------------------------------------------


def test_the_report_says_how_the_fit_went():
    X, y = problem(3)
    fitted = nbs.SoftmaxRegression(tol=1e-8).fit(X, y)
    assert fitted.converged_
    assert 0 <= fitted.gap_ <= 1e-8 * fitted.history_["objective"][-1]
    assert fitted.n_iter_.shape == (1,)
    assert fitted.n_iter_[0] == fitted.history_["objective"].size > 0
    np.testing.assert_allclose(fitted.history_["objective"][-1], objective(fitted, X, y) / y.size, rtol=1e-13)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_warm_start_at_the_minimum_has_nothing_to_do(n_classes):
    X, y = problem(n_classes)
    estimator = nbs.SoftmaxRegression(warm_start=True).fit(X, y)
    first = estimator.coef_
    assert estimator.n_iter_[0] > 0
    assert estimator.fit(X, y).n_iter_[0] == 0
    np.testing.assert_allclose(estimator.coef_, first, rtol=1e-15, atol=1e-15)


def test_a_warm_start_from_other_classes_or_features_is_refused():
    X, y = problem(3)
    estimator = nbs.SoftmaxRegression(warm_start=True).fit(X, y)
    with pytest.raises(nbs.InputValueError, match="warm_start=True, but the last fit was of 5 features"):
        estimator.fit(X[:, :4], y)
    with pytest.raises(nbs.InputValueError, match=r"'cedar'.*'beech'"):
        estimator.fit(X[y != "cedar"], y[y != "cedar"])
    assert estimator.coef_.shape == (3, 5)


@pytest.mark.parametrize("category", [nbs.ConvergenceWarning, sklearn.exceptions.ConvergenceWarning])
def test_filters_for_either_convergence_warning_hold(category):
    X, y = problem(3)
    with pytest.warns(category, match="max_iter reached"):
        fitted = nbs.SoftmaxRegression(solver="gd", max_iter=1).fit(X, y)
    assert not fitted.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        fitted.fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"C": 0.0}, nbs.InputValueError, "C is 0"),
        ({"C": -np.inf}, nbs.InputValueError, "C is -inf"),
        ({"C": "1"}, nbs.InputTypeError, "C is '1'"),
        ({"l1_ratio": 1.5}, nbs.InputValueError, "l1_ratio is 1.5"),
        ({"class_weight": "even"}, nbs.InputValueError, "class_weight is 'even'"),
        ({"class_weight": {"ash": 0, "beech": 0, "cedar": 0}}, ValueError, "class_weight is all zero"),
        ({"class_weight": {"ash": -1.0}}, ValueError, r"class_weight\['ash'\] is -1"),
        ({"class_weight": {"ash": np.nan}}, ValueError, r"class_weight\['ash'\] is nan"),
        ({"class_weight": {np.str_("oak"): 2.0}}, ValueError, "names 'oak', which is no label in y .*'ash', 'beech'"),
        ({"solver": "saga"}, nbs.InputValueError, "solver is 'saga'"),
        ({"random_state": -1}, nbs.InputValueError, "random_state is -1"),
        ({"n_jobs": 0}, ValueError, "n_jobs"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, error, message):
    with pytest.raises(error, match=message):
        nbs.SoftmaxRegression(**parameters).fit(*problem(3))


def test_threads_and_seeds_are_given_as_to_scikit_learn():
    X, y = problem(3)
    first = nbs.SoftmaxRegression().fit(X, y)
    for n_jobs in (1, 2, -1, 10_000):
        again = nbs.SoftmaxRegression(n_jobs=n_jobs, random_state=np.random.RandomState(0)).fit(X, y)
        np.testing.assert_array_equal(again.coef_, first.coef_)


def test_labels_may_be_objects_and_come_back_as_they_were():
    X, y = problem(2)
    fitted = nbs.SoftmaxRegression().fit(X, y.astype(object))
    assert fitted.predict(X).dtype == object
    assert fitted.score(X, y) == LogisticRegression().fit(X, y).score(X, y)


def test_frames_of_pandas_keep_their_names():
    X, y = problem(3)
    frame = pd.DataFrame(X, columns=list("abcde"))
    fitted = nbs.SoftmaxRegression().fit(frame, pd.Series(y))
    assert fitted.feature_names_in_.tolist() == list("abcde")
    assert fitted.model_.feature_names == tuple("abcde")
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[list("bacde")])


def test_probabilities_have_the_dtype_of_the_data():
    X, y = problem(3)
    fitted = nbs.SoftmaxRegression().fit(X.astype(np.float32), y)
    assert fitted.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert fitted.predict_proba(X).dtype == np.float64
    assert fitted.coef_.dtype == np.float64


def test_log_probabilities_are_finite_where_probabilities_underflow():
    fitted = nbs.SoftmaxRegression().fit(*problem(2))
    far = np.full((1, 5), 1e4) * np.sign(fitted.coef_)
    assert fitted.predict_proba(far)[0, 0] == 0
    assert np.isfinite(fitted.predict_log_proba(far)).all()


def test_the_model_is_there_once_fitted():
    estimator = nbs.SoftmaxRegression()
    with pytest.raises(NotFittedError):
        _ = estimator.model_
    X, y = problem(2)
    estimator.fit(X, y)
    np.testing.assert_array_equal(estimator.model_.predict_proba(X), estimator.predict_proba(X))
    assert (estimator.model_.predict(X) == estimator.predict(X)).all()


def test_assigned_coefficients_are_what_predicts():
    # As federated learning does it: average the coefficients of several fits, and predict.
    X, y = problem(3)
    estimator = nbs.SoftmaxRegression().fit(X, y)
    estimator.coef_ = np.zeros_like(estimator.coef_)
    estimator.intercept_ = np.array([0.0, 1.0, 0.0])
    assert set(estimator.predict(X)) == {"beech"}


# --- among scikit-learn's tools -------------------------------------------------------------------


def test_a_pipeline_with_frames_predicts_as_its_steps_do():
    X, y = problem(3)
    frame = pd.DataFrame(X, columns=list("abcde"))
    pipeline = make_pipeline(StandardScaler(), nbs.SoftmaxRegression()).set_output(transform="pandas").fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == list("abcde")
    alone = nbs.SoftmaxRegression().fit(StandardScaler().fit_transform(X), y)
    np.testing.assert_array_equal(pipeline.predict(frame), alone.predict(StandardScaler().fit_transform(X)))


def test_a_pickle_and_a_clone_give_the_same_bits():
    X, y = problem(3)
    fitted = nbs.SoftmaxRegression(C=0.5).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    fresh = clone(fitted)
    assert not hasattr(fresh, "coef_")
    np.testing.assert_array_equal(fresh.fit(X, y).coef_, fitted.coef_)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_over_two_jobs_gives_the_bits_of_one(backend):
    from joblib import parallel_config

    X, y = problem(3)
    grid = {"C": [0.1, 1.0, 10.0]}
    alone = GridSearchCV(nbs.SoftmaxRegression(), grid, cv=3).fit(X, y)
    with parallel_config(backend):
        together = GridSearchCV(nbs.SoftmaxRegression(), grid, cv=3, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(together.best_estimator_.coef_, alone.best_estimator_.coef_)


def test_processes_of_a_search_share_the_cores_among_them():
    script = """
        import joblib, numba, numpy as np, nbsoftmax as nbs
        from sklearn.model_selection import cross_val_score

        def threads(estimator, X, y):
            return numba.get_num_threads()

        X = np.random.default_rng(0).normal(size=(60, 2))
        counts = cross_val_score(nbs.SoftmaxRegression(), X, X[:, 0] > X[:, 1] ** 2, cv=2, scoring=threads, n_jobs=2)
        print(int(counts.max()), max(1, joblib.cpu_count() // 2))
    """
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    most, share = map(int, done.stdout.split())
    assert most <= share


def test_sample_weights_are_routed_through_meta_estimators():
    X, y = problem(3)
    weight = np.where(y == "ash", 1.0, 0.05)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = nbs.SoftmaxRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        plain = cross_validate(estimator, X, y, cv=3, return_estimator=True)
        routed = cross_validate(estimator, X, y, cv=3, params={"sample_weight": weight}, return_estimator=True)
    shares = [np.mean(np.concatenate([e.predict(X) for e in r["estimator"]]) == "ash") for r in (plain, routed)]
    assert shares[1] > shares[0]


@pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn before 1.9 has no callbacks")
class TestCallbacks:
    class Recorder:
        """Keeps what it hears, and asks to stop, or raises, after some iterations."""

        def __init__(self, stop_after=None, error=None):
            self.events, self.scores, self.stop_after, self.error = [], [], stop_after, error

        def setup(self, estimator, context):
            self.events.append("setup")

        def teardown(self, estimator, context):
            self.events.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.events.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator, metadata):
            self.events.append(f"end {context.task_name}")
            if fitted_estimator is not None:
                self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
            ended = self.events.count("end iteration")
            if ended == self.stop_after:
                if self.error is not None:
                    raise self.error
                return True
            return False

    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("max_iter", [None, 50])
    def test_every_iteration_is_a_task_with_an_estimator_that_predicts(self, n_classes, max_iter):
        X, y = problem(n_classes)
        heard = self.Recorder()
        fitted = nbs.SoftmaxRegression(max_iter=max_iter).set_callbacks(heard)
        fitted.fit(X, y, sample_weight=np.ones(y.size))
        n = fitted.n_iter_[0]
        pairs = ["begin iteration", "end iteration"] * (n + 1)  # the last is the one that was not needed any more
        assert heard.events == ["setup", "begin fit", *pairs, "end fit", "teardown"]
        assert len(heard.scores) == n + 1
        assert heard.scores[-2:] == [fitted.score(X, y)] * 2

    @pytest.mark.filterwarnings("error::nbsoftmax.ConvergenceWarning")  # who asked to stop need not be told
    def test_a_callback_that_asks_to_stop_is_obeyed(self):
        X, y = problem(3)
        heard = self.Recorder(stop_after=2)
        fitted = nbs.SoftmaxRegression(solver="gd").set_callbacks(heard).fit(X, y)
        assert nbs.SoftmaxRegression(solver="gd").fit(X, y).n_iter_[0] > 2
        assert fitted.n_iter_[0] == 2
        assert heard.events[-2:] == ["end fit", "teardown"]

    @pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
    def test_a_fit_may_use_all_its_iterations_as_tasks(self):
        heard = self.Recorder()
        nbs.SoftmaxRegression(solver="gd", max_iter=3).set_callbacks(heard).fit(*problem(3))
        assert len(heard.scores) == 3 + 1

    def test_an_interruption_keeps_what_was_reached_and_goes_on(self):
        X, y = problem(3)
        interrupted = nbs.SoftmaxRegression(solver="gd").set_callbacks(self.Recorder(3, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            interrupted.fit(X, y)
        assert not interrupted.converged_
        assert interrupted.score(X, y) > 1 / 3

    def test_an_error_of_a_callback_is_the_users_to_see(self):
        heard = self.Recorder(1, ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            nbs.SoftmaxRegression().set_callbacks(heard).fit(*problem(3))
        assert heard.events[-1] == "teardown"

    def test_scikit_learns_monitor_sees_the_score_grow(self):
        from sklearn.callback import ScoringMonitor

        X, y = problem(3)
        monitor = ScoringMonitor(scoring="neg_log_loss")
        nbs.SoftmaxRegression(C=np.inf).set_callbacks(monitor).fit(X, y)
        scores = [row["neg_log_loss"] for row in monitor.get_logs().data if row["task_name"] == "iteration"]
        assert len(scores) > 1
        assert scores == sorted(scores)


# --- to scikit-learn and back ---------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("names", [None, list("abcde")])
def test_a_model_of_a_logistic_regression_and_back_gives_the_same_probabilities(n_classes, names):
    X, y = problem(n_classes)
    X = X if names is None else pd.DataFrame(X, columns=names)
    theirs = LogisticRegression().fit(X, y)
    model = nbs.SoftmaxModel.from_sklearn(theirs)
    assert model.classes.tolist() == theirs.classes_.tolist()
    assert model.feature_names == (None if names is None else tuple(names))
    # exp of logits near 10, each rounded in another order of adding up: some ten eps.
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), rtol=1e-13)
    back = model.to_sklearn()
    np.testing.assert_allclose(back.predict_proba(X), theirs.predict_proba(X), rtol=1e-13)
    assert (back.predict(X) == theirs.predict(X)).all()
    np.testing.assert_array_equal(back.coef_, theirs.coef_)
    np.testing.assert_array_equal(back.intercept_, theirs.intercept_)
    assert getattr(back, "feature_names_in_", None) is None or list(back.feature_names_in_) == names
    assert back.score(X, y) == theirs.score(X, y)


def test_a_model_of_unsorted_classes_reaches_scikit_learn_sorted():
    X, _ = problem(2)
    model = nbs.SoftmaxModel(np.eye(3, 5), [0.0, 1.0, 2.0], ["c", "a", "b"])
    theirs = model.to_sklearn()
    assert theirs.classes_.tolist() == ["a", "b", "c"]
    assert (theirs.predict(X) == model.predict(X)).all()
    two = nbs.SoftmaxModel(np.eye(2, 5), [0.0, 1.0], ["yes", "no"])
    np.testing.assert_allclose(two.to_sklearn().predict_proba(X), two.predict_proba(X)[:, ::-1], rtol=1e-13)


def test_a_sparse_coefficient_matrix_is_taken_as_well():
    X, y = problem(3)
    theirs = LogisticRegression().fit(X, y)
    dense = theirs.coef_.copy()
    np.testing.assert_array_equal(nbs.SoftmaxModel.from_sklearn(theirs.sparsify()).coef, dense)


@pytest.mark.filterwarnings("ignore:'multi_class' was deprecated:FutureWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_older_kinds_of_logistic_regression_are_taken_for_what_they_are(n_classes):
    X, y = problem(n_classes)
    if "multi_class" not in LogisticRegression().get_params():
        pytest.skip("scikit-learn since 1.8 has one kind only")
    multinomial = LogisticRegression(multi_class="multinomial").fit(X, y)
    model = nbs.SoftmaxModel.from_sklearn(multinomial)
    np.testing.assert_allclose(model.predict_proba(X), multinomial.predict_proba(X), rtol=1e-12)
    one_versus_rest = LogisticRegression(multi_class="ovr").fit(X, y)
    if n_classes == 3:
        with pytest.raises(nbs.InputValueError, match="one-versus-rest"):
            nbs.SoftmaxModel.from_sklearn(one_versus_rest)
    else:
        model = nbs.SoftmaxModel.from_sklearn(one_versus_rest)
        np.testing.assert_allclose(model.predict_proba(X), one_versus_rest.predict_proba(X), rtol=1e-12)


def test_what_is_no_fitted_logistic_regression_is_refused():
    with pytest.raises(nbs.InputTypeError, match="not a Pipeline; of a pipeline give the last step"):
        nbs.SoftmaxModel.from_sklearn(make_pipeline(LogisticRegression()))
    with pytest.raises(nbs.InputValueError, match="not fitted"):
        nbs.SoftmaxModel.from_sklearn(LogisticRegression())


@pytest.mark.parametrize(
    "use",
    ["from nbsoftmax import SoftmaxRegression", "nbs.SoftmaxModel([[1.0], [2.0]], [0.0, 1.0], [0, 1]).to_sklearn()"],
)
def test_without_scikit_learn_one_line_says_what_to_install(use):
    script = f"""
        import sys
        sys.modules["sklearn"] = None
        import nbsoftmax as nbs
        try:
            {use}
        except ImportError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert 'pip install "nbsoftmax[sklearn]"' in done.stdout
    assert len(done.stdout.splitlines()) == 1


# --- streams ---------------------------------------------------------------------------------------


def test_a_stream_comes_near_what_a_fit_reaches():
    X, y = problem(3, m=6000)
    whole = nbs.SoftmaxRegression().fit(X, y)
    stream = nbs.SoftmaxRegression()
    for start in range(0, 6000, 500):
        chunk = slice(start, start + 500)
        stream.partial_fit(X[chunk], y[chunk], classes=["cedar", "ash", "beech"])
    assert stream.classes_.tolist() == ["ash", "beech", "cedar"]
    # One pass of 6000 samples; measured 0.4% above.
    assert objective(stream, X, y) <= 1.02 * objective(whole, X, y)
    assert (stream.converged_, stream.gap_) == (False, np.inf)


def test_a_stream_begins_where_a_fit_ended_and_survives_pickling():
    X, y = problem(2)
    fitted = nbs.SoftmaxRegression().fit(X, y)
    before = fitted.coef_.copy()
    after = fitted.partial_fit(X[:64], y[:64]).coef_
    assert 0 < np.abs(after - before).max() < 0.5 * np.abs(before).max()
    again = pickle.loads(pickle.dumps(fitted))
    assert again.partial_fit(X[64:], y[64:]).coef_.tobytes() == fitted.partial_fit(X[64:], y[64:]).coef_.tobytes()
    assert np.allclose(fitted.fit(X, y).coef_, before)  # which begins anew


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        ({}, None, "classes is missing"),
        ({}, ["ash", "cedar"], "not in classes"),
    ],
)
def test_a_stream_refuses_what_it_cannot_learn(options, classes, message):
    X, y = problem(2)
    with pytest.raises(ValueError, match=message):
        nbs.SoftmaxRegression(**options).partial_fit(X, y, classes=classes)


NO_STREAM = [({"l1_ratio": 0.5}, "l1_ratio is 0.5"), ({"class_weight": "balanced"}, "all labels at once")]


@pytest.mark.parametrize(("options", "why"), NO_STREAM)
def test_partial_fit_is_no_method_where_it_would_refuse(options, why):
    estimator = nbs.SoftmaxRegression(**options)
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as caught:
        _ = estimator.partial_fit
    assert why in str(caught.value.__cause__)


def checks_of_streams():
    """Those of scikit-learn's checks that call `partial_fit` where an estimator has it."""
    with_options = parametrize_with_checks([nbs.SoftmaxRegression(**options) for options, _ in NO_STREAM])
    for estimator, check in with_options.args[1]:
        if "partial_fit" in inspect.getsource(check.func):
            yield pytest.param(estimator, check, id=f"{estimator}-{check.func.__name__}")


@pytest.mark.parametrize(("estimator", "check"), list(checks_of_streams()))
def test_scikit_learns_checks_pass_where_there_is_no_partial_fit(estimator, check):
    check(estimator)


# --- labels and class weights ---------------------------------------------------------------------


def test_class_weights_are_by_label_and_texts_of_numbers_are_no_numbers():
    X, _ = problem(3, m=90)
    y = np.array(["01", "1", "2"])[np.arange(90) % 3]
    weights = {"01": 2.0, "1": 3.0, "2": 0.5}
    by_label = nbs.SoftmaxRegression(class_weight=weights, tol=1e-12).fit(X, y)
    by_sample = nbs.SoftmaxRegression(tol=1e-12).fit(X, y, [weights[label] for label in y])
    np.testing.assert_allclose(by_label.coef_, by_sample.coef_, atol=1e-6)  # tol bounds the square of the distance
    for estimator in (nbs.SoftmaxRegression, nbs.SoftmaxRegressionCV):
        with pytest.raises(nbs.InputValueError, match="class_weight names 1, which is no label in y"):
            estimator(class_weight={1: 5.0}).fit(X, y)


def test_messages_name_labels_rather_than_their_indices():
    X, y = problem(3, m=60)
    y = np.where(y == "cedar", "owl", y)
    folds = [(np.flatnonzero(y != "owl"), np.arange(9)), (np.arange(60), np.arange(9))]
    with pytest.raises(nbs.InputValueError, match="class 'owl' has 20 samples, but none in the training part"):
        nbs.SoftmaxRegressionCV(cv=folds).fit(X, y)
    apart = np.column_stack([X, y == "owl"])
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: 'owl'"):
        nbs.SoftmaxRegression(C=np.inf).fit(apart, y)
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: 'owl'"):
        nbs.cross_validate(apart, y, Cs=[np.inf], folds=2)
    with pytest.raises(nbs.InputValueError, match=r"one class only \('owl'\)"):
        nbs.SoftmaxRegression().fit(X, ["owl"] * 60)
    with pytest.raises(nbs.InputValueError, match="y contains 'owl', which is not in classes"):
        nbs.SoftmaxRegression().partial_fit(X, y, classes=["ash", "beech"])


# --- selection of features ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [nbs.SoftmaxRegression(0.1, l1_ratio=1.0), nbs.SoftmaxRegressionCV([0.1], l1_ratios=[1.0], cv=2)],
    ids=["SoftmaxRegression", "SoftmaxRegressionCV"],
)
def test_select_from_model_keeps_every_feature_with_a_weight_after_a_lasso(estimator):
    X, y = problem(2, n_features=10)
    X[:, 5:] *= 0.2  # features of small weights, below the mean of all
    chosen = SelectFromModel(estimator).fit(X, y)
    weighted = (chosen.estimator_.coef_ != 0).any(axis=0)
    assert chosen.threshold_ == pytest.approx(1e-5)
    assert np.array_equal(chosen.get_support(), weighted)
    assert weighted.sum() < 10
    ridge = SelectFromModel(nbs.SoftmaxRegression()).fit(X, y)
    assert ridge.threshold_ == pytest.approx(np.abs(ridge.estimator_.coef_).mean())


# --- the choice of C -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_cv_scores_are_those_of_fits_to_the_folds(n_classes):
    X, y = problem(n_classes)
    folds = list(StratifiedKFold(3).split(X, y))
    search = nbs.SoftmaxRegressionCV(Cs=[0.01, 1.0], l1_ratios=[0.0, 0.5], cv=folds, tol=1e-10).fit(X, y)
    assert search.scores_.shape == (3, 2, 2)
    for f, (train, test) in enumerate(folds):
        for i, ratio in enumerate([0.0, 0.5]):
            for j, C in enumerate([0.01, 1.0]):
                one = nbs.SoftmaxRegression(C, l1_ratio=ratio, tol=1e-10).fit(X[train], y[train])
                expected = -log_loss(y[test], one.predict_proba(X[test]), labels=one.classes_)
                assert search.scores_[f, i, j] == pytest.approx(expected, rel=1e-5)
    mean = search.scores_.mean(axis=0)
    i, j = np.unravel_index(mean.argmax(), mean.shape)
    assert (search.C_, search.l1_ratio_) == ([0.01, 1.0][j], [0.0, 0.5][i])
    chosen = nbs.SoftmaxRegression(search.C_, l1_ratio=search.l1_ratio_, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(search.coef_, chosen.coef_, atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_cv_chooses_the_c_of_logistic_regression_cv():
    X, y = problem(3)
    folds = list(StratifiedKFold(4).split(X, y))
    ours = nbs.SoftmaxRegressionCV(Cs=5, cv=folds, tol=1e-8).fit(X, y)
    theirs = LogisticRegressionCV(Cs=5, cv=folds, scoring="neg_log_loss", tol=1e-8, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(ours.Cs_, theirs.Cs_)
    assert pytest.approx(np.ravel(theirs.C_)[0]) == ours.C_
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)


def test_the_rule_of_one_standard_error_takes_a_smaller_c():
    X, y = problem(3)
    best = nbs.SoftmaxRegressionCV(Cs=20).fit(X, y)
    simple = nbs.SoftmaxRegressionCV(Cs=20, refit="one-standard-error").fit(X, y)
    assert simple.C_ < best.C_
    for odd in ({"scoring": "f1"}, {"refit": "last"}):
        with pytest.raises(ValueError, match=next(iter(odd))):
            nbs.SoftmaxRegressionCV(**odd).fit(X, y)


# --- what cannot be learned from ------------------------------------------------------------------


ESTIMATORS = {"SoftmaxRegression": nbs.SoftmaxRegression(), "SoftmaxRegressionCV": nbs.SoftmaxRegressionCV([1.0], cv=2)}


def masked(a):
    result = np.ma.array(a)
    result[3] = np.ma.masked
    return result


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.parametrize("what", ["X", "y", "sample_weight"])
def test_masked_values_are_refused(estimator, what):
    X, y = problem(3, m=30)
    given = {"X": X, "y": y, "sample_weight": np.ones(len(y))}
    hidden = {**given, what: masked(given[what])}
    estimator = clone(estimator)
    with pytest.raises(nbs.InputValueError, match=f"{what} is a masked array"):
        estimator.fit(**hidden)
    estimator.fit(**given)
    with pytest.raises(nbs.InputValueError, match=f"{what} is a masked array"):
        estimator.score(**hidden)
    if what == "X":
        with pytest.raises(nbs.InputValueError, match="X is a masked array"):
            estimator.predict(hidden["X"])
    elif hasattr(estimator, "partial_fit"):
        with pytest.raises(nbs.InputValueError, match=f"{what} is a masked array"):
            estimator.partial_fit(**hidden)


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_labels_in_an_array_of_objects_are_read_as_the_trainer_reads_them(estimator):
    X, y = problem(3, m=30)
    estimator = clone(estimator)
    missing = y.astype(object)
    missing[3] = None
    mixed = y.astype(object)
    mixed[3] = 5
    for labels, message in ((missing, "None at row 3: a missing label"), (mixed, "labels of several kinds")):
        with pytest.raises(nbs.InputError, match=message):
            estimator.fit(X, labels)
        with pytest.raises(nbs.InputError, match=message):
            clone(estimator).fit(X, y).score(X, labels)
    numbers = np.arange(30) % 3
    floats = np.array(numbers.astype(float).tolist(), object)
    assert np.array_equal(estimator.fit(X, floats).coef_, clone(estimator).fit(X, numbers).coef_)
    of_any_length = y.astype(np.dtypes.StringDType())
    assert estimator.fit(X, of_any_length).classes_.tolist() == ["ash", "beech", "cedar"]
    assert estimator.score(X, of_any_length) == estimator.score(X, y)


def test_messages_write_labels_plainly():
    X, y = problem(3, m=30)
    y = np.array([np.str_(label) for label in y], object)
    fitted = nbs.SoftmaxRegression(warm_start=True).fit(X, y)
    calls = (
        lambda: fitted.fit(X[y != "ash"], y[y != "ash"]),
        lambda: fitted.fit(X[y == "ash"], y[y == "ash"]),
        lambda: fitted.partial_fit(X, y, classes=np.array([np.str_("oak"), np.str_("yew")], object)),
        lambda: fitted.partial_fit(X, np.array([np.str_("oak")] * 30, object)),
    )
    for call in calls:
        with pytest.raises(nbs.InputValueError, match=r"'ash'|'oak'") as error:
            call()
        assert "str_" not in str(error.value)


def test_advice_names_the_parameters_of_the_estimator():
    X, y = problem(3, m=30)
    with pytest.warns(nbs.ConvergenceWarning, match="lower C"):
        nbs.SoftmaxRegression(C=np.inf, max_iter=1, tol=1e-9).fit(X, y)
