"""Predictions that take their rows in blocks: each block has the offset of its own rows."""

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.backends import row_blocks
from nbsoftmax.models import thresholds
from tests.models.test_inference import blobs

X, Y = blobs()
OFFSET = np.random.default_rng(1).normal(size=(len(Y), 3))


def test_intervals_of_several_blocks_have_the_offset_of_their_rows(monkeypatch):
    inference = nbs.Trainer().fit(X, Y, offset=OFFSET).inference()
    whole = inference.predict_interval(X, offset=OFFSET)
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)  # 16 rows
    blocks = inference.predict_interval(X, offset=OFFSET)
    for name in ("proba", "low", "high"):
        # Sums of a block of another length may be rounded otherwise.
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name), rtol=1e-12)


def test_probabilities_of_the_best_classes_have_the_offset_of_their_rows_in_every_block(monkeypatch):
    model = nbs.Trainer(l2=0.1).fit(X, Y, offset=OFFSET).model
    whole = model.top_k(X, 2, thresholds=[0.5, 1, 2], offset=OFFSET)
    monkeypatch.setattr(thresholds, "BLOCK_NUMBERS", 48)  # 16 rows
    blocks = model.top_k(X, 2, thresholds=[0.5, 1, 2], offset=OFFSET)
    np.testing.assert_array_equal(blocks[0], whole[0])
    np.testing.assert_allclose(blocks[1], whole[1], rtol=1e-12)
