"""Problems that several tests of training fit."""

import numpy as np


def blobs(n=150, n_classes=3, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, n_features))
    y = rng.integers(0, n_classes, n)
    return centres[y] + rng.normal(size=(n, n_features)), y


def overlapping(rng):
    return rng.normal(size=(300, 4)), rng.integers(0, 3, 300)
