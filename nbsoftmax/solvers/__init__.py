"""Solvers minimise an objective from a starting point. One file each; no data, no files, no printing."""

# The names of `table.SOLVERS`, here for the help of the command line, which is shown without importing NumPy.
NAMES = ("newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton")
