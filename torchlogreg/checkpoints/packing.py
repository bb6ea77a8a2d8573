"""What a running fit remembers, as plain JSON and bytes: nothing in it can run code.

Tensors are kept with the memory they look at, so that two that share it still do, and with their
strides, because products of the same numbers stored otherwise may differ in the last bit. Objects
are kept by the name of a class and its fields; only the classes that the reader allows are made,
without calling them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.disk import mapped
from torchlogreg.untrusted import one_line

PLAIN = (bool, int, float, str, type(None))
METHODS = ("solve", "base")
"""Bound methods that may be kept: of an object that is kept itself."""


class Packer:
    """Turns a graph of objects into JSON and storages.

    Parameters
    ----------
    known : mapping of str to object
        What the reader has already: kept by name.
    classes : sequence of type
        Whose instances may be kept.

    Attributes
    ----------
    storages : dict of str to Tensor
        Bytes, by number; of several tensors that look at the same memory, once.
    """

    def __init__(self, known: Mapping[str, Any], classes: Sequence[type]) -> None:
        self.storages: dict[str, Tensor] = {}
        self._known = {id(value): name for name, value in known.items()}
        self._memory = {
            _address(value): name for name, value in known.items() if _has_storage(value)
        }
        self._classes = set(classes)
        self._seen: dict[int, tuple[int, Any]] = {}  # the object is held, or its id could be reused

    def pack(self, value: Any, where: str = "") -> Any:
        """``value`` as JSON.

        Raises
        ------
        TypeError
            Naming what cannot be kept, and where it is.
        """
        if id(value) in self._known and value is not None:
            return ["known", self._known[id(value)]]
        if type(value) in PLAIN:
            return value
        if id(value) in self._seen:
            return ["again", self._seen[id(value)][0]]
        if isinstance(value, np.generic):
            return value.item()
        number = len(self._seen)
        self._seen[id(value)] = number, value
        return ["new", number, *self._new(value, where)]

    def _new(self, value: Any, where: str) -> list[Any]:
        """The kind of a value, and what it is made from."""
        if isinstance(value, torch.Generator):
            return ["generator", self.pack(value.get_state())]
        if _has_storage(value):
            return ["tensor", *self._view(value)]
        if isinstance(value, torch.dtype):
            return ["dtype", str(value).removeprefix("torch.")]
        if isinstance(value, np.ndarray):
            return ["array", *self._view(torch.from_numpy(value))]
        if type(value) in (list, tuple, torch.Size):
            kind = "list" if type(value) is list else "tuple"
            return [kind, [self.pack(v, f"{where}[{i}]") for i, v in enumerate(value)]]
        if isinstance(value, dict):
            kind = "counter" if isinstance(value, Counter) else "dict"
            pairs = [[self.pack(k), self.pack(v, f"{where}[{k!r}]")] for k, v in value.items()]
            return [kind, pairs]
        if type(value) in self._classes:
            fields = _fields(value)
            inside = {k: self.pack(v, f"{where}.{k}") for k, v in fields.items()}
            return ["object", type(value).__name__, inside]
        owner = getattr(value, "__self__", None)
        if type(owner) in self._classes and value.__name__ in METHODS:
            return ["method", value.__name__, self.pack(owner, where)]
        raise TypeError(
            f"{where.lstrip('.') or 'the state'} is a {type(value).__name__}, which a checkpoint "
            "cannot hold; keep tensors, numbers, strings, and lists and dicts of them"
        )

    def _view(self, tensor: Tensor) -> list[Any]:
        """Storage, dtype, device, shape, strides, offset."""
        tensor = tensor.detach()
        if any(
            size > 1 and step == 0 for size, step in zip(tensor.shape, tensor.stride(), strict=True)
        ):
            tensor = tensor.contiguous()  # expanded: more entries than memory
        name = self._memory.get(_address(tensor))
        if name is None:
            name = str(len(self.storages))
            self._memory[_address(tensor)] = name
            memory = torch.empty(0, dtype=torch.uint8, device=tensor.device)
            self.storages[name] = memory.set_(tensor.untyped_storage()).cpu()
            self._seen[-1 - len(self._seen)] = -1, tensor  # held, so that its address stays its own
        dtype = str(tensor.dtype).removeprefix("torch.")
        kind = "cpu" if tensor.device.type == "cpu" else "device"
        layout = list(tensor.shape), list(tensor.stride()), tensor.storage_offset()
        return [name, dtype, kind, *layout]


class Unpacker:
    """Turns JSON and storages back into objects.

    Parameters
    ----------
    storages : mapping of str to Tensor
        Bytes.
    known : mapping of str to object
        What the packer knew, here.
    classes : sequence of type
        Which may be made.
    device : torch.device
        Where tensors that were not on the CPU go.
    """

    def __init__(
        self,
        storages: Mapping[str, Tensor],
        known: Mapping[str, Any],
        classes: Sequence[type],
        device: torch.device,
    ) -> None:
        self.known = dict(known)
        self._storages = storages
        self._classes = {c.__name__: c for c in classes}
        self._device = device
        self._seen: dict[int, Any] = {}
        self._made: dict[tuple[str, str], Tensor] = {}

    def unpack(self, node: Any) -> Any:
        """The value of a node.

        Raises
        ------
        ValueError
            If it is none that ``Packer`` makes.
        """
        if type(node) in PLAIN:
            return node
        try:
            if node[0] == "known":
                return self.known[node[1]]
            if node[0] == "again":
                return self._seen[node[1]]
            if node[0] != "new":
                raise ValueError(f"unknown node {node[0]!r}")
            number, kind, *parts = node[1:]
            self._seen[number] = made = getattr(self, f"_{_KINDS[kind]}")(*parts)
            return made
        except (
            LookupError,
            TypeError,
            ValueError,
            ArithmeticError,
            AttributeError,
            RuntimeError,
        ) as error:
            what = f"{type(error).__name__}: {one_line(error)}"
            raise ValueError(f"its contents make no sense ({what[:120]})") from None

    def _generator(self, state: Any) -> torch.Generator:
        made = torch.Generator()
        made.set_state(self.unpack(state))
        return made

    def _tensor(
        self, name: str, dtype: str, kind: str, shape: list[int], stride: list[int], offset: int
    ) -> Tensor:
        """A view of its storage; torch refuses one that leaves it."""
        entry = _DTYPES[dtype]
        if name in self.known:
            memory = torch.empty(0, dtype=entry, device=self.known[name].device)
            memory.set_(self.known[name].untyped_storage())
        else:
            device = torch.device("cpu") if kind == "cpu" else self._device
            if (name, kind) not in self._made:
                # A copy: what is read lies anywhere, and products depend on where, too. What is
                # large has a file of its own, which begins on a page.
                found = self._storages[name]
                found = found if found.numel() >= mapped.LARGE else found.clone()
                self._made[name, kind] = found.to(device)
            memory = torch.empty(0, dtype=entry, device=device)
            memory.set_(self._made[name, kind].untyped_storage())
        if int(np.prod(shape, dtype=object)) > memory.numel():
            raise ValueError(f"a tensor of shape {shape} in {memory.nbytes} bytes")
        return memory.as_strided(shape, stride, offset)

    def _dtype(self, name: str) -> torch.dtype:
        return _DTYPES[name]

    def _array(self, *view: Any) -> np.ndarray[Any, Any]:
        made: np.ndarray[Any, Any] = self._tensor(*view).numpy()
        return made

    def _list(self, nodes: list[Any]) -> list[Any]:
        return [self.unpack(node) for node in nodes]

    def _tuple(self, nodes: list[Any]) -> tuple[Any, ...]:
        return tuple(self._list(nodes))

    def _dict(self, pairs: list[Any]) -> dict[Any, Any]:
        return {self.unpack(key): self.unpack(value) for key, value in pairs}

    def _counter(self, pairs: list[Any]) -> Counter[Any]:
        return Counter(self._dict(pairs))

    def _object(self, name: str, fields: dict[str, Any]) -> Any:
        """An instance, its fields set one by one; no code of the class runs."""
        kind = self._classes[name]
        values = {key: self.unpack(node) for key, node in fields.items()}
        if issubclass(kind, tuple):
            return tuple.__new__(kind, (values.pop(key) for key in kind._fields))  # type: ignore[attr-defined]
        made = object.__new__(kind)
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                object.__setattr__(made, field.name, values[field.name])
        else:
            made.__dict__.update(values)
        return made

    def _method(self, name: str, owner: Any) -> Any:
        if name not in METHODS:
            raise ValueError(f"a method {name!r}")
        return getattr(self.unpack(owner), name)


_KINDS = {
    kind: kind
    for kind in "generator dtype tensor array list tuple dict counter object method".split()
}
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}


def _has_storage(value: Any) -> bool:
    """Whether this is an ordinary tensor: others, such as sparse rows, have no memory."""
    return type(value) in (Tensor, torch.nn.Parameter) and value.layout is torch.strided


def _address(tensor: Tensor) -> int:
    """Where the memory of a tensor begins; that of an empty one is nowhere."""
    return tensor.untyped_storage().data_ptr() or -1 - id(tensor)


def _fields(value: Any) -> dict[str, Any]:
    """Fields by name, as they are."""
    if isinstance(value, tuple):
        return value._asdict()  # type: ignore[attr-defined, no-any-return]
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    stored = getattr(value, "stored", None)  # of one that stands in more memory than counts
    return dict(vars(value)) if stored is None else stored()
