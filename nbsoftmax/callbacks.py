"""The callbacks of a fit, by their public name, `nbs.callbacks`."""

from nbsoftmax.training.callbacks import EarlyStopping, JsonLines, ModelCheckpoint, ProgressBar
from nbsoftmax.training.context import Context

__all__ = ["Context", "EarlyStopping", "JsonLines", "ModelCheckpoint", "ProgressBar"]
