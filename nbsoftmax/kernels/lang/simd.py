"""Vectors of numbers, one register wide, as a type that kernels can compute with.

Numba leaves the choice of vector code to LLVM, which gives up on `max`, on `exp` and on short rows. Here
a kernel says what it wants: `Vector(float64, 8)` is LLVM's `<8 x double>`, on which `+ - * /`, comparisons
and the functions below act lane by lane. A Python number beside a vector is spread over its lanes in
the vector's own dtype, so a float32 kernel never widens by accident.

The width is the host's, fixed at import: 64 bytes with AVX-512, 32 with AVX, 16 otherwise (NEON, SSE2).
No flag of fast mathematics is set: every operation rounds as IEEE 754 says, in the written order, which
is why results depend neither on the thread count nor on the optimiser's mood.

Memory is addressed as `(array, i)`: i counts elements from the array's first, flat, unchecked.
"""

import operator

from llvmlite import ir
from numba import njit
from numba.core import cgutils, config, types
from numba.core.codegen import get_host_cpu_features
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, overload, register_model

from nbsoftmax.kernels.runtime import settings  # noqa: F401  checked before LLVM is asked for the vectors of the host


def _host_features():
    """What Numba compiles for: the host's features, unless NUMBA_CPU_FEATURES or NUMBA_ENABLE_AVX say otherwise."""
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return {feature[1:] for feature in features.split(",") if feature.startswith("+")}


HAS_SCALEF = "avx512f" in _host_features()
VECTOR_BYTES = 64 if HAS_SCALEF else 32 if "avx" in _host_features() else 16


def lanes_of(dtype):
    """Lanes of one register for a NumPy or Numba dtype."""
    return VECTOR_BYTES // (getattr(dtype, "itemsize", None) or dtype.bitwidth // 8)


def lanes(array):
    """Lanes of one register for the array's dtype: a constant in compiled code."""
    return lanes_of(array.dtype)


@overload(lanes)
def _lanes(array):
    width = lanes_of(array.dtype)
    return lambda array: width


class Vector(types.Type):
    """`lanes` numbers of one dtype (float32, float64, int32, int64), or truth values (boolean)."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")

    def llvm(self):
        """The LLVM type of one vector."""
        bits = self.dtype.bitwidth if isinstance(self.dtype, types.Integer) else 1
        element = {types.float64: ir.DoubleType(), types.float32: ir.FloatType()}.get(self.dtype, ir.IntType(bits))
        return ir.VectorType(element, self.lanes)

    def can_convert_from(self, typingctx, other):
        """Numbers become vectors by being spread over the lanes."""
        if isinstance(other, types.Number):
            return typingctx.can_convert(other, self.dtype)
        return None


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.llvm())


def integers_of(vector):
    """The type of integer vectors as wide, lane by lane, as a float vector."""
    return Vector(types.int64 if vector.dtype == types.float64 else types.int32, vector.lanes)


# --- numbers beside vectors ---------------------------------------------------------------------


def spread_value(builder, scalar, lanes):
    one = builder.insert_element(ir.VectorType(scalar.type, lanes)(ir.Undefined), scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one.type(ir.Undefined), ir.VectorType(ir.IntType(32), lanes)([0] * lanes))


@lower_cast(types.Number, Vector)
def _number_to_vector(context, builder, fromty, toty, val):
    return spread_value(builder, context.cast(builder, val, fromty, toty.dtype), toty.lanes)


@intrinsic
def spread(typingctx, x):
    """A vector with the number x (float or integer) in every lane."""
    vector = Vector(x, lanes_of(x))
    return vector(x), lambda context, builder, sig, args: spread_value(builder, args[0], vector.lanes)


# --- operators --------------------------------------------------------------------------------


def _common(args):
    vector = next((a for a in args if isinstance(a, Vector)), None)
    if vector is None or any(a != vector and not isinstance(a, types.Number) for a in args):
        return None
    return vector


class _Arithmetic(AbstractTemplate):
    def generic(self, args, kws):
        vector = _common(args)
        return vector and signature(vector, *[vector] * len(args))


class _Comparison(AbstractTemplate):
    def generic(self, args, kws):
        vector = _common(args)
        return vector and signature(Vector(types.boolean, vector.lanes), vector, vector)


def _lower(op, template, emit, arity=2):
    infer_global(op)(template)

    def lowering(context, builder, sig, args):
        return emit(builder, isinstance(sig.args[0].dtype, types.Float), *args)

    lower_builtin(op, *[Vector] * arity)(lowering)


for _op, _real, _whole in (
    (operator.add, "fadd", "add"),
    (operator.iadd, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.isub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.imul, "fmul", "mul"),
):
    _lower(
        _op,
        _Arithmetic,
        lambda b, real, x, y, names=(_whole, _real): getattr(b, names[real])(x, y),
    )
_lower(operator.truediv, _Arithmetic, lambda b, real, x, y: b.fdiv(x, y))
_lower(operator.and_, _Arithmetic, lambda b, real, x, y: b.and_(x, y))
_lower(operator.or_, _Arithmetic, lambda b, real, x, y: b.or_(x, y))
_lower(operator.lshift, _Arithmetic, lambda b, real, x, y: b.shl(x, y))
_lower(operator.rshift, _Arithmetic, lambda b, real, x, y: b.ashr(x, y))
_lower(operator.neg, _Arithmetic, lambda b, real, x: b.fneg(x) if real else b.neg(x), arity=1)
for _op, _sign in (
    (operator.lt, "<"),
    (operator.gt, ">"),
    (operator.le, "<="),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    # Ordered: false where a NaN takes part.
    _lower(
        _op,
        _Comparison,
        lambda b, real, x, y, sign=_sign: (b.fcmp_ordered if real else b.icmp_signed)(sign, x, y),
    )


# --- functions of vectors -----------------------------------------------------------------------


def call(builder, name, result, args):
    """Call an LLVM intrinsic (`llvm.fma.v8f64` and the like) by its full name."""
    fnty = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, fnty, name), args)


def suffix(vector):
    return f"v{vector.lanes}{'f' if isinstance(vector.dtype, types.Float) else 'i'}{vector.dtype.bitwidth}"


@intrinsic
def fma(typingctx, x, y, z):
    """X * y + z, rounded once. Numbers among the arguments are spread."""
    vector = _common((x, y, z))
    if vector is None:
        return None

    def codegen(context, builder, sig, args):
        return call(builder, f"llvm.fma.{suffix(vector)}", vector.llvm(), args)

    return vector(vector, vector, vector), codegen


@intrinsic
def where(typingctx, mask, x, y):
    """Lanes of x where `mask` holds, of y elsewhere."""
    vector = _common((x, y))
    if vector is None:
        return None
    return vector(mask, vector, vector), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def any_of(typingctx, mask):
    """Whether any lane holds."""

    def codegen(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(mask), codegen


@intrinsic
def to_bits(typingctx, x):
    """The bits of floats, as integers of the same width."""
    vector = integers_of(x)
    return vector(x), lambda context, builder, sig, args: builder.bitcast(args[0], vector.llvm())


@intrinsic
def from_bits(typingctx, n):
    """The floats that have these bits."""
    vector = Vector(types.float64 if n.dtype == types.int64 else types.float32, n.lanes)
    return vector(n), lambda context, builder, sig, args: builder.bitcast(args[0], vector.llvm())


@intrinsic
def to_floats(typingctx, n):
    """Integers as floats of the same width."""
    vector = Vector(types.float64 if n.dtype == types.int64 else types.float32, n.lanes)
    return vector(n), lambda context, builder, sig, args: builder.sitofp(args[0], vector.llvm())


@intrinsic
def to_doubles(typingctx, x):
    """The lanes of a vector widened to float64 (a vector of the same number of lanes)."""
    vector = Vector(types.float64, x.lanes)

    def codegen(context, builder, sig, args):
        return args[0] if x == vector else builder.fpext(args[0], vector.llvm())

    return vector(x), codegen


@intrinsic
def scale_avx512(typingctx, x, n):
    """X * 2**n for whole n given as floats, with one rounding: the instruction VSCALEF."""

    def codegen(context, builder, sig, args):
        kind = "pd" if x.dtype == types.float64 else "ps"
        every = ir.IntType(x.lanes)(-1)
        rounding = ir.IntType(32)(4)  # as the current mode says
        name = f"llvm.x86.avx512.mask.scalef.{kind}.512"
        return call(builder, name, x.llvm(), [args[0], args[1], args[0], every, rounding])

    return x(x, x), codegen


def fold(builder, value, lanes, combine):
    """Halve the vector until one lane is left: a fixed tree, the same on every run."""
    while lanes > 1:
        lanes //= 2
        index = ir.VectorType(ir.IntType(32), lanes)
        low = builder.shuffle_vector(value, value, index(list(range(lanes))))
        high = builder.shuffle_vector(value, value, index(list(range(lanes, 2 * lanes))))
        value = combine(low, high)
    return builder.extract_element(value, ir.IntType(32)(0))


@intrinsic
def sum_of(typingctx, x):
    """Sum of the lanes, by halves."""

    def codegen(context, builder, sig, args):
        return fold(builder, args[0], x.lanes, builder.fadd)

    return x.dtype(x), codegen


@intrinsic
def max_of(typingctx, x):
    """Largest lane; a NaN may be lost (it comes back by way of the sums)."""

    def codegen(context, builder, sig, args):
        return fold(builder, args[0], x.lanes, lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return x.dtype(x), codegen


@njit(forceinline=True)
def larger(x, y):
    """The larger of x and y lane by lane, y where x is NaN."""
    return where(x > y, x, y)


# --- memory ------------------------------------------------------------------------------------


def pointer(context, builder, array_type, array, i, lltype):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [i]), lltype.as_pointer())


def align(instruction, dtype):
    instruction.align = dtype.bitwidth // 8
    return instruction


def mask_of(builder, n, lanes):
    """Truth vector: lane < n."""
    count = spread_value(builder, builder.trunc(n, ir.IntType(32)) if n.type.width > 32 else n, lanes)
    return builder.icmp_signed("<", ir.VectorType(ir.IntType(32), lanes)(list(range(lanes))), count)


@intrinsic
def load(typingctx, array, i):
    """The vector at element i of the array."""
    vector = Vector(array.dtype, lanes_of(array.dtype))

    def codegen(context, builder, sig, args):
        return align(builder.load(pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())), array.dtype)

    return vector(array, types.intp), codegen


@intrinsic
def element(typingctx, array, i):
    """Element i as a number; unlike array[i], i may be negative, where a view with negative strides has its rows."""

    def codegen(context, builder, sig, args):
        return builder.load(builder.gep(context.make_array(sig.args[0])(context, builder, args[0]).data, [args[1]]))

    return array.dtype(array, types.intp), codegen


@intrinsic
def store(typingctx, array, i, value):
    """Write the vector to the array, from element i on."""
    vector = Vector(array.dtype, lanes_of(array.dtype))

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())
        align(builder.store(args[2], address), array.dtype)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic
def load_part(typingctx, array, i, n, rest):
    """The first n lanes from memory, the number `rest` in the others; memory beyond n is not touched."""
    vector = Vector(array.dtype, lanes_of(array.dtype))

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())
        return masked_load(builder, vector, address, mask_of(builder, args[2], vector.lanes), args[3])

    return vector(array, types.intp, types.intp, vector), codegen


def masked_load(builder, vector, address, mask, rest):
    fnty = ir.FunctionType(vector.llvm(), [address.type, ir.IntType(32), mask.type, vector.llvm()])
    function = cgutils.get_or_insert_function(builder.module, fnty, f"llvm.masked.load.{suffix(vector)}.p0")
    return builder.call(function, [address, ir.IntType(32)(vector.dtype.bitwidth // 8), mask, rest])


@intrinsic
def store_part(typingctx, array, i, value, n):
    """Write the first n lanes to the array, from element i on."""
    vector = Vector(array.dtype, lanes_of(array.dtype))

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())
        masked_store(builder, vector, address, mask_of(builder, args[3], vector.lanes), args[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), codegen


def masked_store(builder, vector, address, mask, value):
    fnty = ir.FunctionType(ir.VoidType(), [vector.llvm(), address.type, ir.IntType(32), mask.type])
    function = cgutils.get_or_insert_function(builder.module, fnty, f"llvm.masked.store.{suffix(vector)}.p0")
    builder.call(function, [value, address, ir.IntType(32)(vector.dtype.bitwidth // 8), mask])


@intrinsic
def lane_numbers(typingctx, array):
    """0, 1, 2 ... in the dtype of the array."""
    vector = Vector(array.dtype, lanes_of(array.dtype))
    return vector(array), lambda context, builder, sig, args: vector.llvm()(list(range(vector.lanes)))


@intrinsic
def head(typingctx, x, n):
    """The first n lanes of x, and 0 in the others."""

    def codegen(context, builder, sig, args):
        mask = mask_of(builder, args[1], x.lanes)
        return builder.select(mask, args[0], x.llvm()([0] * x.lanes))

    return x(x, types.intp), codegen


@intrinsic
def load_converted(typingctx, array, i, n, rest, like):
    """The first n lanes from an array of another dtype (int32, float64), as a vector of the dtype of `like`."""
    vector = Vector(like.dtype, lanes_of(like.dtype))
    source = Vector(array.dtype, vector.lanes)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], source.llvm())
        mask = mask_of(builder, args[2], vector.lanes)
        value = masked_load(builder, source, address, mask, source.llvm()([0] * vector.lanes))
        if isinstance(source.dtype, types.Integer):
            value = builder.sitofp(value, vector.llvm())
        elif source != vector:
            value = builder.fptrunc(value, vector.llvm())
        return builder.select(mask, value, args[3])

    return vector(array, types.intp, types.intp, vector, like), codegen


def prefetch_at(builder, address):
    """Emit a request for the cache line at an address, which need not be valid; nothing waits for it."""
    address = builder.bitcast(address, ir.IntType(8).as_pointer())
    number = ir.IntType(32)
    fnty = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, fnty, "llvm.prefetch.p0")
    builder.call(function, [address, number(0), number(2), number(1)])  # to read, into the second-level cache, data


@intrinsic
def prefetch(typingctx, array, i):
    """Ask for the cache line of element i, which need not exist."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        prefetch_at(builder, builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


# --- rows to lanes and back -----------------------------------------------------------------------


def _transposed(builder, rows):
    """Transpose a square of vectors in registers: at each step, pairs swap their off-diagonal blocks."""
    lanes, rows = len(rows), list(rows)
    index = ir.VectorType(ir.IntType(32), lanes)
    step = 1
    while step < lanes:
        for r in range(lanes):
            if r & step == 0:
                a, b = rows[r], rows[r + step]
                low = [i if i & step == 0 else lanes + i - step for i in range(lanes)]
                high = [i + step if i & step == 0 else lanes + i for i in range(lanes)]
                rows[r] = builder.shuffle_vector(a, b, index(low))
                rows[r + step] = builder.shuffle_vector(a, b, index(high))
        step *= 2
    return rows


@intrinsic
def rows_to_lanes(typingctx, array, i, stride, n_rows, n_columns, tile, j):
    """Read up to one register's lanes of rows and columns, and write them with the rows in lanes.

    Row r starts at element i + r * stride of `array`; its column k goes to lane r of the vector at tile[j + k * lanes].
    Columns from n_columns on become 0; rows from n_rows on repeat row n_rows - 1.
    """
    vector = Vector(array.dtype, lanes_of(array.dtype))

    def codegen(context, builder, sig, args):
        array, i, stride, n_rows, n_columns, tile, j = args
        mask = mask_of(builder, n_columns, vector.lanes)
        zero = vector.llvm()([0] * vector.lanes)
        last = builder.sub(n_rows, n_rows.type(1))
        rows = []
        for r in range(vector.lanes):
            row = builder.select(builder.icmp_signed("<", last, last.type(r)), last, last.type(r))
            at = builder.add(i, builder.mul(row, stride))
            address = pointer(context, builder, sig.args[0], array, at, vector.llvm())
            rows.append(masked_load(builder, vector, address, mask, zero))
        for k, column in enumerate(_transposed(builder, rows)):
            at = builder.add(j, j.type(k * vector.lanes))
            align(builder.store(column, pointer(context, builder, sig.args[5], tile, at, vector.llvm())), vector.dtype)
        return context.get_dummy_value()

    return types.void(array, *[types.intp] * 4, tile, types.intp), codegen


@intrinsic
def lanes_to_rows(typingctx, tile, j, array, i, stride, n_rows, n_columns):
    """The way back: lane r of the vector at tile[j + k * lanes] goes to element i + r * stride + k of `array`."""
    vector = Vector(array.dtype, lanes_of(array.dtype))

    def codegen(context, builder, sig, args):
        tile, j, array, i, stride, n_rows, n_columns = args
        mask = mask_of(builder, n_columns, vector.lanes)
        none = mask.type([0] * vector.lanes)
        columns = []
        for k in range(vector.lanes):
            at = builder.add(j, j.type(k * vector.lanes))
            address = pointer(context, builder, sig.args[0], tile, at, vector.llvm())
            columns.append(align(builder.load(address), vector.dtype))
        for r, row in enumerate(_transposed(builder, columns)):
            inside = builder.select(builder.icmp_signed(">", n_rows, n_rows.type(r)), mask, none)
            at = builder.add(i, builder.mul(stride, stride.type(r)))
            masked_store(builder, vector, pointer(context, builder, sig.args[2], array, at, vector.llvm()), inside, row)
        return context.get_dummy_value()

    return types.void(tile, types.intp, array, *[types.intp] * 4), codegen
