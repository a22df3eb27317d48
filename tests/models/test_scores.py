"""The accuracy, where the weights of the samples are extreme, and where there are no samples."""

import numpy as np
import pytest

import nbsoftmax as nbs

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 3))
Y = np.arange(40) % 3
POSSIBLE = np.eye(3, dtype=bool)[Y] | (RNG.random((40, 3)) < 0.2)
WEIGHT = RNG.integers(1, 9, 40) / 8
ESTIMATOR = nbs.SoftmaxRegression().fit(X, Y)
RIGHT = {"labels": ESTIMATOR.predict(X) == Y, "partial labels": POSSIBLE[np.arange(40), ESTIMATOR.predict(X)]}
TARGETS = {"labels": Y, "partial labels": POSSIBLE}
EXPONENTS = [-1050, 0, 1023]  # the weights are subnormal, are near 1, have a sum that overflows


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("y", TARGETS)
def test_weights_of_any_magnitude_give_the_same_accuracy(exponent, y):
    expected = np.average(RIGHT[y], weights=WEIGHT)
    for scored in (ESTIMATOR, ESTIMATOR.model_):
        found = scored.score(X, TARGETS[y], sample_weight=np.ldexp(WEIGHT, exponent))
        assert found == pytest.approx(expected, rel=1e-14)  # rounding errors of two sums


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_blocks_with_weights_of_any_magnitude_give_the_same_accuracy(exponent):
    weight = np.ldexp(WEIGHT, exponent)
    parts = [(X[i : i + 8], Y[i : i + 8], weight[i : i + 8]) for i in range(0, 40, 8)]
    expected = np.average(RIGHT["labels"], weights=WEIGHT)
    for scored in (ESTIMATOR, ESTIMATOR.model_):
        assert scored.score(nbs.data.from_batches(parts, batch_rows=8)) == pytest.approx(expected, rel=1e-14)


def test_a_block_counts_by_its_weights():
    weight = np.where(np.arange(40) < 8, 0.0, WEIGHT)  # all weights of the first block are 0
    weight[8:16] *= 2.0**-30
    parts = [(X[i : i + 8], Y[i : i + 8], weight[i : i + 8]) for i in range(0, 40, 8)]
    expected = np.average(RIGHT["labels"], weights=weight)
    assert ESTIMATOR.score(nbs.data.from_batches(parts, batch_rows=8)) == pytest.approx(expected, rel=1e-14)
    nothing = [(X, Y, np.zeros(40))]
    with pytest.raises(nbs.InputValueError, match="the weights of the rows sum to 0"):
        ESTIMATOR.score(nbs.data.from_batches(nothing))


@pytest.mark.parametrize(
    ("weight", "said"), [(np.zeros(40), "all zero"), (-WEIGHT, "at least 0"), (WEIGHT[:5], r"expected \(40,\)")]
)
@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
def test_weights_with_which_the_accuracy_is_undefined_are_refused(weight, said, y):
    for scored in (ESTIMATOR, ESTIMATOR.model_):
        with pytest.raises(nbs.InputValueError, match=said):
            scored.score(X, y, sample_weight=weight)


@pytest.mark.parametrize(("name", "given"), [("y", Y), ("sample_weight", WEIGHT), ("offset", np.zeros((40, 3)))])
def test_a_source_has_its_own_labels_weights_and_offset(name, given):
    source = nbs.data.from_batches([(X, Y)])
    for scored in (ESTIMATOR, ESTIMATOR.model_):
        with pytest.raises(nbs.InputTypeError, match=f"its own y, sample weights and offset; leave {name} out"):
            scored.score(source, **{name: given})


@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
def test_a_score_needs_samples(y):
    with pytest.raises(nbs.InputValueError, match="X has no rows, so the accuracy is not defined"):
        ESTIMATOR.model_.score(X[:0], y[:0])


def test_a_reliability_diagram_of_weights_that_overflow_has_finite_frequencies():
    proba = ESTIMATOR.predict_proba(X)
    found = nbs.reliability(Y, proba, sample_weight=np.ldexp(WEIGHT, 1023))
    expected = nbs.reliability(Y, proba, sample_weight=WEIGHT)
    np.testing.assert_array_equal(found.frequency, expected.frequency)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
