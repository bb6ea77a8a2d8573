"""Optimizers by name. Strings live here and nowhere else.

Every entry is a factory: parameters in, a ``torch.optim.Optimizer`` out. The keyword ``lr`` is
common to all. Step sizes suit columns of about unit scale, which the scripts and estimators make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

from torchlogreg.optim.choose import AUTO, Choice, attune, choose, choose_for
from torchlogreg.optim.coordinate_newton import CoordinateNewton
from torchlogreg.optim.dual_coordinate import DualCoordinate
from torchlogreg.optim.lbfgs import LBFGS
from torchlogreg.optim.least_squares import LeastSquares
from torchlogreg.optim.newton import Newton
from torchlogreg.optim.newton_cg import NewtonCG
from torchlogreg.optim.penalty_path import alpha_max
from torchlogreg.optim.preconditioned import BlockLBFGS
from torchlogreg.optim.proximal import ProximalGradient
from torchlogreg.optim.proximal_newton import ProximalNewton
from torchlogreg.optim.resolve import resolve
from torchlogreg.optim.subsampled import SubsampledNewton
from torchlogreg.optim.variance_reduced import SAGA, SVRG
from torchlogreg.optim.wide import KernelNewton

__all__ = [
    "AUTO",
    "LBFGS",
    "OPTIMIZERS",
    "SAGA",
    "SVRG",
    "BlockLBFGS",
    "Choice",
    "CoordinateNewton",
    "DualCoordinate",
    "Factory",
    "KernelNewton",
    "LeastSquares",
    "Newton",
    "NewtonCG",
    "ProximalGradient",
    "ProximalNewton",
    "SubsampledNewton",
    "alpha_max",
    "attune",
    "choose",
    "choose_for",
    "resolve",
]

Factory = Callable[[Iterable[nn.Parameter]], Optimizer]

# Left out of torch.optim, and why: SparseAdam wants sparse gradients; Muon wants hidden layers.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    # A large eps lets the steps of the sign-like methods shrink with the gradient, so that they
    # settle at the optimum; at their own defaults they circle it at a distance of the step size.
    "adadelta": partial(torch.optim.Adadelta, lr=1.0, eps=1e-3),
    "adafactor": partial(torch.optim.Adafactor, lr=0.5, eps=(0.1, 0.1)),
    "adagrad": partial(torch.optim.Adagrad, lr=0.5),
    "adam": partial(torch.optim.Adam, lr=0.1),
    "adamax": partial(torch.optim.Adamax, lr=0.1),
    "adamw": partial(torch.optim.AdamW, lr=0.1, weight_decay=0.0),
    "asgd": partial(torch.optim.ASGD, lr=0.1, lambd=0.0, alpha=0.0),
    "block_lbfgs": BlockLBFGS,
    "coordinate_newton": CoordinateNewton,
    "dual_coordinate": DualCoordinate,
    "kernel_newton": KernelNewton,
    # One step is one iteration, and it converges: with max_iter=1 the default max_eval is 1, which
    # leaves the line search nothing, and tolerance_change=1e-9 stops it early.
    "lbfgs": partial(
        LBFGS,
        lr=1.0,
        max_iter=1,
        max_eval=25,
        tolerance_change=0,
        tolerance_grad=0,
        line_search_fn="strong_wolfe",
    ),
    "least_squares": LeastSquares,
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "nadam": partial(torch.optim.NAdam, lr=0.05, eps=1e-2),
    "nesterov": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "newton": Newton,
    "newton_cg": NewtonCG,
    "proximal_gradient": ProximalGradient,
    "proximal_newton": ProximalNewton,
    "radam": partial(torch.optim.RAdam, lr=0.1, eps=1e-4),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.03, eps=1e-2),
    "rprop": partial(torch.optim.Rprop, lr=0.01, step_sizes=(1e-14, 50)),
    "saga": SAGA,
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "subsampled_newton": SubsampledNewton,
    "svrg": SVRG,
}
