"""What a claim compares: the paper's printed numbers, and the stored results of its subjects."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT, partition
from mixnam.data.table import DataError
from mixnam.models import Settings, make_settings
from mixnam.paper import derived, experiments, published
from mixnam.paper.claim import Claim
from mixnam.paper.derived import Numbers
from mixnam.paper.intervals import LEVEL, Sample, Values
from mixnam.runs.members import mean_of
from mixnam.runs.model import scores
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

PRINTED_RUNS = {"holdout": 10, "folds": 5}  # what the paper's ± stands on (Appendix B)
LEAST_SD = 0.0005  # a printed standard deviation of 0.000
#: The paper's names of what its tables print beside other models' numbers.
_QUANTITIES = {"measures.additivity.marginal": "additivity", "metrics.test.rmse": "rmse"}
_RESAMPLES = 2000
_LEARNED = 0.1  # a median run this much better than a constant shows that there is something to learn


def parts(claim: Claim, subject: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return a subject's data set, model and setting overrides."""
    overrides = {k: v for k, v in subject.items() if k not in ("model", "dataset", "members", "preset")}
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
    runs = PRINTED_RUNS["holdout" if catalogue.entry(dataset).splits == HOLDOUT else "folds"]
    return Sample(found[0], max(found[1], LEAST_SD), runs)


def printed_joint(claim: Claim) -> Sample | None:
    """Return a measure of several printed means, which has no spread of its own; None where it needs more."""
    name = claim.measure.partition(".")[2]
    if name not in derived.OF_NUMBERS:
        return None

    def numbers(subject: Mapping[str, Any]) -> Numbers:
        def value(path: str) -> float:
            found = printed_sample(claim, subject, _QUANTITIES[path])
            if found is None:
                raise KeyError(path)
            return found.mean

        _, model, overrides = parts(claim, subject)
        return Numbers(make_settings(model, overrides), value)

    found = _tried(derived.OF_NUMBERS[name], [numbers(subject) for subject in claim.subjects])
    return None if found is None else Sample(found, LEAST_SD, PRINTED_RUNS["holdout"])


def stored(claim: Claim, subject: Mapping[str, Any], preset: str, store: Store) -> list[Result]:
    """Return every stored seed or fold of a subject, of other partitions into folds those that are whole.

    Of a claim on our own recipe those of its fresh runs.
    """
    dataset, model, overrides = parts(claim, subject)
    if claim.preset:
        return [result for spec in _fresh(claim, subject) if (result := store.get(spec)) is not None]
    found = experiments.stored(store, dataset, model, preset, overrides, every_split=True)
    sizes = Counter(partition(result.spec.split) for result in found)
    whole = {"", *(name for name, size in sizes.items() if size == len(catalogue.entry(dataset).splits))}
    return [result for result in found if partition(result.spec.split) in whole]


def specs_for_claim(claim: Claim, preset: str, seeds: int) -> list[RunSpec]:
    """Return the runs that a claim rests on, first seeds first: so many seeds of one split, or all folds.

    A claim on our own recipe says itself which.
    """
    if claim.preset:
        fresh = (spec for subject in claim.subjects for spec in _fresh(claim, subject))
        return sorted(dict.fromkeys(fresh), key=lambda spec: (spec.seed, spec.split))
    subjects = [parts(claim, subject) for subject in claim.subjects]
    found = [
        spec for d, m, overrides in subjects for spec in experiments.specs_of(d, m, preset, overrides, seeds=seeds)
    ]
    return sorted(dict.fromkeys(found), key=lambda spec: (spec.seed, spec.split))


def _fresh(claim: Claim, subject: Mapping[str, Any]) -> list[RunSpec]:
    dataset, model, overrides = parts(claim, subject)
    preset = subject.get("preset", claim.preset)
    return experiments.fresh_specs(dataset, model, preset, overrides, claim.other_splits)


def stored_samples(claim: Claim, preset: str, store: Store) -> list[Sample]:
    """Return our numbers for a claim's subjects under a preset; a measure of several models gives one sample.

    Every stored seed or fold that has the number counts. A joint measure is taken for each seed that all subjects have;
    a crossed one sets each such seed beside the one before; a pooled one is taken of the subjects' means over them, its
    interval by resampling the seeds.
    """
    runs = [stored(claim, subject, preset, store) for subject in claim.subjects]
    if not claim.joint:
        return [
            of_means(results, subject["members"], claim.measure) if "members" in subject else _single(claim, results)
            for subject, results in zip(claim.subjects, runs, strict=True)
        ]
    kind, _, name = claim.measure.partition(".")
    by_run = [{(r.spec.split, r.spec.seed): r for r in results} for results in runs]
    seeds = [[found[run] for found in by_run] for run in by_run[0] if all(run in other for other in by_run)]
    if kind == "crossed":
        turns = [(models, seeds[i - 1]) for i, models in enumerate(seeds)] if len(seeds) > 1 else []
        values, seeds = [_tried(derived.CROSSED[name], *both) for both in turns], [[*a, *b] for a, b in turns]
    else:
        values = [_tried(derived.joint, name, models) for models in seeds]
    if kind == "pooled":
        return [_pooled(name, [m for m, value in zip(seeds, values, strict=True) if value is not None])]
    kept = [(m, v) for m, v in zip(seeds, values, strict=True) if v is not None and _counts(claim, v)]
    return [Sample.of([value for _, value in kept], tuple(result for models, _ in kept for result in models))]


def unlearned(results: Iterable[Result]) -> list[Result]:
    """Return runs that did not learn: no better than a constant, where the median run of the same settings is.

    Compared is 1 less the error's share of the targets' variance, or for the AUC its distance from 0.5, doubled.
    """
    groups: dict[tuple[str, Settings], dict[str, Result]] = {}
    for result in results:
        groups.setdefault((result.spec.dataset, result.spec.settings), {})[result.key] = result
    found = []
    for group in groups.values():
        skills = {key: value for key, result in group.items() if math.isfinite(value := skill(result))}
        if skills and np.median([*skills.values()]) > _LEARNED:
            found += [group[key] for key, value in skills.items() if value <= 0]
    return found


def skill(result: Result) -> float:
    """Return how much better than a constant a result predicts its test rows, at most 1; NaN where it is not known."""
    metric = catalogue.entry(result.spec.dataset).metric
    score = result.metrics.get("test", {}).get(metric)
    if score is None:
        return math.nan
    if metric == "auc":
        return 2 * score - 1
    try:
        variance = float(result.targets.var())
    except DataError:
        return math.nan
    return 1 - (score**2 if metric == "rmse" else score) / variance if variance else math.nan


def _tried(measure: Callable[..., float], *models: Any) -> float | None:
    """Return a measure of several models; None where they lack what it needs, as results from before it existed."""
    try:
        return measure(*models)
    except KeyError:
        return None


def _counts(claim: Claim, value: float) -> bool:
    """Return whether a run counts: without a finite number it does for a threshold alone, as one that has failed."""
    return math.isfinite(value) or claim.kind == "threshold"


def _single(claim: Claim, results: Iterable[Result]) -> Sample:
    """Summarise a number of single results."""
    pairs = [(r, v) for r in results if (v := derived.find(r, claim.measure)) is not None]
    kept = [(r, v) for r, v in pairs if _counts(claim, v)]
    return Sample.of([value for _, value in kept], tuple(result for result, _ in kept))


def of_means(results: Sequence[Result], members: int, measure: str) -> Sample:
    """Return a test score of the mean of so many members, each result being one of them.

    Where results are of one split, the score is averaged over all means that its seeds make. Its values are the
    jackknife's pseudo-values, one a seed: their mean is that average, and their standard error its own over seeds
    (Efron and Stein 1981: not too small). Beside them stand as many means, in turn, for what test rows add. Else each
    fold or split has one mean, of its first seeds.
    """
    metric, by_split = measure.removeprefix("metrics.test."), dict[str, list[Result]]()
    for result in results:
        by_split.setdefault(result.spec.split, []).append(result)
    groups = [group for group in by_split.values() if len(group) >= members]
    if len(by_split) > 1 or not groups or len(groups[0]) == members:
        means = tuple(mean_of(group[:members]) for group in groups)
        return Sample.of([mean.value(measure) for mean in means], means)
    (seeds,), count = groups, len(groups[0])
    predictions = np.stack([result.arrays["test_prediction"].astype(float) for result in seeds])
    y, task = seeds[0].targets, seeds[0].about.task
    picks = np.array([*itertools.combinations(range(count), members)])
    found = np.array([scores(predictions[pick].mean(axis=0), y, task)[metric] for pick in picks])
    without = np.array([found[(picks != left).all(axis=1)].mean() for left in range(count)])
    turns = [[seeds[(start + k) % count] for k in range(members)] for start in range(count)]
    return Sample.of(count * found.mean() - (count - 1) * without, tuple(map(mean_of, turns)))


def _pooled(name: str, seeds: Sequence[Sequence[Result]]) -> Sample:
    """Take a measure of models' means over seeds, with the 95 % interval of resampled seeds.

    So few seeds spread too little when they are resampled: the interval's ends are the quantiles at which it is as wide
    as Student's (Hesterberg 2015, the expanded percentile interval).
    """
    if not seeds:
        return Sample.of([])

    @cache
    def column(model: int, path: str) -> Values:
        return np.array([models[model].value(path) for models in seeds])

    def numbers(model: int, picked: Any) -> Numbers:
        return Numbers(seeds[0][model].spec.settings, lambda path: float(column(model, path)[picked].mean()))

    def measure(picked: Any) -> float:
        return derived.OF_NUMBERS[name]([numbers(model, picked) for model in range(len(seeds[0]))])

    generator, count = np.random.default_rng(0), len(seeds)
    drawn = [measure(generator.integers(count, size=count)) for _ in range(_RESAMPLES if count > 1 else 0)]
    end = stats.norm.cdf(stats.t.ppf(LEVEL, count - 1) * math.sqrt(count / (count - 1))) if drawn else LEVEL
    low, high = np.nanquantile(drawn, [end, 1 - end]) if drawn else (-math.inf, math.inf)
    results = tuple(result for models in seeds for result in models)
    return Sample(measure(slice(None)), math.nan, count, None, results, (float(low), float(high)))
