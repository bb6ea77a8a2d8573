"""Errors under a penalty: Firth's, and the sandwich of shrunken estimates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_inference_invariance import inferred

from problems import problem
from torchlogreg import L2, Jeffreys, LogisticRegression, SoftmaxRegression, fit, infer
from torchlogreg.inference.information import Information

F64 = torch.float64


def test_firth_errors_are_those_of_the_plain_information() -> None:
    # logistf's convention; a separable set, where maximum likelihood has no estimate.
    X = torch.tensor([[-2.0], [-1.5], [-1.0], [-0.2], [0.3], [1.0], [1.2], [2.5]]).double()
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]).double()
    model = LogisticRegression(1, dtype=F64)
    fit(model, X, y, penalty=Jeffreys(), tol=1e-10)
    got = infer(model, X, y, penalty=Jeffreys())
    p = torch.sigmoid(model(X)).detach()
    D = torch.cat((torch.ones_like(X), X), dim=1)
    want = torch.linalg.inv(D.T @ (p * (1 - p) * D))
    assert got.cov_params() == pytest.approx(want.numpy(), rel=1e-10)
    assert np.isnan(got.llr_pvalue) and "Jeffreys" in got.summary()


@pytest.mark.parametrize("name", ["linear", "logistic", "ordinal_logit"])
def test_ridge_errors_are_a_sandwich(name: str) -> None:
    case = problem(name)
    penalty = L2(0.3)
    got = inferred(case, case.X, case.y, penalty=penalty, allow_penalty=True)
    found = Information.of(got.form, got.data)
    back = torch.linalg.inv(found.problem.basis.back)
    plain = back.T @ found.matrix @ back
    ridge = torch.zeros_like(plain)
    ridge.diagonal()[:3] = 0.3 * case.n / (2 if name == "linear" else 1)
    bread = torch.linalg.inv(plain + ridge)
    want = bread @ plain @ bread * got.scale
    torch.testing.assert_close(got.covariance, want, rtol=1e-9, atol=1e-13)
    assert "bias" in got.summary()


def test_ridge_of_all_classes_is_that_of_the_smallest_shift() -> None:
    case = problem("softmax")
    full = inferred(case, case.X, case.y, penalty=L2(0.2), allow_penalty=True)
    # Two classes: weights -d/2 and d/2 cost half of what a single row d does.
    y = (case.y > 0).double()
    both = SoftmaxRegression(3, 2, dtype=F64)
    fit(both, case.X, y, penalty=L2(0.2), tol=1e-10)
    one = LogisticRegression(3, dtype=F64)
    fit(one, case.X, y, penalty=L2(0.1), tol=1e-10)
    got = infer(both, case.X, y, penalty=L2(0.2), allow_penalty=True).bse
    want = infer(one, case.X, y, penalty=L2(0.1), allow_penalty=True).bse
    assert got == pytest.approx(want, rel=1e-8)
    assert full.distance < 1e-6
