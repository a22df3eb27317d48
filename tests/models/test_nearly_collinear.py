"""Nearly collinear columns, whose coefficients have large standard errors."""

import numpy as np
import pytest

import nbsoftmax as nbs


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("difference", [1e-4, 1e-5, 1e-6])
def test_nearly_collinear_columns_are_not_taken_for_separable_classes(n_classes, difference):
    rng = np.random.default_rng(0)
    a, d = rng.normal(size=(2, 300))
    logits = np.column_stack([a, np.zeros(300), -d])[:, :n_classes]
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    expected = nbs.Trainer().fit(np.column_stack([a, d]), y).inference()
    table = nbs.Trainer().fit(np.column_stack([a, a + difference * d]), y).inference()
    assert table.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-10)
    # The condition number of the information matrix is about 1 / difference^2.
    tolerance = 8e-15 / difference**2
    errors = table.standard_errors[..., 1] * difference
    np.testing.assert_allclose(errors, expected.standard_errors[..., 1], rtol=max(1e-6, tolerance))
