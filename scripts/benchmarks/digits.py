"""Correct digits of coefficients and standard errors, beside other libraries at their defaults."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from common import table
from torchlogreg import (
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.inference import infer

TESTS = Path(__file__).resolve().parents[2] / "tests"
KINDS = {"housing": "ordinal", "ucla": "ordinal", "anes96": "multinomial"}
CAP = 15.0

NOTES = """\
Correct digits: -log10 of the relative error, the smallest over the coefficients, at most 15; "-"
where the library has no such model, or the certified value is 0. Raw columns, no tolerance set.
Ours is fit() at its defaults, float64 and float32; standard errors are those of infer().
scikit-learn is LogisticRegression(C=inf) and LinearRegression(). statsmodels is Logit, MNLogit,
OrderedModel and OLS; counts as repeated rows where it takes no weights; its standard errors of
ordinal cutpoints are of other parameters and left out. L-BFGS is 100 steps of torch.optim.LBFGS as
it comes. Reference values: 40-digit arithmetic; NIST StRD for the linear sets."""


class Rows(NamedTuple):
    """A reference set and what must come out."""

    name: str
    kind: str
    bias: bool
    X: np.ndarray
    y: np.ndarray
    counts: np.ndarray | None
    coefficients: np.ndarray
    errors: np.ndarray


Fitted = tuple[np.ndarray | None, np.ndarray | None]


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument("--sets", nargs="+", metavar="SET", default="all", help="only these")


def run(args: argparse.Namespace) -> None:
    """Print one row for each set."""
    known = reference_sets()
    sets = list(known) if args.sets == "all" else args.sets
    unknown = [name for name in sets if name not in known]
    if unknown:
        raise ValueError(f"--sets has {', '.join(unknown)}, but they are {', '.join(known)}")
    lines = []
    for name in sets:
        rows = known[name]
        found = [quietly(contender, rows) for contender in (ours, sklearn, statsmodels, lbfgs)]
        narrow, _ = quietly(ours_narrow, rows)
        cells = [digits(found[0][0], rows.coefficients), digits(narrow, rows.coefficients)]
        cells += [digits(f[0], rows.coefficients) for f in found[1:]]
        cells += [digits(found[0][1], rows.errors), digits(found[2][1], rows.errors)]
        lines.append([name, rows.kind, *cells])
    header = ["set", "model", "ours", "ours f32", "sklearn", "statsmodels", "L-BFGS"]
    print(table([*header, "ours s.e.", "statsmodels s.e."], lines))
    print(f"\n{NOTES}")


def reference_sets() -> dict[str, Rows]:
    """All reference sets, from the loaders and the values that the tests use."""
    sys.path.insert(0, str(TESTS))
    try:
        from reference_data import load
        from reference_values import NIST, TRUTH
    except ImportError as error:
        raise ImportError(
            f"{error}; the data come with the extra: pip install -e '.[test]'"
        ) from None
    finally:
        sys.path.remove(str(TESTS))
    found = {}
    for name, truth in (TRUTH | NIST).items():
        data = load(name)
        kind = "linear" if name in NIST else KINDS.get(name, "logistic")
        counts = None if data.sample_weight is None else data.sample_weight.numpy()
        want = np.array(truth.coefficients), np.array(truth.errors)
        bias = not name.startswith("noint")
        found[name] = Rows(name, kind, bias, data.X.numpy(), data.y.numpy(), counts, *want)
    return found


def digits(got: np.ndarray | None, want: np.ndarray) -> str:
    """LRE of the worst entry; of the first entries, where ``got`` has fewer."""
    if got is None or not want.all():
        return "-"
    want = want[: len(got)]
    with np.errstate(all="ignore"):
        worst = float(np.max(np.abs(np.asarray(got, dtype=np.float64) - want) / np.abs(want)))
    if not math.isfinite(worst):
        return "0.0"
    return f"{CAP if worst < 10**-CAP else max(0.0, -math.log10(worst)):.1f}"


def quietly(contender: Callable[[Rows], Fitted], rows: Rows) -> Fitted:
    """What a contender finds; its warnings are the reader's to see in the digits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return contender(rows)


def new_model(rows: Rows, dtype: torch.dtype) -> Model:
    """An untrained model of ours."""
    p = rows.X.shape[1]
    if rows.kind == "linear":
        return LinearRegression(p, bias=rows.bias, dtype=dtype)
    if rows.kind == "ordinal":
        return OrdinalRegression(p, 3, dtype=dtype)
    if rows.kind == "multinomial":
        return SoftmaxRegression(p, 7, reference=True, dtype=dtype)
    return LogisticRegression(p, dtype=dtype)


def ours_model(rows: Rows, dtype: torch.dtype) -> Model:
    """A model of ours, fitted as a newcomer would."""
    model = new_model(rows, dtype)
    fit(model, rows.X, rows.y, sample_weight=rows.counts)
    return model


def parameters(model: Model, rows: Rows) -> np.ndarray:
    """Coefficients in the order of the reference values."""
    weight = model.weight.detach().double().numpy()
    if rows.kind == "ordinal":
        return np.concatenate((weight[0], model.natural()["cutpoints"].double().numpy()))
    if model.bias is None:
        return weight[0]
    bias = model.bias.detach().double().numpy()
    if rows.kind == "multinomial":
        return np.column_stack((weight, bias)).ravel()
    return np.concatenate((bias, weight[0]))


def ours(rows: Rows) -> Fitted:
    """fit() and infer(), float64."""
    model = ours_model(rows, torch.float64)
    kind = None if rows.counts is None else "frequency"
    result = infer(model, rows.X, rows.y, sample_weight=rows.counts, weight_kind=kind)
    errors = np.asarray(result.bse)
    if rows.kind == "multinomial":  # the intercept of each class comes first there
        errors = np.roll(errors.reshape(6, -1), -1, axis=1).ravel()
    return parameters(model, rows), errors


def ours_narrow(rows: Rows) -> Fitted:
    """fit() of a float32 model."""
    return parameters(ours_model(rows, torch.float32), rows), None


def sklearn(rows: Rows) -> Fitted:
    """scikit-learn without a penalty, else as it comes."""
    from sklearn import linear_model

    if rows.kind == "ordinal":
        return None, None
    if rows.kind == "linear":
        model: Any = linear_model.LinearRegression(fit_intercept=rows.bias)
    else:
        model = linear_model.LogisticRegression(C=np.inf)
    model.fit(rows.X, rows.y, sample_weight=rows.counts)
    weight, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if rows.kind == "multinomial":
        return np.column_stack((weight[1:] - weight[0], bias[1:] - bias[0])).ravel(), None
    return np.concatenate((bias, weight[0])) if rows.bias else weight[0], None


def statsmodels(rows: Rows) -> Fitted:
    """statsmodels as it comes."""
    import statsmodels.api as sm
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    X, y = rows.X, rows.y
    if rows.counts is not None:
        times = rows.counts.astype(int)
        X, y = np.repeat(X, times, axis=0), np.repeat(y, times)
    if rows.kind == "ordinal":
        model = OrderedModel(y, X, distr="logit")
        result = model.fit(disp=0)
        p = X.shape[1]
        cutpoints = model.transform_threshold_params(result.params)[1:-1]
        return np.concatenate((result.params[:p], cutpoints)), result.bse[:p]
    design = sm.add_constant(X) if rows.bias else X
    if rows.kind == "linear":
        result = sm.OLS(y, design).fit()
    elif rows.kind == "multinomial":
        result = sm.MNLogit(y, design).fit(disp=0)
        return tuple(np.roll(t, -1, axis=0).T.ravel() for t in (result.params, result.bse))
    else:
        result = sm.Logit(y, design).fit(disp=0)
    return result.params, result.bse


def lbfgs(rows: Rows) -> Fitted:
    """A plain torch loop around our modules."""
    model = new_model(rows, torch.float64)
    X, y = torch.from_numpy(rows.X), model.target(torch.from_numpy(rows.y))
    weight = torch.ones(len(y), dtype=X.dtype)
    if rows.counts is not None:
        weight = torch.from_numpy(rows.counts)
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight * model.nll(model(X), y)).sum() / weight.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(100):
        optimizer.step(closure)
    return parameters(model, rows), None
