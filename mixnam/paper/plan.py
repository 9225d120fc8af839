"""The reference run: what the stored results still lack, most valuable first, within a time that is given."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass

from mixnam.data.splits import REPEATS
from mixnam.data.table import DataError
from mixnam.models import NetworkSettings
from mixnam.paper import experiments, running
from mixnam.paper.costs import alike, duration, training_work, usual_seconds
from mixnam.paper.presets import load_preset
from mixnam.paper.running import train_missing
from mixnam.paper.verdicts import LEAST_RUNS
from mixnam.runs.machine import pick_device
from mixnam.runs.spec import RunSpec, stacks
from mixnam.runs.store import Store
from mixnam.training.trainer import OutOfTime


@dataclass(frozen=True)
class Step:
    """A step of the plan: an experiment's rows on a data set at a preset, of some models alone where they are named.

    `seeds` seeds, or all folds. With `overrides`, the models with these settings instead of the experiment's rows;
    with `splits`, on these instead of the data set's own.
    """

    experiment: str
    dataset: str
    seeds: int
    preset: str = "paper"
    models: tuple[str, ...] = ()
    overrides: tuple[dict[str, float], ...] = ()
    splits: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The experiment, and where it is one for real data the data set."""
        return f"{self.experiment} on {self.dataset}" if self.dataset else self.experiment

    def specs(self, preset: str = "") -> list[RunSpec]:
        """Return the step's specs, at its own preset or another: first seeds first, but overrides one by one."""
        preset, dataset = preset or self.preset, self.dataset or "housing"
        if self.overrides:
            rows = [(m, o) for m in self.models for o in self.overrides]
            return [s for m, o in rows for s in experiments.specs_of(dataset, m, preset, o, seeds=self.seeds)]
        specs = experiments.specs_for(self.experiment, dataset, preset, self.seeds)
        specs = [spec for spec in specs if not self.models or spec.model in self.models]
        if self.splits:
            distinct = {spec.settings: spec for spec in specs}.values()
            specs = [dataclasses.replace(spec, split=split) for split in self.splits for spec in distinct]
        return specs


def _penalties(*values: float) -> tuple[dict[str, float], ...]:
    return tuple({"variation_penalty": value} for value in values)


#: The order of value: what claims and pages rest on at the quick setting, then the paper's.
PLAN: tuple[Step, ...] = (
    *(Step(name, "housing", 5, "quick") for name in ("lambda_sweep", "mixnam_d", "routing", "ablations", "mixnam_e")),
    *(Step(name, "", 5, "quick") for name in ("simulation", "sparsity", "variability")),
    *(Step("accuracy", name, 5, "quick") for name in ("housing", "income", "support2", "bike")),
    Step("lambda_sweep", "housing", 5, "quick", models=("MixNAM",), overrides=_penalties(0.001)),
    Step("expert_scaling", "housing", 5, "quick"),
    # at the paper's setting those first that most claims for an hour of training wait for
    Step("lambda_sweep", "housing", 5, models=("MLP", "NAM")),
    Step("accuracy", "housing", 5, models=("MixNAM-D",)),
    Step("lambda_sweep", "housing", 5, models=("MixNAM",), overrides=_penalties(100.0, 0.1, 10.0, 0.0, 1.0)),
    Step("accuracy", "housing", 5, models=("NA2M",)),
    Step("expert_scaling", "housing", 5, models=("MixNAM-E",), overrides=({"experts": 16, "active_experts": 16},)),
    Step("mixnam_e", "housing", 5, models=("MixNAM-E",), overrides=_penalties(0.1, 0.0)),
    Step("routing", "housing", 5),
    Step("lambda_sweep", "housing", 5, models=("MixNAM",)),
    # is the printed λ that of the biased variance? 7.5 and 75 there are 10 and 100 of the unbiased one
    Step("lambda_sweep", "housing", 3, models=("MixNAM",), overrides=_penalties(7.5, 75.0)),
    Step("accuracy", "income", 5, models=("MixNAM", "EBM", "XGBoost", "NAM", "MixNAM-D")),
    Step("accuracy", "income", 5, models=("MixNAM", "EBM", "XGBoost", "NAM"), splits=REPEATS),
    Step("accuracy", "housing", 5),
    Step("accuracy", "housing", 10, models=("MixNAM",)),
    *(Step(name, "housing", 10) for name in ("lambda_sweep", "accuracy", "mixnam_e", "expert_scaling")),
    Step("accuracy", "income", 5),
    *(Step(name, "housing", 10) for name in ("ablations", "routing", "mixnam_d")),
    *(Step("accuracy", name, seeds) for name, seeds in (("year", 10), ("credit", 5), ("mimic2", 5), ("mimic3", 5))),
    *(Step("accuracy", name, 5) for name in ("support2", "bike")),
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
    """Specs of one step of the plan that train side by side on a GPU, and the preset that they are trained under."""

    label: str
    preset: str
    specs: tuple[RunSpec, ...]


def keeps_weights(spec: RunSpec) -> bool:
    """Say whether the reference keeps a result's weights: of the first MixNAM and NAM of a preset; they are large."""
    if not spec.first or spec.model not in ("MixNAM", "NAM"):
        return False
    presets = map(load_preset, ("paper", "quick", "best"))
    return any(spec.settings == preset.settings(spec.dataset, spec.model) for preset in presets)


def lacking(
    stores: Sequence[Store], preset: str = "", libraries: bool = False, plan: Sequence[Step] = PLAN
) -> list[Item]:
    """Return what no store has with today's measures, in the plan's order; at one preset alone where it is named.

    Then the steps that are planned at this preset come first.

    Stored results with outdated measures come before the paper's setting: first the seeds that a verdict needs, those
    of least work first. Models of other libraries are left out unless `libraries` is set: no GPU helps them.
    """
    planned: set[RunSpec] = set()

    def items(label: str, preset: str, specs: Iterable[RunSpec]) -> list[Item]:
        wanted = []
        for spec in specs:
            trained = isinstance(spec.settings, NetworkSettings) or libraries
            if trained and spec not in planned and all(store.current(spec) is None for store in stores):
                planned.add(spec)
                wanted.append(spec)
        groups = stacks(wanted, side_by_side=True)
        return [Item(f"{label}: {group[0].model}", preset, tuple(group)) for group in groups]

    def steps(chosen: Iterable[Step]) -> list[Item]:
        return [i for step in chosen for i in items(step.label, preset or step.preset, step.specs(preset))]

    if preset:
        return steps(sorted(plan, key=lambda step: step.preset != preset))
    ours = steps(step for step in plan if step.preset != "paper")
    old = [result for store in stores for result in store if result.outdated and not result.superseded]
    old.sort(key=lambda result: (result.spec.seed >= LEAST_RUNS, _work(result.spec)))
    by_preset: dict[str, list[RunSpec]] = {}
    for result in old:
        by_preset.setdefault(result.provenance["preset"], []).append(result.spec)
    renewals = [i for name, specs in by_preset.items() if name != "paper" for i in items("renewal", name, specs)]
    return ours + renewals + steps(step for step in plan if step.preset == "paper")


def _work(spec: RunSpec) -> float:
    """Return the work of a training: stored times are those of several versions and machines."""
    try:
        return training_work(spec)
    except DataError:
        return math.inf


def run(
    out: Store,
    known: Store,
    seconds: float,
    device: str = "auto",
    preset: str = "",
    say: running.Progress = running.say,
    plan: Sequence[Step] = PLAN,
    train: Callable[..., Sized] = train_missing,
    work_of: Callable[[RunSpec], float] = training_work,
    failed: running.Failures | None = None,
) -> tuple[int, int]:
    """Train what neither store has into `out`, as far as `seconds` allow; return how many were trained and are left.

    Where an item would not end in time, a part of it is trained, or a later one that does end; the first items tell
    how fast this machine is. An interrupted training goes on from its checkpoint in `out` the next time. Several
    processes may share `out`: each leaves alone what another is training. `train` trains specs as `train_missing`
    does, `work_of` tells a spec's work; what fails comes into `failed`. Models whose library is missing are left out.
    """
    deadline = time.monotonic() + seconds - min(RESERVE, seconds / 10)
    one_by_one = pick_device(device).type == "cpu"
    items = lacking([out, known], preset, libraries=one_by_one, plan=plan)
    if one_by_one:
        items = [Item(item.label, item.preset, (spec,)) for item in items for spec in item.specs]
    at = f" at the {preset} preset" if preset else ""
    say(f"{sum(len(item.specs) for item in items)} results lacking{at}, {duration(seconds)} given")
    work = spent = 0.0
    usual = usual_seconds(known)
    absent: set[str] = set()
    failed = {} if failed is None else failed
    for item in items:
        first, specs = item.specs[0], item.specs
        left = deadline - time.monotonic()
        if left <= 0 or {first.dataset, first.model} & absent:
            continue
        if all(out.current(spec) is not None for spec in specs):
            continue  # another process was faster
        try:
            needed = sum(map(work_of, specs))
        except DataError as error:
            absent.add(first.dataset)
            say(f"skipped: {error}")
            continue
        # nothing stops a model of another library: it starts where the time it took before is left
        estimate = usual.get(alike(first), math.nan)
        if needed:
            estimate = needed * spent / work if work else math.nan
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
            if train(specs, out, device, item.preset, say, deadline, wait=False, failed=failed) and needed:
                work, spent = work + needed, spent + time.monotonic() - started
            absent |= {spec.model for spec in specs if spec in failed and issubclass(failed[spec].kind, ImportError)}
        except OutOfTime as error:
            say(f"{item.label}: {error}")
        finally:
            for spec in specs:
                if not keeps_weights(spec) and out.current(spec) is not None:
                    (out.folder(spec) / f"{spec.key}.weights.safetensors").unlink(missing_ok=True)
    wanted = [spec for item in items for spec in item.specs]
    left_over = sum(out.current(spec) is None for spec in wanted)
    return len(wanted) - left_over, left_over
