"""Cross-validation of a source of blocks of rows: that of the same folds in memory."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data.blocks import Block
from tests.problem.test_in_parts import M, Source, W, X, Y

N_FOLDS, SEED, ROWS = 3, 5, 200


def folds():
    """The folds as pairs of row numbers, by the documented rule: a draw for each row by the seed and its block."""
    of_row = np.concatenate(
        [
            np.random.default_rng([SEED, i]).integers(N_FOLDS, size=min(ROWS, M - start))
            for i, start in enumerate(range(0, M, ROWS))
        ]
    )
    return [(np.flatnonzero(of_row != k), np.flatnonzero(of_row == k)) for k in range(N_FOLDS)]


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("options", [{}, {"class_weight": "balanced"}, {"l1_ratio": 0.5}], ids=str)
def test_the_scores_are_those_of_the_same_folds_in_memory(weight, options):
    common = {"Cs": [0.01, 1.0], "tol": 1e-10, "random_state": SEED, **options}
    ours = nbs.cross_validate(Source(weight=weight, n=ROWS), folds=N_FOLDS, **common)
    theirs = nbs.cross_validate(X, Y, sample_weight=weight, folds=folds(), **common)
    np.testing.assert_allclose(ours.log_loss, theirs.log_loss, rtol=1e-5)
    np.testing.assert_allclose(ours.accuracy, theirs.accuracy, atol=2e-3)
    assert ours.best == theirs.best
    assert ours.result.objective == pytest.approx(theirs.result.objective, rel=1e-8)


def test_the_scores_are_those_with_the_offset_of_the_held_out_rows():
    offset = 3 * np.random.default_rng(6).normal(size=(M, np.unique(Y).size))
    common = {"Cs": [0.01, 1.0], "tol": 1e-10, "random_state": SEED}
    ours = nbs.cross_validate(Source(offset=offset, n=ROWS), folds=N_FOLDS, **common)
    theirs = nbs.cross_validate(X, Y, offset=offset, folds=folds(), **common)
    np.testing.assert_allclose(ours.log_loss, theirs.log_loss, rtol=1e-5)
    np.testing.assert_allclose(ours.accuracy, theirs.accuracy, atol=2e-3)


def test_a_block_of_rows_without_weight_counts_in_no_fold():
    weight = np.where(np.arange(M) < ROWS, 0.0, W)
    common = {"Cs": [1.0], "tol": 1e-10, "random_state": SEED}
    ours = nbs.cross_validate(Source(weight=weight, n=ROWS), folds=N_FOLDS, **common)
    theirs = nbs.cross_validate(X, Y, sample_weight=weight, folds=folds(), **common)
    np.testing.assert_allclose(ours.log_loss, theirs.log_loss, rtol=1e-5)
    np.testing.assert_allclose(ours.accuracy, theirs.accuracy, atol=2e-3)


class LongerIfFloat32(Source):
    """A source whose blocks are longer in float32, as those of files are."""

    def blocks(self, dtype=None):
        self.n = ROWS if dtype == np.float32 else ROWS // 2
        return super().blocks(dtype)


def test_the_accuracy_is_that_of_the_folds_of_the_dtype_of_the_fit():
    common = {"Cs": [100.0], "random_state": SEED, "dtype": np.float32, "tol": 1e-6}
    ours = nbs.cross_validate(LongerIfFloat32(), folds=N_FOLDS, **common)
    theirs = nbs.cross_validate(X, Y, folds=folds(), **common)
    np.testing.assert_allclose(ours.accuracy, theirs.accuracy, atol=2e-3)


def test_what_a_source_cannot_have_is_refused():
    with pytest.raises(nbs.InputTypeError, match="it is a number of folds"):
        nbs.cross_validate(Source(), folds=folds())
    few = np.where(np.arange(M) == 3, "rare", Y)
    with pytest.raises(nbs.InputValueError, match="class 'rare' has no sample in the training part"):
        nbs.cross_validate(Source(y=few), folds=2)
    proba = [Block(X, np.full((M, 2), 0.5))]
    with pytest.raises(nbs.InputValueError, match="give labels"):
        nbs.cross_validate(nbs.data.from_batches([tuple(block[:2]) for block in proba]), folds=2)
