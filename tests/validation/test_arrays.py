"""Bad X, logits, parameters, offsets and outputs are refused; good ones are not copied."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import validation
from tests.validation.refusals import refused

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]
NAN, INF = np.nan, np.inf


def read_only(a):
    a.flags.writeable = False
    return a


def with_value(value, at):
    X = np.zeros((4, 3))
    X[at] = value
    return X


BAD_VALUES = {
    "scalar logits": (lambda: nbs.softmax(3.0), "0 dimensions"),
    "no classes": (lambda: nbs.softmax(np.zeros((2, 0))), "0 classes"),
    "no classes, one row": (lambda: nbs.logsumexp([]), "0 classes"),
    "jacobian of a scalar": (lambda: nbs.softmax_jacobian(0.5), "proba has 0 dimensions"),
    "out of another shape": (
        lambda: nbs.softmax(Z, out=np.empty((4, 2))),
        r"out has shape \(4, 2\).*expected \(4, 3\)",
    ),
    "out of another dtype": (lambda: nbs.softmax(Z, out=np.empty((4, 3), np.float32)), "dtype float32.*float64"),
    "out not writeable": (lambda: nbs.softmax(Z, out=read_only(np.empty((4, 3)))), "read-only"),
    "out not contiguous": (lambda: nbs.log_softmax(Z, out=np.empty((3, 4)).T), "not C-contiguous"),
    "out overlaps": (lambda: nbs.softmax((m := np.zeros(15))[:12].reshape(4, 3), out=m[3:].reshape(4, 3)), "overlaps"),
    "out of the gradient": (lambda: nbs.cross_entropy_and_grad(Z, Y, out=np.empty(12)), r"out has shape \(12,\)"),
    "out of one row": (lambda: nbs.softmax(Z[0], out=np.empty((1, 3))), r"expected \(3,\)"),
    "out of the binary gradient": (
        lambda: nbs.binary_cross_entropy_and_grad([1.0, 2.0], [0, 1], out=np.empty(3)),
        r"out has shape \(3,\)",
    ),
    "X of one dimension": (lambda: nbs.Objective(np.zeros(4), Y), r"1 dimension, shape \(4,\).*reshape"),
    "X of three dimensions": (lambda: nbs.Objective(np.zeros((4, 2, 2)), Y), "3 dimensions"),
    "X without features": (lambda: nbs.Objective(np.zeros((4, 0)), Y), "no features"),
    "nan in X": (lambda: nbs.Objective(with_value(NAN, (2, 1)), Y), "nan at row 2, column 1"),
    "inf in X": (lambda: nbs.Objective(with_value(-INF, (3, 0)), Y), "-inf at row 3, column 0"),
    "offset": (lambda: nbs.Objective(Z, Y, offset=np.zeros(3)), r"offset has shape \(3,\), expected \(4, 3\)"),
    "nan offset": (lambda: nbs.Objective(Z, Y, offset=with_value(NAN, (1, 2))), "nan at row 1, column 2"),
    "params of another shape": (
        lambda: nbs.Objective(Z, Y).value(np.zeros((3, 3))),
        r"params has shape \(3, 3\), expected \(3, 4\)",
    ),
    "flat params": (lambda: nbs.Objective(Z, Y).value_and_grad(np.zeros(12)), r"params has shape \(12,\)"),
    "nan params": (lambda: nbs.Objective(Z, Y).value(np.full((3, 4), NAN)), "params contains NaN"),
    "direction": (lambda: nbs.Objective(Z, Y).hvp(np.zeros((3, 4)), np.zeros((4, 3))), r"v has shape \(4, 3\)"),
}

BAD_TYPES = {
    "structured array": (
        lambda: nbs.Objective(np.zeros(4, [("a", float), ("b", float)]), Y),
        r"X is a structured array.*structured_to_unstructured\(X\)",
    ),
    "complex logits": (lambda: nbs.softmax(Z + 1j), "complex.*real"),
    "object logits": (lambda: nbs.softmax(np.array([[1, None]], object)), "dtype object"),
    "text logits": (lambda: nbs.softmax([["1", "2"]]), "expected float32 or float64"),
    "dates": (lambda: nbs.sigmoid(np.array(["2020-01-01"], "M8[D]")), "expected float32 or float64"),
    "long double logits": (
        lambda: nbs.softmax(np.ones((1, 2), np.longdouble)),
        r"logits has dtype .*more digits than float64.*logits.astype\(numpy.float64\)",
    ),
    "complex X": (lambda: nbs.Objective(Z + 1j, Y), "X is complex"),
    "object X": (lambda: nbs.Objective(Z.astype(object), Y), "X has dtype object"),
    "out no array": (lambda: nbs.softmax(Z, out=[0.0]), "out is a list"),
    "params": (lambda: nbs.Objective(Z, Y).value(np.full((3, 4), 1j)), "params is complex"),
}


@refused(BAD_VALUES, BAD_TYPES)
def test_a_bad_array_raises_an_error_that_names_it(error, call, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_a_call_with_bad_input_leaves_out_unchanged(reduction):
    out = np.full((4, 3), 7.0)
    with pytest.raises(nbs.InputValueError):
        nbs.cross_entropy_and_grad(Z, [0, 1, 2, 5], reduction=reduction, out=out)
    with pytest.raises(nbs.InputValueError):
        nbs.cross_entropy_and_grad(Z, Y, sample_weight=[1, 1, 1, -1], reduction=reduction, out=out)
    assert (out == 7).all()


def test_arrays_of_the_right_dtype_and_layout_are_not_copied():
    for dtype in (np.float32, np.float64):
        X = np.zeros((5, 3), dtype)
        assert validation.design(X) is X
        assert validation.design(X[::2, ::-1]).base is X
        assert np.shares_memory(validation.logits(X)[0], X)
        frozen = read_only(np.zeros((5, 3), dtype))
        view = validation.design(frozen)
        assert np.shares_memory(view, frozen)
        assert view.flags.writeable


def test_a_view_of_read_only_memory_keeps_it_alive():
    view = validation.writeable_view(read_only(np.arange(100_000.0)))
    others = [np.full(100_000, -1.0) for _ in range(5)]  # would land in memory that was freed
    assert len(others) == 5
    assert np.array_equal(view, np.arange(100_000.0))


def test_the_first_bad_number_is_found_beyond_the_first_block():
    X = np.zeros((300_000, 2), np.float32)
    assert validation.first_not_finite(X) is None
    X[299_999, 1] = NAN
    assert validation.first_not_finite(X) == (299_999, 1)
    X[200_000, 0] = INF
    assert validation.first_not_finite(X) == (200_000, 0)


def test_finite_numbers_whose_sum_overflows_are_no_error():
    X = np.full((4, 2), 1e308)
    assert validation.design(X) is X
    X[2] = [INF, -INF]
    assert validation.first_not_finite(X) == (2, 0)
