"""Sparse matrices: `.npz` files of `scipy.sparse.save_npz`, and svmlight (libsvm) files.

A line of an svmlight file is a sample: its label and, for each feature that is not 0, the number and value of the
feature; after # comes a comment.

    3 1:0.5 7:1.25 # one sample of class 3
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data.arrays import loaded
from nbsoftmax.data.source import Path, Source, opened
from nbsoftmax.errors import InputValueError
from nbsoftmax.files import one_line
from nbsoftmax.validation import EXACT_INTEGERS


def read_npz(path: Path | Source) -> Any:
    """Read the matrix of a file written by `scipy.sparse.save_npz`."""
    from scipy.sparse import load_npz

    with loaded(path, load_npz) as (_, matrix):
        return matrix


def read_svmlight(
    path: Path | Source, *, n_features: int | None = None, zero_based: bool | None = None
) -> tuple[Any, NDArray[Any], bool]:
    """Read an svmlight file by scikit-learn's reader: X (n_samples, n_features), sparse, and the labels (n_samples,).

    Also returns whether the numbers of the features begin at 0.

    Parameters
    ----------
    path : path or Source
    n_features : int, optional
        Default: as many as occur in the file.
    zero_based : bool, optional
        Whether the numbers of the features begin at 0, or at 1. Default: at 1, unless the number 0 occurs.
    """
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise InputValueError(
            'svmlight files are read by scikit-learn, which is missing; install it with: pip install "nbsoftmax'
            '[sklearn]", or give a .npz file of scipy.sparse.save_npz.'
        ) from error
    with opened(path) as source:
        try:
            X, y = load_svmlight_file(source.file, zero_based=True)
        except OverflowError:
            raise InputValueError(
                f"{source.name} cannot be read as an svmlight file: it has the number of a feature that is too large; "
                "expected numbers below 2147483648 (2^31)."
            ) from None
        except ValueError as error:
            raise InputValueError(
                f"{source.name} cannot be read as an svmlight file ({one_line(error)}); expected lines of a label and "
                "pairs number:value, with increasing numbers."
            ) from None
        name = source.name
    has_zero = bool((X.indices == 0).any())
    if has_zero and zero_based is False:
        raise InputValueError(
            f"{name} has the feature 0, but those of the training are numbered from 1; give the same features."
        )
    begins_at_0 = has_zero if zero_based is None else zero_based
    X = X if begins_at_0 else X[:, 1:]
    if n_features is not None:
        if X.shape[1] > n_features:
            raise InputValueError(
                f"{name} has the feature {X.shape[1]} (counted from 1), but the model was trained on {n_features}; "
                "give the same features."
            )
        X.resize(X.shape[0], n_features)
    if np.isfinite(y).all() and (y == np.floor(y)).all() and np.abs(y).max(initial=0) < EXACT_INTEGERS:
        y = y.astype(np.int64)
    return X, y, begins_at_0
