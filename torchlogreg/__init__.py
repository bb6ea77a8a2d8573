"""torchlogreg: linear, logistic, multinomial and ordinal regression as nn.Modules."""

from torchlogreg import losses
from torchlogreg.base import Model
from torchlogreg.combinators import ClassMean, Product, Smoothed
from torchlogreg.convergence import ConvergenceWarning
from torchlogreg.data import Batch, minibatches
from torchlogreg.fit import FitResult, fit
from torchlogreg.history import History
from torchlogreg.inference import InferenceResult, infer
from torchlogreg.jeffreys import Jeffreys
from torchlogreg.models import (
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
)
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim import (
    OPTIMIZERS,
    SAGA,
    SVRG,
    LeastSquares,
    Newton,
    ProximalGradient,
    ProximalNewton,
    alpha_max,
)
from torchlogreg.penalties import L1, L2, ElasticNet, Penalty
from torchlogreg.sparse_inputs import sparse_rows
from torchlogreg.state import FitState, Hook
from torchlogreg.weighting import (
    BoostMisclassified,
    ClassBalanced,
    ClassWeights,
    Focal,
    Snapshot,
    Uniform,
    Weighting,
)

__version__ = "0.1.0"

__all__ = [
    "L1",
    "L2",
    "OPTIMIZERS",
    "SAGA",
    "SVRG",
    "Batch",
    "BoostMisclassified",
    "ClassBalanced",
    "ClassMean",
    "ClassWeights",
    "Closure",
    "ConvergenceWarning",
    "ElasticNet",
    "FitResult",
    "FitState",
    "Focal",
    "History",
    "Hook",
    "InferenceResult",
    "Jeffreys",
    "LeastSquares",
    "LinearRegression",
    "LogisticRegression",
    "Model",
    "Newton",
    "Objective",
    "OrdinalRegression",
    "Penalty",
    "Product",
    "ProximalGradient",
    "ProximalNewton",
    "Smoothed",
    "Snapshot",
    "SoftmaxRegression",
    "Uniform",
    "Weighting",
    "alpha_max",
    "fit",
    "infer",
    "losses",
    "minibatches",
    "sparse_rows",
]
