"""Solvers minimise an objective from a starting point. One file each; no data, no files, no printing."""
