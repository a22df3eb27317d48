"""Register tiles: the two matrix products of a linear model, on a block of rows that is in cache.

    forward    z[i, k] = b_k + sum_j x[i, j] w[j, k]       rows x classes, classes in lanes
    dots       the same for few classes, which would leave lanes empty: rows x classes, features in lanes
    backward   G[k, j] += sum_i d[i, k] x[i, j]            classes x features, features in lanes

Each intrinsic keeps one tile of results in registers during the whole sum, so that a step consists of a few loads and
many fused multiply-adds. Loops in Python emit the LLVM code, and so unroll it; in loops compiled by Numba the
accumulators would stay in memory. The sizes of the tiles depend on the number of vector registers.
"""

from platform import machine

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbsoftmax.kernels.lang.simd import (
    VECTOR_BYTES,
    Vector,
    align,
    fold,
    lanes,
    lanes_of,
    mask_of,
    masked_load,
    multiply_add,
    pointer,
    prefetch_at,
    spread_value,
    store_first,
)
from nbsoftmax.kernels.runtime.jit import inlined

MANY_REGISTERS = VECTOR_BYTES == 64 or machine().lower() in {"aarch64", "arm64"}  # 32 of them; 16 elsewhere

# Number of rows of a forward tile, by its width in vectors of classes.
FORWARD_ROWS = {1: 8, 2: 8, 3: 8, 4: 6} if MANY_REGISTERS else {1: 8, 2: 4, 3: 4, 4: 2}
TALLEST = 12 if MANY_REGISTERS else 4  # maximum of classes in a backward tile
# A backward tile with few registers does little with what it reads, so that reading from the second-level cache limits
# it: at most so many tiles take turns, and some rows at a time, if at least FEWEST_ROWS fit in the first-level cache.
MOST_TOGETHER = 1 if MANY_REGISTERS else 3
FIRST_LEVEL_BYTES, FEWEST_ROWS = 3 << 13, 48
MOST_ROWS = max(FORWARD_ROWS.values())
# Number of rows, and maximum of classes, of a tile of dot products.
DOT_ROWS, DOT_CLASSES = (4, 5) if MANY_REGISTERS else (2, 5)


def _not_unrolled(module):
    """Metadata of a loop that LLVM does not unroll: its first operand is itself, as LLVM requires."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    own = ir.MetaDataString(module, f"loop {len(module.metadata)}")  # else llvmlite returns the node of an earlier loop
    loop = module.add_metadata([own, disable])
    loop.operands = (loop, disable)
    return loop


def repeat(builder, count, values, body, *, unroll=True):
    """Emit a loop that replaces `values` by body(turn, values), `count` times. Return the values after the loop.

    LLVM unrolls it if that seems to pay, unless `unroll` is False.
    """
    before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
    some = builder.icmp_signed(">", count, count.type(0))
    builder.cbranch(some, loop, after)
    builder.position_at_end(loop)
    turn = builder.phi(count.type)
    current = [builder.phi(v.type) for v in values]
    following = body(turn, current)
    next_turn = builder.add(turn, turn.type(1))
    end = builder.block
    branch = builder.cbranch(builder.icmp_signed("<", next_turn, count), loop, after)
    if not unroll:
        branch.set_metadata("llvm.loop", _not_unrolled(builder.module))
    for phi, first, then in zip([turn, *current], [turn.type(0), *values], [next_turn, *following], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, end)
    builder.position_at_end(after)
    results = []
    for first, then in zip(values, following, strict=True):
        result = builder.phi(first.type)
        result.add_incoming(first, before)
        result.add_incoming(then, end)
        results.append(result)
    return results


def rows_of_tile(context, builder, x_type, x, xi, x_stride, n_rows, height):
    """Addresses of the `height` rows of a tile, of which n_rows exist.

    Rows beyond the last one repeat it; the array of the results has memory for theirs.
    """
    last, addresses = builder.sub(n_rows, n_rows.type(1)), []
    for r in range(height):
        row = builder.select(builder.icmp_signed("<", last, last.type(r)), last, last.type(r))
        at = builder.add(xi, builder.mul(row, x_stride))
        addresses.append(pointer(context, builder, x_type, x, at, Vector(x_type.dtype, 1).llvm().element))
    return addresses


def _forward_tile(width):
    """Make an intrinsic: FORWARD_ROWS[width] rows times `width` vectors of classes, summed over the features."""
    height = FORWARD_ROWS[width]

    def tile(typingctx, x, xi, x_stride, n_rows, n_features, w, wi, w_stride, z, zi, z_stride, ahead):
        vector = Vector(x.dtype, lanes_of(x.dtype))
        lane = vector.lanes

        def codegen(context, builder, sig, args):
            x, xi, x_stride, n_rows, n_features, w, wi, w_stride, z, zi, z_stride, ahead = args
            line = 64 * 8 // vector.dtype.bitwidth
            first_ahead = pointer(context, builder, sig.args[0], x, builder.add(xi, ahead), vector.llvm().element)
            number, whole = vector.llvm().element, xi.type
            rows = rows_of_tile(context, builder, sig.args[0], x, xi, x_stride, n_rows, height)
            weights = pointer(context, builder, sig.args[5], w, wi, number)

            def weight(at, v):
                address = builder.gep(weights, [builder.add(at, whole(v * lane))])
                return align(builder.load(builder.bitcast(address, vector.llvm().as_pointer())), vector.dtype)

            def step(j, sums):
                at = builder.mul(j, w_stride)
                row_of_w = [weight(at, v) for v in range(width)]
                # One cache line in each step, so that prefetches are spread evenly over the arithmetic.
                turn = builder.mul(builder.and_(j, whole(line - 1)), whole(height))
                row = builder.lshr(turn, whole(line.bit_length() - 1))
                at_ahead = builder.add(builder.and_(j, whole(-line)), builder.mul(row, x_stride))
                prefetch_at(builder, builder.gep(first_ahead, [at_ahead]))
                result = []
                for r in range(height):
                    feature = spread_value(builder, builder.load(builder.gep(rows[r], [j])), lane)
                    mine = sums[r * width : (r + 1) * width]
                    result += [
                        multiply_add(builder, vector, feature, w, z) for w, z in zip(row_of_w, mine, strict=True)
                    ]
                return result

            bias_at = builder.mul(n_features, w_stride)
            bias = [weight(bias_at, v) for v in range(width)]
            sums = repeat(builder, n_features, bias * height, step)
            for r in range(height):
                for v in range(width):
                    at = builder.add(builder.add(zi, whole(v * lane)), builder.mul(z_stride, whole(r)))
                    address = pointer(context, builder, sig.args[8], z, at, vector.llvm())
                    align(builder.store(sums[r * width + v], address), vector.dtype)
            return context.get_dummy_value()

        return types.void(x, *[types.intp] * 4, w, types.intp, types.intp, z, *[types.intp] * 3), codegen

    tile.__name__ = tile.__qualname__ = f"forward_tile_{width}"
    return intrinsic(tile)


forward_tile_1, forward_tile_2, forward_tile_3, forward_tile_4 = map(_forward_tile, (1, 2, 3, 4))


@inlined
def panel_of(k, stride, width):
    """Return the first class and the number of classes of the panel that holds class k.

    There are `stride` classes, in vectors of `width`. Panels have three vectors, the widest with full tiles; the last
    one has the rest, up to four vectors.
    """
    side = 3 * width
    first = min(k // side, max(1, (stride // width + 1) // 3) - 1) * side
    return first, side if first + side + width < stride else stride - first


@inlined
def forward(x, xi, x_stride, n_rows, n_features, w, w_stride, z, z_stride, ahead):
    """Compute z[r, :] = bias + x[r, :] w for the rows r of a block.

    x : row r begins at x[xi + r * x_stride]
    w : panels of classes (`panel_of`) after each other, each (n_features + 1, classes of the panel), the bias in the
        last row; w_stride, the number of classes of all panels, is a multiple of the vector length
    z : (n_rows rounded up to whole tiles, z_stride), z_stride >= w_stride
    ahead : prefetch distance in elements
    """
    k = 0
    while k < w_stride:
        _, side = panel_of(k, w_stride, lanes(x))
        width, panel = side // lanes(x), k * (n_features + 1)
        at = 0
        while at < n_rows:
            i, rest = xi + at * x_stride, n_rows - at
            near = ahead if k == 0 else 0
            if width == 1:
                forward_tile_1(x, i, x_stride, rest, n_features, w, panel, side, z, at * z_stride + k, z_stride, near)
                at += FORWARD_ROWS_1
            elif width == 2:
                forward_tile_2(x, i, x_stride, rest, n_features, w, panel, side, z, at * z_stride + k, z_stride, near)
                at += FORWARD_ROWS_2
            elif width == 3:
                forward_tile_3(x, i, x_stride, rest, n_features, w, panel, side, z, at * z_stride + k, z_stride, near)
                at += FORWARD_ROWS_3
            else:
                forward_tile_4(x, i, x_stride, rest, n_features, w, panel, side, z, at * z_stride + k, z_stride, near)
                at += FORWARD_ROWS_4
        k += side


FORWARD_ROWS_1, FORWARD_ROWS_2, FORWARD_ROWS_3, FORWARD_ROWS_4 = (FORWARD_ROWS[w] for w in (1, 2, 3, 4))


@intrinsic
def dot_tile(typingctx, x, xi, x_stride, n_rows, n_features, w, wi, w_stride, bias, height, z, zi, z_stride, ahead):
    """DOT_ROWS rows times `height` classes (1 to DOT_CLASSES), summed over vectors of features, then over the lanes."""
    vector = Vector(x.dtype, lanes_of(x.dtype))
    lane = vector.lanes

    def codegen(context, builder, sig, args):
        x, xi, x_stride, n_rows, n_features, w, wi, w_stride, bias, height, z, zi, z_stride, ahead = args
        number, whole = vector.llvm().element, xi.type
        zero = vector.llvm()([0] * lane)
        samples = rows_of_tile(context, builder, sig.args[0], x, xi, x_stride, n_rows, DOT_ROWS)
        weights = pointer(context, builder, sig.args[5], w, wi, number)
        biases = pointer(context, builder, sig.args[5], w, bias, number)
        n_vectors = builder.sdiv(n_features, whole(lane))
        n_rest = builder.srem(n_features, whole(lane))

        def products(j, sums, n_classes, read):
            features = [read(builder.gep(row, [j])) for row in samples]
            result = []
            for k in range(n_classes):
                at = builder.add(j, builder.mul(w_stride, whole(k)))
                weight = read(builder.gep(weights, [at]))
                mine = sums[k * DOT_ROWS : (k + 1) * DOT_ROWS]
                result += [multiply_add(builder, vector, weight, x, z) for x, z in zip(features, mine, strict=True)]
            return result

        def read_whole(address):
            return align(builder.load(builder.bitcast(address, vector.llvm().as_pointer())), vector.dtype)

        def read_rest(address):
            mask = mask_of(builder, n_rest, lane)
            return masked_load(builder, vector, builder.bitcast(address, vector.llvm().as_pointer()), mask, zero)

        def one_height(n_classes):
            def step(turn, sums):
                j = builder.mul(turn, whole(lane))
                for row in samples:
                    prefetch_at(builder, builder.gep(row, [builder.add(j, ahead)]))
                return products(j, sums, n_classes, read_whole)

            sums = repeat(builder, n_vectors, [zero] * (n_classes * DOT_ROWS), step)
            # The last features, fewer than a vector, are read by masked loads; if there are none, these add 0.
            sums = products(builder.mul(n_vectors, whole(lane)), sums, n_classes, read_rest)
            for k in range(n_classes):
                one = builder.load(builder.gep(biases, [whole(k)]))
                for r in range(DOT_ROWS):
                    total = builder.fadd(fold(builder, sums[k * DOT_ROWS + r], lane, builder.fadd), one)
                    at = builder.add(builder.add(zi, whole(k)), builder.mul(z_stride, whole(r)))
                    builder.store(total, pointer(context, builder, sig.args[10], z, at, number))

        switch(builder, height, DOT_CLASSES, one_height)
        return context.get_dummy_value()

    whole = [types.intp]
    return types.void(x, *whole * 4, w, *whole * 4, z, *whole * 3), codegen


def switch(builder, value, most, emit):
    """Emit a switch: the code of `emit(n)` for each n from 1 to `most`, of which that with n == `value` runs."""
    done = builder.append_basic_block("done")
    cases = builder.switch(value, done)
    for n in range(1, most + 1):
        block = builder.append_basic_block(f"case{n}")
        cases.add_case(value.type(n), block)
        builder.position_at_end(block)
        emit(n)
        builder.branch(done)
    builder.position_at_end(done)


@inlined
def dots(x, xi, x_stride, n_rows, n_features, w, n_classes, z, z_stride, ahead):
    """As `forward`, with features in lanes.

    w : (n_classes, n_features rounded up to whole vectors and padded with 0), then the biases
    """
    w_stride = (n_features + lanes(x) - 1) // lanes(x) * lanes(x)
    n_tiles = (n_classes + DOT_CLASSES - 1) // DOT_CLASSES
    bias = n_classes * w_stride
    for at in range(0, n_rows, DOT_ROWS):
        for t in range(n_tiles):
            k = t * n_classes // n_tiles  # the heights of the tiles differ by at most 1
            height = (t + 1) * n_classes // n_tiles - k
            i, rest, near = xi + at * x_stride, n_rows - at, ahead if at // DOT_ROWS % n_tiles == t else 0
            dot_tile(
                x, i, x_stride, rest, n_features, w, k * w_stride, w_stride, bias + k, height, z, at * z_stride + k,
                z_stride, near,
            )  # fmt: skip


def _backward_width(height):
    """Vectors of features in a tile of `height` classes: the accumulators take at most 3/4 of the registers."""
    return min(4, (24 if MANY_REGISTERS else 12) // height)


# Tiles that take turns need the same width. LOW is the one height whose tile is wider than that of one class more;
# beside such a tile it is as narrow, which is the form TALLEST + 1.
LOW = next(h for h in range(1, TALLEST) if _backward_width(h) > _backward_width(h + 1))


def _width_of_form(form):
    """Width of a tile: of the height `form`, or of the height LOW beside tiles of LOW + 1."""
    return _backward_width(form if form <= TALLEST else LOW + 1)


def _backward_tile(name, width_of, masked):
    """Make an intrinsic: `height` classes (1 to TALLEST) times width_of(height) vectors of features, sums over rows.

    If `masked`, only `n_left` features exist.
    """

    def tile(typingctx, x, xi, x_stride, n_rows, d, di, d_stride, height, g, gi, g_stride, n_left, f, fi, f_stride):
        vector = Vector(x.dtype, lanes_of(x.dtype))
        double = Vector(types.float64, vector.lanes)
        lane = vector.lanes

        def codegen(context, builder, sig, args):
            x, xi, x_stride, n_rows, d, di, d_stride, height, g, gi, g_stride, n_left, f, fi, f_stride = args
            number, whole = vector.llvm().element, xi.type
            samples = pointer(context, builder, sig.args[0], x, xi, number)
            residuals = pointer(context, builder, sig.args[4], d, di, number)
            following = pointer(context, builder, sig.args[12], f, fi, number)
            mask = mask_of(builder, n_left, lane) if masked else None
            zero, zeros = vector.llvm()([0] * lane), double.llvm()([0] * lane)

            def one_height(form):
                rows_of_g = form if form <= TALLEST else LOW
                width = width_of(form)

                def step(i, sums):
                    row = builder.mul(i, x_stride)
                    at = builder.mul(i, d_stride)

                    def features(v):
                        address = builder.gep(samples, [builder.add(row, whole(v * lane))])
                        address = builder.bitcast(address, vector.llvm().as_pointer())
                        if masked:
                            return masked_load(builder, vector, address, mask, zero)
                        return align(builder.load(address), vector.dtype)

                    def residual(k):
                        one = builder.load(builder.gep(residuals, [builder.add(at, whole(k))]))
                        return spread_value(builder, one, lane)

                    # One line of the next block; the hardware prefetches its neighbours.
                    prefetch_at(builder, builder.gep(following, [builder.mul(i, f_stride)]))
                    # The shorter side stays in registers, the longer one passes through a single register.
                    sums = list(sums)
                    if rows_of_g < width:
                        kept = [residual(k) for k in range(rows_of_g)]
                        for v in range(width):
                            x = features(v)
                            for k in range(rows_of_g):
                                at_sum = k * width + v
                                sums[at_sum] = multiply_add(builder, vector, kept[k], x, sums[at_sum])
                        return sums
                    kept = [features(v) for v in range(width)]
                    for k in range(rows_of_g):
                        d = residual(k)
                        for v in range(width):
                            at_sum = k * width + v
                            sums[at_sum] = multiply_add(builder, vector, d, kept[v], sums[at_sum])
                    return sums

                sums = repeat(builder, n_rows, [zero] * (rows_of_g * width), step)
                for k in range(rows_of_g):
                    for v in range(width):
                        total = sums[k * width + v]
                        if vector != double:
                            total = builder.fpext(total, double.llvm())
                        at = builder.add(builder.add(gi, whole(v * lane)), builder.mul(g_stride, whole(k)))
                        address = pointer(context, builder, sig.args[8], g, at, double.llvm())
                        if masked:
                            total = builder.fadd(masked_load(builder, double, address, mask, zeros), total)
                            store_first(builder, double, address, n_left, total)
                        else:
                            total = builder.fadd(align(builder.load(address), double.dtype), total)
                            align(builder.store(total, address), double.dtype)

            beside = MOST_TOGETHER > 1 and width_of(TALLEST + 1) > 1
            switch(builder, height, TALLEST + 1 if beside else TALLEST, one_height)
            return context.get_dummy_value()

        numbers = [types.intp]
        return types.void(x, *numbers * 3, d, *numbers * 3, g, *numbers * 3, f, *numbers * 2), codegen

    tile.__name__ = tile.__qualname__ = name
    return intrinsic(tile)


backward_tile_wide = _backward_tile("backward_tile_wide", _width_of_form, masked=False)
backward_tile_one = _backward_tile("backward_tile_one", lambda form: 1, masked=False)
backward_tile_rest = _backward_tile("backward_tile_rest", lambda form: 1, masked=True)


@inlined
def backward(
    x, xi, x_stride, n_rows, n_features, d, di, d_stride, n_classes, g, gi, g_stride, f, fi, f_stride, triangle
):
    """Add the sum over the rows r of a block of d[r, k] x[r, :] to g[k, :]; g is float64, d has the dtype of x.

    g : row k begins at g[gi + k * g_stride]
    d : row r begins at d[di + r * d_stride]; n_classes columns are used
    f : prefetched, row r from f[fi + r * f_stride] on, as it is read after this block
    triangle : whether only the upper triangle of g is needed; columns before the diagonal may be skipped
    """
    n_tiles = (n_classes + TALLEST - 1) // TALLEST
    low, n_taller = n_classes // n_tiles, n_classes % n_tiles  # the heights of the tiles are low and, first, low + 1
    # Outside of the loops, because these are divisions.
    low_width, tall_width = backward_width(low), backward_width(low + 1)
    # If there are few tiles, all use some features before the next features are read, from the first-level cache.
    n_together = n_tiles if n_tiles <= MOST_TOGETHER else 1
    n_sub = backward_rows(x_stride, d_stride, n_rows, x.itemsize) if n_together > 1 else n_rows
    for r in range(0, n_rows, n_sub):
        n, x_at, d_at, f_at = min(n_sub, n_rows - r), xi + r * x_stride, di + r * d_stride, fi + r * f_stride
        for first in range(0, n_tiles, n_together):
            k_first = first * low + min(first, n_taller)
            width = tall_width if first < n_taller else low_width
            wide, low_form = width * lanes(x), low if width == low_width else TALLEST + 1
            j, turn = k_first // lanes(x) * lanes(x) if triangle else 0, 0
            while j < n_features:
                step, k = wide if j + wide <= n_features else lanes(x), k_first
                for t in range(first, first + n_together):
                    height = low + 1 if t < n_taller else low
                    at = gi + k * g_stride + j
                    ahead, step_ahead = (f_at + j, f_stride) if turn == t else (f_at, 0)
                    if triangle and j + step <= k:  # below the diagonal
                        pass
                    elif step == wide:
                        form = height if t < n_taller else low_form
                        backward_tile_wide(
                            x,
                            x_at + j,
                            x_stride,
                            n,
                            d,
                            d_at + k,
                            d_stride,
                            form,
                            g,
                            at,
                            g_stride,
                            0,
                            f,
                            ahead,
                            step_ahead,
                        )
                    elif j + step <= n_features:
                        backward_tile_one(
                            x,
                            x_at + j,
                            x_stride,
                            n,
                            d,
                            d_at + k,
                            d_stride,
                            height,
                            g,
                            at,
                            g_stride,
                            0,
                            f,
                            ahead,
                            step_ahead,
                        )
                    else:
                        rest = n_features - j
                        backward_tile_rest(
                            x,
                            x_at + j,
                            x_stride,
                            n,
                            d,
                            d_at + k,
                            d_stride,
                            height,
                            g,
                            at,
                            g_stride,
                            rest,
                            f,
                            ahead,
                            step_ahead,
                        )
                    k += height
                j += step
                turn = turn + 1 if turn < n_tiles - 1 else 0  # the tiles of classes prefetch in turns


@inlined
def backward_rows(x_stride, d_stride, n_rows, itemsize):
    """Number of rows for all tiles before the next rows: as many as fit in the first-level cache, unless few fit."""
    fit = FIRST_LEVEL_BYTES // ((abs(x_stride) + abs(d_stride)) * itemsize)
    if fit < FEWEST_ROWS:
        return n_rows
    parts = (n_rows + fit - 1) // fit
    return (n_rows + parts - 1) // parts


backward_width = inlined(_backward_width)
