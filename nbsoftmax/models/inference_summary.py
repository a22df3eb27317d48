"""What an `Inference` shows: its table as text, in the layout of statsmodels' `MNLogit`, and that of notebooks."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.errors import listed, plain
from nbsoftmax.models.display import MOST_LISTED, Table
from nbsoftmax.models.estimates import Estimates

Inference = Any  # which imports this module


def summary_text(fit: Inference, level: float, *, exp: bool) -> str:
    """The table with confidence intervals of this level; with `exp`, of exp(coef)."""
    model = [
        ("Model:", "SoftmaxModel"),
        ("Reference:", str(fit.reference)),
        ("Covariance:", fit.cov),
        ("AIC:", f"{fit.aic:.6g}"),
        ("BIC:", f"{fit.bic:.6g}"),
        ("Df Model:", f"{fit.df_model}"),
    ]
    numbers = [
        ("No. Observations:", f"{fit.n_samples:.10g}"),
        ("Df Residuals:", f"{fit.df_resid:.10g}"),
        ("Pseudo R-squ.:", f"{fit.pseudo_r2:.4g}"),
        ("Log-Likelihood:", f"{fit.log_likelihood:.5g}"),
        ("LL-Null:", f"{fit.log_likelihood_null:.5g}"),
        ("LLR p-value:", f"{fit.likelihood_ratio.p_value:.4g}"),
    ]
    # The constant is the first row, as after statsmodels' add_constant.
    order = np.roll(np.arange(len(fit.names)), 1 if len(fit.names) > fit.model.n_features else 0).tolist()
    estimates = Estimates(fit.params, fit.standard_errors, [f"y={label}" for label in fit.classes], fit.names)
    head = model, numbers
    return estimates.text("Softmax Regression Results", "RRR" if exp else "coef", *head, order, level, exp=exp)


def lines_of(fit: Inference) -> dict[str, str]:
    """What `repr` says below the title."""
    return {
        "columns": listed(fit.names, most=MOST_LISTED),
        "covariance": f"{fit.cov}, {fit.n_samples:.10g} samples",
        "likelihood": f"log-likelihood {fit.log_likelihood:.6g}, pseudo R-squared {fit.pseudo_r2:.4g}",
        "criteria": f"AIC {fit.aic:.6g}, BIC {fit.bic:.6g}",
    }


def table_of(fit: Inference) -> Table:
    """The coefficients, for HTML."""
    numbers = np.stack([fit.params, fit.standard_errors, fit.z, fit.p_values], axis=-1)
    rows = [
        (plain(label), plain(name), *(f"{number:.4g}" for number in numbers[k, j]))
        for k, label in enumerate(fit.classes.tolist())
        for j, name in enumerate(fit.names)
    ]
    return Table(("class", "column", "coef", "std err", "z", "P>|z|"), rows)
