"""Train what experiments lack."""

from __future__ import annotations

import argparse
import contextlib
import math
import multiprocessing
import os
import platform
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.paper.costs import duration, estimate, seconds_of
from mixnam.paper.experiments import specs_for
from mixnam.runs.fitting import fit
from mixnam.runs.machine import pick_device
from mixnam.runs.results import Result, UnreadableResult
from mixnam.runs.spec import RunSpec, stacks
from mixnam.runs.store import Store
from mixnam.training.trainer import OutOfTime

Progress = Callable[[str], None]
INTERRUPTED = "interrupted: what was trained is stored, and the same command goes on"


class Failure(NamedTuple):
    """What kept a model from being trained: the kind of error, and its cause with a remedy in one line."""

    kind: type[Exception]
    cause: str

    @classmethod
    def of(cls, spec: RunSpec, error: Exception) -> Failure:
        """Return what an error says; of a kind that is not expected with its name, and the place in the code."""
        text = " ".join(str(error).split()).removeprefix(f"{spec}: ")[:500]
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            text = f"memory is too short{text and f' ({text})'}; train fewer models at a time, or smaller ones"
        elif not isinstance(error, (FloatingPointError, DataError, UnreadableResult, ImportError)):
            calls = traceback.extract_tb(error.__traceback__)
            ours = [call for call in calls if Path(call.filename).is_relative_to(Path(__file__).parents[1])] or calls
            place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
            text = f"{type(error).__name__} in {place}: {text}; leave {spec.model} out by --models, or report this line"
        return cls(type(error), text)


Failures = dict[RunSpec, Failure]


def failed_lines(failures: Failures) -> list[str]:
    """Return what a command ends with: a line a model that was not trained, under a line that counts them."""
    lines = [f"failed: {spec}: {failure.cause}" for spec, failure in failures.items()]
    return [f"{len(lines)} failed:", *lines] if lines else []


@dataclass
class Outcome:
    """What `run` found or trained.

    Attributes: `specs`, all that were wanted; `results`, those at hand, in that order; `missing`, the
    rest; `skipped`, which data are not at hand, with the remedy, or empty; `left_out`, which models cannot be trained
    on these data, and why, or empty; `failed`, which training came to nothing, and why.
    """

    experiment: str
    dataset: str
    preset: str
    specs: list[RunSpec]
    results: list[Result] = field(default_factory=list)
    missing: list[RunSpec] = field(default_factory=list)
    skipped: str = ""
    left_out: str = ""
    failed: Failures = field(default_factory=dict)


def count(text: str) -> int:
    """Return a number of seeds or jobs from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


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
    models: Sequence[str] = (),
) -> Outcome:
    """Return an experiment's results, training what has none yet or only outdated measures.

    `seeds` runs so many seeds instead of the preset's, `models` no others than these. With `train=False` results are
    only read. Data that are not at hand leave `missing` filled and the reason in `skipped`, a training that fails the
    cause in `failed`; nothing is raised, so that the rest goes on.

    Raises ValueError for an unknown experiment, data set, preset, model or device, Unwritable for a directory of
    results that cannot be written.
    """
    pick_device(device)
    specs = specs_for(experiment, dataset, preset, seeds, models)
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
    if train:
        fresh, reasons = train_available(todo, store, experiment, device, preset, progress, outcome.failed)
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
    failed: Failures | None = None,
) -> tuple[dict[RunSpec, Result], list[str]]:
    """Train the specs whose data are at hand; return their results by spec, and why the others were skipped.

    `label` says in the progress lines for what; `failed` is as in `train_missing`.
    """
    absent: dict[str, str] = {}
    for name in dict.fromkeys(spec.dataset for spec in specs):
        try:
            catalogue.load(name)
        except DataError as error:
            absent[name] = str(error)
            (progress or _silent)(f"skipped {label} on {name}: {error}")
    todo = [spec for spec in specs if spec.dataset not in absent]
    return train_missing(todo, store, device, preset, progress, failed=failed), list(absent.values())


def train_missing(
    specs: Sequence[RunSpec],
    store: Store,
    device: str = "auto",
    preset: str = "",
    progress: Progress | None = say,
    deadline: float = math.inf,
    wait: bool = True,
    failed: Failures | None = None,
) -> dict[RunSpec, Result]:
    """Train specs and store their results; what another process is training is waited for last.

    Unless `wait` is set, what another process is training is left to it. A spec that fails, for whatever reason, is
    reported, comes into `failed` and does not keep the others from training; what is in `failed` is not tried again.

    Raises OutOfTime where the clock (`time.monotonic`) passes `deadline`, Unwritable where the store cannot be written;
    what was finished is stored, and others are not waited for.
    """
    if specs:
        check_writable(store.root)
    store.tidy()
    job = _Job(store, device, preset, progress or _silent, deadline, {} if failed is None else failed)
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
) -> Failures:
    """Train specs in so many processes, longest first, and tell after each how many are done and the time left.

    Return those that failed. On a GPU one process trains all: side by side, as many as fit. A spec of unknown length
    counts as a usual one. What other commands are training is waited for last.

    Raises Unwritable where the store cannot be written, ChildProcessError where a process was killed.
    """
    if specs:
        check_writable(store.root)
    failed: Failures = {}
    busy: list[RunSpec] = []
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
        waiting = {pool.submit(_train_apart, group, store, device, preset): group for group in groups}
        try:
            for done in as_completed(waiting):
                left_to_others, lost = done.result()
                busy += left_to_others
                failed |= lost
                group = waiting[done]
                trained += len(group)
                ahead = [work(other) for future, other in waiting.items() if not future.done()]
                ahead[: processes - 1] = [seconds / 2 for seconds in ahead[: processes - 1]]  # in training
                rest = math.fsum(ahead) / whole
                left = duration((time.monotonic() - started) * rest / (1 - rest))
                told = f"{group[0].dataset} {group[0].model}, {group[0].repetition}"
                progress(f"[{trained} of {len(specs)} models, about {left} left] {told}")
                for spec, failure in lost.items():
                    progress(f"failed: {spec}: {failure.cause}")
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise ChildProcessError(
                    "a training process was killed, as systems do where memory is short; what was trained is stored, "
                    "and the same command goes on: give it fewer jobs"
                ) from error
            raise
    train_missing(busy, store, device, preset, progress, failed=failed)
    return failed


def _train_apart(specs: Sequence[RunSpec], store: Store, device: str, preset: str) -> tuple[list[RunSpec], Failures]:
    """Train specs in a process of `train_side_by_side`; return those that another command is training, and failures."""
    failed: Failures = {}
    found = train_missing(specs, store, device, preset, None, wait=False, failed=failed)
    return [spec for spec in specs if spec not in found and spec not in failed], failed


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


class Unwritable(OSError):
    """A directory that results cannot be written into; the message says why and what to do."""

    @classmethod
    def of(cls, where: Path, error: OSError, option: str = "--results") -> Unwritable:
        """Return what an error in writing into a directory says, with the option that names another."""
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror or error
        return cls(f"results directory {where} cannot be written: {reason}; name another with {option}")

    def _render_traceback_(self) -> list[str]:
        """Return what notebooks show of it: the one line that a user needs."""
        return [f"error: {self}"]


def check_writable(where: Path, option: str = "--results") -> None:
    """Make a directory and write into it on trial; Unwritable says in one line why that cannot be."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=where) as trial:
            trial.write(bytes(2**20))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        raise Unwritable.of(where, error, option) from error


@contextlib.contextmanager
def held(lock: FileLock, patience: float = 0.0, what: str = "", tell: Progress = _silent) -> Iterator[None]:
    """Hold a lock, whose file then says who does; wait for another process at most `patience` seconds (-1: any number).

    `tell` is told once for whom, and with `what` what for. Raises Timeout where another process holds the lock still.
    """
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not patience:
            raise
        tell(f"{what}: {holder(lock)} trains it; waiting for that")
        lock.acquire(timeout=patience)
    try:
        with contextlib.suppress(OSError):  # it is for people alone
            Path(lock.lock_file).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        lock.release()


def holder(lock: FileLock) -> str:
    """Return which process holds a lock, as its file says, or that another one does."""
    with contextlib.suppress(OSError, UnicodeError):
        return Path(lock.lock_file).read_text(encoding="utf-8")[:200] or "another process"
    return "another process"


@dataclass(frozen=True)
class _Job:
    """How `train_missing` trains; `busy` collects what other processes are training, `failed` what failed."""

    store: Store
    device: str
    preset: str
    tell: Progress
    deadline: float
    failed: Failures
    busy: list[RunSpec] = field(default_factory=list)

    def lose(self, spec: RunSpec, error: Exception) -> None:
        """Keep and tell why a spec failed."""
        self.failed[spec] = failure = Failure.of(spec, error)
        self.tell(f"failed: {spec}: {failure.cause}")

    def train(self, group: Sequence[RunSpec], patience: float, together: bool) -> dict[RunSpec, Result]:
        """Train those of a group that no other process trains; return their results, without those that failed."""
        with contextlib.ExitStack() as locks:
            mine = []
            for spec in group:
                try:
                    locks.enter_context(held(self.store.lock(spec), patience, str(spec), self.tell))
                    mine.append(spec)
                except Timeout:
                    self.busy.append(spec)
                except (DataError, UnreadableResult) as error:  # without data it has no key; or a later version's
                    self.lose(spec, error)
            found = {spec: result for spec in mine if (result := self.store.current(spec)) is not None}
            todo = [spec for spec in mine if spec not in found and spec not in self.failed]
            if not todo:
                return found
            if not together:
                self.tell(f"{todo[0]}: training")
            started = time.perf_counter()
            options = self.device, self.preset, self.tell, self.store.checkpoint
            try:
                for result in fit(todo, *options, deadline=self.deadline, lost=self.lose):
                    try:
                        found[result.spec] = self.store.put(result)
                    except OSError as error:  # the next would be lost, too
                        raise Unwritable.of(self.store.root, error) from error
                    except Exception as error:
                        self.lose(result.spec, error)
            except (OutOfTime, Unwritable):
                raise
            except Exception as error:  # whatever it is: the others go on, unless no result could be stored
                check_writable(self.store.root)
                for spec in todo:
                    if spec not in found and spec not in self.failed:
                        self.lose(spec, error)
            if any(spec not in found for spec in todo):
                return found
            if not together:
                tested = found[todo[0]].metrics["test"].items()
                score = next((f"test {k} {v:.4f}" for k, v in tested if v is not None), "trained")
                self.tell(f"{todo[0]}: {score} after {time.perf_counter() - started:.0f} s")
            if len(mine) == len(group):  # nobody else has a part of a stack's unfinished state
                self.store.checkpoint(group[0], stack=together).unlink(missing_ok=True)
        return found
