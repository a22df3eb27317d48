"""Formulas such as `species ~ bill_length_mm * island + bs(body_mass_g, 4)` as encodings of tables.

    text -> Formula (checked terms) -> learned(table) -> FormulaEncoding -> encode(table) -> matrix

The terms are checked in `expressions`, and evaluated in `evaluation` without compiling any text. `library` calls
formulaic, which is imported only when it is needed.
"""

from nbsoftmax.encoding.formula.encoding import FormulaEncoding
from nbsoftmax.encoding.formula.formula import Formula

__all__ = ["Formula", "FormulaEncoding"]
