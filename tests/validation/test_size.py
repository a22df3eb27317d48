"""The number of classes is inferred or checked, and must fit in memory."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.validation.refusals import refused

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]

BAD_VALUES = {
    "one class": (lambda: nbs.Objective(Z, [0, 0, 0, 0]), "only class 0, expected at least 2"),
    "a class index far beyond the number of samples": (
        lambda: nbs.Objective(Z, [0, 10**9, 5, 1]),
        "class 1000000000, which makes 1000000001 classes for 4 samples.*np.unique",
    ),
    "the same, unsigned": (
        lambda: nbs.Objective(Z, np.array([0, 2**63, 5, 1], np.uint64)),
        "class 9223372036854775808",
    ),
    "n_classes beyond 32 bits": (lambda: nbs.Objective(Z, Y, n_classes=10**12), "n_classes is 1000000000000.*2..31"),
    "n_classes of 2^31": (lambda: nbs.Objective(Z, Y, n_classes=2**31), "2147483648, expected less than 2..31"),
    "n_classes beyond the memory": (
        lambda: nbs.Objective(np.zeros((4, 10**5)), Y, n_classes=2**31 - 1),
        "2147483647, with 100000 features: parameters and gradient take .* GiB",
    ),
    "n_classes of 1": (lambda: nbs.Objective(Z, [0, 0, 0, 0], n_classes=1), "n_classes is 1, expected at least 2"),
    "one column of proba": (lambda: nbs.Objective(Z, np.ones((4, 1))), "1 class, expected at least 2"),
}

BAD_TYPES = {
    "n_classes": (lambda: nbs.Objective(Z, Y, n_classes=3.0), "n_classes is 3.0, expected a whole number"),
}


@refused(BAD_VALUES, BAD_TYPES)
def test_a_bad_number_of_classes_raises_an_error_that_says_why(error, call, message):
    with pytest.raises(error, match=message):
        call()
