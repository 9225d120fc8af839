"""A store as a table: one row a result. Pages, standings and verdicts are selections and groupings of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT
from mixnam.models import Settings
from mixnam.runs.store import Store

#: What names a run; the other columns are its numbers by dotted path, where it came about, and the `Result` itself.
IDENTITY = ("dataset", "model", "settings", "split", "seed", "data")


def identity(settings: Settings) -> str:
    """Return the settings that differ from the frozen defaults as one text: the frame's column `settings`."""
    return json.dumps(settings.changed(), sort_keys=True)


def frame(store: Store) -> pd.DataFrame:
    """Return every result of a store that today's code would give the same key: one row each, `key` its index.

    Columns: `IDENTITY`; `preset`, `device_type`, `device`, `version`, `commit`; every number of `metrics`, `measures`
    and `cost` by its dotted path, such as `metrics.test.rmse`, NaN where a result has none or has measures of an older
    revision; `outdated`; and `result`. A file is opened once in a process, however often this is called.
    """
    rows = []
    for result in store:
        if result.superseded:
            continue
        spec, origin = result.spec, result.provenance
        row: dict[str, Any] = {
            "key": result.key,
            "dataset": spec.dataset,
            "model": spec.model,
            "settings": identity(spec.settings),
            "split": spec.split,
            "seed": spec.seed,
            "data": origin["data_sha256"],
            "preset": origin["preset"],
            "device_type": origin.get("device_type", "cpu"),
            "device": origin["device"],
            "version": origin["versions"]["mixnam"],
            "commit": origin["git_commit"],
            "outdated": result.outdated,
            "result": result,
        }
        row |= dict(_numbers("metrics", result.metrics)) | dict(_numbers("cost", result.cost))
        rows.append(row if result.outdated else row | dict(_numbers("measures", result.measures)))
    columns = ["key", *IDENTITY, "preset", "device_type", "device", "version", "commit", "outdated", "result"]
    return (pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)).set_index("key")


def _numbers(path: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{path}.{name}", value)
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield f"{path}.{name}", np.nan if value is None else float(value)


def runs_of(results: pd.DataFrame, dataset: str, settings: Settings, data: str, seeds: int) -> pd.DataFrame:
    """Select one model's runs: at most so many seeds of the one split, or all folds with seed 0, in their order.

    `data` is the checksum that they were trained on (`Store.data`).
    """
    splits = list(catalogue.entry(dataset).splits)
    wanted = (results["dataset"] == dataset) & (results["model"] == settings.model) & (results["data"] == data)
    wanted &= (results["settings"] == identity(settings)) & results["split"].isin(splits)
    wanted &= results["seed"] < (seeds if tuple(splits) == HOLDOUT else 1)
    return results[wanted].sort_values(["seed", "split"])
