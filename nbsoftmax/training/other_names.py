"""Parameters of estimators, of `fit` and of `SGD` that `Trainer` does not have: the error says what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from nbsoftmax.errors import InputTypeError

P = ParamSpec("P")

SHARE = "give l1 and l2, the strengths of both penalties"
INSTEAD = {
    "C": "give l2, which is 1 / (C n) for n samples or weights with the sum n, and 2 / (C n) for two classes",
    "l1_ratio": SHARE,
    "firth": 'give penalty="firth"',
    "n_jobs": "give n_threads",
    "standardise": "give standardize",
}
OF_SGD = ("learning_rate", "batch_size", "momentum")
OF_FIT = ("sample_weight", "offset", "init", "validation_data", "checkpoint", "resume")
INSTEAD |= {name: f"give it to fit, fit(X, y, {name}=...)" for name in OF_FIT}
INSTEAD |= {name: f"give it to the solver, solver=nbsoftmax.SGD({name}=...)" for name in OF_SGD}


def names_checked(init: Callable[P, None]) -> Callable[P, None]:
    """The `__init__` of `Trainer`, with an error for parameters that others have."""

    @wraps(init)
    def checked(*args: P.args, **options: P.kwargs) -> None:
        name = next(filter(INSTEAD.__contains__, options), None)
        if name is not None:
            raise InputTypeError(f"Trainer has no parameter {name}: {INSTEAD[name]}.", parameter=name)
        init(*args, **options)

    return checked
