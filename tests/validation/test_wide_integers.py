"""Integers of 128 bits in polars, for which NumPy has no type."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import validation

pl = pytest.importorskip("polars")
pytestmark = pytest.mark.skipif(not hasattr(pl, "Int128"), reason="this polars has no integers of 128 bits")
FITS = {"Trainer": lambda: nbs.Trainer(l2=1.0), "SoftmaxRegression": nbs.SoftmaxRegression}


def wide(values, dtype="Int128"):
    if not hasattr(pl, dtype):
        pytest.skip(f"this polars has no {dtype}")
    return pl.Series("y", values, dtype=getattr(pl, dtype))


@pytest.mark.parametrize("dtype", ["Int128", "UInt128"])
@pytest.mark.parametrize("low", [5, 2**63])
def test_integers_that_fit_in_64_bits_are_labels(dtype, low):
    for y in (wide([low + 2, low, low + 2], dtype), wide([low + 2, low, low + 2], dtype).to_frame()):
        codes, classes = validation.labels(y, n_samples=3)
        assert codes.tolist() == [1, 0, 1]
        assert classes.tolist() == [low, low + 2]


@pytest.mark.parametrize("name", FITS)
def test_fits_take_labels_and_weights_of_128_bits(name):
    X, y, weight = np.eye(4, 2), wide([0, 1, 0, 1]), wide([1, 2, 1, 1])
    found = FITS[name]().fit(X, y, sample_weight=weight)
    expected = FITS[name]().fit(X, [0, 1, 0, 1], sample_weight=[1, 2, 1, 1])
    a, b = (getattr(fit, "model", fit).predict_proba(X) for fit in (found, expected))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize(("y", "said"), [([0, 1, 0, 2**70], "does not fit in 64 bits"), ([0, None, 0, 1], "row 1")])
def test_others_are_refused_by_name(name, y, said):
    with pytest.raises(nbs.InputValueError, match=rf"^y .*{said}"):
        FITS[name]().fit(np.eye(4, 2), wide(y))
