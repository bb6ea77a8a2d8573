"""Triton kernels that show what the pieces of the package's kernels do, number by number."""

import triton
import triton.language as tl

from torchlogreg.kernels.triton_elementary import exp_negative, log1p_positive
from torchlogreg.kernels.triton_rows import row_loss


@triton.jit
def elementary(x, z, e, l1, n, SIZE: tl.constexpr):
    """Both elementary functions."""
    i = tl.arange(0, SIZE)
    there = i < n
    tl.store(e + i, exp_negative(tl.load(x + i, mask=there, other=0.0)), mask=there)
    tl.store(l1 + i, log1p_positive(tl.load(z + i, mask=there, other=0.0)), mask=there)


@triton.jit
def each_row(eta, y, loss, slope, n, BINARY: tl.constexpr, SIZE: tl.constexpr):
    """Losses and slopes."""
    i = tl.arange(0, SIZE)
    there = i < n
    at, target = tl.load(eta + i, mask=there, other=0.0), tl.load(y + i, mask=there, other=0.0)
    of_loss, of_slope = row_loss(at, target, BINARY)
    tl.store(loss + i, of_loss, mask=there)
    tl.store(slope + i, of_slope, mask=there)
