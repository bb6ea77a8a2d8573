"""Hard labels of two classes that a kernel has seen: what need not be asked of them again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor


class Labels(NamedTuple):
    """Labels that are all 0 or 1.

    Attributes
    ----------
    y : Tensor, shape (n,)
    version : int
        Of ``y`` then.
    both : bool
        Whether there are rows of either class.
    sign : array, shape (n,) or (0,)
        ``1 - 2 y``, of few rows.
    """

    y: Tensor
    version: int
    both: bool
    sign: np.ndarray[Any, Any]

    def holds(self, y: Tensor) -> bool:
        """Whether these are ``y``, which nobody has changed since."""
        return self.y is y and self.version == y._version
