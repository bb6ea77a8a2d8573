"""The losses in 60-digit arithmetic: what float64 must reproduce to its last digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mpmath import mp, mpf  # a dependency of torch, by way of sympy

INF = float("inf")


def binary(eta: float, y: float) -> mpf:
    """``-y log p - (1 - y) log(1 - p)``."""
    with mp.workdps(60):
        return y * mp.log1p(mp.exp(-mpf(eta))) + (1 - mpf(y)) * mp.log1p(mp.exp(mpf(eta)))


def categorical(eta: Sequence[float], y: int) -> mpf:
    """``log sum_j exp(eta_j - eta_y)``; the term of ``y`` itself is the 1 of log1p."""
    with mp.workdps(60):
        others = (mp.exp(mpf(e) - mpf(eta[y])) for j, e in enumerate(eta) if j != y)
        return mp.log1p(mp.fsum(others))


def cumulative(link: str, lower: float, upper: float) -> mpf:
    """``-log(F(upper) - F(lower))``, from whichever tail does not cancel."""
    with mp.workdps(60):
        below, above = LINKS[link]
        outside = below(mpf(lower)) + above(mpf(upper))
        if outside < 0.5:
            return -mp.log1p(-outside)
        if below(mpf(upper)) < 0.5:
            return -mp.log(below(mpf(upper)) - below(mpf(lower)))
        return -mp.log(above(mpf(lower)) - above(mpf(upper)))


def _logit(t: mpf) -> mpf:
    return 1 / (1 + mp.exp(-t))


def _probit(t: mpf) -> mpf:
    return mp.erfc(-t / mp.sqrt(2)) / 2


Tail = Callable[[mpf], mpf]

LINKS: dict[str, tuple[Tail, Tail]] = {  # F and 1 - F
    "logit": (_logit, lambda t: _logit(-t)),
    "probit": (_probit, lambda t: _probit(-t)),
    "cloglog": (lambda t: -mp.expm1(-mp.exp(t)), lambda t: mp.exp(-mp.exp(t))),
}
