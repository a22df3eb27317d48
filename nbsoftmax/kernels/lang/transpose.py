"""Transposition between rows of an array, of any stride, and tiles, in which the rows are in lanes; and of columns.

The rows of a square are loaded, transposed in registers and stored. If a row has at most half as many columns as a
register has lanes, two rows share a register, which takes a third of the shuffles or fewer, and half of the stores.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nbsoftmax.kernels.lang.simd import (
    HAS_MASKS,
    Vector,
    align,
    at_least,
    choose,
    joined,
    mask_of,
    masked_load,
    masked_store,
    parts_of,
    pointer,
    prefetch_at,
    store_first,
    vector_of,
)


def _transposed(builder, vectors):
    """Transpose squares of vectors in registers: of the first, second, ... as many lanes as there are vectors.

    In each step, pairs of vectors swap the off-diagonal blocks of their squares.
    """
    lanes, vectors = vectors[0].type.count, list(vectors)
    index = ir.VectorType(ir.IntType(32), lanes)
    step = 1
    while step < len(vectors):
        for r in range(len(vectors)):
            if r & step == 0:
                a, b = vectors[r], vectors[r + step]
                low = [i if i & step == 0 else lanes + i - step for i in range(lanes)]
                high = [i + step if i & step == 0 else lanes + i for i in range(lanes)]
                vectors[r] = builder.shuffle_vector(a, b, index(low))
                vectors[r + step] = builder.shuffle_vector(a, b, index(high))
        step *= 2
    return vectors


@intrinsic(prefer_literal=True)
def rows_to_lanes(typingctx, array, i, stride, n_rows, n_columns, tile, j, share):
    """Transpose at most `lanes(array)` rows, and `lanes(array) // share` columns of them, to an array or a tile.

    Row r begins at element i + r * stride of `array`; its column k goes to element j + k * lanes(tile) + r of `tile`.
    `n_rows` is the number of rows that exist; if they are too few, the last one is repeated. Columns from n_columns on
    have no meaning: they are 0, or come from the next row, since whole loads are faster. `share` is 1 or 2, a constant.
    """
    vector, apart = vector_of(array), vector_of(tile).lanes
    part_of_row = Vector(vector.dtype, vector.lanes // share.literal_value)

    def codegen(context, builder, sig, args):
        array, i, stride, n_rows, n_columns, tile, j, _ = args
        zero = part_of_row.llvm()([0] * part_of_row.lanes)
        last = builder.sub(n_rows, n_rows.type(1))
        end, addresses = builder.mul(last, stride), []
        for r in range(vector.lanes):
            offset = builder.select(
                builder.icmp_signed("<", last, last.type(r)), end, builder.mul(stride, stride.type(r))
            )
            at = builder.add(i, offset)
            addresses.append(pointer(context, builder, sig.args[0], array, at, part_of_row.llvm()))

        def part():
            mask = mask_of(builder, n_columns, part_of_row.lanes)
            return [masked_load(builder, part_of_row, address, mask, zero) for address in addresses]

        def whole():
            return [align(builder.load(address), vector.dtype) for address in addresses]

        enough = at_least(builder, n_columns, part_of_row.lanes)
        inside = builder.and_(  # every row has a next one, which contains what a whole load reads beyond its row
            at_least(builder, n_rows, vector.lanes + 1),
            at_least(builder, builder.add(stride, n_columns), part_of_row.lanes),
        )
        rows = part() if HAS_MASKS else choose(builder, enough, whole, lambda: choose(builder, inside, whole, part))
        # Vector q holds the rows q, q + n, ...: as many as fit.
        n = part_of_row.lanes
        vectors = [joined(builder, rows[q::n]) for q in range(n)]
        for k, column in enumerate(_transposed(builder, vectors)):
            at = builder.add(j, j.type(k * apart))
            align(builder.store(column, pointer(context, builder, sig.args[5], tile, at, vector.llvm())), vector.dtype)
        return context.get_dummy_value()

    return types.void(array, *[types.intp] * 4, tile, types.intp, share), codegen


@intrinsic(prefer_literal=True)
def lanes_to_rows(typingctx, tile, j, array, i, stride, n_rows, n_columns, share):
    """Inverse of `rows_to_lanes`: element j + k * lanes(tile) + r of `tile` goes to array[i + r * stride + k].

    Only n_rows rows and n_columns columns are written.
    """
    vector, apart = vector_of(array), vector_of(tile).lanes
    part_of_row = Vector(vector.dtype, vector.lanes // share.literal_value)

    def codegen(context, builder, sig, args):
        tile, j, array, i, stride, n_rows, n_columns, _ = args
        columns, n = [], part_of_row.lanes
        for k in range(n):
            at = builder.add(j, j.type(k * apart))
            address = pointer(context, builder, sig.args[0], tile, at, vector.llvm())
            columns.append(align(builder.load(address), vector.dtype))
        parts = [parts_of(builder, value, n) for value in _transposed(builder, columns)]
        rows = [parts[r % n][r // n] for r in range(vector.lanes)]
        addresses = []
        for r in range(vector.lanes):
            at = builder.add(i, builder.mul(stride, stride.type(r)))
            addresses.append(pointer(context, builder, sig.args[2], array, at, part_of_row.llvm()))
        whole = at_least(builder, n_rows, vector.lanes)
        if not HAS_MASKS:
            whole = builder.and_(whole, at_least(builder, n_columns, n))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                mask = mask_of(builder, n_columns, n)
                for row, address in zip(rows, addresses, strict=True):
                    if HAS_MASKS:
                        masked_store(builder, part_of_row, address, mask, row)
                    else:
                        align(builder.store(row, address), vector.dtype)
            with otherwise:
                # If rows lie side by side, what a whole store writes beyond its row is replaced by the next rows.
                covered = builder.and_(
                    builder.icmp_signed("==", stride, n_columns), at_least(builder, n_columns, n // 2)
                )
                n_whole = builder.select(covered, builder.sub(n_rows, n_rows.type(1)), n_rows.type(0))
                # A branch for each row: a masked store of no lane to a page that is not in memory takes 100 ns.
                for r, (row, address) in enumerate(zip(rows, addresses, strict=True)):
                    with builder.if_else(builder.icmp_signed(">", n_whole, n_whole.type(r))) as (followed, other):
                        with followed:
                            align(builder.store(row, address), vector.dtype)
                        with other, builder.if_then(builder.icmp_signed(">", n_rows, n_rows.type(r))):
                            store_first(builder, part_of_row, address, n_columns, row)
        return context.get_dummy_value()

    return types.void(tile, types.intp, array, *[types.intp] * 4, share), codegen


@intrinsic
def columns_to_rows(typingctx, array, i, column_stride, n_columns, out, o, row_stride, ahead):
    """Transpose `lanes(array)` numbers of each of n_columns columns, at most `lanes(array)`, to rows of `out`.

    Element i + k * column_stride + r of `array` goes to out[o + r * row_stride + k]. The lines that begin `ahead`
    elements later are prefetched.
    """
    vector = vector_of(array)

    def codegen(context, builder, sig, args):
        array, i, column_stride, n_columns, out, o, row_stride, ahead = args
        last, columns = builder.sub(n_columns, n_columns.type(1)), []
        for k in range(vector.lanes):  # columns beyond the last one repeat it, and are not stored
            column = builder.select(builder.icmp_signed("<", last, last.type(k)), last, last.type(k))
            at = builder.add(i, builder.mul(column, column_stride))
            address = pointer(context, builder, sig.args[0], array, at, vector.llvm())
            columns.append(align(builder.load(address), vector.dtype))
            later = pointer(context, builder, sig.args[0], array, builder.add(at, ahead), vector.llvm())
            prefetch_at(builder, later)
        for r, row in enumerate(_transposed(builder, columns)):
            at = builder.add(o, builder.mul(row_stride, row_stride.type(r)))
            address = pointer(context, builder, sig.args[4], out, at, vector.llvm())
            store_first(builder, vector, address, n_columns, row)
        return context.get_dummy_value()

    return types.void(array, *[types.intp] * 3, out, *[types.intp] * 3), codegen
