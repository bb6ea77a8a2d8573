"""A model of ours in a LightningModule: Lightning's loop, our losses, sample weights in the batch.

pip install lightning && python examples/lightning_module.py
"""

from __future__ import annotations

import logging
import warnings

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from torchlogreg import L2, LogisticRegression, fit
from torchlogreg.datasets import blobs

ALPHA = 0.01


class LitLogistic(lightning.LightningModule):
    """Logistic regression by mini-batches of (X, y, sample_weight)."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.model = LogisticRegression(n_features, dtype=torch.float64)
        self.penalty = L2(ALPHA)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """Weighted mean of the losses of the rows, plus the penalty."""
        X, y, sample_weight = batch
        losses = self.model.nll(self.model(X), y)  # (n,)
        objective = (sample_weight * losses).mean() + self.penalty.value(self.model.weight)
        self.log("objective", objective)
        return objective

    def configure_optimizers(self) -> dict[str, object]:
        """Gradient descent whose steps shrink, so that mini-batches settle."""
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.93)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def main() -> None:
    """Train through Lightning and by `fit`, and compare."""
    data = blobs()
    X, y = torch.as_tensor(data.X, dtype=torch.float64), torch.as_tensor(data.y).double()
    X = (X - X.mean(dim=0)) / X.std(dim=0)
    sample_weight = torch.where(y == 1, 1.5, 0.5).double()
    sample_weight /= sample_weight.mean()

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # advice on workers and versions
    rows = TensorDataset(X, y, sample_weight)
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(rows, batch_size=32, shuffle=True, generator=generator)
    lit = LitLogistic(X.shape[1])
    trainer = lightning.Trainer(
        max_epochs=60,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(lit, loader)

    exact = LogisticRegression(X.shape[1], dtype=torch.float64)
    fit(exact, X, y, penalty=L2(ALPHA), sample_weight=sample_weight)
    print(f"Lightning: {lit.model.weight.tolist()[0]} {lit.model.bias.item():.4f}")
    print(f"fit:       {exact.weight.tolist()[0]} {exact.bias.item():.4f}")
    with torch.no_grad():
        gap = (lit.model.mean(lit.model(X)) - exact.mean(exact(X))).abs().max()
    print(f"largest difference of the probabilities: {gap.item():.4f}")


if __name__ == "__main__":
    main()
