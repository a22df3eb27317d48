"""The callbacks of a fit, by their public name, `nbs.callbacks`."""

from nbsoftmax.training.callbacks import Context, EarlyStopping, JsonLines, ModelCheckpoint, ProgressBar

__all__ = ["Context", "EarlyStopping", "JsonLines", "ModelCheckpoint", "ProgressBar"]
