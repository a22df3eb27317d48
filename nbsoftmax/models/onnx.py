"""A model as an ONNX graph. Needs onnx: pip install "nbsoftmax[onnx]".

X (n, n_features) -> Gemm -> (+ offset) -> logits -> Softmax -> proba (n, n_classes)
                                             |-----> (- log thresholds) -> ArgMax -> Gather of the labels -> label (n,)

The inputs of a model with an encoding are the columns of its table, which nodes in front make X of, see `onnx_columns`.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import __version__, validation
from nbsoftmax.encoding import AnyEncoding
from nbsoftmax.errors import InputValueError
from nbsoftmax.models.onnx_columns import ML_DOMAIN, ML_OPSET, Inputs, encoded_inputs
from nbsoftmax.models.thresholds import Thresholds, above_thresholds, thresholds_of

# The first opset with Softmax along one axis, and its IR version: supported by every runtime since 2020.
OPSET, IR_VERSION = 13, 7
RESERVED = {"X", "coef", "intercept", "classes", "logits", "best", "label", "proba"}
MOST_BYTES = 2**31 - 2**20  # the limit of a protobuf message


class LinearModel(Protocol):
    """The part of `SoftmaxModel` that is exported."""

    @property
    def coef(self) -> NDArray[np.float64]:
        """Weights (n_classes, n_features)."""
        ...

    @property
    def intercept(self) -> NDArray[np.float64]:
        """Biases (n_classes,)."""
        ...

    @property
    def classes(self) -> NDArray[Any]:
        """Labels (n_classes,)."""
        ...

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features."""
        ...

    @property
    def encoding(self) -> AnyEncoding | None:
        """How the features are made from a table."""
        ...

    @property
    def n_features(self) -> int:
        """Number of features."""
        ...

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        ...


def onnx_graph(model: LinearModel, dtype: Any, thresholds: Thresholds, *, offset: bool) -> bytes:
    """Return the content of an ONNX file that computes in `dtype`, float32 or float64."""
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as error:
        raise ImportError('ONNX export needs onnx; install it with: pip install "nbsoftmax[onnx]"') from error
    number = validation.float_dtype(dtype)
    coef, intercept = _parameters(model, number)
    t = thresholds_of(thresholds, model.classes)
    labels = _labels(model.classes)
    kind = TensorProto.FLOAT if number == np.float32 else TensorProto.DOUBLE
    made = Inputs([], [helper.make_tensor_value_info("X", kind, ["n_samples", model.n_features])], [])
    if model.encoding is not None:
        made = encoded_inputs(model.encoding, kind, number, RESERVED | ({"offset"} if offset else set()))
    made.constants.append(numpy_helper.from_array(coef, "coef"))
    made.constants.append(numpy_helper.from_array(intercept, "intercept"))
    made.constants.append(numpy_helper.from_array(labels, "classes"))
    gemm = "/without_offset" if offset else "logits"
    made.nodes.append(helper.make_node("Gemm", ["X", "coef", "intercept"], [gemm], transB=1))
    if offset:
        made.inputs.append(helper.make_tensor_value_info("offset", kind, ["n_samples", model.n_classes]))
        made.nodes.append(helper.make_node("Add", [gemm, "offset"], ["logits"]))
    made.nodes.append(helper.make_node("Softmax", ["logits"], ["proba"], axis=1))
    compared = "logits" if t is None else "/above_thresholds"
    if t is not None:
        made.constants.append(numpy_helper.from_array(above_thresholds(np.zeros(t.size), t).astype(number), "/shift"))
        made.nodes.append(helper.make_node("Add", ["logits", "/shift"], [compared]))
    # The first of equal ones, as in SoftmaxModel.
    made.nodes.append(helper.make_node("ArgMax", [compared], ["best"], axis=1, keepdims=0))
    made.nodes.append(helper.make_node("Gather", ["classes", "best"], ["label"]))
    outputs = [
        helper.make_tensor_value_info("label", helper.np_dtype_to_tensor_dtype(labels.dtype), ["n_samples"]),
        helper.make_tensor_value_info("proba", kind, ["n_samples", model.n_classes]),
    ]
    more = [] if model.encoding is None else [helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
    graph = helper.make_model(
        helper.make_graph(made.nodes, "softmax_regression", made.inputs, outputs, made.constants),
        producer_name="nbsoftmax",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), *more],
    )
    helper.set_model_props(graph, _metadata(model, labels, t))
    checker.check_model(graph, full_check=True)
    content: bytes = graph.SerializeToString()
    return content


def _parameters(model: LinearModel, number: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The coefficients and intercepts as numbers of this type."""
    if model.coef.size * number.itemsize > MOST_BYTES:
        raise InputValueError(f"coef has {model.coef.size} elements, more than an ONNX file of 2 GB can hold.")
    with np.errstate(over="ignore"):
        coef, intercept = model.coef.astype(number), model.intercept.astype(number)
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        raise InputValueError("the coefficients are too large for float32; use dtype=np.float64.")
    return coef, intercept


def _metadata(model: LinearModel, labels: NDArray[Any], thresholds: NDArray[np.float64] | None) -> dict[str, str]:
    """What the file says about the model, as JSON."""
    metadata: dict[str, Any] = {"classes": labels.tolist()}
    if model.encoding is not None:
        metadata["encoding"] = model.encoding.to_dict()
    if model.feature_names is not None:
        metadata["feature_names"] = model.feature_names
    if thresholds is not None:
        metadata["thresholds"] = thresholds.tolist()
    return {name: json.dumps(value) for name, value in metadata.items()}


def _labels(classes: NDArray[Any]) -> NDArray[Any]:
    """Convert labels to a dtype that ONNX Runtime supports in Gather: text as objects, integers as int64 or uint64."""
    kind = classes.dtype.kind
    if kind in "SUT":
        labels = classes.tolist()
        try:
            texts = [label.decode() if kind == "S" else label for label in labels]
            "".join(texts).encode()
        except UnicodeError as error:
            raise InputValueError(f"a label is not valid UTF-8 text ({error}), which ONNX needs; rename it.") from None
        return np.array(texts, object)
    if kind in "iu":
        return classes.astype(np.uint64 if classes.max() > np.iinfo(np.int64).max else np.int64)
    if classes.dtype.itemsize > 8:  # long double
        if (classes.astype(np.float64) != classes).any():
            raise InputValueError(
                f"the labels have dtype {classes.dtype}, and float64, the largest float of ONNX, cannot represent them."
            )
        return classes.astype(np.float64)
    return classes.astype(classes.dtype.newbyteorder("="))
