"""Register panels: the two products of a sparse matrix with a matrix that has a row of classes for each index.

    logits_panel    z[k] = b_k + sum_t x_t w[j_t, k]       one row of X; its numbers x_t are in the columns j_t
    column_panel    G[k] += sum_t x_t d[i_t, k]            one column of X; its numbers x_t are in the rows i_t
    scatter_panel   G[j_t, k] += x_t d[k]                  one row of X, where each column has few numbers

Classes are in lanes. A panel of results, up to 8 vectors, stays in registers during the whole sum, so that a step
consists of one broadcast and, for each vector, one load and one fused multiply-add. Accumulators in memory would take
several times as long.

The last vector of a row of classes may be shorter than a register: at most half of it is padding, which keeps the
matrices small, since they are read at random.
"""

from itertools import pairwise

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbsoftmax.kernels.lang.simd import (
    VECTOR_BYTES,
    Vector,
    align,
    lanes_of,
    multiply_add,
    pointer,
    prefetch_at,
    spread_value,
)
from nbsoftmax.kernels.lang.tiles import repeat, switch

MOST_VECTORS = 8  # of a panel
# Bytes of the last vector, if it is shorter than a register; 0 if it is not.
TAILS = [0, *(size for size in (16, 32) if size < VECTOR_BYTES)]
N_TAILS = len(TAILS)
# Prefetch distance: bytes of classes, and its limits in numbers of X. The indices of the numbers are known, but the
# hardware cannot predict the addresses. A core waits for a limited number of cache lines at a time: wide panels took a
# tenth longer with twice the bytes, narrow ones a quarter longer with half of them.
AHEAD_BYTES, LEAST_AHEAD, MOST_AHEAD = 2**12, 8, 64


def padded(n_classes, itemsize):
    """Number of classes in a row with its padding: whole vectors, and at most one shorter one."""
    n_bytes = n_classes * itemsize
    whole, rest = n_bytes // VECTOR_BYTES * VECTOR_BYTES, n_bytes % VECTOR_BYTES
    tail = next((size for size in TAILS if size >= rest), VECTOR_BYTES)
    return (whole + tail) // itemsize


def panels_of(n_classes, itemsize):
    """The panels of a row of classes: the first class and the form of each, flat (n_panels * 2,)."""
    width, size = VECTOR_BYTES // itemsize, padded(n_classes, itemsize)
    n_vectors = -(-size // width)
    n_panels = -(-n_vectors // MOST_VECTORS)
    edges = [min(size, p * n_vectors // n_panels * width) for p in range(n_panels + 1)]
    return np.array([(low, _form((high - low) * itemsize)) for low, high in pairwise(edges)]).reshape(-1)


def _form(n_bytes):
    """Number that stands for the vectors of a panel."""
    return n_bytes // VECTOR_BYTES * N_TAILS + TAILS.index(n_bytes % VECTOR_BYTES)


def _vectors(form, dtype):
    """The vectors of a panel: the first class and the type of each."""
    width, size = lanes_of(dtype), dtype.bitwidth // 8
    vectors = [(v * width, Vector(dtype, width)) for v in range(form // N_TAILS)]
    if form % N_TAILS:
        vectors.append((len(vectors) * width, Vector(dtype, TAILS[form % N_TAILS] // size)))
    return vectors


def _load(builder, address, vector):
    address = builder.bitcast(address, vector.llvm().as_pointer())
    return align(builder.load(address), vector.dtype)


def _sums(context, builder, sig, args, dtype, start, square):
    """Emit, for each form of a panel, its sums and what `finish` does with them."""
    x, indices, low, n, last, table, stride, k, _ = args
    whole = low.type
    numbers = context.make_array(sig.args[0])(context, builder, x).data
    places = context.make_array(sig.args[1])(context, builder, indices).data
    first = pointer(context, builder, sig.args[5], table, k, Vector(dtype, 1).llvm().element)

    def place(at):
        index = builder.load(builder.gep(places, [at]))
        if index.type == whole:
            return index
        return (builder.zext if sig.args[1].dtype == types.uint16 else builder.sext)(index, whole)

    def row(index):
        return builder.gep(first, [builder.mul(index, stride)])

    def one_form(form, finish):
        vectors = _vectors(form, dtype)
        size = dtype.bitwidth // 8
        n_bytes = sum(vector.lanes for _, vector in vectors) * size
        distance = min(MOST_AHEAD, max(LEAST_AHEAD, AHEAD_BYTES // n_bytes))

        def step(t, sums):
            at = builder.add(low, t)
            later = builder.add(at, whole(distance))
            later = builder.select(builder.icmp_signed("<", later, last), later, last)
            ahead = row(place(later))
            for offset in range(0, n_bytes, 64):
                prefetch_at(builder, builder.gep(ahead, [whole(offset // size)]), locality=3)
            number = builder.load(builder.gep(numbers, [at]))
            if sig.args[0].dtype != dtype:
                number = builder.fpext(number, first.type.pointee)
            if square is not None:
                number = builder.fmul(number, builder.select(square, number, number.type(1.0)))
            mine = row(place(at))
            results = []
            for (offset, vector), total in zip(vectors, sums, strict=True):
                value = _load(builder, builder.gep(mine, [whole(offset)]), vector)
                results.append(multiply_add(builder, vector, spread_value(builder, number, vector.lanes), value, total))
            return results

        finish(vectors, repeat(builder, n, start(vectors), step))

    return one_form


@intrinsic
def logits_panel(typingctx, x, indices, low, n, last, w, stride, k, form, bias, z, zi):
    """Compute z[zi + c] = w[bias * stride + k + c] + sum_t x[low + t] w[indices[low + t] * stride + k + c], t < n.

    c are the classes of a panel of this form; `last` is the last element of `indices` that may be read.
    """
    dtype = w.dtype

    def codegen(context, builder, sig, args):
        *common, bias, z, zi = args
        number, whole = Vector(dtype, 1).llvm().element, zi.type
        at = builder.add(builder.mul(bias, common[6]), common[7])
        biases = pointer(context, builder, sig.args[5], common[5], at, number)
        out = pointer(context, builder, sig.args[10], z, zi, number)

        def start(vectors):
            return [_load(builder, builder.gep(biases, [whole(offset)]), vector) for offset, vector in vectors]

        def finish(vectors, sums):
            for (offset, vector), total in zip(vectors, sums, strict=True):
                address = builder.bitcast(builder.gep(out, [whole(offset)]), vector.llvm().as_pointer())
                align(builder.store(total, address), dtype)

        one_form = _sums(context, builder, sig, common, dtype, start, None)
        switch(builder, common[8], MOST_VECTORS * N_TAILS, lambda form: one_form(form, finish))
        return context.get_dummy_value()

    whole = types.intp
    return types.void(x, indices, whole, whole, whole, w, whole, whole, whole, whole, z, whole), codegen


@intrinsic
def column_panel(typingctx, x, indices, low, n, last, d, stride, k, form, square, g, gi):
    """Add sum_t x[low + t] d[indices[low + t] * stride + k + c], t < n, to g[gi + c]; x squared if `square`.

    c are the classes of a panel of this form; g is float64, and the sum has the dtype of d.
    """
    dtype = d.dtype

    def codegen(context, builder, sig, args):
        *common, square, g, gi = args
        whole = gi.type
        out = pointer(context, builder, sig.args[10], g, gi, ir.DoubleType())

        def start(vectors):
            return [vector.llvm()([0] * vector.lanes) for _, vector in vectors]

        def finish(vectors, sums):
            for (offset, vector), total in zip(vectors, sums, strict=True):
                double = Vector(types.float64, vector.lanes)
                more = total if vector == double else builder.fpext(total, double.llvm())
                address = builder.bitcast(builder.gep(out, [whole(offset)]), double.llvm().as_pointer())
                before = align(builder.load(address), double.dtype)
                align(builder.store(builder.fadd(before, more), address), double.dtype)

        bit = builder.trunc(square, ir.IntType(1)) if square.type.width > 1 else square
        one_form = _sums(context, builder, sig, common, dtype, start, bit)
        switch(builder, common[8], MOST_VECTORS * N_TAILS, lambda form: one_form(form, finish))
        return context.get_dummy_value()

    whole = types.intp
    return types.void(x, indices, whole, whole, whole, d, whole, whole, whole, types.boolean, g, whole), codegen


@intrinsic
def scatter_panel(typingctx, x, indices, low, n, d, di, form, g, gi, g_stride):
    """Add x[low + t] d[di + c] to g[gi + indices[low + t] * g_stride + c] for all t < n; g and products are float64.

    c are the classes of a panel of this form. `d` and `g` must not overlap.
    """
    dtype, double = d.dtype, ir.DoubleType()

    def codegen(context, builder, sig, args):
        x, indices, low, n, d, di, form, g, gi, g_stride = args
        whole = low.type
        numbers = context.make_array(sig.args[0])(context, builder, x).data
        places = context.make_array(sig.args[1])(context, builder, indices).data
        source = pointer(context, builder, sig.args[4], d, di, Vector(dtype, 1).llvm().element)
        first = pointer(context, builder, sig.args[7], g, gi, double)

        def one_form(form):
            wide, values = [], []
            for offset, vector in _vectors(form, dtype):
                value = _load(builder, builder.gep(source, [whole(offset)]), vector)
                wide.append((offset, Vector(types.float64, vector.lanes)))
                values.append(value if dtype == types.float64 else builder.fpext(value, wide[-1][1].llvm()))

            def step(t, nothing):
                at = builder.add(low, t)
                index = builder.load(builder.gep(places, [at]))
                if index.type != whole:
                    index = builder.sext(index, whole)
                mine = builder.gep(first, [builder.mul(index, g_stride)])
                number = builder.load(builder.gep(numbers, [at]))
                if number.type != double:
                    number = builder.fpext(number, double)
                for (offset, vector), value in zip(wide, values, strict=True):
                    address = builder.gep(mine, [whole(offset)])
                    total = _load(builder, address, vector)
                    total = multiply_add(builder, vector, spread_value(builder, number, vector.lanes), value, total)
                    address = builder.bitcast(address, vector.llvm().as_pointer())
                    align(builder.store(total, address), vector.dtype)
                return nothing

            repeat(builder, n, [], step)

        switch(builder, form, MOST_VECTORS * N_TAILS, one_form)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(x, indices, whole, whole, d, whole, whole, g, whole, whole), codegen


@intrinsic
def store_as(typingctx, array, i, value):
    """Store a vector of float64 in an array, from element i on, in the dtype of the array."""
    vector = Vector(array.dtype, value.lanes)

    def codegen(context, builder, sig, args):
        number = args[2] if vector == value else builder.fptrunc(args[2], vector.llvm())
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())
        align(builder.store(number, address), array.dtype)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen
