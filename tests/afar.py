"""A device that is not there: tensors that say they are elsewhere, and compute on the CPU.

Whoever mixes them with tensors of the CPU, or takes one for an array, gets the error that a GPU
would give; what moves between the two is counted. So a machine without a GPU finds such mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

MOVES = ("aten::_to_copy", "aten::copy_")
INDEXES = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


class Afar(Tensor):
    """A tensor elsewhere; ``near`` is the one that holds its numbers."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Afar:
        """Wrap."""
        new: Afar = Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=torch.device("afar:0"),
        )
        new.near = near.detach()
        return new

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Only inside :func:`device` do such tensors exist."""
        raise RuntimeError("use them inside afar.device()")


class Device(TorchDispatchMode):
    """Runs what is afar, refuses what is mixed; ``fetched``: entries of each move to the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU; wrap what belongs afar."""
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        far = [t for t in tensors if isinstance(t, Afar)]
        asked = kwargs.get("device")
        stays = bool(far) if asked is None else torch.device(asked).type == "afar"
        if not far and not stays:
            return func(*args, **kwargs)
        name = func._schema.name
        if name not in MOVES:
            _refuse_mixed(name, far, tensors)
        elif not stays or (name == "aten::copy_" and not isinstance(args[0], Afar)):
            self.fetched.append(far[0].numel())
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        near_args, near_kwargs = tree_map(_near, (args, kwargs))
        out = func(*near_args, **near_kwargs)
        own = {id(t.near): t for t in far}  # what was changed in place is returned as it came
        goes = stays and not (name == "aten::copy_" and not isinstance(args[0], Afar))
        if not goes or not _tensors(out):
            return out
        return tree_map(lambda o: own[id(o)] if id(o) in own else Afar(o), out)


def _tensors(out: Any) -> bool:
    return all(isinstance(o, Tensor) for o in tree_leaves(out))


def _near(x: Any) -> Any:
    return x.near if isinstance(x, Afar) else x


def _refuse_mixed(name: str, far: list[Any], tensors: list[Any]) -> None:
    """As torch does: numbers without a dimension may come from the CPU, and indices too."""
    whole = (torch.int64, torch.bool) if name in INDEXES else ()
    near = [t for t in tensors if not isinstance(t, Afar) and t.ndim > 0 and t.dtype not in whole]
    if far and near:
        raise RuntimeError(f"{name}: tensors on two devices, afar:0 and cpu")


@cache
def _register() -> None:
    """Make the name known to torch, once and for this process."""
    from torch.utils import backend_registration

    backend_registration._setup_privateuseone_for_python_backend("afar")


def there_can_be_one() -> bool:
    """Whether this torch lets Python define a device."""
    from torch.utils import backend_registration

    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


@contextmanager
def device() -> Iterator[Device]:
    """The device ``"afar"``, for the time being."""
    _register()
    to_list, to_array, like = Tensor.tolist, Tensor.numpy, Tensor.new_tensor

    def numpy(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(tensor, Afar):
            raise TypeError("can't convert an afar tensor to numpy; use Tensor.cpu()")
        return to_array(tensor, *args, **kwargs)

    def new_tensor(tensor: Tensor, data: Any, **kwargs: Any) -> Tensor:
        made = like(_near(tensor), data, **kwargs)
        return Afar(made) if isinstance(tensor, Afar) else made

    with pytest.MonkeyPatch.context() as patch, Device() as mode:
        patch.setattr(Tensor, "tolist", lambda tensor: to_list(_near(tensor)))
        patch.setattr(Tensor, "numpy", numpy)
        patch.setattr(Tensor, "new_tensor", new_tensor)
        yield mode
