"""Tables of estimates as text, whatever the names and labels are."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs


def table_of(labels, columns):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(90, len(columns))), columns=columns)
    return nbs.Trainer().fit(X, np.array(labels)[np.arange(90) % len(labels)]).inference()


def texts(found):
    return found.summary(), found.contrast(*found.model.classes[:2]).summary(), found.marginal_effects().summary()


@pytest.mark.parametrize("length", [20, 38, 39, 200])
def test_tables_show_long_labels_whole(length):
    labels = ["a" * length, "b" * length, "c"]
    for text in texts(table_of(labels, ["x"])):
        assert labels[0] in text
        assert len({len(line) for line in text.splitlines()}) == 1


def test_line_breaks_and_tabs_in_names_and_labels_are_escaped():
    for text in texts(table_of(["a\nb", "c\td"], ["x\ny"])):
        assert "x\\ny" in text
        assert "a\\nb" in text
        assert len({len(line) for line in text.splitlines()}) == 1


def test_columns_are_aligned_beside_ideographs_and_combining_accents():
    def width(line):
        one = {"W": 2, "F": 2}
        return sum(one.get(unicodedata.east_asian_width(c), 1) * (not unicodedata.combining(c)) for c in line)

    for text in texts(table_of(["札幌市", "b"], ["東京", "e\u0301"])):
        assert len({width(line) for line in text.splitlines()}) == 1
