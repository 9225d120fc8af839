"""Random search with successive halving for settings that were never published, as in Appendix C.

Every training is an ordinary result in a store, so a search that was stopped goes on where it was. Choices rest on
the validation part alone; a record says what was searched, every trial's scores, and what was chosen.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT
from mixnam.models import NetworkSettings, Settings, settings_class
from mixnam.paper import running, spaces
from mixnam.paper.costs import duration
from mixnam.paper.plan import budget as seconds_of
from mixnam.paper.presets import PRESETS, load_preset
from mixnam.paper.running import train_missing
from mixnam.paper.spaces import Space
from mixnam.runs.files import root, write_file
from mixnam.runs.machine import pick_device, provenance
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store
from mixnam.training.trainer import OutOfTime

SCHEMA = 1
Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a search does: how many trials, and how they are thinned out.

    Each of the `rungs` trains for `halving` times as many epochs as the one before, the last for all of a trial's
    own, and hands one in `halving` on. The last one's best `finalists` train with `repeats` further seeds or folds,
    whose mean score chooses; then `test_runs` seeds or folds of the choice are tested.

    Raises ValueError for a number out of range, an unknown data set, model or space.
    """

    dataset: str
    model: str
    space: Space
    trials: int = 64
    seed: int = 0
    rungs: int = 3
    halving: int = 3
    least_epochs: int = 5
    finalists: int = 3
    repeats: int = 3
    test_runs: int = 0

    def __post_init__(self) -> None:
        least = {"trials": 1, "seed": 0, "rungs": 1, "halving": 2, "least_epochs": 1, "finalists": 1}
        for name, low in (least | {"repeats": 0, "test_runs": 0}).items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be an integer >= {low}, got {getattr(self, name)}")
        catalogue.entry(self.dataset)
        if spaces.find(self.model, self.space.name) != self.space:
            raise ValueError(f"the space {self.space.name!r} of {self.model} is another one; take spaces.find's")

    @property
    def metric(self) -> str:
        """The data set's metric, by which trials are compared on the validation part."""
        return catalogue.entry(self.dataset).metric

    @property
    def shares(self) -> list[float]:
        """The share of a trial's epochs that each rung trains; a library's model has one rung."""
        rungs = self.rungs if issubclass(settings_class(self.model), NetworkSettings) else 1
        return [self.halving ** -float(rungs - 1 - i) for i in range(rungs)]

    def runs(self, count: int, first: int = 0) -> list[tuple[str, int]]:
        """Return `count` pairs of split and seed from the given one on: seeds of one split, or folds."""
        splits = catalogue.entry(self.dataset).splits
        if splits == HOLDOUT:
            return [("holdout", seed) for seed in range(first, first + count)]
        return [(split, 0) for split in splits[first : first + count]]

    def best_first(self, scores: Mapping[int, float]) -> list[int]:
        """Return the trials that have a finite score, best first; of equal ones the earlier."""
        sign = -1 if self.metric == "auc" else 1
        return sorted((t for t, s in scores.items() if math.isfinite(s)), key=lambda t: (sign * scores[t], t))

    def command(self) -> str:
        """Return the command line that repeats this search."""
        words = [f"python -m mixnam search --dataset {self.dataset} --model {self.model} --space {self.space.name}"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "trials" or (field.name in OPTIONS and value != field.default):
                words.append(f"--{field.name.replace('_', '-')} {value}")
        return " ".join(words)


#: What the command line sets of a plan, and says of it.
OPTIONS = {
    "trials": "settings drawn",
    "seed": "which trials are drawn",
    "rungs": "rungs of successive halving; 1: every trial trains for all its epochs",
    "halving": "of how many trials a rung hands one on",
    "least_epochs": "epochs that a rung trains at least",
    "finalists": "trials repeated before the choice",
    "repeats": "further seeds or folds of each of them",
    "test_runs": "seeds or folds of the choice that are tested after it was made",
}


def shortened(settings: Settings, share: float, least: int) -> Settings:
    """Return settings with this share of their epochs, at least `least`, and of the rules counted in steps.

    The learning rate's schedule is as long as the training, so a short training is a whole one.
    """
    if not isinstance(settings, NetworkSettings):
        return settings
    epochs = min(settings.epochs, max(least, round(settings.epochs * share)))
    scaled: dict[str, Any] = {"epochs": epochs}
    for name, value in settings.all().items():
        if name.endswith("_steps") and name != "evaluation_steps":
            scaled[name] = math.ceil(value * epochs / settings.epochs)
    return dataclasses.replace(settings, **scaled)


class Search:
    """One search: `run` trains what its store lacks and returns the record.

    Raises OutOfTime where the clock (`time.monotonic`) passes `deadline`; what was trained is stored.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        device: str = "auto",
        say: Callable[[str], None] = running.say,
        deadline: float = math.inf,
    ) -> None:
        self.plan, self.store, self.device, self.say, self.deadline = plan, store, device, say, deadline
        self._diverged = store.root / "diverged.json"

    def _progress(self, line: str) -> None:
        """Pass on what training says, but for test scores, which nobody should see before the choice."""
        self.say(re.sub(r"test \S+ \S+ after", "trained in", line))

    def _lost(self) -> dict[str, str]:
        """Return what diverged in this search or another one of the same store, by key."""
        path = self._diverged
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return found

    def _train(self, specs: Mapping[Any, RunSpec]) -> dict[Any, Result]:
        """Train what has no result yet; return results by label, without those that diverged now or earlier."""
        diverged = self._lost()
        todo = [s for s in dict.fromkeys(specs.values()) if s.key not in diverged]
        network = issubclass(settings_class(self.plan.model), NetworkSettings)
        found: dict[RunSpec, Result] = {}
        for part in [todo] if network and pick_device(self.device).type != "cpu" else [[spec] for spec in todo]:
            known = {s: r for s in part if (r := self.store.get(s)) is not None}
            lacking = [s for s in part if s not in known]
            if lacking and time.monotonic() > self.deadline:
                raise OutOfTime("the time given is over")
            fresh = train_missing(lacking, self.store, self.device, "search", self._progress, self.deadline)
            found |= known | fresh
            lost = {s.key: str(s) for s in lacking if s not in fresh}
            if lost and time.monotonic() > self.deadline:  # or another process is at it still
                raise OutOfTime("the time given is over")
            if lost:
                write_file(self._diverged, json.dumps(self._lost() | lost, indent=1).encode())
        return {label: found[spec] for label, spec in specs.items() if spec in found}

    def _score(self, result: Result | None) -> float:
        return math.nan if result is None else result.metrics["validation"][self.plan.metric]

    def run(self) -> Record:
        """Search, choose, then test the choice where the plan says so."""
        plan = self.plan
        catalogue.load(plan.dataset)
        drawn = plan.space.trials(plan.model, plan.seed, plan.trials)
        trials: dict[int, Record] = {
            t: {"trial": t, "settings": _plain({n: s.all()[n] for n in _names(plan.space)}), "rungs": []}
            for t, s in drawn.items()
        }
        alive: list[int] = list(drawn)
        rungs: list[Record] = []
        split, seed = plan.runs(1)[0]
        for number, share in enumerate(plan.shares):
            self.say(f"rung {number + 1} of {len(plan.shares)}: {len(alive)} trials, {share:.0%} of their epochs")
            specs = {
                t: RunSpec(plan.dataset, shortened(drawn[t], share, plan.least_epochs), split, seed) for t in alive
            }
            found = self._train(specs)
            scores = {t: self._score(found.get(t)) for t in alive}
            for t in alive:
                trials[t]["rungs"].append(_run_record(specs[t], found.get(t), scores[t]))
            order = plan.best_first(scores)
            if not order:
                raise ValueError(
                    f"all {len(alive)} trials of the space {plan.space.name} diverged; take another space or seed"
                )
            rungs.append({"share": share, "trials": alive, "seconds": _seconds(found.values())})
            self.say(f"best so far: trial {order[0]}, validation {plan.metric} {scores[order[0]]:.4f}")
            alive = order[: max(math.ceil(len(alive) / plan.halving), plan.finalists)]
        finalists = self._repeat({t: drawn[t] for t in alive[: plan.finalists]}, scores)
        chosen = finalists[0]
        return {
            "schema": SCHEMA,
            "dataset": plan.dataset,
            "model": plan.model,
            "metric": plan.metric,
            "part": "validation",
            "space": plan.space.record(),
            "plan": {name: getattr(plan, name) for name in OPTIONS},
            "rungs": rungs,
            "trials": list(trials.values()),
            "finalists": finalists,
            "chosen": {k: chosen[k] for k in ("trial", "mean", "sd", "n")}
            | {"settings": trials[chosen["trial"]]["settings"]},
            "test": self._test(drawn[chosen["trial"]]),
            "seconds": sum(r["seconds"] for r in [*rungs, *(run for f in finalists for run in f["runs"])]),
            "provenance": provenance(pick_device(self.device), "search"),
            "command": plan.command(),
        }

    def _repeat(self, settings: Mapping[int, Settings], scores: Mapping[int, float]) -> list[Record]:
        """Train finalists with further seeds or folds; return them best first, by the mean of these alone."""
        plan = self.plan
        runs = plan.runs(plan.repeats, first=1)
        specs = {(t, i): RunSpec(plan.dataset, s, *run) for i, run in enumerate(runs) for t, s in settings.items()}
        if specs:
            self.say(f"{len(settings)} finalists, {len(runs)} further runs each")
        found = self._train(specs)
        records, means = {}, {}
        for t in settings:
            own = [found.get((t, i)) for i in range(len(runs))]
            numbers = np.array([self._score(r) for r in own] or [scores[t]])
            means[t] = float(numbers.mean())
            records[t] = {
                "trial": t,
                "runs": [_run_record(specs[t, i], r, self._score(r)) for i, r in enumerate(own)],
                "mean": _finite(means[t]),
                "sd": _finite(float(numbers.std(ddof=1))) if len(numbers) > 1 else None,
                "n": len(numbers),
            }
        order = plan.best_first(means)
        if not order:
            raise ValueError("every finalist diverged with a further seed or fold; take another space or seed")
        return [records[t] for t in [*order, *(t for t in records if t not in order)]]

    def _test(self, settings: Settings) -> Record | None:
        """Train and test the choice; None where the plan asks for no tests."""
        plan = self.plan
        if not plan.test_runs:
            return None
        self.say("the choice is made; now it is tested")
        found = self._train({run: RunSpec(plan.dataset, settings, *run) for run in plan.runs(plan.test_runs)})
        scores = [r.metrics["test"][plan.metric] for r in found.values()]
        if not scores:
            return None
        sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
        return {"mean": float(np.mean(scores)), "sd": sd, "n": len(scores), "scores": scores}


def _names(space: Space) -> list[str]:
    return list(dict.fromkeys([*(choice.name for choice in space.choices), *space.fixed]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(settings: Mapping[str, Any]) -> Record:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def _seconds(results: Iterable[Result]) -> float:
    return sum(r.cost["fit_seconds"] + r.cost["explain_seconds"] for r in results)


def _run_record(spec: RunSpec, result: Result | None, score: float) -> Record:
    record: Record = {"split": spec.split, "seed": spec.seed, "key": spec.key[:12], "score": _finite(score)}
    if isinstance(spec.settings, NetworkSettings):
        record["epochs"] = spec.settings.epochs
    return record | {"diverged": result is None, "seconds": 0.0 if result is None else _seconds([result])}


def to_toml(record: Record) -> str:
    """Return a record's choice as the lines of a preset, complete over what any preset says of the model."""
    dataset, model = record["dataset"], record["model"]
    chosen = settings_class(model)(**record["chosen"]["settings"]).all()
    names = set(record["chosen"]["settings"])
    for preset in PRESETS:
        before = load_preset(preset).settings(dataset, model).all()
        names |= {name for name, value in chosen.items() if before[name] != value}
    plan, best = record["plan"], record["chosen"]
    spread = "" if best["sd"] is None else f" ± {best['sd']:.4f}"
    part = catalogue.entry(dataset).title
    lines = [
        f"# searched by us on the validation part of {part}: {plan['trials']} trials, space {record['space']['name']}",
        f"# validation {record['metric']} {best['mean']:.4f}{spread}",
        f"[data.{catalogue.family(dataset)}.{model}]",
    ]
    for name, value in chosen.items():
        if name in names:
            plain = list(value) if isinstance(value, tuple) else value
            lines.append(f"{name} = {json.dumps(plain) if isinstance(plain, (str, bool, list)) else repr(plain)}")
    return "\n".join(lines)


def folder() -> Path:
    """Return where records of searches are kept."""
    return root() / "book" / "searches"


def write(record: Record, path: Path) -> None:
    """Write a record, whole or not at all, a line a trial."""
    lines = []
    for name, value in record.items():
        if name == "trials":
            rows = ",\n  ".join(json.dumps(v, allow_nan=False) for v in value)
            lines.append(f'"trials": [\n  {rows}\n]')
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}")
    write_file(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options of `python -m mixnam search` but for results and device, which all commands share."""
    command.add_argument("--dataset", default="housing")
    command.add_argument("--model", default="MixNAM")
    command.add_argument("--space", default="", help="one of the model's (default: its first; MixNAM has four)")
    defaults = {field.name: field.default for field in dataclasses.fields(Plan)}
    for name, text in OPTIONS.items():
        say = f"{text} (default: {defaults[name]})"
        command.add_argument(f"--{name.replace('_', '-')}", type=int, default=defaults[name], help=say)
    command.add_argument("--budget", help="time after which it stops, such as 25m; the same command goes on")
    command.add_argument("--out", type=Path, help="the record (default: book/searches/DATASET_MODEL_SPACE.json)")


def search(arguments: argparse.Namespace) -> int:
    """Search a model's settings on the validation part, and print the choice as lines of a preset."""
    options = {name: getattr(arguments, name) for name in OPTIONS}
    plan = Plan(arguments.dataset, arguments.model, spaces.find(arguments.model, arguments.space), **options)
    store = Store(arguments.results or root() / "runs" / "search" / plan.dataset / "results")
    out = arguments.out or folder() / f"{plan.dataset}_{plan.model}_{plan.space.name}.json"
    seconds = math.inf if arguments.budget is None else seconds_of(arguments.budget)
    try:
        record = Search(plan, store, arguments.device, deadline=time.monotonic() + seconds).run()
    except OutOfTime:
        print(f"stopped after {arguments.budget}; what was trained is in {store.root}, the same command goes on")
        return 1
    write(record, out)
    print(to_toml(record))
    print(f"\n{plan.model} on {plan.dataset}: searched by us, {duration(record['seconds'])} of training; record: {out}")
    if record["test"]:
        tested = record["test"]
        print(f"tested after the choice: {plan.metric} {tested['mean']:.4f} over {tested['n']} runs")
    return 0
