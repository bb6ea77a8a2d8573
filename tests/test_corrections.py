"""Newton's method with corrections: the same optimum in fewer Hessians, and never a wrong word."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchlogreg import (
    L2,
    Hook,
    LogisticRegression,
    Model,
    Objective,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
    kernels,
)
from torchlogreg.data import Batch
from torchlogreg.hooks import Checkpoint
from torchlogreg.inputs import make_data
from torchlogreg.kernels import SMALLEST
from torchlogreg.optim import Newton
from torchlogreg.optim.choose import CORRECTIONS, SOME
from torchlogreg.optim.corrections import Corrections
from torchlogreg.optim.newton import newton_iteration
from torchlogreg.optim.quasi_newton import QuasiNewton
from torchlogreg.small import flat

F64 = torch.float64


def rows(n: int, p: int, *, share: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Columns, and labels of which about a share is 1."""
    source = torch.Generator().manual_seed(seed)
    X = torch.randn(n, p, generator=source, dtype=F64)
    eta = 2 * X.sum(1) / p**0.5
    cut = eta.quantile(1 - share)
    noise = torch.logit(torch.rand(n, generator=source, dtype=F64))
    y = (eta - cut + noise > 0).to(F64)
    y[:2] = torch.tensor([0.0, 1.0])
    return X, y


def models(p: int) -> list[Model]:
    return [
        LogisticRegression(p, dtype=F64),
        SoftmaxRegression(p, 3, dtype=F64),
        SoftmaxRegression(p, 3, reference=True, dtype=F64),
        OrdinalRegression(p, 3, dtype=F64),
    ]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("penalty", [None, L2(1e-2)])
@pytest.mark.parametrize("corrections", [1, 3, 8, 40])
def test_corrected_fits_end_where_newton_ends(
    which: int, penalty: L2 | None, corrections: int
) -> None:
    X, binary = rows(400, 4)
    y = binary if which == 0 else (binary + (X[:, 0] > 0.5)).long()
    ends, epochs = [], []
    for count in (0, corrections):
        model = models(4)[which]
        with torch.no_grad():
            result = fit(
                model, X, y, penalty=penalty, optimizer=lambda p, c=count: Newton(p, corrections=c)
            )
        assert result.converged
        ends.append(torch.cat([q.detach().flatten() for q in model.parameters()]))
        epochs.append(result.n_epochs)
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-10)
    assert epochs[1] <= epochs[0]
    if corrections >= 3:
        assert epochs[1] < epochs[0]


@pytest.mark.usefixtures("small_kernels")
@pytest.mark.parametrize("share", [0.5, 0.03])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("enough", [0.0, 1e-4])
def test_compiled_corrections_are_the_general_ones(
    share: float, weighted: bool, enough: float
) -> None:
    X, y = rows(300, 6, share=share)
    weight = 0.5 + torch.rand(300, dtype=F64) if weighted else None
    paths = []
    for least in (0, 2**40):
        SMALLEST.set(least)
        objective = Objective(LogisticRegression(6, dtype=F64), None, L2(1e-3))
        data = make_data(objective.model, X, y, sample_weight=weight)
        path = []
        with torch.no_grad():
            for _ in range(2):
                closure = objective.closure(data, data)
                done = newton_iteration(closure, corrections=Corrections(4, enough))
                path.append((flat(objective.params), float(done.value), done.last, done.left))
        paths.append(path)
    assert paths[0][0][3] <= 1e-3 * paths[0][0][1]
    for (a, value, promised, left), (b, theirs, other, rest) in zip(*paths, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
        assert value == pytest.approx(theirs, rel=1e-12)
        assert promised == pytest.approx(other, rel=1e-4, abs=1e-18)
        assert (left <= enough * value) == (rest <= enough * theirs) or enough == 0


def test_a_correction_that_promises_too_little_is_not_made() -> None:
    X, y = rows(500, 5)
    objective = Objective(LogisticRegression(5, dtype=F64), None, L2(1e-3))
    data = make_data(objective.model, X, y)
    looks = []
    for enough in (0.0, 1e-8, 1e-3, 1e3):
        with torch.no_grad():
            for p in objective.params:
                p.zero_()
            objective.evaluations = 0
            newton_iteration(objective.closure(data, data), corrections=Corrections(8, enough))
        looks.append(objective.evaluations)
    assert looks[0] > looks[1] > looks[2] > looks[3]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["apart", "quasi", "overlapping"])
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_corrections_never_hide_separation(kind: str, compiled: bool, tol: float) -> None:
    if compiled:
        pytest.importorskip("numba")
    X, _ = rows(60, 2)
    y = (X[:, 0] + 0.5 * X[:, 1] > 0).to(F64)
    if kind == "quasi":
        X = torch.cat((X, torch.zeros(2, 2, dtype=F64)))
        y = torch.cat((y, torch.tensor([0.0, 1.0], dtype=F64)))
    if kind == "overlapping":
        y[:3] = 1 - y[:3]
    token = SMALLEST.set(0 if compiled else 2**40)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = fit(
                LogisticRegression(2, dtype=F64),
                X,
                y,
                tol=tol,
                optimizer=lambda p: Newton(p, corrections=CORRECTIONS),
            )
    finally:
        SMALLEST.reset(token)
    assert result.stop_reason == ("converged" if kind == "overlapping" else "separated")
    assert result.n_epochs < 20


@pytest.mark.parametrize("wrong", [-1, 101, 1.5, True, "3", None])
def test_a_number_of_corrections_is_a_whole_one(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"corrections=.* whole number from 0 to 100"):
        Newton(LogisticRegression(2).parameters(), corrections=wrong)
    assert Newton(LogisticRegression(2).parameters(), corrections=np.int64(3)).corrections == 3
    with pytest.raises(ValueError, match="rough is"):
        Newton(LogisticRegression(2).parameters(), rough=-1.0)


def chosen(X: Tensor, y: Tensor, **more: Any) -> Newton:
    """The optimizer of a fit that names none."""
    seen: list[Any] = []

    class Watch(Hook):
        def on_fit_start(self, state: Any) -> None:
            seen.append(state.optimizer)

    fit(LogisticRegression(X.shape[1], dtype=F64), X, y, hooks=[Watch()], **more)
    assert isinstance(seen[0], Newton)
    return seen[0]


def test_a_fit_asks_for_corrections_where_they_are_quicker() -> None:
    few, many = rows(300, 3), rows(3000, 60)
    assert chosen(*few).corrections == 0  # nothing is compiled: each costs as much as a Hessian
    assert chosen(*many).corrections == SOME
    assert chosen(*many, tol=0, max_epochs=2).corrections == 0  # who asks for epochs gets them
    assert chosen(*many, tol=1e-3).rough == 1e-3 and chosen(*many).rough == 0
    pytest.importorskip("numba")
    token = kernels.SMALLEST.set(0)
    assert chosen(*few).corrections == CORRECTIONS
    kernels.SMALLEST.reset(token)


def test_a_resumed_fit_corrects_as_before(tmp_path: Any) -> None:
    X, y = rows(3000, 60)
    ends = []
    for cut in (None, 1):
        model = LogisticRegression(60, dtype=F64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if cut is not None:
                fit(model, X, y, max_epochs=cut, tol=1e-12, hooks=[Checkpoint(tmp_path, every=1)])
                model = LogisticRegression(60, dtype=F64)
            fit(model, X, y, tol=1e-12, resume=None if cut is None else tmp_path)
        ends.append(flat(list(model.parameters())))
    assert torch.equal(*ends)


def test_pairs_solve_a_quadratic_about_any_base() -> None:
    source = torch.Generator().manual_seed(3)
    root = torch.randn(6, 6, generator=source, dtype=F64)
    H, base = root @ root.T + torch.eye(6, dtype=F64), torch.rand(6, generator=source, dtype=F64)
    quasi = QuasiNewton(lambda v: v / (0.5 + base), n_pairs=6)
    steps = torch.randn(9, 6, generator=source, dtype=F64)
    for i, step in enumerate(steps):
        change = H @ step
        quasi.learn(step, change, quasi.solve(change))
        assert len(quasi) == min(i + 1, 6)
        direction, slope, square, value = quasi._direction(change, quasi.solve(change), base[0])
        torch.testing.assert_close(direction, -step, rtol=1e-9, atol=1e-9)  # the secant equation
        assert slope == pytest.approx(-float(step @ change), rel=1e-9)
        assert (square, value) == (pytest.approx(float(change @ quasi.solve(change))), base[0])
    quasi.learn(steps[0], -H @ steps[0], -quasi.solve(H @ steps[0]))  # no curvature: not learnt
    other = quasi.based_on(lambda v: 2 * v)
    assert len(other) == 6
    gradient = torch.randn(6, generator=source, dtype=F64)
    direction = other._direction(gradient, 2 * gradient, base[0])[0]
    torch.testing.assert_close(direction, -two_loop(gradient, list(steps[3:]), H, 2.0))


def two_loop(gradient: Tensor, steps: list[Tensor], H: Tensor, base: float) -> Tensor:
    """``H g`` as the textbook has it (Nocedal, 1980)."""
    left, shares = gradient.clone(), []
    for step in reversed(steps):
        shares.append(step @ left / (step @ H @ step))
        left = left - shares[-1] * (H @ step)
    found = base * left
    for step, share in zip(steps, reversed(shares), strict=True):
        found = found + (share - (H @ step) @ found / (step @ H @ step)) * step
    return found


@pytest.mark.usefixtures("small_kernels")
def test_drawn_rows_are_those_rows() -> None:
    X, y = rows(2000, 5)
    index = torch.randperm(2000)[:300].sort().values
    few = kernels.drawn_rows(X, index, most=2**19)
    assert few is not None and few.gram is None and few.compiled
    assert torch.equal(few.X, X[index]) and torch.equal(few.design[:, :5], X[index])
    assert bool((few.design[:, 5] == 1).all()) and not bool(few.design[:, 6:].any())
    torch.testing.assert_close(few.sizes[:5], X[index].square().mean(0).sqrt())
    torch.testing.assert_close(few.squares, X[index].square().sum(0))
    again = kernels.drawn_rows(few.X, index[:100] // 10, most=2**19, among=few)
    assert again is not None and torch.equal(again.X, X[index][index[:100] // 10])
    assert kernels.drawn_rows(X, index, most=100) is None
    assert kernels.drawn_rows(X.float(), index, most=2**19) is None
    batch = Batch(few.X, y[index], few.ones, few=few)
    objective = Objective(LogisticRegression(5, dtype=F64))
    with torch.no_grad():
        done = newton_iteration(objective.closure(batch, batch))
    plain = Objective(LogisticRegression(5, dtype=F64))
    bare = Batch(X[index], y[index], torch.ones(300, dtype=F64))
    with torch.no_grad():
        other = newton_iteration(plain.closure(bare, bare))
    torch.testing.assert_close(flat(objective.params), flat(plain.params), rtol=1e-9, atol=1e-11)
    assert float(done.value) == pytest.approx(float(other.value))


@pytest.mark.usefixtures("small_kernels")
def test_labels_are_looked_at_again_once_they_change() -> None:
    X, y = rows(300, 3)
    data = make_data(LogisticRegression(3, dtype=F64), X, y)
    assert data.hard is not None and data.hard.both and data.even
    assert torch.equal(torch.from_numpy(data.hard.sign), 1 - 2 * y)
    y[5] = 1 - y[5]
    assert data.hard is None
    assert not make_data(LogisticRegression(3, dtype=F64), X, y, sample_weight=y + 1).even
    assert make_data(LogisticRegression(3, dtype=F64), X, 0.5 * y).hard is None
    with pytest.raises(ValueError, match="all 300 rows with weight are of class 1"):
        make_data(LogisticRegression(3, dtype=F64), X, torch.ones(300, dtype=F64))
    with pytest.raises(ValueError, match="row 7: target 3 is neither"):
        make_data(LogisticRegression(3, dtype=F64), X, torch.where(torch.arange(300) == 7, 3.0, y))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_saturated_start_is_left_as_without_corrections(compiled: bool) -> None:
    # The factor is singular there: corrections once promised nothing within its range, for ever.
    if compiled:
        pytest.importorskip("numba")
    source = torch.Generator().manual_seed(2)
    X = torch.randn(200, 1, generator=source, dtype=F64)
    y = (torch.rand(200, generator=source) < 0.5).to(F64)
    ends = []
    token = SMALLEST.set(0 if compiled else 2**40)
    for count in (0, 1, CORRECTIONS):
        model = LogisticRegression(1, dtype=F64)
        with torch.no_grad():
            model.weight.fill_(-10531.0)
        result = fit(
            model, X, y, penalty=L2(0.01), optimizer=lambda p, c=count: Newton(p, corrections=c)
        )
        assert result.converged
        ends.append(result.objective)
    SMALLEST.reset(token)
    assert ends == pytest.approx([ends[0]] * 3, rel=1e-12)
