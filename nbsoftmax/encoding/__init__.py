"""Tables with columns of any kind as matrices: text and categories by level, dates by part, missing values by rule.

    TableOptions -> Learner -> Encoding -> encode(table) -> matrix (n_samples, n_encoded)

A model contains its encoding, which its file stores as JSON. `AnyEncoding` says what a model needs of an encoding, and
`encoding_of` makes one from JSON by its kind: another kind is a class of this protocol, and an entry there.
"""

from nbsoftmax.encoding.base import AnyEncoding, Encoded, WrongFieldError
from nbsoftmax.encoding.column import Column
from nbsoftmax.encoding.columns import Encoding
from nbsoftmax.encoding.formula import Formula, FormulaEncoding
from nbsoftmax.encoding.frames import column_in, columns_of, is_table, names_of, needs_encoding
from nbsoftmax.encoding.learning import NOTHING_LEFT, Learner, encoding_for, learned
from nbsoftmax.encoding.options import TableOptions, checked_options
from nbsoftmax.encoding.reports import UnknownLevelsWarning, warn_of_dropped, warn_of_unknown
from nbsoftmax.encoding.stored import encoding_of

__all__ = [
    "NOTHING_LEFT",
    "AnyEncoding",
    "Column",
    "Encoded",
    "Encoding",
    "Formula",
    "FormulaEncoding",
    "Learner",
    "TableOptions",
    "UnknownLevelsWarning",
    "WrongFieldError",
    "checked_options",
    "column_in",
    "columns_of",
    "encoding_for",
    "encoding_of",
    "is_table",
    "learned",
    "names_of",
    "needs_encoding",
    "warn_of_dropped",
    "warn_of_unknown",
]
