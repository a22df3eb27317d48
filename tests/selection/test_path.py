"""Paths of penalties and cross-validation: what single fits give, and no copy of the data."""

import gc
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

import nbsoftmax as nbs
from nbsoftmax.models.scores import accuracy
from nbsoftmax.selection import cross_validation
from nbsoftmax.selection.cross_validation import one_standard_error, summary
from nbsoftmax.solvers import newton_cg
from tests import reference

TOL = 1e-10


def problem(m=200, N=5, K=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N))
    y = (X[:, :K] + 1.5 * rng.normal(size=(m, K))).argmax(axis=1)
    return X, np.array(["ash", "beech", "cedar", "dogwood"])[y]


def same_fit(one, other):
    assert one.converged
    assert other.converged
    assert abs(one.objective - other.objective) <= 2 * TOL * other.objective


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_a_path_is_the_single_fits(l1_ratio):
    X, y = problem()
    l2s = np.array([1e-3, 1e-1, 1e-2])
    path = nbs.fit_path(X, y, l2s=l2s, l1_ratio=l1_ratio, tol=TOL)
    assert path.coefs.shape == (3, 3, 5)
    assert path.intercepts.shape == (3, 3)
    np.testing.assert_allclose(path.l1s, l1_ratio * l2s)
    for result, l1, l2 in zip(path.results, path.l1s, path.l2s, strict=True):
        same_fit(result, nbs.Trainer(l1=l1, l2=l2, tol=TOL).fit(X, y))


def test_a_path_over_C_counts_weights_as_scikit_learn_does():
    X, y = problem()
    s = np.random.default_rng(1).uniform(0.5, 2, len(y))
    path = nbs.fit_path(X, y, Cs=[0.1, 10], sample_weight=s, class_weight={"ash": 3.0}, tol=TOL)
    for C, result in zip([0.1, 10], path.results, strict=True):
        theirs = LogisticRegression(C=C, class_weight={"ash": 3.0}, solver="newton-cholesky", tol=1e-10)
        theirs.fit(X, y, sample_weight=s)
        np.testing.assert_allclose(result.model.coef, theirs.coef_, atol=1e-4)  # the root of TOL, times 10


def test_without_a_penalty_the_sum_of_the_weights_may_overflow():
    X, y = problem()
    s = np.full(len(y), 1e308)
    same_fit(nbs.fit_path(X, y, Cs=[np.inf], sample_weight=s, tol=TOL).results[0], nbs.Trainer(tol=TOL).fit(X, y))
    with pytest.raises(nbs.InputValueError, match="outside the range of float64"):
        nbs.fit_path(X, y, Cs=[np.inf, 1.0], sample_weight=s)


def test_a_warm_start_saves_iterations():
    X, y = problem()
    Cs = np.geomspace(1, 2, 6)
    path = nbs.fit_path(X, y, Cs=Cs, solver="lbfgs")
    alone = [nbs.Trainer(solver="lbfgs", l2=l2).fit(X, y) for l2 in path.l2s]
    assert sum(r.n_iter for r in path.results) < sum(r.n_iter for r in alone)


def pairs_of(m, n):
    fold = np.arange(m) % n
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n)]


@pytest.mark.parametrize("class_weight", [None, "balanced", {"ash": 2.0}])
def test_folds_are_fits_to_slices_of_the_data(class_weight):
    X, y = problem()
    s = np.random.default_rng(1).uniform(0.5, 2, len(y))
    pairs = pairs_of(len(y), 3)
    found = nbs.cross_validate(X, y, Cs=[0.1, 1.0], folds=pairs, sample_weight=s, class_weight=class_weight, tol=TOL)
    for f, (train, test) in enumerate(pairs):
        path = nbs.fit_path(
            X[train], y[train], Cs=[0.1, 1.0], sample_weight=s[train], class_weight=class_weight, tol=TOL
        )
        for i, result in enumerate(path.results):
            codes = np.searchsorted(result.model.classes, y[test])
            losses, *_ = reference.cross_entropy(result.model.decision_function(X[test]), codes)
            # Parameters are known to about the root of TOL.
            assert found.log_loss[i, f] == pytest.approx(np.average(losses, weights=s[test]), rel=1e-4)
            right = result.model.predict(X[test]) == y[test]
            assert found.accuracy[i, f] == pytest.approx(np.average(right, weights=s[test]), abs=2 / len(test))


def test_folds_agree_with_scikit_learn():
    X, y = problem()
    pairs = pairs_of(len(y), 4)
    found = nbs.cross_validate(X, y, Cs=[0.01, 1.0], folds=pairs, tol=TOL)
    for f, (train, test) in enumerate(pairs):
        for i, C in enumerate([0.01, 1.0]):
            theirs = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10).fit(X[train], y[train])
            log_proba = theirs.predict_log_proba(X[test])
            loss = -log_proba[np.arange(len(test)), np.searchsorted(theirs.classes_, y[test])].mean()
            # Coefficients are within sqrt(2 TOL J C) = 1.7e-4 of the minimum; the slope of the loss there is below 0.5.
            assert found.log_loss[i, f] == pytest.approx(loss, abs=1e-4)


def test_the_choice_and_the_refit():
    X, y = problem()
    for refit in ("best", "one-standard-error"):
        found = nbs.cross_validate(X, y, Cs=6, refit=refit, tol=TOL)
        mean, error = summary(found.log_loss)
        assert found.best == np.nanargmin(mean)
        chosen = found.best if refit == "best" else found.one_standard_error
        assert mean[found.one_standard_error] <= mean[found.best] + error[found.best]
        assert found.Cs[found.one_standard_error] <= found.Cs[found.best]
        same_fit(found.result, nbs.fit_path(X, y, Cs=[found.Cs[chosen]], tol=TOL).results[0])


def test_one_standard_error_takes_the_strongest_penalty_that_is_as_good():
    Cs = np.array([100.0, 1.0, 0.01, 10.0])
    mean, error = np.array([0.50, 0.54, 0.90, 0.48]), np.array([0.01, 0.02, 0.02, 0.07])
    assert one_standard_error(Cs, mean, error) == 1
    assert one_standard_error(Cs, mean, error / 10) == 3
    assert one_standard_error(Cs, np.array([np.nan, 0.6, 0.9, 0.5]), error) == 3
    assert one_standard_error(Cs, np.full(4, np.inf), np.full(4, np.nan)) == 2  # all are equally bad


def test_folds_are_stratified_reproducible_and_cover_all():
    X, y = problem(103)
    one, same, other = (nbs.cross_validate(X, y, Cs=[1.0], random_state=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.log_loss, same.log_loss)
    assert not np.array_equal(one.log_loss, other.log_loss)
    codes = np.unique(y, return_inverse=True)[1]
    pairs = cross_validation._pairs(5, codes, 0)
    assert np.array_equal(np.sort(np.concatenate([test for _, test in pairs])), np.arange(len(y)))
    for train, test in pairs:
        assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(y)))
        share = np.bincount(codes) / 5
        assert (np.abs(np.bincount(codes[test], minlength=share.size) - share) < 1).all()


def test_hopeless_penalties_are_left_out_and_never_the_best(shared_data):
    X, y = shared_data("satellite")
    X, y = X[::20].astype(float), y[::20]
    Cs = np.geomspace(1e-8, 1e4, 13)
    found = nbs.cross_validate(X, y, Cs=Cs, folds=3)
    assert np.isnan(found.log_loss).any()  # weak penalties overfit 322 samples of 36 features
    whole = np.stack(
        [nbs.cross_validate(X, y, Cs=[C], folds=3).log_loss[0] for C in Cs]  # one at a time: no path to end
    )
    assert found.best == whole.mean(axis=1).argmin()
    known = ~np.isnan(found.log_loss)
    np.testing.assert_allclose(found.log_loss[known], whole[known], rtol=1e-2)  # tol=1e-6: 1e-3 in the parameters


def test_folds_do_not_copy_the_data():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 100)), rng.integers(0, 2, 20_000)
    nbs.cross_validate(X, y, Cs=[0.1], folds=2)  # compiles; fewer samples would need other kernels
    tracemalloc.start()
    nbs.cross_validate(X, y, Cs=[0.1, 1.0], folds=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes  # with one copy more it would be above


SEARCHES = {
    "fit_path": lambda X, y, **more: nbs.fit_path(X, y, l2s=[0.1, 0.2, 0.3, 0.4, 0.5], **more),
    "cross_validate": lambda X, y, **more: nbs.cross_validate(X, y, Cs=[0.1, 0.2], folds=2, **more),
}


@pytest.mark.parametrize("options", [{}, {"validation_fraction": 0.5}, {"dtype": np.float32}], ids=str)
@pytest.mark.parametrize("search", SEARCHES)
def test_an_x_that_has_to_be_converted_is_converted_once_and_kept_once(search, options):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 100, (20_000, 50)), rng.integers(0, 2, 20_000)
    SEARCHES[search](X, y, **options)  # compiles; fewer samples would need other kernels
    floats = X.size * np.dtype(options.get("dtype", np.float64)).itemsize
    tracemalloc.start()
    found = SEARCHES[search](X, y, **options)
    gc.collect()  # what is held, and not what waits to be freed
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Labels and weights take a tenth of X or two.
    assert kept < 1.4 * floats
    if not options:  # a split has its two parts beside X, and a fit to float32 data ends in float64
        assert peak < 1.6 * floats
    results = found.results if search == "fit_path" else [found.result]
    assert all(result.problem.X is results[0].problem.X for result in results)


@pytest.mark.parametrize("search", SEARCHES)
def test_names_of_features_reach_the_models_of_a_search(search):
    pandas = pytest.importorskip("pandas")
    X, y = problem(60)
    frame = pandas.DataFrame(X, columns=[f"f{j}" for j in range(X.shape[1])])
    found = SEARCHES[search](frame, y)
    for result in found.results if search == "fit_path" else [found.result]:
        assert result.model.feature_names == tuple(frame)


def test_the_weights_of_a_path_over_c_are_those_of_the_samples_of_the_fit():
    X, y = problem()
    s = np.random.default_rng(1).uniform(0.5, 2, len(y))
    options = {"validation_fraction": 0.25, "random_state": 3}
    path = nbs.fit_path(X, y, Cs=[2.0], sample_weight=s, **options)
    fitted = path.results[0].problem
    assert fitted.n_samples < 160
    assert path.l2s[0] == pytest.approx(1 / (2 * fitted.weight_sum), rel=1e-14)
    found = nbs.cross_validate(X, y, Cs=[2.0], folds=2, sample_weight=s, **options).result
    assert found.problem.n_samples == fitted.n_samples
    assert found.objective_options.penalty.l2 == path.l2s[0]


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_of_a_fold_only_samples_of_its_training_part_are_held_out(folds):
    X, y = problem(60)
    counted = []

    def record(now):
        counted.append(now.validation_loss)

    nbs.cross_validate(X, y, Cs=[1.0], folds=folds, validation_fraction=0.25, callbacks=[record])
    assert counted
    assert np.isfinite(counted).all()


def test_the_seed_reaches_the_fits_of_every_fold():
    X, y = problem()
    pairs = pairs_of(len(y), 2)
    stochastic = {"solver": "sgd", "max_iter": 2, "tol": 1e-2}

    def scores(seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nbs.ConvergenceWarning)
            found = nbs.cross_validate(X, y, Cs=[1.0], folds=pairs, random_state=seed, **stochastic)
        model = nbs.SoftmaxRegressionCV([1.0], cv=pairs, random_state=seed, **stochastic)
        return found.log_loss[0], found.result.model.coef, -model.fit(X, y).scores_[:, 0, 0]

    zero, none, one, again = map(scores, (0, None, 1, 1))
    for k in range(3):
        assert np.array_equal(zero[k], none[k])
        assert np.array_equal(one[k], again[k])
        assert (zero[k] != one[k]).all()
    np.testing.assert_allclose(one[0], one[2], rtol=1e-13)  # the estimator scores by scikit-learn


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"Cs": []}, "expected a list"),
        ({"Cs": [1.0, -1.0]}, "-1"),
        ({"Cs": 0}, "Cs is 0"),
        ({"folds": 1}, "folds is 1, expected at least 2"),
        ({"folds": 5.5}, "folds is 5.5, expected a whole number of at least 2, or pairs"),
        ({"folds": np.float64(5)}, "folds is 5.0, expected"),
        ({"folds": "five"}, "folds is 'five', expected"),
        ({"folds": True}, "folds is True"),
        ({"folds": StratifiedKFold(5)}, r"such as list\(splitter.split\(X, y\)\)"),
        ({"folds": [1, 2, 3]}, "two pairs"),
        ({"l2": 1.0}, "cross_validate got l2=1.0.*give Cs"),
        ({"l1": 1.0}, "cross_validate got l1=1.0.*give l1_ratio"),
        ({"C": 1.0}, "cross_validate got C=1.0.*give Cs"),
        ({"alphas": [1.0]}, "cross_validate got the unknown option 'alphas'; strengths of the penalty are Cs"),
        ({"Cs": "many"}, "Cs is 'many', expected a list"),
        ({"Cs": [[1.0], [2.0, 3.0]]}, "Cs must be rectangular"),
        ({"folds": 1000}, "200 samples"),
        ({"folds": [([0], [1])]}, "two pairs"),
        ({"folds": [([0, 999], [1]), ([1], [0])]}, "indices"),
        ({"folds": [([[0, 1], [2]], [1]), ([1], [0])]}, "the train part of a fold must be rectangular"),
        ({"folds": [(np.arange(100), np.arange(0)), (np.arange(100), np.arange(100, 200))]}, "holds out no sample"),
        ({"refit": "worst"}, "refit"),
        ({"l1_ratio": 2.0}, "l1_ratio"),
        ({"sample_weight": problem()[1] != problem()[1][0]}, "has no sample of positive weight"),
        ({"Cs": [1.0], "sample_weight": np.full(200, 1e-320)}, "the weights sum to .*, so that the penalty"),
        ({"Cs": [1e-306], "sample_weight": np.full(200, 1e307)}, "the weights sum to inf"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, said):
    X, y = problem()
    with pytest.raises(nbs.InputError, match=said):
        nbs.cross_validate(X, y, **arguments)


def test_a_class_that_a_fold_cannot_learn_is_named():
    X, y = problem()
    y = np.where(np.arange(y.size) == 7, "oak", y)
    with pytest.raises(
        nbs.InputValueError, match="'oak' has 1 sample, but none in the training part of a fold; leave the class out"
    ):
        nbs.cross_validate(X, y)


def test_a_class_of_fewer_samples_than_folds_is_learned_in_all_of_them():
    X, y = problem()
    y = np.where(np.arange(y.size) % 100 == 7, "oak", y)
    assert (y == "oak").sum() == 2
    found = nbs.cross_validate(X, y, Cs=[0.1], folds=5)
    assert np.isfinite(found.log_loss).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"l2": 1.0}, "fit_path got l2=1.0.*give l2s"),
        ({"l1": np.float64(1.0)}, "fit_path got l1=1.0.*give l1_ratio"),
        ({"C": 1.0}, "fit_path got C=1.0.*give Cs"),
        ({"fit_intercepts": True}, "fit_path got the unknown option 'fit_intercepts'.*those of Trainer"),
    ],
)
def test_a_path_makes_its_penalties_itself(options, said):
    X, y = problem()
    with pytest.raises(nbs.InputTypeError, match=said):
        nbs.fit_path(X, y, l2s=[1.0], **options)


def test_a_path_needs_one_grid():
    X, y = problem()
    for grids in ({}, {"l2s": [1], "Cs": [1]}):
        with pytest.raises(nbs.InputValueError, match="exactly one of l2s and Cs"):
            nbs.fit_path(X, y, **grids)
    with pytest.raises(
        nbs.InputTypeError,
        match=r"unknown option 'lambdas'; .*are l2s or Cs, the share of l1 is l1_ratio",
    ):
        nbs.fit_path(X, y, lambdas=[1.0])


@pytest.mark.parametrize("search", ["fit_path", "cross_validate", "SoftmaxRegressionCV"])
@pytest.mark.parametrize("at", [0, 1, 4, 9])  # of cross-validation the last fit is the one to all samples
def test_ctrl_c_ends_a_search_and_no_score_of_the_fit_that_it_cut_off_is_used(search, at, monkeypatch):
    X, y = problem(60)
    whole = {
        "fit_path": lambda: nbs.fit_path(X, y, l2s=np.geomspace(1e-3, 1, 10)),
        "cross_validate": lambda: nbs.cross_validate(X, y, Cs=3, folds=3),
        "SoftmaxRegressionCV": lambda: nbs.SoftmaxRegressionCV(Cs=3, cv=3).fit(X, y),
    }[search]
    solve, begun = newton_cg.NewtonCG.solve, []

    def interrupted(self, objective, start, *, on_iteration, **options):
        begun.append(objective)

        def after(*now):
            if len(begun) == at + 1:
                raise KeyboardInterrupt
            return on_iteration(*now)

        return solve(self, objective, start, on_iteration=after, **options)

    monkeypatch.setattr(newton_cg.NewtonCG, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whole()
    assert len(begun) == at + 1


def test_a_penalty_too_weak_for_float64_is_none():
    X, y = problem()
    unpenalised = nbs.Trainer(tol=1e-9).fit(X, y).model.coef
    path = nbs.fit_path(X, y, Cs=[1e300], sample_weight=np.full(len(y), 1e50), tol=1e-9)  # and no warning of NumPy's
    assert path.l2s[0] == 0
    assert np.allclose(path.coefs[0], unpenalised, atol=1e-4)


@pytest.mark.parametrize("weight", [1e-310, 1e308])
def test_weights_whose_sum_overflows_are_refused_beside_c(weight):
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    with (
        np.errstate(over="ignore"),
        pytest.raises(nbs.InputValueError, match=r"the weights sum to .* divide the weights by their largest"),
    ):
        nbs.cross_validate(X, y, Cs=[1.0], folds=2, sample_weight=np.full(20, weight))


def test_accuracy_is_the_share_of_weights_of_any_size():
    right, weight = np.array([True, False, True, True]), np.array([1.0, 0.5, 0.25, 0.25])
    for scale in (1.0, 1e308, 1e-300):
        assert accuracy(right, weight * scale) == pytest.approx(0.75, rel=1e-14)
    assert accuracy(right) == 0.75


def test_cross_validation_counts_the_features_of_each_fold():
    rng = np.random.default_rng(3)
    X, fold = rng.normal(size=(120, 6)), np.arange(120) % 3
    y = np.argmax(X[:, :2] @ rng.normal(size=(2, 3)) + rng.gumbel(size=(120, 3)), axis=1)
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    found = nbs.cross_validate(X, y, Cs=[1e-3, 0.2, 100], l1_ratio=1, folds=folds)
    for k, (train, _) in enumerate(folds):
        coefs = nbs.fit_path(X[train], y[train], Cs=[1e-3, 0.2, 100], l1_ratio=1).coefs
        assert np.array_equal(found.n_features[:, k], coefs.any(axis=1).sum(axis=1))
    assert found.n_features.min() == 0 < found.n_features[1].min() <= found.n_features[1].max() < 6
    assert found.leaves_out_features
    assert "features" in repr(found)
    ridge = nbs.cross_validate(X, y, Cs=[1e-3, 100], folds=folds)
    assert not ridge.leaves_out_features
    assert "features" not in repr(ridge)
