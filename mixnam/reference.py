"""The reference run: what the stored results still lack, most valuable first, within a time that is given."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mixnam import datasets, experiments
from mixnam.costs import duration, training_work
from mixnam.fitting import pick_device
from mixnam.presets import load_preset
from mixnam.results import RunSpec, Store
from mixnam.settings import NetworkSettings
from mixnam.stacking import stacks
from mixnam.training import OutOfTime

#: The order of value: experiment, data set, and how many seeds (folds are always all five).
PLAN: tuple[tuple[str, str, int], ...] = (
    ("accuracy MixNAM", "housing", 10),
    ("lambda_sweep", "housing", 10),
    ("accuracy", "housing", 10),
    ("mixnam_e", "housing", 10),
    ("expert_scaling", "housing", 10),
    ("simulation", "", 5),
    ("sparsity", "", 5),
    ("variability", "", 5),
    ("accuracy MixNAM", "income", 5),
    ("accuracy", "income", 5),
    ("ablations", "housing", 10),
    ("routing", "housing", 10),
    ("mixnam_d", "housing", 10),
    *(("accuracy", name, seeds) for name, seeds in (("year", 10), ("credit", 5), ("mimic2", 5), ("mimic3", 5))),
    *(("accuracy", name, 5) for name in ("support2", "bike")),
)
#: Seconds kept for measures and files at the end.
RESERVE = 10.0


def budget(text: str) -> float:
    """Return a time such as 90s, 25m or 1.5h in seconds; ValueError for anything else.

    >>> budget("25m")
    1500.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"a budget is a number with s, m or h behind it, such as 25m, got {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


@dataclass(frozen=True)
class Item:
    """Specs of the networks of one step of the plan that train side by side on a GPU."""

    label: str
    specs: tuple[RunSpec, ...]


def keeps_weights(spec: RunSpec) -> bool:
    """Say whether the reference keeps a result's weights: for the first MixNAM and NAM of a table; they are large."""
    settings = load_preset("paper").settings(spec.dataset, spec.model)
    return spec.first and spec.model in ("MixNAM", "NAM") and spec.settings == settings


def lacking(stores: Sequence[Store], preset: str = "paper") -> list[Item]:
    """Return what no store has, in the plan's order. Library models are left out: no GPU helps them."""
    items: list[Item] = []
    planned: set[str] = set()
    for name, dataset, seeds in PLAN:
        experiment, *models = name.split()
        specs = []
        for spec in experiments.specs_for(experiment, dataset or "housing", preset, seeds):
            wanted = isinstance(spec.settings, NetworkSettings) and (not models or spec.model in models)
            if wanted and spec.key not in planned and all(store.get(spec) is None for store in stores):
                planned.add(spec.key)
                specs.append(spec)
        label = f"{experiment} on {dataset}" if dataset else experiment
        items += [Item(f"{label}: {group[0].model}", tuple(group)) for group in stacks(specs, side_by_side=True)]
    return items


def run(
    out: Store,
    known: Store,
    seconds: float,
    device: str = "auto",
    preset: str = "paper",
    say: Callable[[str], None] = experiments.say,
) -> tuple[int, int]:
    """Train what neither store has into `out`, as far as `seconds` allow; return how many were trained and are left.

    Of an item that would not end in time only a part is trained, or another that does end; how fast this machine
    is, the first items tell. What is interrupted goes on from its checkpoint in `out` the next time.
    """
    deadline = time.monotonic() + seconds - min(RESERVE, seconds / 10)
    one_by_one = pick_device(device).type == "cpu"
    items = lacking([out, known], preset)
    if one_by_one:
        items = [Item(item.label, (spec,)) for item in items for spec in item.specs]
    say(f"{sum(len(item.specs) for item in items)} results lacking at the {preset} preset, {duration(seconds)} given")
    work = spent = 0.0
    absent: set[str] = set()
    for item in items:
        left = deadline - time.monotonic()
        if left <= 0 or item.specs[0].dataset in absent:
            continue
        try:
            needed = sum(training_work(spec) for spec in item.specs)
        except datasets.DataError as error:
            absent.add(item.specs[0].dataset)
            say(f"skipped: {error}")
            continue
        estimate = needed * spent / work if work else math.nan
        specs = item.specs
        if estimate > left:
            specs = specs[: int(len(specs) * left / estimate)]
            needed, estimate = needed * len(specs) / len(item.specs), left
        if not specs:
            continue
        about = "" if math.isnan(estimate) else f", about {duration(estimate)}"
        of = "" if len(specs) == len(item.specs) else f" of {len(item.specs)}"
        say(f"{item.label}: {len(specs)}{of} to train{about}, {duration(left)} left")
        started = time.monotonic()
        try:
            experiments.train_missing(specs, out, device, preset, say, deadline)
        except (OutOfTime, MemoryError, torch.OutOfMemoryError) as error:
            say(f"{item.label}: {error}")
            continue
        finally:
            for spec in specs:
                if not keeps_weights(spec):
                    (out.folder(spec) / f"{spec.key}.weights.safetensors").unlink(missing_ok=True)
        work, spent = work + needed, spent + time.monotonic() - started
    wanted = [spec for item in items for spec in item.specs]
    left_over = sum(out.get(spec) is None for spec in wanted)
    return len(wanted) - left_over, left_over
