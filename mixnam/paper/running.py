"""Train what experiments lack."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from filelock import Timeout

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.paper.costs import duration, estimate, seconds_of
from mixnam.paper.experiments import specs_for
from mixnam.runs.fitting import fit
from mixnam.runs.machine import pick_device
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec, stacks
from mixnam.runs.store import Store

Progress = Callable[[str], None]


@dataclass
class Outcome:
    """What `run` found or trained.

    Attributes: `specs`, all that were wanted; `results`, those at hand, in that order; `missing`, the
    rest; `skipped`, which data are not at hand, with the remedy, or empty; `left_out`, which models cannot be trained
    on these data, and why, or empty.
    """

    experiment: str
    dataset: str
    preset: str
    specs: list[RunSpec]
    results: list[Result] = field(default_factory=list)
    missing: list[RunSpec] = field(default_factory=list)
    skipped: str = ""
    left_out: str = ""


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
    progress: Progress | None = say,
    seeds: int | None = None,
) -> Outcome:
    """Return an experiment's results, training what has none yet or only outdated measures.

    `seeds` runs so many seeds instead of the preset's. With `train=False` results are only read. Data that
    are not at hand leave `missing` filled and the reason in `skipped`; nothing is raised, so that the rest
    goes on.

    Raises ValueError for an unknown experiment, data set, preset or device.
    """
    pick_device(device)
    specs = specs_for(experiment, dataset, preset, seeds)
    single = [spec for spec in specs if spec.settings.paired and catalogue.entry(spec.dataset).features == 1]
    outcome = Outcome(experiment, dataset, preset, [spec for spec in specs if spec not in single])
    if single:
        models = ", ".join(dict.fromkeys(spec.model for spec in single))
        outcome.left_out = f"Left out: {models}. They pair features, and there is one feature alone."
    store = Store(results)
    found = {spec: result for spec in outcome.specs if (result := store.get(spec)) is not None}
    # what has outdated measures is trained again, and shown where that is not possible
    todo = [spec for spec in outcome.specs if spec not in found or found[spec].outdated] if train else []
    tell = progress or _silent
    if outcome.left_out:
        tell(outcome.left_out)
    features = catalogue.entry(dataset).features if dataset else 0
    if todo and features:
        pairs, paired = features * (features - 1) // 2, [spec for spec in todo if spec.settings.paired]
        tell(f"{dataset}: {estimate(todo)} ({pairs:,} pairs of features: {estimate(paired)} of models that pair them)")
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
    progress: Progress | None = say,
) -> tuple[dict[RunSpec, Result], list[str]]:
    """Train the specs whose data are at hand; return their results by spec, and why the others were skipped.

    `label` says in the progress lines for what.
    """
    absent: dict[str, str] = {}
    for name in dict.fromkeys(spec.dataset for spec in specs):
        try:
            catalogue.load(name)
        except DataError as error:
            absent[name] = str(error)
            (progress or _silent)(f"skipped {label} on {name}: {error}")
    todo = [spec for spec in specs if spec.dataset not in absent]
    return train_missing(todo, store, device, preset, progress), list(absent.values())


def train_missing(
    specs: Sequence[RunSpec],
    store: Store,
    device: str = "auto",
    preset: str = "",
    progress: Progress | None = say,
    deadline: float = math.inf,
    wait: bool = True,
) -> dict[RunSpec, Result]:
    """Train specs and store their results; what another process is training is waited for last.

    Unless `wait` is set, what another process is training is left to it. A spec that diverges is reported and does
    not keep the others from training. Raises OutOfTime where the clock (`time.monotonic`) passes `deadline`; what was
    finished is stored, and others are not waited for.
    """
    job = _Job(store, device, preset, progress or _silent, deadline)
    together = pick_device(device).type != "cpu"
    found: dict[RunSpec, Result] = {}
    for group in stacks(specs, side_by_side=together):
        found |= job.train(group, 0.0, together)
    if wait:
        patience = -1.0 if deadline == math.inf else max(0.0, deadline - time.monotonic())
        for spec in job.busy.copy():
            found |= job.train([spec], patience, together=False)
    return {spec: found[spec] for spec in specs if spec in found}


def train_side_by_side(
    specs: Sequence[RunSpec],
    store: Store,
    device: str = "auto",
    preset: str = "",
    jobs: int = 1,
    progress: Progress = say,
) -> None:
    """Train specs in so many processes, longest first, and tell after each how many are done and the time left.

    On a GPU one process trains all: side by side, as many as fit. A spec of unknown length counts as a usual one.
    """
    together = pick_device(device).type != "cpu"
    known = seconds_of(specs)
    finite = [seconds for seconds in known if math.isfinite(seconds)] or [1.0]
    usual = math.fsum(finite) / len(finite)
    takes = {s: seconds if math.isfinite(seconds) else usual for s, seconds in zip(specs, known, strict=True)}

    def work(group: Sequence[RunSpec]) -> float:
        return math.fsum(takes[spec] for spec in group)

    groups = sorted(stacks(specs, side_by_side=together), key=work, reverse=True)
    whole, trained, started = math.fsum(takes[spec] for spec in specs), 0, time.monotonic()
    spawn, processes = multiprocessing.get_context("spawn"), 1 if together else jobs  # CUDA cannot be forked
    with ProcessPoolExecutor(processes, spawn, _end_with_parent) as pool:
        waiting = {pool.submit(train_missing, group, store, device, preset, None): group for group in groups}
        try:
            for done in as_completed(waiting):
                done.result()
                group = waiting[done]
                trained += len(group)
                ahead = [work(other) for future, other in waiting.items() if not future.done()]
                ahead[: processes - 1] = [seconds / 2 for seconds in ahead[: processes - 1]]  # in training
                rest = math.fsum(ahead) / whole
                left = duration((time.monotonic() - started) * rest / (1 - rest))
                told = f"{group[0].dataset} {group[0].model}, {group[0].repetition}"
                progress(f"[{trained} of {len(specs)} models, about {left} left] {told}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Have this process end at once when it is interrupted, or when the one that started it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class _Job:
    """How `train_missing` trains; `busy` collects what other processes are training."""

    store: Store
    device: str
    preset: str
    tell: Progress
    deadline: float
    busy: list[RunSpec] = field(default_factory=list)

    def train(self, group: Sequence[RunSpec], timeout: float, together: bool) -> dict[RunSpec, Result]:
        """Train those of a group that no other process trains; return their results, without those that diverged."""
        with contextlib.ExitStack() as locks:
            held = []
            for spec in group:
                try:
                    locks.enter_context(self.store.lock(spec).acquire(timeout=timeout))
                    held.append(spec)
                except Timeout:
                    self.busy.append(spec)
            found = {spec: result for spec in held if (result := self.store.current(spec)) is not None}
            todo = [spec for spec in held if spec not in found]
            if not todo:
                return found
            if not together:
                self.tell(f"{todo[0]}: training")
            started = time.perf_counter()
            options = self.device, self.preset, self.tell, self.store.checkpoint
            try:
                for result in fit(todo, *options, deadline=self.deadline):
                    found[result.spec] = self.store.put(result)
            except FloatingPointError as error:
                self.tell(f"failed: {error}")
                return found
            if not together:
                score = next(f"test {k} {v:.4f}" for k, v in found[todo[0]].metrics["test"].items())
                self.tell(f"{todo[0]}: {score} after {time.perf_counter() - started:.0f} s")
            if len(held) == len(group):  # nobody else has a part of a stack's unfinished state
                self.store.checkpoint(group[0], stack=together).unlink(missing_ok=True)
        return found
