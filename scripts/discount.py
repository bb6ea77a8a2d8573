"""Whom to send a discount? Finding a coefficient by guess, by grid, and by gradient descent."""

from __future__ import annotations

import torch
from torch import Tensor

from common import add_device_options, device_of, dtype_of, heading, main_guard, parser
from torchlogreg import History, LogisticRegression, fit
from torchlogreg.datasets import discount
from torchlogreg.diagnostics import separation
from torchlogreg.hooks import Recorder
from torchlogreg.losses import binary_nll
from torchlogreg.scaling import Standardizer

DESCRIPTION = """\
Nine customers: what each spent, and whether a discount code was sent. Five ways to a coefficient:
try one number; try twenty; walk downhill; add an intercept; and ask whether an optimum exists.
"""


def main() -> None:
    """Print the five sections."""
    p = parser(DESCRIPTION, "example:\n  python scripts/discount.py --iterations 90000")
    p.add_argument("--iterations", type=int, default=20_000, help="of gradient descent")
    p.add_argument("--guess", type=float, default=0.5, help="the one number to try first")
    add_device_options(p)
    args = p.parse_args()
    if args.iterations < 1:
        raise ValueError(f"--iterations is {args.iterations}, but at least one is needed")
    data = discount()
    device, dtype = device_of(args.device), dtype_of(args.dtype)
    X = torch.as_tensor(data.X, device=device, dtype=dtype)
    y = torch.as_tensor(data.y, device=device, dtype=dtype)
    try_one_number(X, y, args.guess)
    try_a_grid(X, y)
    for lr in (0.01, 0.001):
        walk_downhill(X, y, lr, args.iterations)
    with_intercept(X, y, args.iterations)


@torch.no_grad()
def try_one_number(X: Tensor, y: Tensor, w: float) -> None:
    """The first customer under one guessed coefficient."""
    heading("1. Try one number")
    model = LogisticRegression(1, bias=False, device=X.device, dtype=X.dtype)
    model.weight.fill_(w)
    eta = model(X[:1])
    print(f"the first customer spent {X[0, 0]:g} and got {int(y[0])} codes")
    loss = float(model.nll(eta, y[:1]))
    print(f"w = {w:g}: probability {float(model.mean(eta)):.15g}, loss {loss:.7g}")


@torch.no_grad()
def try_a_grid(X: Tensor, y: Tensor) -> None:
    """The first customer under twenty coefficients: the loss of a wrong certainty is its size."""
    heading("2. Try a grid of numbers, -1 to 0.9")
    w = torch.arange(-10, 10, device=X.device, dtype=X.dtype) / 10
    losses = binary_nll((w * X[0]).unsqueeze(1), y[:1].expand(len(w)))
    for value, loss in zip(w.tolist(), losses.tolist(), strict=True):
        print(f"w = {value:4.1f}   loss {loss:.16g}")
    print("The smallest is w = -1 only because this one customer got no code. All nine decide:")


def walk_downhill(X: Tensor, y: Tensor, lr: float, iterations: int) -> None:
    """Gradient descent from zero on all nine rows, without an intercept."""
    heading(f"3. Gradient descent, step {lr:g}, no intercept")
    _, first = descend(X, y, lr, iterations=1, every=1)
    print(f"loss after  iteration      0: {float(first['loss_unweighted'][1])!r}")
    model, history = descend(X, y, lr, iterations, every=10_000)
    for epoch, loss in zip(history["epoch"], history["loss_unweighted"], strict=True):
        print(f"loss before iteration {int(epoch):6d}: {float(loss)!r}")
    weight = float(model.weight.detach())
    print(f"w = {weight:.8f}: {right(model, X, y)} of {len(y)} customers are predicted right, and")
    print("more iterations change nothing: without an intercept, spending 0 means probability 1/2.")


def with_intercept(X: Tensor, y: Tensor, iterations: int) -> None:
    """The same with an intercept, on the standardised column; and what it means that it works."""
    heading("4. Gradient descent with an intercept")
    standardizer = Standardizer.of(X)
    model, history = descend(
        standardizer.transform(X), y, lr=1.0, iterations=iterations, every=10_000, bias=True
    )
    for epoch, loss in zip(history["epoch"], history["loss_unweighted"], strict=True):
        print(f"loss before iteration {int(epoch):6d}: {float(loss)!r}")
    standardizer.fold_(model)
    print(f"{right(model, X, y)} of {len(y)} are predicted right")
    customers = X.new_tensor([[10.0], [250.0]])
    answers = model.predict(model(customers).detach()).tolist()
    for spent, answer in zip((10, 250), answers, strict=True):
        print(f"a customer who spent {spent}: predicted {answer}, {'send' if answer else 'do not'}")

    heading("5. Is there an optimum?")
    for bias in (False, True):
        verdict = separation(X.cpu().numpy(), y.cpu().numpy(), bias=bias)
        print(f"{'with' if bias else 'without'} an intercept: {verdict.describe(['amount_spent'])}")
    print("So the loss in section 4 falls for ever and the coefficients grow without bound: every")
    print("figure there depends on when we stopped. A penalty would make the optimum finite.")


def descend(
    X: Tensor, y: Tensor, lr: float, iterations: int, *, every: int, bias: bool = False
) -> tuple[LogisticRegression, History]:
    """Plain gradient descent from zero, recorded."""
    model = LogisticRegression(1, bias=bias, device=X.device, dtype=X.dtype)
    recorder = Recorder(every)
    fit(
        model,
        X,
        y,
        optimizer=torch.optim.SGD(model.parameters(), lr=lr),
        max_epochs=iterations,
        tol=0,
        hooks=(recorder,),
    )
    return model, recorder.history


@torch.no_grad()
def right(model: LogisticRegression, X: Tensor, y: Tensor) -> int:
    """How many rows are predicted right."""
    return int((model.predict(model(X)) == y).sum())


if __name__ == "__main__":
    main_guard(main)
