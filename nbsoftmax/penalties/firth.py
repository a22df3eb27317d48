"""The name of Firth's penalty among the penalties: it depends on the samples, so that `firth_loss` computes it."""

from __future__ import annotations

from nbsoftmax.penalties.feature import Ridge


class Firth(Ridge):
    """Firth's penalty, which adds nothing to that of the coefficients themselves; see `firth_loss.FirthLoss`."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def __repr__(self) -> str:
        return "Firth()"
