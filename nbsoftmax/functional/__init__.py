"""Functions of logits: softmax, log-softmax, log-sum-exp, cross-entropy, sigmoid and binary cross-entropy.

Logits have shape (n_samples, n_classes), or (n_classes,) for one row. C-contiguous float32 and float64 arrays are
not copied, and results have their dtype; anything else is converted once. Each function checks its input, allocates
the results, and calls one kernel of `nbsoftmax.kernels`.

For infinite logits the result is the limit: classes that share an infinite maximum get equal probabilities (so a row
of -inf is uniform). A NaN makes its own row NaN, and no other.
"""

from nbsoftmax.functional.binary import (
    binary_cross_entropy,
    binary_cross_entropy_and_grad,
    log_sigmoid,
    sigmoid,
)
from nbsoftmax.functional.logits import log_softmax, logsumexp, softmax, softmax_jacobian
from nbsoftmax.functional.losses import cross_entropy, cross_entropy_and_grad
from nbsoftmax.functional.reduction import Reduction
from nbsoftmax.kernels.overloads import callable_from_numba, python_only

__all__ = [
    "Reduction",
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
]

callable_from_numba("logits", softmax, log_softmax, logsumexp, cross_entropy, cross_entropy_and_grad)
callable_from_numba("sigmoids", sigmoid, log_sigmoid)
python_only(
    "compiled code has sigmoid and log_sigmoid, or cross_entropy of two classes with the logits 0 and z",
    binary_cross_entropy,
    binary_cross_entropy_and_grad,
)
python_only("for probabilities p of one row it is np.diag(p) - np.outer(p, p)", softmax_jacobian)
