"""Marginal effects: how the mean response changes with a column, and how surely.

Signature, for callers::

    marginal_effects(form, covariance, data, *, at="overall", method="dydx", columns=None,
                     discrete=(), level=0.95, df=None, feature_names=None, class_names=None)
        -> MarginalEffects
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.inference import average
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.effects import HEADS, MarginalEffects
from torchlogreg.inference.named import places_of, refuse_other_columns
from torchlogreg.inference.points import representative, weighted_median
from torchlogreg.inference.reference import check_level
from torchlogreg.models import LogisticRegression

__all__ = ["MarginalEffects", "marginal_effects", "weighted_median"]


@torch.no_grad()
def marginal_effects(
    form: AffineForm,
    covariance: Tensor,
    data: Batch,
    *,
    at: Any = "overall",
    method: str = "dydx",
    columns: Sequence[str | int] | None = None,
    discrete: Sequence[str | int] | Literal["auto"] = (),
    level: float = 0.95,
    df: float | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> MarginalEffects:
    """Average or pointwise effects of columns on ``E[y|x]``, ``P(y = 1)`` or every class.

    One pass over the rows in blocks; what is kept does not grow with them.

    Parameters
    ----------
    form : AffineForm
    covariance : Tensor, shape (P, P)
        Of ``form.theta``.
    data : Batch
        Rows to average over, weighted by ``sample_weight`` (whose scale is irrelevant).
    at : {"overall", "mean", "median", "zero"} or array, shape (p,) or (m, p)
        "overall": the average of the rows' effects. Otherwise the effect at one point: the weighted
        mean or median of every column (and of the offset), or zero. An array gives the points
        themselves, with offset zero; every one of ``m`` rows gets its own effects.
    method : {"dydx", "eyex", "dyex", "eydx"}
        "ey" takes the logarithm of the mean, "ex" that of the column: elasticities.
    columns : sequence of names or places, optional
        Default: all.
    discrete : sequence of names or places, or "auto"
        Columns of which the effect is the mean at 1 less the mean at 0 instead of a derivative;
        "auto": all that hold only zeros and ones. Default: none.
    level : float
    df : float, optional
        Refers statistics and intervals to Student's t.
    feature_names, class_names : sequence of str, optional

    Raises
    ------
    ValueError
        For an unknown point, method or column, or an elasticity by a discrete column.

    References
    ----------
    Greene, Econometric Analysis (2018), section 17.3; Bartus, Estimation of marginal effects using
    margeff, Stata Journal 5 (2005).
    """
    check_level(level)
    if method not in tuple(HEADS):
        raise ValueError(f"method is {method!r}, but the methods are {', '.join(HEADS)}")
    p = form.weight.shape[1]
    names = [f"x{j + 1}" for j in range(p)] if feature_names is None else list(feature_names)
    chosen = _without_repetition(range(p) if columns is None else columns, names)
    jumps = _discrete(discrete, data, names, chosen)
    if jumps and method.endswith("ex"):
        raise ValueError(
            f"method {method!r} takes the logarithm of x, but column {names[jumps[0]]!r} jumps "
            "from 0 to 1; use 'dydx' or 'eydx', or discrete=()"
        )
    refuse_other_columns(at, names, "at")
    points, label = representative(data, at, p)
    tables = [_at(form, covariance.to(form.weight), rows, chosen, jumps, method) for rows in points]
    effects, errors = (np.stack(parts) for parts in zip(*tables, strict=True))  # (m, q, C)
    if label != "rows":
        effects, errors = effects[0], errors[0]
    classes = _class_names(form, class_names)
    if not classes:
        effects, errors = effects[..., 0], errors[..., 0]
    return MarginalEffects(
        effects=effects,
        errors=errors,
        columns=tuple(names[j] for j in chosen),
        classes=classes,
        at=label,
        method=method,
        level=level,
        df=df,
        discrete=tuple(names[j] for j in jumps),
    )


def _at(
    form: AffineForm,
    covariance: Tensor,
    data: Batch,
    chosen: list[int],
    jumps: list[int],
    method: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Effects and errors (q, C), averaged over the rows of ``data``."""
    smooth = [j for j in chosen if j not in jumps]
    log = method.startswith("ey")
    derivative = average.scaled_effects if method.endswith("ex") else average.slope_effects
    places = {j: i for i, j in enumerate(chosen)}
    effects = np.empty((len(chosen), form.model.n_classes or 1))
    errors = np.empty_like(effects)
    for kind, members in ((derivative, smooth), (average.difference_effects, jumps)):
        if not members:
            continue
        where = [places[j] for j in members]
        c = -1
        for c, (values, gradient) in enumerate(kind(form, data, members, log=log)):
            variance = ((gradient @ covariance) * gradient).sum(1).clamp(min=0)
            effects[where, c] = values.cpu().numpy()
            errors[where, c] = variance.sqrt().cpu().numpy()
        effects, errors = effects[:, : c + 1], errors[:, : c + 1]
    return effects, errors


def _without_repetition(wanted: Sequence[str | int], names: list[str]) -> list[int]:
    """Names or places of columns, as places."""
    return list(dict.fromkeys(places_of(wanted, names, "column")))


def _discrete(
    discrete: Sequence[str | int] | Literal["auto"],
    data: Batch,
    names: list[str],
    chosen: list[int],
) -> list[int]:
    """Chosen columns that jump from 0 to 1."""
    if not isinstance(discrete, str):
        asked = places_of(discrete, names, "column")
        return [j for j in chosen if j in asked]
    if discrete != "auto":
        raise ValueError(
            f"discrete is {discrete!r}; give the columns as a list, [{discrete!r}], or 'auto'"
        )
    binary = torch.ones(len(names), dtype=torch.bool, device=data.X.device)
    for block in data.strips(2**23 // len(binary)):
        binary &= ((block.X == 0) | (block.X == 1)).all(dim=0)
    return [j for j in chosen if bool(binary[j])]


def _class_names(form: AffineForm, class_names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the means where there are several."""
    if form.model.n_classes is None or isinstance(form.model, LogisticRegression):
        return ()
    return tuple(str(c) for c in (class_names or range(form.model.n_classes)))
