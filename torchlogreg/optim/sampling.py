"""Random rows whose mean loss has the objective's as its expectation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg import distributed
from torchlogreg.data import Batch, taken
from torchlogreg.kernels import drawn_rows, few_rows

SMALL = 2**19
"""Entries of a sample up to which calls cost more than a second thread brings."""

Draw = Callable[[Batch, Tensor], Batch]


def sampled(
    batch: Batch,
    count: int,
    generator: torch.Generator,
    n_classes: int | None,
    draw: Draw = Batch.rows,
) -> Batch:
    """``count`` rows or a few more: one at a random place in each of ``count`` equal stretches.

    Rows that are sorted are thereby sampled evenly. Where a class would have less than a quarter of
    an even share, the classes are sampled apart, each evenly (Fithian and Hastie, 2014), and rows
    are weighted by how many they stand for.

    On several ranks all draw alike, from generators in one state, take what is theirs, and get the
    rows of all.

    Parameters
    ----------
    batch : Batch
    count : int
        At most ``batch.n``.
    generator : torch.Generator
        On the CPU, so that the rows do not depend on the device.
    n_classes : int or None
        None for a numeric response, and for targets that are distributions.
    draw : callable, optional
        Takes rows by their numbers.
    """
    y, part = batch.y, _Part.of(batch, n_classes)
    if part.members is None:
        rows = draw(batch, part.own(stretches(part.n, count, generator), 0).to(y.device))
        return replace(rows, total=count).gathered() if part.n > len(y) else rows
    share = count // len(part.sizes)
    spare = count - sum(min(size, share) for size in part.sizes)  # what small classes leave
    large = sum(size for size in part.sizes if size > share)
    parts, factors = [], []
    for c, (m, size) in enumerate(zip(part.members, part.sizes, strict=True)):
        extra = spare * size // large if size > share else 0
        drawn = stretches(size, min(size, share + extra), generator)
        picked = m[part.own(drawn, c).to(m.device)]
        parts.append(picked)
        factors.append(torch.full_like(picked, size, dtype=batch.sample_weight.dtype))
        factors[-1] /= len(drawn)
    rows = draw(batch, torch.cat(parts))
    n_drawn = int(batch.summed(torch.tensor(len(rows))))
    rows = rows.reweighted(rows.sample_weight * (torch.cat(factors) * (n_drawn / part.n)))
    return replace(rows, total=n_drawn).gathered() if part.n > len(y) else rows


def draw_few(batch: Batch, index: Tensor) -> Batch:
    """Some rows of a binary logit, with what compiled iterations want of them, on one thread."""
    known, few = batch.few, None
    if known is not None or (batch.even and not batch.mapped and batch.X.is_contiguous()):
        few = drawn_rows(batch.X, index, most=SMALL, among=known)
    if few is not None:
        weight = few.ones if batch.even else taken(batch.sample_weight, index)
        offset = None if batch.offset is None else batch.offset[index]
        return Batch(few.X, taken(batch.y, index), weight, offset, few=few, ones=few.ones)
    rows = batch.rows(index)
    if not float(rows.sample_weight.amin()) > 0:
        return rows
    few = few_rows(rows.X, most=SMALL)
    return rows if few is None else replace(rows, few=few)


def nested(
    batch: Batch,
    sizes: list[int],
    generator: torch.Generator,
    n_classes: int | None,
    draw: Draw = Batch.rows,
) -> list[Batch]:
    """Samples of increasing ``sizes``, each drawn from the next: ``batch`` is read once."""
    found = [batch]
    for size in reversed(sizes):
        found.insert(0, sampled(found[0], size, generator, n_classes, draw))
    return found[:-1]


def stretches(n: int, count: int, generator: torch.Generator) -> Tensor:
    """Distinct indices below ``n``, increasing."""
    if count >= n:
        return torch.arange(n)
    shake = torch.rand(count, generator=generator, dtype=torch.float64)
    return shake.add_(torch.arange(count)).mul_(n / count).long().clamp_(max=n - 1)


def heavy_tailed(X: Tensor) -> bool:
    """Whether a few rows hold most squares of most columns: no sample then knows their variances.

    Of 1024 rows, the number that would hold as many squares if all were alike, ``(sum x^2)^2 /
    sum x^4`` of the middle column: a third for normal ones, a fifth where half of them are dummies,
    a twenty-fifth for Student's t with 2.5 degrees of freedom, and a tenth is too few. So it is
    where most columns are dummies of rare levels: they may be sampled, but need not.
    """
    index = stretches(len(X), 1024, torch.Generator().manual_seed(0)).to(X.device)
    few = X.index_select(0, index).double()
    squares = (few - few.mean(0)).square()
    alike = squares.sum(0).square() / squares.square().sum(0)
    return bool(alike.nanmedian() < 0.1 * len(few))


@dataclass(frozen=True, slots=True)
class _Part:
    """What this rank has of all rows: ``starts`` and ``sizes`` by class, or of all rows alone."""

    n: int
    starts: list[int]
    lengths: list[int]
    sizes: list[int]
    members: list[Tensor] | None  # of every class that any rank has

    @classmethod
    def of(cls, batch: Batch, n_classes: int | None) -> _Part:
        """One look at ``y``, on several ranks."""
        y, members = batch.y, None
        if n_classes is not None and y.ndim == 1:
            everywhere = _by_rank(batch, _sizes(y, n_classes)).sum(0)
            if int(everywhere.min()) * 4 * n_classes < batch.n and _are_hard(batch):
                kept = everywhere.nonzero().squeeze(1).tolist()
                members = [(y == c).nonzero().squeeze(1) for c in kept]
        lengths = [len(y)] if members is None else [len(m) for m in members]
        if batch.total is None:
            return cls(batch.n, [0] * len(lengths), lengths, lengths, members)
        table = _by_rank(batch, torch.tensor(lengths))
        starts = table[: distributed.rank()].sum(0)
        return cls(batch.n, starts.tolist(), lengths, table.sum(0).tolist(), members)

    def own(self, index: Tensor, c: int) -> Tensor:
        """Of numbers among the rows of class ``c`` on all ranks, those of this one, from 0."""
        if self.lengths[c] == self.sizes[c]:
            return index
        index = index - self.starts[c]
        return index[(index >= 0) & (index < self.lengths[c])]


def _by_rank(batch: Batch, counts: Tensor) -> Tensor:
    """Counts (m,) of every rank, (ranks, m)."""
    return counts[None] if batch.total is None else distributed.all_rows(counts[None])


def _sizes(y: Tensor, n_classes: int) -> Tensor:
    """Rows of every class (n_classes,), or what shares add up to."""
    if not y.is_floating_point():
        return torch.bincount(y, minlength=n_classes).cpu()
    ones = y.sum().round().long().cpu()
    return torch.stack((len(y) - ones, ones))


def _are_hard(batch: Batch) -> bool:
    """Whether targets are classes, not shares of them."""
    y = batch.y
    if not y.is_floating_point():
        return True
    return bool(batch.least(((y == 0) | (y == 1)).all().int()))
