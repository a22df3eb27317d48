"""Names of features and columns: none may occur twice, and those of a prediction are those of the training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from nbsoftmax.errors import InputValueError, look_alike, plain

Name = TypeVar("Name")


def first_repeated(names: Sequence[Name]) -> Name | None:
    """The first of the names, or numbers of columns, that occurs more than once; None if all differ."""
    if len(set(names)) == len(names):  # in linear time, because there may be 100,000 names
        return None
    return next(name for name, n in Counter(names).items() if n > 1)


def refuse_twice(names: Sequence[str], *, name: str = "X") -> None:
    """Refuse columns of the same name: predictions could not tell which is which. The error calls the table `name`."""
    twice = first_repeated(names)
    if twice is not None:
        raise InputValueError(f"{name} has several columns named {plain(twice)}; give each a name of its own.")


def same_features(given: tuple[str, ...] | None, trained: tuple[str, ...] | None) -> None:
    """Refuse feature names of X that differ from those of the training, or are in another order."""
    if given is None or trained is None or given == trained:
        return
    known, found = set(trained), set(given)  # sets, because there may be 100,000 features
    missing = [c for c in trained if c not in found]
    extra = [c for c in given if c not in known]
    if not missing and not extra and len(given) == len(trained):
        j = next(j for j, (a, b) in enumerate(zip(given, trained, strict=True)) if a != b)
        raise InputValueError(
            f"X has the features of the training in another order (column {j} is {given[j]!r}, expected "
            f"{trained[j]!r}); select them by name, in the order of model.feature_names."
        )
    what = f"lacks {missing[0]!r}" if missing else f"has the unknown {extra[0]!r}" if extra else "has other features"
    raise InputValueError(
        f"X {what} ({len(given)} features, the model was trained on {len(trained)}, first: {trained[0]!r}); "
        f"give the features that the model was trained on{look_alike(missing[0], given) if missing else ''}."
    )
