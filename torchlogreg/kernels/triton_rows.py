"""Triton kernels: value, slopes, gradient and eta of a range of rows, one program a range.

A program has its own sums and writes them once; nothing is added by two programs, so that the
result is the same, to the last bit, at every call. Products of a tile are summed in the dtype of
``X``, as a tree; tiles and losses are summed in float64.
"""

from typing import Any

import triton
import triton.language as tl

from torchlogreg.kernels.triton_elementary import exp_negative, log1p_positive


@triton.jit
def row_loss(eta: "Any", y: "Any", BINARY: tl.constexpr) -> "Any":
    """Losses and their derivatives by ``eta``, as in :mod:`torchlogreg.kernels.rowwise`."""
    if BINARY:
        small = exp_negative(-tl.abs(eta))
        tail = log1p_positive(small)
        big = 1.0 / (1.0 + small)
        positive = eta > 0
        if_one = tl.where(positive, 0.0, -eta) + tail
        if_zero = tl.where(positive, eta, 0.0) + tail
        p = tl.where(positive, big, small * big)
        q = tl.where(positive, small * big, big)
        return y * if_one + (1.0 - y) * if_zero, (1.0 - y) * p - y * q
    else:
        residual = eta - y
        return residual * residual, residual + residual


@triton.jit
def finish_rows(
    scores: "Any",
    lines: "Any",
    rows: "Any",
    there: "Any",
    y: "Any",
    sample_weight: "Any",
    offset: "Any",
    intercept: "Any",
    eta: "Any",
    losses: "Any",
    BINARY: tl.constexpr,
    SHIFTED: tl.constexpr,
) -> "Any":
    """Write eta and losses of some rows; their weighted losses and weighted slopes.

    A sum over columns lies in every thread that took part in it. ``gather`` hands each row to one
    thread, and back below: without it the compiler has all 32 threads of a warp repeat the
    arithmetic of each row, four times as many instructions as now, and spills registers.
    """
    at = tl.gather(scores, lines, 0) + tl.load(intercept)
    if SHIFTED:
        at += tl.load(offset + rows, mask=there, other=0.0)
    target = tl.load(y + rows, mask=there, other=0.0)
    importance = tl.load(sample_weight + rows, mask=there, other=0.0)
    loss, slope = row_loss(at, target, BINARY)
    tl.store(eta + rows, at, mask=there)
    tl.store(losses + rows, loss, mask=there)
    # the rows below the last one are made up: not even their NaN may count
    return tl.where(there, importance * loss, 0.0), tl.where(there, importance * slope, 0.0)


@triton.jit(do_not_specialize=["n", "tiles"])
def one_read(
    X: "Any",
    y: "Any",
    sample_weight: "Any",
    offset: "Any",
    weight: "Any",
    intercept: "Any",
    eta: "Any",
    losses: "Any",
    sums: "Any",
    n: "Any",
    p: "Any",
    tiles: "Any",
    BINARY: tl.constexpr,
    SHIFTED: tl.constexpr,
    ALIGNED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """All columns at once, ``p <= COLUMNS``: a tile of ``X`` is read once and stays in registers.

    ``sums`` (programs, 2 + p), float64, holds value, derivative by the intercept and by the weight.
    """
    p = p // ALIGNED * ALIGNED  # unchanged, but the compiler now loads so many entries at a time
    columns, lines = tl.arange(0, COLUMNS), tl.arange(0, ROWS)
    inside = columns < p
    w = tl.load(weight + columns, mask=inside, other=0.0)
    value, by_intercept = tl.zeros((ROWS,), tl.float64), tl.zeros((ROWS,), tl.float64)
    by_weight = tl.zeros((COLUMNS,), tl.float64)
    first = tl.program_id(0).to(tl.int64) * tiles * ROWS
    for tile in range(tiles):
        rows = first + tile * ROWS + lines
        there = rows < n
        x = tl.load(
            X + rows[:, None] * p + columns[None, :],
            mask=there[:, None] & inside[None, :],
            other=0.0,
        )
        scores = tl.sum(x * w[None, :], 1)
        loss, slope = finish_rows(
            scores, lines, rows, there, y, sample_weight, offset, intercept, eta, losses,
            BINARY, SHIFTED,
        )  # fmt: skip
        value += loss.to(tl.float64)
        by_intercept += slope.to(tl.float64)
        by_weight += tl.sum(x * tl.gather(slope, lines, 0)[:, None], 0).to(tl.float64)
    out = sums + tl.program_id(0).to(tl.int64) * (2 + p)
    tl.store(out, tl.sum(value, 0))
    tl.store(out + 1, tl.sum(by_intercept, 0))
    tl.store(out + 2 + columns, by_weight, mask=inside)


@triton.jit(do_not_specialize=["n", "tiles"])
def two_reads(
    X: "Any",
    y: "Any",
    sample_weight: "Any",
    offset: "Any",
    weight: "Any",
    intercept: "Any",
    eta: "Any",
    losses: "Any",
    sums: "Any",
    n: "Any",
    p: "Any",
    tiles: "Any",
    BINARY: tl.constexpr,
    SHIFTED: tl.constexpr,
    ALIGNED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """More columns than registers: each tile of rows is read twice, column tile by column tile.

    The second read finds in the cache what that still holds. ``sums``, as above, starts at zero.
    """
    p = p // ALIGNED * ALIGNED
    columns, lines = tl.arange(0, COLUMNS), tl.arange(0, ROWS)
    value, by_intercept = tl.zeros((ROWS,), tl.float64), tl.zeros((ROWS,), tl.float64)
    out = sums + tl.program_id(0).to(tl.int64) * (2 + p)
    first = tl.program_id(0).to(tl.int64) * tiles * ROWS
    for tile in range(tiles):
        rows = first + tile * ROWS + lines
        there = rows < n
        corner = X + rows[:, None] * p + columns[None, :]
        scores = tl.zeros((ROWS,), X.dtype.element_ty)
        for start in range(0, p, COLUMNS):
            inside = start + columns < p
            x = tl.load(corner + start, mask=there[:, None] & inside[None, :], other=0.0)
            w = tl.load(weight + start + columns, mask=inside, other=0.0)
            scores += tl.sum(x * w[None, :], 1)
        loss, slope = finish_rows(
            scores, lines, rows, there, y, sample_weight, offset, intercept, eta, losses,
            BINARY, SHIFTED,
        )  # fmt: skip
        value += loss.to(tl.float64)
        by_intercept += slope.to(tl.float64)
        slope = tl.gather(slope, lines, 0)
        for start in range(0, p, COLUMNS):
            inside = start + columns < p
            x = tl.load(corner + start, mask=there[:, None] & inside[None, :], other=0.0)
            goal = out + 2 + start + columns
            so_far = tl.load(goal, mask=inside, other=0.0)
            part = tl.sum(x * slope[:, None], 0).to(tl.float64)
            tl.store(goal, so_far + part, mask=inside)
        tl.debug_barrier()  # the next tile's threads may hold other columns
    tl.store(out, tl.sum(value, 0))
    tl.store(out + 1, tl.sum(by_intercept, 0))
