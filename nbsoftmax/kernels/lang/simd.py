"""SIMD vectors as a Numba type: kernels compute with registers of numbers.

Numba relies on LLVM's automatic vectorisation, which fails for `max`, `exp` and short rows. With this type a kernel
states the vector operations itself: `Vector(float64, 8)` is LLVM's `<8 x double>`, on which `+ - * /`, comparisons and
the functions below act lane by lane. A Python number in an operation with a vector is broadcast to all lanes in the
dtype of the vector, so that a float32 kernel never converts to float64 by accident.

The width is that of the CPU and is fixed at import: 64 bytes with AVX-512, 32 with AVX, 16 otherwise (NEON, SSE2).
Vectors of a `Tile` have twice the width. LLVM makes two instructions of each operation, which do not depend on each
other, so that the CPU executes them at the same time.
Vector operations have no fast-math flags: each rounds as IEEE 754 defines, in the order of the source, so the results
depend neither on the number of threads nor on the optimiser.

Memory is addressed as `(array, i)`, where i counts elements from the first one of the flat array; i is not checked.
"""

import operator
from collections import namedtuple
from functools import reduce
from platform import machine

from llvmlite import ir
from numba import njit
from numba.core import cgutils, config, types
from numba.core.codegen import get_host_cpu_features
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, overload, register_model

from nbsoftmax.kernels.runtime import settings  # noqa: F401  checks Numba's settings before LLVM uses them
from nbsoftmax.kernels.runtime.parts import PART


def _host_features():
    """CPU features that Numba compiles for: the host's, unless NUMBA_CPU_FEATURES or NUMBA_ENABLE_AVX change them."""
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return {feature[1:] for feature in features.split(",") if feature.startswith("+")}


HAS_SCALEF = "avx512f" in _host_features()
HAS_MASKS = HAS_SCALEF  # mask registers; without them, masked stores are slow: microcode with AVX2, branches elsewhere
HAS_FMA = HAS_SCALEF or "fma" in _host_features() or machine().lower() in {"aarch64", "arm64"}
VECTOR_BYTES = 64 if HAS_SCALEF else 32 if "avx" in _host_features() else 16


# Temporary memory of vectors of two registers: the first argument of `load` and other functions in place of an array.
Tile = namedtuple("Tile", "numbers")
REGISTERS_OF_TILE = 2


def lanes_of(dtype):
    """Number of lanes in a register for a NumPy or Numba dtype."""
    return VECTOR_BYTES // (getattr(dtype, "itemsize", None) or dtype.bitwidth // 8)


def lanes(memory):
    """Number of lanes of the vectors of an array or a tile: a constant in compiled code."""
    if isinstance(memory, Tile):
        return REGISTERS_OF_TILE * lanes_of(memory.numbers.dtype)
    return lanes_of(memory.dtype)


@overload(lanes, jit_options=PART)
def _lanes(memory):
    width = vector_of(memory).lanes
    return lambda memory: width


class Vector(types.Type):
    """A vector of `lanes` numbers of one dtype (float32, float64, int32, int64) or booleans (a mask)."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")

    def llvm(self):
        """LLVM type of the vector."""
        bits = self.dtype.bitwidth if isinstance(self.dtype, types.Integer) else 1
        element = {types.float64: ir.DoubleType(), types.float32: ir.FloatType()}.get(self.dtype, ir.IntType(bits))
        return ir.VectorType(element, self.lanes)

    def can_convert_from(self, typingctx, other):
        """A number converts to a vector: it is broadcast to all lanes."""
        if isinstance(other, types.Number):
            return typingctx.can_convert(other, self.dtype)
        return None


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.llvm())


def is_tile(memory):
    """Whether the Numba type is that of a `Tile`."""
    return isinstance(memory, types.NamedUniTuple) and memory.instance_class is Tile


def array_of(memory):
    """Numba type of the array of a tile, or of the array itself."""
    return memory.types[0] if is_tile(memory) else memory


def vector_of(memory):
    """Type of the vectors of an array or a tile, from its Numba type."""
    dtype = array_of(memory).dtype
    return Vector(dtype, lanes_of(dtype) * (REGISTERS_OF_TILE if is_tile(memory) else 1))


def integers_of(vector):
    """Type of the integer vectors whose lanes have the width of those of a float vector."""
    return Vector(types.int64 if vector.dtype == types.float64 else types.int32, vector.lanes)


# --- numbers to vectors -------------------------------------------------------------------------


def spread_value(builder, scalar, lanes):
    one = builder.insert_element(ir.VectorType(scalar.type, lanes)(ir.Undefined), scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one.type(ir.Undefined), ir.VectorType(ir.IntType(32), lanes)([0] * lanes))


@lower_cast(types.Number, Vector)
def _number_to_vector(context, builder, fromty, toty, val):
    return spread_value(builder, context.cast(builder, val, fromty, toty.dtype), toty.lanes)


@intrinsic
def spread(typingctx, x):
    """Broadcast the number x (float or integer) to all lanes of a vector."""
    vector = Vector(x, lanes_of(x))
    return vector(x), lambda context, builder, sig, args: spread_value(builder, args[0], vector.lanes)


def constant(builder, vector, number):
    """A vector with the same number in every lane, loaded from memory whose content LLVM does not know.

    If LLVM knows a constant and has no free register for it, it computes its address and broadcasts it in each
    iteration of a loop. It loads this vector once, before the loop. If there is no free register, it stores the vector
    on the stack, where instructions read it as an operand.
    """
    kind = vector.llvm()
    name = f"nbsoftmax.constant.{suffix(vector)}.{float(number).hex()}"
    memory = builder.module.globals.get(name)
    if memory is None:
        memory = ir.GlobalVariable(builder.module, kind, name)
        memory.initializer = kind([number] * vector.lanes)
        # No store changes a constant. With this linkage the linker may choose another value, so LLVM must load it.
        memory.global_constant, memory.linkage, memory.align = True, "linkonce", VECTOR_BYTES
    return align(builder.load(memory), vector.dtype)


@intrinsic
def filled(typingctx, memory, x):
    """A vector of an array or a tile with the number x in every lane."""
    vector = vector_of(memory)

    def codegen(context, builder, sig, args):
        return spread_value(builder, context.cast(builder, args[1], x, vector.dtype), vector.lanes)

    return vector(memory, x), codegen


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
    # Ordered comparisons: false if an operand is NaN.
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


def multiply_add(builder, vector, x, y, z):
    """Emit x * y + z, rounded once if the CPU has fused multiply-adds; else LLVM would call a slow function."""
    if HAS_FMA:
        return call(builder, f"llvm.fma.{suffix(vector)}", vector.llvm(), [x, y, z])
    return builder.fadd(builder.fmul(x, y), z)


@intrinsic
def fma(typingctx, x, y, z):
    """Multiply-add: x * y + z, rounded once if the CPU has fused multiply-adds. Numbers are broadcast."""
    vector = _common((x, y, z))
    if vector is None:
        return None

    def codegen(context, builder, sig, args):
        return multiply_add(builder, vector, *args)

    return vector(vector, vector, vector), codegen


@intrinsic
def where(typingctx, mask, x, y):
    """Select the lanes of x where `mask` is true, and those of y elsewhere."""
    vector = _common((x, y))
    if vector is None:
        return None
    return vector(mask, vector, vector), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def any_of(typingctx, mask):
    """Whether any lane of a mask is true."""

    def codegen(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(mask), codegen


@intrinsic
def rarely(typingctx, condition):
    """The condition, which LLVM may assume to be false nearly always."""

    def codegen(context, builder, sig, args):
        bit = builder.trunc(args[0], ir.IntType(1)) if args[0].type.width > 1 else args[0]
        return call(builder, "llvm.expect.i1", bit.type, [bit, bit.type(0)])

    return types.boolean(types.boolean), codegen


@intrinsic
def not_above(typingctx, x, limit):
    """Mask of the lanes with x <= limit, and of those that are NaN."""
    vector = _common((x, limit))

    def codegen(context, builder, sig, args):
        return builder.fcmp_unordered("<=", *args)

    return Vector(types.boolean, vector.lanes)(vector, vector), codegen


@intrinsic
def to_bits(typingctx, x):
    """Reinterpret the bits of floats as integers of the same width."""
    vector = integers_of(x)
    return vector(x), lambda context, builder, sig, args: builder.bitcast(args[0], vector.llvm())


@intrinsic
def from_bits(typingctx, n):
    """Reinterpret integers as the floats with the same bits."""
    vector = Vector(types.float64 if n.dtype == types.int64 else types.float32, n.lanes)
    return vector(n), lambda context, builder, sig, args: builder.bitcast(args[0], vector.llvm())


@intrinsic
def to_floats(typingctx, n):
    """Convert integers to floats of the same width."""
    vector = Vector(types.float64 if n.dtype == types.int64 else types.float32, n.lanes)
    return vector(n), lambda context, builder, sig, args: builder.sitofp(args[0], vector.llvm())


@intrinsic
def to_doubles(typingctx, x):
    """Convert a vector to float64 (a vector of the same number of lanes)."""
    vector = Vector(types.float64, x.lanes)

    def codegen(context, builder, sig, args):
        return args[0] if x == vector else builder.fpext(args[0], vector.llvm())

    return vector(x), codegen


@intrinsic
def scale_avx512(typingctx, x, n):
    """Compute x * 2**n for whole numbers n in floats, rounded once: the instruction VSCALEF."""

    def codegen(context, builder, sig, args):
        register = Vector(x.dtype, lanes_of(x.dtype))
        every = ir.IntType(register.lanes)(-1)
        rounding = ir.IntType(32)(4)  # the current rounding mode
        name = f"llvm.x86.avx512.mask.scalef.{'pd' if x.dtype == types.float64 else 'ps'}.512"
        pairs = zip(*(parts_of(builder, value, register.lanes) for value in args), strict=True)
        return joined(builder, [call(builder, name, register.llvm(), [a, n, a, every, rounding]) for a, n in pairs])

    return x(x, x), codegen


def parts_of(builder, value, lanes):
    """Cut a vector into vectors of the given number of lanes."""
    index = ir.VectorType(ir.IntType(32), lanes)
    firsts = range(0, value.type.count, lanes)
    return [builder.shuffle_vector(value, value, index(list(range(i, i + lanes)))) for i in firsts]


def joined(builder, values):
    """One vector of one or two vectors."""
    if len(values) == 1:
        return values[0]
    lanes = 2 * values[0].type.count
    return builder.shuffle_vector(*values, ir.VectorType(ir.IntType(32), lanes)(list(range(lanes))))


def fold(builder, value, lanes, combine):
    """Combine the halves of a vector until one lane is left: a fixed tree, so the result is reproducible."""
    while lanes > 1:
        lanes //= 2
        value = combine(*parts_of(builder, value, lanes))
    return builder.extract_element(value, ir.IntType(32)(0))


@intrinsic
def sum_of(typingctx, x):
    """Sum of all lanes, by pairwise summation."""

    def codegen(context, builder, sig, args):
        return fold(builder, args[0], x.lanes, builder.fadd)

    return x.dtype(x), codegen


@intrinsic
def add_sums_of(typingctx, a, b, c, d, array, i):
    """Add the sums of all lanes of four vectors to array[i], ..., array[i + 3]: a third of the work of `sum_of`."""

    def codegen(context, builder, sig, args):
        vectors, lanes, done = list(args[:4]), a.lanes, 1
        index = ir.VectorType(ir.IntType(32), lanes)
        while done < min(lanes, 4):  # add pairs of groups of lanes, and let two vectors share one
            groups = range(0, lanes, 2 * done)
            low = [i for g in groups for i in [*range(g, g + done), *range(lanes + g, lanes + g + done)]]
            order, after = index(low), index([i + done for i in low])
            vectors = [
                builder.fadd(builder.shuffle_vector(x, y, order), builder.shuffle_vector(x, y, after))
                for x, y in zip(vectors[::2], vectors[1::2], strict=True)
            ]
            done *= 2
        width = min(lanes, 4)
        for n, value in enumerate(vectors):
            first, *others = parts_of(builder, value, width)
            total = reduce(builder.fadd, others, first)
            at = builder.add(args[5], args[5].type(n * width))
            address = pointer(context, builder, sig.args[4], args[4], at, total.type)
            before = align(builder.load(address), a.dtype)
            align(builder.store(builder.fadd(before, total), address), a.dtype)
        return context.get_dummy_value()

    return types.void(a, b, c, d, array, types.intp), codegen


@intrinsic
def max_of(typingctx, x):
    """Largest lane. A NaN may be ignored; callers get it from the sums instead."""

    def codegen(context, builder, sig, args):
        return fold(builder, args[0], x.lanes, lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return x.dtype(x), codegen


@njit(forceinline=True, **PART)
def larger(x, y):
    """The larger of x and y, lane by lane; y where x is NaN."""
    return where(x > y, x, y)


# --- memory ------------------------------------------------------------------------------------


def pointer(context, builder, memory_type, memory, i, lltype):
    """Address of element i of an array or a tile, as that of a value of the LLVM type."""
    if is_tile(memory_type):
        memory = builder.extract_value(memory, 0)
    data = context.make_array(array_of(memory_type))(context, builder, memory).data
    return builder.bitcast(builder.gep(data, [i]), lltype.as_pointer())


def align(instruction, dtype):
    instruction.align = dtype.bitwidth // 8
    return instruction


def mask_of(builder, n, lanes):
    """Mask of the first n lanes, 0 <= n."""
    if HAS_MASKS:
        number = ir.IntType(64)
        n = builder.zext(n, number) if n.type.width < 64 else n
        first = builder.sub(builder.shl(number(1), n), number(1))
        bits = builder.select(builder.icmp_signed("<", n, number(lanes)), first, number(-1))
        return builder.bitcast(builder.trunc(bits, ir.IntType(lanes)), ir.VectorType(ir.IntType(1), lanes))
    count = spread_value(builder, builder.trunc(n, ir.IntType(32)) if n.type.width > 32 else n, lanes)
    return builder.icmp_signed("<", ir.VectorType(ir.IntType(32), lanes)(list(range(lanes))), count)


def stored_vector(memory, value):
    """Type of the vector to store: that of the value, which may be longer than a vector of the array."""
    vector = vector_of(memory)
    return Vector(vector.dtype, value.lanes) if isinstance(value, Vector) else vector


@intrinsic
def load(typingctx, memory, i):
    """Load the vector that begins at element i of an array or a tile."""
    vector = vector_of(memory)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())
        return align(builder.load(address), vector.dtype)

    return vector(memory, types.intp), codegen


@intrinsic
def element(typingctx, array, i):
    """Load element i; unlike in array[i], a negative i addresses memory before the array (negative strides)."""

    def codegen(context, builder, sig, args):
        return builder.load(builder.gep(context.make_array(sig.args[0])(context, builder, args[0]).data, [args[1]]))

    return array.dtype(array, types.intp), codegen


@intrinsic
def store(typingctx, memory, i, value):
    """Store the vector, or a number in every lane of one, in an array or a tile, from element i on."""
    vector = stored_vector(memory, value)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())
        align(builder.store(args[2], address), vector.dtype)
        return context.get_dummy_value()

    return types.void(memory, types.intp, vector), codegen


@intrinsic
def load_part(typingctx, array, i, n, rest):
    """Load the first n lanes from memory and set the others to `rest`; memory beyond n elements is not accessed."""
    vector = Vector(array.dtype, lanes_of(array.dtype))

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())

        def part():
            return [masked_load(builder, vector, address, mask_of(builder, args[2], vector.lanes), args[3])]

        def whole():
            return [align(builder.load(address), vector.dtype)]

        return part()[0] if HAS_MASKS else choose(builder, at_least(builder, args[2], vector.lanes), whole, part)[0]

    return vector(array, types.intp, types.intp, vector), codegen


def masked_load(builder, vector, address, mask, rest):
    fnty = ir.FunctionType(vector.llvm(), [address.type, ir.IntType(32), mask.type, vector.llvm()])
    function = cgutils.get_or_insert_function(builder.module, fnty, f"llvm.masked.load.{suffix(vector)}.p0")
    return builder.call(function, [address, ir.IntType(32)(vector.dtype.bitwidth // 8), mask, rest])


@intrinsic
def store_part(typingctx, array, i, value, n):
    """Store the first n lanes in the array, from element i on."""
    vector = stored_vector(array, value)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], args[0], args[1], vector.llvm())
        store_first(builder, vector, address, args[3], args[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), codegen


def masked_store(builder, vector, address, mask, value):
    fnty = ir.FunctionType(ir.VoidType(), [vector.llvm(), address.type, ir.IntType(32), mask.type])
    function = cgutils.get_or_insert_function(builder.module, fnty, f"llvm.masked.store.{suffix(vector)}.p0")
    builder.call(function, [value, address, ir.IntType(32)(vector.dtype.bitwidth // 8), mask])


def store_first(builder, vector, address, n, value):
    """Emit a store of the first n lanes."""
    if HAS_MASKS:
        masked_store(builder, vector, address, mask_of(builder, n, vector.lanes), value)
        return
    size, whole = vector.lanes, n.type
    with builder.if_else(at_least(builder, n, size)) as (then, otherwise):
        with then:
            align(builder.store(value, address), vector.dtype)
        with otherwise:  # half a vector, a quarter, ...: as the binary digits of n say
            address = builder.bitcast(address, vector.llvm().element.as_pointer())
            while size > 1:
                size //= 2
                low, high = parts_of(builder, value, size)
                some = builder.icmp_signed("!=", builder.and_(n, whole(size)), whole(0))
                with builder.if_then(some):
                    align(builder.store(low, builder.bitcast(address, low.type.as_pointer())), vector.dtype)
                address = builder.select(some, builder.gep(address, [whole(size)]), address)
                value = builder.select(some, high, low)


def at_least(builder, n, lanes):
    return builder.icmp_signed(">=", n, n.type(lanes))


def choose(builder, condition, emit_if, emit_else):
    """Emit a branch; both functions emit the code of a side and return its values, of which those of one are chosen."""
    sides = []
    with builder.if_else(condition) as contexts:
        for context, emit in zip(contexts, (emit_if, emit_else), strict=True):
            with context:
                sides.append((emit(), builder.block))
    chosen = []
    for pair in zip(*(values for values, _ in sides), strict=True):
        phi = builder.phi(pair[0].type)
        for value, (_, block) in zip(pair, sides, strict=True):
            phi.add_incoming(value, block)
        chosen.append(phi)
    return chosen


@intrinsic
def lane_numbers(typingctx, memory):
    """The vector 0, 1, 2, ... of an array or a tile."""
    vector = vector_of(memory)
    return vector(memory), lambda context, builder, sig, args: vector.llvm()(list(range(vector.lanes)))


@intrinsic
def head(typingctx, x, n):
    """Keep the first n lanes of x and set the others to 0."""

    def codegen(context, builder, sig, args):
        mask = mask_of(builder, args[1], x.lanes)
        return builder.select(mask, args[0], x.llvm()([0] * x.lanes))

    return x(x, types.intp), codegen


@intrinsic
def load_converted(typingctx, array, i, n, rest, like):
    """Load the first n lanes of a vector of `like` from an array of another dtype (int32, float64), and convert them.

    The other lanes become `rest`.
    """
    vector = vector_of(like)
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


def prefetch_at(builder, address, *, write=0, locality=2):
    """Emit a prefetch of the cache line at an address, which need not be valid.

    `locality` 2 is the second-level cache, 3 the first-level cache.
    """
    address = builder.bitcast(address, ir.IntType(8).as_pointer())
    number = ir.IntType(32)
    fnty = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, fnty, "llvm.prefetch.p0")
    builder.call(function, [address, number(write), number(locality), number(1)])  # 1: data, not instructions


@intrinsic
def prefetch(typingctx, array, i):
    """Prefetch the cache line of element i, which need not exist."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        prefetch_at(builder, builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


def store_past_caches(builder, address, value):
    """Emit a store of a vector that takes no place in a cache. The address is a multiple of the size of a register."""
    instruction = builder.store(value, address)
    instruction.align = VECTOR_BYTES
    instruction.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


@intrinsic
def move_results(typingctx, memory, source, out, at, like, past):
    """Store a vector of `memory`, from element `source` on, in `out`; without a place in a cache if `past`.

    Nothing happens if at < 0 or `memory` is None. The vector is as long as those of `like`. If `past`, the address of
    out[at] is a multiple of the size of a register.
    """
    vector = vector_of(like)

    def codegen(context, builder, sig, args):
        if isinstance(sig.args[0], (types.NoneType, types.Omitted)):
            return context.get_dummy_value()
        memory, source, out, at, _, past = args
        with builder.if_then(builder.icmp_signed(">=", at, at.type(0))):
            value = builder.load(pointer(context, builder, sig.args[0], memory, source, vector.llvm()))
            value = align(value, vector.dtype)
            address = pointer(context, builder, sig.args[2], out, at, vector.llvm())
            with builder.if_else(context.is_true(builder, sig.args[5], past)) as (then, otherwise):
                with then:
                    store_past_caches(builder, address, value)
                with otherwise:
                    align(builder.store(value, address), vector.dtype)
        return context.get_dummy_value()

    return types.void(memory, types.intp, out, types.intp, like, past), codegen


@intrinsic
def wait_for_stores(typingctx):
    """Wait until all stores are visible to other threads, those past the caches too."""

    def codegen(context, builder, sig, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen
