"""Nearly dependent columns, one set after another, held against an inverse made anew each time."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from torchlogreg import LinearRegression
from torchlogreg.diagnostics import Finding, diagnose, near


def designs(p: int, apart: list[float], seed: int = 0) -> np.ndarray:
    """Columns of which some are sums of two others but for noise; each uses one of the last."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(2 * p, p))
    for i, size in enumerate(apart):
        X[:, p - 1 - i] = X[:, i] - 2 * X[:, i + 1] + size * generator.normal(size=2 * p)
    return X


def named(X: np.ndarray) -> list[Finding]:
    model = LinearRegression(X.shape[1], dtype=torch.float64)
    return list(diagnose(model, X, np.arange(len(X)) % 7.0))


def figures(finding: Finding) -> tuple[float, float]:
    """Variance inflation and condition number as printed."""
    found = re.search(r"variance inflation (\S+), condition number (\S+)\)", finding.text)
    assert found is not None, finding.text
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("p", [12, near.SMALL + 50])
def test_every_set_is_named_with_the_figures_of_an_inverse_made_anew(p: int) -> None:
    X = designs(p, [1e-6, 1e-5, 1e-4])
    findings = named(X)
    assert [f.kind for f in findings] == ["near_collinear"] * 3
    assert [set(f.columns) for f in findings] == [{i, i + 1, p - 1 - i} for i in range(3)]
    Z = X - X.mean(0)
    Z /= np.linalg.norm(Z, axis=0)
    left = list(range(p))
    for finding in findings:
        inflation = np.linalg.inv(Z[:, left].T @ Z[:, left]).diagonal()
        vif, condition = figures(finding)
        assert vif == pytest.approx(inflation.max(), rel=0.5)  # one digit is printed
        assert condition == pytest.approx(np.linalg.cond(Z[:, left]), rel=0.5)
        worst = left[int((inflation >= near.ALIKE * inflation.max()).argmax())]
        assert worst in finding.columns
        left.remove(worst)


def test_a_column_that_many_explain_names_them_all() -> None:
    # More than are tried first, by two rounds.
    p = 5 * near.FEW
    generator = np.random.default_rng(1)
    X = generator.normal(size=(3 * p, p))
    X[:, -1] = X[:, : 4 * near.FEW + 5].sum(1) + 1e-5 * generator.normal(size=3 * p)
    (finding,) = named(X)
    assert finding.columns == (*range(4 * near.FEW + 5), p - 1)


def test_two_equal_pairs_are_named_first_come_first() -> None:
    X = designs(6, [])
    X[:, 4], X[:, 5] = X[:, 1] + 1e-7 * X[:, 0], X[:, 2] + 1e-7 * X[:, 0]
    assert {f.columns for f in named(X)} == {(1, 4), (2, 5)}
