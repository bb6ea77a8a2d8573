"""On another device every fit gives what it gives on the CPU: without a GPU, on a pretended one.

What tests/test_gpu.py asks of a GPU, as far as it can be asked without: nothing is mixed up, and
the rows stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import afar
from problems import CLASSIFIERS, MODELS, problem
from torchlogreg import L1, L2, BoostMisclassified, Model, fit, infer
from torchlogreg.diagnostics import diagnose
from torchlogreg.hooks.recorder import Recorder
from torchlogreg.optim import OPTIMIZERS

# asgd: torch makes its step sizes by a function that no device in Python can have. The last two
# are for sparse rows and work on the CPU alone.
LEFT_OUT = {"asgd", "coordinate_newton", "dual_coordinate"}
NAMES = [name for name in OPTIMIZERS if name not in LEFT_OUT]
MODEL_OF = {"block_lbfgs": "softmax", "least_squares": "linear"}


@pytest.fixture
def elsewhere() -> Iterator[afar.Device]:
    """The pretended device."""
    with afar.device() as mode:
        yield mode


def params_of(model: Model) -> Tensor:
    """All parameters, on the CPU."""
    return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])


@pytest.mark.parametrize("optimizer", NAMES)
def test_every_optimizer_gives_what_it_gives_on_the_cpu(
    optimizer: str, elsewhere: afar.Device
) -> None:
    case = problem(MODEL_OF.get(optimizer, "logistic"))
    models = [case.model(), case.model().to("afar")]
    for model in models:
        fit(
            model,
            case.X,
            case.y,
            penalty=L1(0.05) if optimizer.startswith("proximal") else L2(0.1),
            optimizer=optimizer,
            max_epochs=8,
            tol=0,
            batch_size=7 if optimizer in ("saga", "svrg") else None,
            generator=torch.Generator().manual_seed(0),
        )
    assert models[1].weight.device.type == "afar"
    torch.testing.assert_close(params_of(models[1]), params_of(models[0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_analysis_is_that_of_the_cpu(name: str, elsewhere: afar.Device) -> None:
    case = problem(name)
    found = []
    for place in ("cpu", "afar"):
        model = case.model().to(place)
        result = fit(model, case.X, case.y)
        assert result.converged, result.message
        inferred = infer(model, case.X, case.y)
        found.append((str(diagnose(model, case.X, case.y)), str(inferred.summary())))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_weights_that_follow_the_model_and_a_recorder(name: str, elsewhere: afar.Device) -> None:
    case = problem(name)
    records = []
    for place in ("cpu", "afar"):
        recorder = Recorder()
        fit(
            case.model().to(place),
            case.X,
            case.y,
            weighting=BoostMisclassified(),
            penalty=L2(0.1),
            max_epochs=4,
            tol=0,
            hooks=[recorder],
        )
        records.append(recorder.history)
    for figure in ("objective", "loss_unweighted", "accuracy", "params"):
        a, b = (torch.from_numpy(record[figure]) for record in records)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton", "subsampled_newton", "newton_cg", "sgd"])
def test_rows_that_are_there_stay_there(optimizer: str, elsewhere: afar.Device) -> None:
    case = problem("logistic")
    model = case.model().to("afar")
    X, y = case.X.to("afar"), case.y.to("afar")
    fit(model, X, y, penalty=L2(0.1), optimizer=optimizer, max_epochs=5, tol=0)
    assert X.device.type == "afar"
    assert max(elsewhere.fetched, default=0) < case.n  # neither rows nor a column of theirs


def test_what_is_mixed_up_is_refused(elsewhere: afar.Device) -> None:
    x = torch.ones(3, device="afar")
    assert float((x * torch.tensor(2.0)).sum()) == 6  # a number may come from the CPU
    with pytest.raises(RuntimeError, match="two devices"):
        x + torch.ones(3)
    with pytest.raises(TypeError, match="afar tensor to numpy"):
        x.numpy()
    assert x.cpu().numpy().tolist() == [1, 1, 1] and elsewhere.fetched[-1] == 3
