"""Encodings learned from batches of rows: they are those of the whole table, however it is cut."""

import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.encoding import Learner, columns_of
from nbsoftmax.encoding.learning import learned
from nbsoftmax.errors import plain
from nbsoftmax.sums import exact_sum, mean_of
from tests.encoding.frames import columns, in_every_library

OPTIONS = nbs.TableOptions(missing="mean", indicators=True, dates="parts")


def learned_in_parts(parts, options=OPTIONS):
    learner = Learner(options)
    for part in parts:
        learner.add(columns_of(part))
    return learner.encoding()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30), st.integers(0, 30))
def test_exact_sums_are_exact_and_add_up(values, cut):
    exact = sum(map(Fraction, values))
    whole, parts = np.array(values), np.split(np.array(values), [cut])
    assert sum(map(exact_sum, parts)) == exact_sum(whole)
    assert mean_of(exact_sum(whole), whole.size) == float(exact / whole.size)


@given(columns(), st.data())
def test_an_encoding_does_not_depend_on_how_the_rows_are_cut(given, data):
    n = len(next(iter(given.values())))
    low, high = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    for table in in_every_library(given):
        expected = learned(table, OPTIONS)
        parts = [table[start:stop] for start, stop in ((0, low), (low, high), (high, n))]
        assert learned_in_parts(parts) == expected


def test_learners_of_parts_merge_into_that_of_the_whole():
    frame = pd.DataFrame({"x": [1.0, None, 1e300, 0.1], "level": ["b", "a", None, "c"]})
    total = Learner(OPTIONS)
    for i in range(4):
        part = Learner(OPTIONS)
        part.add(columns_of(frame.iloc[i : i + 1]))
        total.merge(part)
    assert total.encoding() == learned(frame, OPTIONS)
    assert total.n_rows == 4


def test_categories_that_differ_between_batches_declare_no_order():
    batches = [pd.DataFrame({"a": pd.Categorical(values)}) for values in (["c", "b"], ["a", "c"])]
    assert learned_in_parts(batches).of("a").levels == ("a", "b", "c")
    declared = [pd.DataFrame({"a": pd.Categorical([value], ["c", "b", "a"])}) for value in "ab"]
    assert learned_in_parts(declared).of("a").levels == ("b", "a")
    ordered = [pd.DataFrame({"a": pd.Categorical(v, v, ordered=True)}) for v in (["s", "m"], ["s", "l"])]
    assert learned_in_parts(ordered).of("a").levels == ("s", "m", "l")


def test_the_row_of_an_error_is_counted_over_all_batches():
    batches = [pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [3.0, None]})]
    with pytest.raises(nbs.InputValueError, match="a missing value in column 'x' at row 3 "):
        learned_in_parts(batches, nbs.TableOptions())


def test_batches_of_other_columns_and_of_other_kinds_are_refused():
    with pytest.raises(nbs.InputValueError, match=r"columns 'y', but batches before had 'x'"):
        learned_in_parts([pd.DataFrame({"x": [1.0]}), pd.DataFrame({"y": [1.0]})])
    with pytest.raises(nbs.InputTypeError, match="a number and a category in column 'x'"):
        learned_in_parts([pd.DataFrame({"x": [1.0]}), pd.DataFrame({"x": ["007"]})])


@pytest.mark.parametrize("values", [["2024-05-31"], [1.5], ["a"], [True]])
def test_a_column_without_values_is_encoded_whatever_its_type(values):
    encoding = learned(pd.DataFrame({"a": values}), OPTIONS)
    for empty in (pd.Series([None]), pd.Series([np.nan]), pd.Series([pd.NaT]), pd.Series([None], dtype="string")):
        found = encoding.encode(pd.DataFrame({"a": empty})).X
        expected = 0.0 if values == ["a"] else encoding.encode(pd.DataFrame({"a": values})).X
        np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


@pytest.mark.parametrize("kind", ["2024-05-31", "2024/05/31", "2024-05-31 12:00", "2024/05/31 12:00:30"])
def test_texts_of_dates_are_dates(kind):
    encoding = learned(pd.DataFrame({"a": [kind, "2024-06-01"]}), OPTIONS)
    np.testing.assert_array_equal(encoding.encode(pd.DataFrame({"a": [kind]})).X, [[2024, 5, 31]])


@pytest.mark.parametrize(
    "text",
    [
        *("5/31/2024", "31.05.2024", "31-5-2024", "5/3/24 12:00", "2024.05.31", "2024-5-31"),
        *("19-Sep-03", "1 March 2024", "Jan 1 2000", "sep 19, 2003", "3-june-99"),
    ],
)
def test_dates_in_other_forms_are_refused_unless_they_are_named_as_levels(text):
    frame = pd.DataFrame({"a": ["2024-06-01", text]})
    with pytest.raises(nbs.InputTypeError, match=f"X has '{re.escape(text)}' in column 'a', whose values look like"):
        learned(frame, OPTIONS)
    named = learned(frame, nbs.TableOptions(categorical=["a"]))
    assert set(named.of("a").levels) == {"2024-06-01", text}
    other = text.lower().replace("sep", "x").replace("mar", "x").replace("jan", "x").replace("jun", "x")
    if other != text.lower():
        assert learned(pd.DataFrame({"a": [other]}), OPTIONS).of("a").levels == (other,)
    mixed = learned(pd.DataFrame({"a": [text, "unknown"]}), OPTIONS)
    assert set(mixed.of("a").levels) == {text, "unknown"}


@pytest.mark.parametrize("dates", [["2024-06-01", "2024-06-02"], ["2024-06-01", "19.9.2003"], ["5/31/2024"] * 2])
@pytest.mark.parametrize("wrong", ["unknown", "2024-13-45 or so", "soon, 2024", "1"])
@pytest.mark.parametrize("option", [{}, {"dates": "parts"}, {"missing": "drop"}])
def test_a_text_among_dates_is_refused_unless_the_column_is_named_as_levels(dates, wrong, option):
    frame = pd.DataFrame({"a": [*dates, wrong]})
    message = re.escape(f"X has '{wrong}' in column 'a', most of whose values are dates")
    with pytest.raises(nbs.InputTypeError, match=message):
        learned(frame, nbs.TableOptions(**option))
    named = learned(frame, nbs.TableOptions(categorical=["a"], **option))
    assert set(named.of("a").levels) == {*dates, wrong}


@pytest.mark.parametrize(
    "text", ["12%", "-0.5 %", "$5", "$1,200.50", "-$3", "\u20ac 7", "7\u20ac", "\u00a32", "1,5", "-,5", "1,5e3"]
)
def test_numbers_as_text_become_levels_with_a_warning(text):
    with pytest.warns(UserWarning, match=f"'a' has numbers as text, such as {re.escape(plain(text))}") as caught:
        nbs.Trainer(l2=1.0, max_iter=2).fit(pd.DataFrame({"a": [text, "n/a"]}), [0, 1])
    assert caught[0].filename == __file__
    has_comma = re.fullmatch(r"-?1?,5(e3)?", text) is not None
    assert ('decimal="," of pandas (--decimal , on' in str(caught[0].message)) == has_comma
    learned(pd.DataFrame({"a": [text, "n/a"]}), nbs.TableOptions(categorical=["a"]))


@pytest.mark.parametrize("text", ["v1.2.3", "1.2.10", "10-20", "5 kg", "may 5", "2024-5-31 x", "$", "%", "A$5", "1/2"])
def test_other_texts_with_digits_become_levels_without_a_warning(text):
    assert learned(pd.DataFrame({"a": [text]}), OPTIONS).of("a").levels == (text,)


def test_the_mean_of_texts_counts_each_of_them_as_often_as_it_occurs():
    truths = learned(pd.DataFrame({"a": ["true"] * 3 + ["false", None]}), OPTIONS)
    assert truths.of("a").mean == 0.75
    dates = learned(pd.DataFrame({"a": ["2024-05-31"] * 3 + ["2020-01-03", None]}), OPTIONS)
    assert dates.of("a").means == (2023, 4, 24)
