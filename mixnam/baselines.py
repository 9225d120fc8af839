"""Rivals that come from other libraries, brought into the common form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

from mixnam.datasets import Array, Task
from mixnam.networks.stacked import Tensors
from mixnam.settings import LibrarySettings


@dataclass(frozen=True)
class Fitted:
    """A model that another library fitted.

    Attributes: `predict`, from network inputs (rows, n) to predictions (rows,), on the scale of the
    standardised target, or as log-odds; `contributions`, from inputs (rows, n) to each feature's part of
    the prediction (rows, n), or None where the model is no sum over features; `rounds`, boosting rounds kept,
    1 elsewhere; `parameters`, how many numbers it learnt.
    """

    predict: Callable[[Array], Array]
    contributions: Callable[[Array], Array] | None
    rounds: int
    parameters: int


@dataclass(frozen=True)
class Rows:
    """What a library fits on: inputs (rows, n) and targets (rows,), standardised or 0/1, of two parts."""

    x: Array
    y: Array
    x_validation: Array
    y_validation: Array


def fit_library(settings: LibrarySettings, rows: Rows, task: Task, seed: int) -> Fitted:
    """Fit the library model that `settings` describe, on one thread; ValueError for one that is unknown."""
    raise ValueError(f"no library model {settings.model!r}")


def fit_linear(x: Array, y: Array, task: Task) -> Tensors:
    """Fit least squares, or logistic regression with scikit-learn's default penalty.

    **Shape:** x is (rows, n), y (rows,); the result holds `weight` (1, n) and `bias` (1,).
    """
    model = (LinearRegression() if task == "regression" else LogisticRegression(max_iter=10_000)).fit(x, y)
    weight = torch.tensor(model.coef_, dtype=torch.float32).reshape(1, -1)
    return {"weight": weight, "bias": torch.tensor(model.intercept_, dtype=torch.float32).reshape(1)}
