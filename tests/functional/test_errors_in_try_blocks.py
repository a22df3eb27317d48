"""A `try` block of compiled code catches errors: Numba goes on with zeros in place of the results of a failed call."""

from tests.processes import output

SCRIPT = """
    import numpy as np
    from numba import njit
    import nbsoftmax as nbs

    @njit
    def cross_entropy(z, y):
        value = 0.0
        try:
            value = nbs.cross_entropy(z, y)
        except Exception:
            value = -1.0
        return value

    @njit
    def cross_entropy_and_grad(z, y):
        value = 0.0
        try:
            value = nbs.cross_entropy_and_grad(z, y)[0]
        except Exception:
            value = -1.0
        return value

    @njit
    def loss_and_grad(X, y, coef, intercept):
        value = 0.0
        try:
            value = nbs.loss_and_grad(X, y, coef, intercept)[0]
        except Exception:
            value = -1.0
        return value

    z, X, coef = np.zeros((20, 7)), np.ones((20, 5)), np.zeros((7, 5))
    zeros, outside, negative = np.zeros(20, np.int64), np.full(20, 99), np.full(20, -3)
    for function, first, rest in (
        (cross_entropy, z, ()),
        (cross_entropy_and_grad, z, ()),
        (loss_and_grad, X, (coef, np.zeros(7))),
    ):
        found = [function(first, y, *rest) for y in (zeros, outside, negative, zeros[:3])]
        found.append(function(first[:0], zeros[:0], *rest))  # the mean of no samples
        print(abs(found[0] - np.log(7)) < 1e-12, *found[1:])
    print(loss_and_grad(X, zeros, np.zeros((7, 4)), np.zeros(7)), loss_and_grad(X, zeros, coef, np.zeros(3)))
"""


def test_a_try_block_catches_errors_of_every_function_with_labels():
    # In a process of its own, which an access to arrays that do not exist would end.
    first, second, third, shapes = output(SCRIPT).splitlines()
    assert first == second == third == "True -1.0 -1.0 -1.0 -1.0"
    assert shapes == "-1.0 -1.0"
