"""Boosting libraries as `mixnam.models.libraries` fits them, but on as many threads as are asked for.

What `mixnam` stores must be the same on every machine, so there each gets one thread; where time is the measure,
that would be unfair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from mixnam.data.table import Array
from mixnam.models import EBMSettings, LibrarySettings, XGBoostSettings
from mixnam.models.libraries import Rows, boosted_trees, boosting_machine

Predict = Callable[[Array], Array]


@contextmanager
def openmp_threads(count: int) -> Iterator[None]:
    """Let OpenMP use `count` threads: torch shares it with xgboost, and what limits the one limits the other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit_threaded(settings: LibrarySettings, rows: Rows, threads: int, seed: int = 0) -> tuple[Predict, int]:
    """Fit a regression on `threads` threads, of EBM processes; return its prediction and the rounds it kept.

    Raises ValueError for a model that is none of XGBoost, EBM and EB2M.
    """
    with openmp_threads(threads):
        if isinstance(settings, XGBoostSettings):
            trees, rounds = boosted_trees(settings, rows, "regression", seed, threads)
            return lambda x: trees.predict(x, iteration_range=(0, rounds)), rounds
        if isinstance(settings, EBMSettings):
            model = boosting_machine(settings, rows, "regression", seed, threads)
            return model.predict, int(model.best_iteration_.sum())
    raise ValueError(f"model must be XGBoost, EBM or EB2M, got {settings.model}")
