"""The weights of features in the penalty, from the names given by --unpenalised."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbsoftmax.errors import InputValueError, listed

if TYPE_CHECKING:
    from nbsoftmax.encoding import AnyEncoding
    from nbsoftmax.validation import Float64s


def add_option(command: argparse.ArgumentParser) -> None:
    """Add the option --unpenalised."""
    command.add_argument(
        "--unpenalised",
        action="append",
        default=[],
        metavar="NAME",
        help="feature without penalty; x0, x1 ... if the features have no names; may be repeated",
    )


def penalty_weight(
    arguments: argparse.Namespace, X: Any, names: tuple[str, ...] | None, encoding: AnyEncoding | None
) -> Float64s | None:
    """The weights of `weights_of` for the features of X, an array or a source of blocks of rows."""
    if not arguments.unpenalised:
        return None
    if not hasattr(X, "shape"):
        first = next(X.blocks(), None)
        X, names = (X if first is None else first.X), X.feature_names
    return weights_of(arguments.unpenalised, names, X.shape[1] if hasattr(X, "shape") else 0, encoding)


def weights_of(
    unpenalised: Sequence[str], names: tuple[str, ...] | None, n_features: int, encoding: AnyEncoding | None
) -> Float64s | None:
    """The weight of each feature: 0 for those that are named, 1 for the others; None if none is named.

    A column that was encoded stands for all of its features.
    """
    import numpy as np

    if not unpenalised:
        return None
    known = names or tuple(f"x{j}" for j in range(n_features))
    columns = () if encoding is None else encoding.columns
    weights = np.ones(n_features)
    for name in unpenalised:
        if name not in known and (encoding is None or name not in columns):
            raise InputValueError(
                f"--unpenalised names {name!r}, which is not a feature; the features are [{listed(known)}]."
            )
        for one in (name,) if name in known or encoding is None else encoding.features_of(name):
            weights[known.index(one)] = 0.0
    return weights
