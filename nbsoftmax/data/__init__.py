"""Readers: from files to arrays, with errors that name the line or the array that is wrong."""

from nbsoftmax.data import digits

__all__ = ["digits"]
