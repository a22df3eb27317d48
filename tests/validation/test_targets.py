"""Bad class indices and probabilities are refused with their position."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.validation.refusals import refused

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]
NAN, INF = np.nan, np.inf


def proba(**rows):
    """Rows of probabilities of which row 1 is replaced."""
    return np.array([[0.2, 0.3, 0.5], rows["row"], [1, 0, 0], [0, 0, 1.0]])


BAD_VALUES = {
    "ignored probabilities": (
        lambda: nbs.cross_entropy(Z, np.full((4, 3), 1 / 3), ignore_index=-100),
        "ignore_index is -100, but y has rows of probabilities",
    ),
    "ignored binary probabilities": (
        lambda: nbs.binary_cross_entropy([1.0], [0.5], ignore_index=-1),
        "ignore_index is -1, but y has probabilities",
    ),
    "label too large": (lambda: nbs.cross_entropy(Z, [0, 1, 3, 0]), "class 3 at row 2, expected 0 to 2"),
    "negative label": (lambda: nbs.cross_entropy(Z, [0, -1, 1, 0]), "class -1 at row 1.*ignore_index"),
    "huge label": (lambda: nbs.cross_entropy(Z, [0, 1, 2**32, 0]), "class 4294967296 at row 2"),
    "unsigned label": (
        lambda: nbs.cross_entropy(Z, np.array([0, 1, 2**63, 0], np.uint64)),
        "at row 2, expected 0 to 2",
    ),
    "other label than the ignored one": (
        lambda: nbs.cross_entropy(Z, [0, 9, 8, 0], ignore_index=9),
        "class 8 at row 2",
    ),
    "too few labels": (lambda: nbs.cross_entropy(Z, [0, 1]), "2 entries, but logits has 4 rows"),
    "three dimensions of y": (lambda: nbs.cross_entropy(Z, np.zeros((4, 3, 1))), "3 dimensions"),
    "a column of labels": (lambda: nbs.cross_entropy(Z, [[0], [1], [2], [0]]), r"have shape \(4,\): y\.ravel\(\)\.$"),
    "proba of another shape": (lambda: nbs.cross_entropy(Z, np.zeros((4, 2))), r"\(4, 2\).*\(4, 3\)"),
    "proba that do not sum to 1": (lambda: nbs.cross_entropy(Z, proba(row=[0.5, 0.6, 0.0])), "row 1.*sum 1.1"),
    "negative proba": (lambda: nbs.cross_entropy(Z, proba(row=[-0.5, 1.5, 0.0])), "row 1.*smallest -0.5"),
    "nan proba": (lambda: nbs.cross_entropy(Z, proba(row=[NAN, 0.5, 0.5])), "row 1 is not a probability"),
    "binary label 2": (lambda: nbs.binary_cross_entropy([1.0, 1.0], [0, 2]), "2 at position 1"),
    "binary probability": (lambda: nbs.binary_cross_entropy([1.0], [1.5]), "1.5 at position 0"),
    "binary nan": (lambda: nbs.binary_cross_entropy([1.0], [NAN]), "nan at position 0"),
    "binary of another shape": (lambda: nbs.binary_cross_entropy([1.0, 2.0], [1]), r"\(1,\).*\(2,\)"),
    "X and y of different lengths": (lambda: nbs.Objective(Z, [0, 1, 2]), "3 entries, but X has 4 rows"),
    "objective without samples": (lambda: nbs.Objective(np.zeros((0, 3)), np.empty(0, int), n_classes=2), "no samples"),
    "objective label": (lambda: nbs.Objective(Z, Y, n_classes=2), "class 2 at row 2, expected 0 to 1"),
}

BAD_TYPES = {
    "text y": (lambda: nbs.cross_entropy(Z, list("abca")), "y has dtype.*np.searchsorted"),
    "object y": (lambda: nbs.cross_entropy(Z, np.array(Y, object)), "y has dtype object"),
    "text y of an objective": (lambda: nbs.Objective(Z, list("abca")), "y has dtype.*np.searchsorted"),
    "float y": (lambda: nbs.cross_entropy(Z, [0.0, 1.0, 2.0, 0.0]), "class indices must be integers"),
    "float y of an objective": (lambda: nbs.Objective(Z, [0.0, 1.0, 2.0, 0.0]), "class indices must be integers"),
    "text binary y": (lambda: nbs.binary_cross_entropy([1.0], ["a"]), "y has dtype"),
}


@refused(BAD_VALUES, BAD_TYPES)
def test_a_bad_target_raises_an_error_that_names_its_position(error, call, message):
    with pytest.raises(error, match=message):
        call()


def test_only_functions_that_have_ignore_index_advise_it():
    with pytest.raises(nbs.InputValueError, match=r"count classes from 0, or give the value as ignore_index\.$"):
        nbs.cross_entropy(np.zeros((1, 3)), [3])
    with pytest.raises(nbs.InputValueError, match=r"count classes from 0\.$"):
        nbs.Objective(np.zeros((1, 3)), [3], n_classes=3)


def test_the_index_of_a_class_may_be_ignored():
    z = np.arange(12.0).reshape(4, 3) ** 2
    losses = nbs.cross_entropy(z, Y, reduction="none")
    assert nbs.cross_entropy(z, Y, ignore_index=0, reduction="none").tolist() == [0, *losses[1:3], 0]


def test_an_empty_list_has_the_targets_of_no_rows():
    assert nbs.cross_entropy(np.empty((0, 3)), [], reduction="sum") == 0
