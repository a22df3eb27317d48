"""Calls of kernels from compiled functions of users, without a copy of the kernel in each of them.

Numba would link the machine-independent code of a kernel into every function that calls it, and optimise it there once
more, which takes seconds. Here the caller contains only the name of a symbol, which is defined as the address of the
kernel that this process has compiled or loaded from the package's own disk cache.

The name contains the hash of the kernels' sources. If a function of a user is loaded from Numba's disk cache
(`cache=True`), its kernels are loaded first. If it was compiled with other sources (another version of this package),
Numba finds no entry in its cache and compiles the function again.

Numba 0.62 cannot load anything before a cached function; there the kernel is linked into each caller after all.
"""

from functools import cache
from importlib import import_module

from llvmlite import binding
from numba import njit
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from nbsoftmax.kernels import sources


class Kernel:
    """A kernel for some types of arguments, as a symbol of LLVM. Numba stores it beside the code of each caller."""

    def __init__(self, module, name, arguments):
        self._identity = module, name, arguments
        dispatcher = getattr(import_module(module), name)
        dispatcher.compile(arguments)
        compiled = dispatcher.overloads[arguments]
        self.descriptor, self.result = compiled.fndesc, compiled.signature.return_type
        self.symbol = f"nbsoftmax.{sources.digest()}.{compiled.fndesc.llvm_func_name}"
        binding.add_symbol(self.symbol, compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))

    def __call__(self):
        """Called by Numba after it has read a cached function; the kernel has been loaded by then."""

    def __reduce__(self):
        return restored, (sources.digest(), self._identity)


class OtherVersionError(OSError):
    """Raised while Numba reads a cached function that was compiled with other kernels; for Numba it is then missing."""


def restored(digest, identity):
    """The kernel of a function in Numba's disk cache."""
    if digest is None or digest != sources.digest():
        raise OtherVersionError("the function was compiled with another version of nbsoftmax")
    return Kernel(*identity)


@cache
def can_load_first():
    """Whether this version of Numba stores objects beside cached code, and loads them first."""
    return hasattr(cpu_target.target_context.codegen().create_library("nbsoftmax"), "_reload_init")


def calling(dispatcher):
    """A function for compiled code that calls a kernel with the arguments in a tuple."""
    if not can_load_first():
        return njit(lambda arguments: dispatcher(*arguments))
    module, name = dispatcher.py_func.__module__, dispatcher.py_func.__name__

    def call(typingctx, arguments):
        kernel = Kernel(module, name, tuple(types.unliteral(t) for t in arguments))

        def codegen(context, builder, sig, args):
            described = kernel.descriptor
            given = cgutils.unpack_tuple(builder, args[0], len(arguments))
            values = [
                context.cast(builder, value, one, other)
                for value, one, other in zip(given, arguments, described.argtypes, strict=True)
            ]
            kind = context.call_conv.get_function_type(described.restype, described.argtypes)
            function = cgutils.get_or_insert_function(builder.module, kind, kernel.symbol)
            status, result = context.call_conv.call_function(
                builder, function, described.restype, described.argtypes, values
            )
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            context.active_code_library._reload_init.add(kernel)
            return result if kernel.result != types.none else context.get_dummy_value()

        return kernel.result(arguments), codegen

    return intrinsic(call)
