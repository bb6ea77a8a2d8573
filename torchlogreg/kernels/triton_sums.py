"""What calls the Triton kernels: how the rows are cut, and whether they can be taken this way.

The tiles follow from the number of columns and the size of a number alone, and the programs from
the number of rows: the same rows give the same sums on every device of a kind. The rule, and what
nobody has measured, is in ``docs/kernels.md``.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

KINDS = ("binary", "squared")
DEVICES = ("cuda",)
SMALLEST = 2**24
"""Entries of ``X`` from which on Triton is used: a pass over fewer takes microseconds anyway."""

WARPS = 4
TILE_BYTES = 2**14  # 32 registers a thread for the entries of X: nothing spills (docs/kernels.md)
WIDEST = 2**12  # bytes of a row that is read once
TALLEST = 256
PROGRAMS = 2**12
FEWEST_ROWS = 128  # of a program: its sums are then a thirtieth of what it reads


class Plan(NamedTuple):
    """How ``X`` is cut: tiles of ``rows`` by ``columns``, ``tiles`` for each of ``programs``."""

    rows: int
    columns: int
    tiles: int
    programs: int


def plan(n: int, p: int, itemsize: int) -> Plan:
    """The cut of ``X`` (n, p) by the rule of ``docs/kernels.md``.

    Parameters
    ----------
    n, p : int
        ``>= 1``.
    itemsize : int
        Bytes of a number.
    """
    columns = 1 << (p - 1).bit_length()  # Triton's tiles have powers of two
    rows = 32
    if columns * itemsize <= WIDEST:
        rows = min(TALLEST, TILE_BYTES // (columns * itemsize))
    else:
        columns = TILE_BYTES // (rows * itemsize)
    tiles = max(-(-FEWEST_ROWS // rows), -(-n // (rows * PROGRAMS)))
    return Plan(rows, columns, tiles, -(-n // (rows * tiles)))


def available(X: Tensor) -> bool:
    """Whether :func:`evaluate` takes this matrix: on a CUDA device, row-major, large enough.

    Parameters
    ----------
    X : Tensor, shape (n, p)

    Warns
    -----
    RuntimeWarning
        Once, where Triton is installed and fails, for want of a C compiler say: torch goes on.
    """
    return (
        X.device.type in DEVICES
        and X.numel() >= max(1, SMALLEST)
        and X.ndim == 2
        and X.is_contiguous()
        and os.environ.get("TORCHLOGREG_KERNELS") != "off"
        and _works(X.device)
    )


def evaluate(
    kind: str,
    X: Tensor,
    y: Tensor,
    sample_weight: Tensor,
    weight: Tensor,
    intercepts: Tensor,
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The fields of :class:`torchlogreg.kernels.interface.Sums`; does not wait for the device.

    Parameters
    ----------
    kind : str
        In ``KINDS``.
    X : Tensor, shape (n, p)
        One for which :func:`available` holds.
    y, sample_weight : Tensor, shape (n,)
        Of the dtype of ``X``, as all others are.
    weight : Tensor, shape (1, p)
    intercepts : Tensor, shape (1,)
    offset : Tensor, shape (n,) or (n, 1), optional
    """
    from torchlogreg.kernels.triton_rows import one_read, two_reads

    n, p = X.shape
    cut = plan(n, p, X.element_size())
    eta, losses = X.new_empty(n, 1), X.new_empty(n)
    sums = X.new_zeros(cut.programs, 2 + p, dtype=torch.float64)
    kernel = one_read if cut.columns >= p else two_reads
    rows = [t.detach().contiguous() for t in (y, sample_weight, y if offset is None else offset)]
    with torch.cuda.device(X.get_device()):  # Triton launches on the current one; -1 is the CPU
        kernel[(cut.programs,)](
            X, *rows, weight.detach().contiguous(), intercepts.detach(), eta, losses, sums,
            n, p, cut.tiles,
            BINARY=kind == "binary", SHIFTED=offset is not None, ALIGNED=math.gcd(p, 4),
            ROWS=cut.rows, COLUMNS=cut.columns, num_warps=WARPS,
        )  # fmt: skip
    total = sums.sum(0).to(X.dtype)
    return total[0], total[2:].unsqueeze(0), total[1:2], eta, losses


@functools.cache
def _works(device: torch.device) -> bool:
    """Whether Triton is there and compiles; tried once, on two rows."""
    if importlib.util.find_spec("triton") is None:
        return False
    ones = torch.ones(2, 1, device=device)
    row = ones[:, 0]
    try:
        evaluate("squared", ones, row, row, ones[:1], row[:1])
    except Exception as error:  # whatever a compiler, a linker or a driver may raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        warnings.warn(
            f"the CUDA kernels are not used, because Triton fails here: {reason[0]}; fits go on in "
            "torch, and TORCHLOGREG_KERNELS=off silences this",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
