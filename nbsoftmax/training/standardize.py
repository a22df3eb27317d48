"""Penalties of standardized features: as if each feature were divided by its standard deviation.

    sd_j^2 = sum_i h_i (x_ij - mean_j)^2 / sum_i h_i,    mean_j = sum_i h_i x_ij / sum_i h_i

h_i is the weight of sample i in the objective. The penalty acts on coef_kj sd_j, so the coefficients are those of the
features as they are, and X is neither copied nor centred: centred features would change the intercepts alone, which
have no penalty.
"""

from __future__ import annotations

import numpy as np

from nbsoftmax.backends.base import HasMoments
from nbsoftmax.backends.moments import mean_and_variance
from nbsoftmax.errors import InputValueError
from nbsoftmax.penalties import AnyPenalty, FeaturePenalty
from nbsoftmax.problem import AnyProblem, refuse_on_device
from nbsoftmax.validation import Float64s


def standardized(penalty: AnyPenalty, problem: AnyProblem, n_threads: int | None) -> AnyPenalty:
    """The penalty of the coefficients of standardized features."""
    if not isinstance(penalty, FeaturePenalty):
        raise InputValueError(
            "standardize=True needs a penalty of this package, which has a scale for each feature; scale the features "
            "for a penalty of your own."
        )
    penalty.check_shape(problem.n_classes, problem.n_features)
    return penalty if penalty.is_zero else penalty.with_scale(deviations(problem, n_threads))


def deviations(problem: AnyProblem, n_threads: int | None) -> Float64s:
    """The standard deviation of each feature, (n_features,), in two passes; 1 for a feature that is constant."""
    refuse_on_device(problem.on_device, "standardize=True reads it")
    sums = problem.backend(fit_intercept=True, n_threads=n_threads)
    assert isinstance(sums, HasMoments)
    deviation = np.sqrt(mean_and_variance(sums.feature_moments, problem.n_features)[1])
    if not np.isfinite(deviation).all():
        j = int(np.argmin(np.isfinite(deviation)))
        name = problem.feature_names[j] if problem.feature_names else f"column {j}"
        raise InputValueError(
            f"the standard deviation of {name} exceeds the range of float64; divide this feature by a power of 10."
        )
    return np.where(deviation > 0, deviation, 1.0)
