"""`SoftmaxRegressionCV` beside `LogisticRegressionCV`: scorers, paths of coefficients, folds, metadata."""

import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import f1_score as f1
from sklearn.metrics import get_scorer, log_loss, make_scorer
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, StratifiedKFold

import nbsoftmax as nbs
from tests.estimators.problems import problem

NEW_FORM = "use_legacy_attributes" in LogisticRegressionCV().get_params()  # scikit-learn 1.8 and newer
needs_new_form = pytest.mark.skipif(not NEW_FORM, reason="the attributes have this form since scikit-learn 1.8")
CS = [0.01, 1.0, 100.0]


def theirs(**options):
    given = {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000, "l1_ratios": (0,)}
    return LogisticRegressionCV(**given | {"use_legacy_attributes": False} | options)


@needs_new_form
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", "neg_brier_score", None])
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_attributes_are_those_of_logistic_regression_cv(n_classes, scoring, refit, fit_intercept):
    X, y = problem(n_classes)
    y = np.unique(y, return_inverse=True)[1]  # their Brier score of two classes takes numbers only
    options = {"Cs": CS, "cv": 3, "scoring": scoring, "refit": refit, "fit_intercept": fit_intercept}
    a = nbs.SoftmaxRegressionCV(**options, tol=1e-13).fit(X, y)
    b = theirs(**options).fit(X, y)
    assert (a.C_, a.l1_ratio_) == (b.C_, b.l1_ratio_)
    for name in ("scores_", "coefs_paths_", "coef_", "intercept_"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-5, err_msg=name)
    assert a.n_iter_.shape == b.n_iter_.shape == (3, 1, 3)
    assert a.score(X, y) == pytest.approx(b.score(X, y), abs=1e-6)


@needs_new_form
def test_balanced_weights_are_those_of_all_samples():
    X, y = problem(3, m=150)
    kept = np.flatnonzero((y != "ash") | (np.arange(150) % 4 == 0))
    X, y = X[kept], y[kept]
    weight = np.random.default_rng(0).uniform(0.5, 2, y.size)
    options = {"Cs": CS, "cv": KFold(3), "scoring": "neg_log_loss", "class_weight": "balanced"}
    a = nbs.SoftmaxRegressionCV(**options, tol=1e-13).fit(X, y, weight)
    b = theirs(**options).fit(X, y, weight)
    np.testing.assert_allclose(a.coefs_paths_, b.coefs_paths_, atol=1e-5)
    np.testing.assert_allclose(a.scores_, b.scores_, atol=1e-6)


def test_fits_of_folds_are_those_of_the_estimator():
    X, y = problem(3)
    weight = np.random.default_rng(0).uniform(0.5, 2, y.size)
    search = nbs.SoftmaxRegressionCV(CS, l1_ratios=[0.0, 0.7, 1.0], cv=3, tol=1e-12).fit(X, y, weight)
    assert search.coefs_paths_.shape == (3, 3, 3, 3, 6)
    for f, (train, _) in enumerate(StratifiedKFold(3).split(X, y)):
        for i, ratio in enumerate([0.0, 0.7, 1.0]):
            one = nbs.SoftmaxRegression(1.0, l1_ratio=ratio, tol=1e-12).fit(X[train], y[train], weight[train])
            z = search.coefs_paths_[f, i, 1] @ np.column_stack([X, np.ones(y.size)]).T
            expected = one.decision_function(X).T
            np.testing.assert_allclose(z - z.mean(axis=0), expected - expected.mean(axis=0), atol=1e-4)


def test_every_scorer_of_a_classifier_scores_held_out_samples():
    X, y = problem(3)
    names = ["balanced_accuracy", "f1_macro", "roc_auc_ovr", "matthews_corrcoef", "top_k_accuracy"]
    for scoring in [
        *names,
        make_scorer(f1, average="micro", labels=["ash"], pos_label=None),
        lambda e, X, y: -np.sum(e.coef_**2),
    ]:
        search = nbs.SoftmaxRegressionCV([0.01, 1.0], cv=3, scoring=scoring, tol=1e-10).fit(X, y)
        scorer = get_scorer(scoring)
        for f, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
            for j, C in enumerate(search.Cs_):
                one = nbs.SoftmaxRegression(C, tol=1e-10).fit(X[train], y[train])
                assert search.scores_[f, 0, j] == pytest.approx(scorer(one, X[test], y[test]), abs=1e-4)
        assert search.score(X, y) == scorer(search, X, y)


def test_the_positive_class_of_a_metric_of_two_classes_is_the_second():
    X, y = problem(2)
    search = nbs.SoftmaxRegressionCV([0.1], cv=3, scoring="f1").fit(X, y)
    assert search.score(X, y) == f1(y, search.predict(X), pos_label="beech")
    first = make_scorer(f1, pos_label="ash")
    search = nbs.SoftmaxRegressionCV([0.1], cv=3, scoring=first).fit(X, y)
    assert search.score(X, y) == f1(y, search.predict(X), pos_label="ash")


def test_of_equally_good_penalties_the_strongest_is_chosen():
    X, y = problem(3)
    search = nbs.SoftmaxRegressionCV([1.0, 0.1, 10.0], l1_ratios=[0.5, 0.0], scoring=lambda *given: 1.0).fit(X, y)
    assert (search.C_, search.l1_ratio_) == (0.1, 0.5)


def test_scores_that_are_nan_are_never_chosen():
    X, y = problem(3)

    def scoring(estimator, X, y):
        return np.nan if estimator.C == 1.0 else -estimator.C

    for refit in (True, False):
        with pytest.warns(UserWarning, match="5 of 15 scores are NaN"):
            search = nbs.SoftmaxRegressionCV([1.0, 2.0, 3.0], scoring=scoring, refit=refit).fit(X, y)
        assert search.C_ == 2.0


# --- folds ----------------------------------------------------------------------------------------


def without(y, label):
    """Folds, the first of which trains without a label."""
    rows = np.arange(y.size)
    return [(rows[y != label], rows[y == label][:20]), (rows[::2], rows[1::2])]


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("standardize", [False, True])
def test_a_class_without_samples_in_a_training_part_has_probability_0(l1_ratio, standardize):
    """The limit of fits of all classes in which the class has a vanishing weight."""
    X, y = problem(3)
    X = X * [1, 2, 3, 4, 5]
    options = {"tol": 1e-12, "standardize": standardize}
    search = nbs.SoftmaxRegressionCV(CS, l1_ratios=[l1_ratio], cv=without(y, "beech"), **options)
    with pytest.warns(UserWarning, match=r"classes \['beech'\] have no sample in the training part of 1 of 2 folds"):
        search.fit(X, y)
    assert (search.coefs_paths_[0, 0, :, 1, :-1] == 0).all()
    assert np.isneginf(search.coefs_paths_[0, 0, :, 1, -1]).all()
    assert np.isfinite(search.coefs_paths_[1]).all()
    if standardize:  # the rows that stand for the class would change the deviations
        return
    train = y != "beech"
    faint = np.where(train, 1.0, 1e-9)
    for j, C in enumerate(CS):
        # With 1e-12, whether float64 allows another step depends on the last bits, and so on the processor.
        limit = nbs.SoftmaxRegression(C, l1_ratio=l1_ratio, tol=1e-11).fit(X, y, faint).coef_
        # J <= log 3 is strongly convex with l2: coefficients are known to sqrt(2 tol J / l2), 9e-4 for C = 100.
        l2 = (1 - l1_ratio) / (C * faint.sum())
        atol = max(1e-4, np.sqrt(2 * 1e-11 * np.log(3) / l2)) if l2 > 0 else 1e-4
        np.testing.assert_allclose(search.coefs_paths_[0, 0, j, :, :-1], limit, atol=atol)


@needs_new_form
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("scoring", ["accuracy", "neg_brier_score", "f1_macro"])
def test_folds_that_lack_a_class_score_as_in_logistic_regression_cv(n_classes, scoring):
    X, y = problem(n_classes)
    y = np.unique(y, return_inverse=True)[1]
    if scoring == "f1_macro" and n_classes == 2:
        pytest.skip("LogisticRegressionCV gives pos_label twice")
    options = {"Cs": CS, "cv": without(y, 1), "scoring": scoring}
    with pytest.warns(UserWarning, match="have no sample"):
        a = nbs.SoftmaxRegressionCV(**options, tol=1e-12).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their intercept has no minimum
        b = theirs(**options).fit(X, y)
    np.testing.assert_allclose(a.scores_, b.scores_, atol=1e-4)
    assert a.C_ == b.C_


def test_without_an_intercept_or_with_smoothing_a_class_without_samples_has_a_finite_fit():
    X, y = problem(3)
    folds = without(y, "beech")
    search = nbs.SoftmaxRegressionCV([1.0], cv=folds, fit_intercept=False, tol=1e-12).fit(X, y)
    rows = folds[0][0]
    faint = np.where(y == "beech", 1e-12, 1.0)
    limit = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, solver="newton-cholesky").fit(X, y, faint)
    np.testing.assert_allclose(search.coefs_paths_[0, 0, 0], limit.coef_, atol=1e-4)
    assert rows.size < y.size
    smooth = nbs.SoftmaxRegressionCV([1.0], cv=folds, label_smoothing=0.1).fit(X, y)
    assert np.isfinite(smooth.coefs_paths_).all()


def test_a_mean_of_coefficients_needs_all_classes_in_every_fold():
    X, y = problem(3)
    with pytest.raises(nbs.InputValueError, match="refit=False averages"):
        nbs.SoftmaxRegressionCV(cv=without(y, "ash"), refit=False).fit(X, y)


@pytest.mark.parametrize("search", ["estimator", "cross_validate"])
def test_a_row_that_a_fold_names_twice_counts_twice(search):
    X, y = problem(3)
    rng = np.random.default_rng(0)
    folds = [(rng.integers(0, 300, 300), rng.integers(0, 300, 90)) for _ in range(2)]
    if search == "estimator":
        scores = -nbs.SoftmaxRegressionCV([1.0], cv=folds, tol=1e-10).fit(X, y).scores_[:, 0, 0]
    else:
        scores = nbs.cross_validate(X, y, Cs=[1.0], folds=folds, tol=1e-10).log_loss[0]
    for (train, test), score in zip(folds, scores, strict=True):
        one = LogisticRegression(tol=1e-8, max_iter=1000).fit(X[train], y[train])
        assert score == pytest.approx(log_loss(y[test], one.predict_proba(X[test])), rel=1e-5)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, lambda X: X.astype(np.float32)])
def test_folds_of_sparse_and_of_float32_samples_score_alike(form):
    X, y = problem(3)
    X = np.round(X * (np.abs(X) > 1), 3)
    dense = nbs.SoftmaxRegressionCV(CS, cv=3, tol=1e-10).fit(X, y)
    other = nbs.SoftmaxRegressionCV(CS, cv=3, tol=1e-10).fit(form(X), y)
    np.testing.assert_allclose(other.scores_, dense.scores_, rtol=1e-4)  # float32 samples differ by 1e-7
    assert other.score(form(X), y) == pytest.approx(dense.score(X, y), rel=1e-4)


def test_an_offset_is_added_in_every_fold_and_in_the_score():
    X, y = problem(3)
    offset = np.random.default_rng(0).normal(size=(y.size, 3))
    search = nbs.SoftmaxRegressionCV([1.0], cv=3, tol=1e-10).fit(X, y, offset=offset)
    for f, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        one = nbs.SoftmaxRegression(tol=1e-10).fit(X[train], y[train], offset=offset[train])
        expected = -log_loss(y[test], one.predict_proba(X[test], offset=offset[test]))
        assert search.scores_[f, 0, 0] == pytest.approx(expected, rel=1e-6)
    expected = -log_loss(y, search.predict_proba(X, offset=offset))
    assert search.score(X, y, offset=offset) == pytest.approx(expected, rel=1e-12)
    assert search.score(X, y) != search.score(X, y, offset=offset)


# --- metadata -------------------------------------------------------------------------------------


def test_groups_are_routed_to_the_splitter():
    X, y = problem(3)
    groups = np.random.default_rng(0).integers(0, 4, y.size)
    expected = nbs.SoftmaxRegressionCV(CS, cv=list(LeaveOneGroupOut().split(X, y, groups))).fit(X, y)
    with sklearn.config_context(enable_metadata_routing=True):
        search = nbs.SoftmaxRegressionCV(CS, cv=LeaveOneGroupOut()).fit(X, y, groups=groups)
        np.testing.assert_array_equal(search.scores_, expected.scores_)
        with pytest.raises(TypeError, match="unexpected argument"):
            nbs.SoftmaxRegressionCV(CS, cv=3).fit(X, y, groups=groups)
    with pytest.raises(ValueError, match=r"'groups'.*only supported if enable_metadata_routing=True"):
        nbs.SoftmaxRegressionCV(CS, cv=GroupKFold(3)).fit(X, y, groups=groups)


def test_sample_weights_reach_the_scorer_that_requests_them():
    X, y = problem(3)
    weight = np.random.default_rng(0).uniform(0, 2, y.size)
    weighted = nbs.SoftmaxRegressionCV(CS, cv=3).fit(X, y, weight)
    score = weighted.score(X, y, sample_weight=weight)
    assert score == pytest.approx(-log_loss(y, weighted.predict_proba(X), sample_weight=weight), rel=1e-12)
    with sklearn.config_context(enable_metadata_routing=True):
        requested = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        search = nbs.SoftmaxRegressionCV(CS, cv=3, scoring=requested).fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(search.scores_, weighted.scores_)
        assert search.score(X, y, sample_weight=weight) == score
        not_requested = get_scorer("neg_log_loss").set_score_request(sample_weight=False)
        search = nbs.SoftmaxRegressionCV(CS, cv=3, scoring=not_requested).fit(X, y, sample_weight=weight)
        assert not np.allclose(search.scores_, weighted.scores_)
        with pytest.raises(TypeError, match="unexpected argument"):
            search.score(X, y, sample_weight=weight)
        # Weights that are neither requested nor refused are an error of scikit-learn, though not in 1.6.
        assert refuses_weights(nbs.SoftmaxRegressionCV) == refuses_weights(LogisticRegressionCV)


def refuses_weights(estimator):
    X, y = problem(3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of default values
            estimator(Cs=[1.0], cv=3, scoring="neg_log_loss").fit(X, y, sample_weight=np.ones(y.size))
    except ValueError as error:
        assert "[sample_weight] are passed" in str(error)
        return True
    return False


def test_metadata_of_the_scorer_are_those_of_the_held_out_samples():
    X, y = problem(3)
    prices = np.random.default_rng(0).uniform(size=y.size)
    seen = []

    def metric(y_true, y_predicted, price=None):
        seen.append(price)
        return float(np.mean(price * (y_true == y_predicted)))

    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(metric).set_score_request(price=True)
        nbs.SoftmaxRegressionCV([1.0], cv=3, scoring=scorer).fit(X, y, price=prices)
    for given, (_, test) in zip(seen, StratifiedKFold(3).split(X, y), strict=True):
        np.testing.assert_array_equal(given, prices[test])
