"""Solvers: each minimises an objective from a starting point, and has a file of its own."""

# The names of `table.SOLVERS`, here for the help of the command line, which is shown without importing NumPy.
NAMES = ("newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton")
