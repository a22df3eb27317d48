"""Compilation of kernels and their helpers in one piece, which halves the time of the first call on a machine.

Numba optimises every jitted function and translates it to machine code of its own, then links its optimised form into
each caller, and optimises it once more. Here a helper, called a part, is only lowered to simplified LLVM code. The
kernel that calls it links this code, and everything is optimised and translated once.

`KernelCompiler` and `PartCompiler` are compiler classes for `numba.njit(pipeline_class=...)`. They use private methods
of Numba. If one is missing, or if the self-test before the first compilation fails, Numba compiles as usual.

Python cannot call a part: the attempt raises a TypeError ("bad argument type for built-in operation").
"""

import ctypes
from contextlib import suppress

import numba
from numba.core import types

from nbsoftmax.kernels.runtime.compiling import compiling, interrupted_later

try:
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler
except ImportError:
    JITCodeLibrary = Compiler = object

# Passes of Numba's compiler for what kernels do not use: closures and comprehensions, `with`, messages of exceptions
# made from variables, functions inlined before their types are known, literal_unroll, and expressions of whole arrays.
_UNUSED_PASSES = {
    "FindLiterallyCalls",
    "InlineClosureLikes",
    "InlineInlinables",
    "InlineOverloads",
    "LiteralPropagationSubPipelinePass",
    "LiteralUnroll",
    "MakeFunctionToJitFunction",
    "NoPythonSupportedFeatureValidation",
    "NopythonRewrites",
    "RewriteDynamicRaises",
    "WithLifting",
}


class _NoEngine:
    """Replaces the engine, which does not know a part: the environment of a part is never used."""

    def set_env(self, name, env):
        pass


class _PartLibrary(JITCodeLibrary):
    """Code of one helper, not linked with the functions that it calls.

    It is simplified function by function, as in Numba. Without that, LLVM unrolls some loops differently: softmax was
    a tenth slower.
    """

    codegen = _NoEngine()

    def finalize(self):
        self._raise_if_finalized()
        for library in self._linking_libraries:
            _keep_reloaded(self, library)
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
                _keep_reloaded(self, library)
                self._final_module.link_in(library._final_module, preserve=True)
        self._linking_libraries = [library for library in callees if not isinstance(library, _PartLibrary)]
        super().finalize()


def _keep_reloaded(caller, callee):
    """Load with the code of `caller` from disk what that of `callee` needs. Numba 0.62 has no such objects."""
    if hasattr(callee, "_reload_init"):
        caller._reload_init.update(callee._reload_init)


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


class _ShortCompiler(Compiler):
    """Numba's compiler without the passes that kernels do not need."""

    def __init__(self, *arguments, **options):
        # Numba takes what it can compile from lists, each item once: Ctrl-C would lose the rest for this process.
        with interrupted_later():
            super().__init__(*arguments, **options)

    def define_pipelines(self):
        pipelines = super().define_pipelines()
        if supported():
            for pipeline in pipelines:
                pipeline.passes = [
                    each for each in pipeline.passes if getattr(each[0], "__name__", "") not in _UNUSED_PASSES
                ]
        return pipelines


class PartCompiler(_ShortCompiler):
    """Compiles helpers of kernels."""

    def compile_extra(self, func):
        """Compile a function: Numba calls this."""
        if supported():
            self.state.library = _PartLibrary(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class KernelCompiler(_ShortCompiler):
    """Compiles functions that Python calls."""

    def compile_extra(self, func):
        """Compile a function: Numba calls this."""
        with compiling():
            if supported():
                self.state.library = _KernelLibrary(self.state.targetctx.codegen(), func.__qualname__)
                self.state.library.enable_object_caching()  # so that it can be stored on disk
            return super().compile_extra(func)


# Options of Numba. A wrapper that nobody calls takes time to compile.
if JITCodeLibrary is object:
    KERNEL = PART = {}
else:
    KERNEL = {"pipeline_class": KernelCompiler, "no_cfunc_wrapper": True}
    PART = {"pipeline_class": PartCompiler, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}


def once_for_all_numbers(dispatcher):
    """Compile a part once for all values of an argument, where Numba compiles it anew for each constant in a call."""
    by_value = getattr(dispatcher, "get_call_template", None)

    def get_call_template(args, kws):
        return by_value(tuple(map(types.unliteral, args)), {name: types.unliteral(t) for name, t in kws.items()})

    if by_value is not None:
        with suppress(AttributeError):
            dispatcher.get_call_template = get_call_template
    return dispatcher


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
