"""Fast softmax regression (multinomial logistic regression).

`nbs.softmax`, `nbs.cross_entropy` and their relatives work on arrays of logits; `nbs.Objective` is the fused
loss of a linear model; `nbs.Trainer` fits it and returns a `FitResult` with a `SoftmaxModel`.
Importing this package compiles nothing, and loads Numba only when a name that needs it is first used. The modules
`nbs.callbacks`, `nbs.data`, `nbs.plots` and `nbs.testing` are also imported when they are first used. Names that need a
package which is not installed are not in `__all__`. Access to such a name, `nbs.SoftmaxRegression` for example, raises
an AttributeError that says what to install; `from nbsoftmax import SoftmaxRegression` raises an ImportError.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbsoftmax import callbacks as callbacks
    from nbsoftmax import data as data
    from nbsoftmax import plots as plots
    from nbsoftmax import testing as testing
    from nbsoftmax.encoding.columns import Encoding
    from nbsoftmax.encoding.options import TableOptions
    from nbsoftmax.encoding.reports import UnknownLevelsWarning
    from nbsoftmax.errors import DeviceMemoryError, InputError, InputTypeError, InputValueError
    from nbsoftmax.estimators import SoftmaxRegression, SoftmaxRegressionCV
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
    from nbsoftmax.linear_loss import loss_and_grad
    from nbsoftmax.models.calibration import (
        Reliability,
        brier_score,
        calibrate,
        expected_calibration_error,
        reliability,
        temperature,
    )
    from nbsoftmax.models.chi_squared import ChiSquared
    from nbsoftmax.models.contrast import Contrast
    from nbsoftmax.models.effects_result import MarginalEffects
    from nbsoftmax.models.inference import inference
    from nbsoftmax.models.inference_result import Inference
    from nbsoftmax.models.proba_interval import ProbaInterval
    from nbsoftmax.models.sigmoid import SigmoidWeights
    from nbsoftmax.models.softmax import SoftmaxModel
    from nbsoftmax.objective import Objective
    from nbsoftmax.penalties import ElasticNet, GroupLasso, Lasso, Penalty, Ridge
    from nbsoftmax.selection.cross_validation import CVResult, cross_validate
    from nbsoftmax.selection.path import PathResult, fit_path
    from nbsoftmax.solvers.gd import GradientDescent
    from nbsoftmax.solvers.lbfgs import LBFGS
    from nbsoftmax.solvers.newton_cg import Newton, NewtonCG
    from nbsoftmax.solvers.prox_newton import ProxNewton
    from nbsoftmax.solvers.sgd import SGD
    from nbsoftmax.solvers.stop_reason import StopReason
    from nbsoftmax.training.context import Iteration
    from nbsoftmax.training.convergence_warning import ConvergenceWarning
    from nbsoftmax.training.formula import fit_formula
    from nbsoftmax.training.result import FitResult
    from nbsoftmax.training.trainer import Trainer
    from nbsoftmax.versions import show_versions

__version__ = "0.2.0"

_HOME = {
    "selection.cross_validation": ("CVResult", "cross_validate"),
    "selection.path": ("PathResult", "fit_path"),
    "models.calibration": (
        "Reliability",
        "brier_score",
        "calibrate",
        "expected_calibration_error",
        "reliability",
        "temperature",
    ),
    "encoding": ("Encoding", "TableOptions", "UnknownLevelsWarning"),
    "errors": ("DeviceMemoryError", "InputError", "InputTypeError", "InputValueError"),
    "estimators": ("SoftmaxRegression", "SoftmaxRegressionCV"),
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
    "linear_loss": ("loss_and_grad",),
    "models.effects_result": ("MarginalEffects",),
    "models.inference": ("inference",),
    "models.inference_result": ("Inference",),
    "models.proba_interval": ("ProbaInterval",),
    "models.chi_squared": ("ChiSquared",),
    "models.contrast": ("Contrast",),
    "models.sigmoid": ("SigmoidWeights",),
    "models.softmax": ("SoftmaxModel",),
    "objective": ("Objective",),
    "penalties": ("ElasticNet", "GroupLasso", "Lasso", "Penalty", "Ridge"),
    "solvers.gd": ("GradientDescent",),
    "solvers.lbfgs": ("LBFGS",),
    "solvers.newton_cg": ("Newton", "NewtonCG"),
    "solvers.prox_newton": ("ProxNewton",),
    "solvers.sgd": ("SGD",),
    "solvers.stop_reason": ("StopReason",),
    "training.result": ("FitResult",),
    "training.convergence_warning": ("ConvergenceWarning",),
    "training.formula": ("fit_formula",),
    "training.trainer": ("Trainer",),
    "versions": ("show_versions",),
    "training.context": ("Iteration",),
}
_SUBMODULES = ("callbacks", "data", "plots", "testing")
# Names that need an extra, each with a module that the extra installs.
_NEEDS = {"SoftmaxRegression": "sklearn", "SoftmaxRegressionCV": "sklearn", "testing": "hypothesis"}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "LBFGS",
    "SGD",
    "CVResult",
    "ChiSquared",
    "Contrast",
    "ConvergenceWarning",
    "DeviceMemoryError",
    "ElasticNet",
    "Encoding",
    "FitResult",
    "GradientDescent",
    "GroupLasso",
    "Inference",
    "InputError",
    "InputTypeError",
    "InputValueError",
    "Iteration",
    "Lasso",
    "MarginalEffects",
    "Newton",
    "NewtonCG",
    "Objective",
    "PathResult",
    "Penalty",
    "ProbaInterval",
    "ProxNewton",
    "Reliability",
    "Ridge",
    "SigmoidWeights",
    "SoftmaxModel",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "StopReason",
    "TableOptions",
    "Trainer",
    "UnknownLevelsWarning",
    "binary_cross_entropy",
    "binary_cross_entropy_and_grad",
    "brier_score",
    "calibrate",
    "cross_entropy",
    "cross_entropy_and_grad",
    "cross_validate",
    "expected_calibration_error",
    "fit_formula",
    "fit_path",
    "inference",
    "linear_gradient",
    "log_sigmoid",
    "log_softmax",
    "logistic_gradient",
    "logsumexp",
    "loss_and_grad",
    "reliability",
    "show_versions",
    "sigmoid",
    "softmax",
    "softmax_gradient",
    "softmax_jacobian",
    "temperature",
]


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # the module is loaded and has no __spec__
        return True


for _name, _module in _NEEDS.items():
    if _name in __all__ and not _installed(_module):
        __all__.remove(_name)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF and name not in _SUBMODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULE_OF.get(name, name)}")
    except ImportError as error:
        if name not in _NEEDS or _in_import_statement():
            raise
        raise AttributeError(str(error)) from error  # so that hasattr and inspect.getmembers work
    value = module if name in _SUBMODULES else getattr(module, name)
    globals()[name] = value
    return value


def _in_import_statement() -> bool:
    """Whether the caller is `from nbsoftmax import name`, which replaces the message of an AttributeError."""
    return sys._getframe(2).f_code.co_name == "_handle_fromlist"


def __dir__() -> list[str]:
    available = (name for name in _SUBMODULES if name not in _NEEDS or _installed(_NEEDS[name]))
    return sorted({*globals(), *__all__, *available})
