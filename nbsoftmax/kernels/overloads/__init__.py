"""Functions of the package inside compiled functions of users: `nbs.softmax(z)` in code under `@numba.njit`.

`callable_from_numba` gives a public function a Numba type. When Numba compiles a call of it, the type imports the
module of this package that has a function of the same name. This function receives the types of the arguments and
returns the implementation for them, as with `numba.extending.overload`:

    logits      softmax, log_softmax, logsumexp, cross_entropy, cross_entropy_and_grad
    sigmoids    sigmoid, log_sigmoid
    linear      loss_and_grad

`python_only` gives the other public functions a type that refuses such a call with a message of what to use.

Implementations check shapes and labels, allocate the results, and call the kernels that the Python functions launch,
with the same chunks, so that the results have the same bits (but in rare cases, which docs/numba.md lists). They are
inlined into the caller: their `prange` over chunks is parallel in a caller that is compiled with `parallel=True`, and
an ordinary loop in others and inside a `prange` of the caller. Kernels are called as `calls` describes.

The Numba type is an attribute of the function, and not an entry in Numba's registry (which packages fill by the entry
point `numba_extensions`). Therefore compilations that do not use these functions cost nothing, and a function is found
that is imported only during the compilation.
"""

import inspect
from importlib import import_module

from numba.core import types
from numba.core.errors import TypingError

try:
    from numba.core.typing.templates import make_overload_template
except ImportError:  # not documented by Numba; without it the functions can be called from Python only
    make_overload_template = None

_OPTIONS = {"no_cpython_wrapper": True, "nopython": True}  # those of numba.extending.overload


def callable_from_numba(module, *functions):
    """Make public functions callable from compiled code, by their namesakes in a module of this package."""
    for function in functions:
        _give_type(function, _implementation(module, function))


def python_only(instead, *functions):
    """Refuse calls of public functions from compiled code, and say what to use instead."""
    for function in functions:
        _give_type(function, _refusal(function, instead))


def _give_type(function, implementation):
    if make_overload_template is not None:
        template = make_overload_template(
            function, implementation, _OPTIONS, strict=True, inline="always", prefer_literal=True
        )
        function._numba_type_ = types.Function(template)


def _refusal(function, instead):
    """A function that refuses all types of arguments."""

    def implementation(*args, **kwargs):
        raise TypingError(f"nbsoftmax.{function.__name__} can be called from Python only: {instead}.")

    implementation.__signature__ = _signature(function)
    return implementation


def _implementation(module, function):
    """A function of the types of the arguments, which returns the implementation for them."""
    signature = _signature(function)

    def implementation(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        code = import_module(f"{__name__}.{module}")
        return getattr(code, function.__name__)(**bound.arguments)

    implementation.__signature__ = signature
    return implementation


def _signature(function):
    """The signature for compiled code, which has no keyword-only arguments."""
    return inspect.Signature(
        [
            inspect.Parameter(p.name, p.POSITIONAL_OR_KEYWORD, default=p.default)
            for p in inspect.signature(function).parameters.values()
        ]
    )
