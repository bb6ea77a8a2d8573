"""Record the descents that the films show: one feature, linear and logistic."""

from __future__ import annotations

import torch

from common import (
    add_device_options,
    add_output_options,
    device_of,
    dtype_of,
    main_guard,
    new_folder,
    parser,
    table,
)
from torchlogreg import LinearRegression, LogisticRegression, Model, fit
from torchlogreg.datasets import Dataset, curve, line
from torchlogreg.hooks import Progress, Recorder, TensorBoardScalars
from torchlogreg.saving import save

DESCRIPTION = """\
Gradient descent on one feature and an intercept, every iteration written down: a line under mean
squared error (1,000 iterations) and an S-curve under cross-entropy (3,000). Two coefficients make
a surface one can look at; the histories saved under runs/descent/ hold the path over it, the data,
and the optimum (from Newton's method), which is all that a film needs.
"""

START = (3.2, -2.4)
LANDMARKS = {"linear": (60, 270, 510, 990), "logistic": (400, 800, 1400, 3000)}


def main() -> int:
    """Record one or both descents."""
    p = parser(DESCRIPTION, "example:\n  python scripts/descent.py --kind logistic --lr 0.2")
    p.add_argument("--kind", choices=("linear", "logistic", "both"), default="both", help="which")
    p.add_argument("--iterations", type=int, help="default: 1000 linear, 3000 logistic")
    p.add_argument("--lr", type=float, help="step size; default: 0.01 linear, 0.06 logistic")
    p.add_argument(
        "--start", type=float, nargs=2, default=START, metavar=("W0", "W1"), help="first point"
    )
    add_device_options(p)
    add_output_options(p, "descent")
    args = p.parse_args()
    if args.iterations is not None and args.iterations < 1:
        raise ValueError(f"--iterations is {args.iterations}, but at least one is needed")
    device, dtype = device_of(args.device), dtype_of(args.dtype)
    kinds = ("linear", "logistic") if args.kind == "both" else (args.kind,)
    with new_folder(args.out, args.name) as folder:
        for kind in kinds:
            data = line() if kind == "linear" else curve()
            iterations = args.iterations or (1000 if kind == "linear" else 3000)
            lr = args.lr or (0.01 if kind == "linear" else 0.06)
            optimum = newton(make(kind, device, dtype), data)
            recorder = Recorder(
                keep_data=True,
                meta={
                    "dataset": data.name,
                    "feature_names": list(data.feature_names),
                    "target_name": data.target_name,
                    "optimum": optimum,
                },
            )
            model = make(kind, device, dtype)
            with torch.no_grad():
                model.bias.fill_(args.start[0])
                model.weight.fill_(args.start[1])
            result = fit(
                model,
                data.X,
                data.y,
                optimizer=torch.optim.SGD(model.parameters(), lr=lr),
                max_epochs=iterations,
                tol=0,
                hooks=(
                    recorder,
                    TensorBoardScalars(folder / kind, every=10),
                    Progress(description=kind),
                ),
            )
            recorder.history.save(folder / kind / "history.npz")
            save(model, folder / kind / "model", facts={"dataset": data.name})
            print(f"\n{kind}: {data.source}")
            show(kind, recorder, optimum["loss"])
            if result.stop_reason == "interrupted":
                return 130
        print(f"\nsaved under {folder}/ (histories, models, TensorBoard events)")
    return 0


def make(kind: str, device: torch.device, dtype: torch.dtype) -> Model:
    """The model of one feature."""
    family = LinearRegression if kind == "linear" else LogisticRegression
    return family(1, device=device, dtype=dtype)


def newton(model: Model, data: Dataset) -> dict[str, object]:
    """The optimum, to rounding: parameters (weight, bias) and loss."""
    result = fit(model, data.X, data.y, optimizer="newton")
    params = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {"params": params.tolist(), "loss": result.objective}


def show(kind: str, recorder: Recorder, best: float) -> None:
    """The landmarks of the original films."""
    history = recorder.history
    last = int(history["epoch"][-1])
    landmarks = sorted({0, *(e for e in LANDMARKS[kind] if e <= last), last})
    rows = []
    for epoch in landmarks:
        params = history.params(epoch)
        loss = float(history["loss_unweighted"][epoch])
        rows.append(
            [
                epoch,
                float(params["bias"][0]),
                float(params["weight"][0, 0]),
                loss,
                f"{loss - best:.2e}",
            ]
        )
    print(table(["iteration", "w0", "w1", "loss", "above the optimum"], rows))


if __name__ == "__main__":
    main_guard(main)
