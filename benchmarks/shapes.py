"""The shapes of the paper's data sets, with the settings that a preset gives MixNAM on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.job import BATCHES, Job
from mixnam.data import catalogue
from mixnam.data.splits import split_rows
from mixnam.data.table import DataMissing
from mixnam.data.transforms import Preprocessing
from mixnam.models import MixNAMSettings
from mixnam.paper.presets import load_preset
from mixnam.training.losses import Task

#: Distinct values of Income's encoded columns among the training rows of fold 0, for where its file is not at hand.
INCOME_DISTINCT = (72, 8, 15575, 16, 16, 7, 14, 6, 5, 2, 115, 86, 92, 36)
INCOME_ROWS = 20838


@dataclass(frozen=True)
class Shape:
    """One data set's shape; `repeats` where its columns hold few distinct values, which ours encodes once."""

    name: str
    dataset: str
    preset: str
    features: int
    task: Task
    repeats: bool = False

    @property
    def settings(self) -> MixNAMSettings:
        """MixNAM's settings there; a data set without a loader has them too."""
        settings = load_preset(self.preset).settings(self.dataset, "MixNAM")
        assert isinstance(settings, MixNAMSettings)
        return settings

    def job(self, contestant: str, rows: int | None = None, peer: str = "") -> Job:
        """Return the job of a contestant on this shape, with batches of `rows` or the settings' own."""
        distinct = income_distinct()[1] if self.repeats else ()
        batch = self.settings.batch_size
        table = INCOME_ROWS if self.repeats else BATCHES * batch
        return Job(contestant, self.settings.all(), self.features, rows or batch, table, self.task, distinct, peer)


SHAPES = (
    Shape("Housing, quick", "housing", "quick", 8, "regression"),
    Shape("Housing", "housing", "paper", 8, "regression"),
    Shape("Income", "income", "paper", 14, "classification", repeats=True),
    Shape("Credit", "credit", "paper", 30, "classification"),
    Shape("Year", "year", "paper", 90, "regression"),
    Shape("Housing, our recipe", "housing", "best", 8, "regression"),
)
HOUSING = SHAPES[1]


@cache
def income_distinct() -> tuple[str, tuple[int, ...]]:
    """Return how many values each of Income's columns has, and where that was counted."""
    try:
        dataset = catalogue.load("income", download=False)
    except DataMissing:
        return "as counted before; the file is not at hand", INCOME_DISTINCT
    split = split_rows(dataset, "fold0", 0)
    x = Preprocessing(dataset, split.train, 0).inputs(dataset.x[split.train])
    return f"counted in {dataset.source}", tuple(len(np.unique(column)) for column in x.T)
