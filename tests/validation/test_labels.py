"""Labels become class indices and sorted classes, with little memory."""

import enum
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax import validation

NAN = np.nan


@pytest.mark.parametrize(
    ("y", "codes", "classes"),
    [
        ([3, 1, 3], [1, 0, 1], [1, 3]),
        (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
        ([True, False, True], [1, 0, 1], [False, True]),
        ([2.0, 1.0, 2.0], [1, 0, 1], [1.0, 2.0]),
        (np.array(["b", "a", "b"], object), [1, 0, 1], ["a", "b"]),
        (np.array([[3], [1], [3]]), [1, 0, 1], [1, 3]),
    ],
    ids=["integers", "text", "booleans", "whole floats", "objects", "column"],
)
def test_labels_become_indices_into_sorted_classes(y, codes, classes):
    found_codes, found_classes = validation.labels(y, n_samples=3)
    assert found_codes.tolist() == codes
    assert found_classes.tolist() == classes


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([1.5, 2.0], nbs.InputValueError, "1.5 at row 0: continuous"),
        ([1.0, NAN], nbs.InputValueError, "nan at row 1"),
        ([1, 2, 3], nbs.InputValueError, "X has 2 rows, but y has 3"),
        ("party", nbs.InputTypeError, r"y is 'party', .*; the column of a table is table\['party'\]"),
        (np.float64(3.5), nbs.InputTypeError, r"y is 3.5, expected an array or a list of labels\.$"),
        ([[1, 2], [3, 4]], nbs.InputValueError, "2 dimensions"),
        ([1j, 2j], nbs.InputTypeError, "complex"),
        (np.array(["a", None], object), nbs.InputValueError, "None at row 1: a missing label"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), nbs.InputTypeError, "dtype datetime64.*astype.str."),
        (np.array([0.0, 0.5], object), nbs.InputValueError, "0.5 at row 1: continuous"),
        ([0, "a"], nbs.InputTypeError, "several kinds: integers .0 at row 0., text .'a' at row 1"),
        ([True, 2], nbs.InputTypeError, "several kinds: booleans .True at row 0., integers .2 at row 1"),
        ([0.5, "a"], nbs.InputTypeError, "several kinds: floats"),
        (["a", NAN], nbs.InputValueError, "nan at row 1: a missing label"),
        ([[0, 1], [0]], nbs.InputValueError, "rectangular"),
        ([[0, 1], [1, 0]], nbs.InputValueError, "argmax"),
        ([1, 2**64], nbs.InputValueError, "18446744073709551616, which does not fit in 64 bits"),
        ([-1, 2**63], nbs.InputValueError, "9223372036854775808, which does not fit in 64 bits"),
        (["a", "a\0"], nbs.InputValueError, "NUL"),
        ("ab", nbs.InputTypeError, "y is 'ab', expected an array or a list"),
        (iter([1, 2]), nbs.InputTypeError, "list_iterator, expected an array or a list"),
    ],
)
def test_bad_labels_raise_an_error_that_names_the_label(y, error, message):
    with pytest.raises(error, match=message):
        validation.labels(y, n_samples=2)


@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
        st.lists(st.integers(0, 2**64 - 1), min_size=1).map(lambda y: np.array(y, np.uint64)),
        st.lists(st.integers(-5, 5), min_size=1),
        st.lists(st.booleans(), min_size=1),
        st.lists(st.integers(-(2**40), 2**40).map(float), min_size=1),
        # Neighbouring floats, also beyond the integers of 64 bits.
        st.tuples(st.sampled_from([2.0**53, 2.0**63, 2.0**64, 1e20]), st.lists(st.integers(-4, 4), min_size=1)).map(
            lambda given: [(-1) ** given[1][0] * given[0] * (1 + k * np.finfo(float).eps) for k in given[1]]
        ),
        st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3), min_size=1),
        st.lists(st.binary(max_size=3).map(lambda b: b.rstrip(b"\0")), min_size=1),
    )
)
def test_codes_and_classes_are_those_of_numpy_unique(y):
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    for given_as in (y, np.asarray(y), np.array(list(y), object)):
        found_codes, found_classes = validation.labels(given_as)
        assert found_codes.dtype == np.int32
        assert found_codes.tolist() == codes.tolist()
        assert found_classes.tolist() == classes.tolist()


def test_labels_beyond_a_block_are_encoded_by_each_method(monkeypatch):
    monkeypatch.setattr(sys.modules["nbsoftmax.validation.labels"], "BLOCK", 4)  # `validation.labels` is a function
    y = np.arange(23) * 7 % 5
    for labels in (y, y * 10**6, y.astype(str), (y * 1.0), y.astype(object), y == 1):
        codes, classes = validation.labels(labels)
        assert np.array_equal(classes[codes].astype(labels.dtype), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float64, bool])
def test_encoding_needs_little_more_memory_than_the_codes(dtype):
    y = (np.arange(2**20) % 2).astype(dtype)
    tracemalloc.start()
    codes, _ = validation.labels(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * codes.nbytes  # np.unique with the inverse takes 7 to 10 times as much


class Color(str, enum.Enum):  # noqa: UP042  (the text of a StrEnum is that of `str`)
    """Labels whose text is not that of `str`."""

    RED = "red"
    GREEN = "green"


class Code(bytes, enum.Enum):
    """Labels that are bytes."""

    ONE = b"1"
    TWO = b"22"


@pytest.mark.parametrize("members", [Color, Code])
def test_members_of_an_enum_of_text_are_their_text(members):
    first, second = members
    for y in ([first, second, first], np.array([first, second, first], object), [first, second.value, first.value]):
        codes, classes = validation.labels(y)
        assert classes[codes].tolist() == [first.value, second.value, first.value]


def test_integers_that_are_not_exact_among_floats_are_refused():
    with pytest.raises(nbs.InputValueError, match="9007199254740993 at row 1, which is not exact as a float"):
        validation.labels([1.0, 2**53 + 1, 2])
    assert validation.labels([1.0, 2**52, 2])[1].tolist() == [1, 2, 2**52]


@pytest.mark.parametrize("name", ["y", "sample_weight"])
def test_missing_labels_and_weights_are_not_to_be_imputed(name):
    pd = pytest.importorskip("pandas")
    given = {"y": [0, 1, 0], "sample_weight": [1, 1, 1]} | {name: pd.array([1, None, 0], dtype="Int64")}
    with pytest.raises(nbs.InputValueError, match=rf"^{name} has a missing value at row 1 .*; drop such rows\.$"):
        nbs.Trainer().fit(np.eye(3), **given)
