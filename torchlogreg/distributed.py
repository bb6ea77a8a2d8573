"""One fit on several processes: each has its own rows, and sums over rows are sums over ranks.

The engine is ``torch.distributed`` (gloo on CPUs, NCCL on GPUs), and ``torchrun`` starts the
processes. Nothing here acts before :func:`init`: a fit inside somebody's own distributed job, such
as a probe on rank 0 of a training, stays on its process. After it every rank calls ``fit`` with its
own rows and ends with the same parameters, bit for bit, for all ranks get the same bits from a sum.

    torchrun --nproc-per-node 4 scripts/train.py --data rows.parquet --target y
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = 300.0
"""Seconds that a rank waits for the others before it gives them up."""

_JOINED: ContextVar[bool] = ContextVar("joined", default=False)


class LostRankError(ConnectionError):
    """Another process of the job ended, could not be reached, or failed."""


def init(*, timeout: float = TIMEOUT) -> int:
    """Join the processes that ``torchrun`` started; returns the rank.

    Without ``torchrun`` (no ``WORLD_SIZE`` in the environment) there is one process, and nothing
    happens. Call it once, before the first fit, in the thread that fits; :func:`joined` also leaves
    at the end.

    Parameters
    ----------
    timeout : float
        Seconds, ``> 0``, that a sum waits for the slowest rank: longer than the slowest one needs
        to read its rows.

    Raises
    ------
    ValueError
        If ``timeout`` is not positive.
    LostRankError
        If not all ranks come within the timeout.
    """
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout}, but it is a number of seconds above 0")
    if not dist.is_available() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0
    if not dist.is_initialized():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        cuda = torch.cuda.is_available() and torch.cuda.device_count() > local
        if cuda:
            torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        try:
            from torch.distributed.distributed_c10d import PrefixStore
            from torch.distributed.rendezvous import rendezvous

            wait = timedelta(seconds=timeout)
            store, number, ranks = next(rendezvous("env://", timeout=wait))
            # After a restart on one machine torchrun's store still has the addresses of the dead.
            alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if alone else "0"
            store = PrefixStore(f"torchlogreg {attempt}", store)
            dist.init_process_group(
                backend, timeout=wait, store=store, rank=number, world_size=ranks
            )
        except (RuntimeError, ValueError) as error:
            raise LostRankError(f"not all ranks could be reached: {_line(error)}") from None
    _JOINED.set(True)
    return rank()


@contextmanager
def joined(*, timeout: float = TIMEOUT) -> Iterator[int]:
    """:func:`init` for the length of a block; yields the rank.

    After an error nothing is waited for: the process is to end, which tells the others.
    """
    number = init(timeout=timeout)
    try:
        yield number
        if world_size() > 1:
            barrier()  # nobody leaves while another still needs its sums
            dist.destroy_process_group()
    finally:
        _JOINED.set(False)


def world_size() -> int:
    """Number of processes that share the rows; 1 without :func:`init`."""
    return dist.get_world_size() if _JOINED.get() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def all_sum(values: Tensor) -> Tensor:
    """Sum over the ranks, the same bits on each; ``values`` itself on one process.

    Raises
    ------
    LostRankError
        If a rank is gone or does not answer within the timeout of :func:`init`.
    """
    return _reduced(values, dist.ReduceOp.SUM) if world_size() > 1 else values


def all_min(values: Tensor) -> Tensor:
    """Entry by entry the least over the ranks; ``values`` itself on one process.

    Raises
    ------
    LostRankError
        As in :func:`all_sum`.
    """
    return _reduced(values, dist.ReduceOp.MIN) if world_size() > 1 else values


def all_max(values: Tensor) -> Tensor:
    """Entry by entry the largest over the ranks; ``values`` itself on one process."""
    return _reduced(values, dist.ReduceOp.MAX) if world_size() > 1 else values


def all_rows(values: Tensor) -> Tensor:
    """The rows of all ranks (n, ...), in their order; ``values`` itself on one process.

    The number of rows may differ from rank to rank.
    """
    if world_size() == 1:
        return values
    lengths = torch.zeros(world_size(), dtype=torch.int64, device=values.device)
    lengths[rank()] = len(values)
    counts = all_sum(lengths).tolist()
    padded = values.new_zeros(max(counts), *values.shape[1:])
    padded[: len(values)] = values
    found = [torch.empty_like(padded) for _ in counts]
    with _answers():
        dist.all_gather(found, padded)
    return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)])


def count(n: int, device: torch.device | None = None) -> int:
    """Sum of a whole number over the ranks."""
    return int(all_sum(torch.tensor([n], device=device))) if world_size() > 1 else n


def from_first(text: str) -> str:
    """The text that rank 0 came with."""
    own = torch.tensor(list(text.encode()) if rank() == 0 else [], dtype=torch.uint8)
    return bytes(all_rows(own).tolist()).decode()


@torch.no_grad()
def alike(params: Iterable[Tensor]) -> None:
    """Give every rank the values of rank 0, in place."""
    if world_size() > 1:
        for p in params:
            p.copy_(all_sum(p if rank() == 0 else torch.zeros_like(p)))


def shard(n: int) -> slice:
    """Which of ``n`` rows are this rank's: consecutive ones, as many as the others' to one."""
    ranks, number = world_size(), rank()
    return slice(n * number // ranks, n * (number + 1) // ranks)


def barrier() -> None:
    """Wait until all ranks have come here."""
    if world_size() > 1:
        all_sum(torch.zeros(1))


@contextmanager
def together(what: str) -> Iterator[None]:
    """A block without sums that all ranks pass, or none: an error on one of them is known to all.

    Parameters
    ----------
    what : str
        What is being done, for the message.

    Raises
    ------
    Exception
        The rank's own, where it failed.
    LostRankError
        On the others, naming it.
    """
    if world_size() == 1:
        yield
        return
    failed = torch.zeros(world_size(), dtype=torch.int64)
    try:
        yield
    except Exception:
        failed[rank()] = 1
        all_sum(failed)
        raise
    wrong = [str(i) for i, bad in enumerate(all_sum(failed).tolist()) if bad]
    if wrong:
        raise LostRankError(
            f"rank {', '.join(wrong)} failed {what}, so rank {rank()} stops too; the message of "
            "that rank says why"
        )


def _reduced(values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    found = values.detach().clone(memory_format=torch.contiguous_format)
    with _answers():
        dist.all_reduce(found, op=operation)
    return found


@contextmanager
def _answers() -> Iterator[None]:
    """What torch says when a rank does not answer, in one line."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(
            f"rank {rank()} lost touch with the other ranks ({_line(error)}); look for the first "
            "one that failed; torchrun --max-restarts starts them again"
        ) from error


def _line(error: BaseException) -> str:
    """The first line of a message of torch."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
