"""Bad sample weights and class weights are refused by name."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.validation.refusals import refused

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]
NAN, INF = np.nan, np.inf

BAD_VALUES = {
    "too few sample weights": (lambda: nbs.cross_entropy(Z, Y, sample_weight=[1.0]), r"sample_weight.*\(1,\).*\(4,\)"),
    "negative sample weight": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=[1, 1, -1, 1]),
        r"sample_weight\[2\] is -1",
    ),
    "nan sample weight": (lambda: nbs.cross_entropy(Z, Y, sample_weight=[1, NAN, 1, 1]), r"sample_weight\[1\] is nan"),
    "infinite sample weight": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=[1, INF, 1, 1]),
        r"sample_weight\[1\] is inf",
    ),
    "all weights zero": (lambda: nbs.cross_entropy(Z, Y, sample_weight=np.zeros(4)), "sample_weight is all zero"),
    "negative class weight": (lambda: nbs.cross_entropy(Z, Y, class_weight=[1, 1, -1]), r"class_weight\[2\] is -1"),
    "all class weights zero": (lambda: nbs.cross_entropy(Z, Y, class_weight=np.zeros(3)), "class_weight is all zero"),
    "too many class weights": (
        lambda: nbs.cross_entropy(Z, Y, class_weight=np.ones(4)),
        r"class_weight.*\(4,\).*\(3,\)",
    ),
    "weight of an unknown class": (
        lambda: nbs.cross_entropy(Z, Y, class_weight={3: 1.0}),
        "class_weight has the class 3",
    ),
    "binary sample weight": (
        lambda: nbs.binary_cross_entropy([1.0], [1], sample_weight=[1, 1]),
        "sample_weight has shape",
    ),
    "binary class weight": (
        lambda: nbs.binary_cross_entropy([1.0], [1], class_weight=[1, 1, 1]),
        "class_weight has shape",
    ),
    "objective weight": (lambda: nbs.Objective(Z, Y, sample_weight=[1, 1, 1, -2]), r"sample_weight\[3\] is -2"),
    "objective weights zero": (lambda: nbs.Objective(Z, Y, sample_weight=np.zeros(4)), "all zero"),
    "positive weights in different samples and classes": (
        lambda: nbs.Objective(Z, Y, sample_weight=[1, 0, 0, 1], class_weight=[0, 1, 1]),
        "give at least one sample of positive weight",
    ),
}

BAD_TYPES = {
    "class weight as text": (lambda: nbs.cross_entropy(Z, Y, class_weight="balanced"), "class_weight is 'balanced'"),
    "text weight": (lambda: nbs.cross_entropy(Z, Y, sample_weight=list("abcd")), "sample_weight has dtype"),
    "complex weight": (lambda: nbs.cross_entropy(Z, Y, sample_weight=[1j] * 4), "sample_weight is complex"),
    "weight of a class that is text": (lambda: nbs.cross_entropy(Z, Y, class_weight={1: "heavy"}), "class_weight"),
}


@refused(BAD_VALUES, BAD_TYPES)
def test_a_bad_weight_raises_an_error_that_names_it(error, call, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("key", [1, True, np.int8(1)])
def test_a_key_of_class_weights_is_one_class(key):
    expected = nbs.cross_entropy(np.eye(4, 3), Y, class_weight=[1.0, 5.0, 1.0])
    assert nbs.cross_entropy(np.eye(4, 3), Y, class_weight={key: 5.0}) == expected


def test_a_series_with_two_weights_of_a_class_is_refused():
    pd = pytest.importorskip("pandas")
    with pytest.raises(nbs.InputValueError, match="several weights of the class 1"):
        nbs.cross_entropy(Z, Y, class_weight=pd.Series([1.0, 2.0, 3.0], index=[0, 1, 1]))
