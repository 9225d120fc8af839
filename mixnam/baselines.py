"""Rivals that come from other libraries, brought into the common form."""

from __future__ import annotations

import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

from mixnam.datasets import Array, Task
from mixnam.networks.stacked import Tensors


def fit_linear(x: Array, y: Array, task: Task) -> Tensors:
    """Fit least squares, or logistic regression with scikit-learn's default penalty.

    **Shape:** x is (rows, n), y (rows,); the result holds `weight` (1, n) and `bias` (1,).
    """
    model = (LinearRegression() if task == "regression" else LogisticRegression(max_iter=10_000)).fit(x, y)
    weight = torch.tensor(model.coef_, dtype=torch.float32).reshape(1, -1)
    return {"weight": weight, "bias": torch.tensor(model.intercept_, dtype=torch.float32).reshape(1)}
