"""The marginal effects of an inference at points, of features or of the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbsoftmax.models.column_effects import mean_column_effects
from nbsoftmax.models.effects import EffectOptions, mean_effects
from nbsoftmax.models.effects_result import MarginalEffects
from nbsoftmax.models.levels import other_levels
from nbsoftmax.models.points import Points
from nbsoftmax.models.softmax import feature_names, params_of

Inference = Any  # which imports this module


def effects_at(
    fit: Inference, points: Points, at: Any, chosen: Sequence[str], kind: str, *, dummies: bool
) -> MarginalEffects:
    """The effects of the features, or of the `chosen` columns of the table `at`, whose points these are."""
    model, free = fit.model, fit.model.classes != fit.reference
    if chosen:
        of_fit = dict(zip(feature_names(model), fit.binary.tolist(), strict=True)) if dummies else None
        of = mean_column_effects(model, points, at, chosen, free, fit.covariance, kind, binary=of_fit)
        return MarginalEffects(*of[:3], model.classes, of[3], "table", kind)
    names, binary = feature_names(model), fit.binary & dummies
    options = EffectOptions.of(kind, np.flatnonzero(binary), other_levels(binary, names, model.encoding))
    of_features = mean_effects(points, params_of(model), free, fit.covariance, options)
    place = at if isinstance(at, str) else "table"
    return MarginalEffects(*of_features, names, model.classes, binary, place, kind)
