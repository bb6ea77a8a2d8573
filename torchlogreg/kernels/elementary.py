"""exp and log1p in forms that the compiler turns into vector instructions.

The library functions are called one number at a time, which costs more than reading a row of 20
columns. Both are within 2 units in the last place of the exact value (tested against mpmath).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from torchlogreg.kernels.compiling import exact

# ln 2 in two parts: products of the first with the exponent of any number are exact.
HIGH64 = float.fromhex("0x1.62e42feep-1")
LOW64 = float.fromhex("0x1.a39ef35793c76p-33")
HIGH32 = np.float32(float.fromhex("0x1.62e4p-1"))
LOW32 = np.float32(math.log(2) - float(HIGH32))
# Adding 1.5 * 2^(mantissa bits) rounds to a whole number and leaves it in the lowest bits.
ROUND64, ROUND32 = 1.5 * 2.0**52, np.float32(1.5 * 2.0**23)
EXP64 = tuple(1.0 / math.factorial(i) for i in range(14))
EXP32 = tuple(np.float32(1.0 / math.factorial(i)) for i in range(8))
ATANH64 = tuple(2.0 / (2 * i + 1) for i in range(12))
ATANH32 = tuple(np.float32(2.0 / (2 * i + 1)) for i in range(6))
HALF_ROOT64, HALF_ROOT32 = 0x3FE6A09E667F3BCD, np.int32(0x3F3504F3)  # sqrt(1/2), as bits


@intrinsic
def bits(context: Any, x: Any) -> Any:
    """The bits of a floating-point number, as an integer of the same width."""
    integer = types.int64 if x == types.float64 else types.int32

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(integer.bitwidth))

    return integer(x), _generate


@intrinsic
def number(context: Any, x: Any) -> Any:
    """The floating-point number with these bits."""
    real = types.float64 if x == types.int64 else types.float32

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(real))

    return real(x), _generate


@exact
def exp64(x: float) -> Any:
    """``exp(x)`` for x <= 0, float64: 2^k exp(r), |r| <= ln(2)/2, by the Taylor polynomial."""
    x = -746.0 if x < -746.0 else x  # written so that NaN stays
    rounded = x * (1 / math.log(2)) + ROUND64
    k = rounded - ROUND64
    r = (x - k * HIGH64) - k * LOW64
    q = EXP64[13]
    q = q * r + EXP64[12]
    q = q * r + EXP64[11]
    q = q * r + EXP64[10]
    q = q * r + EXP64[9]
    q = q * r + EXP64[8]
    q = q * r + EXP64[7]
    q = q * r + EXP64[6]
    q = q * r + EXP64[5]
    q = q * r + EXP64[4]
    q = q * r + EXP64[3]
    q = q * r + EXP64[2]
    power = number((bits(rounded) + (1023 + 54)) << 52)  # 2^(k + 54), never subnormal
    return ((1.0 + (r + r * r * q)) * power) * 2.0**-54


@exact
def exp32(x: Any) -> Any:
    """``exp(x)`` for x <= 0, float32."""
    x = np.float32(-105.0) if x < np.float32(-105.0) else x
    rounded = x * np.float32(1 / math.log(2)) + ROUND32
    k = rounded - ROUND32
    r = (x - k * HIGH32) - k * LOW32
    q = EXP32[7]
    q = q * r + EXP32[6]
    q = q * r + EXP32[5]
    q = q * r + EXP32[4]
    q = q * r + EXP32[3]
    q = q * r + EXP32[2]
    power = number(np.int32((bits(rounded) + np.int32(127 + 27)) << np.int32(23)))
    return ((np.float32(1) + (r + r * r * q)) * power) * np.float32(2.0**-27)


@exact
def log1p64(x: float) -> Any:
    """``log(1 + x)`` for x >= 0, float64: k ln 2 + log(1 + f), by atanh(f / (2 + f))."""
    u = 1.0 + x
    k = (bits(u) - HALF_ROOT64) >> 52
    f = number(bits(u) - (k << 52)) - 1.0  # 1 + f lies between sqrt(1/2) and sqrt(2)
    lost = (x - (u - 1.0)) / u  # what the sum 1 + x rounded off
    s = f / (2.0 + f)
    z = s * s
    q = ATANH64[11]
    q = q * z + ATANH64[10]
    q = q * z + ATANH64[9]
    q = q * z + ATANH64[8]
    q = q * z + ATANH64[7]
    q = q * z + ATANH64[6]
    q = q * z + ATANH64[5]
    q = q * z + ATANH64[4]
    q = q * z + ATANH64[3]
    q = q * z + ATANH64[2]
    q = q * z + ATANH64[1]
    half = 0.5 * f * f
    return k * HIGH64 + (f - (half - (s * (half + q * z) + (k * LOW64 + lost))))


@exact
def log1p32(x: Any) -> Any:
    """``log(1 + x)`` for x >= 0, float32."""
    one, two = np.float32(1), np.float32(2)
    u = one + x
    k = np.int32((bits(u) - HALF_ROOT32) >> np.int32(23))
    f = number(np.int32(bits(u) - np.int32(k << np.int32(23)))) - one
    lost = (x - (u - one)) / u
    s = f / (two + f)
    z = s * s
    q = ATANH32[5]
    q = q * z + ATANH32[4]
    q = q * z + ATANH32[3]
    q = q * z + ATANH32[2]
    q = q * z + ATANH32[1]
    half = np.float32(0.5) * f * f
    e = np.float32(k)
    return e * HIGH32 + (f - (half - (s * (half + q * z) + (e * LOW32 + lost))))


def exp_negative(x: float) -> float:
    """``exp(x)`` for x <= 0; NaN stays NaN."""
    return math.exp(x)


def log1p_positive(x: float) -> float:
    """``log(1 + x)`` for finite x >= 0; NaN stays NaN."""
    return math.log1p(x)


@overload(exp_negative, strict=False)
def _exp_negative(x: Any) -> Any:
    """Chooses by dtype."""
    return (lambda x: exp32(x)) if x == types.float32 else (lambda x: exp64(x))


@overload(log1p_positive, strict=False)
def _log1p_positive(x: Any) -> Any:
    """Chooses by dtype."""
    return (lambda x: log1p32(x)) if x == types.float32 else (lambda x: log1p64(x))
