"""California Housing as every model of the quality part sees it: one split, one set of transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixnam.data import catalogue
from mixnam.data.splits import split_rows
from mixnam.data.table import Array
from mixnam.data.transforms import Preprocessing
from mixnam.models.libraries import Rows
from mixnam.training.trainer import Fold

DATASET, SPLIT, SEED = "housing", "holdout", 0


@dataclass(frozen=True)
class Data:
    """Attributes: `fold` for networks, `rows` for libraries; test inputs (rows, n) and targets (rows,), the latter
    standardised; `scale`, a standardised unit in the target's own.
    """

    fold: Fold
    rows: Rows
    x_test: Array
    y_test: Array
    scale: float

    def rmse(self, prediction: Array) -> float:
        """Return the test RMSE, in the target's unit, of standardised predictions (rows,)."""
        return float(np.sqrt(np.mean((prediction - self.y_test) ** 2))) * self.scale


def load() -> Data:
    """Load and transform Housing; DataMissing, with the remedy, where it is not at hand."""
    dataset = catalogue.load(DATASET)
    split = split_rows(dataset, SPLIT, SEED)
    preprocessing = Preprocessing(dataset, split.train, SEED)
    x, y = preprocessing.inputs(dataset.x), preprocessing.scale_target(dataset.y)

    def member(values: NDArray[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)[None]

    train, validation, test = split.train, split.validation, split.test
    fold = Fold(member(x[train]), member(y[train]), member(x[validation]), member(y[validation]))
    wide = x.astype(float)
    rows = Rows(wide[train], y[train], wide[validation], y[validation])
    return Data(fold, rows, wide[test], y[test], preprocessing.target_scale)
