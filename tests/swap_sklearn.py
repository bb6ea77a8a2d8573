"""A pytest plugin: scikit-learn's tests, run on the classes of torchlogreg.compat.

``python -m pytest -p swap_sklearn --pyargs sklearn.linear_model.tests.test_logistic`` with this
folder on the path replaces the names in ``sklearn.linear_model`` before the tests import them.
"""

from __future__ import annotations

import sklearn.linear_model

import torchlogreg.compat

for name in torchlogreg.compat.__all__:
    setattr(sklearn.linear_model, name, getattr(torchlogreg.compat, name))
