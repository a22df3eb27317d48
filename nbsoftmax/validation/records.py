"""Records, as JSON has them: the error about a dict or a list of dicts in the place of a table."""

from __future__ import annotations

from typing import Any

from nbsoftmax.errors import InputTypeError


def refuse_records(name: str, a: Any) -> None:
    """Refuse a dict of values, a dict of columns and a list of dicts, with what makes a table of them."""
    if isinstance(a, dict) and not hasattr(a, "nnz"):  # scipy.sparse.dok_array is a dict
        is_record = a and all(isinstance(value, (str, bytes)) or not hasattr(value, "__len__") for value in a.values())
        what, made = ("a dict of one record", f"[{name}]") if is_record else ("a dict", name)
    elif isinstance(a, (list, tuple)) and a and isinstance(a[0], dict):
        what, made = ("a list of dicts", name) if isinstance(a, list) else ("a tuple of dicts", f"list({name})")
    else:
        return
    raise InputTypeError(f"{name} is {what}, expected a table; pd.DataFrame({made}) makes one of it.")
