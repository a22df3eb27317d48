"""Solvers minimise an objective from a starting point. One file each; no data, no files, no printing."""

NAMES = ("newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton")  # `table.SOLVERS` has the solvers
