"""On a CUDA device every fit gives what it gives on the CPU."""

from __future__ import annotations

import pytest
import torch

from problems import CLASSIFIERS, MODELS, params_of, problem
from torchlogreg import L1, L2, BoostMisclassified, FitState, Focal, Hook, Model, Smoothed, fit
from torchlogreg.hooks.recorder import Recorder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
DTYPES = tuple(TOLERANCE)


def on_both(name: str, dtype: torch.dtype) -> tuple[Model, Model]:
    """The same model on the CPU and on the device."""
    case = problem(name, dtype=dtype)
    return case.model(), case.model().to("cuda")


def assert_same(cpu: Model, cuda: Model, dtype: torch.dtype) -> None:
    """The device's parameters equal the CPU's."""
    assert {p.device.type for p in cuda.parameters()} == {"cuda"}
    torch.testing.assert_close(
        params_of(cuda).cpu(), params_of(cpu), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "adam", "sgd"])
def test_every_model_fits_as_on_the_cpu(name: str, dtype: torch.dtype, optimizer: str) -> None:
    # Rows stay on the CPU: fit moves them to the model.
    case = problem(name, dtype=dtype)
    cpu, cuda = on_both(name, dtype)
    epochs = 10 if optimizer in ("adam", "sgd") else 50  # descent amplifies rounding
    tol = 0 if optimizer in ("adam", "sgd") else TOLERANCE[dtype] / 100
    for model in (cpu, cuda):
        fit(
            model,
            case.X,
            case.y,
            penalty=L2(0.1),
            optimizer=optimizer,
            max_epochs=epochs,
            tol=tol,
        )
    assert_same(cpu, cuda, dtype)


@pytest.mark.parametrize("name", MODELS)
def test_a_non_smooth_penalty_fits_as_on_the_cpu(name: str) -> None:
    case = problem(name)
    cpu, cuda = on_both(name, torch.float64)
    for model in (cpu, cuda):
        assert fit(model, case.X, case.y, penalty=L1(0.05), tol=1e-10, max_epochs=1000).converged
    torch.testing.assert_close(params_of(cuda).cpu(), params_of(cpu), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_schedule_weighs_as_on_the_cpu(name: str) -> None:
    case = problem(name)
    cpu, cuda = on_both(name, torch.float64)
    for rule in (BoostMisclassified(), Smoothed(Focal())):
        for model in (cpu, cuda):
            fit(model, case.X, case.y, weighting=rule, penalty=L2(0.1), max_epochs=8, tol=0)
        assert_same(cpu, cuda, torch.float64)


def test_mini_batches_come_in_the_order_of_the_cpu() -> None:
    # The generator lives on the CPU on purpose.
    case = problem("logistic")
    cpu, cuda = on_both("logistic", torch.float64)
    for model in (cpu, cuda):
        fit(
            model,
            case.X,
            case.y,
            optimizer="sgd",
            batch_size=7,
            max_epochs=3,
            tol=0,
            generator=torch.Generator().manual_seed(0),
        )
    assert_same(cpu, cuda, torch.float64)


@pytest.mark.parametrize("source", ["numpy", "cpu", "cuda"])
def test_data_from_anywhere_is_moved_to_the_model(source: str) -> None:
    case = problem("logistic")
    model = case.model().to("cuda")
    X = case.X.numpy() if source == "numpy" else case.X.to(source)
    y = case.y.numpy() if source == "numpy" else case.y.to(source)
    result = fit(model, X, y, sample_weight=[1.0] * case.n, offset=[0.0] * case.n)
    assert result.converged and result.sample_weight.device.type == "cuda"


def test_data_on_the_device_is_moved_to_a_model_on_the_cpu() -> None:
    case = problem("logistic")
    result = fit(case.model(), case.X.cuda(), case.y.cuda())
    assert result.converged and result.sample_weight.device.type == "cpu"


def test_a_recorder_records_as_on_the_cpu() -> None:
    case = problem("logistic")
    histories = []
    for model in on_both("logistic", torch.float64):
        recorder = Recorder()
        fit(model, case.X, case.y, weighting=Focal(), max_epochs=5, tol=0, hooks=[recorder])
        histories.append(recorder.history)
    cpu, cuda = histories
    assert cpu["epoch"].tolist() == cuda["epoch"].tolist()
    for name in ("objective", "loss_unweighted", "params", "accuracy", "sample_weight"):
        torch.testing.assert_close(
            torch.from_numpy(cuda[name]), torch.from_numpy(cpu[name]), rtol=1e-7, atol=1e-9
        )


def test_hooks_see_tensors_of_the_device() -> None:
    seen = []

    class Look(Hook):
        """Notes where the figures live."""

        def on_epoch_end(self, state: FitState) -> None:
            """Every figure that hooks may read."""
            seen.extend([state.optimality, state.value, *state.rows, state.data.sample_weight])

    case = problem("logistic")
    fit(case.model().to("cuda"), case.X, case.y, hooks=[Look()], max_epochs=2)
    assert seen and {figure.device.type for figure in seen} == {"cuda"}
