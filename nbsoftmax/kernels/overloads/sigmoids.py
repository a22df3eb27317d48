"""Sigmoid and log-sigmoid for compiled code: see `nbsoftmax.functional`, whose functions have the same names."""

from numba import prange
from numba.core import types
from numba.core.errors import TypingError

from nbsoftmax.kernels import binary
from nbsoftmax.kernels.binary import LOG_SIGMOID, SIGMOID, sigmoid_of
from nbsoftmax.kernels.chunks import chunks_of_logits
from nbsoftmax.kernels.lang.simd import max_of, spread
from nbsoftmax.kernels.overloads.arguments import FLOATS, advice, contiguous, flat, new_array, only
from nbsoftmax.kernels.overloads.calls import calling
from nbsoftmax.kernels.runtime.jit import jit


def sigmoid(z):
    return _implementation(z, SIGMOID)


def log_sigmoid(z):
    return _implementation(z, LOG_SIGMOID)


@jit
def sigmoid_of_number(z, kind):
    """The sigmoid of a number, or its logarithm."""
    return max_of(sigmoid_of(spread(z), kind))


def _implementation(z, kind):
    if isinstance(z, types.Array) and z.dtype in FLOATS:
        kernel, elements = calling(binary.sigmoid), flat(z)

        def of_array(z):
            x, proba = elements(z), new_array(z, None)
            to = contiguous(proba)
            n_chunks = chunks_of_logits(x.size)
            for chunk in prange(n_chunks):
                kernel((only(chunk), x, to, n_chunks, kind))
            return proba

        return of_array
    of_number = calling(sigmoid_of_number)
    if z in FLOATS:
        return lambda z: of_number((z, kind))
    if isinstance(z, types.Integer):
        return lambda z: of_number((float(z), kind))
    scalar = isinstance(z, (types.Boolean, types.Float))
    do = "convert it by float" if scalar else advice(z)
    raise TypingError(f"z is {z}, expected a number, or an array of float32 or float64; {do}.")
