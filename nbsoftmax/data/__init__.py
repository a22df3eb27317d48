"""Data: rows that do not have to fit in memory, and example data.

    nbs.data.open(path, target=...)       files: Parquet, Arrow, CSV, .npy
    nbs.data.from_batches(function)       batches of anything else
    nbs.data.digits.load()                the UCI digits

`open` and `from_batches` return a `BlockSource`, which `Trainer.fit`, `fit_path`, `SoftmaxRegression.fit` and the
predictions of models take in the place of X and y.
"""

from nbsoftmax.data import digits
from nbsoftmax.data.batches import from_batches
from nbsoftmax.data.block_source import BlockSource
from nbsoftmax.data.open_files import open

__all__ = ["BlockSource", "digits", "from_batches", "open"]
