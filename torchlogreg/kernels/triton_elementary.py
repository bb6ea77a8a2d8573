"""exp and log1p for Triton: the formulas of :mod:`torchlogreg.kernels.elementary`.

Triton's own exp of a float32 loses digits as its argument grows, and it has no log1p. ``tl`` cannot
tell a float32 constant from a float64 one, so that each constant takes the dtype of its partner.
"""

# triton reads the annotations themselves: no "from __future__ import annotations" here
import math
from typing import Any

import triton
import triton.language as tl

LN2 = tl.constexpr(1 / math.log(2))
HIGH64 = tl.constexpr(float.fromhex("0x1.62e42feep-1"))
LOW64 = tl.constexpr(float.fromhex("0x1.a39ef35793c76p-33"))
HIGH32 = tl.constexpr(float.fromhex("0x1.62e4p-1"))
LOW32 = tl.constexpr(math.log(2) - float.fromhex("0x1.62e4p-1"))
ROUND64, ROUND32 = tl.constexpr(1.5 * 2.0**52), tl.constexpr(1.5 * 2.0**23)
HALF_ROOT64, HALF_ROOT32 = tl.constexpr(0x3FE6A09E667F3BCD), tl.constexpr(0x3F3504F3)
TINY64, TINY32 = tl.constexpr(2.0**-54), tl.constexpr(2.0**-27)


@triton.jit
def exp_negative(x: "Any") -> "Any":
    """``exp(x)`` for x <= 0; NaN stays NaN."""
    if x.dtype == tl.float64:
        x = tl.where(x < -746.0, -746.0, x)  # written so that NaN stays
        rounded = x * LN2 + ROUND64
        k = rounded - ROUND64
        r = (x - k * HIGH64) - k * LOW64
        q = r * (1 / 6227020800) + 1 / 479001600
        q = q * r + 1 / 39916800
        q = q * r + 1 / 3628800
        q = q * r + 1 / 362880
        q = q * r + 1 / 40320
        q = q * r + 1 / 5040
        q = q * r + 1 / 720
        q = q * r + 1 / 120
        q = q * r + 1 / 24
        q = q * r + 1 / 6
        q = q * r + 0.5
        bits = (rounded.to(tl.int64, bitcast=True) + 1077) << 52  # 2^(k + 54), never subnormal
        power = bits.to(tl.float64, bitcast=True)
        return ((1.0 + (r + r * r * q)) * power) * TINY64
    else:
        x = tl.where(x < -105.0, -105.0, x)
        rounded = x * LN2 + ROUND32
        k = rounded - ROUND32
        r = (x - k * HIGH32) - k * LOW32
        q = r * (1 / 5040) + 1 / 720
        q = q * r + 1 / 120
        q = q * r + 1 / 24
        q = q * r + 1 / 6
        q = q * r + 0.5
        bits = (rounded.to(tl.int32, bitcast=True) + 154) << 23
        power = bits.to(tl.float32, bitcast=True)
        return ((1.0 + (r + r * r * q)) * power) * TINY32


@triton.jit
def log1p_positive(x: "Any") -> "Any":
    """``log(1 + x)`` for finite x >= 0; NaN stays NaN."""
    u = 1.0 + x
    lost_above = x - (u - 1.0)  # what the sum rounded off
    if x.dtype == tl.float64:
        bits = u.to(tl.int64, bitcast=True)
        k = (bits - HALF_ROOT64) >> 52
        f = (bits - (k << 52)).to(tl.float64, bitcast=True) - 1.0
        e = k.to(tl.float64)
        s = f / (2.0 + f)
        z = s * s
        q = z * (2 / 23) + 2 / 21
        q = q * z + 2 / 19
        q = q * z + 2 / 17
        q = q * z + 2 / 15
        q = q * z + 2 / 13
        q = q * z + 2 / 11
        q = q * z + 2 / 9
        q = q * z + 2 / 7
        q = q * z + 0.4
        q = q * z + 2 / 3
        half = 0.5 * f * f
        return e * HIGH64 + (f - (half - (s * (half + q * z) + (e * LOW64 + lost_above / u))))
    else:
        bits = u.to(tl.int32, bitcast=True)
        k = (bits - HALF_ROOT32) >> 23
        f = (bits - (k << 23)).to(tl.float32, bitcast=True) - 1.0
        e = k.to(tl.float32)
        s = f / (2.0 + f)
        z = s * s
        q = z * (2 / 11) + 2 / 9
        q = q * z + 2 / 7
        q = q * z + 0.4
        q = q * z + 2 / 3
        half = 0.5 * f * f
        return e * HIGH32 + (f - (half - (s * (half + q * z) + (e * LOW32 + lost_above / u))))
