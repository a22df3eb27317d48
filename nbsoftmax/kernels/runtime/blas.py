"""Matrix products by SciPy's BLAS inside kernels: C += A B for parts of arrays.

Numba's `np.dot` calls the same library, but supports only whole contiguous arrays and overwrites C. In a parallel
kernel every thread calls BLAS, so BLAS must not start threads of its own: see `one_thread`.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbsoftmax.kernels.lang.simd import pointer
from nbsoftmax.kernels.runtime.lapack import lapack


@intrinsic
def add_product(typingctx, transpose_a, transpose_b, m, n, k, a, ai, lda, b, bi, ldb, c, ci, ldc):
    """Add A B to C, in BLAS's column-major order: A is (m, k), B (k, n), C (m, n); A and B may be stored transposed.

    Arrays are flat and begin at the given element; lda, ldb and ldc are the distances between columns.
    """

    def codegen(context, builder, sig, args):
        transpose_a, transpose_b, m, n, k, a, ai, lda, b, bi, ldb, c, ci, ldc = args
        char, whole, data = ir.IntType(8), m.type, ir.IntType(8).as_pointer()
        one = cgutils.alloca_once_value(builder, context.get_constant(sig.args[5].dtype, 1.0))

        def flag(transposed):
            return builder.select(transposed, char(ord("t")), char(ord("n")))

        def start(position, array, i):
            return pointer(context, builder, sig.args[position], array, i, char)

        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(
                ir.IntType(32), [char] * 3 + [whole] * 3 + [data, data, whole, data, whole, data, data, whole]
            ),
            "numba_xxgemm",
        )
        kind = char(ord("d" if sig.args[5].dtype == types.float64 else "s"))
        unit = builder.bitcast(one, data)
        builder.call(
            function,
            [
                kind,
                flag(transpose_a),
                flag(transpose_b),
                m,
                n,
                k,
                unit,
                start(5, a, ai),
                lda,
                start(8, b, bi),
                ldb,
                unit,
                start(11, c, ci),
                ldc,
            ],
        )
        return context.get_dummy_value()

    number, truth = types.intp, types.boolean
    arguments = [truth, truth, number, number, number, a, number, number, b, number, number, c, number, number]
    return types.void(*arguments), codegen


_lock = threading.Lock()
_users = 0
_of_thread = threading.local()  # `users`: how many of them are in this thread
_libraries: list[Any] | None = None  # controllers of the BLAS libraries in this process
_before: list[int | None] = []  # their numbers of threads without the limit, while it applies


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread while any kernel uses it. The limit applies to the whole process: users are counted.

    Ctrl-C may come after any call: the end of the context restores what has been changed by then.
    """
    global _users, _libraries, _before  # noqa: PLW0603
    counted = False
    try:
        with _lock:
            if _libraries is None:
                lapack()  # is linked with the BLAS of the kernels, so that the controller finds it
                from threadpoolctl import ThreadpoolController

                _libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            if _users == 0:  # `ThreadpoolController.limit` does the same and takes longer than a small fit's kernels
                _before = _before or [library.get_num_threads() for library in _libraries]
                _set_threads([1] * len(_libraries))
            _of_thread.users = getattr(_of_thread, "users", 0) + 1
            _users, counted = _users + 1, True
        yield
    finally:
        with _lock:
            if counted:
                _of_thread.users -= 1
                _users -= 1
            if _users == 0 and _before:
                try:
                    _set_threads(_before)
                except BaseException:  # Ctrl-C
                    _set_threads(_before)
                    raise
                finally:
                    _before = []


def _set_threads(numbers: Sequence[int | None]) -> None:
    """Set the numbers of threads of the libraries.

    threadpoolctl 3.8 ignores the call in every thread except the first that made it (the "controlling thread"), but
    any thread may be the first or the last user of `one_thread`, and other code may set numbers between them.
    """
    for library, number in zip(_libraries or [], numbers, strict=True):
        if number is not None and library.get_num_threads() != number:
            clear = getattr(library, "clear_controlling_thread", _nothing)
            clear(force=True)
            library.set_num_threads(number)
            clear(force=True)


def _forget_users() -> None:
    """In a forked child, which has no other thread: the users are those of the thread that called `fork`."""
    global _lock, _users, _before  # noqa: PLW0603
    _lock, _users = threading.Lock(), getattr(_of_thread, "users", 0)
    if _before and _users == 0:
        _set_threads(_before)
        _before = []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_users)


def _nothing(*, force: bool) -> None:
    """In place of `clear_controlling_thread` of older versions."""
