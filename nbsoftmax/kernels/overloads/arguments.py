"""Checks of the types of arguments while Numba compiles a call; and of their shapes when it runs."""

import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.runtime.jit import jit

FLOATS = (types.float32, types.float64)


def value_of(argument):
    """The value of an argument that is known to the compiler (a literal, or a default); otherwise its type."""
    if isinstance(argument, types.Omitted):
        return argument.value
    if isinstance(argument, types.Literal):
        return argument.literal_value
    return None if isinstance(argument, types.NoneType) else argument


def is_array(argument, dtypes, *n_dims):
    """Whether this is the type of an array with one of these dtypes and numbers of dimensions."""
    of_dtype = isinstance(argument, types.Array) and isinstance(argument.dtype, dtypes)
    return of_dtype and argument.ndim in n_dims


def check_floats(name, argument, *n_dims):
    """Refuse anything but a float32 or float64 array with one of these numbers of dimensions."""
    if not is_array(argument, types.Float, *n_dims) or argument.dtype not in FLOATS:
        dims = " or ".join(f"{n}-D" for n in n_dims)
        raise TypingError(f"{name} is {argument}, expected a {dims} array of float32 or float64; {advice(argument)}.")


def advice(argument):
    """What to do about an argument that is not an array of floats with the right number of dimensions."""
    if isinstance(argument, types.Optional):
        return "the compiler must know that it is not None"
    if isinstance(getattr(argument, "dtype", argument), types.Complex):
        return "give its real part"
    if not isinstance(argument, types.Array):
        return "make it an array"
    return "reshape it" if argument.dtype in FLOATS else "convert it by astype"


def check_number(name, argument):
    """Refuse anything but an integer, float32 or float64."""
    value = value_of(argument)
    if value not in FLOATS and (not isinstance(value, (types.Integer, int, float)) or isinstance(value, bool)):
        raise TypingError(f"{name} is {argument}, expected a number: an integer, float32 or float64.")


def check_known(name, argument):
    """Refuse a value of which only the running program knows whether it is None."""
    if isinstance(argument, types.Optional):
        kind = "an array" if isinstance(argument.type, types.Array) else "a number"
        raise TypingError(
            f"{name} is {kind} or None, which must be known at compilation; call the function once with {kind} and "
            "once without, in the branches of an if."
        )


def check_weights(name, argument, n_dims=1):
    """Refuse anything but None and an array of integers, float32 or float64 with this number of dimensions."""
    check_known(name, argument)
    fits = is_array(argument, (types.Integer, types.Float), n_dims) and argument.dtype != types.float16
    if value_of(argument) is not None and not fits:
        raise TypingError(f"{name} is {argument}, expected None or a {n_dims}-D array of float32, float64 or integers.")


def check_out(out, source):
    """Refuse anything but None and a C-contiguous array of the dtype and number of dimensions of `source`."""
    check_known("out", out)
    if value_of(out) is None:
        return
    fits = isinstance(out, types.Array) and (out.dtype, out.ndim) == (source.dtype, source.ndim)
    if not fits or out.layout != "C" or not out.mutable:
        raise TypingError(
            f"out is {out}, expected None or a writeable C-contiguous {source.ndim}-D array of {source.dtype}."
        )


def choice(name, argument, options):
    """The value of a text option, which the compiler must know."""
    value = value_of(argument)
    if value not in options:
        raise TypingError(f"{name} is {argument}, expected a literal: {' or '.join(map(repr, options))}.")
    return value


@intrinsic
def writeable(typingctx, array):
    """The same array with the type of a writeable one, for which the kernels are compiled. Nothing writes to it."""
    result = array.copy(readonly=False)

    def codegen(context, builder, sig, args):
        return impl_ret_borrowed(context, builder, result, args[0])

    return result(array), codegen


@jit
def contiguous(array):
    """The elements of a C-contiguous array, in one dimension."""
    return writeable(array).reshape(-1)


@jit
def copied(array):
    """The elements of an array of any layout, in the order of its indices."""
    return np.ascontiguousarray(array).reshape(-1)


def flat(argument):
    """The function for the elements of an array of this type in one dimension: without a copy if it is C-contiguous."""
    return contiguous if argument.layout == "C" else copied


@jit
def new_array(like, out):
    """A C-contiguous array of the shape of `like`."""
    return np.empty(like.shape, like.dtype)


@jit
def checked_out(like, out):
    """Return `out` if it has the shape of `like`."""
    if out.shape != like.shape:
        raise InputValueError("out has another shape than the logits.")
    return out


@jit
def checked_out_in_place(like, out):
    """Return `out` if it has the shape of the C-contiguous `like`, and is the same memory or does not overlap it."""
    if overlap(like, out) and like.ctypes.data != out.ctypes.data:
        raise InputValueError("out overlaps the logits in part; give the logits themselves or another array.")
    return checked_out(like, out)


@jit
def overlap(array, out):
    """Whether two C-contiguous arrays have memory in common."""
    first, second = array.ctypes.data, out.ctypes.data
    return first < second + out.size * out.itemsize and second < first + array.size * array.itemsize


@jit
def refuse_overlap(array, out):
    """Refuse an `out` that overlaps the targets: the kernel writes to `out` while it reads them."""
    if overlap(array, out):
        raise InputValueError("out overlaps y; give an array with memory of its own.")


@jit
def accept(array, out):
    """Check nothing: an array that is copied first may overlap the result."""


def result(out, logits):
    """The function that returns the array for the result."""
    if value_of(out) is None:
        return new_array
    return checked_out_in_place if logits.layout == "C" else checked_out


def apart(y, out):
    """The function that refuses an `out` that overlaps probabilities `y`."""
    given = value_of(out) is not None and isinstance(y, types.Array) and isinstance(y.dtype, types.Float)
    return refuse_overlap if given and y.layout == "C" else accept


@jit
def zeros(n):
    """Float64 zeros; a function of its own, since in a parallel caller `np.zeros` would be a parallel loop."""
    return np.zeros(n)


@jit
def only(chunk):
    """The `todo` with which a kernel does this one task."""
    todo = np.empty(2, np.int64)
    todo[0], todo[1] = chunk, chunk + 1
    return todo
