"""Models from LogisticRegression and back; X of other types; estimators without scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import nbsoftmax as nbs
from tests.estimators.problems import problem
from tests.processes import output


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
    with pytest.raises(nbs.InputTypeError, match="not a Pipeline; give the last step of a pipeline"):
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
    said = output(script)
    assert 'pip install "nbsoftmax[sklearn]"' in said
    assert len(said.splitlines()) == 1


def test_a_fit_to_an_array_forgets_the_column_names_of_an_earlier_fit():
    X, y = problem(3)
    y = np.unique(y, return_inverse=True)[1]
    estimator = nbs.SoftmaxRegression().fit(pd.DataFrame(X, columns=list("abcde")), y)
    assert estimator.fit(X[:, :4], y).n_features_in_ == 4
    assert not hasattr(estimator, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 5 features, but SoftmaxRegression is expecting 4"):
        estimator.predict(X)


def test_an_array_without_names_warns_after_a_fit_to_a_table():
    X, y = problem(3)
    estimator = nbs.SoftmaxRegression().fit(pd.DataFrame(X, columns=list("abcde")), y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        proba = estimator.predict_proba(X)
    assert np.array_equal(proba, nbs.SoftmaxRegression().fit(X, y).predict_proba(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_and_lists_give_the_same_fit_and_the_same_predictions(dtype):
    X, y = problem(3)
    X, y = X.astype(dtype), np.unique(y, return_inverse=True)[1]
    array, table = nbs.SoftmaxRegression().fit(X, y), nbs.SoftmaxRegression().fit(list(X), y.tolist())
    assert np.array_equal(array.coef_, table.coef_)
    assert np.array_equal(array.predict_proba(X[:1]), table.predict_proba(list(X[:1])))


def test_coefficients_that_were_set_by_hand_are_checked():
    X, y = problem(3)
    estimator = nbs.SoftmaxRegression().fit(X, y)
    estimator.coef_ = np.full_like(estimator.coef_, np.nan)
    with pytest.raises(nbs.InputValueError, match="coef_ contains NaN or inf"):
        estimator.predict(X)


@pytest.mark.parametrize("kind", ["datetime64[D]", "timedelta64[s]"])
def test_dates_and_durations_are_no_numbers_for_estimators_either(kind):
    X, y = problem(3)
    dates = X.astype("i8").astype(kind)
    with pytest.raises(nbs.InputTypeError, match=rf"X has dtype {kind.partition('[')[0]}"):
        nbs.SoftmaxRegression().fit(dates, y)
    with pytest.raises(nbs.InputTypeError, match=rf"X has dtype {kind.partition('[')[0]}"):
        nbs.SoftmaxRegression().fit(X, y).predict(dates)


@pytest.mark.parametrize("estimator", [nbs.SoftmaxRegression(), nbs.SoftmaxRegressionCV()])
def test_a_formula_a_file_and_the_name_of_a_column_are_refused_with_what_to_call(estimator):
    table = pd.DataFrame({"km": [1.0, 2.0, 3.0, 4.0], "kind": list("abab")})
    for given in (("kind ~ km", table), (table, "kind ~ km"), (table[["km"]], "kind ~ km"), ("kind ~ km", None)):
        with pytest.raises(nbs.InputTypeError, match=r"is 'kind ~ km', .*nbs.fit_formula\(formula, table\)"):
            estimator.fit(*given)
    with pytest.raises(nbs.InputTypeError, match=r"X is b?'d.csv', .*nbs.data.open"):
        estimator.fit("d.csv", "kind")
    for X in (table, table[["km"]], table[["km"]].to_numpy()):
        with pytest.raises(nbs.InputTypeError, match=r"y is 'kind', .*the column of a table is table\['kind'\]"):
            estimator.fit(X, "kind")
    with pytest.raises(nbs.InputTypeError, match="y is 'kind'"):
        nbs.SoftmaxRegression().fit(table[["km"]], table["kind"]).score(table[["km"]], "kind")


def test_the_model_of_an_estimator_has_the_encoding_of_its_source(tmp_path):
    pd = pytest.importorskip("pandas")
    rows = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "kind": ["p", "q", "p", "q"]})
    source = nbs.data.from_batches([rows.assign(y=list("uvvu"))], target="y", table=nbs.TableOptions())
    estimator = nbs.SoftmaxRegression().fit(source)
    estimator.model_.save(tmp_path / "m.npz")
    found = nbs.SoftmaxModel.load(tmp_path / "m.npz").predict_proba(rows)
    assert np.array_equal(found, estimator.predict_proba(source))
    assert np.array_equal(found, estimator.predict_proba(rows))
    assert estimator.score(rows, list("uvvu")) == estimator.score(source)
    encoded = pd.DataFrame(estimator.model_.encoding.encode(rows).X, columns=estimator.feature_names_in_)
    assert np.array_equal(found, estimator.predict_proba(encoded))
    with pytest.warns(nbs.UnknownLevelsWarning, match="'kind' in 1 row"):
        estimator.predict(pd.DataFrame({"size": [1.0], "kind": ["z"]}))
    with pytest.raises(nbs.InputValueError, match="X lacks the column 'kind'"):
        estimator.predict(rows[["size"]])
    estimator.fit(np.eye(4), [0, 0, 1, 1])
    assert estimator.model_.encoding is None
