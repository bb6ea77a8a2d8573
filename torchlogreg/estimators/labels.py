"""Labels of any type as class indices, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from torchlogreg.weighting import ClassBalanced, ClassWeights, Weighting


def own_order(y: Any) -> list[Any] | None:
    """The order of the labels that ``y`` brings along: that of a pandas ordered Categorical."""
    categorical = getattr(y, "cat", y)  # a Series has the accessor, a Categorical is one
    if not getattr(categorical, "ordered", False):
        return None
    return list(categorical.categories)


def encode(y: Any, levels: Sequence[Any] | None = None) -> tuple[Any, Tensor]:
    """Classes and the index of every row's class.

    Parameters
    ----------
    y : ndarray or Tensor, shape (n,)
    levels : sequence, optional
        All labels in their order. Default: sorted.

    Returns
    -------
    classes : ndarray or Tensor, shape (K,)
        The labels that occur, in order.
    codes : Tensor, shape (n,), int64

    Raises
    ------
    ValueError
        If a label is not among ``levels``, or they repeat, or labels have no order.
    """
    if isinstance(y, Tensor):
        classes, codes = torch.unique(y, return_inverse=True)
    else:
        classes, inverse = sorted_classes(y)
        codes = torch.from_numpy(inverse.astype(np.int64))
    if levels is None:
        return classes, codes
    positions = _positions(classes.tolist(), list(levels))
    order = np.argsort(positions)  # of the sorted labels, in the order of the levels
    rank = torch.from_numpy(np.argsort(order)).to(codes.device)
    return classes[order], rank[codes]


def check_present(y: Any) -> None:
    """Refuse a pandas target with missing labels: its NA has no truth value to be checked later.

    Raises
    ------
    ValueError
        Naming the first row.
    """
    if not hasattr(y, "isna"):
        return
    missing = np.asarray(y.isna()).reshape(len(y), -1).any(axis=1)
    if missing.any():
        raise ValueError(f"y has no label in row {missing.argmax()}; remove or impute such rows")


def check_labels(y: Any) -> None:
    """Refuse what cannot be class labels: measurements, missing values, labels of mixed types.

    Parameters
    ----------
    y : ndarray or Tensor, shape (n,)

    Raises
    ------
    ValueError
        Saying which.
    """
    if isinstance(y, Tensor):
        strange = (y != y.round()).nonzero() if y.is_floating_point() else y.new_zeros(0)
        if len(strange):  # NaN too, which would be a class of its own
            row = strange[0].tolist()
            raise ValueError(
                f"y has {y[tuple(row)].item()!r} in row {row[0]}, but class labels in a tensor are "
                "whole numbers; remove missing rows, or use LinearRegressor for measurements"
            )
        return
    if y.dtype.kind == "O":  # text as pandas holds it; scikit-learn checks numbers
        sorted_classes(y)
    check_classification_targets(y)


def sorted_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and codes, or an error where labels have no order: mixed types, missing ones."""
    try:
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in y.tolist()})
        raise ValueError(
            f"y has labels of the types {', '.join(kinds)}, which cannot be sorted; use one type, "
            "and remove rows whose label is missing"
        ) from None
    return classes, codes


def codes_of(y: Any, classes: Any) -> Tensor:
    """Indices of labels among the ``classes`` of an earlier fit.

    Raises
    ------
    ValueError
        If a label is none of them.
    """
    found, codes = encode(y)
    positions = _positions(found.tolist(), classes.tolist())
    return torch.tensor(positions, device=codes.device)[codes]


def all_classes(known: Any, classes: Any, order: Sequence[Any] | None) -> Any:
    """The labels that chunks may hold: those of earlier chunks, or those now named.

    Parameters
    ----------
    known : ndarray or Tensor, shape (K,), or None
        Of earlier chunks.
    classes : array, shape (K,), or None
    order : sequence, optional
        Default: sorted.

    Raises
    ------
    ValueError
        If neither is there, or they differ, or fewer than two are named.
    """
    if classes is None:
        if known is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit: the first chunk may lack "
                "some; pass classes=[...]"
            )
        return known
    named, _ = encode(classes if isinstance(classes, Tensor) else np.asarray(classes), order)
    if known is not None and named.tolist() != known.tolist():
        raise ValueError(
            f"classes is {named.tolist()}, but the classes of the chunks before are "
            f"{known.tolist()}; pass the same, or none"
        )
    if len(named) < 2:
        raise ValueError(f"classes is {named.tolist()}, but at least two classes are needed")
    return named


def names_of(classes: Any) -> list[str]:
    """Labels as words: ``1`` for 1.0, since a class is no measurement."""
    whole = [isinstance(c, float) and c.is_integer() for c in classes.tolist()]
    return [str(int(c) if w else c) for c, w in zip(classes.tolist(), whole, strict=True)]


def _positions(found: list[Any], levels: list[Any]) -> list[int]:
    """Where each label stands among the levels."""
    place = {level: i for i, level in enumerate(levels)}
    if len(place) < len(levels):
        raise ValueError(f"the levels {levels} repeat themselves; name each one once")
    unknown = [label for label in found if label not in place]
    if unknown:
        raise ValueError(f"y has the label {unknown[0]!r}, but the levels are {levels}")
    return [place[label] for label in found]


def class_weighting(
    class_weight: Mapping[Any, float] | str | None, classes: Any
) -> Weighting | None:
    """The weighting that scikit-learn's ``class_weight`` asks for.

    Parameters
    ----------
    class_weight : mapping of label to float, "balanced" or None
    classes : ndarray or Tensor, shape (K,)

    Raises
    ------
    ValueError
        If it is none of these, or names labels that do not occur while others have no weight,
        which is what a misspelt label looks like.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight == "balanced":
        return ClassBalanced()
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f"class_weight is {class_weight!r}, but it is 'balanced', a dict of label to weight, "
            "or None"
        )
    labels = classes.tolist()
    strange = [label for label in class_weight if label not in labels]
    unnamed = [label for label in labels if label not in class_weight]
    if strange and unnamed:
        raise ValueError(
            f"class_weight names {strange[0]!r}, but the classes are {labels}, and {unnamed[0]!r} "
            "has no weight"
        )
    return ClassWeights({labels.index(c): w for c, w in class_weight.items() if c in labels})
