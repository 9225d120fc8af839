"""A store as a table: one row a result. Pages, standings and verdicts are selections and groupings of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mixnam.data import catalogue
from mixnam.data.splits import REPEATS
from mixnam.models import Settings
from mixnam.runs.results import Result
from mixnam.runs.spec import repetitions
from mixnam.runs.store import Group, Store

#: What names a run; the other columns are its numbers by dotted path, where it came about, and the `Result` itself.
IDENTITY = ("dataset", "model", "settings", "split", "seed", "data")
_COLUMNS = (*IDENTITY, "preset", "device_type", "device", "version", "commit", "outdated", "result")
#: The frame of each store's root, with the groups that it was made of.
_FRAMES: dict[Path, tuple[list[Group], pd.DataFrame]] = {}


@lru_cache(maxsize=4096)
def identity(settings: Settings) -> str:
    """Return the settings that differ from the frozen defaults as one text: the frame's column `settings`."""
    return json.dumps(settings.changed(), sort_keys=True)


def frame(store: Store) -> pd.DataFrame:
    """Return every result of a store that today's code would give the same key: one row each, `key` its index.

    Columns: `IDENTITY`; `preset`, `device_type`, `device`, `version`, `commit`; every number of `metrics`, `measures`
    and `cost` by its dotted path, such as `metrics.test.rmse`, NaN where a result has none or has measures of an older
    revision; `outdated`; and `result`. Files are read once in a process, until they are replaced.
    """
    return _frame(store).copy(deep=False)


def _frame(store: Store) -> pd.DataFrame:
    """Return the same frame until files are added, replaced or removed."""
    root, groups = store.root.absolute(), store.groups()
    before, made = _FRAMES.get(root, ([], None))
    if made is None or len(before) != len(groups) or any(a is not b for a, b in zip(before, groups, strict=True)):
        made = frame_of(result for group in groups for result in group.results if not result.superseded)
        _FRAMES[root] = groups, made
    return made


def frame_of(results: Iterable[Result]) -> pd.DataFrame:
    """Return some results as a frame; a number that none of them has is no column of it."""
    rows = [_row(result) for result in results]
    return pd.DataFrame(rows, columns=None if rows else ["key", *_COLUMNS]).set_index("key")


def _row(result: Result) -> dict[str, Any]:
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
        "version": origin["versions"].get("mixnam"),
        "commit": origin["git_commit"],
        "outdated": result.outdated,
        "result": result,
    }
    row |= dict(_numbers("metrics", result.metrics)) | dict(_numbers("cost", result.cost))
    return row if result.outdated else row | dict(_numbers("measures", result.measures))


def _numbers(path: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{path}.{name}", value)
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield f"{path}.{name}", np.nan if value is None else float(value)


def results_of(store: Store, dataset: str, settings: Settings, seeds: int, every_split: bool = False) -> list[Result]:
    """Return one model's results: at most so many seeds of the one split, or all folds with seed 0, in their order.

    With `every_split` those on other partitions into folds follow. They are of the data at hand, or of those that
    most results were trained on (`Store.data`).
    """
    data, entry = store.data(dataset), catalogue.entry(dataset)
    found = store.group(dataset, settings.model).runs.get(settings, {})
    runs = repetitions(dataset, seeds)
    if every_split:
        runs += [(split, 0) for split in entry.every_split if split in REPEATS]
    return [found[data, *run] for run in runs if (data, *run) in found]


def runs_of(store: Store, dataset: str, settings: Settings, seeds: int) -> pd.DataFrame:
    """Return `results_of` as rows of the store's frame."""
    return _frame(store).loc[[result.key for result in results_of(store, dataset, settings, seeds)]]
