"""Compiled one-read kernels: value, gradient and eta of the built-in losses in one pass over X.

The pure-torch path reads ``X`` twice and every intermediate of the loss several times. Here the
rows are taken in blocks that stay in cache: scores, losses and slopes, and the gradient of a block
are computed before the next block is read. The kernels are never needed: :func:`available` says
whether these rows can be taken this way, and whoever asks goes on in torch where they cannot.

numba compiles them (the extra ``fast``); it is imported at the first use, not with the package.
What was measured, and why numba, is in ``docs/kernels.md``.
"""

from torchlogreg.kernels.columns import columns, columns_available
from torchlogreg.kernels.doubled import logit_sums, logit_sums_available
from torchlogreg.kernels.grams import (
    column_squares,
    curvature,
    curvature_available,
    gradient_products,
    gram,
    gram_and_right,
    gram_and_totals,
    gram_available,
    squares_available,
    threads_of_fit,
    threads_of_looks,
)
from torchlogreg.kernels.interface import (
    LARGE,
    SMALLEST,
    Sums,
    available,
    compiled,
    evaluate,
    for_parts_of,
)
from torchlogreg.kernels.logits import Arrays, drawn_rows, few_rows, labels_of
from torchlogreg.kernels.preparing import prepare
from torchlogreg.kernels.pulling import pulled, pulled_available
from torchlogreg.kernels.residual import residual_available, residual_sums

__all__ = [
    "LARGE",
    "SMALLEST",
    "Arrays",
    "Sums",
    "available",
    "column_squares",
    "columns",
    "columns_available",
    "compiled",
    "curvature",
    "curvature_available",
    "drawn_rows",
    "evaluate",
    "few_rows",
    "for_parts_of",
    "gradient_products",
    "gram",
    "gram_and_right",
    "gram_and_totals",
    "gram_available",
    "labels_of",
    "logit_sums",
    "logit_sums_available",
    "prepare",
    "pulled",
    "pulled_available",
    "residual_available",
    "residual_sums",
    "squares_available",
    "threads_of_fit",
    "threads_of_looks",
]
