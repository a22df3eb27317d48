"""Inference: standard errors, tests and confidence intervals for the coefficients of an unpenalised fit.

Softmax determines coefficients only up to a common shift, so they are relative to a reference class r:
theta_k = w_k - w_r, k != r. Their covariance is the inverse of the information matrix ("fisher"), or one of `robust`.

Source: A. Agresti, "Categorical Data Analysis" (2013), ch. 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.backends.cuda.device import on_host
from nbsoftmax.errors import InputValueError, plain, rows_called, warn
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.complete_rows import complete_rows
from nbsoftmax.models.contrast import position
from nbsoftmax.models.inference_result import Inference
from nbsoftmax.models.likelihood import information_at, maximum, null_log_likelihood
from nbsoftmax.models.points import binary_columns
from nbsoftmax.models.robust import COVARIANCES, group_codes, robust_covariance
from nbsoftmax.models.softmax import SoftmaxModel, checked_model, feature_names, params_of
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import BoundedPenalty, Firth, Ridge
from nbsoftmax.problem import Problem

MOST_PARAMS = 10_000  # the covariance then takes 0.8 GB, and a few such arrays exist at a time


def inference(
    model: SoftmaxModel,
    X: Any,
    y: Any,
    *,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool | None = None,
    cov: str = "fisher",
    groups: Any = None,
    reference: Any = None,
    n_threads: int | None = None,
) -> Inference:
    """Inference for a model and its training data. After a fit, `FitResult.inference` needs no data.

    Newton steps first move the parameters from the model to the maximum of the likelihood, because the distance to it
    depends on the `tol` of the fit.

    Parameters
    ----------
    model : SoftmaxModel
        Trained without penalty.
    X : array_like, frame or sparse matrix (n_samples, n_features)
        If the fit left out rows with missing values, they are left out here too, with all that is given beside them.
    y : array_like
        Labels (n_samples,); or proportions of the classes (n_samples, n_classes), with the counts as weights.
    sample_weight : array_like (n_samples,), optional
        For "fisher", frequency weights; otherwise any weights that do not depend on the labels.
    offset : array_like (n_samples, n_classes), optional
        As in the fit.
    fit_intercept : bool, optional
        Whether the model was trained with an intercept. By default as its metadata say, and True without them.
    cov : {"fisher", "sandwich", "HC0", "HC1", "cluster"}
        "fisher" assumes that the model is correct. The others are robust to misspecification: "sandwich", for which
        "HC0" is another name, has no correction for small samples; "HC1" is n / (n - p) times as large, for n rows and
        p parameters, those of all classes; "cluster" is for rows that depend on each other within groups, and has
        Stata's correction G / (G - 1) for G groups.
    groups : array_like (n_samples,), optional
        For "cluster", the group of each row: integers, text or booleans.
    reference : label, optional
        Default: the first of `model.classes`.
    n_threads : int, optional

    Returns
    -------
    Inference

    Raises
    ------
    InputValueError
        If the model is more than one standard error from the maximum of the likelihood, and its log-likelihood is
        smaller than that by more than 1e-5 of it, because it was trained with a penalty or on other data; or if there
        is no unique maximum, because columns are collinear or classes are perfectly separable. The message names the
        columns.

    Warns
    -----
    UserWarning
        If the model was trained with a penalty, but is close to the maximum: the result is that without penalty.
    """
    X, y, sample_weight, offset, groups, rows = complete_rows(
        checked_model(model), X, y=y, sample_weight=sample_weight, offset=offset, groups=groups
    )
    with rows_called(rows):
        array = model._features(X)
        y = validation.targets_in_order(y, model.classes)
        if y.ndim != 2:
            y = validation.codes_of(y, model.classes, n_samples=array.shape[0])
        weight = validation.sample_weights(sample_weight, array.shape[0])
        problem = Problem.from_validated(
            array, y, model.classes, model.feature_names, weight, class_weight=None, label_smoothing=0.0
        ).with_offset(offset)
    training = model.training or {}
    for what, given in (("sample_weight", sample_weight), ("offset", offset)):
        if training.get(what) and given is None:
            raise InputValueError(f"the model was fitted with {what}; give that of the fit.", parameter=what)
    if fit_intercept is None:
        fit_intercept = bool(training.get("fit_intercept", True))
    options = ObjectiveOptions(
        penalty=Firth() if training.get("penalty") == repr(Firth()) else Ridge(0.0),
        fit_intercept=validation.flag("fit_intercept", fit_intercept),
        n_threads=validation.n_threads(n_threads),
    )
    found = at_maximum(model, problem, options, cov=cov, groups=groups, reference=reference)
    if left_out := _left_out(training):
        warn(f"the model was fitted with {left_out}, those of maximum likelihood.")
    return found


def _left_out(training: dict[str, Any]) -> str | None:
    """What inference leaves out of the fit with these metadata, as a warning says it."""
    likelihoods = (repr(Firth()), repr(Ridge(0.0)))
    if training.get("bounds"):
        return "bounds; these are the estimates without them"
    if training.get("l1") or training.get("l2") or training.get("penalty", likelihoods[0]) not in likelihoods:
        return "a penalty; these are the estimates without it"
    return "label smoothing; these are the estimates without it" if training.get("label_smoothing") else None


def at_maximum(
    model: SoftmaxModel, problem: Problem, options: ObjectiveOptions, *, cov: str, groups: Any, reference: Any
) -> Inference:
    """Inference for a model, and the problem and options that it was fitted with."""
    cov = {"HC0": "sandwich"}.get(validation.choice("cov", cov, COVARIANCES), cov)
    codes = group_codes(groups, cov, problem)
    base = 0 if reference is None else position("reference", reference, model.classes)
    _check_is_likelihood(problem, options, cov)
    # Products in float32 leave few correct digits, or none, of the information matrix if columns are far from 0.
    objective = PenalizedLoss(problem, options).in_float64(hessian=True)
    n_names = model.n_features + objective.fit_intercept
    if (model.n_classes - 1) * n_names > MOST_PARAMS:
        raise InputValueError(
            f"the covariance of {(model.n_classes - 1) * n_names} parameters would not fit in memory; "
            f"expected at most {MOST_PARAMS}; use fewer features."
        )
    (X,) = on_host(options.device, problem.X)
    used = X[problem.sample_weight > 0] if problem.sample_weight.size and not problem.sample_weight.all() else X
    target = problem.target_in_float64()
    counts = target.class_sums()
    labels = model.classes.tolist()
    _check_counts(counts, labels)
    free = np.arange(model.n_classes) != base
    names = _names(model, objective.fit_intercept)
    with one_thread():  # the last bits of BLAS and LAPACK depend on the number of their threads
        if isinstance(options.penalty, Firth):
            params, inverse, log_likelihood = information_at(params_of(model), objective, free, names)
        else:
            params, inverse, log_likelihood = maximum(model, objective, used, free, names, target.exponent)
        if cov == "fisher":
            covariance = np.ldexp(inverse, -target.exponent)
        else:
            covariance = robust_covariance(
                inverse, X, problem, target, params, free, cov=cov, groups=codes, names=names
            )
        null = np.nan  # ratios of likelihoods have no meaning with Firth's penalty
        if not isinstance(options.penalty, Firth):
            null = null_log_likelihood(objective, counts, has_offset=problem.offset.size > 0)
    theta = params - params[base]
    return Inference(
        model=SoftmaxModel(theta[:, :-1], theta[:, -1], model.classes, model.feature_names, encoding=model.encoding),
        reference=labels[base],
        classes=model.classes[free],
        names=names,
        params=theta[free, :n_names],
        covariance=(covariance + covariance.T) / 2,
        cov=cov,
        log_likelihood=validation.in_units(log_likelihood, target.exponent),
        log_likelihood_null=validation.in_units(null, target.exponent),
        n_samples=objective.weight_sum,
        binary=binary_columns(used),
        problem=problem,
        device=options.device,
        firth=isinstance(options.penalty, Firth),
        class_weighted=problem.class_weight is not None,
    )


def _check_counts(counts: NDArray[Any], labels: list[Any]) -> None:
    """Refuse classes without weight."""
    if np.count_nonzero(counts) == 1:
        raise InputValueError(
            f"only the label {plain(labels[counts.argmax()])} has samples of positive weight, so the likelihood has no "
            "maximum; give samples of two classes or more."
        )
    if not counts.all():
        raise InputValueError(
            f"no sample of positive weight has the label {plain(labels[counts.argmin()])}, so the likelihood "
            "has no maximum; leave the class out of the fit."
        )


def _check_is_likelihood(problem: Problem, options: ObjectiveOptions, cov: str) -> None:
    if problem.has_partial_labels:
        raise InputValueError(
            "y holds partial labels, for which the information matrix is not supported; for standard errors, fit to "
            "bootstrap samples of the rows."
        )
    penalty = None if options.penalty.is_zero else f"the penalty {options.penalty}"
    if isinstance(options.penalty, BoundedPenalty):
        raise InputValueError(
            "the fit has bounds, which hold some of its coefficients, so standard errors and tests would not be valid; "
            "fit without them for inference."
        )
    if problem.label_smoothing:
        penalty = f"label_smoothing={problem.label_smoothing:g}"
    if penalty:
        raise InputValueError(
            f"the fit has {penalty}, which shrinks its coefficients towards 0, so standard errors and tests would not "
            "be valid; fit without it for inference."
        )
    if problem.class_weight is not None and cov == "fisher":
        raise InputValueError(
            'the fit has class_weight, which "fisher" would treat as more or fewer observations; '
            'use cov="sandwich", or fit without it.'
        )


def _names(model: SoftmaxModel, fit_intercept: bool) -> tuple[str, ...]:
    names = feature_names(model)
    if fit_intercept and "const" in names:
        raise InputValueError("a feature is called 'const', as the intercept is in the results; rename the column.")
    return (*names, "const") if fit_intercept else names
