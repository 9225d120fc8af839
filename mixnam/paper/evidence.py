"""What a claim compares: the paper's printed numbers, and the stored results of its subjects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixnam.models import Settings, make_settings
from mixnam.paper import derived, published
from mixnam.paper.claim import Claim
from mixnam.paper.experiments import specs_of
from mixnam.paper.intervals import Sample
from mixnam.paper.presets import load_preset
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

PRINTED_RUNS = {"holdout": 10, "folds": 5}  # what the paper's ± stands on
LEAST_SD = 0.0005  # a printed standard deviation of 0.000
_RESAMPLES = 400


def parts(claim: Claim, subject: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return a subject's data set, model and setting overrides."""
    overrides = {k: v for k, v in subject.items() if k not in ("model", "dataset")}
    return subject.get("dataset", claim.dataset), subject["model"], overrides


def printed_sample(claim: Claim, subject: Mapping[str, Any], quantity: str = "") -> Sample | None:
    """Return the paper's number for a subject, or None where it prints none."""
    dataset, model, overrides = parts(claim, subject)
    found = None
    if claim.table == "table1":
        found = published.accuracy(dataset, model)
    elif claim.table == "table3":
        found = published.sweep(quantity or claim.quantity, overrides.get("variation_penalty", 0.1), model)
    elif claim.table == "table8":
        found = published.scaling(model, overrides["experts"], overrides["active_experts"])
    if found is None:
        return None
    folds = dataset not in ("housing", "year")  # Appendix B
    return Sample(found[0], max(found[1], LEAST_SD), PRINTED_RUNS["folds" if folds else "holdout"])


@dataclass(frozen=True)
class _Printed:
    """A printed cell that stands where a measure of several models expects a result."""

    settings: Settings
    claim: Claim
    subject: Mapping[str, Any]

    @property
    def spec(self) -> _Printed:
        return self

    @property
    def model(self) -> str:
        return self.settings.model

    def value(self, path: str) -> float:
        quantity = "additivity" if "additivity" in path else "rmse"
        found = printed_sample(self.claim, self.subject, quantity)
        if found is None:
            raise KeyError(path)
        return found.mean


@dataclass(frozen=True)
class _Averaged:
    """Several runs of one model that stand where a measure of several models expects a result."""

    runs: Sequence[Result]

    @property
    def spec(self) -> RunSpec:
        return self.runs[0].spec

    def value(self, path: str) -> float:
        return float(np.mean([r.value(path) for r in self.runs]))


def printed_joint(claim: Claim) -> Sample | None:
    """Return a measure of several printed means, which has no spread of its own; None where it needs more."""
    cells = [_Printed(make_settings(m, o), claim, s) for s in claim.subjects for _, m, o in [parts(claim, s)]]
    kind, _, name = claim.measure.partition(".")
    try:
        found = {"joint": derived.JOINT, "pooled": derived.POOLED}[kind][name](cells)  # type: ignore[arg-type]
    except (KeyError, AttributeError):
        return None
    return Sample(found, LEAST_SD, PRINTED_RUNS["holdout"])


def stored(claim: Claim, subject: Mapping[str, Any], preset: str, store: Store) -> list[Result]:
    """Return every stored seed or fold of a subject."""
    dataset, model, overrides = parts(claim, subject)
    specs = specs_of(dataset, model, preset, overrides, seeds=load_preset("paper").number("seeds"))
    return [r for spec in specs if (r := store.get(spec)) is not None]


def specs_for_claim(claim: Claim, preset: str, seeds: int) -> list[RunSpec]:
    """Return the runs that a claim rests on: so many seeds, or all folds, of each subject."""
    specs: dict[RunSpec, None] = {}
    for subject in claim.subjects:
        dataset, model, overrides = parts(claim, subject)
        specs |= dict.fromkeys(specs_of(dataset, model, preset, overrides, seeds=seeds))
    return sorted(specs, key=lambda spec: (spec.seed, spec.split))


def stored_samples(claim: Claim, preset: str, store: Store) -> list[Sample]:
    """Return our numbers for a claim's subjects under a preset; a measure of several models gives one sample.

    Taken is every seed or fold that is stored and has the number. A joint measure needs all subjects of a
    seed, and is taken for each; a pooled one is taken of the subjects' means over the seeds that all have,
    its interval by resampling those seeds; a crossed one sets each seed beside the one before.
    """
    runs = [stored(claim, subject, preset, store) for subject in claim.subjects]
    kind, _, name = claim.measure.partition(".")
    if kind not in ("joint", "pooled", "crossed"):
        found = []
        for results in runs:
            pairs = [(r, v) for r in results if (v := derived.find(r, claim.measure)) is not None]
            kept = [(r, v) for r, v in pairs if math.isfinite(v) or claim.kind == "threshold"]
            found.append(Sample.of([v for _, v in kept], tuple(r for r, _ in kept)))
        return found
    by_run = [{(r.spec.split, r.spec.seed): r for r in results} for results in runs]
    shared = [key for key in by_run[0] if all(key in other for other in by_run)]
    seeds = [[found[key] for found in by_run] for key in shared]
    if kind == "pooled":
        seeds = [seed for seed in seeds if _has(name, seed)]
        return [_pooled(name, seeds, tuple(result for seed in seeds for result in seed))]
    values: list[float] = []
    used: list[Result] = []
    for number, models in enumerate(seeds):
        try:
            if kind == "joint":
                found_value = derived.JOINT[name](models)
            else:
                found_value = derived.CROSSED[name](models, seeds[number - 1]) if len(seeds) > 1 else math.nan
        except KeyError:  # a result from before the number existed
            continue
        if math.isfinite(found_value):
            values.append(found_value)
            used += models
    return [Sample.of(values, tuple(used))]


def _has(name: str, models: list[Result]) -> bool:
    """Return whether the results of one seed hold what a pooled measure needs."""
    try:
        derived.POOLED[name](models)
    except KeyError:
        return False
    return True


def _pooled(name: str, seeds: list[list[Result]], results: tuple[Result, ...]) -> Sample:
    def measure(chosen: Iterable[int]) -> float:
        picked = list(chosen)
        models = [_Averaged([seeds[i][k] for i in picked]) for k in range(len(seeds[0]))]
        return derived.POOLED[name](models)  # type: ignore[arg-type]

    if not seeds:
        return Sample.of([])
    point = measure(range(len(seeds)))
    generator = np.random.default_rng(0)
    drawn = [
        measure(generator.integers(len(seeds), size=len(seeds))) for _ in range(_RESAMPLES if len(seeds) > 1 else 0)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if drawn else (-math.inf, math.inf)
    return Sample(point, math.nan, len(seeds), None, results, (float(low), float(high)))
