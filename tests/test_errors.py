"""The exceptions of the package, and how values are written in messages."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.errors import plain


def test_errors_are_value_errors_and_type_errors_with_one_base():
    assert issubclass(nbs.InputValueError, nbs.InputError)
    assert issubclass(nbs.InputTypeError, nbs.InputError)
    assert issubclass(nbs.InputValueError, ValueError)
    assert issubclass(nbs.InputTypeError, TypeError)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.str_("p"), "'p'"),
        (np.int64(5), "5"),
        (np.bool_(True), "True"),
        (np.float32(0.5), "0.5"),
        ("p", "'p'"),
        (np.zeros((3, 2)), "array([[0., 0.], [0., 0.], [0., 0.]])"),
        ("x" * 500, "'" + "x" * 115 + " ..."),
    ],
)
def test_values_in_messages_are_python_literals_on_one_line(value, text):
    assert plain(value) == text
