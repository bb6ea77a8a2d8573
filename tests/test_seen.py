"""What hooks see of an epoch, against the state's own answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_pages import read
from problems import MODELS, problem
from torchlogreg import L1, L2, BoostMisclassified, FitState, Hook, Penalty, fit
from torchlogreg.hooks import EventFile, TensorBoardScalars
from torchlogreg.hooks.landscape import flat_params
from torchlogreg.hooks.seen import Sight, optimalities


class Look(Hook):
    """Notes what the state says, and what was seen."""

    def on_fit_start(self, state: FitState) -> None:
        self.sight, self.own, self.seen = Sight(), [], []
        self.optimalities = optimalities(state)
        self.on_epoch_end(state)

    def on_epoch_end(self, state: FitState) -> None:
        seen = self.sight.of(state)
        assert self.sight.of(state) is seen
        gradient = state.objective.closure(state.data, state.data).gradient()
        assert seen.epoch == state.epoch and seen.sample_weight is state.data.sample_weight
        assert seen.gradient.tolist() == gradient.tolist()
        assert seen.params.tolist() == flat_params(state.model).tolist()
        for found, own in zip((seen.eta, seen.losses), state.rows, strict=True):
            assert found.tolist() == own.tolist()
        self.seen.append(seen)
        self.own.append((float(state.value), float(state.optimality)))


@pytest.mark.parametrize("penalty", [None, L2(0.1), L1(0.05)], ids=["none", "smooth", "rough"])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_seen_equals_what_the_state_says(
    name: str, batch_size: int | None, penalty: Penalty | None
) -> None:
    case, look = problem(name), Look()
    fit(
        case.model(),
        case.X,
        case.y,
        penalty=penalty,
        weighting=None if name == "linear" else BoostMisclassified(1.3),
        optimizer="svrg" if batch_size else "proximal_gradient",
        batch_size=batch_size,
        max_epochs=5,
        tol=0.0,
        hooks=[look],
    )
    found = look.optimalities(look.seen).tolist()
    assert found == pytest.approx([optimality for _, optimality in look.own], rel=1e-12)
    values = [float(seen.value) for seen in look.seen]
    assert values == pytest.approx([value for value, _ in look.own], rel=1e-12)
    assert found[0] > found[-1] > 0


def test_parameters_that_a_hook_puts_back_are_seen(tmp_path: Path) -> None:
    case, file = problem("logistic"), EventFile(tmp_path)

    class PutBack(Hook):
        def on_epoch_end(self, state: FitState) -> None:
            before = file.sight.of(state).params
            state.model.weight.data.zero_()
            state.model.weight.requires_grad_(False).zero_().requires_grad_(True)
            after = file.sight.of(state).params
            assert before.abs().sum() > 0 and not after[: state.model.weight.numel()].any()

    hooks = [TensorBoardScalars(file, every=1), PutBack()]
    fit(case.model(), case.X, case.y, optimizer="sgd", max_epochs=3, tol=0.0, hooks=hooks)
    assert len(read(tmp_path).Scalars("optimality")) == 4
