"""What one contestant is to train on: settings, the size of a batch, and synthetic rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from mixnam.models import MixNAMSettings
from mixnam.training.losses import Task

BATCHES = 4  # in a table, where it is not said how many rows it has


@dataclass(frozen=True)
class Job:
    """One contestant on one shape.

    Attributes: `contestant`, a key of `contestants.CONTESTANTS`; `settings`, by name; `features`, n; `rows`, of a
    batch; `table`, rows to draw batches from; `distinct`, how many values each column has, empty where no value
    repeats; `peer`, a checkout of the authors' repository.
    """

    contestant: str
    settings: dict[str, Any]
    features: int
    rows: int
    table: int
    task: Task = "regression"
    distinct: tuple[int, ...] = field(default=())
    peer: str = ""

    @property
    def mixture(self) -> MixNAMSettings:
        """The settings, with the batch that is really taken."""
        return MixNAMSettings(**(self.settings | {"batch_size": self.rows}))

    def data(self) -> tuple[Tensor, Tensor]:
        """Return inputs (table, n) and targets (table,), the same for every contestant."""
        source = torch.Generator().manual_seed(0)
        x = torch.randn(self.table, self.features, generator=source)
        for column, count in enumerate(self.distinct):
            # the first rows hold each value once, so that none is missing from a small table
            codes = torch.cat([torch.arange(count), torch.randint(count, (self.table,), generator=source)])
            x[:, column] = torch.randn(count, generator=source)[codes[: self.table]]
        y = torch.randn(self.table, generator=source)
        return x, (y > 0).float() if self.task == "classification" else y

    def batches(self) -> list[Tensor]:
        """Return the row numbers of a few batches, (rows,) each, in random order."""
        source = torch.Generator().manual_seed(1)
        order = torch.randperm(self.table, generator=source)
        return [part for part in order.split(self.rows) if len(part) == self.rows]

    def as_dict(self) -> dict[str, Any]:
        """Return the job as what JSON can hold."""
        return asdict(self)
