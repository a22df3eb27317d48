"""Offsets: fixed additions to the logits, in fits, selections, predictions and inference."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import logsumexp

import nbsoftmax as nbs
from nbsoftmax.errors import InputValueError

M, N, K = 400, 3, 3
rng = np.random.default_rng(11)
X = rng.normal(size=(M, N))
OFFSET = rng.normal(size=(M, K))
COEF = rng.normal(size=(K, N))
Y = np.array(["a", "b", "c"])[np.argmax(X @ COEF.T + OFFSET + rng.gumbel(size=(M, K)), axis=1)]
WEIGHT = rng.uniform(0.5, 2.0, M)
SECOND = np.array([0.0, 1.0, 0.0])  # of three classes
FIXED = {"tol": 1e-10, "l2": 0.01}
COMMON = nbs.SoftmaxModel(COEF, np.zeros(K), ["a", "b", "c"])


def minimum(X, Y, offset):
    """The parameters by the general objective, whose offset other tests compare with SciPy."""
    codes = np.unique(Y, return_inverse=True)[1]
    J = nbs.Objective(X, codes, l2=0.01, offset=offset)
    from scipy.optimize import minimize

    shape = J.shape
    found = minimize(
        lambda w: [np.ravel(a) if i else a for i, a in enumerate(J.value_and_grad(w.reshape(shape)))],
        np.zeros(shape).ravel(),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9},
    )
    return found.x.reshape(shape)


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs"])
def test_a_fit_finds_the_minimum_with_the_offset(solver):
    model = nbs.Trainer(solver=solver, **FIXED).fit(X, Y, offset=OFFSET).model
    np.testing.assert_allclose(model.coef, minimum(X, Y, OFFSET)[:, :-1], atol=1e-5)
    assert np.abs(model.coef - nbs.Trainer(**FIXED).fit(X, Y).model.coef).max() > 0.01


@pytest.mark.parametrize("solver", ["auto", "newton-cg", "newton", "lbfgs"])
@pytest.mark.parametrize("shift", [15.0, 50.0, 100.0, -300.0, 1e4])
def test_a_constant_added_to_the_offset_of_a_class_changes_its_intercept_alone(solver, shift):
    shifted = nbs.Trainer(solver=solver, **FIXED).fit(X, Y, offset=OFFSET + shift * SECOND)
    plain = nbs.Trainer(solver=solver, **FIXED).fit(X, Y, offset=OFFSET)
    assert shifted.converged
    np.testing.assert_allclose(shifted.objective, plain.objective, rtol=1e-9)
    np.testing.assert_allclose(shifted.model.coef, plain.model.coef, atol=1e-5)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_only_with_an_intercept_a_fit_starts_where_the_means_of_a_far_offset_are_balanced(fit_intercept):
    trainer = nbs.Trainer(fit_intercept=fit_intercept, max_iter=0, **FIXED)
    with pytest.warns(nbs.ConvergenceWarning):
        start = trainer.fit(X, Y, offset=OFFSET + 50.0 * SECOND).model
    assert not start.coef.any()
    means = OFFSET.mean(axis=0) + 50.0 * SECOND
    np.testing.assert_allclose(start.intercept, (means.mean() - means) * fit_intercept, rtol=1e-12)


def test_predictions_add_an_offset_to_the_logits():
    model = nbs.Trainer(**FIXED).fit(X, Y, offset=OFFSET).model
    logits = X @ model.coef.T + model.intercept + OFFSET
    np.testing.assert_allclose(model.decision_function(X, offset=OFFSET), logits, rtol=1e-12, atol=1e-12)
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X, offset=OFFSET), proba, rtol=1e-10)
    np.testing.assert_allclose(model.predict_log_proba(X, offset=OFFSET), np.log(proba), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X, offset=OFFSET), model.classes[proba.argmax(axis=1)])
    labels, best = model.top_k(X, 2, offset=OFFSET)
    order = np.argsort(-proba, axis=1)[:, :2]
    np.testing.assert_array_equal(labels, model.classes[order])
    np.testing.assert_allclose(best, np.take_along_axis(proba, order, axis=1), rtol=1e-10)
    assert model.score(X, Y, offset=OFFSET) == np.mean(model.predict(X, offset=OFFSET) == Y) > model.score(X, Y)


def test_for_two_classes_one_column_is_enough():
    y, one = Y == "a", OFFSET[:, 0]
    both = np.column_stack([np.zeros(M), one])
    models = [nbs.Trainer(**FIXED).fit(X, y, offset=offset).model for offset in (one, both)]
    np.testing.assert_array_equal(models[0].coef, models[1].coef)
    np.testing.assert_array_equal(models[0].predict_proba(X, offset=one), models[0].predict_proba(X, offset=both))


@pytest.mark.parametrize("shape", [(M,), (M, 1), (M, 2)])
def test_for_two_classes_one_column_is_enough_in_blocks_too(shape):
    y, one = (Y == "a").astype(int), OFFSET[:, 0]
    given = np.column_stack([np.zeros(M), one]) if shape[1:] == (2,) else one.reshape(shape)
    source = nbs.data.from_batches([(X, y, None, given)], batch_rows=150)
    fit, whole = nbs.Trainer(**FIXED).fit(source), nbs.Trainer(**FIXED).fit(X, y, offset=one)
    assert fit.objective == pytest.approx(whole.objective, rel=1e-9)
    np.testing.assert_array_equal(fit.model.predict_proba(source), fit.model.predict_proba(X, offset=one))


def test_validation_data_have_weights_and_an_offset_of_their_own():
    held = slice(300, None)
    fit = nbs.Trainer(**FIXED).fit(
        X[:300], Y[:300], offset=OFFSET[:300], validation_data=(X[held], Y[held], WEIGHT[held], OFFSET[held])
    )
    log_proba = fit.model.predict_log_proba(X[held], offset=OFFSET[held])
    codes = np.searchsorted(fit.model.classes, Y[held])
    expected = np.average(-log_proba[np.arange(100), codes], weights=WEIGHT[held])
    assert fit.history["validation_loss"][-1] == pytest.approx(expected, rel=1e-9)


def test_paths_and_cross_validation_take_an_offset():
    path = nbs.fit_path(X, Y, l2s=[0.1, 0.01], offset=OFFSET, tol=1e-10)
    alone = nbs.Trainer(**FIXED).fit(X, Y, offset=OFFSET).model
    np.testing.assert_allclose(path.results[1].model.coef, alone.coef, atol=1e-5)
    folds = [(np.arange(200), np.arange(200, M)), (np.arange(200, M), np.arange(200))]
    found = nbs.cross_validate(X, Y, Cs=[1.0], folds=folds, offset=OFFSET, tol=1e-10)
    for f, (train, test) in enumerate(folds):
        model = nbs.Trainer(l2=1 / 200, tol=1e-10).fit(X[train], Y[train], offset=OFFSET[train]).model
        log_proba = model.predict_log_proba(X[test], offset=OFFSET[test])
        codes = np.searchsorted(model.classes, Y[test])
        assert found.log_loss[0, f] == pytest.approx(-log_proba[np.arange(200), codes].mean(), rel=1e-6)
        assert found.accuracy[0, f] == model.score(X[test], Y[test], offset=OFFSET[test])


def test_a_checkpoint_of_another_offset_is_refused(tmp_path):
    path = tmp_path / "state"
    nbs.Trainer(**FIXED).fit(X, Y, offset=OFFSET, checkpoint=path)
    with pytest.raises(InputValueError, match="other data"):
        nbs.Trainer(**FIXED).fit(X, Y, offset=OFFSET + 1e-9, checkpoint=path, resume=True)


@pytest.mark.parametrize("cov", ["fisher", "sandwich"])
def test_inference_with_an_offset_is_that_of_statsmodels_for_two_classes(cov):
    import statsmodels.api as sm

    y, one = (Y == "a").astype(int), OFFSET[:, 0]
    ours = nbs.Trainer(tol=1e-12).fit(X, y, offset=one).inference(cov=cov)
    logit = sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial(), offset=one)
    theirs = logit.fit(cov_type="nonrobust" if cov == "fisher" else "HC0")
    np.testing.assert_allclose(ours.standard_errors[0], np.roll(theirs.bse, -1), rtol=1e-6)
    np.testing.assert_allclose(ours.params[0], np.roll(theirs.params, -1), rtol=1e-6)
    assert ours.log_likelihood == pytest.approx(theirs.llf, rel=1e-9)
    assert ours.log_likelihood_null == pytest.approx(theirs.llnull, rel=1e-7)
    again = nbs.inference(nbs.Trainer(tol=1e-12).fit(X, y, offset=one).model, X, y, offset=one, cov=cov)
    np.testing.assert_allclose(again.standard_errors, ours.standard_errors, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_the_model_without_features_is_at_its_maximum_beside_a_large_offset(scale):
    y, weight = np.arange(M) % K, WEIGHT * 2.0**-40
    offset = scale * np.random.default_rng(3).normal([0.0, 2.0, -2.0], size=(M, K))

    def loss(intercepts):
        logits = offset + np.append(0.0, intercepts)
        return (weight * (logsumexp(logits, axis=1) - logits[np.arange(M), y])).sum() / weight.sum()

    found = nbs.Trainer(tol=1e-10).fit(X, y, sample_weight=weight, offset=offset).inference()
    best = minimize(
        loss, np.zeros(K - 1), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 2000}
    )
    assert found.log_likelihood_null == pytest.approx(-best.fun * weight.sum(), rel=1e-7)


def test_intervals_and_effects_at_other_rows_take_an_offset():
    result = nbs.Trainer(tol=1e-12).fit(X, Y, offset=OFFSET)
    inference = result.inference()
    found = inference.predict_interval(X[:9], offset=OFFSET[:9])
    np.testing.assert_allclose(found.proba, inference.model.predict_proba(X[:9], offset=OFFSET[:9]), rtol=1e-12)
    base = inference.model.classes.tolist().index(inference.reference)
    for i in range(9):  # an offset is an intercept of each row
        moved = replace(inference.model, intercept=inference.model.intercept + OFFSET[i] - OFFSET[i, base])
        alone = replace(inference, model=moved).predict_interval(X[[i]])
        np.testing.assert_allclose(found.low[[i]], alone.low, rtol=1e-10)
        np.testing.assert_allclose(found.high[[i]], alone.high, rtol=1e-10)
    ours = result.marginal_effects(X, offset=OFFSET)
    np.testing.assert_allclose(ours.effects, result.marginal_effects().effects, rtol=1e-12)
    assert np.abs(ours.effects - result.marginal_effects(X).effects).max() > 1e-3
    weighted = result.marginal_effects(X, offset=OFFSET, sample_weight=np.arange(M) < 5)
    np.testing.assert_allclose(weighted.effects, result.marginal_effects(X[:5], offset=OFFSET[:5]).effects, rtol=1e-12)


def stream_of_labels(X, y, offset):
    return nbs.Trainer(solver=nbs.SGD(learning_rate=0.1)).partial_fit(X, y, classes=list("abc"), offset=offset)


def stream_of_an_estimator(X, y, offset):
    return nbs.SoftmaxRegression(random_state=0).partial_fit(X, y, classes=list("abc"), offset=offset)


@pytest.mark.parametrize("layout", [np.asarray, csr_array])
@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
def test_an_offset_that_is_linear_in_X_is_another_start_of_a_stream(layout, optimizer):
    given, start = layout(X), rng.normal(size=(K, N + 1))
    options = {"solver": nbs.SGD(learning_rate=0.1, optimizer=optimizer)}
    here, there = nbs.Trainer(**options), nbs.Trainer(**options)
    of_start = X @ start[:, :-1].T + start[:, -1]
    for chunk in (slice(0, 150), slice(150, M)):
        moved = here.partial_fit(given[chunk], Y[chunk], classes=list("abc"), offset=of_start[chunk])
        begun = {"init": start} if chunk.start == 0 else {}
        expected = there.partial_fit(given[chunk], Y[chunk], classes=list("abc"), **begun)
    np.testing.assert_allclose(moved.coef + start[:, :-1], expected.coef, atol=1e-10)
    np.testing.assert_allclose(moved.intercept + start[:, -1], expected.intercept, atol=1e-10)


def test_streams_come_near_the_fit_with_the_offset():
    many = 40 * M
    X, offset = rng.normal(size=(many, N)), rng.normal(size=(many, K))
    y = np.array(["a", "b", "c"])[np.argmax(X @ COEF.T + offset + rng.gumbel(size=(many, K)), axis=1)]
    best = nbs.Trainer().fit(X, y, offset=offset)
    trainer, estimator = nbs.Trainer(solver=nbs.SGD(average=True)), nbs.SoftmaxRegression(C=np.inf)
    for low in range(0, many, M):
        chunk = slice(low, low + M)
        model = trainer.partial_fit(X[chunk], y[chunk], classes=list("abc"), offset=offset[chunk])
        estimator.partial_fit(X[chunk], y[chunk], classes=list("abc"), offset=offset[chunk])
    J = nbs.Objective(X, np.searchsorted(model.classes, y), offset=offset)
    for found in (model, estimator.model_):
        assert J.value(np.column_stack([found.coef, found.intercept])) <= 1.005 * best.objective
    assert 1.01 * best.objective < nbs.Trainer().fit(X, y).objective


def test_a_chunk_whose_offset_alone_has_a_large_loss_has_not_diverged():
    large = np.where(np.array(list("abc")) == Y[:, None], 0.0, 5000.0)
    stream_of_labels(X, Y, large)
    with pytest.raises(InputValueError, match="diverged"):
        nbs.Trainer(solver=nbs.SGD(learning_rate=1e6)).partial_fit(X, Y, classes=list("abc"), offset=OFFSET)


def test_a_stream_of_tables_leaves_out_offsets_of_the_rows_that_it_drops():
    table = pd.DataFrame(X.copy(), columns=list("uvw"))  # pandas 2 would write to X itself
    table.loc[::7, "v"] = np.nan
    kept = table["v"].notna().to_numpy()
    with pytest.warns(UserWarning, match="58 of 400 rows"):
        encoding = nbs.data.from_batches([table], table=nbs.TableOptions(missing="drop"), target=None).encoding
    options = {"solver": nbs.SGD(learning_rate=0.1)}
    with pytest.warns(UserWarning, match="58 of 400 rows"):
        model = nbs.Trainer(table=encoding, **options).partial_fit(table, Y, classes=list("abc"), offset=OFFSET)
    np.testing.assert_array_equal(model.coef, stream_of_labels(X[kept], Y[kept], OFFSET[kept]).coef)


@pytest.mark.parametrize(
    "fit",
    [
        nbs.Trainer(**FIXED).fit,
        nbs.SoftmaxRegression().fit,
        stream_of_labels,
        stream_of_an_estimator,
        lambda X, y, offset: nbs.calibrate(COMMON, X, y, offset=offset),
    ],
)
def test_a_table_of_offsets_whose_columns_are_the_classes_has_their_order(fit):
    named = pd.DataFrame(OFFSET, columns=np.unique(Y))
    fitted = fit(X, Y, offset=named)
    model = getattr(fitted, "model", fitted)
    np.testing.assert_array_equal(model.predict_proba(X, offset=named), model.predict_proba(X, offset=OFFSET))
    turned = named[named.columns[::-1]]
    message = "put the columns in this order"
    with pytest.raises(InputValueError, match=message):
        fit(X, Y, offset=turned)
    with pytest.raises(InputValueError, match=message):
        model.predict_proba(X, offset=turned)
    others = turned.set_axis(["o1", "o2", "o3"], axis=1)  # other names say nothing
    np.testing.assert_array_equal(model.predict(X, offset=others), model.predict(X, offset=OFFSET[:, ::-1]))


BAD = {
    "a column too few": (OFFSET[:, :2], "offset has shape"),
    "a row too few": (OFFSET[1:], "offset has shape"),
    "one column for three classes": (OFFSET[:, 0], "offset has shape"),
    "a NaN": (np.where(np.arange(M)[:, None] == 7, np.nan, OFFSET), "offset contains nan at row 7"),
    "text": (OFFSET.astype(str), "offset"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_offsets_are_refused(case):
    offset, message = BAD[case]
    model = nbs.Trainer(**FIXED).fit(X, Y).model
    with pytest.raises((ValueError, TypeError), match=message):
        nbs.Trainer().fit(X, Y, offset=offset)
    with pytest.raises((ValueError, TypeError), match=message):
        model.predict(X, offset=offset)
    with pytest.raises((ValueError, TypeError), match=message):
        nbs.Trainer(solver="sgd").partial_fit(X, Y, classes=list("abc"), offset=offset)
    with pytest.raises((ValueError, TypeError), match=message):
        nbs.calibrate(model, X, Y, offset=offset)


def test_the_estimators_route_an_offset():
    pytest.importorskip("sklearn")
    import sklearn
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.fixes import parse_version

    estimator = nbs.SoftmaxRegression(C=1.0, tol=1e-10).fit(X, Y, offset=OFFSET)
    model = nbs.Trainer(l2=1 / M, tol=1e-10).fit(X, Y, offset=OFFSET).model
    np.testing.assert_allclose(estimator.coef_, model.coef, atol=1e-6)
    np.testing.assert_array_equal(estimator.predict(X, offset=OFFSET), model.predict(X, offset=OFFSET))
    np.testing.assert_allclose(estimator.predict_proba(X, OFFSET), model.predict_proba(X, offset=OFFSET), atol=1e-6)
    assert estimator.score(X, Y, offset=OFFSET) == model.score(X, Y, offset=OFFSET)
    chosen = nbs.SoftmaxRegressionCV(Cs=[1.0], cv=2).fit(X, Y, offset=OFFSET)
    np.testing.assert_allclose(chosen.coef_, model.coef, atol=1e-4)
    with sklearn.config_context(enable_metadata_routing=True):
        asks = nbs.SoftmaxRegression().set_fit_request(offset=True).set_score_request(offset=True)
        # Pipelines of scikit-learn 1.6 do not give metadata to `score`.
        routes = parse_version(sklearn.__version__) >= parse_version("1.7")
        chosen = make_pipeline(StandardScaler(), asks) if routes else asks
        scores = cross_val_score(chosen, X, Y, params={"offset": OFFSET}, cv=3)
        nbs.SoftmaxRegression().set_partial_fit_request(offset=True, classes=True)
    assert scores.mean() > nbs.SoftmaxRegression().fit(X, Y).score(X, Y)
