"""Waiting for another thread without sleep: to wake a thread takes 60 microseconds, as long as a small launch.

A thread that looks does not hold the GIL. Again and again it lets other threads run that wait for its core: fits in two
processes on two cores take as long as with threads that sleep, where they took up to 1.4 times as long without that.
"""

import sys
import time

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbsoftmax.kernels.runtime.jit import inlined, jit

# Whether a thread can let others run: by POSIX. Elsewhere threads sleep at once.
CAN_YIELD = sys.platform != "win32"
# Looks until others may run: that takes as long as ten looks.
LOOKS_OF_TURN = 16


@intrinsic(prefer_literal=True)
def seen(typingctx, array, i):
    """array[i]; what the thread that has written it wrote before is visible afterwards. `i` is a constant."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        address = cgutils.gep_inbounds(builder, data, ir.IntType(64)(i.literal_value))
        return builder.load_atomic(address, "acquire", 8)

    return types.int64(array, i), codegen


@intrinsic
def _tell(typingctx, array):
    """Set array[0] to 1; who sees it sees what was written before."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        builder.store_atomic(ir.IntType(64)(1), data, "release", 8)
        return context.get_dummy_value()

    return types.void(array), codegen


@intrinsic
def _pause(typingctx):
    """Let the other thread of the same core compute for some cycles, where the CPU has an instruction for that."""

    def codegen(context, builder, sig, args):
        if builder.module.triple.startswith(("x86_64", "i386", "i686")):
            pause = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, pause, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _yield(typingctx):
    """Let a thread run that waits for this core."""

    def codegen(context, builder, sig, args):
        if CAN_YIELD:
            function = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@inlined
def rest(n):
    """Pause after look number n."""
    if n % LOOKS_OF_TURN == 0:
        _yield()
    else:
        _pause()


@jit
def look(told, flag, most, after):
    """Set told[0] to 1. Then look at flag[0] until it is not 0, at most `most` times; then pause, `after` times.

    Who has set the flag is soon in a kernel, without the GIL: it takes long to wait for the GIL.
    """
    _tell(told)
    for n in range(most):
        if seen(flag, 0) != 0:
            for _ in range(after):
                _pause()
            return
        rest(n + 1)


def looks_in(seconds):
    """The last arguments of `look`: how many looks take so long, and how many pauses about a microsecond."""
    flags, n, least = np.zeros((2, 1), np.int64), 500, np.inf
    look(*flags, 0, 0)  # compiled, or loaded
    for _ in range(5):  # others may interrupt one of them
        start = time.perf_counter()
        look(*flags, n, 0)
        least = min(least, time.perf_counter() - start)
    return int(seconds * n / least), int(1e-6 * n / least)
