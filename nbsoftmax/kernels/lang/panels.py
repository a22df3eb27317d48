"""Register panels: the two products of a sparse matrix with a matrix that has a row of classes for each index.

    logits_panel    z[k] = b_k + sum_t x_t w[j_t, k]       rows of X; the numbers x_t of a row are in the columns j_t
    column_panel    G[k] += sum_t x_t d[i_t, k]            columns of X; the numbers x_t of one are in the rows i_t
    scatter_panel   G[j_t, k] += x_t d[k]                  one row of X, where each column has few numbers

Classes are in lanes. A panel of results, up to 8 vectors, stays in registers during the whole sum, so that a step
consists of one broadcast and, for each vector, one load and one fused multiply-add. Accumulators in memory would take
several times as long. Loops over rows and columns are inside a panel: most of them have few numbers, and calling a
panel for each took as long as twenty numbers. A panel of one or two vectors has two totals, for numbers of even and odd
places, since a multiply-add takes longer than the other instructions of a step.

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
SPLIT_VECTORS = 2  # of a panel with two totals
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
    return np.array([(low, _form((high - low) * itemsize)) for low, high in pairwise(edges)], np.int64).reshape(-1)


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


def _zeros(vectors):
    return [vector.llvm()([0] * vector.lanes) for _, vector in vectors]


def _integers(context, builder, kind, array, whole):
    """Return a function that emits the load of an element of an integer array, extended to the type `whole`."""
    places = context.make_array(kind)(context, builder, array).data

    def read(at):
        index = builder.load(builder.gep(places, [at]))
        if index.type == whole:
            return index
        return (builder.zext if kind.dtype == types.uint16 else builder.sext)(index, whole)

    return read


def _sums(context, builder, kinds, args, dtype, square):
    """Return a function that emits a loop: it adds n numbers of x, each times its row of a table, to given totals.

    `kinds` are the types of x, the indices and the table. If `square` is not None, it is 1 or 0: whether x is squared.
    """
    x, indices, last, table, stride, k = args
    whole = stride.type
    numbers = context.make_array(kinds[0])(context, builder, x).data
    place = _integers(context, builder, kinds[1], indices, whole)
    first = pointer(context, builder, kinds[2], table, k, Vector(dtype, 1).llvm().element)

    def row(index):
        return builder.gep(first, [builder.mul(index, stride)])

    def sums(vectors, low, n, totals):
        size, many = dtype.bitwidth // 8, len(vectors)
        n_bytes = sum(vector.lanes for _, vector in vectors) * size
        most = whole(min(MOST_AHEAD, max(LEAST_AHEAD, AHEAD_BYTES // n_bytes)))
        furthest = builder.add(builder.add(low, n), most)
        distance = builder.select(builder.icmp_signed("<=", furthest, last), most, whole(0))

        def step(t, totals):
            at = builder.add(low, t)
            ahead = row(place(builder.add(at, distance)))
            for offset in range(0, n_bytes, 64):
                prefetch_at(builder, builder.gep(ahead, [whole(offset // size)]), locality=3)
            number = builder.load(builder.gep(numbers, [at]))
            if kinds[0].dtype != dtype:
                number = builder.fpext(number, first.type.pointee)
            if square is not None:  # with AVX-512, a select would move a mask for each number
                rest = builder.fsub(number.type(1.0), square)
                factor = builder.fadd(builder.fmul(number, square, flags=["contract"]), rest, flags=["contract"])
                number = builder.fmul(number, factor)
            mine = row(place(at))
            results = []
            for (offset, vector), total in zip(vectors, totals, strict=True):
                value = _load(builder, builder.gep(mine, [whole(offset)]), vector)
                results.append(multiply_add(builder, vector, spread_value(builder, number, vector.lanes), value, total))
            return results

        if many > SPLIT_VECTORS:
            return repeat(builder, n, totals, step, unroll=False)

        def pair(t, both):
            two = builder.shl(t, whole(1))
            return step(two, both[:many]) + step(builder.add(two, whole(1)), both[many:])

        pairs = builder.ashr(n, whole(1))
        both = repeat(builder, pairs, [*totals, *_zeros(vectors)], pair, unroll=False)
        done = builder.shl(pairs, whole(1))
        even = repeat(builder, builder.sub(n, done), both[:many], lambda _, totals: step(done, totals), unroll=False)
        return [builder.fadd(total, odd) for total, odd in zip(even, both[many:], strict=True)]

    return sums


@intrinsic
def logits_panel(typingctx, x, indices, indptr, start, n_rows, last, w, stride, k, form, bias, z, zi):
    """Compute z[zi + r * stride + c] = w[bias * stride + k + c] + sum_t x[t] w[indices[t] * stride + k + c] of rows r.

    Row r has the numbers t from indptr[start + r] to indptr[start + r + 1] - 1. c are the classes of a panel of this
    form; `last` is the last element of `indices` that may be read.
    """
    dtype = w.dtype

    def codegen(context, builder, sig, args):
        x, indices, indptr, start, n_rows, last, w, stride, k, form, bias, z, zi = args
        number, whole = Vector(dtype, 1).llvm().element, zi.type
        biases = pointer(context, builder, sig.args[6], w, builder.add(builder.mul(bias, stride), k), number)
        out = pointer(context, builder, sig.args[11], z, zi, number)
        bound = _integers(context, builder, sig.args[2], indptr, whole)
        kinds = sig.args[0], sig.args[1], sig.args[6]
        sums = _sums(context, builder, kinds, (x, indices, last, w, stride, k), dtype, None)

        def one_form(form):
            vectors = _vectors(form, dtype)
            bias = [_load(builder, builder.gep(biases, [whole(offset)]), vector) for offset, vector in vectors]

            def row(r, nothing):
                at = builder.add(start, r)
                begin, end = bound(at), bound(builder.add(at, whole(1)))
                totals = sums(vectors, begin, builder.sub(end, begin), bias)
                mine = builder.gep(out, [builder.mul(r, stride)])
                for (offset, vector), total in zip(vectors, totals, strict=True):
                    address = builder.bitcast(builder.gep(mine, [whole(offset)]), vector.llvm().as_pointer())
                    align(builder.store(total, address), dtype)
                return nothing

            repeat(builder, n_rows, [], row)

        switch(builder, form, MOST_VECTORS * N_TAILS, one_form)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(x, indices, indptr, whole, whole, whole, w, whole, whole, whole, whole, z, whole), codegen


@intrinsic
def column_panel(typingctx, x, indices, starts, columns, low, n, last, d, stride, k, form, square, g, gi):
    """Add sum_t x[t] d[indices[t] * stride + k + c] to g[gi + columns[e] * stride + c], for n entries e from `low` on.

    Entry e has the numbers t from starts[e] to starts[e + 1] - 1. c are the classes of a panel of this form; g is
    float64, and each sum has the dtype of d; x is squared if `square`.
    """
    dtype = d.dtype

    def codegen(context, builder, sig, args):
        x, indices, starts, columns, low, n, last, d, stride, k, form, square, g, gi = args
        whole, number = gi.type, Vector(dtype, 1).llvm().element
        out = pointer(context, builder, sig.args[12], g, gi, ir.DoubleType())
        bound = _integers(context, builder, sig.args[2], starts, whole)
        column = _integers(context, builder, sig.args[3], columns, whole)
        kinds, squared = (sig.args[0], sig.args[1], sig.args[7]), builder.uitofp(square, number)
        sums = _sums(context, builder, kinds, (x, indices, last, d, stride, k), dtype, squared)

        def one_form(form):
            vectors = _vectors(form, dtype)

            def entry(e, nothing):
                at = builder.add(low, e)
                begin, end = bound(at), bound(builder.add(at, whole(1)))
                totals = sums(vectors, begin, builder.sub(end, begin), _zeros(vectors))
                mine = builder.gep(out, [builder.mul(column(at), stride)])
                for (offset, vector), total in zip(vectors, totals, strict=True):
                    double = Vector(types.float64, vector.lanes)
                    more = total if vector == double else builder.fpext(total, double.llvm())
                    address = builder.bitcast(builder.gep(mine, [whole(offset)]), double.llvm().as_pointer())
                    before = align(builder.load(address), double.dtype)
                    align(builder.store(builder.fadd(before, more), address), double.dtype)
                return nothing

            repeat(builder, n, [], entry)

        switch(builder, form, MOST_VECTORS * N_TAILS, one_form)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(
        x, indices, starts, columns, whole, whole, whole, d, whole, whole, whole, types.boolean, g, whole
    ), codegen


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
        place = _integers(context, builder, sig.args[1], indices, whole)
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
                mine = builder.gep(first, [builder.mul(place(at), g_stride)])
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
