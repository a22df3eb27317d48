"""Readers: from files to arrays. They check what a file can get wrong and say where; they compute nothing."""
