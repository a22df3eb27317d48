"""Readers: from files to arrays. They check what a file can get wrong and say where; they compute nothing."""

from nbsoftmax.data import digits

__all__ = ["digits"]
