"""The settings of a fit, as the HPARAMS page shows them."""

from __future__ import annotations

from torchlogreg.hooks.recorder import describe
from torchlogreg.state import FitState


def settings(state: FitState) -> dict[str, str | int | float]:
    """What the fit knows of itself, flat, under the names the HPARAMS page shows."""
    facts = describe(state)
    model = facts["model"]
    return {
        "model": model["class"],
        **{name: value for name, value in model.items() if name != "class"},
        "optimizer": facts["optimizer"],
        "lr": facts["learning_rate"],
        "penalty": facts["penalty"],
        "weighting": facts["weighting"],
        "n_rows": facts["n_rows"],
        "max_epochs": facts["max_epochs"],
        "dtype": facts["dtype"],
        "device": facts["device"],
    }
