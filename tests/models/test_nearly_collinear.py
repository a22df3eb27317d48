"""Nearly collinear columns, whose coefficients have large standard errors."""

import re

import numpy as np
import pytest

import nbsoftmax as nbs


def tables(n_classes, difference):
    """Inference for the columns a and d, and for a and a + difference d."""
    rng = np.random.default_rng(0)
    a, d = rng.normal(size=(2, 300))
    logits = np.column_stack([a, np.zeros(300), -d])[:, :n_classes]
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    expected = nbs.Trainer().fit(np.column_stack([a, d]), y).inference()
    return nbs.Trainer().fit(np.column_stack([a, a + difference * d]), y).inference(), expected


def relative_error(table, expected, difference):
    return np.abs(table.standard_errors[..., 1] * difference / expected.standard_errors[..., 1] - 1).max()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("difference", [1e-4, 1e-5, 1e-6])
def test_nearly_collinear_columns_are_not_taken_for_separable_classes(n_classes, difference):
    table, expected = tables(n_classes, difference)
    assert table.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-10)
    # The condition number of the information matrix is about 1 / difference^2.
    assert relative_error(table, expected, difference) <= max(1e-6, 8e-15 / difference**2)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_warning_says_how_wrong_standard_errors_of_still_closer_columns_may_be(n_classes):
    with pytest.warns(UserWarning, match="'x1' is nearly a linear combination of others") as caught:
        table, expected = tables(n_classes, 3e-7)
    said = float(re.search(r"wrong by ([\d.]+)%", str(caught[0].message))[1]) / 100
    assert relative_error(table, expected, 3e-7) <= said <= 0.1
