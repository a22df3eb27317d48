"""Which fits tests of the likelihood may compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.errors import InputValueError, listed

Inference = Any  # which imports this module


def refuse_firth(fit: Inference, what: str) -> None:
    """Refuse a fit with Firth's penalty for the test called `what`."""
    if fit.firth:
        raise InputValueError(
            f'{what} is for the maximum of the likelihood, not for penalty="firth"; use wald_test.'
        )  # fmt: skip


def refuse_not_nested(full: Inference, restricted: Inference) -> None:
    """Refuse two fits whose ratio of likelihoods is not chi-squared, as that of a model with fewer features is."""
    for fit in (full, restricted):
        refuse_firth(fit, "the likelihood-ratio test")
        if fit.class_weighted:
            raise InputValueError(
                "a fit has class_weight, with which the ratio of likelihoods is not chi-squared; use wald_test."
            )
    n_classes, n_others = len(full.classes) + 1, len(restricted.classes) + 1
    fewer = set(restricted.names) < set(full.names)
    if not fewer or restricted.n_samples != full.n_samples or n_others != n_classes:
        raise InputValueError(
            f"restricted has {restricted.n_samples:g} samples, {n_others} classes and the columns "
            f"{list(restricted.names)}; expected {full.n_samples:g}, {n_classes} and fewer columns of "
            f"{list(full.names)}; fit both to the same samples, and call the test of the larger model."
        )
    labels, others = full.model.classes.tolist(), restricted.model.classes.tolist()
    if labels != others:
        raise InputValueError(f"restricted has the classes [{listed(others)}], expected [{listed(labels)}].")
    for what in ("y", "sample_weight", "offset"):
        ours, theirs = (getattr(fit.problem, what, None) for fit in (full, restricted))  # no problem after pickling
        if ours is not None and theirs is not None and not np.array_equal(ours, theirs):
            raise InputValueError(f"restricted was fitted with another {what}; fit both to the same samples.")
