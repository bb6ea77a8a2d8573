"""The cost-logger experiment: 200 iterations, plain against misclassification-weighted."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from common import (
    add_device_options,
    add_output_options,
    device_of,
    dtype_of,
    main_guard,
    new_folder,
    parser,
    positive,
    table,
)
from torchlogreg import (
    L2,
    BoostMisclassified,
    ClassMean,
    FitResult,
    History,
    Hook,
    LogisticRegression,
    Weighting,
    fit,
)
from torchlogreg.datasets import blobs
from torchlogreg.hooks import Recorder, tensorboard_hooks
from torchlogreg.saving import save
from torchlogreg.viz.canvas import save_picture
from torchlogreg.viz.cost_curves import CostCurves

DESCRIPTION = """\
Two blobs of points, three logistic regressions, three test scores.

  base      one fit that runs its iterations inside
  normal    the same iterations, one call after another
  weighted  before each iteration the rows that the model then gets wrong have their weight set
            to 2, where it stays

base and normal must agree to the last bit: a loop outside the fit is the loop inside it. The cost
of the weighted run can RISE while its model improves: the rows it gets wrong count twice. The cost
without the weights, written beside it, is the one to compare.
"""

EPILOG = """\
examples:
  python scripts/weighted_vs_normal.py
  python scripts/weighted_vs_normal.py --weighting class_mean     (as the original program did it)
"""


def main() -> int:
    """Run the three fits and print the table."""
    args = options().parse_args()
    if args.iterations < 1:
        raise ValueError(f"--iterations is {args.iterations}, but at least one is needed")
    positive("--lr", args.lr)
    job = Job(args, device_of(args.device), dtype_of(args.dtype))
    weighting = BoostMisclassified() if args.weighting == "boost" else ClassMean()
    with new_folder(args.out, args.name) as folder:
        histories: dict[str, History] = {}
        models: dict[str, LogisticRegression] = {}
        for name, rule in (("normal", None), ("weighted", weighting)):
            models[name], histories[name] = job.recorded(folder / name, rule)
        picture = save_picture(CostCurves(histories), folder / "cost_curves.png")
        base, looped = job.inside(), job.outside()
        print(f"{len(job.X)} rows to train on, {len(job.X_test)} to test", end=", ")
        print(f"{args.iterations} iterations\n")
        rows = [
            [name, job.score(model), *final_costs(histories[run])]
            for name, model, run in (
                ("base", base, "normal"),
                ("normal", looped, "normal"),
                ("weighted", models["weighted"], "weighted"),
            )
        ]
        print(table(["model", "test score", "cost", "cost without weights"], rows))
        same = same_parameters(base, looped) and same_parameters(base, models["normal"])
        print(f"\nbase and normal agree bit for bit: {'yes' if same else 'NO'}")
        print(f"saved under {folder}/ ({picture.name}, histories, models, TensorBoard events)")
    return 0


def options() -> argparse.ArgumentParser:
    """The command line."""
    p = parser(DESCRIPTION, EPILOG)
    p.add_argument(
        "--weighting",
        choices=("boost", "class_mean"),
        default="boost",
        help="boost: the misclassified rows themselves gain weight; class_mean: the original's "
        "reduction of the row weights to {0: 1, 1: their mean}",
    )
    p.add_argument("--iterations", type=int, default=200, help="of each fit")
    p.add_argument("--lr", type=float, default=0.35, help="of full-batch gradient descent")
    p.add_argument("--alpha", type=float, default=1 / 400, help="L2 (C = 1 in scikit-learn)")
    add_device_options(p)
    add_output_options(p, "weighted_vs_normal")
    return p


class Job:
    """The original's data and split, and the fits on it."""

    def __init__(self, args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> None:
        from sklearn.model_selection import train_test_split

        data = blobs()
        parts = train_test_split(data.X, data.y, test_size=0.2, random_state=42)
        self.X, self.X_test, self.y, self.y_test = (
            torch.as_tensor(part, dtype=dtype, device=device) for part in parts
        )
        self.penalty, self.lr, self.iterations = L2(args.alpha), args.lr, args.iterations

    def recorded(
        self, folder: Path, weighting: Weighting | None
    ) -> tuple[LogisticRegression, History]:
        """One fit with everything written down; saved also if Ctrl-C ended it."""
        model, recorder = self.model(), Recorder(keep_data=True, sample_weight=True)
        shown = tensorboard_hooks(folder, share=None, feature_names=("x1", "x2"))
        result = self.fit(model, self.iterations, weighting, (recorder, *shown))
        recorder.history.save(folder / "history.npz")
        save(model, folder / "model", facts={"dataset": "blobs"})
        stop_if_interrupted(result)
        return model, recorder.history

    def inside(self) -> LogisticRegression:
        """All iterations in one call."""
        model = self.model()
        stop_if_interrupted(self.fit(model, self.iterations))
        return model

    def outside(self) -> LogisticRegression:
        """One call an iteration."""
        model = self.model()
        for _ in range(self.iterations):
            stop_if_interrupted(self.fit(model, 1))
        return model

    def model(self) -> LogisticRegression:
        """At zero."""
        return LogisticRegression(2, device=self.X.device, dtype=self.X.dtype)

    def fit(
        self,
        model: LogisticRegression,
        epochs: int,
        weighting: Weighting | None = None,
        hooks: tuple[Hook, ...] = (),
    ) -> FitResult:
        """Full-batch gradient descent."""
        return fit(
            model,
            self.X,
            self.y,
            optimizer=torch.optim.SGD(model.parameters(), lr=self.lr),
            penalty=self.penalty,
            weighting=weighting,
            max_epochs=epochs,
            tol=0,
            hooks=hooks,
        )

    @torch.no_grad()
    def score(self, model: LogisticRegression) -> float:
        """Share of test rows predicted right."""
        predicted: Tensor = model.predict(model(self.X_test))
        return float((predicted == self.y_test).double().mean())


def stop_if_interrupted(result: FitResult) -> None:
    """``fit`` ends cleanly on Ctrl-C; the script then ends too."""
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt


def final_costs(history: History) -> list[float]:
    """With and without the schedule's weights."""
    return [float(history[name][-1]) for name in ("loss_weighted", "loss_unweighted")]


def same_parameters(a: LogisticRegression, b: LogisticRegression) -> bool:
    """To the last bit."""
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


if __name__ == "__main__":
    main_guard(main)
