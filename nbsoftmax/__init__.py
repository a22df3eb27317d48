"""Softmax regression at the limit of the hardware.

`nbs.softmax`, `nbs.cross_entropy` and their relatives work on arrays of logits; `nbs.Objective` is the fused
loss of a linear model; `nbs.Trainer` fits it and returns a `FitResult` with a `SoftmaxModel`.
Importing this package compiles nothing, and loads Numba only when a name that needs it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbsoftmax.calibration import (
        Reliability,
        brier_score,
        calibrate,
        expected_calibration_error,
        reliability,
        temperature,
    )
    from nbsoftmax.check import DeviceMemoryError, InputError, InputTypeError, InputValueError
    from nbsoftmax.cross_validation import CVResult, cross_validate
    from nbsoftmax.estimator import SoftmaxRegression, SoftmaxRegressionCV
    from nbsoftmax.functional import (
        binary_cross_entropy,
        binary_cross_entropy_and_grad,
        cross_entropy,
        cross_entropy_and_grad,
        log_sigmoid,
        log_softmax,
        logsumexp,
        sigmoid,
        softmax,
        softmax_jacobian,
    )
    from nbsoftmax.gradients import linear_gradient, logistic_gradient, softmax_gradient
    from nbsoftmax.likelihood import Inference, inference
    from nbsoftmax.model import SoftmaxModel
    from nbsoftmax.objective import Objective
    from nbsoftmax.path import PathResult, fit_path
    from nbsoftmax.trainer import ConvergenceWarning, FitResult, Trainer
    from nbsoftmax.versions import show_versions
    from nbsoftmax.watch import Iteration

__version__ = "0.1.0"

_HOME = {
    "cross_validation": ("CVResult", "cross_validate"),
    "path": ("PathResult", "fit_path"),
    "calibration": (
        "Reliability",
        "brier_score",
        "calibrate",
        "expected_calibration_error",
        "reliability",
        "temperature",
    ),
    "check": ("DeviceMemoryError", "InputError", "InputTypeError", "InputValueError"),
    "estimator": ("SoftmaxRegression", "SoftmaxRegressionCV"),
    "functional": (
        "binary_cross_entropy",
        "binary_cross_entropy_and_grad",
        "cross_entropy",
        "cross_entropy_and_grad",
        "log_sigmoid",
        "log_softmax",
        "logsumexp",
        "sigmoid",
        "softmax",
        "softmax_jacobian",
    ),
    "gradients": ("linear_gradient", "logistic_gradient", "softmax_gradient"),
    "likelihood": ("Inference", "inference"),
    "model": ("SoftmaxModel",),
    "objective": ("Objective",),
    "trainer": ("ConvergenceWarning", "FitResult", "Trainer"),
    "versions": ("show_versions",),
    "watch": ("Iteration",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "CVResult",
    "ConvergenceWarning",
    "DeviceMemoryError",
    "FitResult",
    "Inference",
    "InputError",
    "InputTypeError",
    "InputValueError",
    "Iteration",
    "Objective",
    "PathResult",
    "Reliability",
    "SoftmaxModel",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "Trainer",
    "binary_cross_entropy",
    "binary_cross_entropy_and_grad",
    "brier_score",
    "calibrate",
    "cross_entropy",
    "cross_entropy_and_grad",
    "cross_validate",
    "expected_calibration_error",
    "fit_path",
    "inference",
    "linear_gradient",
    "log_sigmoid",
    "log_softmax",
    "logistic_gradient",
    "logsumexp",
    "reliability",
    "show_versions",
    "sigmoid",
    "softmax",
    "softmax_gradient",
    "softmax_jacobian",
    "temperature",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
