"""Train several optimizers from one start and film the race over the loss surface."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from animate import check_film, film_of, size
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
from torchlogreg import (
    L2,
    OPTIMIZERS,
    FitResult,
    History,
    LinearRegression,
    LogisticRegression,
    fit,
)
from torchlogreg.datasets import DATASETS, Dataset, load
from torchlogreg.hooks import Recorder, StopOnNonFinite, TensorBoardScalars
from torchlogreg.readers import read_table
from torchlogreg.saving import save
from torchlogreg.scaling import Standardizer
from torchlogreg.viz import Race

DESCRIPTION = """\
Same data, same loss, same start: which optimizer gets down fastest, and at what price? Every run is
recorded and filmed over the loss surface; with more than two parameters the plane is the one that
holds most of all paths (principal components), or two coefficients of your choice. An optimizer
that diverges is marked where it left the picture; evaluations of the loss are counted, since one
step of L-BFGS or of a line search costs several.
"""

EPILOG = """\
examples:
  python scripts/race.py
  python scripts/race.py --optimizers sgd momentum=0.05 adam lbfgs newton --out-film race.gif
  python scripts/race.py --data my.csv --target bought --coefficients 0 3
"""

RACERS = ("sgd", "momentum", "nesterov", "adam", "rmsprop", "lbfgs")


def main() -> None:
    """Train, tabulate, film."""
    p = parser(DESCRIPTION, EPILOG)
    p.add_argument(
        "--data", default="curve", metavar="NAME|FILE", help=f"{', '.join(DATASETS)}, or a file"
    )
    p.add_argument("--target", metavar="COLUMN", help="what to predict, in a file")
    p.add_argument(
        "--optimizers",
        nargs="+",
        default=RACERS,
        metavar="NAME[=LR]",
        help=f"of {', '.join(sorted(OPTIMIZERS))}",
    )
    p.add_argument("--iterations", type=int, default=300, help="epochs of each run")
    p.add_argument("--alpha", type=float, default=0.0, help="L2 penalty")
    p.add_argument(
        "--start", type=float, nargs="+", metavar="W", help="all parameters, weight first"
    )
    p.add_argument(
        "--coefficients", type=int, nargs=2, metavar=("I", "J"), help="which two to show"
    )
    p.add_argument("--out-film", type=Path, help="default: race.mp4 in the folder of the runs")
    p.add_argument("--frames", type=int, default=200, help="of the film")
    p.add_argument("--fps", type=int, default=20, help="frames a second")
    p.add_argument("--size", type=size, metavar="WxH", help="pixels")
    p.add_argument("--dark", action="store_true", help="dark theme")
    add_device_options(p)
    add_output_options(p, "race")
    args = p.parse_args()
    args.sheet = False
    check_film(args.out_film or Path("race.mp4"))
    data = load(args.data) if args.data in DATASETS else read_table(args.data, args.target)
    factories = {spec: factory_of(spec) for spec in args.optimizers}
    start = args.start or ([-2.4, 3.2] if data.X.shape[1] == 1 else None)
    device, dtype = device_of(args.device), dtype_of(args.dtype)
    model_of = functools.partial(make, data, device, dtype, start)
    model_of()  # refuses a target or a start that cannot be, before anything is written
    X = Standardizer.of(torch.as_tensor(data.X)).transform(torch.as_tensor(data.X))
    penalty = L2(args.alpha) if args.alpha else None
    goal = model_of()
    best = fit(goal, X, data.y, penalty=penalty, optimizer="newton")
    optimum = {"params": flat(goal), "loss": best.objective} if best.converged else None
    with new_folder(args.out, args.name) as folder:
        histories: dict[str, History] = {}
        results: dict[str, FitResult] = {}
        for spec, factory in factories.items():
            model = model_of()
            meta = {"dataset": data.name, "feature_names": list(data.feature_names)}
            recorder = Recorder(
                keep_data=True, meta=meta | {"optimum": optimum} if optimum else meta
            )
            results[spec] = fit(
                model,
                X,
                data.y,
                optimizer=factory,
                penalty=penalty,
                max_epochs=args.iterations,
                tol=1e-9,
                hooks=(recorder, StopOnNonFinite(), TensorBoardScalars(folder / spec)),
            )
            recorder.history.save(folder / spec / "history.npz")
            save(
                model,
                folder / spec / "model",
                facts={"dataset": data.name, "columns": "standardised"},
            )
            histories[spec] = recorder.history
            if results[spec].stop_reason == "interrupted":
                return
        print(standing(histories, results, best))
        pair = None if args.coefficients is None else (args.coefficients[0], args.coefficients[1])
        settings = {"size": args.size} if args.size else {}
        scene = Race(
            histories, coefficients=pair, theme="dark" if args.dark else "light", **settings
        )
        film_of(scene, args.out_film or folder / "race.mp4", args)


def factory_of(spec: str) -> functools.partial[torch.optim.Optimizer]:
    """``adam`` or ``adam=0.05`` as a factory."""
    name, _, lr = spec.partition("=")
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; they are {', '.join(sorted(OPTIMIZERS))}")
    try:
        return functools.partial(OPTIMIZERS[name], **({"lr": float(lr)} if lr else {}))
    except ValueError:
        raise ValueError(f"{spec!r}: {lr!r} is no learning rate") from None


def make(
    data: Dataset, device: torch.device, dtype: torch.dtype, start: list[float] | None
) -> LinearRegression | LogisticRegression:
    """A model at the common start."""
    if len(data.class_names) > 2:
        raise ValueError(f"{data.name} has {len(data.class_names)} classes; the race shows two")
    family = LogisticRegression if data.class_names else LinearRegression
    model = family(data.X.shape[1], device=device, dtype=dtype)
    if start is not None:
        n = sum(p.numel() for p in model.parameters())
        if len(start) != n:
            raise ValueError(f"--start has {len(start)} numbers, but the model has {n} parameters")
        torch.nn.utils.vector_to_parameters(
            torch.tensor(start, device=device, dtype=dtype), model.parameters()
        )
    return model


def flat(model: torch.nn.Module) -> list[float]:
    """All parameters, in the module's order."""
    values: list[float] = torch.nn.utils.parameters_to_vector(model.parameters()).tolist()
    return values


def standing(histories: dict[str, History], results: dict[str, FitResult], best: FitResult) -> str:
    """Who is how far above the optimum after how much work."""
    rows = []
    for name, history in histories.items():
        excess = float(history["objective"][-1]) - best.objective
        rows.append(
            [
                name,
                results[name].n_epochs,
                int(history["evaluations"][-1]),
                f"{max(excess, 0.0):.1e}" if best.converged else f"{history['objective'][-1]:.6g}",
                results[name].stop_reason.partition(":")[0],
            ]
        )
    last = "above the optimum" if best.converged else "loss (no finite optimum found)"
    return table(["optimizer", "iterations", "evaluations", last, "stopped by"], rows)


if __name__ == "__main__":
    main_guard(main)
