"""Train a normal and a misclassification-weighted model side by side on real data."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import (
    device_of,
    dtype_of,
    main_guard,
    new_folder,
    save_model,
    table,
)
from torchlogreg import FitResult, History, Model, Penalty, Weighting, fit
from torchlogreg.datasets import DATASETS, Dataset, load
from torchlogreg.hooks import Progress, Recorder, StopOnNonFinite, tensorboard_hooks
from torchlogreg.readers import read_table
from torchlogreg.scaling import Standardizer
from torchlogreg.viz.canvas import save_picture
from torchlogreg.viz.cost_curves import CostCurves
from train_settings import (
    SCHEDULES,
    chosen_weightings,
    make_model,
    make_optimizer,
    make_penalty,
    options,
)


@dataclass(frozen=True)
class Split:
    """A data set as tensors, divided and standardised."""

    X: Tensor
    y: Tensor
    X_test: Tensor
    y_test: Tensor
    standardizer: Standardizer | None


def main() -> int:
    """Parse, check, train, save, report."""
    args = options().parse_args()
    device, dtype = device_of(args.device), dtype_of(args.dtype)
    task = {"auto": None, "linear": "number"}.get(args.model, "classes")
    known = args.data in DATASETS
    dataset = load(args.data) if known else read_table(args.data, args.target, task=task)
    model = make_model(args, dataset, device, dtype)
    split = divide(args, dataset, model)
    weightings = chosen_weightings(args, model)
    penalty = make_penalty(args)
    optimizer = make_optimizer(args, penalty)
    print(describe(dataset, model, split))
    with new_folder(args.out, args.name or dataset.name) as folder:
        results: dict[str, FitResult] = {}
        histories: dict[str, History] = {}
        for name, weighting in weightings.items():
            result, history = train_one(
                args, dataset, split, folder / name, weighting, penalty, optimizer
            )
            results[name], histories[name] = result, history
            if result.stop_reason == "interrupted":
                break
        title = f"{dataset.name}: {', '.join(histories)}"
        picture = save_picture(CostCurves(histories, title=title), folder / "cost_curves.png")
        report(results, split, dataset, folder, picture)
    return 130 if any(r.stop_reason == "interrupted" for r in results.values()) else 0


def train_one(
    args: argparse.Namespace,
    dataset: Dataset,
    split: Split,
    folder: Path,
    weighting: Weighting | None,
    penalty: Penalty | None,
    optimizer: Any,
) -> tuple[FitResult, History]:
    """One fit with all hooks; leaves events, history and model in ``folder``."""
    model = make_model(args, dataset, split.X.device, split.X.dtype)
    facts = {
        "dataset": dataset.name,
        "feature_names": list(dataset.feature_names),
        "class_names": list(dataset.class_names),
        "target_name": dataset.target_name,
        "standardized": split.standardizer is not None,
        "penalty": repr(penalty),
    }
    recorder = Recorder(keep_data=split.X.numel() <= 1_000_000, meta=facts)
    batch = "all" if args.batch_size is None else args.batch_size
    result = fit(
        model,
        split.X,
        split.y,
        optimizer=optimizer,
        penalty=penalty,
        weighting=weighting,
        batch_size=args.batch_size,
        max_epochs=args.epochs,
        tol=args.tol,
        scheduler=SCHEDULES[args.schedule](args.epochs) if args.schedule else None,
        hooks=(
            recorder,
            StopOnNonFinite(),
            *tensorboard_hooks(
                folder,
                share=None,  # these runs are there to be looked at
                feature_names=dataset.feature_names,
                class_names=dataset.class_names if model.n_classes else None,
                hparams={"data": dataset.name, "batch_size": batch},
                notes=notes(dataset, folder.name, split),
            ),
            Progress(description=folder.name),
        ),
        generator=torch.Generator().manual_seed(args.seed),
    )
    if split.standardizer is not None:
        split.standardizer.fold_(model)
    recorder.history.save(folder / "history.npz")
    save_model(model, folder, facts | {"columns": "raw", "message": result.message})
    return result, recorder.history


def notes(dataset: Dataset, name: str, split: Split) -> str:
    """The top of the run's TEXT page."""
    scaled = " (features standardised)" if split.standardizer is not None else ""
    return f"### {dataset.name}: {name}\n{dataset.source}; target `{dataset.target_name}`{scaled}"


def divide(args: argparse.Namespace, dataset: Dataset, model: Model) -> Split:
    """Train and test rows, standardised by the training rows alone."""
    from sklearn.model_selection import train_test_split

    if not 0 < args.test_size < 1:
        raise ValueError(f"--test-size is {args.test_size}, but it is a share between 0 and 1")
    counts = (
        np.bincount(dataset.y.astype(int)) if dataset.class_names else np.array([len(dataset.y)])
    )
    stratify = dataset.y if dataset.class_names and counts.min() > 1 else None
    X, X_test, y, y_test = train_test_split(
        dataset.X, dataset.y, test_size=args.test_size, random_state=args.seed, stratify=stratify
    )
    like = model.weight.detach()
    X, X_test, y, y_test = (
        torch.as_tensor(a, device=like.device, dtype=None if a.dtype.kind == "i" else like.dtype)
        for a in (X, X_test, y, y_test)
    )
    if not args.standardize:
        return Split(X, y, X_test, y_test, None)
    standardizer = Standardizer.of(X, centre=args.bias)
    return Split(standardizer.transform(X), y, X_test, y_test, standardizer)


def describe(dataset: Dataset, model: Model, split: Split) -> str:
    """What is about to be trained, in two lines."""
    target = dataset.target_name + (
        f" ({' / '.join(dataset.class_names)})" if model.n_classes else ""
    )
    scaled = "standardised" if split.standardizer is not None else "raw"
    dtype = str(split.X.dtype).removeprefix("torch.")
    return (
        f"{dataset.name}: {len(dataset.y)} rows, {len(dataset.feature_names)} {scaled} columns, "
        f"target {target}\n{model} on {split.X.device}, {dtype}; "
        f"{len(split.y)} rows to train on, {len(split.y_test)} to test"
    )


def report(
    results: dict[str, FitResult], split: Split, dataset: Dataset, folder: Path, picture: Path
) -> None:
    """The final table, on rows in raw columns, and where everything is."""
    X_train = split.X
    if split.standardizer is not None:
        X_train = split.X * split.standardizer.scale + split.standardizer.mean
    rows, header = [], []
    for name, result in results.items():
        train = scores(result.model, X_train, split.y)
        test = scores(result.model, split.X_test, split.y_test)
        header = ["run", *(f"{part} {key}" for part in ("train", "test") for key in train)]
        header += ["epochs", "seconds"]
        figures = [*train.values(), *test.values(), result.n_epochs, f"{result.seconds:.2f}"]
        rows.append([name, *figures])
    print("\n" + table(header, rows) + "\n")
    for name, result in results.items():
        print(f"{name}: {result.message}")
    print(f"\nsaved under {folder}/")
    for name in results:
        print(f"  {name}/  model.pt, model.json, history.npz, TensorBoard events")
    print(f"  {picture.name}")
    print(f"watch: python scripts/watch.py {folder.parent}")


@torch.no_grad()
def scores(model: Model, X: Tensor, y: Tensor) -> dict[str, float | None]:
    """Unweighted mean loss, accuracy and AUC; for a numeric target mean squared error and R2."""
    eta = model(X)
    loss = float(model.nll(eta, model.target(y)).mean())
    if model.n_classes is None:
        return {"loss": loss, "R2": 1 - loss / float((y - y.mean()).square().mean())}
    accuracy = float((model.predict(eta) == y).double().mean())
    return {"loss": loss, "accuracy": accuracy, "AUC": auc(model.mean(eta), y)}


def auc(probabilities: Tensor, y: Tensor) -> float | None:
    """Area under the ROC curve (one against rest, averaged); None where a class is absent."""
    from sklearn.metrics import roc_auc_score

    labels = y.cpu().numpy()
    n_classes = probabilities.shape[1] if probabilities.ndim == 2 else 2
    if len(np.unique(labels)) < n_classes:
        return None
    table = probabilities.double()
    table = table / table.sum(1, keepdim=True) if table.ndim == 2 else table
    return float(roc_auc_score(labels, table.cpu().numpy(), multi_class="ovr"))


if __name__ == "__main__":
    main_guard(main)
