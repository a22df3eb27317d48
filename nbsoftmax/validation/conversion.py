"""Conversion of arrays, lists, columns and tensors to NumPy arrays; anything else is refused with advice."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, a_type, plain
from nbsoftmax.validation.frames import column, frame
from nbsoftmax.validation.lazy import computed

# Arguments with a value or more for each row, which may be columns of a table.
OF_ROWS = {"X", "Z", "at", "y", "y_true", "sample_weight", "offset", "groups"}
TEXT = (str, bytes, os.PathLike)  # a formula, or the name of a file or a column
EXACT_INTEGERS = 2.0**53  # floats below are exact as integers
DLPACK_GPUS = {2, 13}  # CUDA, and CUDA's managed memory


def is_on_device(a: Any) -> bool:
    """Whether an array is on a GPU (CuPy, PyTorch, JAX, Numba, or another library with the same interfaces)."""
    if isinstance(a, np.ndarray):
        return False
    try:
        if hasattr(a, "__cuda_array_interface__"):
            return True
    except RuntimeError:  # raised by PyTorch for a tensor that requires a gradient
        return True
    where = getattr(a, "__dlpack_device__", None)
    try:
        return where is not None and int(where()[0]) in DLPACK_GPUS
    except (TypeError, ValueError, NotImplementedError):  # raised by Arrow for text and categories
        return False


def as_array(name: str, a: Any) -> NDArray[Any]:
    """Return `a` as an array of its own dtype; an array is not copied.

    Refused are arrays with masked values, sparse matrices, arrays on a GPU, tensors that NumPy cannot read, and rows of
    different lengths.
    """
    if type(a) is np.ndarray:
        return a
    if isinstance(a, TEXT) and name in OF_ROWS:
        _refuse_text(name, os.fspath(a))
    if isinstance(a, np.ma.MaskedArray):
        return _unmasked(name, a)
    if isinstance(a, np.ndarray):
        return np.asarray(a)
    if is_on_device(a):
        raise InputTypeError(
            f"{name} is on a GPU; copy it to the host first, for example by {name}.get() or {name}.cpu()."
        )
    refuse_sparse(name, a)
    refuse_tensor(name, a)
    a = computed(name, a)
    a = column(name, frame(a, name=name, sparse=False, unique=False)[0])
    try:
        array = np.asarray(a)
    except ValueError:
        raise InputValueError(
            f"{name} must be rectangular: its rows have different lengths; give rows of one length."
        ) from None
    except (TypeError, RuntimeError) as error:
        raise InputTypeError(
            f"{name} is {a_type(a)} that NumPy cannot read ({error}); convert it to a NumPy array first."
        ) from None
    if array.ndim == 0 and array.dtype.kind == "O":
        lazy = next((f"{name}.{method}()" for method in ("collect", "compute") if hasattr(a, method)), None)
        raise InputTypeError(
            f"{name} is {'None' if a is None else a_type(a)}, expected an array or a list; "
            f"give {lazy or 'its values as one'}."
        )
    return array


def refuse_sparse(name: str, a: Any) -> None:
    """Refuse a sparse matrix or tensor: only an X of samples may be sparse (`features`), in one of SciPy's types."""
    dense = f"{name} is a sparse {{}}, expected a dense array; give {name}.{{}}() if it fits in memory{{}}."
    instead = ", or a sparse array of SciPy" if name in ("X", "at") else ""
    layout = getattr(a, "layout", None)  # of a PyTorch tensor
    if layout is not None and "sparse" in str(layout):
        raise InputTypeError(dense.format("tensor", "to_dense", instead))
    if hasattr(a, "nnz") and not isinstance(a, np.ndarray):
        method = next((method for method in ("toarray", "todense") if hasattr(a, method)), None)
        if method is not None:
            of_scipy = type(a).__module__.startswith("scipy.")
            raise InputTypeError(dense.format(type(a).__name__, method, "" if of_scipy else instead))


def _refuse_text(name: str, text: str | bytes) -> NoReturn:
    """Refuse a formula, the name of a file or a column, or another text in the place of an array."""
    expected = f"{name} is {plain(text)}, expected an array{', a table' * (name == 'X')} or a list; "
    if isinstance(text, str) and "~" in text and name in ("X", "y"):
        raise InputTypeError(
            f"{expected}nbs.fit_formula(formula, table) fits a formula, and table=result.model.encoding makes its "
            "features of the table in other fits, paths and cross-validations."
        )
    if name != "X":
        raise InputTypeError(f"{expected}the column of a table is table[{plain(text)}].")
    raise InputTypeError(f"{expected}nbs.data.open(path, target=...) opens files, and a table library reads them.")


def _unmasked(name: str, a: Any) -> NDArray[Any]:
    """The data of a masked array without masked values; one with such values is refused."""
    masked = np.ma.getmaskarray(a)
    if masked.any():
        where = tuple(int(i) for i in np.unravel_index(int(masked.argmax()), masked.shape))
        raise InputValueError(
            f"{name} is a masked array with {int(masked.sum())} masked values (first at {where}), expected none; "
            f"drop such rows, or replace the masked values: {name}.filled(value)."
        )
    return np.asarray(a.data)


def refuse_tensor(name: str, a: Any) -> None:
    """Refuse a PyTorch tensor that NumPy cannot read; recognised by attributes, not by the text of PyTorch's error."""
    steps = ".detach()" if getattr(a, "requires_grad", False) is True else ""
    if "bfloat16" in str(getattr(a, "dtype", "")):
        steps += ".float()" if hasattr(a, "float") else ".astype('float32')"
        why = "has dtype bfloat16, which NumPy lacks"
    else:
        why = "is a tensor that requires a gradient"
    if steps:
        raise InputTypeError(f"{name} {why}; give {name}{steps}.")
