"""Small teaching sets, each with its source, and the record that every table is read into.

Nothing is downloaded: the sets are written here, simulated from a fixed seed, or come with
scikit-learn, which is imported when one of them is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A table ready for a model.

    Attributes
    ----------
    name : str
    X : ndarray, shape (n, p), float64
    y : ndarray, shape (n,)
        float64 for a numeric response, int64 codes 0 ... K - 1 for classes.
    feature_names : tuple of str, length p
    class_names : tuple of str, length K
        Empty for a numeric response.
    ordered : bool
        Whether the classes are levels, from low to high.
    source : str
        Where the numbers come from.
    target_name : str

    Raises
    ------
    ValueError
        If the shapes or the names do not fit together.
    """

    name: str
    X: NDArray[np.float64]
    y: NDArray[Any]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    ordered: bool = False
    source: str = ""
    target_name: str = "y"

    def __post_init__(self) -> None:
        if self.X.ndim != 2 or self.y.shape != self.X.shape[:1]:
            raise ValueError(
                f"{self.name}: X has shape {self.X.shape} and y {self.y.shape}, but they are "
                "(n, p) and (n,)"
            )
        if len(self.feature_names) != self.X.shape[1]:
            raise ValueError(
                f"{self.name}: {len(self.feature_names)} feature names for {self.X.shape[1]} "
                "columns; give each column one"
            )
        if self.class_names and not (0 <= self.y.min() and self.y.max() < len(self.class_names)):
            raise ValueError(
                f"{self.name}: y has codes from {self.y.min()} to {self.y.max()}, but there are "
                f"{len(self.class_names)} class names"
            )

    @property
    def n_classes(self) -> int | None:
        """Number of classes ``K``; None for a numeric response."""
        return len(self.class_names) or None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.y)


def blobs() -> Dataset:
    """Two Gaussian clouds in the plane, 250 rows each: the cost-logger experiment.

    Source: ``sklearn.datasets.make_blobs(n_samples=500, n_features=2, centers=2, cluster_std=1.0,
    random_state=0)``. The experiment splits off a test set of 20 % with ``random_state=42``.
    """
    from sklearn.datasets import make_blobs

    X, y = make_blobs(n_samples=500, n_features=2, centers=2, cluster_std=1.0, random_state=0)
    return Dataset(
        name="blobs",
        X=X,
        y=y.astype(np.int64),
        feature_names=("x1", "x2"),
        class_names=("0", "1"),
        source="scikit-learn make_blobs(500, centers=2, cluster_std=1.0, random_state=0)",
        target_name="blob",
    )


def discount() -> Dataset:
    """Nine customers: who has spent little is sent a discount.

    Source: a well-known tutorial that builds logistic regression from scratch. Without an intercept
    the optimum is ``w = -0.033284908`` with loss 0.41899283818630056; with one the classes are
    perfectly separable between 20 and 50, and no finite optimum exists.
    """
    spent = [50, 10, 20, 5, 95, 70, 100, 200, 0]
    return Dataset(
        name="discount",
        X=np.array(spent, dtype=np.float64)[:, None],
        y=np.array([0, 1, 1, 1, 0, 0, 0, 0, 1]),
        feature_names=("amount_spent",),
        class_names=("no", "yes"),
        source="the discount tutorial on logistic regression from scratch, 9 customers",
        target_name="send_discount",
    )


def exam() -> Dataset:
    """Twenty rows, two features: the notebook that walks from sigmoid to threshold.

    Source: a teaching notebook on logistic regression. Label 0 for the first five rows, 1 for the
    rest; with an intercept perfectly separable, so that no finite optimum exists.
    """
    feature1 = [2.5, 3.6, 1.2, 4.5, 3.3, 5.1, 6.2, 7.4, 5.5, 8.0]
    feature1 += [9.1, 10.2, 8.5, 11.0, 12.3, 13.5, 14.1, 15.6, 16.2, 17.8]
    feature2 = [1.0, 2.1, 0.5, 3.3, 2.8, 4.0, 5.5, 6.1, 4.8, 7.2]
    feature2 += [8.3, 9.0, 7.5, 10.1, 11.4, 12.0, 13.2, 14.5, 15.0, 16.3]
    return Dataset(
        name="exam",
        X=np.column_stack((feature1, feature2)),
        y=np.repeat(np.array([0, 1]), (5, 15)),
        feature_names=("Feature1", "Feature2"),
        class_names=("0", "1"),
        source="a teaching notebook on logistic regression, 20 rows",
        target_name="label",
    )


def line() -> Dataset:
    """Sixty points around ``y = 2 + 1.5 x``: the linear descent.

    Source: simulated here with ``numpy.random.default_rng(0)``; ``x`` is uniform on (0, 4), the
    noise normal with standard deviation 0.6.
    """
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 4, size=60)
    y = 2 + 1.5 * x + generator.normal(0, 0.6, size=60)
    return Dataset(
        name="line",
        X=x[:, None],
        y=y,
        feature_names=("x",),
        source="simulated: y = 2 + 1.5 x + 0.6 noise, numpy default_rng(0)",
    )


def curve() -> Dataset:
    """Sixty points with ``log-odds = 0.5 + 1.5 x``: the logistic descent; the classes overlap.

    Source: simulated here with ``numpy.random.default_rng(1)``; ``x`` is uniform on (-3, 3).
    """
    generator = np.random.default_rng(1)
    x = generator.uniform(-3, 3, size=60)
    p = 1 / (1 + np.exp(-0.5 - 1.5 * x))
    y = (generator.uniform(size=60) < p).astype(np.int64)
    return Dataset(
        name="curve",
        X=x[:, None],
        y=y,
        feature_names=("x",),
        class_names=("0", "1"),
        source="simulated: log-odds = 0.5 + 1.5 x, numpy default_rng(1)",
    )


def levels() -> Dataset:
    """Three hundred rows with four ordered levels and three features: the ordinal set.

    Source: simulated here with ``numpy.random.default_rng(2)`` from the proportional-odds model
    with weight (1.0, -0.7, 0.0) and cutpoints -1.0, 0.5, 2.0; the features are standard normal.
    """
    generator = np.random.default_rng(2)
    X = generator.normal(size=(300, 3))
    latent = X @ np.array([1.0, -0.7, 0.0]) + generator.logistic(size=300)
    return Dataset(
        name="levels",
        X=X,
        y=np.searchsorted(np.array([-1.0, 0.5, 2.0]), latent).astype(np.int64),
        feature_names=("effort", "distance", "noise"),
        class_names=("poor", "fair", "good", "excellent"),
        ordered=True,
        source="simulated: proportional odds, numpy default_rng(2)",
        target_name="level",
    )


def breast_cancer() -> Dataset:
    """569 tumours, 30 measurements of their cell nuclei, malignant (0) or benign (1).

    Source: Wolberg, Street, Mangasarian, Breast Cancer Wisconsin (Diagnostic), UCI Machine Learning
    Repository (1995), as bundled with scikit-learn.
    """
    from sklearn.datasets import load_breast_cancer

    source = "UCI Breast Cancer Wisconsin (Diagnostic), 1995, bundled with scikit-learn"
    return _bundled("breast_cancer", load_breast_cancer(), source, "diagnosis")


def iris() -> Dataset:
    """150 flowers, four measurements in cm, three species.

    Source: Fisher, The use of multiple measurements in taxonomic problems (1936), as bundled with
    scikit-learn.
    """
    from sklearn.datasets import load_iris

    return _bundled("iris", load_iris(), "Fisher (1936), bundled with scikit-learn", "species")


def wine() -> Dataset:
    """178 wines, 13 chemical measurements, three cultivars.

    Source: Aeberhard and Forina, Wine, UCI Machine Learning Repository (1991), as bundled with
    scikit-learn.
    """
    from sklearn.datasets import load_wine

    return _bundled("wine", load_wine(), "UCI Wine, 1991, bundled with scikit-learn", "cultivar")


def diabetes() -> Dataset:
    """442 patients, ten baseline variables in their own units, disease progression after a year.

    Source: Efron, Hastie, Johnstone, Tibshirani, Least angle regression (2004), as bundled with
    scikit-learn, not scaled. The response is numeric.
    """
    from sklearn.datasets import load_diabetes

    table = load_diabetes(scaled=False)
    return Dataset(
        name="diabetes",
        X=table.data.astype(np.float64),
        y=table.target.astype(np.float64),
        feature_names=tuple(table.feature_names),
        source="Efron et al., Least angle regression (2004), bundled with scikit-learn",
        target_name="progression",
    )


def _bundled(name: str, table: Any, source: str, target_name: str) -> Dataset:
    """One of scikit-learn's bundled classification sets."""
    return Dataset(
        name=name,
        X=table.data.astype(np.float64),
        y=table.target.astype(np.int64),
        feature_names=tuple(str(column) for column in table.feature_names),
        class_names=tuple(str(label) for label in table.target_names),
        source=source,
        target_name=target_name,
    )


_MAKERS = (blobs, breast_cancer, curve, diabetes, discount, exam, iris, levels, line, wine)
DATASETS: Mapping[str, Callable[[], Dataset]] = MappingProxyType(
    {make.__name__: make for make in _MAKERS}
)
"""Teaching sets by name; each value makes a new copy."""


def load(name: str) -> Dataset:
    """The teaching set of that name.

    Parameters
    ----------
    name : str
        A key of ``DATASETS``.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If there is no such set; the message lists those there are.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no data set is called {name!r}; {hint}there are {', '.join(DATASETS)}")
    return DATASETS[name]()
