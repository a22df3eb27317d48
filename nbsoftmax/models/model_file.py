"""The file of a model: a `.npz` archive without pickles.

format         "nbsoftmax model 1"; "nbsoftmax model 2" with an encoding, without which the model cannot read a table
coef           (n_classes, n_features), intercept (n_classes,), classes (n_classes,)
feature_names  (n_features,), or (0,) where has_names is False
training       JSON
encoding       JSON: "kind", and what the class of this kind stores
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.encoding import AnyEncoding, encoding_of
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.files import file_name, one_line
from nbsoftmax.npz import OtherFormatError, read_npz, write_npz
from nbsoftmax.validation import Float64s

FORMAT, WITH_ENCODING = "nbsoftmax model 1", "nbsoftmax model 2"
Model = TypeVar("Model")


class Parts(Protocol):
    """What is written of a model."""

    @property
    def coef(self) -> Float64s: ...  # noqa: D102
    @property
    def intercept(self) -> Float64s: ...  # noqa: D102
    @property
    def classes(self) -> NDArray[Any]: ...  # noqa: D102
    @property
    def feature_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def training(self) -> dict[str, Any] | None: ...  # noqa: D102
    @property
    def encoding(self) -> AnyEncoding | None: ...  # noqa: D102


def write_model(path: str | os.PathLike[str], model: Parts) -> None:
    """Write a model to a file, as `SoftmaxModel.save` describes."""
    classes, names = model.classes, model.feature_names
    try:
        as_json = json.dumps(model.training)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputTypeError(
            f"training cannot be written as JSON ({one_line(error)}); give text, numbers, truth values or None."
        ) from None
    arrays = {
        "format": np.asarray(FORMAT if model.encoding is None else WITH_ENCODING),
        "coef": model.coef,
        "intercept": model.intercept,
        "classes": _text_array(classes) if classes.dtype.kind == "T" else classes,
        "feature_names": _text_array(names or ()),
        "has_names": np.asarray(names is not None),
        "training": np.asarray(as_json),
    }
    if model.encoding is not None:
        arrays["encoding"] = np.asarray(json.dumps(model.encoding.to_dict()))
    write_npz(path, arrays)


def read_model(path: str | os.PathLike[str], build: Callable[..., Model]) -> Model:
    """Read a file, and `build` a model from (coef, intercept, classes, feature_names, training, encoding)."""
    with open(file_name(path), "rb") as opened:
        try:
            arrays = read_npz(opened)
            found = str(arrays["format"]) if "format" in arrays else None
            if found in (FORMAT, WITH_ENCODING):
                return build(*_parts(arrays))
        except OtherFormatError as error:
            raise InputValueError(
                f"{path} is not a model ({error}); give a file that `save` or `nbsoftmax fit` wrote."
            ) from None
        except Exception as error:  # a flipped bit makes zipfile, NumPy and json raise almost anything
            raise InputValueError(
                f"{path} is not a model, or a damaged one ({one_line(error)}); save the model again."
            ) from None
    if found is not None and found.startswith("nbsoftmax checkpoint"):
        raise InputValueError(
            f"{path} is not a model but the checkpoint of a fit; resume the fit from it to get a model."
        )
    if found is not None and found.startswith("nbsoftmax "):
        raise InputValueError(
            f"{path} is not a model of this version: it is {found[:40]!r}, expected {FORMAT!r}; save the model again."
        )
    raise InputValueError(
        f"{path} is not a model of this library ({FORMAT!r} is not in it); give a file that `save` wrote."
    )


def _parts(arrays: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    has_names = arrays["has_names"]
    if has_names.shape != () or has_names.dtype != np.bool_:
        raise ValueError(f"has_names is {plain(has_names.tolist())}, expected True or False")
    names = tuple(_texts("feature_names", arrays["feature_names"])) if has_names else None
    training = json.loads(str(arrays["training"])) if "training" in arrays else None  # absent in older files
    if not isinstance(training, (dict, type(None))):
        raise ValueError(f"training is {plain(training)}, expected a JSON object or null")
    encoding = encoding_of(json.loads(str(arrays["encoding"]))) if "encoding" in arrays else None
    classes = arrays["classes"]
    if classes.ndim > 1:
        raise ValueError(f"classes has the shape {classes.shape}, expected (n_classes,)")
    if classes.ndim == 0:
        classes = np.array(
            _texts("classes", classes), np.dtypes.StringDType() if hasattr(np.dtypes, "StringDType") else object
        )
    return arrays["coef"], arrays["intercept"], classes, names, training, encoding


def _text_array(texts: Any) -> NDArray[np.str_]:
    """Text in a dtype that `.npy` supports; StringDType, and text that ends in NULs, as one JSON string."""
    array = np.asarray(list(texts), np.str_)
    as_json = getattr(texts, "dtype", array.dtype).kind == "T" or array.tolist() != list(texts)
    return np.asarray(json.dumps(list(texts))) if as_json else array


def _texts(name: str, array: NDArray[Any]) -> list[str]:
    """The inverse of `_text_array`."""
    texts = json.loads(str(array)) if array.ndim == 0 else array.tolist()
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} is {plain(texts)}, expected a list of text")
    return texts
