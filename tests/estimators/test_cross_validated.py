"""`SoftmaxRegressionCV` chooses C."""

import functools

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, make_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.fixes import parse_version

import nbsoftmax as nbs
from nbsoftmax.estimators import scoring as scoring_module
from nbsoftmax.estimators.scoring import ScoredModel
from tests.estimators.problems import problem


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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("scoring", "metric"),
    [
        ("neg_log_loss", lambda m, X, y, w: -log_loss(y, m.predict_proba(X), labels=m.classes_, sample_weight=w)),
        ("accuracy", lambda m, X, y, w: accuracy_score(y, m.predict(X), sample_weight=w)),
    ],
)
def test_scores_of_the_common_metrics_have_the_bits_of_scikit_learn(scoring, metric, dtype, weighted):
    X, y = problem(3)
    X, w = (40 * X).astype(dtype), np.arange(1.0, len(X) + 1) if weighted else None  # some probabilities are 0
    ours, theirs = (
        nbs.SoftmaxRegressionCV(Cs=(1e-3, 1e3), cv=3, scoring=each).fit(X, y, w).scores_
        for each in (scoring, lambda m, X, y, sample_weight=None: metric(m, X, y, sample_weight))
    )
    # Earlier versions of scikit-learn take logarithms by SciPy, in float64.
    eps = 0.0 if parse_version(sklearn.__version__) >= parse_version("1.8") else np.finfo(dtype).eps
    np.testing.assert_allclose(ours, theirs, rtol=4 * eps, atol=0)


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


@pytest.mark.parametrize("n_classes", [2, 3])
def test_thresholds_act_on_the_predictions_in_folds_in_score_and_in_predict(n_classes):
    X, y = problem(n_classes)
    thresholds = dict(zip(np.unique(y).tolist(), [0.2, 0.5, 0.3][:n_classes], strict=True))
    folds = list(StratifiedKFold(3).split(X, y))
    options = {"tol": 1e-10, "thresholds": thresholds}
    search = nbs.SoftmaxRegressionCV(Cs=[0.01, 1.0], cv=folds, scoring="balanced_accuracy", **options).fit(X, y)
    for f, (train, test) in enumerate(folds):
        for j, C in enumerate([0.01, 1.0]):
            one = nbs.SoftmaxRegression(C, **options).fit(X[train], y[train])
            assert search.scores_[f, 0, j] == balanced_accuracy_score(y[test], one.predict(X[test]))
    plain = nbs.SoftmaxRegression(search.C_, tol=1e-10).fit(X, y)
    np.testing.assert_array_equal(search.predict(X), plain.model_.predict(X, thresholds=thresholds))
    assert (search.predict(X) != plain.predict(X)).any()
    assert search.score(X, y) == balanced_accuracy_score(y, search.predict(X))
    none = np.zeros((len(y), n_classes))
    assert search.score(X, y, offset=none) == search.score(X, y)


def test_partial_labels_are_refused():
    X, y = problem(3)
    with pytest.raises(ValueError, match="y holds partial labels, but cross-validation needs one label for each row"):
        nbs.SoftmaxRegressionCV().fit(X, y[:, None] >= np.unique(y))


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"scoring": "nearly"}, "'nearly' is not a valid scoring value"),
        # The second message is that of scikit-learn 1.6.
        ({"scoring": "f1"}, "multiclass but average='binary'|pos_label=1 is not a valid label"),
        ({"scoring": ["accuracy"]}, "expected one name of a scorer"),
        ({"scoring": lambda *given: "good"}, "scoring returned 'good', expected one number"),
        ({"scoring": lambda *given: np.nan}, "the mean score is NaN"),
        ({"refit": "last"}, "refit is 'last'"),
        ({"l1_ratios": [0.5, 2.0]}, "l1_ratios contains 2, expected numbers from 0 to 1"),
        ({"verbose": "no"}, "verbose is 'no'"),
        ({"Cs": [0.0]}, "Cs contains 0"),
        ({"thresholds": [0.5, 0.5]}, "thresholds has shape"),
        ({"cv": []}, "cv gives 0 folds"),
        ({"cv": [(range(200), range(200, 300))], "refit": "one-standard-error"}, "cv gives 1 folds"),
        ({"cv": [(range(200), range(200, 400))]}, "indices in 0..299"),
    ],
)
def test_parameters_out_of_range_are_named(odd, message):
    with pytest.raises((ValueError, TypeError), match=message):
        nbs.SoftmaxRegressionCV(**odd).fit(*problem(3))


def test_a_positive_class_that_the_user_chose_stays():
    X, y = problem(2, m=120)
    first = np.unique(y)[0]

    def own(y_true, y_pred, pos_label=first):
        return f1_score(y_true, y_pred, pos_label=pos_label)

    for metric in (functools.partial(f1_score, pos_label=first), own):
        fitted = nbs.SoftmaxRegressionCV(2, cv=3, scoring=make_scorer(metric)).fit(X, y)
        assert fitted.score(X, y) == f1_score(y, fitted.predict(X), pos_label=first)
    by_name = nbs.SoftmaxRegressionCV(2, cv=3, scoring="f1").fit(X, y)
    assert by_name.score(X, y) == f1_score(y, by_name.predict(X), pos_label=np.unique(y)[1])


def test_the_rule_of_one_standard_error_is_that_of_the_best_l1_ratio():
    X, y = problem(3, m=120, n_features=12, seed=1)
    search = nbs.SoftmaxRegressionCV(10, l1_ratios=[1.0, 0.0], cv=4, refit="one-standard-error").fit(X, y)
    mean, error = search.scores_.mean(axis=0), search.scores_.std(axis=0, ddof=1) / 2
    within = [
        search.Cs_[of_ratio >= (of_ratio - its_error)[of_ratio.argmax()]].min()
        for of_ratio, its_error in zip(mean, error, strict=True)
    ]
    i = mean.max(axis=1).argmax()
    assert i == 1
    assert within[0] != within[1]
    assert (search.l1_ratio_, search.C_) == (search.l1_ratios_[i], within[i])


def test_without_a_refit_the_l1_ratio_is_the_mean_of_the_best_of_the_folds():
    X, y = problem(3, m=120, n_features=12, seed=5)
    search = nbs.SoftmaxRegressionCV(6, l1_ratios=[0.0, 1.0], cv=4, refit=False).fit(X, y)
    best = [np.unravel_index(scores.argmax(), scores.shape) for scores in search.scores_]
    assert search.l1_ratio_ == np.mean([search.l1_ratios_[i] for i, _ in best]) != np.mean(search.l1_ratios_)
    assert pytest.approx(np.mean([search.Cs_[j] for _, j in best]), rel=1e-14) == search.C_


@pytest.mark.parametrize("with_bounds", [False, True])
def test_the_classes_that_a_training_part_has_keep_their_own_offsets_and_bounds(with_bounds):
    X, y = problem(4)
    rng, rows = np.random.default_rng(0), np.arange(y.size)
    offset, low, high = rng.normal(size=(y.size, 4)), -rng.uniform(0.05, 0.3, (4, 5)), rng.uniform(0.05, 0.3, (4, 5))
    train = rows[y != "ash"]
    folds = [(train, rows[y == "ash"]), (rows[rows % 3 > 0], rows[rows % 3 == 0])]
    all_bounds, others = ((low, high), (low[1:], high[1:])) if with_bounds else (None, None)
    with pytest.warns(UserWarning, match=r"classes \['ash'\] have no sample in the training part of 1 of 2 folds"):
        search = nbs.SoftmaxRegressionCV([1.0], cv=folds, bounds=all_bounds, tol=1e-12).fit(X, y, offset=offset)
    alone = nbs.SoftmaxRegression(1.0, bounds=others, tol=1e-12).fit(X[train], y[train], offset=offset[train, 1:])
    # tol leaves both fits an error of sqrt(2 tol J C) with the sum J < 225 log 3 of the losses: 2.3e-5.
    np.testing.assert_allclose(search.coefs_paths_[0, 0, 0, 1:, :-1], alone.coef_, atol=5e-5)
    if with_bounds:
        assert ((alone.coef_ == low[1:]) | (alone.coef_ == high[1:])).any()


@pytest.mark.parametrize("always", [0, 1, 2])
def test_a_class_with_threshold_0_is_predicted_in_folds_that_lack_it(always):
    X, y = problem(3)
    y = np.searchsorted(np.unique(y), y)
    folds = [(np.flatnonzero(y != k), np.flatnonzero(y == k)) for k in range(3)]
    predicted = []

    def score(model, X, y):
        predicted.append(np.unique(model.predict(X)).tolist())
        return 1.0

    thresholds = np.where(np.arange(3) == always, 0.0, 1.0)
    for beside in ({}, {"offset": np.zeros((len(y), 3))}):
        with pytest.warns(UserWarning, match="have no sample in the training part"):
            nbs.SoftmaxRegressionCV([1.0], cv=folds, scoring=score, thresholds=thresholds).fit(X, y, **beside)
    assert predicted == [[always]] * 6


@pytest.mark.parametrize("refit", [True, "one-standard-error", False])
def test_infinite_scores_are_compared_like_others(refit):
    X, y = problem(3)
    given = {"Cs": [0.1, 1.0, 10.0], "cv": 3, "refit": refit}
    best = nbs.SoftmaxRegressionCV(scoring=lambda model, X, y: np.inf if model.C == 1 else model.C, **given).fit(X, y)
    assert best.C_ == 1.0
    assert pytest.approx(0.1) == nbs.SoftmaxRegressionCV(scoring=lambda model, X, y: -np.inf, **given).fit(X, y).C_
    if refit:
        scores = iter([np.inf, -np.inf, 0.0] * 3)
        with (
            pytest.raises(nbs.InputValueError, match="for every penalty the mean score is NaN"),
            np.errstate(all="raise"),
        ):
            signs = iter([np.inf] * 3 + [-np.inf] * 6)
            nbs.SoftmaxRegressionCV(scoring=lambda *_: next(signs), **given).fit(X, y)
        found = nbs.SoftmaxRegressionCV(scoring=lambda *_: next(scores), **given).fit(X, y)
        assert found.C_ == 0.1


def test_scorers_may_clone_and_fit_the_model_that_they_score():
    X, y = problem(3)
    offset = np.random.default_rng(0).normal(size=(len(y), 3))

    def score(model, X, y):
        again = clone(model).fit(X, y)
        expected = nbs.SoftmaxRegression(model.C).fit(X, y)
        np.testing.assert_array_equal(again.predict_proba(X), expected.predict_proba(X))
        np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), expected.predict_proba(X))
        return again.score(X, y)

    nbs.SoftmaxRegressionCV([0.1, 1.0], cv=3, scoring=score).fit(X, y, offset=offset)


def test_the_model_of_a_fold_that_lacks_a_class_is_refused_by_the_class():
    X, y = problem(3)
    folds = [(np.flatnonzero(y != "ash"), np.flatnonzero(y == "ash"))]
    search = nbs.SoftmaxRegressionCV([1.0], cv=folds, scoring=lambda model, X, y: model.model_.score(X, y))
    with (
        pytest.warns(UserWarning, match="have no sample in the training part"),
        pytest.raises(nbs.InputValueError, match="class 'ash' has no sample in the training part of a fold"),
    ):
        search.fit(X, y)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy"])
@pytest.mark.parametrize("convert", [np.asarray, scipy.sparse.csr_array])
def test_held_out_rows_are_scored_in_blocks_with_the_same_bits(scoring, convert, monkeypatch):
    rng = np.random.default_rng(0)
    X, y, offset = rng.normal(size=(200, 8)), rng.integers(0, 3, 200), rng.normal(size=(200, 3))
    lengths, predict = [], ScoredModel._predict

    def noted(self, X, what, offset):
        lengths.append(X.shape[0])
        return predict(self, X, what, offset)

    monkeypatch.setattr(ScoredModel, "_predict", noted)
    estimator = nbs.SoftmaxRegressionCV(Cs=[0.1, 1], cv=2, scoring=scoring, refit=False)
    whole = estimator.fit(convert(X), y, offset=offset).scores_
    assert min(lengths) > 30
    lengths.clear()
    monkeypatch.setattr(scoring_module, "BLOCK_BYTES", 30 * 64)
    scores = estimator.fit(convert(X), y, offset=offset).scores_
    assert max(lengths) <= 30
    assert scores.tobytes() == whole.tobytes()
