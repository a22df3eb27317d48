"""Solvers: each minimises an objective from a starting point, and has a file of its own."""

NAMES = ("newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton")  # see `table.SOLVERS`, which imports them
