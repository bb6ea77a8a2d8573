"""From what users hold to rows for a model: arrays, frames, sparse matrices, tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import is_regressor
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.distributed import world_size
from torchlogreg.estimators.placement import device_of
from torchlogreg.inputs import as_matrix
from torchlogreg.sparse_inputs import holds_sparse, sparse_rows
from torchlogreg.tensors import as_tensor

FLOATS = (np.float64, np.float32)
"""What rows are kept in; other dtypes become the first."""


class Reads:
    """The half of an estimator that looks at rows.

    Tensors stay where they are; scipy's matrices, as compressed rows, stay sparse.
    """

    model_: Model
    n_features_in_: int
    device: Any

    def _check(self, X: Any, y: Any, *, reset: bool = True) -> tuple[Tensor, Any]:
        """First look at rows and target: a tensor (n, p), and ``y`` as a flat array or tensor.

        Raises
        ------
        ValueError
            On several ranks, of which each would standardise and count classes by its own rows.
        """
        if world_size() > 1:
            raise ValueError(
                f"{type(self).__name__} fits the rows of one process, and here are {world_size()}; "
                "use torchlogreg.fit(model, X, y) with each rank's rows"
            )
        if isinstance(X, Tensor):
            y = y if isinstance(y, Tensor) else validate_data(self, y=y, reset=False)
            rows = self._tensor(X)
            if reset:
                self.__dict__.pop("feature_names_in_", None)
                self.n_features_in_ = rows.shape[1]
            self._check_width(rows)
            return rows, y.squeeze(1) if y.ndim == 2 and y.shape[1] == 1 else y
        if isinstance(y, Tensor):
            y = y.detach().cpu().numpy()
        numeric = is_regressor(self)
        X, y = validate_data(
            self, X, y, reset=reset, accept_sparse="csr", dtype=FLOATS, y_numeric=numeric
        )
        return self._tensor(X), y

    def _tensor(self, X: Any) -> Tensor:
        """Rows on the device of the fit, of their own floating dtype."""
        default = X.device if isinstance(X, Tensor) else "cpu"
        device = device_of(default if self.device is None else self.device)
        if isinstance(X, Tensor):
            own = X.dtype if X.dtype in (torch.float32, torch.float64) else torch.float64
            return as_matrix(X, torch.empty(0, dtype=own, device=device))
        if holds_sparse(X):
            own = torch.float32 if X.dtype == np.float32 else torch.float64
            return sparse_rows(X, own, device)
        return as_tensor(X, "X", device)

    def _check_width(self, rows: Tensor) -> None:
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )

    def _eta(self, X: Any, offset: Any) -> Tensor:
        """Linear predictor (n, k) of new rows."""
        check_is_fitted(self)
        like = self.model_.weight
        if not isinstance(X, Tensor):
            X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=FLOATS)
        rows = (
            as_matrix(X, like)
            if isinstance(X, Tensor) or holds_sparse(X)
            else (as_tensor(X, "X", like.device).to(like.dtype))
        )
        self._check_width(rows)
        if offset is not None:
            offset = as_tensor(offset, "offset", like.device).to(like.dtype)
            if len(offset) != len(rows):
                raise ValueError(f"offset has {len(offset)} rows, but X has {len(rows)}")
            if not bool(torch.isfinite(offset).all()):
                raise ValueError("offset is not finite; remove or impute such rows")
        with torch.no_grad():
            eta: Tensor = self.model_(rows, offset)
        return eta

    def __sklearn_tags__(self) -> Any:
        """Sparse rows are welcome."""
        parent: Any = super()
        tags = parent.__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
