"""Bad numbers, choices and devices are refused by name, and good ones accepted."""

import numba
import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import validation
from tests.validation.refusals import refused

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]
NAN, INF = np.nan, np.inf

BAD_VALUES = {
    "smoothing above 1": (lambda: nbs.cross_entropy(Z, Y, label_smoothing=1.5), "label_smoothing is 1.5"),
    "negative smoothing": (
        lambda: nbs.binary_cross_entropy([1.0], [1], label_smoothing=-0.1),
        "label_smoothing is -0.1",
    ),
    "nan smoothing": (lambda: nbs.cross_entropy(Z, Y, label_smoothing=NAN), "label_smoothing is nan"),
    "reduction": (lambda: nbs.cross_entropy(Z, Y, reduction="average"), "'average'.*'mean', 'sum', 'none'"),
    "binary reduction": (lambda: nbs.binary_cross_entropy([1.0], [1], reduction=""), "reduction is ''"),
    "negative l2": (lambda: nbs.Objective(Z, Y, l2=-1.0), "l2 is -1"),
    "infinite l1": (lambda: nbs.Objective(Z, Y, l1=INF), "l1 is inf"),
    "device": (lambda: nbs.Objective(Z, Y, device="tpu"), "device is 'tpu'"),
    "no threads": (lambda: nbs.Objective(Z, Y, n_threads=0), "n_threads is 0"),
    "too many threads": (lambda: nbs.Objective(Z, Y, n_threads=10**6), "NUMBA_NUM_THREADS"),
}

BAD_TYPES = {
    "text smoothing": (lambda: nbs.cross_entropy(Z, Y, label_smoothing="0.1"), "label_smoothing is '0.1'"),
    "text l2": (lambda: nbs.Objective(Z, Y, l2="1"), "l2 is '1'"),
    "boolean l2": (lambda: nbs.Objective(Z, Y, l2=True), "l2 is True"),
    "intercept": (lambda: nbs.Objective(Z, Y, fit_intercept="yes"), "fit_intercept is 'yes'"),
    "threads": (lambda: nbs.Objective(Z, Y, n_threads=1.5), "n_threads is 1.5"),
    "ignore_index": (lambda: nbs.cross_entropy(Z, Y, ignore_index="none"), "ignore_index is 'none'"),
}


@refused(BAD_VALUES, BAD_TYPES)
def test_a_bad_option_raises_an_error_that_names_it(error, call, message):
    with pytest.raises(error, match=message):
        call()


def test_options_at_their_limits_are_accepted():
    assert validation.number("l2", 0, low=0.0) == 0
    assert validation.number("label_smoothing", np.float32(1), low=0.0, high=1.0) == 1
    assert validation.number("max_seconds", INF, low=0.0, low_open=True, finite=False) == INF
    assert validation.count("max_iter", np.int64(1)) == 1
    assert validation.seed(None) == validation.seed(0) == 0
    assert validation.n_threads(numba.config.NUMBA_NUM_THREADS) == numba.config.NUMBA_NUM_THREADS


@pytest.mark.parametrize("name", ["cpu", "auto", "cuda", "cuda:0", "cuda:12", "cuda:0,1,10", "cuda:all"])
def test_names_of_devices_are_accepted(name):
    assert validation.device(name) == name


@pytest.mark.parametrize("name", ["", "CPU", "cuda:", "cuda:-1", "cuda:0,", "cuda:all,1", "cuda:0\n", "gpu", None, 0])
def test_other_names_of_devices_are_refused(name):
    with pytest.raises(nbs.InputValueError, match=r"^device is .*'cuda:0,1', 'cuda:all'\.$"):
        validation.device(name)
