"""Launches of kernels whose tasks are in phases: those of a phase begin when all tasks of the phases before have ended.

Such a kernel returns the last result of `take_in_order`; its loop is

    task, phase = take_in_order(todo, edges, 0)
    while task >= 0:
        ...
        end_task(todo)
        task, phase = take_in_order(todo, edges, phase)
    return task

One launch for each phase would wake the other threads each time, which takes longer than many phases. A thread that has
to wait looks again and again for about 100 microseconds. Then it sleeps, because another program may use the processor
of the thread that it waits for. A thread never takes a task that it cannot begin.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbsoftmax.kernels.runtime.jit import part
from nbsoftmax.kernels.runtime.looking import rest, seen
from nbsoftmax.kernels.runtime.threads import WAITED, launch_tasks

NONE_LEFT = -1  # what `take_in_order` returns in place of a task; WAITED if the thread has waited for long
# Looks at the other threads before a thread sleeps: 100 to 300 microseconds, by the CPU. It takes 60 to wake a thread.
MOST_LOOKS = 3000

# Elements of `todo`: the next task, the number of tasks, and the number of tasks that have ended.
_NEXT, _SIZE, _ENDED = 0, 1, 2


def _address(context, builder, kind, array, element):
    data = context.make_array(kind)(context, builder, array).data
    return cgutils.gep_inbounds(builder, data, ir.IntType(64)(element))


@intrinsic
def _next(typingctx, todo):
    """Number of the next task, which another thread may take first."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(_address(context, builder, sig.args[0], args[0], _NEXT), "monotonic", 8)

    return types.int64(todo), codegen


@intrinsic
def _take(typingctx, todo, task):
    """Take this task; whether no other thread has taken it."""

    def codegen(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], args[0], _NEXT)
        after = builder.add(args[1], args[1].type(1))
        return builder.extract_value(builder.cmpxchg(address, args[1], after, "monotonic", "monotonic"), 1)

    return types.boolean(todo, types.int64), codegen


@intrinsic
def end_task(typingctx, todo):
    """Say that a task has ended."""

    def codegen(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], args[0], _ENDED)
        builder.atomic_rmw("add", address, ir.IntType(64)(1), "release")
        return context.get_dummy_value()

    return types.void(todo), codegen


@part
def take_in_order(todo, edges, phase):
    """Take the next task when its phase may begin: return its number in its phase, and the phase.

    Phase p consists of the tasks edges[p] to edges[p + 1] - 1; `phase` is that of the task before, or 0. Without a task
    to take, the number is NONE_LEFT or WAITED.
    """
    looks = 0
    while looks < MOST_LOOKS:
        task = _next(todo)
        if task >= todo[_SIZE]:
            return NONE_LEFT, phase
        while edges[phase + 1] <= task:
            phase += 1
        if seen(todo, _ENDED) >= edges[phase]:
            if _take(todo, task):
                return task - edges[phase], phase
        else:
            looks += 1
            rest(looks)
    return WAITED, phase


def launch_phases(kernel, edges, work, n_threads, *arguments):
    """Run `kernel(todo, edges, *arguments)`, whose phases begin with the tasks edges[:-1]: see `threads.launch`."""
    launch_tasks(kernel, np.array([0, edges[-1], 0], np.int64), work, n_threads, edges, *arguments)
