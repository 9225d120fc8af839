"""Boosting libraries as `mixnam.baselines` fits them, but on as many threads as are asked for.

What `mixnam` stores must be the same on every machine, so there each gets one thread; where time is the measure,
that would be unfair.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mixnam.baselines import EBM_027, Rows
from mixnam.datasets import Array
from mixnam.settings import EB2MSettings, EBMSettings, LibrarySettings, XGBoostSettings

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
            return _xgboost(settings, rows, threads, seed)
        if isinstance(settings, EBMSettings):
            return _ebm(settings, rows, threads, seed)
    raise ValueError(f"model must be XGBoost, EBM or EB2M, got {settings.model}")


def _xgboost(settings: XGBoostSettings, rows: Rows, threads: int, seed: int) -> tuple[Predict, int]:
    import xgboost

    options = settings.all()
    options["n_estimators"] = options.pop("trees")
    stopping = options["early_stopping_rounds"] = settings.early_stopping_rounds or None
    model = xgboost.XGBRegressor(**options, tree_method="hist", device="cpu", n_jobs=threads, random_state=seed)
    seen = [(rows.x_validation, rows.y_validation)] if stopping else None
    model.fit(rows.x, rows.y, eval_set=seen, verbose=False)
    rounds = model.best_iteration + 1 if stopping else settings.trees
    return lambda x: model.predict(x, iteration_range=(0, rounds)), rounds


def _ebm(settings: EBMSettings, rows: Rows, threads: int, seed: int) -> tuple[Predict, int]:
    from interpret.glassbox import ExplainableBoostingRegressor

    options: dict[str, Any] = dict(EBM_027) if settings.release == "0.2.7" else {}
    options |= {k: v for k in ("outer_bags", "max_rounds") if (v := getattr(settings, k))}
    options["interactions"] = settings.interactions if isinstance(settings, EB2MSettings) else 0
    options["feature_types"] = ["continuous"] * rows.x.shape[1]
    model = ExplainableBoostingRegressor(**options, n_jobs=threads, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice on its arguments
        model.fit(rows.x, rows.y)
    return model.predict, int(model.best_iteration_.sum())
