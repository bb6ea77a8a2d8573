"""scikit-learn's own constructors, attributes, warnings and errors over :func:`torchlogreg.fit`.

Change the import, keep the program: ``from torchlogreg.compat import LogisticRegression``. The
words are those of scikit-learn 1.9. Importing this package imports scikit-learn.
"""

from torchlogreg.compat.cross_validation import LogisticRegressionCV
from torchlogreg.compat.linear import LinearRegression
from torchlogreg.compat.logistic import LogisticRegression

__all__ = ["LinearRegression", "LogisticRegression", "LogisticRegressionCV"]
