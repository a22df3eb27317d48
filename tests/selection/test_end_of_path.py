"""Where the path of penalties of a cross-validation ends: after bad penalties in a row."""

import numpy as np

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
