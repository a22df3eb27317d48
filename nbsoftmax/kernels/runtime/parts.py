"""Compilation of kernels and their helpers in one piece, which halves the time of the first call on a machine.

Numba optimises every jitted function and translates it to machine code of its own, then links its optimised form into
each caller, and optimises it once more. Here a helper, called a part, is only lowered to LLVM code. The kernel that
calls it links this code, and everything is optimised and translated once.

`KernelCompiler` and `PartCompiler` are compiler classes for `numba.njit(pipeline_class=...)`. They use private methods
of Numba. If one is missing, or if the self-test before the first compilation fails, Numba compiles as usual.

Python cannot call a part: the attempt raises a TypeError ("bad argument type for built-in operation").
"""

import ctypes

import numba
from numba.core.compiler import Compiler

from nbsoftmax.kernels.runtime.compiling import compiling

try:
    from numba.core.codegen import JITCodeLibrary
except ImportError:
    JITCodeLibrary = object

# The options of Numba for functions that other code calls only by its Python wrapper, and for those that Python never
# calls: the unnecessary wrappers take time to compile.
_CALLED_BY_PYTHON, _CALLED_BY_KERNELS = {"no_cfunc_wrapper": True}, {"no_cfunc_wrapper": True, "no_cpython_wrapper": True}


class _NoEngine:
    """Replaces the engine, which does not know a part: the environment of a part is never used."""

    def set_env(self, name, env):
        pass


class _PartLibrary(JITCodeLibrary):
    """Code of one helper: neither linked with the functions that it calls, nor optimised."""

    codegen = _NoEngine()

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def finalize(self):
        self._raise_if_finalized()
        for library in self._linking_libraries:
            self._reload_init.update(library._reload_init)
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage.name == "external":
                function.linkage = "linkonce_odr"  # as Numba does for functions that are linked into several others
        self._finalized = True

    def get_pointer_to_function(self, name):
        """Address of the wrapper for Python, which raises a TypeError."""
        return ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value if "cpython" in name else 0

    def _get_module_for_linking(self):
        """The code of this part and of all that it calls, for functions that are no kernels of this package."""
        self._ensure_finalized()
        if self._shared_module is None:
            whole = self._final_module.clone()
            for library in _callees(self):
                if isinstance(library, _PartLibrary):
                    whole.link_in(library._final_module, preserve=True)
                else:
                    whole.link_in(library._get_module_for_linking(), preserve=True)
            self._shared_module = whole
        return self._shared_module


class _KernelLibrary(JITCodeLibrary):
    """Code of a kernel, linked with each of its parts once."""

    def finalize(self):
        callees = _callees(self)
        for library in callees:
            if isinstance(library, _PartLibrary):
                self._reload_init.update(library._reload_init)
                self._final_module.link_in(library._final_module, preserve=True)
        self._linking_libraries = [library for library in callees if not isinstance(library, _PartLibrary)]
        super().finalize()


def _callees(library):
    """Libraries that this one calls, directly or through parts; each once."""
    found, todo = {}, list(library._linking_libraries)
    while todo:
        callee = todo.pop(0)
        if callee not in found:
            found[callee] = None
            if isinstance(callee, _PartLibrary):
                todo += callee._linking_libraries
    return list(found)


class PartCompiler(Compiler):
    """Compiles helpers of kernels."""

    def compile_extra(self, func):
        if supported():
            self.state.library = _PartLibrary(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class KernelCompiler(Compiler):
    """Compiles functions that Python calls."""

    def compile_extra(self, func):
        with compiling():
            if supported():
                self.state.library = _KernelLibrary(self.state.targetctx.codegen(), func.__qualname__)
                self.state.library.enable_object_caching()  # so that it can be stored on disk
            return super().compile_extra(func)


KERNEL = {"pipeline_class": KernelCompiler, **_CALLED_BY_PYTHON}
PART = {"pipeline_class": PartCompiler, **_CALLED_BY_KERNELS}

_supported = None


def supported():
    """Whether this version of Numba compiles kernels with parts correctly: tested at the first compilation."""
    global _supported  # noqa: PLW0603
    if _supported is None:
        _supported = JITCodeLibrary is not object  # during the test
        _supported = _supported and _self_test()
    return _supported


def _self_test():
    """Compile and call a kernel with a part that calls another."""
    try:
        double = numba.njit(**PART)(lambda x: 2 * x)
        double_and_one = numba.njit(**PART)(lambda x: double(x) + 1)
        kernel = numba.njit(**KERNEL)(lambda x: double_and_one(x) + double(x))
        return kernel(10) == 41
    except Exception:  # whatever the reason, Numba then compiles as usual
        return False
