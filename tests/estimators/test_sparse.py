"""The estimators with sparse X: as scikit-learn's own tests of LogisticRegression use it, and in its pipelines."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

import nbsoftmax as nbs

X1, Y1 = np.array([[-1, 0], [0, 1], [1, 1]]), np.array([0, 1, 1])
IRIS = load_iris()
FORMATS = [sp.csr_matrix, sp.csr_array, sp.csc_array, sp.coo_matrix]


@pytest.mark.parametrize("container", FORMATS)
def test_two_classes_and_three_are_told_apart(container):
    X = container(X1)
    for y in (Y1, np.array([0, 1, 2]), np.array(["a", "b", "c"])):
        for model in (nbs.SoftmaxRegression(C=100), nbs.SoftmaxRegression(C=100, fit_intercept=False)):
            assert np.array_equal(model.fit(X, y).predict(X), y)
            proba = model.predict_proba(X)
            assert proba.shape == (3, len(set(y)))
            assert np.allclose(proba.sum(axis=1), 1)
            assert model.score(X, y) == 1


@pytest.mark.parametrize("options", [{}, {"C": 10, "fit_intercept": False}, {"l1_ratio": 0.5}, {"l1_ratio": 1.0}])
def test_fits_are_those_of_the_array(options):
    for y in (IRIS.target, IRIS.target == 1):
        ours, theirs = (
            nbs.SoftmaxRegression(tol=1e-10, **options).fit(X, y) for X in (sp.csr_array(IRIS.data), IRIS.data)
        )
        # Both are within 1e-10 of the minimum: their distance from it is at most about 1e-5.
        assert np.allclose(ours.coef_, theirs.coef_, atol=1e-4)
        assert np.allclose(
            ours.decision_function(sp.csr_array(IRIS.data)), theirs.decision_function(IRIS.data), atol=1e-3
        )


def test_sample_weights_and_class_weights_are_those_of_the_array():
    weight = np.random.default_rng(0).uniform(0.5, 2, 150)
    for class_weight in (None, "balanced", {0: 1.0, 1: 2.0, 2: 3.0}):
        ours, theirs = (
            nbs.SoftmaxRegression(class_weight=class_weight, tol=1e-10).fit(X, IRIS.target, weight)
            for X in (sp.csc_matrix(IRIS.data), IRIS.data)
        )
        assert np.allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_the_penalty_chosen_is_that_of_the_array():
    for options in ({}, {"l1_ratios": [0.0, 0.5]}):
        ours, theirs = (
            nbs.SoftmaxRegressionCV(Cs=3, cv=3, tol=1e-9, **options).fit(X, IRIS.target)
            for X in (sp.csr_array(IRIS.data), IRIS.data)
        )
        assert ours.C_ == theirs.C_
        assert np.allclose(ours.scores_, theirs.scores_, atol=1e-6)
        assert np.array_equal(ours.predict(sp.coo_array(IRIS.data)), theirs.predict(IRIS.data))


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs"])
def test_the_dtype_of_x_is_kept_also_with_wide_indices(solver):
    X = sp.csr_array(IRIS.data.astype(np.float32))
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    single = nbs.SoftmaxRegression(solver=solver, tol=1e-9).fit(X, IRIS.target)
    double = nbs.SoftmaxRegression(solver=solver, tol=1e-9).fit(sp.csr_array(IRIS.data), IRIS.target)
    assert single.predict_proba(X).dtype == np.float32
    assert double.predict_proba(sp.csr_array(IRIS.data)).dtype == np.float64
    # Each is within sqrt(2 tol J C) of the minimum, 2.4e-4 with the sum J = 29; digits of X are far less.
    assert np.allclose(single.coef_, double.coef_, rtol=0, atol=5e-4)
    integers = nbs.SoftmaxRegression(solver=solver).fit(sp.csr_array(IRIS.data.astype(np.int64)), IRIS.target)
    assert integers.predict_proba(sp.csr_array(IRIS.data.astype(np.int64))).dtype == np.float64


def test_a_warm_start_needs_fewer_iterations():
    X = sp.csr_array(IRIS.data)
    model = nbs.SoftmaxRegression(warm_start=True).fit(X, IRIS.target)
    cold = model.n_iter_[0]
    assert model.fit(X, IRIS.target).n_iter_[0] < cold


def test_fits_leave_x_as_it_was():
    rng = np.random.default_rng(0)
    X = sp.csr_array((rng.normal(size=300), rng.integers(0, 4, 300), np.arange(0, 301, 2)), shape=(150, 4))
    X.data.flags.writeable = X.indices.flags.writeable = X.indptr.flags.writeable = False
    before = X.toarray()
    nbs.SoftmaxRegression().fit(X, IRIS.target).predict(X)
    assert not X.has_sorted_indices
    assert np.array_equal(X.toarray(), before)


def test_columns_of_another_number_are_refused_as_by_scikit_learn():
    model = nbs.SoftmaxRegression().fit(sp.csr_array(IRIS.data), IRIS.target)
    with pytest.raises(ValueError, match="3 features, but SoftmaxRegression is expecting 4"):
        model.predict(sp.csr_array(IRIS.data[:, :3]))


# --- pipelines ----------------------------------------------------------------------------------------------

TEXTS = ["red apple", "green apple", "a red car", "blue car", "the green pear", "pear and apple", "fast car", "old car"]
KINDS = ["fruit", "fruit", "vehicle", "vehicle", "fruit", "fruit", "vehicle", "vehicle"]


@pytest.mark.parametrize(
    "vectorizer", [TfidfVectorizer(), TfidfVectorizer(dtype=np.float32), HashingVectorizer(n_features=2**18)]
)
def test_texts_are_classified_by_their_words(vectorizer):
    pipeline = make_pipeline(clone(vectorizer), nbs.SoftmaxRegression(C=100)).fit(TEXTS, KINDS)
    assert pipeline.predict(["my apple", "your car"]).tolist() == ["fruit", "vehicle"]
    assert pipeline.score(TEXTS, KINDS) == 1


def table(m=300):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"city": rng.choice(list("abcdefgh"), m), "size": rng.choice(["s", "m", "l"], m), "age": rng.uniform(0, 9, m)}
    )
    return frame, np.where(rng.uniform(size=m) < 0.8, frame["city"] < "e", frame["size"] == "s")


def test_one_hot_columns_give_the_fit_of_dense_ones():
    frame, y = table()
    fits = [
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(sparse_output=sparse), ["city", "size"]),
                (StandardScaler(), ["age"]),
                sparse_threshold=float(sparse),
            ),
            nbs.SoftmaxRegression(tol=1e-9),
        ).fit(frame, y)
        for sparse in (True, False)
    ]
    assert sp.issparse(fits[0][0].transform(frame))
    assert np.allclose(fits[0][-1].coef_, fits[1][-1].coef_, atol=1e-4)
    assert np.array_equal(fits[0].predict(frame), fits[1].predict(frame))


def test_sparse_columns_of_pandas_give_names_to_the_features():
    pandas = pytest.importorskip("pandas")
    frame, y = table()
    coded = pandas.get_dummies(frame[["city", "size"]], sparse=True, dtype=float)
    ours = nbs.SoftmaxRegression(tol=1e-9).fit(coded, y)
    theirs = nbs.SoftmaxRegression(tol=1e-9).fit(coded.sparse.to_dense(), y)
    assert ours.feature_names_in_.tolist() == coded.columns.tolist()
    assert np.allclose(ours.coef_, theirs.coef_, atol=1e-4)
    assert np.array_equal(ours.predict(coded), theirs.predict(coded))
    model = nbs.Trainer(l2=0.01).fit(coded, y).model
    assert model.feature_names == tuple(coded.columns)
    with pytest.raises(nbs.InputValueError, match="another order"):
        model.predict(coded[coded.columns[::-1]])


def test_searches_and_folds_take_sparse_x():
    X = sp.csr_array(IRIS.data)
    grid = {"softmaxregression__C": [0.1, 10.0]}
    pipeline = make_pipeline(MaxAbsScaler(), nbs.SoftmaxRegression())
    ours, theirs = (GridSearchCV(pipeline, grid, cv=3).fit(A, IRIS.target) for A in (X, IRIS.data))
    assert ours.best_params_ == theirs.best_params_
    assert np.allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert np.array_equal(
        *(cross_val_predict(nbs.SoftmaxRegression(), A, IRIS.target, cv=3) for A in (sp.csr_matrix(X), IRIS.data))
    )


def test_features_are_selected_by_their_weights():
    rng = np.random.default_rng(0)
    X = sp.csr_array(np.hstack([IRIS.data, rng.normal(size=(150, 10)) * (rng.uniform(size=(150, 10)) < 0.2)]))
    selected = SelectFromModel(nbs.SoftmaxRegression(l1_ratio=1.0, C=0.1)).fit(X, IRIS.target)
    assert selected.get_support()[[2, 3]].any()
    assert selected.transform(X).shape[1] == selected.get_support().sum() < 14
