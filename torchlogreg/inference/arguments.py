"""Arguments of infer(): checked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchlogreg import distributed
from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.diagnostics.wording import checked_names, names_of
from torchlogreg.inference.covariance import KINDS
from torchlogreg.inputs import make_data
from torchlogreg.one_class import refuse_one_class
from torchlogreg.penalties import Penalty
from torchlogreg.sample_weights import checked_weights, mean_one
from torchlogreg.tensors import as_tensor


def weighted_rows(
    model: Model, X: Any, y: Any, sample_weight: Any, weight_kind: str | None, offset: Any
) -> tuple[Batch, Tensor]:
    """Rows with weight, under weights that add up to the number of observations; all weights.

    Of several ranks every one gets the rows of all.
    """
    data = make_data(model, X, y, offset=offset)
    if sample_weight is None:
        data = data.gathered()
        return data, data.sample_weight
    with distributed.together("checking its sample weights"):
        given = as_tensor(sample_weight, "sample_weight", model.weight.device).detach()
        wide = torch.float32 if given.device.type == "mps" else torch.float64
        weights = checked_weights(given.to(wide), len(data), "sample_weight")
    data = data.reweighted(weights).gathered()
    weights = data.sample_weight
    if not bool((weights > 0).all()):
        data = data.rows(weights > 0)
    refuse_one_class(model, data)
    if weight_kind == "importance":
        data = data.reweighted(mean_one(data.sample_weight))
    return data, weights


def check_settings(covariance: Any, clusters: Any, sample_weight: Any, weight_kind: Any) -> None:
    """Names of kinds, and what belongs together."""
    if covariance not in KINDS:
        raise ValueError(f"covariance is {covariance!r}, but the kinds are {', '.join(KINDS)}")
    if (covariance == "cluster") != (clusters is not None):
        raise ValueError("covariance='cluster' and clusters= belong together; give both or neither")
    if weight_kind not in (None, "frequency", "importance"):
        raise ValueError(
            f"weight_kind is {weight_kind!r}, but it is 'frequency' (a row counts so many times) "
            "or 'importance' (how much a row matters)"
        )
    if sample_weight is not None and weight_kind is None:
        raise ValueError(
            "sample_weight came without weight_kind, which decides the number of observations; say "
            "'frequency' (a row counts so many times) or 'importance' (how much a row matters)"
        )


def checked_penalty(model: Model, penalty: Penalty | None, allow: bool) -> Penalty | None:
    """The penalty if it has an effect and errors under it mean something."""
    if penalty is None:
        return None
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty= got {penalty!r}, but it takes a Penalty, such as Jeffreys()")
    penalty.check(model, own_loss=True)
    if penalty.alpha == 0:
        return None
    if not penalty.smooth:
        raise ValueError(
            f"{penalty!r} has a kink at zero, where estimates stick: they have no standard errors; "
            "refit the columns it kept without penalty, on other rows"
        )
    if not penalty.needs_rows and not allow:
        raise ValueError(
            f"{penalty!r} biases the estimates, so standard errors do not say how far they are "
            "from the truth; refit without penalty, or pass allow_penalty=True"
        )
    return penalty


def names_of_features(model: Model, X: Any, given: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the columns: given, a frame's, or x1, x2, ..."""
    p = model.n_features
    if given is None and len(getattr(X, "columns", ())) != p:
        given = [f"x{j + 1}" for j in range(p)]  # a frame of another width is refused with the rows
    return _told_apart(names_of(X, given, p) or (), "feature_names")


def names_of_classes(model: Model, given: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes: given, or 0, 1, ...; none for a number."""
    n_classes = model.n_classes
    if n_classes is None:
        if given is not None:
            raise ValueError(f"class_names came, but {type(model).__name__} predicts a number")
        return ()
    names = [str(j) for j in range(n_classes)] if given is None else given
    return _told_apart(checked_names(names, n_classes, "class_names", "classes"), "class_names")


def _told_apart(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Each name once."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{what} has {twice!r} more than once; results are told apart by name")
    return names
