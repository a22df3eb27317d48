"""Estimators in pipelines, searches and other meta-estimators; copies and pickles."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nbsoftmax as nbs
from tests.estimators.problems import problem
from tests.processes import output


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
    most, share = map(int, output(script, NUMBA_NUM_THREADS=None).split())
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
