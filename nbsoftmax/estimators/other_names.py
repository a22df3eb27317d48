"""Parameters that the estimators do not have, but others do: the error says what to use instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import ParamSpec

from nbsoftmax.errors import InputTypeError
from nbsoftmax.training.other_names import OF_SGD

P = ParamSpec("P")

STRENGTH = "{C}, the inverse strength of the penalty, and {l1_ratio}, the share of l1"
NO_EFFECT = "leave it out, since it has no equivalent here"
INSTEAD = {
    "penalty": 'for "l2" leave it out; "l1" is {l1_ratio}={one}, "elasticnet" is {l1_ratio} alone, None is {C}={inf}',
    "multi_class": 'for "multinomial" leave it out; "ovr" is OneVsRestClassifier({estimator}())',
    "dual": NO_EFFECT,
    "intercept_scaling": NO_EFFECT + "; the intercept is not penalised",
    "use_legacy_attributes": NO_EFFECT + "; attributes are arrays",
    "table": "encode the columns by a ColumnTransformer in a pipeline, or use {trainer}, which encodes tables itself",
    "l1": "use " + STRENGTH,
    "l2": "use " + STRENGTH,
    **{name: f"give it to the solver, solver=nbsoftmax.SGD({name}=...)" for name in OF_SGD},
}
OF_ONE = {"C": "C", "inf": "np.inf", "l1_ratio": "l1_ratio", "one": "1", "trainer": "Trainer"}
OF_SEVERAL = {"C": "Cs", "inf": "[np.inf]", "l1_ratio": "l1_ratios", "one": "[1]", "trainer": "cross_validate"}


def refuse_other_names(estimator: type, given: Iterable[str]) -> None:
    """Raise an error if a parameter is one of `LogisticRegression`, `Trainer` or `SGD` that the estimator lacks."""
    others = [name for name in given if name in INSTEAD]
    own = signature(estimator).parameters if others else {}  # takes longer than all else
    for name in others:
        if name not in own:
            instead = INSTEAD[name].format(estimator=estimator.__name__, **(OF_SEVERAL if "Cs" in own else OF_ONE))
            raise InputTypeError(f"{estimator.__name__} has no parameter {name}: {instead}.", parameter=name)


def names_checked(init: Callable[P, None]) -> Callable[P, None]:
    """The `__init__` of an estimator, with an error for parameters of `LogisticRegression` that it lacks."""

    @wraps(init)
    def checked(*args: P.args, **params: P.kwargs) -> None:
        refuse_other_names(type(args[0]), params)
        init(*args, **params)

    return checked
