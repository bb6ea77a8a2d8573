"""On a CUDA device every fit gives what it gives on the CPU."""

from __future__ import annotations

import pytest
import torch

from problems import CLASSIFIERS, MODELS, params_of, problem
from torchlogreg import (
    L1,
    L2,
    BoostMisclassified,
    FitState,
    Focal,
    Hook,
    LogisticRegression,
    Model,
    Smoothed,
    fit,
    kernels,
)
from torchlogreg.data import Batch
from torchlogreg.hooks.recorder import Recorder
from torchlogreg.objective import Objective
from torchlogreg.optim import OPTIMIZERS

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


# Those that go all the way; the others are compared after ten epochs from the same start.
TO_THE_END = {
    "block_lbfgs", "lbfgs", "least_squares", "newton", "newton_cg", "proximal_gradient",
    "proximal_newton", "subsampled_newton",
}  # fmt: skip
MODEL_OF = {"block_lbfgs": "softmax", "least_squares": "linear"}


SPARSE = {"coordinate_newton", "dual_coordinate"}  # on the CPU alone


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in SPARSE])
def test_every_optimizer_gives_what_it_gives_on_the_cpu(optimizer: str) -> None:
    name = MODEL_OF.get(optimizer, "logistic")
    case, ends = problem(name), optimizer in TO_THE_END
    penalty = L1(0.05) if optimizer.startswith("proximal") else L2(0.1)
    cpu, cuda = on_both(name, torch.float64)
    for model in (cpu, cuda):
        fit(
            model,
            case.X,
            case.y,
            penalty=penalty,
            optimizer=optimizer,
            max_epochs=1000 if ends else 10,
            tol=1e-10 if ends else 0,
            batch_size=7 if optimizer in ("saga", "svrg") else None,
            generator=torch.Generator().manual_seed(0),
        )
    torch.testing.assert_close(params_of(cuda).cpu(), params_of(cpu), rtol=1e-8, atol=1e-8)


def large(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and labels on the device, enough for the kernels, and not of a tile's size."""
    g = torch.Generator("cuda").manual_seed(0)
    X = torch.randn(170_001, 100, device="cuda", dtype=dtype, generator=g)
    y = (torch.rand(len(X), device="cuda", generator=g) < torch.sigmoid(X[:, 0])).to(dtype)
    return X, y


@pytest.mark.parametrize("optimizer", ["lbfgs", "subsampled_newton", "newton_cg"])
def test_rows_on_the_device_are_neither_moved_nor_copied(optimizer: str) -> None:
    X, y = large(torch.float32)
    seen = []

    class Look(Hook):
        """Notes where the rows lie."""

        def on_fit_end(self, state: FitState) -> None:
            """At the end."""
            seen.append(state.data.X.data_ptr())

    model = LogisticRegression(X.shape[1], device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fit(model, X, y, penalty=L2(0.01), optimizer=optimizer, tol=1e-4, hooks=[Look()])
    assert seen == [X.data_ptr()]
    assert torch.cuda.max_memory_allocated() - before < X.nbytes / 2 + 2**27


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kernel_is_used_and_gives_what_torch_gives(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="the CUDA kernels need Triton")
    X, y = large(dtype)
    model = LogisticRegression(X.shape[1], device="cuda", dtype=dtype)
    with torch.no_grad():
        model.weight += 0.1
    data = Batch(X, y, torch.ones_like(y))
    assert kernels.available(model, model.nll, data)
    found = []
    for switch in ("on", "on", "off"):
        monkeypatch.setenv("TORCHLOGREG_KERNELS", switch)
        closure = Objective(model).closure(data, data)
        found.append(torch.cat((closure().reshape(1), closure.gradient())))
    assert torch.equal(found[0], found[1])
    rounding = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found[0], found[2], rtol=rounding, atol=rounding)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_plain_step_never_waits_for_the_device(optimizer: str) -> None:
    # tests/test_syncs.py counts the same on the CPU; here the driver says so.
    X, y = large(torch.float32)
    model = LogisticRegression(X.shape[1], device="cuda")
    data, objective = Batch(X, y, torch.ones_like(y)), Objective(model)
    steps = OPTIMIZERS[optimizer](model.parameters())
    closure = objective.closure(data, data)
    steps.step(closure)
    steps.step(closure)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps.step(closure)
    finally:
        torch.cuda.set_sync_debug_mode("default")


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
