"""The cost-logger experiment: 200 iterations, plain against misclassification-weighted."""

from __future__ import annotations

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
    save_model,
    table,
)
from torchlogreg import (
    L2,
    BoostMisclassified,
    ClassMean,
    FitResult,
    Hook,
    LogisticRegression,
    Weighting,
    fit,
)
from torchlogreg.datasets import blobs
from torchlogreg.hooks import Recorder, tensorboard_hooks
from torchlogreg.viz.canvas import save_picture
from torchlogreg.viz.cost_curves import CostCurves

DESCRIPTION = """\
Two blobs of points, three logistic regressions, three test scores.

  base      one fit that runs its iterations inside
  normal    the same iterations, one call after another, the cost written down after each
  weighted  the same loop; before each iteration the rows that the model then gets wrong have their
            weight set to 2, where it stays

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
    args = p.parse_args()
    if args.iterations < 1:
        raise ValueError(f"--iterations is {args.iterations}, but at least one is needed")
    X, X_test, y, y_test = divided_blobs(device_of(args.device), dtype_of(args.dtype))
    weighting = BoostMisclassified() if args.weighting == "boost" else ClassMean()

    def train(
        model: LogisticRegression,
        epochs: int,
        weighting: Weighting | None = None,
        hooks: tuple[Hook, ...] = (),
    ) -> FitResult:
        return fit(
            model,
            X,
            y,
            optimizer=torch.optim.SGD(model.parameters(), lr=args.lr),
            penalty=L2(args.alpha),
            weighting=weighting,
            max_epochs=epochs,
            tol=0,
            hooks=hooks,
        )

    with new_folder(args.out, args.name) as folder:
        base = LogisticRegression(2, device=X.device, dtype=X.dtype)
        train(base, args.iterations)
        looped = LogisticRegression(2, device=X.device, dtype=X.dtype)
        for _ in range(args.iterations):
            train(looped, 1)
        models, histories = {"base": base, "normal": looped}, {}
        for name, rule in (("normal", None), ("weighted", weighting)):
            model = LogisticRegression(2, device=X.device, dtype=X.dtype)
            recorder = Recorder(keep_data=True, sample_weight=True, meta={"dataset": "blobs"})
            shown = tensorboard_hooks(folder / name, share=None, feature_names=("x1", "x2"))
            result = train(model, args.iterations, rule, (recorder, *shown))
            recorder.history.save(folder / name / "history.npz")
            save_model(model, folder / name, {"dataset": "blobs"})
            histories[name] = recorder.history
            if name == "weighted":
                models[name] = model
            if result.stop_reason == "interrupted":
                return 130
        rows = []
        for name, model in models.items():
            history = histories["weighted" if name == "weighted" else "normal"]
            score = accuracy(model, X_test, y_test)
            cost, plain = history["loss_weighted"][-1], history["loss_unweighted"][-1]
            rows.append([name, score, float(cost), float(plain)])
        pairs = zip(base.parameters(), looped.parameters(), strict=True)
        same = all(torch.equal(a, b) for a, b in pairs)
        picture = save_picture(CostCurves(histories), folder / "cost_curves.png")
        print(f"{len(X)} rows to train on, {len(X_test)} to test, {args.iterations} iterations\n")
        print(table(["model", "test score", "cost", "cost without weights"], rows))
        print(f"\nbase and normal agree bit for bit: {'yes' if same else 'NO'}")
        print(f"saved under {folder}/ ({picture.name}, histories, models, TensorBoard events)")
    return 0


def divided_blobs(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The original's data and split: X, X_test, y, y_test."""
    from sklearn.model_selection import train_test_split

    data = blobs()
    parts = train_test_split(data.X, data.y, test_size=0.2, random_state=42)
    return tuple(torch.as_tensor(part, dtype=dtype, device=device) for part in parts)


@torch.no_grad()
def accuracy(model: LogisticRegression, X: Tensor, y: Tensor) -> float:
    """Share of rows predicted right."""
    return float((model.predict(model(X)) == y).double().mean())


if __name__ == "__main__":
    main_guard(main)
