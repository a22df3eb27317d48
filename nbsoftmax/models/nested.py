"""Which fits tests of the likelihood may compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.errors import InputTypeError, InputValueError, a_type, listed, plain
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.validation import is_sparse

Inference = Any  # which imports this module
MOST_WORK = 10**10  # multiplications to find out whether columns are linear combinations of others
ROUNDED = 1e-6  # relative difference of likelihoods that the `tol` of their fits may leave
SPANNED = 1e-8  # the rest of such a column, relative to its largest value


def refuse_firth(fit: Inference, what: str) -> None:
    """Refuse a fit with Firth's penalty for the test called `what`."""
    if fit.firth:
        raise InputValueError(f'{what} is for the maximum of the likelihood, not for penalty="firth"; use wald_test.')


def refuse_not_nested(full: Inference, restricted: Inference) -> None:
    """Refuse two fits whose ratio of likelihoods is not chi-squared, as that of a model with fewer features is."""
    _refuse_others("restricted", restricted, full)
    for fit in (full, restricted):
        refuse_firth(fit, "the likelihood-ratio test")
        if fit.class_weighted:
            raise InputValueError(
                "a fit has class_weight, with which the ratio of likelihoods is not chi-squared; use wald_test."
            )
    labels, others = full.model.classes.tolist(), restricted.model.classes.tolist()
    if labels != others:
        raise InputValueError(f"restricted has the classes [{listed(others)}], expected [{listed(labels)}].")
    problems = full.problem, restricted.problem
    if None not in problems and problems[0].n_samples != problems[1].n_samples:
        raise InputValueError(
            f"restricted was fitted to {problems[1].n_samples} rows, expected {problems[0].n_samples}; fit both to the "
            "same samples, for example without those that have a missing value in one of the models."
        )
    for what in ("y", "sample_weight", "offset"):
        if None in problems:  # after pickling
            break
        ours, theirs = (_filled(getattr(problem, what), what) for problem in problems)
        comparable = ours.shape == theirs.shape or 0 in (ours.ndim, theirs.ndim)
        if not (comparable and np.all(ours == theirs)):
            raise InputValueError(f"restricted was fitted with another {what}; fit both to the same samples.")
    nested = restricted.n_params < full.n_params and _spans(full, restricted)
    fits_better = restricted.log_likelihood > full.log_likelihood + ROUNDED * abs(full.log_likelihood)
    if not nested or fits_better or restricted.n_samples != full.n_samples:
        raise InputValueError(
            f"restricted has {restricted.n_samples:g} samples and the columns {list(restricted.names)}; expected "
            f"{full.n_samples:g} and fewer columns of {list(full.names)} with the same values, or linear combinations "
            "of these; fit both to the same samples, and call the test of the larger model."
        )


def refuse_not_fewer(full: Inference, fewer: Inference) -> None:
    """Refuse two fits that are not of the same model to all classes and to some of them."""
    _refuse_others("fewer", fewer, full)
    labels, some = full.classes.tolist(), fewer.classes.tolist()
    same = (fewer.reference, fewer.names) == (full.reference, full.names) and set(some) < set(labels)
    if not same or (full.cov, fewer.cov) != ("fisher", "fisher"):
        raise InputValueError(
            f"fewer has classes {some}, reference {plain(fewer.reference)}, columns {list(fewer.names)} and cov="
            f"{fewer.cov!r}; expected some of {labels}, {plain(full.reference)}, {list(full.names)}, both 'fisher'."
        )


def _refuse_others(name: str, given: Any, full: Inference) -> None:
    if not isinstance(given, type(full)):
        raise InputTypeError(f"{name} is {a_type(given)}, expected an Inference; give result.inference().")


def _filled(array: Any, what: str) -> Any:
    """An array, or what stands for it where none was given: weights of 1, an offset of 0."""
    array = np.asarray(array)
    return array if array.size else np.array(1.0 if what == "sample_weight" else 0.0)


def _spans(full: Inference, restricted: Inference) -> bool:
    """Whether the columns of one fit are linear combinations of those of another, intercepts included.

    Where the rows are not known, after pickling or on a GPU, the names of the columns decide. Other columns of as many
    rows that the answer would take long are no combinations.
    """
    problems = full.problem, restricted.problem
    named = set(restricted.names) < set(full.names)
    if any(problem is None or problem.on_device for problem in problems):
        return named
    n = full.problem.n_samples
    if restricted.problem.n_samples != n:
        return False
    if named and _same_columns(full, restricted):
        return True
    if n * len(full.names) ** 2 > MOST_WORK:
        return False
    counts = (full.problem.weights_or_ones() > 0) & (restricted.problem.weights_or_ones() > 0)
    X, Z = (
        np.column_stack([_dense(p.X), np.ones((n, len(fit.names) - p.n_features))])[counts].astype(np.float64)
        for fit, p in zip((full, restricted), problems, strict=True)
    )
    X, Z = (A / np.maximum(np.abs(A).max(axis=0), np.finfo(float).tiny) for A in (X, Z))
    with one_thread():
        rest = Z - X @ np.linalg.lstsq(X, Z, rcond=None)[0]
    return bool((np.abs(rest).max(axis=0) <= SPANNED).all())


def _same_columns(full: Inference, restricted: Inference) -> bool:
    """Whether the columns of one fit are those of the same names of another."""
    place = {name: j for j, name in enumerate(full.names)}
    return all(
        np.array_equal(_dense(full.problem.X[:, [place[name]]]), _dense(restricted.problem.X[:, [j]]))
        for j, name in enumerate(restricted.names[: restricted.problem.n_features])
    )


def _dense(X: Any) -> Any:
    return X.toarray() if is_sparse(X) else X
