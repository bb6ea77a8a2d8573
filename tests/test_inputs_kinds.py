"""Good input of every kind is the same input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from problems import params_of, problem
from torchlogreg import fit, inputs

F64 = torch.float64


def read_only(array: np.ndarray) -> np.ndarray:
    """A copy that cannot be written to."""
    array = array.copy()
    array.flags.writeable = False
    return array


GOOD_X: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda X: X,
    "list": lambda X: X.tolist(),
    "tuples": lambda X: tuple(map(tuple, X.tolist())),
    "tensor": torch.from_numpy,
    "tensor that requires grad": lambda X: torch.from_numpy(X.copy()).requires_grad_(),
    "frame": pd.DataFrame,
    "frame of objects": lambda X: pd.DataFrame(X).astype(object),
    "nullable frame": lambda X: pd.DataFrame(X).astype("Float64"),
    "read-only": read_only,
    "reversed twice": lambda X: X[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "strided tensor": lambda X: torch.from_numpy(np.repeat(X, 2, axis=1))[:, ::2],
    "transposed tensor": lambda X: torch.from_numpy(np.ascontiguousarray(X.T)).T,
    "other byte order": lambda X: X.astype(">f8"),
    "long double": lambda X: X.astype(np.longdouble),
}


@pytest.mark.parametrize("kind", GOOD_X)
def test_rows_of_any_kind_are_the_same_rows(kind: str) -> None:
    case = problem("logistic")
    plain, model = case.model(), case.model()
    fit(plain, case.X, case.y)
    fit(model, GOOD_X[kind](case.X.numpy().copy()), case.y)
    # Not bit for bit: the order of a sum follows the memory layout.
    torch.testing.assert_close(params_of(model), params_of(plain), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint16", "uint32", "bool", "float16"])
def test_whole_numbers_of_any_dtype_are_read(dtype: str) -> None:
    case = problem("logistic")
    X = (case.X.numpy() > 0).astype(dtype)
    plain, model = case.model(), case.model()
    fit(plain, X.astype(float), case.y)
    fit(model, X, case.y)
    assert torch.equal(params_of(model), params_of(plain))


GOOD_Y: dict[str, Callable[[np.ndarray], Any]] = {
    "list": lambda y: y.tolist(),
    "tuple": tuple,
    "float": lambda y: y.astype(float),
    "float32": lambda y: y.astype(np.float32),
    "column": lambda y: y[:, None],
    "column tensor": lambda y: torch.from_numpy(y)[:, None],
    "Series": pd.Series,
    "shuffled index": lambda y: pd.Series(y, index=range(len(y), 0, -1)),
    "nullable Series": lambda y: pd.Series(y, dtype="Int64"),
    "frame of one column": lambda y: pd.DataFrame({"y": y}),
    "read-only": read_only,
    "int8": lambda y: y.astype(np.int8),
    "uint8": lambda y: y.astype(np.uint8),
    "uint16": lambda y: y.astype(np.uint16),
    "uint32": lambda y: y.astype(np.uint32),
    "uint64": lambda y: y.astype(np.uint64),
    "uint16 tensor": lambda y: torch.from_numpy(y).to(torch.uint16),
    "uint64 tensor": lambda y: torch.from_numpy(y).to(torch.uint64),
    "tensor with a gradient": lambda y: torch.from_numpy(y).double().requires_grad_(),
    "other byte order": lambda y: y.astype(">i4"),
}


@pytest.mark.parametrize("kind", GOOD_Y)
@pytest.mark.parametrize("name", ["linear", "logistic", "softmax_reference", "ordinal_logit"])
def test_targets_of_any_kind_are_the_same_targets(name: str, kind: str) -> None:
    case = problem(name)
    y = case.y.numpy().round().astype(np.int64)
    y = y - y.min()  # unsigned kinds too
    plain, model = case.model(), case.model()
    fit(plain, case.X, y)
    fit(model, case.X, GOOD_Y[kind](y))
    assert torch.equal(params_of(model), params_of(plain))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, pd.Series, list])
def test_boolean_targets_and_weights_are_read(kind: Callable[[np.ndarray], Any]) -> None:
    case = problem("logistic")
    y, weight = case.y.numpy() > 0, case.X[:, 0].numpy() > -1
    plain, model = case.model(), case.model()
    fit(plain, case.X, case.y, sample_weight=weight.astype(float))
    fit(model, case.X, kind(y), sample_weight=kind(weight))
    assert torch.equal(params_of(model), params_of(plain))


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_offsets_of_either_shape_are_read(shape: tuple[int, ...]) -> None:
    case = problem("logistic")
    offset = np.linspace(-1, 1, 60)
    plain, model = case.model(), case.model()
    fit(plain, case.X, case.y, offset=offset)
    fit(model, case.X, case.y, offset=offset.reshape(shape).tolist())
    assert torch.equal(params_of(model), params_of(plain))


@pytest.mark.parametrize("place", [(0, 0), (3, 2), (4, 0), (9, 2)])
def test_the_first_value_that_is_not_finite_is_named_in_any_block(
    place: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "BLOCK", 6)  # two rows
    X = torch.zeros(10, 3, dtype=F64)
    X[place], X[9, 2] = torch.inf, torch.inf
    with pytest.raises(ValueError, match=f"X has inf in row {place[0]}, column {place[1]}; remove"):
        inputs.as_matrix(X, X)


def test_looking_for_nan_copies_no_rows() -> None:
    # isfinite(X) held abs(X): infer took 76 MB for the check of 500,000 x 20 rows, and 10 besides.
    class Largest(TorchDispatchMode):
        made = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            views = {part.untyped_storage().data_ptr() for part in args if torch.is_tensor(part)}
            if torch.is_tensor(out) and out.untyped_storage().data_ptr() not in views:
                self.made = max(self.made, out.numel())
            return out

    X = torch.zeros(2**17, 5, dtype=F64)
    with Largest() as largest:
        assert inputs.as_matrix(X, X).data_ptr() == X.data_ptr()
    assert 0 < largest.made <= inputs.BLOCK < X.numel()
