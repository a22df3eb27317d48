"""Parameters and attributes of the estimators, and the report of a fit."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import nbsoftmax as nbs
from tests.estimators.problems import objective, problem


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
        ({"C": "1"}, nbs.InputTypeError, "C is '1', expected a number, or np.inf"),
        ({"C": np.nan}, nbs.InputValueError, "C is nan, expected a number of more than 0, or np.inf"),
        ({"solver": "saga"}, nbs.InputValueError, "solver is 'saga', which is one of scikit-learn; use 'auto'"),
        ({"solver": "newton-cholesky"}, nbs.InputValueError, "use 'newton'"),
        ({"random_state": "a"}, nbs.InputTypeError, "expected a whole number, a RandomState of NumPy, or None"),
        ({"l1_ratio": 1.5}, nbs.InputValueError, "l1_ratio is 1.5"),
        ({"class_weight": "even"}, nbs.InputValueError, "class_weight is 'even'"),
        ({"class_weight": {"ash": 0, "beech": 0, "cedar": 0}}, ValueError, "class_weight is all zero"),
        ({"class_weight": {"ash": -1.0}}, ValueError, r"class_weight\['ash'\] is -1"),
        ({"class_weight": {"ash": np.nan}}, ValueError, r"class_weight\['ash'\] is nan"),
        ({"class_weight": {np.str_("oak"): 2.0}}, ValueError, "names 'oak', which is no label in y .*'ash', 'beech'"),
        ({"solver": "saga"}, nbs.InputValueError, "solver is 'saga'"),
        ({"random_state": -1}, nbs.InputValueError, "random_state is -1"),
        ({"n_jobs": 0}, nbs.InputTypeError, "n_jobs is 0"),
        ({"n_jobs": "a"}, nbs.InputTypeError, "n_jobs is 'a'"),
        ({"n_jobs": 1.5}, nbs.InputTypeError, "n_jobs is 1.5"),
        ({"firth": "no"}, nbs.InputTypeError, "firth is 'no', expected True or False"),
        ({"warm_start": "no"}, nbs.InputTypeError, "warm_start is 'no', expected True or False"),
        ({"verbose": "no"}, nbs.InputTypeError, "verbose is 'no'"),
        ({"verbose": None}, nbs.InputTypeError, "verbose is None"),
        ({"verbose": -1}, nbs.InputValueError, "verbose is -1"),
        ({"l1_ratio": 0.5, "solver": "lbfgs"}, nbs.InputValueError, "^solver 'lbfgs' cannot minimise an l1 penalty"),
        ({"solver": "prox-newton"}, nbs.InputValueError, "^solver is 'prox-newton', but there is no l1 penalty"),
        ({"thresholds": {"oak": 0.2}}, nbs.InputValueError, "thresholds names 'oak', which is no class"),
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


def test_bounds_hold_exactly_for_float32_because_coefficients_are_float64():
    X, y = problem(3)
    fitted = nbs.SoftmaxRegression(bounds=(-0.1, 0.1)).fit(X.astype(np.float32), y)
    assert np.abs(fitted.coef_).max() == 0.1
    assert float(np.abs(fitted.coef_.astype(np.float32)).max()) > 0.1


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


def test_advice_names_the_parameters_of_the_estimator():
    X, y = problem(3, m=30)
    with pytest.warns(nbs.ConvergenceWarning, match="lower C"):
        nbs.SoftmaxRegression(C=np.inf, max_iter=1, tol=1e-9).fit(X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["auto", "newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton"])
def test_no_iterations_leave_the_coefficients_at_0_with_a_warning(solver, dtype):
    X, y = problem(3)
    estimator = nbs.SoftmaxRegression(max_iter=0, solver=solver, l1_ratio=0.5 if solver == "prox-newton" else 0.0)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match=r"max_iter reached \(0 "):
        estimator.fit(X.astype(dtype), y)
    assert estimator.n_iter_[0] == 0
    assert not estimator.converged_
    assert not estimator.coef_.any()
    assert not estimator.intercept_.any()
    np.testing.assert_allclose(estimator.predict_proba(X), 1 / 3)


def test_sparse_coefficients_predict_and_continue_as_dense_ones():
    X, y = problem(3)
    estimator = nbs.SoftmaxRegression(0.05, l1_ratio=1.0, warm_start=True).fit(X, y)
    expected = estimator.predict_proba(X)
    estimator.sparsify()
    assert sparse.issparse(estimator.coef_)
    np.testing.assert_array_equal(estimator.predict_proba(X), expected)
    np.testing.assert_array_equal(estimator.model_.predict_proba(X), expected)
    assert estimator.fit(X, y).n_iter_[0] == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"penalty": "l1"}, '"l1" is l1_ratio=1, .*None is C=np.inf'),
        ({"multi_class": "ovr"}, r"OneVsRestClassifier\(SoftmaxRegression\(\)\)"),
        ({"dual": False}, "leave it out"),
        ({"intercept_scaling": 1}, "leave it out"),
        ({"l2": 0.1}, "use C, the inverse strength of the penalty"),
        ({"learning_rate": 0.1}, r"give it to the solver, solver=nbsoftmax.SGD\(learning_rate=...\)"),
        ({"table": nbs.TableOptions()}, "ColumnTransformer in a pipeline, or use Trainer, which encodes tables"),
    ],
)
def test_a_parameter_that_logistic_regression_has_alone_is_refused_with_what_to_use(given, message):
    with pytest.raises(TypeError, match=f"SoftmaxRegression has no parameter {next(iter(given))}: .*{message}"):
        nbs.SoftmaxRegression(**given)
    with pytest.raises(TypeError, match=message):
        nbs.SoftmaxRegression().set_params(**given)


def test_the_estimator_with_several_penalties_names_its_own_parameters():
    with pytest.raises(TypeError, match=r'"l1" is l1_ratios=\[1\], .*None is Cs=\[np.inf\]'):
        nbs.SoftmaxRegressionCV(penalty="l1")


def test_a_subclass_may_have_a_parameter_of_that_name():
    class Penalised(nbs.SoftmaxRegression):
        def __init__(self, penalty="l2"):
            super().__init__()
            self.kind = penalty

        penalty = property(lambda self: self.kind, lambda self, value: setattr(self, "kind", value))

    assert Penalised().set_params(penalty="l1").get_params()["penalty"] == "l1"


def test_the_signature_of_an_estimator_is_that_of_its_parameters():
    assert list(inspect.signature(nbs.SoftmaxRegression).parameters) == list(vars(nbs.SoftmaxRegression()))


def test_a_table_with_a_column_more_is_refused_for_it_also_if_that_column_is_text():
    X, y = problem(3)
    table = pd.DataFrame(X, columns=list("abcde"))
    fitted = nbs.SoftmaxRegression().fit(table, y)
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- species"):
        fitted.predict(table.assign(species=y))
    with pytest.raises(nbs.InputTypeError, match="column 'c'"):
        fitted.predict(table.assign(c="text"))


def test_one_iteration_is_not_a_plural():
    X, y = problem(3)
    with pytest.warns(nbs.ConvergenceWarning, match=r"max_iter reached \(1 iteration\)"):
        nbs.SoftmaxRegression(max_iter=1).fit(X, y)
    with pytest.raises(nbs.InputValueError, match="weights of 1 feature, but X has 5;"):
        nbs.SoftmaxRegression(penalty_weight=[1.0]).fit(X, y)
