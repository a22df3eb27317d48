"""Calibration: the temperature that minimises the loss, and scores that say what they are said to say."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import nbsoftmax as nbs
from tests import reference

EPS = np.finfo(np.float64).eps


def draws(n=500, n_classes=4, seed=0, temperature=1.0):
    """Logits, and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(n, n_classes))
    cumulated = reference.softmax(logits / temperature).cumsum(axis=1)
    return logits, np.minimum((cumulated < rng.uniform(size=(n, 1))).sum(axis=1), n_classes - 1)


# --- temperature --------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 7]), st.floats(0.3, 4))
def test_the_temperature_is_where_the_loss_is_least(seed, n_classes, truth):
    logits, y = draws(80, n_classes, seed, truth)
    assume((logits.argmax(axis=1) != y).any())  # else the best temperature is 0, which is refused
    weight = np.random.default_rng(seed).uniform(0, 2, 80)
    for s in (None, weight):

        def loss(log_t, s=s):
            losses, _, divisor = reference.cross_entropy(logits / np.exp(log_t), y, sample_weight=s)
            return losses.sum() / divisor

        found = np.log(nbs.temperature(logits, y, sample_weight=s))
        other = minimize_scalar(loss, bounds=(found - 2, found + 2), method="bounded", options={"xatol": 1e-10})
        # The tolerance of the temperature, 1e-12, changes the loss by its square, which is less than a rounding error.
        # Those of a loss of the reference are: each logit is divided, and the largest one subtracted, an error of 2 eps
        # max|z| / T, once in the logit of the label and once in the sum of exp; K terms of that sum; and sums of 80.
        rounding = EPS * (4 * np.abs(logits).max() / np.exp(found) + n_classes + 10 * (1 + other.fun))
        assert loss(found) <= other.fun + 2 * rounding  # of two losses
        assert loss(found) < min(loss(found - 1e-3), loss(found + 1e-3))
        assert abs(found - other.x) <= 1e-5  # a minimum is known to the root of the precision of its value


def test_the_temperature_of_drawn_labels_is_found_again():
    logits, y = draws(40_000, temperature=2.5)
    assert abs(nbs.temperature(logits, y) / 2.5 - 1) < 0.03  # some three standard errors


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_temperature_scales_with_the_logits_and_knows_no_shift(scale):
    logits, y = draws()
    t = nbs.temperature(logits, y)
    assert abs(nbs.temperature(scale * logits, y) / (scale * t) - 1) <= 1e-9
    assert abs(nbs.temperature(logits + 100 * np.arange(500)[:, None], y) / t - 1) <= 1e-9


def test_rows_of_probabilities_and_weights_mean_the_same_as_repeated_labels():
    logits, y = draws()
    weight = np.random.default_rng(0).integers(0, 3, 500)
    repeated = nbs.temperature(np.repeat(logits, weight, axis=0), np.repeat(y, weight))
    assert abs(nbs.temperature(logits, y, sample_weight=weight) / repeated - 1) <= 1e-9
    assert abs(nbs.temperature(logits, np.eye(4)[y], sample_weight=weight) / repeated - 1) <= 1e-9
    own = reference.softmax(logits / 1.7)
    assert abs(nbs.temperature(logits, own) / 1.7 - 1) <= 1e-9


@pytest.mark.parametrize("n_classes", [2, 5])
def test_an_offset_is_added_to_the_divided_logits(n_classes):
    logits, _ = draws(2000, n_classes)
    offset = 2 * np.random.default_rng(1).normal(size=logits.shape)
    proba = reference.softmax(logits / 1.7 + offset)
    y = (proba.cumsum(axis=1) < np.random.default_rng(2).uniform(size=(2000, 1))).sum(axis=1)
    weight = np.random.default_rng(3).uniform(0, 2, 2000)
    assert abs(nbs.temperature(logits, proba, offset=offset) / 1.7 - 1) <= 1e-9
    found = nbs.temperature(logits, y, sample_weight=weight, offset=offset)

    def loss(t):
        losses, _, divisor = reference.cross_entropy(logits / t + offset, y, sample_weight=weight)
        return losses.sum() / divisor

    assert loss(found) < min(loss(found * 1.001), loss(found / 1.001))
    shifted = offset + np.arange(2000)[:, None]
    assert abs(nbs.temperature(logits, y, sample_weight=weight, offset=shifted) / found - 1) <= 1e-9
    constant = nbs.temperature(logits, y, offset=np.full_like(logits, 3.0))
    assert abs(constant / nbs.temperature(logits, y) - 1) <= 1e-9


def test_for_two_classes_the_temperature_is_that_of_a_regression_with_an_offset():
    import statsmodels.api as sm

    logits, y = draws(500, 2)
    offset = np.random.default_rng(1).normal(size=500)
    glm = sm.GLM(y, logits[:, 1] - logits[:, 0], family=sm.families.Binomial(), offset=offset).fit(tol=1e-14)
    assert abs(nbs.temperature(logits, y, offset=offset) * glm.params[0] - 1) <= 1e-8


def test_a_calibrated_model_takes_the_offset_in_its_predictions():
    rng = np.random.default_rng(0)
    true = nbs.SoftmaxModel(rng.normal(size=(3, 2)), rng.normal(size=3), ["a", "b", "c"])
    X, offset = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 3))
    y = np.array([rng.choice(true.classes, p=a) for a in true.predict_proba(X, offset=offset)])
    sure = nbs.SoftmaxModel(3 * true.coef, 3 * true.intercept, true.classes)
    calibrated = nbs.calibrate(sure, X, y, offset=offset)
    assert abs(np.abs(calibrated.coef / true.coef).mean() - 1) < 0.1
    again = nbs.calibrate(calibrated, X, y, offset=offset)
    np.testing.assert_allclose(again.coef, calibrated.coef, rtol=1e-9)
    assert abs(nbs.calibrate(sure, X, y).coef / calibrated.coef - 1).min() > 0.05  # the offset matters


def test_logits_that_are_no_better_than_the_offset_have_no_temperature():
    logits, y = draws()
    with pytest.raises(nbs.InputValueError, match="no better than the offset alone"):
        nbs.temperature(logits, y, offset=2 * logits)


def test_a_calibrated_model_is_a_model_that_predicts_the_same_labels_with_a_smaller_loss():
    rng = np.random.default_rng(0)
    true = nbs.SoftmaxModel(rng.normal(size=(3, 2)), rng.normal(size=3), ["a", "b", "c"], ["x", "y"])
    X = rng.normal(size=(2000, 2))
    y = np.array([rng.choice(true.classes, p=a) for a in true.predict_proba(X)])
    sure = nbs.SoftmaxModel(3 * true.coef, 3 * true.intercept, true.classes, true.feature_names)
    calibrated = nbs.calibrate(sure, X, y)
    assert isinstance(calibrated, nbs.SoftmaxModel)
    assert calibrated.feature_names == ("x", "y")
    assert np.array_equal(calibrated.predict(X), sure.predict(X))
    assert abs(np.abs(calibrated.coef / true.coef).mean() - 1) < 0.1
    codes = np.searchsorted(true.classes, y)
    before, after = (m.predict_proba(X) for m in (sure, calibrated))
    assert nbs.cross_entropy(np.log(after), codes) < nbs.cross_entropy(np.log(before), codes)
    assert nbs.brier_score(codes, after) < nbs.brier_score(codes, before)
    assert nbs.expected_calibration_error(codes, after) < nbs.expected_calibration_error(codes, before) / 3
    assert abs(nbs.temperature(calibrated.decision_function(X), codes) - 1) <= 1e-9


def test_labels_without_a_best_temperature_are_refused():
    logits, _ = draws()
    with pytest.raises(nbs.InputValueError, match="best temperature is 0"):
        nbs.temperature(logits, logits.argmax(axis=1))
    for useless in (logits, np.zeros_like(logits)):
        with pytest.raises(nbs.InputValueError, match="best temperature is infinite"):
            nbs.temperature(useless, logits.argmin(axis=1))
    with pytest.raises(nbs.InputValueError, match="logits contains -inf at row 0"):
        nbs.temperature([[0.0, -np.inf]], [0])
    with pytest.raises(nbs.InputValueError, match="no samples"):
        nbs.temperature(np.zeros((0, 2)), np.zeros(0, int))


def test_samples_without_weight_do_not_decide_whether_there_is_a_best_temperature():
    logits, _ = draws()
    best, worst = logits.argmax(axis=1), logits.argmin(axis=1)
    first = np.arange(500) < 400
    with pytest.raises(nbs.InputValueError, match="best temperature is 0"):
        nbs.temperature(logits, np.where(first, best, worst), sample_weight=first)
    with pytest.raises(nbs.InputValueError, match="best temperature is infinite"):
        nbs.temperature(logits, np.where(first, worst, best), sample_weight=first)


def test_weights_count_as_repeated_samples_where_they_decide_whether_the_logits_are_of_use():
    logits, y = draws(temperature=2.0)
    labels = np.where(np.arange(500) < 50, y, logits.argmin(axis=1))  # most are wrong
    weight = np.where(np.arange(500) < 50, 40, 1)
    with pytest.raises(nbs.InputValueError, match="best temperature is infinite"):
        nbs.temperature(logits, labels)
    repeated = nbs.temperature(np.repeat(logits, weight, axis=0), np.repeat(labels, weight))
    assert nbs.temperature(logits, labels, sample_weight=weight) == pytest.approx(repeated, rel=1e-9)
    few = np.where(np.arange(500) < 50, 1, 0.1)  # most are right, with little weight
    labels = np.where(np.arange(500) < 50, logits.argmin(axis=1), y)
    assert nbs.temperature(logits, labels) > 0
    with pytest.raises(nbs.InputValueError, match="best temperature is infinite"):
        nbs.temperature(logits, labels, sample_weight=few)


# --- scores ---------------------------------------------------------------------------------------


def test_the_brier_score_is_its_definition():
    logits, y = draws()
    proba, weight = reference.softmax(logits), np.linspace(0, 1, 500)
    expected = ((proba - np.eye(4)[y]) ** 2).sum(axis=1)
    assert abs(nbs.brier_score(y, proba) - expected.mean()) <= 1e-14
    assert abs(nbs.brier_score(y, proba, sample_weight=weight) - np.average(expected, weights=weight)) <= 1e-14
    assert nbs.brier_score([0, 1, 2], np.eye(3)) == 0
    assert nbs.brier_score([1, 2, 0], np.eye(3)) == 2


def test_the_calibration_error_by_hand():
    proba = np.array([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    y = [0, 1, 1, 1, 0]
    # Confidence 0.75 thrice, right twice; 0.5 once, wrong; 1 once, right. Bins: (0.25, 0.5], (0.5, 0.75], (0.75, 1].
    assert abs(nbs.expected_calibration_error(y, proba, n_bins=4) - (3 * abs(2 / 3 - 0.75) + 0.5) / 5) <= 1e-15
    weighted = nbs.expected_calibration_error(y, proba, n_bins=4, sample_weight=[0, 0, 3, 1, 0])
    assert abs(weighted - (3 * 0.25 + 0.5) / 4) <= 1e-15
    # In one bin only the means matter.
    assert abs(nbs.expected_calibration_error(y, proba, n_bins=1) - abs(3 / 5 - 3.75 / 5)) <= 1e-15


def test_the_calibration_error_of_true_probabilities_is_chance():
    logits, y = draws(40_000)
    proba = reference.softmax(logits)
    # E|share - mean| of n draws is below sqrt(p (1 - p) / n): in 15 bins of 40 000 draws, below 0.5 sqrt(15 / 40 000).
    assert nbs.expected_calibration_error(y, proba) < 0.5 * np.sqrt(15 / 40_000)
    assert nbs.expected_calibration_error(y, reference.softmax(3 * logits)) > 0.1


def test_the_reliability_of_each_class_is_its_definition():
    logits, y = draws()
    proba, weight = reference.softmax(logits), np.random.default_rng(0).uniform(0, 1, 500)
    found = nbs.reliability(y, proba, n_bins=5, sample_weight=weight)
    assert np.array_equal(found.edges, [0, 0.2, 0.4, 0.6, 0.8, 1.0])
    for k in range(4):
        for b in range(5):
            inside = (found.edges[b] < proba[:, k]) & (proba[:, k] <= found.edges[b + 1])
            assert abs(found.weight[k, b] - weight[inside].sum()) <= 1e-12
            assert abs(found.confidence[k, b] - np.average(proba[inside, k], weights=weight[inside])) <= 1e-12
            assert abs(found.frequency[k, b] - np.average(y[inside] == k, weights=weight[inside])) <= 1e-12
    for n in (10, 49, 100):
        for b in range(n):
            edge = nbs.reliability([0], [[1 - (b + 1) / n, (b + 1) / n]], n_bins=n)
            assert edge.weight[1].nonzero()[0].tolist() == [b]
    empty = nbs.reliability([0], [[1.0, 0.0]], n_bins=2)
    assert empty.weight.tolist() == [[0, 1], [1, 0]]
    assert np.isnan(empty.frequency[0, 0])


@pytest.mark.parametrize("score", [nbs.brier_score, nbs.expected_calibration_error, nbs.reliability])
def test_what_is_no_probability_is_refused(score):
    with pytest.raises(nbs.InputValueError, match="proba row 1 is not a probability distribution"):
        score([0, 1], [[0.5, 0.5], [0.5, 0.6]])
    with pytest.raises(nbs.InputValueError, match="class 2 at row 1"):
        score([0, 2], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(nbs.InputValueError, match="expected class indices"):
        score([[0.5, 0.5]], [[0.5, 0.5]])
    with pytest.raises(nbs.InputValueError, match="no sample"):
        score(np.zeros(0, int), np.zeros((0, 2)))


def test_the_summary_of_a_reliability_has_the_largest_difference():
    found = nbs.reliability([0, 1, 0, 1], [[0.75, 0.25]] * 4, n_bins=5)
    assert "2 of 10 hold samples" in repr(found)
    assert "largest |confidence - frequency| 0.25" in repr(found)


@pytest.mark.parametrize("score", [nbs.brier_score, nbs.expected_calibration_error, nbs.reliability])
@pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist])
def test_swapped_labels_and_probabilities_are_named_as_such(score, convert):
    logits, y = draws()
    with pytest.raises(nbs.InputValueError, match=r"y has shape \(500, 4\).*\(500,\): the arguments are swapped"):
        score(convert(reference.softmax(logits)), convert(y))


@pytest.mark.parametrize("power", [-1060, -150, 130, 1000])
def test_weights_in_another_unit_change_no_score(power):
    rng = np.random.default_rng(0)
    z, y, s, unit = rng.normal(size=(50, 3)), rng.integers(0, 3, 50), rng.integers(1, 4, 50) / 1.0, 2.0**power
    z[np.arange(50), y] += 0.5
    a = nbs.softmax(z.astype(np.float32))
    assert nbs.temperature(z, y, sample_weight=s * unit) == nbs.temperature(z, y, sample_weight=s)
    for score in (nbs.brier_score, nbs.expected_calibration_error):
        assert score(y, a, sample_weight=s * unit) == score(y, a, sample_weight=s)
    plain, scaled = (nbs.reliability(y, a, sample_weight=w) for w in (s, s * unit))
    assert np.array_equal(scaled.confidence, plain.confidence, equal_nan=True)
    assert np.array_equal(scaled.weight, plain.weight * unit)


@pytest.mark.parametrize("function", [nbs.reliability, nbs.expected_calibration_error])
def test_more_bins_than_fit_in_memory_are_refused(function):
    with pytest.raises(nbs.InputValueError, match="n_bins is 1000000000000, expected at most 1000000"):
        function([0, 1], [[0.5, 0.5], [0.2, 0.8]], n_bins=10**12)
