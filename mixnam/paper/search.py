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
from mixnam.data.table import better
from mixnam.models import NetworkSettings, Settings, settings_class
from mixnam.paper import running, spaces
from mixnam.paper.costs import duration
from mixnam.paper.plan import budget as seconds_of
from mixnam.paper.presets import PRESETS, load_preset
from mixnam.paper.running import train_missing
from mixnam.paper.spaces import Space, plain
from mixnam.runs.files import root, write_file
from mixnam.runs.fitting import Diverged
from mixnam.runs.machine import pick_device, provenance
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec, repetitions
from mixnam.runs.store import Store
from mixnam.training.trainer import OutOfTime

SCHEMA = 1
Record = dict[str, Any]


def _option(default: int, least: int, told: str) -> Any:
    """Declare a number of a plan: its default, its least value, and what the command line says of it."""
    return dataclasses.field(default=default, metadata={"least": least, "told": told})


@dataclass(frozen=True)
class Plan:
    """What a search does: how many trials, and how they are thinned out.

    Each of the `rungs` trains for `halving` times as many epochs as the one before, the last for all of a trial's
    own, and hands one in `halving` on. The last one's best `finalists` train with `repeats` further seeds or folds,
    whose mean score chooses; then `test_runs` seeds or folds of the choice are tested.

    All runs are of the one split that `split` names, else of the data set's own: seeds of its first, or its folds.

    Raises ValueError for a number out of range, an unknown data set, model, space or split.
    """

    dataset: str
    model: str
    space: Space
    split: str = ""
    trials: int = _option(64, 1, "settings drawn")
    seed: int = _option(0, 0, "which trials are drawn")
    rungs: int = _option(3, 1, "rungs of successive halving; 1: every trial trains for all its epochs")
    halving: int = _option(3, 2, "of how many trials a rung hands one on")
    least_epochs: int = _option(5, 1, "epochs that a rung trains at least")
    finalists: int = _option(3, 1, "trials repeated before the choice")
    repeats: int = _option(3, 0, "further seeds or folds of each of them")
    test_runs: int = _option(0, 0, "seeds or folds of the choice that are tested after it was made")

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            if getattr(self, name) < option.metadata["least"]:
                raise ValueError(f"{name} must be an integer >= {option.metadata['least']}, got {getattr(self, name)}")
        known = catalogue.entry(self.dataset).every_split
        if self.split and self.split not in known:
            raise ValueError(f"split of {self.dataset} must be one of {', '.join(known)}, got {self.split!r}")
        if spaces.find(self.model, self.space.name) != self.space:
            raise ValueError(f"the space {self.space.name!r} of {self.model} is another one; take spaces.find's")

    @property
    def metric(self) -> str:
        """The data set's metric, by which trials are compared on the validation part."""
        return catalogue.entry(self.dataset).metric

    @property
    def network(self) -> bool:
        """Whether the model is a network, which trains for epochs; a library's model has one rung."""
        return issubclass(settings_class(self.model), NetworkSettings)

    @property
    def shares(self) -> list[float]:
        """The share of a trial's epochs that each rung trains."""
        rungs = self.rungs if self.network else 1
        return [self.halving ** -float(rungs - 1 - i) for i in range(rungs)]

    def specs(self, settings: Settings, count: int, first: int = 0) -> list[RunSpec]:
        """Return `count` runs from the given one on: seeds of one split, or folds."""
        if self.split:
            return [RunSpec(self.dataset, settings, self.split, seed) for seed in range(first, first + count)]
        runs = repetitions(self.dataset, first + count, first + count)[first : first + count]
        return [RunSpec(self.dataset, settings, split, seed) for split, seed in runs]

    def best_first(self, scores: Mapping[int, float]) -> list[int]:
        """Return the trials that have a finite score, best first; of equal ones the earlier."""
        side = -better(self.metric)
        return sorted((t for t, s in scores.items() if math.isfinite(s)), key=lambda t: (side * scores[t], t))

    def command(self) -> str:
        """Return the command line that repeats this search."""
        words = [f"python -m mixnam search --dataset {self.dataset} --model {self.model} --space {self.space.name}"]
        if self.split:
            words.append(f"--split {self.split}")
        for name, option in OPTIONS.items():
            if name == "trials" or getattr(self, name) != option.default:
                words.append(f"--{name.replace('_', '-')} {getattr(self, name)}")
        return " ".join(words)


#: The numbers of a plan, which the command line sets.
OPTIONS = {field.name: field for field in dataclasses.fields(Plan) if field.metadata}


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


@dataclass(frozen=True)
class Search:
    """One search: `run` trains what its store lacks, by `train`, and returns the record; `failed` is what failed.

    Raises OutOfTime where the clock (`time.monotonic`) passes `deadline`; what was trained is stored.
    """

    plan: Plan
    store: Store
    device: str = "auto"
    say: running.Progress = running.say
    deadline: float = math.inf
    train: Callable[..., dict[RunSpec, Result]] = train_missing
    failed: running.Failures = dataclasses.field(default_factory=dict)

    def _progress(self, line: str) -> None:
        """Pass on what training says, but for test scores, which nobody should see before the choice."""
        self.say(re.sub(r"test \S+ \S+ after", "trained in", line))

    def _train(self, specs: Iterable[RunSpec]) -> dict[RunSpec, Result]:
        """Train what has no result yet; return results without those that diverged, now or earlier, or failed now."""
        path = self.store.root / "diverged.json"  # in this search or another one of the same store, by key
        diverged = _read_lost(path)
        todo = [spec for spec in dict.fromkeys(specs) if spec.key not in diverged]
        together = self.plan.network and pick_device(self.device).type != "cpu"
        found: dict[RunSpec, Result] = {}
        for part in [todo] if together else [[spec] for spec in todo]:
            known = {s: r for s in part if (r := self.store.get(s)) is not None}
            lacking = [s for s in part if s not in known and s not in self.failed]
            if lacking and time.monotonic() > self.deadline:
                raise OutOfTime("the time given is over")
            options = self.device, "search", self._progress, self.deadline
            found |= known | self.train(lacking, self.store, *options, failed=self.failed)
            lost = {s.key: str(s) for s in lacking if s in self.failed and self.failed[s].kind is Diverged}
            if lost:
                write_file(path, json.dumps(_read_lost(path) | lost, indent=1).encode())
            if any(s not in found and s not in self.failed for s in lacking):  # another process is at it still
                raise OutOfTime("the time given is over")
        return found

    def _score(self, result: Result | None) -> float:
        score = None if result is None else result.metrics["validation"][self.plan.metric]
        return math.nan if score is None else score

    @property
    def broken(self) -> running.Failures:
        """What failed otherwise than by divergence, which is an outcome of a trial as any other."""
        return {spec: failure for spec, failure in self.failed.items() if failure.kind is not Diverged}

    def _nothing(self, what: str) -> ValueError:
        """Return what to raise where nothing is left to choose from."""
        causes = [failure.cause for failure in self.broken.values()]
        why = f"failed, such as: {causes[0]}" if causes else "diverged"
        return ValueError(f"{what} {why}; take another space or seed")

    def run(self) -> Record:
        """Search, choose, then test the choice where the plan says so."""
        plan = self.plan
        catalogue.load(plan.dataset)
        drawn = plan.space.trials(plan.model, plan.seed, plan.trials)
        names = dict.fromkeys([*(choice.name for choice in plan.space.choices), *plan.space.fixed])
        trials: dict[int, Record] = {
            t: {"trial": t, "settings": {n: plain(s.all()[n]) for n in names}, "rungs": []} for t, s in drawn.items()
        }
        alive: list[int] = list(drawn)
        rungs: list[Record] = []
        for number, share in enumerate(plan.shares):
            self.say(f"rung {number + 1} of {len(plan.shares)}: {len(alive)} trials, {share:.0%} of their epochs")
            specs = {t: plan.specs(shortened(drawn[t], share, plan.least_epochs), 1)[0] for t in alive}
            found = self._train(specs.values())
            scores = {t: self._score(found.get(spec)) for t, spec in specs.items()}
            for t, spec in specs.items():
                trials[t]["rungs"].append(self._record(spec, found.get(spec)))
            order = plan.best_first(scores)
            if not order:
                raise self._nothing(f"all {len(alive)} trials of the space {plan.space.name}")
            rungs.append({"share": share, "trials": alive, "seconds": sum(map(_seconds, found.values()))})
            self.say(f"best so far: trial {order[0]}, validation {plan.metric} {scores[order[0]]:.4f}")
            alive = order[: max(math.ceil(len(alive) / plan.halving), plan.finalists)]
        finalists = self._repeat({t: drawn[t] for t in alive[: plan.finalists]}, scores)
        chosen = finalists[0]
        return {
            "schema": SCHEMA,
            "dataset": plan.dataset,
            "title": catalogue.entry(plan.dataset).title,
            "model": plan.model,
            "metric": plan.metric,
            "part": "validation",
            "space": plan.space.record(),
            "plan": {name: getattr(plan, name) for name in OPTIONS} | ({"split": plan.split} if plan.split else {}),
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
        specs = {t: plan.specs(s, plan.repeats, first=1) for t, s in settings.items()}
        further = len(next(iter(specs.values())))
        if further:
            self.say(f"{len(settings)} finalists, {further} further runs each")
        found = self._train(spec for turn in zip(*specs.values(), strict=True) for spec in turn)
        records, means = {}, {}
        for t, runs in specs.items():
            numbers = np.array([self._score(found.get(spec)) for spec in runs] or [scores[t]])
            means[t] = float(numbers.mean())
            records[t] = {
                "trial": t,
                "runs": [self._record(spec, found.get(spec)) for spec in runs],
                "mean": _finite(means[t]),
                "sd": _finite(float(numbers.std(ddof=1))) if len(numbers) > 1 else None,
                "n": len(numbers),
            }
        order = plan.best_first(means)
        if not order:
            raise self._nothing("every finalist, with a further seed or fold,")
        return [records[t] for t in [*order, *(t for t in records if t not in order)]]

    def _test(self, settings: Settings) -> Record | None:
        """Train and test the choice; None where the plan asks for no tests."""
        if not self.plan.test_runs:
            return None
        self.say("the choice is made; now it is tested")
        found = self._train(self.plan.specs(settings, self.plan.test_runs))
        scores = [score for r in found.values() if (score := r.metrics["test"][self.plan.metric]) is not None]
        if not scores:
            return None
        sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
        return {"mean": float(np.mean(scores)), "sd": sd, "n": len(scores), "scores": scores}

    def _record(self, spec: RunSpec, result: Result | None) -> Record:
        found: Record = {"split": spec.split, "seed": spec.seed, "key": spec.key[:12]}
        found["score"] = _finite(self._score(result))
        if isinstance(spec.settings, NetworkSettings):
            found["epochs"] = spec.settings.epochs
        broken = self.broken.get(spec)
        found |= {} if broken is None else {"failed": broken.cause}
        return found | {
            "diverged": result is None and broken is None,
            "seconds": 0.0 if result is None else _seconds(result),
        }


def _read_lost(path: Path) -> dict[str, str]:
    lost: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return lost


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _seconds(result: Result) -> float:
    seconds: float = result.cost["fit_seconds"] + result.cost["explain_seconds"]
    return seconds


def to_toml(record: Record) -> str:
    """Return a record's choice as the lines of a preset, complete over what any preset says of the model."""
    dataset, model = record["dataset"], record["model"]
    chosen = settings_class(model)(**record["chosen"]["settings"]).all()
    presets = [load_preset(preset).settings(dataset, model).all() for preset in PRESETS]
    named = record["chosen"]["settings"]
    plan, best, known = record["plan"], record["chosen"], catalogue.entry(dataset)
    spread = "" if best["sd"] is None else f" ± {best['sd']:.4f}"
    where = f" (split {plan['split']})" if "split" in plan else ""
    table = f"splits.{dataset}.{plan['split']}" if "split" in plan else f"data.{catalogue.family(dataset)}"
    return "\n".join(
        [
            f"# searched by us on the validation part of {known.title}{where}: {plan['trials']} trials, "
            f"space {record['space']['name']}",
            f"# validation {record['metric']} {best['mean']:.4f}{spread}",
            f"[{table}.{model}]",
            *(
                f"{name} = {json.dumps(plain(value)) if isinstance(value, (str, bool, tuple)) else repr(value)}"
                for name, value in chosen.items()
                if name in named or any(before[name] != value for before in presets)
            ),
        ]
    )


def folder() -> Path:
    """Return where records of searches are kept."""
    return root() / "book" / "searches"


def write(record: Record, path: Path) -> None:
    """Write a record, whole or not at all, a line a trial."""
    lines = []
    for name, value in record.items():
        text = json.dumps(value, allow_nan=False)
        if name == "trials":
            text = "[\n  " + ",\n  ".join(json.dumps(v, allow_nan=False) for v in value) + "\n]"
        lines.append(f"{json.dumps(name)}: {text}")
    write_file(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options of `python -m mixnam search` but for results and device, which all commands share."""
    command.add_argument("--dataset", default="housing")
    command.add_argument("--model", default="MixNAM")
    command.add_argument("--space", default="", help="one of the model's (default: its first; MixNAM has four)")
    command.add_argument("--split", default="", help="such as holdout3 (default: the data set's first)")
    for name, option in OPTIONS.items():
        told = f"{option.metadata['told']} (default: {option.default})"
        command.add_argument(f"--{name.replace('_', '-')}", type=int, default=option.default, help=told)
    command.add_argument("--budget", help="time after which it stops, such as 25m; the same command goes on")
    command.add_argument(
        "--out",
        type=Path,
        help="the record (default: a file in book/searches, of own tables in runs/search/DATASET)",
    )


def search(arguments: argparse.Namespace) -> int:
    """Search a model's settings on the validation part, and print the choice as lines of a preset."""
    options = {name: getattr(arguments, name) for name in OPTIONS}
    space = spaces.find(arguments.model, arguments.space)
    plan = Plan(arguments.dataset, arguments.model, space, arguments.split, **options)
    runs = root() / "runs" / "search" / plan.dataset
    names = [plan.dataset, plan.model, plan.space.name, *filter(None, [plan.split])]
    # a user's own table is no part of the book
    default = (runs if catalogue.entry(plan.dataset).features else folder()) / f"{'_'.join(names)}.json"
    out, store = arguments.out or default, Store(arguments.results or runs / "results")
    seconds = math.inf if arguments.budget is None else seconds_of(arguments.budget)
    for where, option in ((store.root, "--results"), (out.parent, "--out")):
        running.check_writable(where, option)
    searching = Search(plan, store, arguments.device, deadline=time.monotonic() + seconds)
    try:
        record = searching.run()
    except OutOfTime:
        print(f"stopped after {arguments.budget}; what was trained is in {store.root}, the same command goes on")
        return 1
    write(record, out)
    print(to_toml(record))
    print(f"\n{plan.model} on {plan.dataset}: searched by us, {duration(record['seconds'])} of training; record: {out}")
    if record["test"]:
        tested = record["test"]
        print(f"tested after the choice: {plan.metric} {tested['mean']:.4f} over {tested['n']} runs")
    for line in running.failed_lines(searching.broken):
        print(line)
    return 1 if searching.broken else 0
