"""Run the notebooks of this folder and store their outputs, without Jupyter.

    python docs/notebooks/execute.py [NOTEBOOK ...]

A code cell has up to three kinds of outputs, in the form of nbformat 4.5: what it prints; the value of its last
expression, unless a semicolon follows (text, and what its methods `_repr_html_` and `_repr_png_` give); and the figures
of pyplot that it leaves open.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
DPI = 72


def source_of(cell: dict[str, Any]) -> str:
    """The code or the text of a cell, which nbformat stores as a string or as a list of lines."""
    return "".join(cell["source"])


def as_lines(text: str) -> list[str]:
    """Text as nbformat stores it, so that a change of one line is a change of one line of the file."""
    return text.splitlines(keepends=True)


def run_cell(code: str, names: dict[str, Any], file: str) -> Any:
    """Run the code of a cell in the namespace `names`; return the value of its last expression, or None."""
    body = ast.parse(code, file)
    last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
    exec(compile(body, file, "exec"), names)
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), file, "eval"), names)
    return None if code.rstrip().endswith(";") else value


def value_output(value: Any, count: int) -> dict[str, Any]:
    """The output that shows the value of the last expression of a cell."""
    data: dict[str, Any] = {"text/plain": as_lines(repr(value))}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = as_lines(value._repr_html_())
    if hasattr(value, "_repr_png_"):
        data["image/png"] = base64.b64encode(value._repr_png_()).decode() + "\n"
    return {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data}


def figure_outputs() -> Iterator[dict[str, Any]]:
    """The open figures of matplotlib as outputs; closes them."""
    import matplotlib.pyplot as plt

    for number in plt.get_fignums():
        file = io.BytesIO()
        # Without the version of matplotlib in the file.
        plt.figure(number).savefig(file, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        picture = base64.b64encode(file.getvalue()).decode() + "\n"
        data = {"image/png": picture, "text/plain": ["<Figure>"]}
        yield {"output_type": "display_data", "metadata": {}, "data": data}
    plt.close("all")


def outputs_of(notebook: dict[str, Any], name: str) -> list[list[dict[str, Any]]]:
    """Run the code cells of a notebook in order, in one namespace and an empty working folder.

    Parameters
    ----------
    notebook : dict
        A notebook of nbformat 4, as `json.load` reads it.
    name : str
        The name of the notebook in tracebacks.

    Returns
    -------
    list
        The outputs of each code cell.
    """
    import matplotlib

    matplotlib.use("agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for count, cell in enumerate(code_cells(notebook), start=1):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                value = run_cell(source_of(cell), names, f"{name}, cell {count}")
            made: list[dict[str, Any]] = []
            if printed.getvalue():
                made += [{"output_type": "stream", "name": "stdout", "text": as_lines(printed.getvalue())}]
            if value is not None:
                made += [value_output(value, count)]
            outputs.append([*made, *figure_outputs()])
    return outputs


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The code cells of a notebook."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(path: Path) -> None:
    """Run a notebook and store its outputs in its file, written atomically."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = code_cells(notebook)
    for count, (cell, outputs) in enumerate(zip(cells, outputs_of(notebook, path.name), strict=True), start=1):
        cell["execution_count"], cell["outputs"] = count, outputs
    for cell in notebook["cells"]:
        cell["source"], cell["metadata"] = as_lines(source_of(cell)), {}
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


if __name__ == "__main__":
    for argument in sys.argv[1:] or sorted(FOLDER.glob("*.ipynb")):
        execute(Path(argument))
