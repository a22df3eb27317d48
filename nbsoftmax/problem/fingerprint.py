"""A digest of arrays and options, by which checkpoints recognise the problem that they belong to."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation import is_sparse

BLOCK_SIZE = 1 << 22  # elements that are hashed at a time


def fingerprint(*parts: Any) -> str:
    """Digest of arrays (values, dtype and shape, not memory layout) and of other values by their repr.

    Of a canonical sparse array it is that of its shape and its three arrays.
    """
    digest = hashlib.sha256()
    for part in parts:
        if is_sparse(part):
            digest.update(fingerprint(part.shape, part.data, part.indices, part.indptr).encode())
        elif isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}\0".encode())
            for rows in _blocks(np.atleast_1d(part)):
                digest.update(
                    np.ascontiguousarray(rows).data if rows.dtype.kind in "biuf" else repr(rows.tolist()).encode()
                )
        else:
            digest.update(f"{part!r}\0".encode())
    return digest.hexdigest()


def _blocks(array: NDArray[Any]) -> list[NDArray[Any]]:
    rows = max(1, BLOCK_SIZE // max(1, array[:1].size))
    return [array[start : start + rows] for start in range(0, len(array), rows)]
