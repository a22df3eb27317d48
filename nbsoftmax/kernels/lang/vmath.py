"""exp, log and log1p of a vector, lane by lane; measured errors are below 1 ULP, the guaranteed limit is 2 ULP.

    exp(x) = 2^n exp(r),                  n = round(x / ln 2),  r = x - n ln 2
    log(x) = k ln 2 + 2 s + s R(s^2),     x = 2^k (1 + f),      s = f / (2 + f)

float64 and float32 share the code and differ in constants. The polynomials are minimax approximations, which
`python -m perf.minimax` computes. The reductions are those of W. J. Cody and W. Waite, "Software Manual for the
Elementary Functions" (1980): ln 2 is split in two parts, and products with the first part are exact.
tests/kernels/test_vmath.py tests the errors.
"""

from collections import namedtuple
from math import inf, nan

from numba import types
from numba.extending import intrinsic, overload

from nbsoftmax.kernels.lang.simd import (
    HAS_SCALEF,
    any_of,
    constant,
    fma,
    from_bits,
    multiply_add,
    not_above,
    rarely,
    scale_avx512,
    to_bits,
    to_floats,
    where,
)
from nbsoftmax.kernels.runtime.parts import PART

LOG2_E = 1.4426950408889634
# exp(r) = 1 + r + r^2 E(r), coefficients of E from the lowest power; errors 0.016 and 0.025 eps
_EXP = {
    types.float64: (
        0.50000000000000105539,
        0.16666666666666407756,
        0.041666666666530821791,
        0.0083333333334976494863,
        0.0013888888943456571138,
        0.00019841269499321269741,
        0.000024801493275272898503,
        2.7557593157760410911e-6,
        2.7630186706961037751e-7,
        2.4997830630844836967e-8,
    ),
    types.float32: (0.49999993592, 0.16666521214, 0.041668336792, 0.0083686533805, 0.0013817789552),
}
# log(1 + f) = 2 s + s^3 L(s^2); errors 0.005 and 0.007 eps
_LOG = {
    types.float64: (
        0.66666666666667343422,
        0.39999999999416111513,
        0.28571428741972878422,
        0.22222198620579561507,
        0.18183561737106043152,
        0.15314118309091136805,
        0.14795266166533142472,
    ),
    types.float32: (0.66666775903, 0.39977607329, 0.29869940102),
}
# The same for 1 + f from 1 to 2; errors 0.006 and 0.038 eps
_LOG_OF_FRACTION = {
    types.float64: (
        0.66666666666666304682,
        0.40000000000157064147,
        0.2857142854786982843,
        0.22222223968978587838,
        0.18181743946030065776,
        0.15386559551192186047,
        0.13300977747689078526,
        0.12106057551170849224,
        0.083402128090508449223,
        0.17018389450801848186,
    ),
    types.float32: (0.66666414071, 0.40021638391, 0.28000083934, 0.28020089595),
}


def _polynomial(builder, x, vector, coefficients):
    """Estrin's scheme: its chain of dependent operations is half as long as that of Horner's rule."""
    values = [constant(builder, vector, c) for c in coefficients]
    while len(values) > 3:
        pairs = zip(values[::2], values[1::2], strict=False)
        last = values[-1:] if len(values) % 2 else []
        values = [multiply_add(builder, vector, b, x, a) for a, b in pairs] + last
        x = builder.fmul(x, x)
    value = values[-1]
    for c in values[-2::-1]:
        value = multiply_add(builder, vector, value, x, c)
    return value


@intrinsic
def _log_tail(typingctx, z):
    return z(z), lambda context, builder, sig, args: _polynomial(builder, args[0], z, _LOG[z.dtype])


@intrinsic
def _log_tail_of_fraction(typingctx, z):
    return z(z), lambda context, builder, sig, args: _polynomial(builder, args[0], z, _LOG_OF_FRACTION[z.dtype])


def exp(x):
    """e^x of every lane: 0 at -inf, inf on overflow, NaN at NaN; subnormal results are accurate to 1 ULP."""
    raise NotImplementedError("exp of vectors works in compiled code only")


def exp_of_difference(x, c):
    """e^(x - c) of every lane, for x <= c; 1 where both are the same infinity."""
    raise NotImplementedError("exp of vectors works in compiled code only")


# Below `low` every result rounds to 0, above `high` to inf; if |x| <= `normal`, the result is normal and finite. Adding
# `magic` = 1.5 * 2^(digits - 1) rounds to a whole number, which is then in the lowest bits of the sum. The first part
# of ln 2 has 32 digits (15 in float32): its product with n is exact also without fused multiply-adds.
_Constants = namedtuple("_Constants", "low high normal magic magic_bits shift one_bits ln2_high ln2_low")
_CONSTANTS = {
    types.float64: _Constants(
        -746.0, 710.0, 708.0, 6755399441055744.0, 0x4338000000000000, 52, 1023 << 52,
        0.6931471803691238, 1.9082149292705877e-10,
    ),
    types.float32: _Constants(
        -104.0, 89.0, 87.0, 12582912.0, 0x4B400000, 23, 127 << 23, 0.693145751953125, 1.42860682030941723212e-6
    ),
}  # fmt: skip


@intrinsic
def _reduced(typingctx, x):
    """e^r, and n + magic, for x = n ln 2 + r."""
    k = _CONSTANTS[x.dtype]

    def codegen(context, builder, sig, args):
        def number(value):
            return constant(builder, x, value)

        magic = number(k.magic)
        t = multiply_add(builder, x, args[0], number(LOG2_E), magic)
        n = builder.fsub(t, magic)
        r = multiply_add(builder, x, n, number(-k.ln2_high), args[0])
        r = multiply_add(builder, x, n, number(-k.ln2_low), r)
        tail = _polynomial(builder, r, x, _EXP[x.dtype])
        p = builder.fadd(multiply_add(builder, x, builder.fmul(r, r), tail, r), number(1.0))
        return context.make_tuple(builder, sig.return_type, (p, t))

    return types.UniTuple(x, 2)(x), codegen


@overload(exp, jit_options={"forceinline": True, **PART})
def _exp(x):
    k = _CONSTANTS[x.dtype]

    def fitted(x):
        x = where(x < k.low, k.low, x)  # a comparison with NaN is false, so NaN is kept
        x = where(x > k.high, k.high, x)
        p, t = _reduced(x)
        if HAS_SCALEF:
            return scale_avx512(p, t - k.magic)
        # Two factors, because 2^n alone can be subnormal or overflow; the first product is exact.
        whole = to_bits(t) - k.magic_bits
        half = whole >> 1
        return p * from_bits((half << k.shift) + k.one_bits) * from_bits(((whole - half) << k.shift) + k.one_bits)

    return fitted


@overload(exp_of_difference, jit_options={"forceinline": True, **PART})
def _exp_of_difference(x, c):
    k = _CONSTANTS[x.dtype]

    def fitted(x, c):
        d = x - c
        p, t = _reduced(d)
        if rarely(any_of(not_above(d, -k.normal))):
            return exp(where(x == c, 0.0, d))
        if HAS_SCALEF:
            return scale_avx512(p, t - k.magic)
        return from_bits(to_bits(p) + (to_bits(t) << k.shift))  # the bits of `magic` are shifted out

    return fitted


def log(x):
    """Natural logarithm of every lane: -inf at 0, NaN below 0 and at NaN, inf at inf."""
    raise NotImplementedError("log of vectors works in compiled code only")


@overload(log, jit_options={"forceinline": True, **PART})
def _log(x):
    double = x.dtype == types.float64
    least_normal, up, up_digits = (2.0**-1022, 2.0**54, 54) if double else (2.0**-126, 2.0**25, 25)
    root_bits, shift = (0x3FE6A09E667F3BCD, 52) if double else (0x3F3504F3, 23)  # sqrt(1/2)
    ln2_high, ln2_low = (
        (6.93147180369123816490e-01, 1.90821492927058770002e-10) if double else (6.9313812256e-01, 9.0580006145e-06)
    )

    def fitted(x):
        subnormal = x < least_normal
        bits = to_bits(where(subnormal, x * up, x))
        whole = (bits - root_bits) >> shift
        f = from_bits(bits - (whole << shift)) - 1.0  # exact
        k = to_floats(whole)
        k = where(subnormal, k - up_digits, k)
        s = f / (f + 2.0)
        z = s * s
        square = 0.5 * f * f
        value = k * ln2_high - ((square - fma(s, square + z * _log_tail(z), k * ln2_low)) - f)
        value = where(x < inf, value, x)  # the logarithms of inf and NaN are inf and NaN
        return where(x > 0.0, value, where(x == 0.0, -inf, x * nan))

    return fitted


def log1p(x):
    """log(1 + x) of every lane for x >= 0, accurate also where 1 + x rounds to 1."""
    raise NotImplementedError("log1p of vectors works in compiled code only")


@overload(log1p, jit_options={"forceinline": True, **PART})
def _log1p(x):
    def fitted(x):
        u = x + 1.0
        return log(u) + (x - (u - 1.0)) / u

    return fitted


def log1p_of_fraction(x):
    """log(1 + x) of every lane for 0 <= x <= 1, in about half the time of `log1p`; NaN at NaN."""
    raise NotImplementedError("log1p of vectors works in compiled code only")


@overload(log1p_of_fraction, jit_options={"forceinline": True, **PART})
def _log1p_of_fraction(x):
    def fitted(x):
        s = x / (x + 2.0)
        z = s * s
        square = 0.5 * x * x
        return x - (square - s * (square + z * _log_tail_of_fraction(z)))

    return fitted
