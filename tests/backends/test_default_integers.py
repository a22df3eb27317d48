"""NumPy 1 on Windows, whose integers have 32 bits unless a dtype is given: kernels get 64 bits all the same."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp

import nbsoftmax as nbs
from nbsoftmax.backends.sparse_sums import sparse_sums
from nbsoftmax.kernels import linear


def short_integers(function):
    """A function of NumPy that makes integers of 32 bits of Python's, if this package calls it without a dtype."""

    def called(values, *arguments, **options):
        result = function(values, *arguments, **options)
        caller = sys._getframe(1).f_globals["__name__"]
        has_dtype = any(isinstance(each, (type, np.dtype)) for each in (*arguments, *options.values()))
        if not caller.startswith("nbsoftmax.") or has_dtype or isinstance(values, (np.ndarray, np.generic)):
            return result
        return result.astype(np.int32) if result.dtype == np.int64 else result

    return called


@pytest.mark.parametrize("penalty", [{"l2": 0.1}, {"l1": 0.01}], ids=str)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_short_default_integers_change_neither_kernels_nor_results(monkeypatch, sparse, penalty):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 8)) * (rng.uniform(size=(300, 8)) < 0.3), rng.integers(0, 4, 300)
    X = sp.csr_array(X) if sparse else X

    def fit():
        coef = nbs.Trainer(**penalty).fit(X, y).model.coef
        return coef, nbs.softmax(coef)

    expected = fit()
    compiled = [len(kernel.signatures) for kernel in kernels()]
    with monkeypatch.context() as patch:
        for name in ("array", "arange"):
            patch.setattr(np, name, short_integers(getattr(np, name)))
        found = fit()
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert [len(kernel.signatures) for kernel in kernels()] == compiled


def kernels():
    return [value for value in [*vars(linear).values(), sparse_sums] if hasattr(value, "signatures")]
