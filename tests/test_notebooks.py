"""The notebooks of docs/notebooks/ run, and the outputs that they show are those of the current code."""

import base64
import copy
import json
import re
import runpy

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000  # bytes
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
execute = runpy.run_path(str(FOLDER / "execute.py"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def text_of(output):
    return "".join(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])


def same_number(now, stored):
    """Integers are equal; others to 2 units of the last digit or a thousandth, because solvers stop at a tolerance."""
    if re.fullmatch(r"[-+]?\d+", stored):
        return now == stored
    mantissa, _, exponent = stored.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(float(now) - float(stored)) <= max(2.001 * unit, 1e-3 * abs(float(stored)))


def difference(now, stored):
    """The first difference of two texts, apart from spaces and small differences of numbers; None if there is none."""
    words = [[" ".join(part.split()) for part in NUMBER.split(text)] for text in (now, stored)]
    if words[0] != words[1]:
        return words
    pairs = zip(NUMBER.findall(now), NUMBER.findall(stored), strict=True)
    return next((pair for pair in pairs if not same_number(*pair)), None)


def stale(notebook, name):
    """Differences between the stored outputs of a notebook and those of the current code, each with its cell."""
    for count, (cell, made) in enumerate(
        zip(execute["code_cells"](notebook), execute["outputs_of"](notebook, name), strict=True), start=1
    ):
        kinds = [
            [(o["output_type"], *sorted(o.get("data", ()))) for o in outputs] for outputs in (made, cell["outputs"])
        ]
        if kinds[0] != kinds[1]:
            yield count, kinds
            continue
        for now, stored in zip(made, cell["outputs"], strict=True):
            found = difference(text_of(now), text_of(stored))
            if found is not None:
                yield count, found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_the_current_code_puts_out(path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("statsmodels")
    assert list(stale(read(path), path.name)) == [], "run make notebooks, and read the outputs"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_begins_with_a_question(path):
    notebook = read(path)
    assert path.stat().st_size < LARGEST
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert re.match(r"# .+\?$", execute["source_of"](notebook["cells"][0]).splitlines()[0])
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)


def test_there_are_three_notebooks_and_pages_that_link_to_them():
    assert [path.stem for path in NOTEBOOKS] == ["digits", "text", "votes"]
    index = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in index


def notebook_of(*sources):
    cells = [{"cell_type": "code", "id": str(i), "source": source, "outputs": []} for i, source in enumerate(sources)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_cells_share_names_and_put_out_text_values_and_figures():
    pytest.importorskip("matplotlib")
    figure = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    printed, value, hidden, drawn = execute["outputs_of"](notebook_of("x = 2\nprint(x)", "x + 1", "x;", figure), "n")
    assert printed == [{"output_type": "stream", "name": "stdout", "text": ["2\n"]}]
    assert [output["data"] for output in value] == [{"text/plain": ["3"]}]
    assert hidden == []
    assert [output["output_type"] for output in drawn] == ["display_data"]
    assert base64.b64decode(drawn[0]["data"]["image/png"]).startswith(b"\x89PNG")


def test_a_traceback_names_the_notebook_and_the_cell():
    with pytest.raises(ZeroDivisionError) as caught:
        execute["outputs_of"](notebook_of("1", "1 / 0"), "bad.ipynb")
    assert "bad.ipynb, cell 2" in str(caught.getrepr())


def test_a_change_of_a_number_a_word_or_a_figure_is_noticed():
    notebook = notebook_of("print('loss 0.1234, 12 rows')")
    notebook["cells"][0]["outputs"] = execute["outputs_of"](notebook, "n")[0]
    assert list(stale(notebook, "n")) == []
    for source in ("loss 0.1235, 12 rows", "loss  0.1232,  12 rows"):
        assert list(stale({**notebook, "cells": [{**notebook["cells"][0], "source": f"print('{source}')"}]}, "n")) == []
    for source in ("loss 0.1238, 12 rows", "loss 0.1234, 13 rows", "error 0.1234, 12 rows", "loss 0.1234", "loss nan"):
        changed = copy.deepcopy(notebook)
        changed["cells"][0]["source"] = f"print('{source}')"
        assert [count for count, _ in stale(changed, "n")] == [1], source
    changed["cells"][0]["source"] = "x = 1"
    assert [count for count, _ in stale(changed, "n")] == [1]
