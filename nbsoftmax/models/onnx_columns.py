"""The columns of a table as inputs of an ONNX graph, which encodes them.

number    input (n, 1) of floats; a missing one, NaN, becomes the mean
category  input (n, 1) of text -> OneHotEncoder: levels that are unknown are 0 in all features, and so is "", which
          stands for a missing value
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nbsoftmax.encoding import AnyEncoding, Encoding
from nbsoftmax.encoding.columns import CategoryColumn, DateColumn, NumberColumn
from nbsoftmax.errors import InputValueError, plain

ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 1


class Inputs(NamedTuple):
    """The beginning of a graph: nodes that make X, its inputs, and the constants."""

    nodes: list[Any]
    inputs: list[Any]
    constants: list[Any]


def encoded_inputs(encoding: AnyEncoding, kind: int, dtype: np.dtype[Any], reserved: set[str]) -> Inputs:
    """The nodes that make X, a tensor of the type `kind` of ONNX, whose NumPy dtype is `dtype`.

    Raises
    ------
    InputValueError
        For an encoding that ONNX cannot express, and for a column whose name is one of the `reserved` ones.
    """
    from onnx import TensorProto, helper, numpy_helper

    if not isinstance(encoding, Encoding):
        raise InputValueError(
            f"the model has an encoding of the kind {encoding.to_dict()['kind']!r}, which cannot be written as ONNX; "
            "write dataclasses.replace(model, encoding=None), which takes the matrix encoding.encode(table).X."
        )
    made = Inputs([], [], [numpy_helper.from_array(np.array([1], np.int64), "/axis")])
    pieces: list[str] = []

    def node(op: str, inputs: list[str], **attributes: Any) -> str:
        output = f"/{op}_{len(made.nodes)}"
        made.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(value: float) -> str:
        name = f"/constant_{len(made.constants)}"
        made.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def one_hot(name: str, levels: list[str]) -> str:
        found = node("OneHotEncoder", [name], domain=ML_DOMAIN, cats_strings=levels, zeros=1)
        return node("Cast", [node("Squeeze", [found, "/axis"])], to=kind)

    for part in encoding.parts:
        if isinstance(part, DateColumn):
            raise InputValueError(
                f"the column {plain(part.name)} holds dates, which ONNX does not support; make columns of year, month "
                "and day before the fit."
            )
        if part.name in reserved or part.name.startswith("/") or not part.name:
            raise InputValueError(f"the column {plain(part.name)} has a name that the graph uses; rename it.")
        is_text = isinstance(part, CategoryColumn)
        inputs = helper.make_tensor_value_info(part.name, TensorProto.STRING if is_text else kind, ["n_samples", 1])
        made.inputs.append(inputs)
        if isinstance(part, NumberColumn):
            missing = node("IsNaN", [part.name]) if part.mean is not None else ""
            pieces.append(part.name if part.mean is None else node("Where", [missing, constant(part.mean), part.name]))
            pieces += [node("Cast", [missing], to=kind)] if part.indicator else []
        else:
            if "" in part.levels and encoding.missing == "mean":
                raise InputValueError(
                    f'the column {plain(part.name)} has the level "", which stands for a missing value in the graph; '
                    "rename this level before the fit."
                )
            levels = [level for level in part.levels if level != part.reference]
            pieces += [one_hot(part.name, levels)] if levels else []
            pieces += [one_hot(part.name, [""])] if part.indicator else []
    made.nodes.append(helper.make_node("Concat", pieces, ["X"], axis=1))
    return made
