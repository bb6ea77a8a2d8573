"""Random rows whose mean loss has the objective's as its expectation."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.data import Batch


def sampled(batch: Batch, count: int, generator: torch.Generator, n_classes: int | None) -> Batch:
    """``count`` rows or a few more: one at a random place in each of ``count`` equal stretches.

    Rows that are sorted are thereby sampled evenly. Where a class would have less than a quarter of
    an even share, the classes are sampled apart, each evenly (Fithian and Hastie, 2014), and rows
    are weighted by how many they stand for.

    Parameters
    ----------
    batch : Batch
    count : int
        At most ``len(batch)``.
    generator : torch.Generator
        On the CPU, so that the rows do not depend on the device.
    n_classes : int or None
        None for a numeric response, and for targets that are distributions.
    """
    n, y = len(batch), batch.y
    members = _classes(y, n_classes)
    if members is None or min(len(m) for m in members) * 4 * len(members) >= n:
        return batch.rows(stretches(n, count, generator).to(y.device))
    share = count // len(members)
    spare = count - sum(min(len(m), share) for m in members)  # what small classes leave
    large = sum(len(m) for m in members if len(m) > share)
    parts, factors = [], []
    for m in members:
        extra = spare * len(m) // large if len(m) > share else 0
        picked = m[stretches(len(m), min(len(m), share + extra), generator).to(m.device)]
        parts.append(picked)
        factors.append(torch.full_like(picked, len(m), dtype=batch.sample_weight.dtype))
        factors[-1] /= len(picked)
    rows = batch.rows(torch.cat(parts))
    factor = torch.cat(factors) * (len(rows) / n)
    return rows.reweighted(rows.sample_weight * factor)


def nested(
    batch: Batch, sizes: list[int], generator: torch.Generator, n_classes: int | None
) -> list[Batch]:
    """Samples of increasing ``sizes``, each drawn from the next: ``batch`` is read once."""
    found = [batch]
    for size in reversed(sizes):
        found.insert(0, sampled(found[0], size, generator, n_classes))
    return found[:-1]


def stretches(n: int, count: int, generator: torch.Generator) -> Tensor:
    """Distinct indices below ``n``, increasing."""
    if count >= n:
        return torch.arange(n)
    shake = torch.rand(count, generator=generator, dtype=torch.float64)
    return ((torch.arange(count) + shake) * (n / count)).long().clamp_(max=n - 1)


def _classes(y: Tensor, n_classes: int | None) -> list[Tensor] | None:
    """Rows of every class that has any; None if there are none, or only even classes."""
    if n_classes is None or y.ndim != 1:
        return None
    if y.is_floating_point():
        if 0.125 <= float(y.mean()) <= 0.875 or not bool(((y == 0) | (y == 1)).all()):
            return None
    elif int(torch.bincount(y, minlength=n_classes).min()) * 4 * n_classes >= len(y):
        return None
    members = [(y == c).nonzero().squeeze(1) for c in range(n_classes)]
    return [m for m in members if len(m)]
