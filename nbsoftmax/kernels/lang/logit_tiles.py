"""Register tiles for one logit a sample: the two products of a block of rows with one column of numbers.

    row_products    z[r] = b + sum_j x[r, j] w[j]       the sums of eight rows, features in lanes
    add_rows        g[j] += sum_r d[r] x[r, j]          the sums of up to four vectors of features

These are `tiles.dots` and `tiles.backward` for a single class. With one class, those have so few sums that each
multiply-add waits for the previous one. Here each of several rows has its own sums, which are added at the end.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbsoftmax.kernels.lang.simd import (
    Vector,
    align,
    lanes,
    lanes_of,
    mask_of,
    masked_load,
    multiply_add,
    parts_of,
    pointer,
    prefetch_at,
    spread_value,
    store_first,
)
from nbsoftmax.kernels.lang.tiles import MANY_REGISTERS, repeat, rows_of_tile, switch
from nbsoftmax.kernels.runtime.jit import inlined

ROWS = 8  # of a tile of `row_products`
# Vectors of features in a tile of `add_rows`, and rows that have sums of their own, so that no sum waits for itself.
MOST_VECTORS, TURNS = 4, 4 if MANY_REGISTERS else 2


def _lane_sums(builder, values, lanes):
    """Sums of the lanes of each of ROWS vectors, in order: vectors of `lanes` numbers, or a single one of ROWS."""
    index, size = ir.VectorType(ir.IntType(32), lanes), 1  # of the pieces of a vector that belong to one row
    while size < min(lanes, ROWS):
        starts = range(0, lanes, 2 * size)  # of pairs of pieces: the halves of a pair are added
        left, right = (
            index([i for p in starts for q in (p + half, p + half + lanes) for i in range(q, q + size)])
            for half in (0, size)
        )
        values = [
            builder.fadd(builder.shuffle_vector(a, b, left), builder.shuffle_vector(a, b, right))
            for a, b in zip(values[::2], values[1::2], strict=True)
        ]
        size *= 2
    while lanes > ROWS:
        lanes //= 2
        values = [builder.fadd(*parts_of(builder, values[0], lanes))]
    return values


@intrinsic
def row_products_tile(typingctx, x, xi, x_stride, n_rows, n_features, w, z, zi, ahead):
    """Products of ROWS rows, summed over vectors of features, then over the lanes."""
    vector = Vector(x.dtype, lanes_of(x.dtype))
    lane = vector.lanes

    def codegen(context, builder, sig, args):
        x, xi, x_stride, n_rows, n_features, w, z, zi, ahead = args
        number, whole = vector.llvm().element, xi.type
        zero = vector.llvm()([0] * lane)
        samples = rows_of_tile(context, builder, sig.args[0], x, xi, x_stride, n_rows, ROWS)
        weights = pointer(context, builder, sig.args[5], w, whole(0), number)
        n_vectors = builder.sdiv(n_features, whole(lane))
        n_rest = builder.srem(n_features, whole(lane))
        end = builder.mul(n_vectors, whole(lane))

        def read(base, at):
            address = builder.bitcast(builder.gep(base, [at]), vector.llvm().as_pointer())
            return align(builder.load(address), vector.dtype)

        def step(turn, sums):
            j = builder.mul(turn, whole(lane))
            for row in samples:
                prefetch_at(builder, builder.gep(row, [builder.add(j, ahead)]))
            weight = read(weights, j)
            return [
                multiply_add(builder, vector, weight, read(row, j), s) for row, s in zip(samples, sums, strict=True)
            ]

        def rest(turn, sums):
            mask, weight, result = mask_of(builder, n_rest, lane), read(weights, end), []
            for row, s in zip(samples, sums, strict=True):
                address = builder.bitcast(builder.gep(row, [end]), vector.llvm().as_pointer())
                result.append(
                    multiply_add(builder, vector, weight, masked_load(builder, vector, address, mask, zero), s)
                )
            return result

        sums = repeat(builder, n_vectors, [zero] * ROWS, step)
        some = builder.zext(builder.icmp_signed(">", n_rest, whole(0)), whole)
        sums = repeat(builder, some, sums, rest)
        totals = _lane_sums(builder, sums, lane)
        padded = builder.mul(builder.add(n_vectors, some), whole(lane))
        few = totals[0].type.count
        bias = spread_value(builder, builder.load(builder.gep(weights, [padded])), few)
        for i, total in enumerate(totals):
            address = pointer(context, builder, sig.args[6], z, builder.add(zi, whole(i * few)), total.type)
            align(builder.store(builder.fadd(total, bias), address), vector.dtype)
        return context.get_dummy_value()

    whole = [types.intp]
    return types.void(x, *whole * 4, w, z, *whole * 2), codegen


@inlined
def row_products(x, xi, x_stride, n_rows, n_features, w, z, ahead):
    """Compute z[r] = bias + x[r, :] w for the rows r of a block.

    x : row r begins at x[xi + r * x_stride]
    w : (n_features rounded up to whole vectors and padded with 0), then the bias
    z : (n_rows rounded up to whole tiles,)
    ahead : prefetch distance in elements
    """
    for r in range(0, n_rows, ROWS):
        row_products_tile(x, xi + r * x_stride, x_stride, n_rows - r, n_features, w, z, r, ahead)


def _add_rows_tile(name, most, last_masked):
    """Make an intrinsic: sums of `width` vectors of features (1 to `most`); the last has n_left if `last_masked`."""

    def tile(typingctx, x, xi, x_stride, n_rows, d, width, g, gi, n_left, f, fi, f_stride):
        vector = Vector(x.dtype, lanes_of(x.dtype))
        double = Vector(types.float64, vector.lanes)
        lane = vector.lanes

        def codegen(context, builder, sig, args):
            x, xi, x_stride, n_rows, d, width, g, gi, n_left, f, fi, f_stride = args
            number, whole = vector.llvm().element, xi.type
            samples = pointer(context, builder, sig.args[0], x, xi, number)
            residuals = pointer(context, builder, sig.args[4], d, whole(0), number)
            following = pointer(context, builder, sig.args[9], f, fi, number)
            mask = mask_of(builder, n_left, lane) if last_masked else None
            zero, zeros = vector.llvm()([0] * lane), double.llvm()([0] * lane)

            def one_width(n_vectors):
                def add_row(r, sums):
                    row = builder.mul(r, x_stride)
                    residual = spread_value(builder, builder.load(builder.gep(residuals, [r])), lane)
                    prefetch_at(builder, builder.gep(following, [builder.mul(r, f_stride)]))
                    result = []
                    for v, total in enumerate(sums):
                        address = builder.gep(samples, [builder.add(row, whole(v * lane))])
                        address = builder.bitcast(address, vector.llvm().as_pointer())
                        if last_masked and v == n_vectors - 1:
                            features = masked_load(builder, vector, address, mask, zero)
                        else:
                            features = align(builder.load(address), vector.dtype)
                        result.append(multiply_add(builder, vector, residual, features, total))
                    return result

                def turn(i, sums):
                    first, result = builder.mul(i, whole(TURNS)), []
                    for t in range(TURNS):
                        some = sums[t * n_vectors : (t + 1) * n_vectors]
                        result += add_row(builder.add(first, whole(t)), some)
                    return result

                n_turns = builder.sdiv(n_rows, whole(TURNS))
                done = builder.mul(n_turns, whole(TURNS))
                sums = repeat(builder, n_turns, [zero] * (TURNS * n_vectors), turn)
                first = repeat(
                    builder,
                    builder.sub(n_rows, done),
                    sums[:n_vectors],
                    lambda r, sums: add_row(builder.add(done, r), sums),
                )
                sums = first + sums[n_vectors:]
                for v in range(n_vectors):
                    parts = sums[v::n_vectors]
                    while len(parts) > 1:
                        parts = [builder.fadd(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
                    total = parts[0] if vector == double else builder.fpext(parts[0], double.llvm())
                    address = pointer(context, builder, sig.args[6], g, builder.add(gi, whole(v * lane)), double.llvm())
                    if last_masked and v == n_vectors - 1:
                        total = builder.fadd(masked_load(builder, double, address, mask, zeros), total)
                        store_first(builder, double, address, n_left, total)
                    else:
                        total = builder.fadd(align(builder.load(address), double.dtype), total)
                        align(builder.store(total, address), double.dtype)

            if last_masked:
                switch(builder, width, most, one_width)
            else:
                one_width(most)
            return context.get_dummy_value()

        numbers = [types.intp]
        return types.void(x, *numbers * 3, d, *numbers, g, *numbers * 2, f, *numbers * 2), codegen

    tile.__name__ = tile.__qualname__ = name
    return intrinsic(tile)


add_rows_wide = _add_rows_tile("add_rows_wide", MOST_VECTORS, last_masked=False)
add_rows_rest = _add_rows_tile("add_rows_rest", MOST_VECTORS, last_masked=True)


@inlined
def add_rows(x, xi, x_stride, n_rows, n_features, d, g, gi, f, fi, f_stride):
    """Add the sum over the rows r of a block of d[r] x[r, :] to g[gi ...]; g is float64, d has the dtype of x.

    f : prefetched, row r from f[fi + r * f_stride] on, as it is read after this block
    """
    width = lanes(x)
    wide, j = MOST_VECTORS * width, 0
    while j + wide <= n_features:
        add_rows_wide(x, xi + j, x_stride, n_rows, d, MOST_VECTORS, g, gi + j, 0, f, fi + j, f_stride)
        j += wide
    if j < n_features:
        n_vectors = (n_features - j + width - 1) // width
        left = n_features - j - (n_vectors - 1) * width
        add_rows_rest(x, xi + j, x_stride, n_rows, d, n_vectors, g, gi + j, left, f, fi + j, f_stride)
