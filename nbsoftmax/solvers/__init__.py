"""Solvers: minimise an objective from a start. One file each; no data, no files, no printing."""
