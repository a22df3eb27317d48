"""Tables of calls that must raise an error of the package."""

import pytest

import nbsoftmax as nbs


def refused(values, types):
    """Parametrize a test by (error, call, message), from {id: (call, message)} for each of the two errors."""
    tables = {nbs.InputValueError: values, nbs.InputTypeError: types}
    cases = [pytest.param(error, *case, id=name) for error, table in tables.items() for name, case in table.items()]
    return pytest.mark.parametrize(("error", "call", "message"), cases)
