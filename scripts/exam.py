"""Logistic regression step by step on twenty exams: every formula once, with its numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from common import add_device_options, device_of, dtype_of, heading, main_guard, parser
from torchlogreg import L2, LogisticRegression, analytic, fit
from torchlogreg.datasets import exam
from torchlogreg.diagnostics import separation
from torchlogreg.losses import binary_nll, cross_entropy, entropy

DESCRIPTION = """\
Twenty rows, two features, a label; nothing is hidden. Sigmoid, odds, likelihood, cross-entropy,
the gradient (ascent on the likelihood is descent on the loss), training, the threshold.
"""


def main() -> None:
    """Walk through the seven stations."""
    p = parser(DESCRIPTION, "example:\n  python scripts/exam.py --alpha 0.1")
    p.add_argument("--alpha", type=float, default=0.01, help="L2 penalty of the trained model")
    p.add_argument("--threshold", type=float, default=0.5, help="compared in the last section")
    add_device_options(p)
    args = p.parse_args()
    penalty = L2(args.alpha)
    data = exam()
    X = torch.as_tensor(data.X, device=device_of(args.device), dtype=dtype_of(args.dtype))
    y = torch.as_tensor(data.y, device=X.device, dtype=X.dtype)
    model = LogisticRegression(2, device=X.device, dtype=X.dtype)
    with torch.no_grad():
        sigmoid_and_odds(model, X)
        likelihood_and_cross_entropy(model, X, y)
    gradients(model, X, y)
    trained(model, X, y, penalty, args.threshold)


def sigmoid_and_odds(model: LogisticRegression, X: Tensor) -> None:
    """From a number to a probability and back."""
    heading("1. The sigmoid: from any number to a probability")
    eta = torch.tensor([[-4.0], [-1.0], [0.0], [1.0], [4.0]], dtype=X.dtype, device=X.device)
    print("eta    probability    odds p/(1-p)    log-odds")
    columns = (eta.squeeze(1), model.mean(eta), model.odds(eta), model.log_odds(eta))
    for e, p, odds, log_odds in zip(*(c.tolist() for c in columns), strict=True):
        print(f"{e:3.0f}    {p:11.6f}    {odds:12.6f}    {log_odds:8.1f}")
    print("The log-odds ARE the linear predictor: that is all that 'logistic' means.")
    heading("2. At weight = 0 the model knows nothing")
    print(f"probabilities of the {len(X)} rows: {sorted(set(model.mean(model(X)).tolist()))}")


def likelihood_and_cross_entropy(model: LogisticRegression, X: Tensor, y: Tensor) -> None:
    """Maximum likelihood and minimum cross-entropy are one."""
    heading("3. Likelihood and cross-entropy")
    p = model.mean(model(X))
    likelihood = torch.where(y == 1, p, 1 - p).prod()
    log_likelihood = model.log_likelihood(X, y)
    print(f"likelihood      product of p(what happened)   {float(likelihood):.6g}")
    print(f"log-likelihood  sum of logs                  {float(log_likelihood):.6f}")
    print(f"cross-entropy   -log-likelihood / n           {float(cross_entropy(y, p).mean()):.6f}")
    print(
        f"the same from eta, never forming p            {float(binary_nll(model(X), y).mean()):.6f}"
    )
    share = y.mean()
    print(f"entropy of the labels ({share:.0%} are 1)           {float(entropy(share[None])):.6f}")
    print("No model without features can get below the entropy; log 2 is a coin's.")


def gradients(model: LogisticRegression, X: Tensor, y: Tensor) -> None:
    """Ascent on the likelihood is descent on the loss."""
    heading("4. The gradient")
    formula = analytic.gradient(model, X, y)
    model.zero_grad()
    loss = model.nll(model(X), y).mean()
    loss.backward()
    for name, p in model.named_parameters():
        print(f"d loss / d {name:6s}  X'(p - y)/n {flat(formula[name])}   autograd {flat(p.grad)}")
    model.zero_grad()
    ascent = torch.autograd.grad(model.log_likelihood(X, y), list(model.parameters()))
    print(f"d log-likelihood / d weight = {flat(ascent[0])} = -n x the first line: one climbs,")
    print("the other descends, and both take the same steps.")


def trained(model: LogisticRegression, X: Tensor, y: Tensor, penalty: L2, threshold: float) -> None:
    """Is there an optimum; the penalised one; the threshold."""
    heading("5. Is there an optimum?")
    print(separation(X.cpu().numpy(), y.cpu().numpy()).describe(list(exam().feature_names)))
    heading(f"6. With a penalty ({penalty!r}) there is one")
    result = fit(model, X, y, penalty=penalty, feature_names=exam().feature_names)
    print(result.message)
    print(f"weight {flat(model.weight)}, bias {flat(model.bias)}, objective {result.objective:.6f}")
    heading("7. The threshold")
    with torch.no_grad():
        eta = model(X)
        for t in sorted({0.1, 0.5, 0.9, threshold}):
            predicted = model.predict(eta, threshold=t)
            right = int((predicted == y).sum())
            ones = int(predicted.sum())
            print(f"p >= {t:g}: {ones:2d} rows are called 1, {right} of {len(y)} are right")


def flat(tensor: Tensor | None) -> str:
    """A small tensor as text."""
    values = [] if tensor is None else tensor.detach().flatten().tolist()
    return "[" + ", ".join(f"{value:.6f}" for value in values) + "]"


if __name__ == "__main__":
    main_guard(main)
