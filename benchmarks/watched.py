"""A training that is watched: after each epoch, how long it has taken and how good the best one so far is."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.housing import Data
from mixnam.models import NetworkSettings, make_network
from mixnam.training.trainer import Trainer, predict


class Watched(Trainer):
    """A trainer on one member that notes {seconds, rmse, epoch} whenever validation finds a new best epoch.

    The clock starts before anything is allocated, counts validation, and stands still while the test rows are
    predicted.
    """

    def __init__(self, settings: NetworkSettings, data: Data, seed: int) -> None:
        self.data, self.own, self.points = data, 0.0, list[dict[str, Any]]()
        self.started = time.perf_counter()
        network = make_network(settings, data.x_test.shape[1])
        super().__init__(network, [settings], [seed], data.fold, "regression")
        self.x_test = torch.tensor(data.x_test, dtype=torch.float32)[None]

    def elapsed(self) -> float:
        """Return the seconds of training so far."""
        return time.perf_counter() - self.started - self.own

    def _score(self) -> None:
        best = self.state.best_epoch[0]
        super()._score()
        if self.state.best_epoch[0] == best:
            return
        seconds, paused = self.elapsed(), time.perf_counter()
        tensors = self.tensors(self.state.best, self.state.best_buffers)
        rmse = self.data.rmse(predict(self.network, tensors, self.x_test)[0].double().numpy())
        self.points.append({"seconds": seconds, "rmse": rmse, "at": self.state.best_epoch[0]})
        self.own += time.perf_counter() - paused
