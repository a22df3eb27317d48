"""The advice in convergence warnings, with the options of the command line in place of Python's parameters."""

import re

# What the advice calls the options of `fit`.
IN_OPTIONS = {
    "l2": "--l2",
    "tol": "--tol",
    "max_iter": "--max-iter",
    "max_seconds": "--max-seconds",
    "learning_rate": "--learning-rate",
    "checkpoint": "--checkpoint",
    "resume=True": "--resume",
    "scale the features": "scale the features (--standardize)",
    "use float64 data": "use --dtype float64",
}


def in_options(warning: str) -> str:
    """Return a convergence warning with its advice in the options of the command line."""
    said, lead, todo = warning.partition("What to do:")
    names = "|".join(map(re.escape, IN_OPTIONS))
    return said + lead + re.sub(rf"\b(?:{names})(?!\w)", lambda found: IN_OPTIONS[found[0]], todo)
