"""Encoding of labels as class indices: the position of each label among the sorted classes.

Labels are encoded in blocks, to need little more memory than the int32 result: numbers of a small range by a lookup
table, other numbers by binary search in the sorted classes, text by a dictionary of the labels so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, counted, listed, plain
from nbsoftmax.validation.conversion import EXACT_INTEGERS, as_array
from nbsoftmax.validation.decimals import whole_decimals
from nbsoftmax.validation.frames import only_column

BLOCK = 2**16  # labels encoded at a time
KINDS = {
    (bool, np.bool_): "booleans",
    (int, np.integer): "integers",
    (float, np.floating): "floats",
    (str,): "text",
    (bytes,): "bytes",
}
EXPECTED = "expected integers, strings or booleans"


def target_array(y: Any, *, name: str = "y") -> NDArray[Any]:
    """Labels (n_samples,) or rows of probabilities (n_samples, n_classes) as an array, from lists, arrays or tables.

    A list of text or of several types becomes an array of objects, because NumPy would turn [1, "a"] into text.
    """
    if isinstance(y, (list, tuple)):
        types = set(map(type, y))
        if types and all(_kind(of) or of is type(None) for of in types):
            if len(types) == 1 and issubclass(types.pop(), (bool, np.bool_, float, np.number)):
                return np.asarray(y)
            objects = np.empty(len(y), object)
            objects[:] = y
            return objects
    if y is None:
        raise InputTypeError(f"{name} is None, expected an array or a list of labels.")
    array = as_array(name, whole_decimals(name, only_column(y)))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return array


def labels(y: Any, *, n_samples: int | None = None, name: str = "y") -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Turn labels (integers, booleans, strings, whole floats) into (class indices, sorted classes)."""
    array = target_array(y, name=name)
    if array.ndim == 0:
        raise InputTypeError(f"{name} is {plain(array.item())}, expected an array or a list of labels.")
    if array.ndim != 1:
        hint = "one label for each sample"
        if array.ndim == 2 and array.dtype.kind in "iubf":
            hint += f"; {name}.argmax(axis=1) turns one-hot rows into class indices"
        raise InputValueError(
            f"{name} has {counted(array.ndim, 'dimension')}, shape {array.shape}; expected 1: {hint}."
        )
    if n_samples is not None and array.shape[0] != n_samples:
        raise InputValueError(
            f"X has {n_samples} rows, but {name} has {counted(array.shape[0], 'label')}; give one label for each row."
        )
    if array.dtype.kind == "c":
        raise InputTypeError(f"{name} is complex ({array.dtype}), {EXPECTED} as labels.")
    if array.dtype.kind not in "iubfUSTO":
        raise InputTypeError(
            f"{name} has dtype {array.dtype}, {EXPECTED} as labels; {name}.astype(str) converts it to text."
        )
    dtype = array.dtype
    if dtype.kind in "OT":  # arrays of NumPy's StringDType may have missing values
        array = _of_one_kind(array.astype(object, copy=False), name)
    if array.dtype.kind == "f":
        _refuse_continuous(array, name)
    if array.dtype.kind in "iubf" and array.size:
        low, high = array.min().item(), array.max().item()
        # Larger floats may not fit in 64-bit integers.
        whole = array.dtype.kind != "f" or max(-low, high) < EXACT_INTEGERS
        small = whole and high - low < max(BLOCK, array.size // 8)
        return _by_table(array, int(low), int(high)) if small else _by_search(array)
    return _by_dictionary(array, dtype, name)


def joined_labels(arrays: Sequence[NDArray[Any]], *, name: str = "y") -> NDArray[Any]:
    """Labels of several arrays as one; integers stay integers, where NumPy would round those of several types.

    Raises
    ------
    InputTypeError
        For integers that no type holds beside the others.
    """
    whole = [array for array in arrays if array.dtype.kind in "iu" and array.size]
    kinds = {array.dtype.kind for array in arrays}
    if not whole or not kinds <= set("iuf") or np.result_type(*arrays).kind != "f":
        return np.concatenate(arrays)
    low, high = min(int(array.min()) for array in whole), max(int(array.max()) for array in whole)
    if "f" not in kinds and (high <= np.iinfo(np.int64).max or low >= 0):
        one = np.int64 if high <= np.iinfo(np.int64).max else np.uint64
        return np.concatenate([array.astype(one) for array in arrays])
    if max(-low, high) >= EXACT_INTEGERS:
        large = high if high >= EXACT_INTEGERS else low
        raise InputTypeError(
            f"{name} has values of several types in the batches, and no type holds {large} and the others; give one "
            "type of integers, or text."
        )
    return np.concatenate(arrays)


def class_labels(classes: Any, name: str = "classes") -> NDArray[Any]:
    """Check the classes of a model: at least two distinct integers, strings or booleans, (n_classes,)."""
    array = target_array(classes, name=name)
    if array.ndim != 1 or array.dtype.kind not in "iubUSTfO":
        raise InputTypeError(
            f"{name} has dtype {array.dtype}, shape {array.shape}; expected (n_classes,) integers, strings, booleans."
        )
    if array.size < 2:
        raise InputValueError(f"{name} has {counted(array.size, 'label')}, expected at least 2.")
    codes, found = labels(array, name=name)
    if found.size != array.size:
        raise InputValueError(f"{name} contains a label twice; expected distinct labels, one for each class.")
    return found[codes]


def positions(
    labels: NDArray[Any],
    classes: NDArray[Any],
    *,
    codes: NDArray[Any] | None = None,
    name: str = "y",
    advice: str = "leave such rows out",
) -> NDArray[np.int64]:
    """Position of each of `labels` in `classes`; a label that is not a class is refused, with this advice.

    The error names its first row if `codes` are given, the index of the label of each row, (n_samples,).
    """
    known = {label: k for k, label in enumerate(classes.tolist())}
    given = labels.tolist()
    odd = next((label for label in given if label not in known), None)
    if odd is not None:
        ours, theirs = _kind(type(classes.tolist()[0])), _kind(type(odd))
        kinds = f"; they are {ours}, not {theirs}" if ours != theirs else ""
        if kinds:
            advice = "give labels of this type; nbs.data.open(..., classes=model.classes) does so for text files"
        rows = () if codes is None else np.flatnonzero(codes == given.index(odd))[:1].tolist()
        raise unknown_label(odd, known, row=next(iter(rows), None), name=name, kinds=kinds, advice=advice)
    return np.array([known[label] for label in given], np.int64)


def unknown_label(
    label: Any,
    classes: Iterable[Any],
    *,
    row: int | None = None,
    name: str = "y",
    kinds: str = "",
    advice: str = "leave such rows out",
) -> InputValueError:
    """The error about a label that is none of the classes."""
    what = f"{name} contains the label {plain(label)}"
    why = f", which the model was not trained on (its classes: {listed(classes)}{kinds}); {advice}."
    if row is None:
        return InputValueError(what + why)
    return InputValueError.about_rows(f"{what} at row ", row, f" (counted from 0){why}")


def by_text(classes: Sequence[Any]) -> dict[str, Any]:
    """The classes by their text, as files of text have them; booleans also in lower case."""
    found = {str(label): label for label in classes}
    return found | {str(label).lower(): label for label in classes if isinstance(label, bool)}


def codes_of(
    y: Any, classes: NDArray[Any], *, n_samples: int, name: str = "y", with_row: bool = True
) -> NDArray[np.int64]:
    """Encode labels (n_samples,) as positions in the `classes` of a model; a label that is not a class is refused.

    If `with_row`, the error names the first row of that label; in a part of the data, rows have other numbers.
    """
    codes, seen = labels(y, n_samples=n_samples, name=name)
    return positions(seen, classes, codes=codes if with_row else None, name=name)[codes]


def keys_of(classes: NDArray[Any]) -> tuple[list[Any], Callable[[Any], Any]]:
    """The classes as keys of a dict, and what makes such a key of a label; dates and durations are keys as text."""
    if classes.dtype.kind not in "mM":
        return classes.tolist(), lambda label: label

    def read(label: Any) -> Any:
        try:
            return str(np.asarray(label, classes.dtype))
        except (ValueError, TypeError):
            return label

    return list(map(str, classes)), read


def in_order(array: NDArray[Any]) -> tuple[NDArray[np.int32], list[Any]]:
    """Encode objects or text by a dictionary: (the index of each label among the sorted ones, the sorted labels).

    Sorting all labels, as `np.unique` does, takes ten times as long.
    """
    seen: dict[Any, int] = {}  # labels, and their order of first appearance
    codes = np.empty(array.size, np.int32)
    for start, block in _blocks(array):
        values = block.tolist()
        for label in set(values) - seen.keys():
            seen[label] = len(seen)
        codes[start : start + block.size] = np.fromiter(map(seen.__getitem__, values), np.int32, block.size)
    ordered = sorted(seen)
    rank = np.empty(len(seen), np.int32)
    rank[[seen[label] for label in ordered]] = np.arange(len(seen), dtype=np.int32)
    for start, block in _blocks(codes):
        codes[start : start + block.size] = rank[block]
    return codes, ordered


def _by_table(array: NDArray[Any], low: int, high: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Encode whole numbers from `low` to `high` by a table with an entry for each of them."""
    occurs = np.zeros(high - low + 1, bool)
    shift = np.array(low, np.uint64 if low >= 2**63 else np.int64)

    def entries(block: NDArray[Any]) -> NDArray[np.int64]:
        return (block.astype(shift.dtype) - shift).astype(np.int64)

    for _, block in _blocks(array):
        occurs[entries(block)] = True
    index = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
    codes = np.empty(array.size, np.int32)
    for start, block in _blocks(array):
        codes[start : start + block.size] = index[entries(block)]
    classes = np.flatnonzero(occurs).astype(shift.dtype) + shift
    return codes, classes.astype(array.dtype.newbyteorder("="))


def _by_search(array: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Encode numbers of any range by binary search in the sorted classes."""
    ordered = np.sort(array)  # np.unique takes twice as long, since it hashes integers
    classes = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    del ordered
    codes = np.empty(array.size, np.int32)
    for start, block in _blocks(array):
        codes[start : start + block.size] = np.searchsorted(classes, block)
    return codes, classes


def _by_dictionary(array: NDArray[Any], dtype: np.dtype[Any], name: str) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Encode text, given in `dtype`, whose classes NumPy has to be able to keep."""
    codes, ordered = in_order(array)
    if dtype.kind == "T":
        return codes, np.array(ordered, dtype)
    is_bytes = dtype.kind == "S" or bool(ordered and isinstance(ordered[0], bytes))
    end: Any = b"\0" if is_bytes else "\0"
    odd = next((label for label in ordered if label.endswith(end)), None)
    if odd is not None:  # fixed-width arrays are padded with NUL, so NumPy drops trailing ones
        raise InputValueError(
            f"{name} contains the label {plain(odd)}, which ends in a NUL character that NumPy cannot keep; strip it."
        )
    return codes, np.array(ordered, np.bytes_ if is_bytes else np.str_)


def _of_one_kind(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Check that all objects are labels of one kind; return text unchanged, and numbers as an array of numbers."""
    types: set[type] = set()
    for _, block in _blocks(array):
        types.update(map(type, block.tolist()))
    kinds = {_kind(kind) for kind in types}
    if kinds == {"floats", "integers"}:
        _refuse_inexact(array, name)
        kinds = {"floats"}
    if len(kinds) > 1 or None in kinds:
        _refuse_mixed(array, name)
    kind = kinds.pop() if kinds else "text"
    if kind == "floats":
        _refuse_missing(array, name)
        return array.astype(np.float64)
    if kind == "booleans":
        return array.astype(np.bool_)
    if kind == "integers":
        low, high = min(array), max(array)
        fits = np.int64 if high < 2**63 and low >= -(2**63) else np.uint64 if low >= 0 and high < 2**64 else None
        if fits is None:
            raise InputValueError(
                f"{name} contains the label {plain(high if high >= 2**63 else low)}, which does not fit in 64 bits; "
                "give such labels as text: str(label)."
            )
        return array.astype(fits)
    if types <= {str, np.str_, bytes, np.bytes_}:
        return array
    # NumPy would write the name of a member of an Enum of text, not its text.
    plain_text: NDArray[Any] = np.empty(array.size, object)
    plain_text[:] = [str.__str__(label) if isinstance(label, str) else bytes(label) for label in array.tolist()]
    return plain_text


def _refuse_inexact(array: NDArray[Any], name: str) -> None:
    """Refuse integers that are not exact as floats."""
    for i, label in enumerate(array.tolist()):
        if not isinstance(label, (float, np.floating)) and abs(int(label)) >= EXACT_INTEGERS:
            raise InputValueError.about_rows(
                f"{name} contains {plain(label)} at row ", i, ", which is not exact as a float, and other labels are "
                "floats; give integers alone, or text.",
            )  # fmt: skip


def _refuse_mixed(array: NDArray[Any], name: str) -> None:
    """Raise the error for a missing label, a label of an unsupported type, or labels of several kinds."""
    _refuse_missing(array, name)
    first: dict[str, int] = {}
    for i, label in enumerate(array.tolist()):
        kind = _kind(type(label))
        if kind is None:
            raise InputTypeError.about_rows(
                f"{name} contains {plain(label)} of type {type(label).__name__} at row ",
                i,
                f", {EXPECTED} as labels; str(label) converts it to text.",
            )
        first.setdefault(kind, i)
    found: list[str | int] = []
    for kind, i in first.items():
        found += [f"{'), ' if found else ''}{kind} ({plain(array[i])} at row ", i]
    raise InputTypeError.about_rows(
        f"{name} holds labels of several kinds: ",
        *found,
        f"); make all of them integers, booleans or text: [str(label) for label in {name}].",
    )


def _refuse_missing(array: NDArray[Any], name: str) -> None:
    """Refuse None, NaN and the missing values of pandas in an array of objects."""
    for i, label in enumerate(array.tolist()):
        nan = isinstance(label, (float, np.floating)) and label != label  # noqa: PLR0124
        if label is None or nan or type(label).__name__ in {"NAType", "NaTType"}:
            raise InputValueError.about_rows(
                f"{name} contains {plain(label)} at row ", i, ": a missing label; drop such rows."
            )


def _refuse_continuous(array: NDArray[Any], name: str) -> None:
    """Refuse floats that are not whole numbers."""
    for start, block in _blocks(array):
        finite = np.isfinite(block)
        if not finite.all():
            i = int(np.argmin(finite))
            raise InputValueError.about_rows(
                f"{name} contains {block[i]} at row ", start + i, "; expected a label for every sample."
            )
        whole = block == np.floor(block)
        if not whole.all():
            i = int(np.argmin(whole))
            raise InputValueError.about_rows(
                f"{name} contains {block[i]} at row ",
                start + i,
                ": continuous values cannot be labels; expected integers, strings or booleans (this is classification, "
                "not regression).",
            )


def _kind(of: type) -> str | None:
    """Kind of labels of this type, a value of `KINDS`, or None. Booleans are not counted as integers."""
    return next((kind for types, kind in KINDS.items() if issubclass(of, types)), None)


def _blocks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    for start in range(0, array.size, BLOCK):
        yield start, array[start : start + BLOCK]
