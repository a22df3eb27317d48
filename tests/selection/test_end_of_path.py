"""Where the path of penalties of a cross-validation ends: after bad penalties in a row."""

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.selection import cross_validation


class Known:
    """In place of a fold: it has these losses."""

    def __init__(self, losses):
        self.losses = iter(losses)

    def evaluate(self, C, l1_ratio, options):
        return next(self.losses), 1.0, 1


def tried(*losses):
    parts = [Known([loss + noise for loss in losses]) for noise in (-0.01, 0.01)]
    log_loss, _, _ = cross_validation._scores(parts, np.arange(1.0, 1 + len(losses)), 0.0, {})
    return int(np.isfinite(log_loss).all(axis=1).sum())


def test_a_path_ends_at_the_second_bad_penalty_in_a_row():
    assert tried(3.0, 1.0, 2.0, 2.0, 0.5) == 4
    assert tried(3.0, 2.0, 1.0, 0.5) == 4


def test_bad_penalties_that_are_not_in_a_row_do_not_end_a_path():
    assert tried(1.0, 2.0, 1.0, 2.0, 0.5, 2.0, 0.1) == 7


def test_a_penalty_whose_own_loss_is_uncertain_does_not_end_a_path():
    parts = [Known([1.0 + 0.01 * sign, 2.0 + sign, 2.0 + sign, 0.5]) for sign in (-1, 1)]
    log_loss, _, _ = cross_validation._scores(parts, np.arange(1.0, 5.0), 0.0, {})
    assert np.isfinite(log_loss).all()


def test_features_that_a_fit_leaves_out_are_noticed_though_the_path_has_ended():
    X = np.random.default_rng(0).normal(size=(60, 2))
    result = nbs.Trainer(l2=0.1).fit(X, np.arange(60) % 3)
    scores, n_features = np.array([[1.0, 1.1], [np.nan] * 2]), np.array([[1.0, 2.0], [np.nan] * 2])
    found = cross_validation.CVResult(np.array([1.0, 10.0]), scores, scores, n_features, 0, 0, result)
    assert found.leaves_out_features
    assert "features 1.5" in repr(found)
