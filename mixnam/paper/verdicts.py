"""The paper's statements, each tested against results by a rule; a note says where one replaced the draft.

There are seven kinds (`claims.toml` says which applies): value, order, tie, trend, threshold, mean, static.
Each claim gets a verdict on the paper's own printed numbers and one on ours.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.paper import checks, derived, published
from mixnam.paper.claim import Claim
from mixnam.paper.evidence import LEAST_SD, parts, printed_joint, printed_sample, skill, stored_samples, unlearned
from mixnam.paper.experiments import cases as cases_of
from mixnam.paper.experiments import stored
from mixnam.paper.intervals import LEVEL, Estimate, RowVariance, Sample, difference, mean_of, of_one_more
from mixnam.paper.ranks import top_four
from mixnam.paper.words import (
    BETTER,
    NO_DATA,
    NOT_IN_COPY,
    NOT_PRINTED,
    NOT_REPRODUCED,
    PRINTED,
    REPRODUCED,
    TOO_FEW,
    UNDECIDED,
)
from mixnam.runs.results import Result
from mixnam.runs.store import Store

_ROUNDING = 1e-9  # what a number beside a limit may gain or lose to rounding
_LAST_DIGIT = 0.0005  # what a printed number may have lost to rounding
_SHOWN = 12  # comparisons that are all shown; of more those that are not won
LEAST_RUNS = 5  # seeds or folds that a verdict needs


@dataclass(frozen=True)
class Verdict:
    """An answer: one of `words.VERDICTS`, the difference or value it rests on, and what it was read off.

    `comparisons` counts the intervals that could have decided it; `number` is its one number in words: ours, the
    narrowest of several advantages, or how many runs passed.
    """

    verdict: str
    text: str = ""
    n: int = 0
    keys: tuple[str, ...] = ()
    comparisons: int = 0
    number: str = ""


@dataclass(frozen=True)
class Comparison:
    """One comparison of a claim: what is compared, its estimate, whether it is won, and the p-value of its loss."""

    name: str
    estimate: Estimate
    won: bool
    loss: float

    def __str__(self) -> str:
        low, high = self.estimate.interval
        return f"{self.name}[{low:+.4f}, {high:+.4f}]"


def _difference(claim: Claim, a: Sample, b: Sample, rows: RowVariance | None) -> Estimate:
    """Return a − b with its one interval: over seeds and, of test scores, over test rows; or over folds."""
    metric = claim.measure.removeprefix("metrics.test.") if claim.measure.startswith("metrics.test.") else ""
    return difference(a, b, claim.dataset, metric, rows)


def losses(found: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons that are lost by Holm's correction over those at hand."""
    ordered = sorted(found, key=lambda one: one.loss)
    kept = itertools.takewhile(lambda pair: pair[1].loss <= LEVEL / (len(found) - pair[0]), enumerate(ordered))
    return [one for _, one in kept]


def _verdict(found: Sequence[Comparison], missing: bool) -> str:
    """Return what comparisons say together: one decided loss decides, a win needs every comparison."""
    if losses(found):
        return NOT_REPRODUCED
    if missing:
        return TOO_FEW
    return REPRODUCED if all(one.won for one in found) else UNDECIDED


def subject_name(subject: Mapping[str, Any]) -> str:
    """Return a subject as readers know it, such as "MixNAM (λ = 10, C = 8)"."""
    symbols = {"variation_penalty": "λ", "experts": "C", "active_experts": "K"}
    shown = [
        f"{symbols.get(k, k)} = {v:g}" if isinstance(v, (int, float)) else f"{k} {v}"
        for k, v in subject.items()
        if k not in ("model", "dataset", "expert_dropout", "members", "preset")
    ]
    shown += [f"{subject['preset']} setting"] if "preset" in subject else []
    shown += [f"mean of {subject['members']}"] if "members" in subject else []
    where = [catalogue.entry(subject["dataset"]).title] if "dataset" in subject else []
    return str(subject["model"]) + (f" ({', '.join([*shown, *where])})" if shown or where else "")


Pairs = Sequence[tuple[Mapping[str, Any], Sample]]


def _order(claim: Claim, pairs: Pairs, rows: RowVariance | None) -> list[Comparison]:
    """Hold the advantage of each leader over each rival against the margin."""
    leaders = [pair for pair in pairs if pair[0] in claim.subjects[: claim.leaders]]
    found = []
    for (leader, own), (subject, rival) in itertools.product(leaders, pairs[len(leaders) :]):
        ahead = _difference(claim, own, rival, rows).turned(claim.better)
        won = ahead.chance_above(claim.margin + _ROUNDING) <= LEVEL
        of = f"{subject_name(leader)} over " if claim.leaders > 1 else ""
        name = f"{of}{subject_name(subject)}: "
        found.append(Comparison(name, ahead, won, ahead.chance_below(claim.margin - _ROUNDING)))
    return found


def _tie(claim: Claim, pairs: Pairs, rows: RowVariance | None) -> list[Comparison]:
    """Hold the distance to each rival against the margin; with `better`, only how far it is ahead."""
    found, (_, own), most = [], pairs[0], claim.margin + _ROUNDING
    for subject, rival in pairs[1:]:
        off = _difference(claim, own, rival, rows).turned(-claim.better or 1)
        sides = [off.interval[1] <= most, claim.better != 0 or off.interval[0] >= -most]
        lost = [off.chance_above(most), 1.0 if claim.better else off.chance_below(-most)]
        found.append(Comparison(f"{subject_name(subject)}: ", off, all(sides), min(lost)))
    return found


def _trend(claim: Claim, pairs: Pairs, rows: RowVariance | None) -> list[Comparison]:
    """Hold each step between neighbours at hand against zero."""
    found = []
    for step, ((_, before), (subject, after)) in enumerate(itertools.pairwise(pairs)):
        up = _difference(claim, after, before, rows).turned(claim.better)
        won = up.chance_above(_ROUNDING) <= LEVEL or step < claim.ties
        found.append(Comparison(f"{subject_name(subject)}: ", up, won, up.chance_below(-_ROUNDING)))
    return found


def _mean(claim: Claim, pairs: Pairs, rows: RowVariance | None) -> list[Comparison]:
    """Hold every subject's mean against the limit."""
    found = []
    for subject, sample in pairs:
        mean = mean_of(sample, derived.scale(claim.measure))
        (low, high), limit = mean.interval, mean.scale.within(claim.limit)
        won = low >= limit - _ROUNDING if claim.better > 0 else high <= limit + _ROUNDING
        lost = mean.chance_below if claim.better > 0 else mean.chance_above
        chance = lost(limit - claim.better * _ROUNDING)
        found.append(Comparison(_heading(subject, pairs), mean, won, chance))
    return found


def _heading(subject: Mapping[str, Any], pairs: Pairs) -> str:
    """Return what stands before a subject's numbers: its name where there are several."""
    return f"{subject_name(subject)}: " if len(pairs) > 1 else ""


def _compared(claim: Claim, pairs: Pairs, missing: bool, rows: RowVariance | None) -> Verdict:
    """Judge a claim that rests on comparisons."""
    every = {"order": _order, "tie": _tie, "trend": _trend, "mean": _mean}[claim.kind](claim, pairs, rows)
    found = [one for one in every if one.estimate.known or one.estimate.n]  # models may share no fold
    missing |= len(found) < len(every)
    shown = "; ".join(map(str, found))
    if len(found) > _SHOWN:
        left = [one for one in found if not one.won]
        shown = f"{len(found) - len(left)} of {len(found)}" + (f", not {'; '.join(map(str, left))}" if left else "")
    above, over = "above" if claim.better > 0 else "below", "over " if claim.leaders == 1 else ""
    text = {
        "order": f"advantage {over}{shown}" + (f", to exceed {claim.margin:g}" if claim.margin else ""),
        "tie": f"behind {shown}, by at most {claim.margin:g}"
        if claim.better
        else f"distance to {shown}, within ±{claim.margin:g}",
        "trend": f"steps to {shown}",
        "mean": f"{shown}, to lie {above} {claim.limit:g}",
    }[claim.kind]
    verdict = _verdict(found, missing)
    if len(found) > 1 and verdict == NOT_REPRODUCED:
        names = ", ".join(one.name.removesuffix(": ") for one in losses(found))
        text += f"; lost, by Holm's correction over {len(found)}: {names}"
    if verdict == UNDECIDED:
        limit = {"mean": claim.limit, "trend": 0.0}.get(claim.kind, claim.margin)
        text += _open([one for one in found if not one.won], limit, claim.margin, len(found))
    return Verdict(verdict, text if found else "", comparisons=len(found), number=_number(claim, found))


def _number(claim: Claim, found: Sequence[Comparison]) -> str:
    """Return the estimate that is nearest to losing a claim, in words."""
    means = [(one.estimate.scale.back(one.estimate.mean), one.name.removesuffix(": ")) for one in found]
    means = [pair for pair in means if math.isfinite(pair[0])]
    if not means:
        return ""
    digits = 4 if claim.measure.endswith(".auc") else 3
    if claim.kind == "mean":
        return f"{(min if claim.better > 0 else max)(means)[0]:.{digits}f}"
    if claim.kind == "trend":
        return f"least step {min(means)[0]:+.{digits}f}"
    if claim.kind == "tie":
        behind, name = max(means, key=lambda pair: pair[0] if claim.better else abs(pair[0]))
        means = [(-behind, name)]
    ahead, name = min(means)
    of = name if claim.leaders == 1 else ""
    side = ("ahead of" if ahead > 0 else "behind") if of else ("ahead" if ahead > 0 else "behind")
    return f"{side} {of} by {abs(ahead):.{digits}f}".replace("  ", " ")


def _open(found: Sequence[Comparison], limit: float, margin: float, of: int) -> str:
    """Return why comparisons out of so many are open: lost by themselves alone, or the design is too coarse."""
    alone = [one.name.removesuffix(": ") for one in found if one.loss <= LEVEL]
    coarse = [(one.name.removesuffix(": "), one.estimate.detectable(limit)) for one in found if one.loss > LEVEL]
    text = f"; lost by itself, not by Holm's correction over {of}: {', '.join(alone)}" if alone else ""
    if coarse:
        beside = f"; the margin is {margin:g}" if margin else ""
        told = ", ".join(f"{name} {least:.2g}".strip() for name, least in coarse)
        text += f"; open: {told} (the least that such runs tell apart, with 80 % power{beside})"
    return text


def _value(claim: Claim, sample: Sample, printed: Sample) -> tuple[str, str]:
    """Hold the difference of ours and the printed mean against the margin.

    A number that is printed of one model is held against the interval in which one more of ours falls.
    """
    if claim.one_model:
        low, high = of_one_more(sample, derived.scale(claim.measure))
        held = low - _LAST_DIGIT <= printed.mean <= high + _LAST_DIGIT
        text = (
            f"in 95 of 100 cases one more model of ours falls into [{low:.4f}, {high:.4f}]; {printed.mean:g} is printed"
        )
        return (REPRODUCED if held else NOT_REPRODUCED), f"{text} of one model (its ± is too small for ten)"
    found = difference(sample, printed, claim.dataset)
    low, high = found.interval
    text = f"{sample.mean:.4f} − {printed.mean:g}: [{low:+.4f}, {high:+.4f}] against ±{claim.margin:g}"
    most = claim.margin + _ROUNDING
    if -most <= low and high <= most:
        return REPRODUCED, text
    if low > most or high < -most:
        improved = claim.better != 0 and (low > most) == (claim.better > 0)
        return (BETTER if improved else NOT_REPRODUCED), text
    return UNDECIDED, text + _open([Comparison("", found, False, 1.0)], claim.margin, claim.margin, 1)


def _threshold(claim: Claim, pairs: Pairs, missing: bool) -> Verdict:
    """Count every subject's runs at or above the limit, or at or below it where lower is better."""
    held, lines, counts = True, [], []
    for subject, sample in pairs:
        values = np.array([sample.mean]) if sample.values is None else sample.values
        below, above = values <= claim.limit + _ROUNDING, values >= claim.limit - _ROUNDING
        passed = int((below if claim.better < 0 else above).sum())  # a run without the number has failed
        seen = values[np.isfinite(values)]
        worst = (
            f"most {seen.max(initial=-math.inf):.5g}" if claim.better < 0 else f"least {seen.min(initial=math.inf):.5g}"
        )
        name = _heading(subject, pairs)
        counts.append((passed / len(values), f"{name}{passed} of {len(values)} runs"))
        lines.append(f"{name}{passed} of {len(values)}, {worst if len(seen) else 'no number'}")
        held &= passed >= claim.share * len(values)
    side = "at or below" if claim.better < 0 else "at or above"
    verdict = NOT_REPRODUCED if not held else TOO_FEW if missing else REPRODUCED
    if not lines:
        return Verdict(verdict)
    return Verdict(verdict, f"{side} {claim.limit:g}: {'; '.join(lines)}", number=min(counts)[1])


def judge(claim: Claim, samples: list[Sample], printed: list[Sample], rows: RowVariance | None = None) -> Verdict:
    """Apply the claim's rule to samples, one a subject, with the printed ones beside.

    `rows` gives the variance of a difference over test rows, by default `intervals.row_variance`. A subject with
    fewer than five runs is missing: the others may decide that a claim is lost, never that it is won. Runs that did
    not learn count, and are named with what the verdict would be without them.
    """
    runs = min(s.n for s in samples)
    keys = tuple(dict.fromkeys(key for s in samples for r in s.results for key in r.keys))
    enough = [sample.n >= LEAST_RUNS for sample in samples]
    found = _judged(claim, samples, enough, printed, rows)
    text = found.text
    if found.verdict == TOO_FEW:
        short = [subject_name(s) for s, x in zip(claim.subjects, samples, strict=False) if x.n == runs]
        lacking = "all its models together" if claim.joint else ", ".join(short[:3]) + (" …" if len(short) > 3 else "")
        old = " (today's measures)" if derived.rests_on_measures(claim.measure) else ""
        text = f"{runs} of {LEAST_RUNS}{old} for {lacking}" + (f"; {text}" if text else "")
    failed = unlearned(r for s in samples for r in s.results)
    if failed:
        text += f"; did not learn: {'; '.join(map(_failure, failed))} (counted"
        if all(sample.interval is None for sample in samples):  # an interval by resampling is of all runs together
            rest = [sample.without({result.key for result in failed}) for sample in samples]
            otherwise = _judged(claim, rest, enough, printed, rows).verdict
            text += f"; without {'it' if len(failed) == 1 else 'them'}: {otherwise}"
        text += ")"
    return dataclasses.replace(found, text=text, n=runs, keys=keys)


def _judged(
    claim: Claim, samples: Sequence[Sample], enough: Sequence[bool], printed: Sequence[Sample], rows: RowVariance | None
) -> Verdict:
    """Return the verdict on those samples of which there is enough, and what it rests on."""
    whole = list(zip(claim.subjects, samples, enough, strict=False))
    pairs = [(subject, sample) for subject, sample, kept in whole if kept]
    missing = len(pairs) < len(whole)
    if claim.kind == "value":
        if math.isnan(printed[0].mean):
            return Verdict(NOT_PRINTED)
        number = f"{samples[0].mean:.3f}" if samples[0].n else ""
        if missing:
            return Verdict(TOO_FEW, number=number)
        return Verdict(*_value(claim, samples[0], printed[0]), comparisons=1, number=number)
    if claim.kind == "threshold":
        return _threshold(claim, pairs, missing)
    if claim.kind in ("order", "tie") and not any(enough[: claim.leaders]):  # what is said of it needs the first model
        return Verdict(TOO_FEW)
    return _compared(claim, pairs, missing, rows)


def _failure(result: Result) -> str:
    spec, epoch = result.spec, result.history.get("best_epoch")
    best = "" if epoch is None else f"best epoch {epoch}, "
    metric = catalogue.entry(spec.dataset).metric
    score = f"test AUC {(1 + skill(result)) / 2:.2f}" if metric == "auc" else f"test R² {skill(result):.2f}"
    return f"{spec.dataset} {spec.model} {spec.repetition} ({best}{score})"


def on_paper(claim: Claim) -> Verdict:
    """Judge a claim on the paper's own printed numbers."""
    found = _on_paper(claim)
    return Verdict(NOT_IN_COPY) if found.verdict == NOT_PRINTED and not claim.in_copy else found


def _on_paper(claim: Claim) -> Verdict:
    if claim.kind == "static":
        return Verdict(*checks.CHECKS[claim.measure.removeprefix("static.")](False))
    if claim.kind == "value":
        known = printed_sample(claim, claim.subjects[0]) if claim.subjects else None
        return Verdict(NOT_PRINTED if known is None else PRINTED)
    if claim.measure == "pooled.rank_as_printed":
        return Verdict(PRINTED)
    if claim.joint:
        whole = printed_joint(claim)
        return Verdict(NOT_PRINTED) if whole is None else judge(claim, [whole], [whole])
    printed = [printed_sample(claim, subject) for subject in claim.subjects]
    present = [p for p in printed if p is not None]
    if len(present) < len(printed) or not printed:
        return Verdict(NOT_PRINTED)
    return judge(claim, present, present)


def on_results(claim: Claim, preset: str, store: Store, rows: RowVariance | None = None) -> Verdict:
    """Judge a claim on stored results of a preset, or of the one that it has itself."""
    if claim.unavailable:
        return Verdict(NO_DATA, claim.unavailable)
    if claim.measure == "static.top_four":
        return _top_four(preset, store)
    if claim.kind == "static":
        return Verdict(*checks.CHECKS[claim.measure.removeprefix("static.")](True))
    needed = {parts(claim, subject)[0] for subject in claim.subjects}
    printed = [printed_sample(claim, subject) or Sample(math.nan, LEAST_SD, 2) for subject in claim.subjects]
    try:
        samples = stored_samples(claim, preset, store)
        if all(s.n == 0 for s in samples):  # else the stored numbers may do without the data
            for name in sorted(needed):
                if not _available(name):
                    return Verdict(NO_DATA, f"{name} is not at hand: {catalogue.entry(name).remedy}")
        return judge(claim, samples, printed, rows)
    except DataError as error:  # variances over rows, and some measures, need the data
        return Verdict(NO_DATA, str(error))


def _top_four(preset: str, store: Store) -> Verdict:
    """Rank MixNAM by means among the models of Table 1 on its six data sets, as its print is ranked.

    A fifth rank among the models at hand decides, whatever is missing.
    """
    table = published.table("table1_accuracy").query("source == 'Table 1'")
    cases = [c for c in cases_of("accuracy", preset) if c.published in set(table["model"])]
    scores: dict[str, dict[str, float]] = {}
    keys: list[str] = []
    runs: list[int] = []
    for dataset in dict.fromkeys(table["dataset"]):
        path = f"metrics.test.{catalogue.entry(dataset).metric}"
        found = {c.model: stored(store, dataset, c.model, preset, c.overrides) for c in cases}
        keys += [r.key for results in found.values() for r in results]
        runs += map(len, found.values())
        means = {m: float(np.mean([r.value(path) for r in rs])) for m, rs in found.items() if len(rs) >= LEAST_RUNS}
        if "MixNAM" in means:
            scores[dataset] = means
    held, text = top_four(scores) if scores else (True, "")
    if held and min(runs) < LEAST_RUNS:
        absent = [name for name in dict.fromkeys(table["dataset"]) if name not in scores and not _available(name)]
        if absent:
            return Verdict(NO_DATA, f"not at hand: {', '.join(absent)}", 0, tuple(keys))
        few = sum(count < LEAST_RUNS for count in runs)
        return Verdict(TOO_FEW, f"{few} of {len(runs)} cells have fewer than {LEAST_RUNS} runs", min(runs), tuple(keys))
    return Verdict(REPRODUCED if held else NOT_REPRODUCED, text, min(runs), tuple(keys))


def _available(dataset: str) -> bool:
    try:
        catalogue.load(dataset, download=False)
    except DataError:
        return False
    return True


def expected_false(judged: Iterable[Verdict]) -> float:
    """Return how many verdicts may at most be expected to be wrong by chance.

    Whatever the number of its comparisons, a claim is lost by chance in 2.5 of 100 cases (Holm) and won in 2.5 (a win
    needs every comparison). One that lacks runs can only be lost.
    """
    return sum(LEVEL * (1 if one.verdict == TOO_FEW else 2) for one in judged if one.comparisons)
