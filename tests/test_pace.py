"""Pace: what hooks write when, under a clock that the test turns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from torchlogreg.hooks import pace
from torchlogreg.hooks.pace import BLINK, BRIEF, PATIENCE, Budget, Hope, Offer, next_dense, spread


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A clock that stands still unless it is told otherwise."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    yield clock


def offers(ranks: list[float], cost: float = 1.0) -> list[Offer]:
    """One an epoch."""
    return [Offer(rank, cost, epoch, lambda: None) for epoch, rank in enumerate(ranks)]


def test_a_body_within_a_body_is_charged_once(clock: SimpleNamespace) -> None:
    budget = Budget(0.5)
    with budget:
        clock.now += 1
        with budget:
            clock.now += 2
    clock.now += 4
    assert budget.spent == 3.0


def test_time_is_charged_when_the_body_fails(clock: SimpleNamespace) -> None:
    budget = Budget(0.5)
    with pytest.raises(ZeroDivisionError), budget:
        clock.now += 1
        raise ZeroDivisionError
    assert budget.spent == 1.0


@pytest.mark.parametrize("share", [0.01, 0.04, 0.5])
def test_the_end_of_a_fit_is_written_by_rank_within_the_share(
    clock: SimpleNamespace, share: float
) -> None:
    budget, ranks = Budget(share), [3.0, 1.0, -1.0, 0.0, 2.0]
    for seconds in (0.9, 1.1, 2.1, 4.9, 5.1, 100.0):
        clock.now = seconds / share  # so many offers of a second are affordable
        chosen = budget.choose(offers(ranks))
        assert [offer.epoch for offer in chosen] == sorted(offer.epoch for offer in chosen)
        best = sorted(ranks)[: max(1, min(5, int(seconds)))]  # what is promised comes first, always
        assert sorted(offer.rank for offer in chosen) == best


def test_all_is_written_without_a_limit_or_in_a_blink(clock: SimpleNamespace) -> None:
    ranks = [3.0, 1.0, 2.0]
    assert len(Budget(None).choose(offers(ranks))) == 3
    budget = Budget(1e-9)
    clock.now = 0.9 * BLINK
    assert len(budget.choose(offers(ranks))) == 3
    # A thousand epochs may be as quick on a fast machine, and pictures would take longer than they.
    assert not budget.choose([Offer(1.0, 1.0, BRIEF + 1, lambda: None)])
    clock.now = 1.1 * BLINK
    assert not budget.choose(offers(ranks))


@pytest.mark.parametrize("n", [0, 1, 2, 7, 9, 100])
def test_the_first_of_a_spread_lie_far_apart(n: int) -> None:
    turns = spread(n)
    assert len(set(turns)) == n and all(0 < turn < 1 for turn in turns)
    order = np.argsort(turns)
    for m in (1, 3, 7):  # each new one halves the largest gap: none is larger than two parts
        if n >= m:
            edges = np.sort(np.concatenate(([-1], order[:m], [n])))
            assert np.diff(edges).max() <= max(2, 1.1 * 2 ** -np.floor(np.log2(m + 1)) * 2 * n)


def test_pictures_wait_half_a_second_and_for_time_for_the_last_ones(clock: SimpleNamespace) -> None:
    budget = Budget(0.1)
    budget.hopes |= {"a": Hope(3, 0.01), "b": Hope(0, 0.02)}
    assert budget.hoped == pytest.approx(4 * 0.01 + 0.02)
    clock.now = 0.9 * PATIENCE
    assert not budget.affords_now(0.0)
    clock.now = 1.01 * PATIENCE  # 0.0505 seconds are there, 0.03 are kept for the last ones
    assert budget.affords_now(0.02) and not budget.affords_now(0.021)
    assert not budget.affords_more()
    clock.now = 0.61
    assert budget.affords_more()
    assert Budget(None).affords_now(1e9)


def test_what_tells_less_waits_for_what_tells_more(clock: SimpleNamespace) -> None:
    # Scores once filled the page while boundaries waited.
    budget = Budget(0.1)
    budget.hopes |= {"boundary": Hope(3, 0.01, 0.0), "scores": Hope(5, 0.02, 2.0)}
    clock.now = 0.01 / 0.1 + 0.03 / 0.1 + PATIENCE  # for both last ones and two more, not for four
    assert budget.affords_now(0.01, 0.0) and not budget.affords_now(0.04, 2.0)
    clock.now = (0.03 + 0.03 + 0.02) / 0.1 + 1e-9
    assert budget.affords_now(0.02, 2.0)


def test_who_has_no_time_asks_again_when_there_may_be_some(clock: SimpleNamespace) -> None:
    budget = Budget(0.1)
    clock.now = 1.0
    for epoch, cost in itertools.product((1, 10, 1000, 10**6), (0.0, 0.09, 0.11, 0.2, 50.0)):
        asked = budget.ask_again(epoch, cost)
        assert epoch < asked <= next_dense(epoch)
        if cost < 0.1:
            assert asked == epoch + 1
        elif asked < next_dense(epoch):  # by then there is time, if epochs stay as fast
            assert 0.1 * clock.now * (asked / epoch) >= cost
    assert Budget(None).ask_again(7, 1e9) == 8


def test_who_waits_for_the_first_half_second_sleeps_until_then(clock: SimpleNamespace) -> None:
    # Boundaries that were affordable but too early once asked after every epoch.
    budget, looks = Budget(0.1), 0
    wake = 1
    for epoch in range(1, 1001):
        clock.now = epoch * 0.9 * PATIENCE / 1000
        if epoch >= wake:
            looks += 1
            assert not budget.affords_now(0.0)
            wake = budget.ask_for_now(epoch, 0.0)
    assert looks < 20
