"""Experiments: each is a list of RunSpecs; `run` trains those that have no result yet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from mixnam import datasets
from mixnam.fitting import fit, pick_device
from mixnam.presets import load_preset
from mixnam.results import Result, RunSpec, Store

#: Models of the accuracy table, simple ones first.
ACCURACY_MODELS = ("Linear", "NAM", "MixNAM")


@dataclass
class Outcome:
    """What `run` found or trained.

    Attributes: `specs`, all that were wanted; `results`, those at hand, in that order; `missing`, the
    rest; `skipped`, why nothing could be trained, with the remedy, or empty.
    """

    experiment: str
    dataset: str
    preset: str
    specs: list[RunSpec]
    results: list[Result] = field(default_factory=list)
    missing: list[RunSpec] = field(default_factory=list)
    skipped: str = ""


def specs_of(
    dataset: str,
    model: str,
    preset: str,
    overrides: Mapping[str, Any] | None = None,
    experiment: str = "",
    seeds: int | None = None,
) -> list[RunSpec]:
    """Return the specs of one model on one data set: seeds on one split, or folds with seed 0.

    How many is the preset's to say, unless `seeds` says how many seeds (and then all folds).
    """
    chosen = load_preset(preset)
    settings = chosen.settings(dataset, model, overrides)
    splits = datasets.entry(dataset).splits
    if splits == datasets.HOLDOUT:
        count = chosen.number("seeds", experiment) if seeds is None else seeds
        return [RunSpec(dataset, settings, "holdout", seed) for seed in range(count)]
    folds = splits[: chosen.number("folds", experiment)] if seeds is None else splits
    return [RunSpec(dataset, settings, split, 0) for split in folds]


def accuracy(dataset: str, preset: str, seeds: int | None = None) -> list[RunSpec]:
    """Table 1 on one data set."""
    return [spec for model in ACCURACY_MODELS for spec in specs_of(dataset, model, preset, seeds=seeds)]


def lambda_sweep(dataset: str, preset: str, seeds: int | None = None) -> list[RunSpec]:
    """Tables 2 and 3: MixNAM over the variation penalty λ, with NAM at the additive end."""
    values = load_preset(preset).values("lambda_sweep")
    sweep = [{"variation_penalty": value} for value in values]
    specs = [s for v in sweep for s in specs_of(dataset, "MixNAM", preset, v, "lambda_sweep", seeds)]
    return specs + specs_of(dataset, "NAM", preset, experiment="lambda_sweep", seeds=seeds)


EXPERIMENTS: dict[str, Callable[[str, str, int | None], list[RunSpec]]] = {
    "accuracy": accuracy,
    "lambda_sweep": lambda_sweep,
}


def specs_for(experiment: str, dataset: str, preset: str, seeds: int | None = None) -> list[RunSpec]:
    """Return an experiment's specs; ValueError lists the known experiments."""
    if experiment not in EXPERIMENTS:
        raise ValueError(f"experiment must be one of {', '.join(EXPERIMENTS)}, got {experiment!r}")
    return EXPERIMENTS[experiment](dataset, preset, seeds)


def say(line: str) -> None:
    """Print a progress line at once."""
    print(line, file=sys.stderr, flush=True)


def run(
    experiment: str,
    dataset: str = "housing",
    preset: str = "quick",
    results: Path | str = "results",
    device: str = "auto",
    train: bool = True,
    progress: Callable[[str], None] | None = say,
    seeds: int | None = None,
) -> Outcome:
    """Return an experiment's results, training what has none yet.

    `seeds` runs so many seeds instead of the preset's. With `train=False` results are only read. Data that
    are not at hand leave `missing` filled and the reason in `skipped`; nothing is raised, so that the rest
    goes on.

    Raises ValueError for an unknown experiment, data set, preset or device.
    """
    pick_device(device)
    outcome = Outcome(experiment, dataset, preset, specs_for(experiment, dataset, preset, seeds))
    store = Store(results)
    found = {spec.key: result for spec in outcome.specs if (result := store.get(spec)) is not None}
    if train and len(found) < len(outcome.specs):
        try:
            datasets.load(dataset)
            todo = [spec for spec in outcome.specs if spec.key not in found]
            found |= train_missing(todo, store, device, preset, progress)
        except datasets.DataError as error:
            outcome.skipped = str(error)
            if progress is not None:
                progress(f"skipped {experiment} on {dataset}: {error}")
    outcome.results = [found[spec.key] for spec in outcome.specs if spec.key in found]
    outcome.missing = [spec for spec in outcome.specs if spec.key not in found]
    return outcome


def train_missing(
    specs: Sequence[RunSpec],
    store: Store,
    device: str = "auto",
    preset: str = "",
    progress: Callable[[str], None] | None = say,
) -> dict[str, Result]:
    """Train specs and store their results, by key; what another process is training is waited for last."""
    found: dict[str, Result] = {}
    stacked = pick_device(device).type != "cpu"
    held = []
    waiting = list(specs)
    for spec in specs if stacked else ():
        lock = store.lock(spec)
        try:
            lock.acquire(timeout=0)
            held.append((spec, lock))
        except Timeout:
            continue
    if held:  # on a GPU all free specs train together
        try:
            todo = [spec for spec, _ in held if store.get(spec) is None]
            for result in fit(todo, device, preset, progress):
                store.put(result)
        finally:
            for _, lock in held:
                lock.release()
    for timeout in (0, -1):
        for spec in list(waiting):
            try:
                with store.lock(spec).acquire(timeout=timeout):
                    result = store.get(spec) or _train_one(spec, store, device, preset, progress)
            except Timeout:
                continue
            except FloatingPointError as error:  # one that diverges does not keep the others from training
                waiting.remove(spec)
                if progress is not None:
                    progress(f"failed: {error}")
                continue
            found[spec.key] = result
            waiting.remove(spec)
    return found


def _train_one(spec: RunSpec, store: Store, device: str, preset: str, progress: Callable[[str], None] | None) -> Result:
    if progress is not None:
        progress(f"{spec}: training")
    started = time.perf_counter()
    (fresh,) = fit([spec], device, preset, progress, store.checkpoint)
    result = store.put(fresh)
    store.checkpoint(spec).unlink(missing_ok=True)
    if progress is not None:
        score = ", ".join(f"test {k} {v:.4f}" for k, v in list(result.metrics["test"].items())[:1])
        progress(f"{spec}: {score} after {time.perf_counter() - started:.0f} s")
    return result
