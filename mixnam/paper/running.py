"""Train what experiments lack."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import Timeout

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.paper.experiments import (
    specs_for,
)
from mixnam.runs.fitting import fit
from mixnam.runs.machine import pick_device
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec, stacks
from mixnam.runs.store import Store


@dataclass
class Outcome:
    """What `run` found or trained.

    Attributes: `specs`, all that were wanted; `results`, those at hand, in that order; `missing`, the
    rest; `skipped`, which data are not at hand, with the remedy, or empty.
    """

    experiment: str
    dataset: str
    preset: str
    specs: list[RunSpec]
    results: list[Result] = field(default_factory=list)
    missing: list[RunSpec] = field(default_factory=list)
    skipped: str = ""


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
    """Return an experiment's results, training what has none yet or only outdated measures.

    `seeds` runs so many seeds instead of the preset's. With `train=False` results are only read. Data that
    are not at hand leave `missing` filled and the reason in `skipped`; nothing is raised, so that the rest
    goes on.

    Raises ValueError for an unknown experiment, data set, preset or device.
    """
    pick_device(device)
    outcome = Outcome(experiment, dataset, preset, specs_for(experiment, dataset, preset, seeds))
    store = Store(results)
    found = {spec: result for spec in outcome.specs if (result := store.get(spec)) is not None}
    # what has outdated measures is trained again, and shown where that is not possible
    todo = [spec for spec in outcome.specs if spec not in found or found[spec].outdated] if train else []
    fresh, reasons = train_available(todo, store, experiment, device, preset, progress)
    found |= fresh
    outcome.skipped = " ".join(reasons)
    outcome.results = [found[spec] for spec in outcome.specs if spec in found]
    outcome.missing = [spec for spec in outcome.specs if spec not in found]
    return outcome


def train_available(
    specs: Sequence[RunSpec],
    store: Store,
    label: str,
    device: str = "auto",
    preset: str = "",
    progress: Callable[[str], None] | None = say,
) -> tuple[dict[RunSpec, Result], list[str]]:
    """Train the specs whose data are at hand; return their results by key, and why the others were skipped.

    `label` says in the progress lines for what.
    """
    reasons = []
    todo = list(specs)
    for name in dict.fromkeys(spec.dataset for spec in specs):
        try:
            catalogue.load(name)
        except DataError as error:
            reasons.append(str(error))
            todo = [spec for spec in todo if spec.dataset != name]
            if progress is not None:
                progress(f"skipped {label} on {name}: {error}")
    return train_missing(todo, store, device, preset, progress), reasons


def train_missing(
    specs: Sequence[RunSpec],
    store: Store,
    device: str = "auto",
    preset: str = "",
    progress: Callable[[str], None] | None = say,
    deadline: float = math.inf,
    wait: bool = True,
) -> dict[RunSpec, Result]:
    """Train specs and store their results; what another process is training is waited for last.

    Unless `wait` is set, what another process is training is left to it. A spec that diverges is reported and does
    not keep the others from training. Raises OutOfTime where the clock (`time.monotonic`) passes `deadline`; what was
    finished is stored, and others are not waited for.
    """
    found: dict[RunSpec, Result] = {}
    waiting = list(specs)
    if pick_device(device).type != "cpu":
        for group in stacks(specs, side_by_side=True):
            waiting = _train_together(group, waiting, store, device, preset, progress, deadline)
    patience = -1.0 if deadline == math.inf else max(0.0, deadline - time.monotonic())
    for timeout in (0.0, patience) if wait else (0.0,):
        for spec in list(waiting):
            try:
                with store.lock(spec).acquire(timeout=timeout):
                    result = store.current(spec) or _train_one(spec, store, device, preset, progress, deadline)
            except Timeout:
                continue
            except FloatingPointError as error:
                waiting.remove(spec)
                if progress is not None:
                    progress(f"failed: {error}")
                continue
            found[spec] = result
            waiting.remove(spec)
    return found


def _train_together(
    group: list[RunSpec],
    waiting: list[RunSpec],
    store: Store,
    device: str,
    preset: str,
    progress: Callable[[str], None] | None,
    deadline: float,
) -> list[RunSpec]:
    """Train those of a group that no other process trains side by side; return `waiting` less what diverged."""
    held = []
    for spec in group:
        lock = store.lock(spec)
        try:
            lock.acquire(timeout=0)
            held.append((spec, lock))
        except Timeout:
            continue
    stored = set()
    todo = [spec for spec, _ in held if store.current(spec) is None]
    try:
        if not todo:
            return waiting
        for result in fit(todo, device, preset, progress, store.checkpoint, deadline=deadline):
            store.put(result)
            stored.add(result.spec)
    except FloatingPointError as error:
        if progress is not None:
            progress(f"failed: {error}")
        return [spec for spec in waiting if spec not in todo or spec in stored]
    finally:
        for _, lock in held:
            lock.release()
    if len(held) == len(group):  # nobody else has a part of the stack's unfinished state
        store.checkpoint(group[0], stack=True).unlink(missing_ok=True)
    return waiting


def _train_one(
    spec: RunSpec,
    store: Store,
    device: str,
    preset: str,
    progress: Callable[[str], None] | None,
    deadline: float,
) -> Result:
    if progress is not None:
        progress(f"{spec}: training")
    started = time.perf_counter()
    (fresh,) = fit([spec], device, preset, progress, store.checkpoint, deadline=deadline)
    result = store.put(fresh)
    store.checkpoint(spec).unlink(missing_ok=True)
    if progress is not None:
        score = ", ".join(f"test {k} {v:.4f}" for k, v in list(result.metrics["test"].items())[:1])
        progress(f"{spec}: {score} after {time.perf_counter() - started:.0f} s")
    return result
