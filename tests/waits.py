"""Counts on the CPU what would make a program wait for a CUDA device."""

from __future__ import annotations

import collections
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Each copies a number, a size or an error code to the host. linalg's checked factorisations do too.
ALWAYS = {
    "aten::_local_scalar_dense",  # .item(), float(), bool(), int(), if
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_linalg_check_errors",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
}
BY_MASK = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
METHODS = ("tolist", "numpy", "cpu")  # of these the dispatcher sees nothing where all is on the CPU


class Waits(TorchDispatchMode):
    """A context; ``places`` counts the waits inside by file, line and operation.

    torch's optimizers keep their step counts on the host, whatever the device: reading those is
    not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: collections.Counter[str] = collections.Counter()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Waits:
        for name in METHODS:
            self._patch.setattr(Tensor, name, self._counted(name, getattr(Tensor, name)))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patch.undo()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Count, then do."""
        name = func._schema.name
        by_mask = name in BY_MASK and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if name in ALWAYS or by_mask:
            self._note(name)
        return func(*args, **(kwargs or {}))

    @property
    def count(self) -> int:
        """How often it would have waited."""
        return self.places.total()

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counting(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._note(name)
            return method(tensor, *args, **kwargs)

        return counting

    def _note(self, name: str) -> None:
        frames = traceback.extract_stack()
        if any(frame.name == "_get_value" for frame in frames):
            return
        own = [f for f in frames if "torchlogreg" in f.filename or "torch/optim" in f.filename]
        last = (own or frames)[-1]
        self.places[f"{last.filename}:{last.lineno} {name}"] += 1
