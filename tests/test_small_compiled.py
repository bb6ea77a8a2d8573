"""Few rows, compiled: a look and an iteration give what torch's way gives, or are left to it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchlogreg import (
    L2,
    Batch,
    BoostMisclassified,
    ClassMean,
    LogisticRegression,
    Objective,
    Weighting,
    fit,
    kernels,
)
from torchlogreg.few_rows import FewRows
from torchlogreg.hooks import Checkpoint
from torchlogreg.inputs import make_data
from torchlogreg.kernels import SMALLEST
from torchlogreg.objective import Closure
from torchlogreg.optim.corrections import Corrections
from torchlogreg.optim.iteration import ordinary
from torchlogreg.optim.newton import newton_iteration
from torchlogreg.small import Small, flat
from torchlogreg.small_compiled import SmallCompiled

pytest.importorskip("numba")

pytestmark = pytest.mark.usefixtures("small_kernels")

F64 = torch.float64


def rows(p: int, n: int = 90, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``X``, labels, weights and offsets."""
    source = torch.Generator().manual_seed(100 * seed + p)
    X = torch.randn(n, p, generator=source, dtype=F64)
    eta = X.sum(1) / p**0.5
    y = (torch.rand(n, generator=source, dtype=F64) < torch.sigmoid(eta)).to(F64)
    y[:2] = torch.tensor([0.0, 1.0])
    weight = 0.2 + torch.rand(n, generator=source, dtype=F64)
    return X, y, weight, 0.3 * torch.randn(n, generator=source, dtype=F64)


def made_ready(
    p: int, *, bias: bool = True, weighted: bool = False, offset: bool = False, n: int = 90
) -> tuple[Objective, Batch]:
    """An objective, and rows that compiled kernels have made ready."""
    X, y, weight, known = rows(p, n)
    model = LogisticRegression(p, bias=bias, dtype=F64)
    weight, known = weight if weighted else None, known if offset else None
    data = make_data(model, X, y, sample_weight=weight, offset=known)
    assert data.few is not None and data.few.compiled
    return Objective(model, None, L2(0.05)), data


@pytest.mark.parametrize("p", [1, 2, 7, 8, 15, 16, 20, 35, 63])
@pytest.mark.parametrize("n", [64, 90, 257, 700])
def test_rows_are_made_ready_as_torch_makes_them(p: int, n: int) -> None:
    X = rows(p, n)[0]
    ours, theirs = kernels.few_rows(X), FewRows.of(X)
    assert ours is not None and theirs is not None
    m = p + 1
    assert torch.equal(ours.design[:, :m], theirs.design[:, :m])
    assert not ours.design[:, m:].any() and ours.design.shape[1] % 8 == 0
    torch.testing.assert_close(ours.gram[:m, :m], theirs.gram[:m, :m], rtol=1e-12, atol=1e-10)
    assert torch.equal(ours.gram, ours.gram.T)
    torch.testing.assert_close(ours.sizes, theirs.sizes, rtol=1e-13, atol=0)
    assert ours.near == theirs.near and torch.equal(ours.squares, ours.gram.diagonal()[:p])


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan, 1e200])
def test_what_is_not_finite_is_left_to_torch(value: float) -> None:
    X = rows(3)[0]
    X[7, 1] = value
    assert kernels.few_rows(X) is None
    if value == 1e200:  # its square overflows, and it is finite nevertheless
        assert fit(LogisticRegression(3, dtype=F64), X, rows(3)[1], max_epochs=2, tol=0).n_epochs
    else:
        with pytest.raises(ValueError, match="row 7, column 1"):
            fit(LogisticRegression(3, dtype=F64), X, rows(3)[1])


@pytest.mark.parametrize("kind", ["float32", "few", "wide", "many"])
def test_other_rows_are_left_to_torch(kind: str) -> None:
    made = {
        "float32": torch.randn(50, 3),
        "few": torch.randn(3, 3, dtype=F64),
        "wide": torch.randn(80, 64, dtype=F64),
        "many": torch.randn(2**16, 3, dtype=F64),
    }
    assert kernels.few_rows(made[kind]) is None


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("p", [1, 7, 8, 20])
def test_a_look_and_a_curvature_are_those_of_torch(
    p: int, bias: bool, weighted: bool, offset: bool
) -> None:
    one, data = made_ready(p, bias=bias, weighted=weighted, offset=offset, n=300)
    ours = one.few(data)
    theirs = Small.of(one.model, one.loss, one.penalty, data)
    assert isinstance(ours, SmallCompiled) and theirs is not None
    size = sum(q.numel() for q in one.params)
    for scale in (0.0, 0.5, 3.0, 40.0, 400.0):
        theta = scale * torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=F64)
        a, b = ours.look(theta), theirs.look(theta)
        torch.testing.assert_close(a.value, b.value, rtol=1e-13, atol=0)
        torch.testing.assert_close(a.gradient, b.gradient, rtol=1e-11, atol=1e-14)
        torch.testing.assert_close(a.losses, b.losses, rtol=1e-11, atol=1e-300)
        torch.testing.assert_close(a.logits.missed, b.logits.missed, rtol=1e-11, atol=1e-300)
        for mine, other in zip(ours.found(a), theirs.found(b), strict=True):
            assert (mine is None) == (other is None)
            if mine is not None and other is not None:
                assert mine.shape == other.shape
        torch.testing.assert_close(
            ours.curvature(a.logits), theirs.curvature(b.logits), rtol=1e-9, atol=1e-300
        )


@pytest.mark.parametrize("seed", range(12))
def test_an_iteration_is_the_general_one(seed: int) -> None:
    # From zero, from the optimum of other labels, and far away, where steps must be shortened.
    X, y, weight, offset = rows(5, 150, seed=seed)
    weight, offset = weight if seed % 2 else None, offset if seed % 3 else None
    ends = []
    for least in (0, 2**40):
        SMALLEST.set(least)
        model = LogisticRegression(5, dtype=F64)
        with torch.no_grad():
            start = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=F64)
            model.weight.copy_((seed % 4) * start[:5])
            model.bias.fill_(float(start[5]) * (seed % 4))
        data = make_data(model, X, y, sample_weight=weight, offset=offset)
        objective = Objective(model, None, L2(1e-3))
        path = []
        with torch.no_grad():
            for _ in range(4):
                done = newton_iteration(objective.closure(data, data))
                path.append((flat(objective.params), float(done.value), float(done.slope)))
                assert done.factor.pivot == pytest.approx(float(done.factor.smallest_pivot))
        ends.append(path)
    for (a, value, slope), (b, theirs, other) in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
        assert value == pytest.approx(theirs, rel=1e-12)
        assert slope == pytest.approx(other, rel=1e-6, abs=1e-18)


def asked(X: Tensor, y: Tensor, start: float = 0.0, penalty: L2 | None = None) -> bool:
    """Whether an iteration was an ordinary one; if not, nothing must have been moved."""
    model = LogisticRegression(X.shape[1], dtype=F64)
    with torch.no_grad():
        model.weight.fill_(start)
    data, objective = make_data(model, X, y), Objective(model, None, penalty)
    assert isinstance(objective.few(data), SmallCompiled)
    before = flat(objective.params)
    with torch.no_grad():
        done = ordinary(objective.closure(data, data), 1.0, Corrections())
    assert done is not None or torch.equal(flat(objective.params), before)
    return done is not None


def test_only_ordinary_iterations_are_taken() -> None:
    X, y, *_ = rows(4)
    assert asked(X, y)
    assert not asked(torch.cat((X, X[:, :1]), 1), y)  # dependent: minimum norm is asked for
    assert asked(torch.cat((X, X[:, :1]), 1), y, penalty=L2(0.1))
    assert not asked(X, y, start=30.0)  # the first step overshoots
    rare = torch.zeros_like(y)
    rare[:3] = 1.0
    assert asked(X, rare)  # the intercept moves first
    flat_rows = torch.cat((X, torch.zeros(len(X), 1, dtype=F64)), 1)
    assert not asked(flat_rows, y)


@pytest.mark.parametrize("seed", range(20))
def test_fits_end_where_torch_ends(seed: int) -> None:
    """Separated ones, rare classes, dependent columns, weights of zero: whatever comes."""
    chance = np.random.default_rng(seed)
    n, p = int(chance.integers(8, 200)), int(chance.integers(1, 7))
    X = torch.from_numpy(chance.standard_normal((n, p)) * 10.0 ** chance.integers(-3, 4, p))
    if seed % 4 == 1 and p > 1:
        X[:, 0] = X[:, 1]
    if seed % 5 == 2:
        X[:, 0] += 1e4
    y = torch.from_numpy((chance.random(n) < (0.04 if seed % 6 == 3 else 0.5)).astype(float))
    y[:2] = torch.tensor([0.0, 1.0])
    weight = torch.from_numpy(chance.integers(0, 3, n).astype(float)) if seed % 3 == 0 else None
    if weight is not None:
        weight[:2] = 1.0
    penalty = None if seed % 2 else L2(1e-2)
    found = []
    for least in (0, 2**40):
        SMALLEST.set(least)
        model = LogisticRegression(p, dtype=F64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = fit(model, X, y, sample_weight=weight, penalty=penalty)
        found.append((result, flat([*model.parameters()])))
    (ours, a), (theirs, b) = found
    assert ours.stop_reason == theirs.stop_reason
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-9, abs=1e-12)
    assert bool(ours.diagnosis) == bool(theirs.diagnosis)
    if ours.converged:  # of dependent columns only sums are determined
        torch.testing.assert_close(X @ a[:p] + a[p], X @ b[:p] + b[p], rtol=1e-7, atol=1e-8)


def test_rows_that_change_in_place_are_read_again() -> None:
    X, y, *_ = rows(3)
    first = LogisticRegression(3, dtype=F64)
    fit(first, X, y, penalty=L2(0.1))
    X.mul_(2.0)
    second, third = LogisticRegression(3, dtype=F64), LogisticRegression(3, dtype=F64)
    fit(second, X, y, penalty=L2(0.1))
    fit(third, X.clone(), y, penalty=L2(0.1))
    assert torch.equal(second.weight, third.weight)
    assert not torch.allclose(first.weight, second.weight)


@pytest.mark.parametrize("weighting", [None, BoostMisclassified(), ClassMean()])
def test_a_fit_resumes_to_the_same_bits(tmp_path: Path, weighting: Weighting | None) -> None:
    # Weights over n came by division where rows were reweighted, by a reciprocal where a resumed
    # fit made them ready: the last bits differed.
    X, y, *_ = rows(4, 97)
    ends = []
    for stop in (50, 2):
        folder = tmp_path / str(stop)
        model = LogisticRegression(4, dtype=F64)
        options = {"penalty": L2(1e-3), "tol": 1e-300, "hooks": [Checkpoint(folder)]}
        options |= {"weighting": weighting, "optimizer": "newton"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(model, X, y, max_epochs=stop, **options)
            if stop == 2:
                model = LogisticRegression(4, dtype=F64)
                fit(model, X, y, max_epochs=50, resume=folder, **options)
        ends.append(model)
    assert torch.equal(ends[0].weight, ends[1].weight)
    assert torch.equal(ends[0].bias, ends[1].bias)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalty", [None, L2(1e-3)])
def test_samples_of_a_logit_take_compiled_iterations(
    weighted: bool, penalty: L2 | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = torch.Generator().manual_seed(5)
    X = torch.randn(60_000, 5, generator=source, dtype=F64)
    y = (torch.rand(60_000, generator=source) < torch.sigmoid(X.sum(1) - 1)).double()
    weight = torch.rand(60_000, generator=source, dtype=F64) if weighted else None
    taken: list[bool] = []

    def counted(closure: Closure, lr: float, corrections: Corrections) -> Any:
        done = ordinary(closure, lr, corrections)
        taken.append(done is not None)
        return done

    monkeypatch.setattr("torchlogreg.optim.newton.ordinary", counted)
    ends = []
    for least in (0, 2**40):
        token = kernels.SMALLEST.set(least)
        model = LogisticRegression(5, dtype=F64)
        fit(model, X, y, optimizer="subsampled_newton", sample_weight=weight, penalty=penalty)
        kernels.SMALLEST.reset(token)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        assert any(taken) == (least == 0)
        taken.clear()
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-13)
