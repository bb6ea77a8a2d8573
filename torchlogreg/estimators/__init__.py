"""Estimators in scikit-learn's protocol: thin adapters over :func:`torchlogreg.fit`.

They standardise the columns inside and fold that back, take labels of any type, and have no
penalty unless one is named. Importing this package imports scikit-learn; importing ``torchlogreg``
does not.
"""

from torchlogreg.estimators.cross_validation import LogisticClassifierCV
from torchlogreg.estimators.linear import LinearRegressor
from torchlogreg.estimators.logistic import LogisticClassifier
from torchlogreg.estimators.ordinal import OrdinalClassifier

__all__ = ["LinearRegressor", "LogisticClassifier", "LogisticClassifierCV", "OrdinalClassifier"]
