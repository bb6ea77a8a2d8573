"""History: what a fit looked like, as plain arrays. Saved as .npz, loaded without pickle."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


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
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what ``save`` wrote; no pickle is ever loaded.

        Raises
        ------
        ValueError
            If the file is not a history.
        FileNotFoundError
            If there is none.
        """
        try:
            # Opened here: np.load leaves the file open when it turns out to be no zip.
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                meta = json.loads(str(file["meta"]))
                arrays = {name: file[name] for name in file.files if name != "meta"}
            parts: dict[str, dict[str, np.ndarray]] = {"records": {}, "data": {}}
            for name, array in arrays.items():
                kind, _, key = name.partition("/")
                if array.dtype.kind not in "biuf":
                    raise ValueError(f"{name} holds {array.dtype}, no numbers")
                parts[kind][key] = array
            return cls(parts["records"], parts["data"], meta)
        except _NOT_OURS as error:
            raise ValueError(f"{path} is no history saved by torchlogreg ({error})") from None


_NOT_OURS = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError)
"""What numpy and json raise on files that are damaged, foreign (a bare .npy too) or hostile."""
