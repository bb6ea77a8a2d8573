"""Train a normal and a misclassification-weighted model side by side on real data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from mapped_rows import divide_mapped

from common import (
    device_of,
    dtype_of,
    main_guard,
    table,
)
from experiments import checkpoints_in, experiment
from rows import Split, divide, scores
from torchlogreg import FitResult, History, Model, Penalty, Weighting, fit
from torchlogreg.columns import Task
from torchlogreg.datasets import DATASETS, Dataset, load
from torchlogreg.disk.streams import map_table
from torchlogreg.distributed import joined, rank, world_size
from torchlogreg.hooks import Checkpoint, Progress, Recorder, StopOnNonFinite, tensorboard_hooks
from torchlogreg.readers import read_table
from torchlogreg.saving import save
from torchlogreg.untrusted import literal
from torchlogreg.viz.canvas import save_picture
from torchlogreg.viz.cost_curves import CostCurves
from train_settings import (
    SCHEDULES,
    arguments,
    can_be_mapped,
    check,
    chosen_weightings,
    make_model,
    make_optimizer,
    make_penalty,
    options,
    stays_on_disk,
)


def main() -> int:
    """Parse, check, train, save, report."""
    now = options().parse_args()
    with joined(timeout=now.timeout):
        args = arguments(now)
        check(args)
        return run(args)


def run(args: argparse.Namespace) -> int:
    """All of it, on each of the processes that torchrun started; words and files from rank 0."""
    device, dtype = device_of(args.device), dtype_of(args.dtype)
    task = {"auto": None, "linear": "number"}.get(args.model, "classes")
    on_disk = stays_on_disk(args, device)
    by_shard = on_disk or (world_size() > 1 and can_be_mapped(args))
    dataset = dataset_of(args, task, by_shard=by_shard)
    model = make_model(args, dataset, device, dtype)
    if by_shard:
        split = divide_mapped(args, dataset, model, few=not on_disk)
    else:
        split = divide(args, dataset, model)
    weightings = chosen_weightings(args, model)
    penalty = make_penalty(args)
    optimizer = make_optimizer(args, penalty)
    if rank() == 0:
        print(describe(dataset, model, split))
    with experiment(args, args.name or dataset.name) as (folder, again):
        results: dict[str, FitResult] = {}
        histories: dict[str, History] = {}
        for name, weighting in weightings.items():
            result, history = train_one(
                args, dataset, split, folder / name, again, weighting, penalty, optimizer
            )
            results[name], histories[name] = result, history
            if result.stop_reason == "interrupted":
                break
        if rank() == 0:
            title = f"{dataset.name}: {', '.join(histories)}"
            picture = save_picture(CostCurves(histories, title=title), folder / "cost_curves.png")
            report(results, split, dataset, folder, picture)
    reasons = [result.stop_reason.partition(":")[0] for result in results.values()]
    return 130 if "interrupted" in reasons else 1 if "non-finite" in reasons else 0


def dataset_of(args: argparse.Namespace, task: Task | None, *, by_shard: bool) -> Dataset:
    """A known set or a .csv file as a whole; of other files, on several ranks, this one's rows."""
    if args.data in DATASETS:
        return load(args.data)
    if by_shard:
        return map_table(args.data, args.target, task=task, shard=world_size() > 1)
    return read_table(args.data, args.target, task=task)


def train_one(
    args: argparse.Namespace,
    dataset: Dataset,
    split: Split,
    folder: Path,
    again: bool,
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
    checkpoint = Checkpoint(checkpoints_in(folder, again))
    keep = split.n_train * split.X.shape[1] <= 1_000_000
    recorder = Recorder(keep_data=keep, meta=facts)
    batch = "all" if args.batch_size is None else args.batch_size
    result = fit(
        model,
        split.X,
        split.y,
        feature_names=dataset.feature_names,
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
            checkpoint,
        ),
        generator=torch.Generator().manual_seed(args.seed),
        resume=checkpoint.folder if again else None,
    )
    if split.standardizer is not None:
        split.standardizer.fold_(model)
    if rank():
        return result, recorder.history
    recorder.history.save(folder / "history.npz")
    told = {**facts, "columns": "raw", "message": result.message}
    save(model, folder / "model", facts=told)
    return result, recorder.history


def notes(dataset: Dataset, name: str, split: Split) -> str:
    """The top of the run's TEXT page."""
    scaled = " (features standardised)" if split.standardizer is not None else ""
    data, source, target = map(literal, (dataset.name, dataset.source, dataset.target_name))
    return f"### {data}: {name}\n{source}; target {target}{scaled}"


def describe(dataset: Dataset, model: Model, split: Split) -> str:
    """What is about to be trained, in two lines."""
    target = dataset.target_name + (
        f" ({' / '.join(dataset.class_names)})" if model.n_classes else ""
    )
    scaled = "standardised" if split.standardizer is not None else "raw"
    n = split.n_train + len(split.y_test)
    dtype = str(split.X.dtype).removeprefix("torch.")
    return (
        f"{dataset.name}: {n} rows, {len(dataset.feature_names)} {scaled} columns, "
        f"target {target}\n{model} on {split.X.device}, {dtype}; "
        f"{split.n_train} rows to train on, {len(split.y_test)} to test"
    )


def report(
    results: dict[str, FitResult], split: Split, dataset: Dataset, folder: Path, picture: Path
) -> None:
    """The final table, on rows in raw columns, and where everything is."""
    rows, header = [], []
    for name, result in results.items():
        train = scores(result.model, split.X_raw, split.y_raw)
        test = scores(result.model, split.X_test, split.y_test)
        header = ["run", *(f"{part} {key}" for part in ("train", "test") for key in train)]
        header += ["epochs", "seconds"]
        figures = [*train.values(), *test.values(), result.n_epochs, f"{result.seconds:.2f}"]
        rows.append([name, *figures])
    print("\n" + table(header, rows) + "\n")
    for name, result in results.items():
        print(f"{name}: {result.message}")
    if len(split.X_raw) < split.n_train:
        print(f"train scores are of the first {len(split.X_raw)} rows of {split.n_train}")
    print(f"\nsaved under {folder}/")
    for name in results:
        print(f"  {name}/  model.safetensors, history.npz, TensorBoard events")
    print(f"  {picture.name}")
    if any(result.stop_reason == "interrupted" for result in results.values()):
        print(f"go on: python scripts/train.py --resume {folder}")
    print(f"watch: python scripts/watch.py {folder.parent}")


if __name__ == "__main__":
    main_guard(main)
