"""Labels from a column of a file: integers if all labels are integers, and text otherwise.

Labels that are missing, or numbers with a fraction, raise an error that names the line or row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data.text import is_number
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.validation import EXACT_INTEGERS
from nbsoftmax.validation.decimals import whole_decimals


class Located(Protocol):
    """A file that knows where its rows are."""

    name: str

    def where(self, row: int, column: str) -> tuple[str, str]:
        """Return the line or row for a message, and the text of a field; rows are counted from 0."""


def of_text(file: Located, name: str, column: Any, known: Collection[str], missing: Collection[str]) -> NDArray[Any]:
    """Return the labels of a text file.

    Parameters
    ----------
    file : Located
    name : str
        Name of the column.
    column : pyarrow.ChunkedArray of a dictionary of strings, without nulls
    known : collection of str
        Labels that are accepted unchanged.
    missing : collection of str
        Spellings of missing values.

    Returns
    -------
    array (n_samples,) of int64 or str
    """
    found, positions = _encoded(column)
    _refuse_nul(file, name, found, positions)
    texts, merged = np.unique([text.strip() for text in found], return_inverse=True)
    codes, distinct = merged[positions], texts.tolist()
    unknown = [label for label in distinct if label not in known]

    def place(label: str) -> str:
        return file.where(int((codes == distinct.index(label)).argmax()), name)[0]

    no_value = next((label for label in unknown if not label or label in missing), None)
    if no_value is not None:
        has = f"has {plain(no_value)}, which marks a missing value," if no_value else "has no value"
        advice = ", or, if it is a class, name the spellings of missing values with --null" if no_value else ""
        raise InputValueError(
            f"{file.name} {place(no_value)} {has} in column {plain(name)}; fill it in or drop the line{advice}."
        )
    if all(map(_is_integer, distinct)):
        return np.asarray(texts.astype(np.int64)[codes])
    numbers = _numbers(unknown)
    continuous = next((label for label, x in numbers.items() if not x.is_integer()), None)
    if continuous is not None:
        raise _continuous(file.name, place(continuous), plain(continuous), name)
    alike = _same_number(numbers)
    if alike is not None:
        raise InputValueError(
            f"{file.name} has the labels {plain(alike[0])} and {plain(alike[1])} in column {plain(name)}, which are "
            "the same number; write them in the same form, or as text, for example v1.0."
        )
    return np.asarray(texts[codes])


def of_types(file: Located, name: str, column: Any, known: Collection[str]) -> NDArray[Any]:
    """Return the labels of a typed column: text, integers or booleans unchanged, whole numbers as integers.

    Parameters
    ----------
    file : Located
    name : str
        Name of the column.
    column : pyarrow.ChunkedArray
    known : collection of str
        Labels that are accepted unchanged, as text.

    Returns
    -------
    array (n_samples,) of int64, float64, bool or str
    """
    import pyarrow as pa

    is_type, type_ = pa.types, column.type
    if is_type.is_dictionary(type_):
        type_ = type_.value_type
        column = column.cast(type_)
    is_text = any(check(type_) for check in (is_type.is_string, is_type.is_large_string, is_type.is_string_view))
    is_float = is_type.is_floating(type_) or is_type.is_decimal(type_)
    if not (is_text or is_float or is_type.is_integer(type_) or is_type.is_boolean(type_) or is_type.is_null(type_)):
        raise InputTypeError(
            f"{file.name} has the type {type_} in column {plain(name)}, expected labels: text or whole numbers; name "
            "another column with --target, or convert this one."
        )
    if column.null_count:
        row = int(np.asarray(column.is_null()).argmax())
        raise _missing(file, name, row)
    if is_text:
        texts, codes = _encoded(column)
        _refuse_nul(file, name, texts, codes)
        return np.asarray(np.array(texts, np.str_)[codes])
    if is_type.is_decimal(type_):
        column = whole_decimals(f"the column {plain(name)} of {file.name}", column)
        if isinstance(column, np.ndarray):
            return column
    if is_float:
        return _of_floats(file, name, column.cast(pa.float64(), safe=False).to_numpy(), known)
    values = np.asarray(column.to_numpy())
    largest = values.max(initial=0) if values.dtype.kind in "iu" else np.inf
    is_small = largest <= np.iinfo(np.int64).max
    return values.astype(np.int64) if is_small else values


def _of_floats(file: Located, name: str, values: NDArray[Any], known: Collection[str]) -> NDArray[Any]:
    """Return whole numbers as integers."""
    if np.isnan(values).any():
        raise _missing(file, name, int(np.isnan(values).argmax()))
    whole = (values == np.floor(values)) & (np.abs(values) < EXACT_INTEGERS)
    if whole.all():
        return values.astype(np.int64)
    for label in np.unique(values[~whole]).tolist():
        if str(label) not in known:
            place, _ = file.where(int((values == label).argmax()), name)
            raise _continuous(file.name, place, str(label), name)
    return values


def _encoded(column: Any) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts that occur in a column, and the index of each row among them (n_samples,)."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = pa.concat_arrays(column.unify_dictionaries().chunks)
    texts, indices = whole.dictionary.to_pylist(), whole.indices.to_numpy().astype(np.int64)
    occurs = np.bincount(indices, minlength=len(texts)) > 0
    if occurs.all():
        return texts, indices
    return [text for text, some in zip(texts, occurs, strict=True) if some], (np.cumsum(occurs) - 1)[indices]


def _refuse_nul(file: Located, name: str, texts: Sequence[str], codes: NDArray[np.int64]) -> None:
    """Refuse a label that ends in NUL, which NumPy would drop."""
    wrong = next((k for k, text in enumerate(texts) if text.endswith("\0")), None)
    if wrong is not None:
        place, _ = file.where(int((codes == wrong).argmax()), name)
        raise InputValueError(
            f"{file.name} {place} has the label {plain(texts[wrong])} in column {plain(name)}, which ends in NUL "
            "characters; remove these."
        )


def _missing(file: Located, name: str, row: int) -> InputValueError:
    place, _ = file.where(row, name)
    return InputValueError(f"{file.name} {place} has no value in column {plain(name)}; fill it in or drop the row.")


def _continuous(file: str, place: str, label: str, name: str) -> InputValueError:
    return InputValueError(
        f"{file} {place} has {label} in column {plain(name)}: continuous values cannot be labels (this is "
        "classification, not regression); if they are codes, write them as text, for example v1.5."
    )


def _is_integer(label: str) -> bool:
    digits = label.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and (digits == "0" or digits[0] != "0")


def _numbers(labels: Sequence[str]) -> dict[str, float]:
    """Return the labels with their numbers if all are numbers, and none otherwise."""
    return {label: float(label) for label in labels} if all(map(is_number, labels)) else {}


def _same_number(numbers: dict[str, float]) -> tuple[str, str] | None:
    """Return two labels that differ only in zeros after the point, as 1 and 1.0 do; 01 and 1 are different codes."""
    first: dict[float, str] = {}
    for label, number in numbers.items():
        other = first.setdefault(number, label)
        if label != other and label.partition(".")[0] == other.partition(".")[0]:
            return other, label
    return None
