"""Hard labels of a single class are refused before any fit."""

from __future__ import annotations

import torch

from torchlogreg.base import Model
from torchlogreg.data import Batch, pieces


def refuse_one_class(model: Model, data: Batch) -> None:
    """With hard labels of a single class the likelihood has no maximum.

    Raises
    ------
    ValueError
        If all rows with weight have one hard label.
    """
    y, weights, labels = data.y, data.sample_weight, data.hard
    if labels is not None and labels.both and data.even and data.total is None:
        return
    if model.n_classes is None or y.ndim == 2:
        return
    least, most, whole = y.amin(), y.amax(), float(weights.amin()) > 0
    if data.total is None and float(least) < float(most) and whole:
        return
    least, most = least.double(), most.double()
    if not whole:  # of this rank's rows
        least, most = least.new_tensor(torch.inf), most.new_tensor(-torch.inf)
        for own, weight in pieces(y, weights):
            if len(own := own[weight > 0]):
                least, most = least.minimum(own.amin()), most.maximum(own.amax())
    first, last = data.least(least), data.largest(most)
    if float(first) == float(last) == int(first):
        n_counted = int(data.summed(weights.count_nonzero()))
        raise ValueError(
            f"all {n_counted} rows with weight are of class {int(first)}; at least two classes "
            "are needed to tell them apart"
        )
