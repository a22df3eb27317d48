"""The exceptions of the package, and how values are written in messages."""

import re
from pathlib import Path

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.errors import a_type, plain, with_article


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


@pytest.mark.parametrize(
    "noun",
    [
        *("an int", "an object", "an Index", "an ndarray", "an ExtensionArray", "an AxesImage", "an UnfittedModel"),
        *("an SVC", "an MLPClassifier", "an XGBClassifier", "an NAType", "a NoneType", "a SoftmaxModel", "a Series"),
        *("a UInt8Array", "a Uniform", "a OneHotEncoder", "a DataFrame", "a str", "a list", "a FitResult", "a PCA"),
    ],
)
def test_the_article_is_that_of_the_sound(noun):
    assert with_article(noun.split()[1]) == noun


def test_a_type_is_named_with_its_article():
    assert a_type(np.zeros(2)) == "an ndarray"
    assert a_type({}) == "a dict"


def test_no_message_has_one_article_for_all_types():
    for path in Path(nbs.__file__).parent.rglob("*.py"):
        assert not re.search(r"\ban? \{type\(", path.read_text(encoding="utf-8")), path


X = np.arange(8.0).reshape(4, 2)
MESSAGES = {
    "X is an object, expected an array": lambda: nbs.Trainer().fit(object(), [0, 1, 0, 1]),
    "path is an int, expected the name of a file": lambda: nbs.SoftmaxModel.load(3),
    "not an object; give the last step": lambda: nbs.SoftmaxModel.from_sklearn(object()),
    "batches is an ndarray, expected": lambda: nbs.data.from_batches(X),
    "frame is an ndarray, expected a table of pandas": lambda: nbs.fit_formula("y ~ a", X),
    "validation_data is an int, expected": lambda: nbs.Trainer().fit(X, [0, 1, 1, 0], validation_data=3),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_about_types_have_the_right_article(message):
    with pytest.raises(nbs.InputTypeError, match=message):
        MESSAGES[message]()


def test_a_column_of_a_table_as_X_is_called_an_index():
    pd = pytest.importorskip("pandas")
    with pytest.raises(nbs.InputTypeError, match="X is an Index, one column or one row of a table"):
        nbs.Trainer().fit(pd.Index([1.0, 2.0]), [0, 1])
