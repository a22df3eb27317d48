"""The error for collinear columns, which names them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh

from nbsoftmax.encoding import AnyEncoding, Encoding, FormulaEncoding
from nbsoftmax.errors import InputValueError, listed
from nbsoftmax.validation import Float64s

LEAVE_LEVELS_OUT = (
    "leave one out, or fit again with drop_first=True in TableOptions (--drop-first), which leaves out the first level "
    "of each column of text or categories"
)
LEAVE_TERMS_OUT = "leave one of their terms out of the formula"
CENTRE_SPLINES = ", or give cr, cs and cc, whose features sum to 1, the option constraints='center'"
SUM_TO_1 = ("cr(", "cs(", "cc(")


def refuse_collinear(
    gram: Float64s, noise: float, names: tuple[str, ...], dtype: np.dtype[Any], encoding: AnyEncoding | None
) -> None:
    """Raise an InputValueError if the columns whose Gram matrix this is are collinear, up to `noise`.

    If `encoding` has made the columns from those of a table, the advice includes its options.
    """
    diagonal = gram.diagonal()
    if not np.isfinite(gram).all():
        j = int(np.argmax(~np.isfinite(diagonal)))
        raise InputValueError(
            f"the squares of the column {names[j]!r} exceed the range of float64; divide it by a power of 10."
        )
    if not diagonal.all():
        name = names[diagonal.argmin()]
        combined = " (of a formula: make one column of the combinations that occur)" if ":" in name else ""
        raise InputValueError(f"the column {name!r} is 0 in every row; leave it out{combined}.")
    scale = 1 / np.sqrt(diagonal)
    has_levels = isinstance(encoding, Encoding)
    values, vectors = eigh(gram * scale * scale[:, None], subset_by_index=(0, 0))
    if values[0] <= noise:
        share = np.abs(vectors[:, 0])
        concerned = [names[j] for j in np.flatnonzero(share > 1e-3 * share.max())]
        if len(concerned) == 2 and "const" in concerned:
            name = next(name for name in concerned if name != "const")
            level = " (or, if it is a level, fit with drop_first=True in TableOptions, --drop-first)"
            raise InputValueError(
                f"the column {name!r} is constant, as the intercept is, so that their coefficients are not determined; "
                f"leave the column out{level if has_levels else ''}."
            )
        advice = LEAVE_LEVELS_OUT if has_levels else "leave one out"
        if isinstance(encoding, FormulaEncoding):
            of_splines = any(name.startswith(SUM_TO_1) for name in concerned)
            advice = LEAVE_TERMS_OUT + CENTRE_SPLINES * of_splines
        hint = "; or give X in float64, in which they may differ" if dtype == np.float32 else ""
        raise InputValueError(
            f"the columns {listed(concerned)} are collinear: one is a linear combination of the others, so their "
            f"coefficients are not determined; {advice}{hint}."
        )
