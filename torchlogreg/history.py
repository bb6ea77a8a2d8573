"""History: what a fit looked like, as plain arrays. Saved as .npz, loaded without pickle."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO

import numpy as np

from torchlogreg.untrusted import one_line, read_header, refuse_too_large, shown
from torchlogreg.whole_files import whole_file


class History:
    """Records of a fit, one row per recorded epoch.

    Attributes
    ----------
    records : dict of str to ndarray
        Equal length ``m`` on the first axis. Written by ``hooks.Recorder``: ``epoch``, ``step``,
        ``evaluations`` (values that the optimizer asked for), ``seconds``, ``objective`` (weighted,
        with penalty), ``loss_weighted``, ``loss_unweighted``, ``optimality``, ``learning_rate``,
        ``weight_norm``, ``params (m, P)``; for classifiers ``accuracy``; if asked for,
        ``sample_weight (m, n)``. "Unweighted" is without the weighting's factors: the user's own
        sample weights count, as repeated rows would.
    data : dict of str to ndarray
        What does not change: ``X (n, p)`` and ``y``, if kept.
    meta : dict
        JSON: the model's configuration, the names and shapes behind ``params``, settings, why it
        stopped.
    """

    def __init__(
        self,
        records: Mapping[str, np.ndarray],
        data: Mapping[str, np.ndarray] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        scalars = [name for name, array in records.items() if np.ndim(array) == 0]
        if scalars:
            raise ValueError(f"record {scalars[0]!r} is a single number, but it has one per epoch")
        lengths = {name: len(array) for name, array in records.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"records differ in length: {lengths}")
        self.records = dict(records)
        self.data = dict(data or {})
        self.meta = dict(meta or {})

    def __len__(self) -> int:
        return len(next(iter(self.records.values()), ()))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.records:
            raise KeyError(f"no record {name!r}; there are {', '.join(sorted(self.records))}")
        return self.records[name]

    def __contains__(self, name: object) -> bool:
        return name in self.records

    def params(self, index: int = -1) -> dict[str, np.ndarray]:
        """Parameters by name at one record, in the shapes of the module.

        Parameters
        ----------
        index : int
            Row of the records; the last by default.
        """
        flat, parts, start = self["params"][index], {}, 0
        for name, shape in self.meta["params"]:
            size = int(np.prod(shape))
            parts[name] = flat[start : start + size].reshape(shape)
            start += size
        return parts

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a compressed .npz; the file appears whole or not at all.

        Parameters
        ----------
        path : path
            Its folder must exist; ``.npz`` is appended if missing.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        TypeError
            If ``meta`` is not JSON-able, or an array holds Python objects.
        """
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        arrays = {"meta": np.array(json.dumps(self.meta))}
        arrays |= {f"records/{name}": array for name, array in self.records.items()}
        arrays |= {f"data/{name}": array for name, array in self.data.items()}
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise TypeError(f"{name} holds Python objects, but a history is loaded unpickled")
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what ``save`` wrote; no pickle is ever loaded, and no name becomes a path.

        Raises
        ------
        ValueError
            If the file is not a history, or is larger than memory when unpacked.
        OSError
            If it cannot be opened.
        """
        with open(path, "rb") as raw:
            return cls._read(path, raw)

    @classmethod
    def _read(cls, path: str | os.PathLike[str], raw: BinaryIO) -> History:
        """The history in an open file."""
        try:
            _check_archive(path, raw)
            # The file was opened by us: np.load leaves it open when it turns out to be no zip.
            with warnings.catch_warnings(), np.load(raw, allow_pickle=False) as file:
                warnings.simplefilter("ignore")  # numpy on headers of Python 2
                meta = json.loads(str(file["meta"]))
                arrays = {name: file[name] for name in file.files if name != "meta"}
            _check_meta(meta)
            parts: dict[str, dict[str, np.ndarray]] = {"records": {}, "data": {}}
            for name, array in arrays.items():
                kind, _, key = name.partition("/")
                if array.dtype.kind not in "biuf":
                    raise ValueError(f"{name} holds {array.dtype}, no numbers")
                parts[kind][key] = array
            history = cls(parts["records"], parts["data"], meta)
            _check_params(history)
            return history
        except Exception as error:  # zipfile, its codecs, numpy and json fail in many ways
            raise ValueError(
                f"{path} is no history saved by torchlogreg ({one_line(error)})"
            ) from None


def _check_archive(path: str | os.PathLike[str], raw: BinaryIO) -> None:
    """Refuse a zip whose arrays claim more bytes than they have, or more than there is room for.

    A member is unpacked no further than its entry says, so the entries bound the memory.
    """
    with zipfile.ZipFile(raw) as archive:
        members = archive.infolist()
        refuse_too_large(path, sum(member.file_size for member in members), "its arrays")
        for member in members:
            with archive.open(member) as file:
                shape, _, dtype = read_header(file)
                if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize > member.file_size:
                    raise ValueError(f"{shown(member.filename)} claims a shape it has no bytes for")
    raw.seek(0)


def _check_meta(meta: Any) -> None:
    """Refuse a description in which what is drawn later has another type than ``save`` gave it."""
    if not isinstance(meta, dict):
        raise TypeError("meta is no JSON object")
    for name, kind in _TYPES.items():
        if not isinstance(meta.get(name), (kind, NoneType)):
            raise TypeError(f"meta {name!r} is {shown(meta[name])}, no {kind.__name__}")
    for name in ("feature_names", "class_names"):
        if not all(isinstance(text, str) for text in meta.get(name) or ()):
            raise TypeError(f"meta {name!r} holds what is no text")


def _check_params(history: History) -> None:
    """Names and shapes of the parameters must fill the recorded vectors."""
    layout = history.meta.get("params")
    if layout is None or "params" not in history:
        return
    width = 0
    for name, shape in layout:
        if not isinstance(name, str) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"{shown(name)} is no parameter of the shape {shown(shape)}")
        width += prod(shape)
    if history["params"].ndim != 2 or history["params"].shape[1] != width:
        raise ValueError(f"params are {history['params'].shape}, but {width} numbers are named")


_TYPES = {"model": dict, "params": list, "feature_names": list, "class_names": list}
"""What a description is made of, where it is there."""
