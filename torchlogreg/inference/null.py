"""The log-likelihood of the model without columns: intercepts and offset only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchlogreg.configuration import build, config
from torchlogreg.data import Batch
from torchlogreg.fit import fit
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.rows import BLOCK
from torchlogreg.models import OrdinalRegression


def null_log_likelihood(form: AffineForm, data: Batch) -> float:
    """Largest log-likelihood with all weights zero.

    In closed form where there is one: a mean, the shares of the classes (which cutpoints reach
    under any link), or no parameter at all. With offsets and intercepts, a fit on a column of
    zeros.

    Parameters
    ----------
    form : AffineForm
    data : Batch
        Sample weights as used: their sum is the number of observations.
    """
    if form.model.n_classes is None:
        return gaussian_log_likelihood(null_squares(form, data), _count(form, data))
    if data.offset is None and (len(form.intercepts) or form.model.n_classes == 2):
        return _from_shares(form, data)
    weight = torch.zeros_like(form.weight[:, :1])
    intercepts = form.intercepts
    if len(intercepts):
        intercepts = _fitted_intercepts(form, data)
    bare = AffineForm(weight, intercepts, form.R, form.M, form.model)
    total = weight.new_zeros(())
    for block in data.blocks(BLOCK):
        eta = bare.eta(torch.zeros_like(block.X[:, :1]), block.offset)
        total -= torch.dot(block.sample_weight.to(eta), form.nll(eta, _wide(block.y, eta)))
    return float(total)


def null_squares(form: AffineForm, data: Batch) -> float:
    """Sum of squares about the weighted mean, or about zero without intercept; less the offset."""
    y = data.y.to(form.weight)
    if data.offset is not None:
        y = y - data.offset.to(y).view(len(y))
    w = data.sample_weight.to(y)
    if len(form.intercepts):
        y = y - torch.dot(w, y) / w.sum()
        y = y - torch.dot(w, y) / w.sum()  # what rounding left of the mean
    return float(torch.dot(w, y.square()))


def gaussian_log_likelihood(squares: float, n: float) -> float:
    """At the maximum-likelihood variance ``squares / n``; infinite for a perfect fit."""
    if squares == 0:
        return math.inf
    return -0.5 * n * (math.log(2 * math.pi) + math.log(squares / n) + 1)


def log_precision(data: Batch) -> float:
    """``1/2 sum_i log w_i``: what weights that are inverse variances add to a log-likelihood."""
    return 0.5 * float(data.sample_weight.log().sum(dtype=data.sample_weight.dtype))


def _from_shares(form: AffineForm, data: Batch) -> float:
    """Log-likelihood of the classes' shares, as far as the intercepts can reach them."""
    n_classes = form.model.n_classes or 2
    w = data.sample_weight.to(form.weight)
    if data.y.ndim == 2:
        counts = w @ data.y.to(w)
    elif data.y.is_floating_point():  # binary
        ones = torch.dot(w, data.y.to(w))
        counts = torch.stack((torch.dot(w, 1 - data.y.to(w)), ones))
    else:
        counts = w.new_zeros(n_classes).index_add_(0, data.y, w)
    if len(form.intercepts) == n_classes - 1:
        return float(torch.special.xlogy(counts, counts / counts.sum()).sum())
    if not isinstance(form.model, OrdinalRegression):
        return float(-counts.sum() * math.log(n_classes))
    # The first cutpoint is fixed at zero: the first level's probability is F(0).
    at_zero = form.nll(w.new_zeros(1, 1), torch.zeros(1, dtype=torch.long, device=w.device))
    rest = counts[1:]
    above = torch.log1p(-torch.exp(-at_zero))
    free = torch.special.xlogy(rest, rest / rest.sum()).sum() + rest.sum() * above
    return float(free - counts[0] * at_zero)


def _fitted_intercepts(form: AffineForm, data: Batch) -> Tensor:
    """Intercepts (m,) of a fit on a column of zeros with the offset."""
    facts = config(form.model) | {"n_features": 1}
    model = build(facts, dtype=form.weight.dtype).to(form.weight.device)
    nothing = form.weight.new_zeros(len(data), 1)
    offset = None if data.offset is None else data.offset.to(form.weight)
    fit(model, nothing, data.y, sample_weight=data.sample_weight, offset=offset)
    return AffineForm.of(model).intercepts


def _count(form: AffineForm, data: Batch) -> float:
    return float(data.sample_weight.sum(dtype=form.weight.dtype))


def _wide(y: Tensor, like: Tensor) -> Tensor:
    return y.to(like) if y.is_floating_point() else y
