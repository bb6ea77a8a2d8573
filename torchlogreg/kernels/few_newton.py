"""A Newton iteration of the binary logit on few rows, compiled as a whole.

Looks are those of :mod:`torchlogreg.kernels.few_logits`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, inner
from torchlogreg.kernels.few_logits import bent, look, look_from_zero

EPS = 2.0**-52


@inner
def factorised(matrix: Any, lower: Any) -> float:
    """Cholesky factor into ``lower``; the smallest squared pivot as a share of its diagonal entry,
    0 where there is none."""
    size, least = matrix.shape[0], 1.0
    lower[:] = 0.0
    for i in range(size):
        for j in range(i + 1):
            found = matrix[i, j]
            for k in range(j):
                found -= lower[i, k] * lower[j, k]
            if j < i:
                lower[i, j] = found / lower[j, j]
            elif found > 0.0:
                lower[i, i] = math.sqrt(found)
                least = min(least, found / matrix[i, i])
            else:
                return 0.0
    return least


@inner
def solved(lower: Any, vector: Any, out: Any) -> None:
    """Minus the solution of ``lower lower' x = vector``."""
    size = lower.shape[0]
    for i in range(size):
        found = -vector[i]
        for k in range(i):
            found -= lower[i, k] * out[k]
        out[i] = found / lower[i, i]
    for i in range(size - 1, -1, -1):
        out[i] /= lower[i, i]
        for k in range(i):
            out[k] -= lower[i, k] * out[i]


@inner
def is_zero(vector: Any) -> bool:
    """Whether all entries are."""
    others = 0
    for j in range(vector.shape[0]):
        others += vector[j] != 0.0
    return others == 0


@inner
def bend_at(design: Any, share: Any, strength: Any, gram: Any, start: Any, matrix: Any) -> None:
    """Hessian at a look; from the Gram matrix where all probabilities are one half, all weights
    even."""
    n, size = design.shape[0], strength.shape[0]
    if not gram.shape[0] or not is_zero(start[4 * n : 4 * n + size]):
        bent(design, share, strength, start[n : 2 * n], matrix)
        return
    for j in range(size):
        for k in range(size):
            matrix[j, k] = gram[j, k] * (0.25 * share[0])
        matrix[j, j] += strength[j]


@inner
def inner_product(a: Any, b: Any) -> float:
    """Of short vectors: no library, whose threads would wake."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@inner
def better_length(ahead: float, slope: float, off: float, longest: float) -> float:
    """Where the slope along a whole step vanishes, from that at its ends; 0 where the end will do.

    As :func:`torchlogreg.optim.line_search.stretched`.
    """
    rise = ahead - slope
    if not (abs(ahead) > off * -slope and rise > 0.0):
        return 0.0
    return min(1.0 + ahead / rise * (slope / rise), longest)


@inner
def stepped(
    design: Any,
    sign: Any,
    share: Any,
    known: Any,
    strength: Any,
    start: Any,
    rules: Any,
    ends: Any,
    lower: Any,
    facts: Any,
) -> Any:
    """Newton's own step: 2 and 3 of :func:`_iterate`, whose arguments and results these are."""
    size, first, second, last = strength.shape[0], ends[0], ends[1], start.shape[0] - 1
    theta, at = start[last - 2 * size : last - size], slice(last - 2 * size, last - size)
    gradient, ahead = start[last - size : last], first[last - size : last]
    direction, length, value = np.empty(size), rules[1], start[last]
    solved(lower, gradient, direction)
    facts[1] = facts[3] = facts[4] = slope = inner_product(gradient, direction)
    if not slope < 0.0:
        return -1, 0
    first[at] = theta + length * direction
    look(design, sign, share, known, strength, first)  # 2
    if not first[last] - (value + rules[2] * abs(value)) <= 1e-4 * length * slope:
        return -1, 1
    if not (length == 1.0 and -slope > rules[3] * abs(value)):
        return 0, 1
    length = better_length(inner_product(ahead, direction), slope, rules[4], rules[5])  # 3
    if length == 0.0:
        return 0, 1
    second[at] = theta + length * direction
    look(design, sign, share, known, strength, second)
    return (1 if second[last] < first[last] else 0), 2


@inner
def learnt(before: Any, now: Any, steps: Any, changes: Any, products: Any, n_pairs: int) -> int:
    """How many pairs there are with that of two looks, which is none if it has no curvature."""
    size, last = steps.shape[1], before.shape[0] - 1
    step, change = steps[n_pairs], changes[n_pairs]
    for j in range(size):
        step[j] = now[last - 2 * size + j] - before[last - 2 * size + j]
        change[j] = now[last - size + j] - before[last - size + j]
    product = inner_product(step, change)
    products[n_pairs] = product
    lengths = inner_product(step, step) * inner_product(change, change)
    return n_pairs + (1 if product > EPS * math.sqrt(lengths) else 0)


@inner
def towards(lower: Any, gradient: Any, steps: Any, changes: Any, products: Any, out: Any) -> None:
    """The direction of BFGS about the factor, by the two-loop recursion."""
    left, shares, n_pairs = gradient.copy(), np.empty(products.shape[0]), products.shape[0]
    for k in range(n_pairs - 1, -1, -1):
        shares[k] = inner_product(steps[k], left) / products[k]
        for j in range(left.shape[0]):
            left[j] -= shares[k] * changes[k, j]
    solved(lower, left, out)
    for k in range(n_pairs):
        more = shares[k] + inner_product(changes[k], out) / products[k]
        for j in range(left.shape[0]):
            out[j] -= more * steps[k, j]


@inner
def corrected(
    design: Any,
    sign: Any,
    share: Any,
    known: Any,
    strength: Any,
    start: Any,
    rules: Any,
    ends: Any,
    lower: Any,
    facts: Any,
    which: int,
) -> Any:
    """Corrections: 4 of :func:`_iterate`; which look is the end, and how many there were."""
    size, most, last = strength.shape[0], int(rules[6]), start.shape[0] - 1
    at, bent_by = slice(last - 2 * size, last - size), slice(last - size, last)
    steps, changes = np.empty((most + 1, size)), np.empty((most + 1, size))
    products = np.empty(most + 1)
    before, here, free, n_pairs, direction = 2, which, 1 - which, 0, np.empty(size)
    for made in range(most + 1):
        now, trial = ends[here], ends[free]
        n_pairs = learnt(ends[before] if made else start, now, steps, changes, products, n_pairs)
        gradient = now[bent_by]
        towards(lower, gradient, steps[:n_pairs], changes, products[:n_pairs], direction)
        slope = inner_product(gradient, direction)
        facts[4] = slope
        if made == most or not -slope > rules[7] * abs(now[last]):
            return here, made
        trial[at] = now[at] + direction
        look(design, sign, share, known, strength, trial)
        if not trial[last] - (now[last] + rules[2] * abs(now[last])) <= 1e-4 * slope:
            return here, made + 1
        facts[3], before, here, free = slope, here, free, before
    return here, most  # not come to


@inner
def begun(
    design: Any,
    sign: Any,
    share: Any,
    known: Any,
    strength: Any,
    start: Any,
    rare: float,
) -> int:
    """A look at ``start``; from zero, where a class is rare, at the log-odds of its share. How many
    looks: see :mod:`torchlogreg.optim.intercept`."""
    n, size, last = design.shape[0], strength.shape[0], start.shape[0] - 1
    if known.shape[0] or not is_zero(start[4 * n : 4 * n + size]):
        look(design, sign, share, known, strength, start)
        return 1
    look_from_zero(design, sign, share, strength, start)
    part = 0.5 - start[last - 1]
    if not 0.5 / n < min(part, 1.0 - part) < rare:
        return 1
    start[last - size - 1] = math.log(part) - math.log1p(-part)
    look(design, sign, share, known, strength, start)
    return 2


def _iterate(
    design: Any,
    sign: Any,
    share: Any,
    known: Any,
    strength: Any,
    gram: Any,
    fresh: bool,
    start: Any,
    rules: Any,
    ends: Any,
    matrix: Any,
    lower: Any,
    facts: Any,
) -> Any:
    """An iteration that needs no second thought, and nothing at all of any other.

    1. The Hessian, and its factor; without one that rounding leaves alone: declined.
    2. A step that is downhill and falls enough at once (Armijo); else declined.
    3. Where the slope at its end says so, a longer or shorter one, if that is lower.
    4. Corrections, if asked for: BFGS about the factor, as far as whole steps fall enough.

    ``start`` is a look, of which a ``fresh`` one has only the parameters, and ``ends`` (3, ...) are
    others; ``rules`` are :class:`torchlogreg.kernels.logits.Rules`. ``facts`` are the value at
    the start, the slope along the step, the pivot, the slope along the last step, and along one
    that was not made, if there were corrections. Which of the looks is the end, -1 for declined,
    and how many there were.
    """
    looks = begun(design, sign, share, known, strength, start, rules[8]) if fresh else 0
    bend_at(design, share, strength, gram, start, matrix)  # 1
    facts[0], facts[2] = start[start.shape[0] - 1], factorised(matrix, lower)
    if not facts[2] > rules[0]:
        return -1, looks
    which, more = stepped(design, sign, share, known, strength, start, rules, ends, lower, facts)
    if which < 0 or not rules[6] > 0.0:
        return which, looks + more
    which, last = corrected(
        design, sign, share, known, strength, start, rules, ends, lower, facts, which
    )
    return which, looks + more + last


ITERATE = entry(_iterate, "few_iterate")
