"""The paper's statements, each tested against results by a rule; a note says where one replaced the draft.

There are seven kinds (`claims.toml` says which applies): value, order, tie, trend, threshold, mean, static.
Each claim gets a verdict on the paper's own printed numbers and one on ours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT
from mixnam.data.table import DataError
from mixnam.paper import checks, published
from mixnam.paper.claim import Claim
from mixnam.paper.evidence import LEAST_SD, parts, printed_joint, printed_sample, stored_samples
from mixnam.paper.experiments import cases as cases_of
from mixnam.paper.experiments import specs_of
from mixnam.paper.intervals import Interval, Sample, mean_interval, nadeau_bengio, row_bootstrap, welch
from mixnam.paper.presets import load_preset
from mixnam.runs.store import Store

REPRODUCED, BETTER, NOT_REPRODUCED = "reproduced", "better", "not reproduced"
UNDECIDED, TOO_FEW, NO_DATA = "undecided", "not enough runs", "data not available"
NOT_PRINTED, PRINTED = "not printed", "is a printed number"
DECIDED = (REPRODUCED, BETTER, NOT_REPRODUCED)
VERDICTS = (*DECIDED, UNDECIDED, TOO_FEW, NO_DATA, NOT_PRINTED, PRINTED)

_ROUNDING = 1e-9  # what a statistic that must reach a limit may lose to rounding
LEAST_RUNS = 5  # seeds or folds that a verdict needs


@dataclass(frozen=True)
class Verdict:
    """An answer: one of `VERDICTS`, the difference or value it rests on, and what it was read off."""

    verdict: str
    text: str = ""
    n: int = 0
    keys: tuple[str, ...] = ()


def share_tested(dataset: str) -> float:
    """Return the test rows of a fold over its training rows, of which a fifth are kept for validation.

    >>> round(share_tested("income"), 4)
    0.3125
    """
    folds = len(catalogue.entry(dataset).splits)
    return (1 / folds) / ((1 - 1 / folds) * 0.8)


def _difference(a: Sample, b: Sample, claim: Claim) -> list[Interval]:
    """Return the intervals that a comparison must clear: over seeds and rows, or over folds."""
    if not a.results or not b.results:
        return [welch(a, b)]
    if catalogue.entry(claim.dataset).splits != HOLDOUT:
        assert a.values is not None and b.values is not None
        shared = min(a.n, b.n)
        return [nadeau_bengio(a.values[:shared] - b.values[:shared], share_tested(claim.dataset))]
    intervals = [welch(a, b)]
    if claim.measure.startswith("metrics.test."):
        intervals.append(row_bootstrap(a.results, b.results, claim.measure.rsplit(".", 1)[1]))
    return intervals


def _span(interval: Interval) -> str:
    return f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"


def subject_name(subject: Mapping[str, Any]) -> str:
    """Return a subject as readers know it, such as "MixNAM (λ = 10, C = 8)"."""
    symbols = {"variation_penalty": "λ", "experts": "C", "active_experts": "K"}
    shown = [
        f"{symbols.get(k, k)} = {v:g}" if isinstance(v, (int, float)) else f"{k} {v}"
        for k, v in subject.items()
        if k not in ("model", "dataset", "expert_dropout")
    ]
    where = [catalogue.entry(subject["dataset"]).title] if "dataset" in subject else []
    return str(subject["model"]) + (f" ({', '.join([*shown, *where])})" if shown or where else "")


def _value(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    low, high = interval = welch(samples[0], printed[0])
    text = f"{samples[0].mean:.4f} − {printed[0].mean:g}: {_span(interval)} against ±{claim.margin:g}"
    if -claim.margin <= low and high <= claim.margin:
        return REPRODUCED, text
    if low > claim.margin or high < -claim.margin:
        improved = claim.better != 0 and (low > claim.margin) == (claim.better > 0)
        return (BETTER if improved else NOT_REPRODUCED), text
    return UNDECIDED, text


def _order(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    verdict, lines = REPRODUCED, []
    for subject, rival in zip(claim.subjects[1:], samples[1:], strict=True):
        intervals = [sorted((claim.better * x, claim.better * y)) for x, y in _difference(samples[0], rival, claim)]
        lines.append(f"{subject_name(subject)}: {', '.join(_span((x, y)) for x, y in intervals)}")
        if all(high < claim.margin for _, high in intervals):
            verdict = NOT_REPRODUCED
        elif not all(low > claim.margin for low, _ in intervals) and verdict == REPRODUCED:
            verdict = UNDECIDED
    least = f", to exceed {claim.margin:g}" if claim.margin else ""
    return verdict, "advantage over " + "; ".join(lines) + least


def _tie(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    """Hold each rival's distance against the margin; with `better`, only how far the best one is ahead."""
    rivals = list(zip(claim.subjects[1:], samples[1:], strict=True))
    if claim.better:
        rivals = [max(rivals, key=lambda pair: claim.better * pair[1].mean)]
    verdict, lines = REPRODUCED, []
    for subject, rival in rivals:
        intervals = _difference(samples[0], rival, claim)
        if claim.better:  # how far the claim's model is behind; ahead is as good as level
            behind = [sorted(-claim.better * x for x in interval) for interval in intervals]
            intervals = [(max(-claim.margin, low), max(-claim.margin, high)) for low, high in behind]
        low, high = min(i[0] for i in intervals), max(i[1] for i in intervals)
        sign = "behind" if claim.better else "−"
        lines.append(f"{subject_name(claim.subjects[0])} {sign} {subject_name(subject)}: {_span((low, high))}")
        if all(i[0] > claim.margin for i in intervals) or all(i[1] < -claim.margin for i in intervals):
            verdict = NOT_REPRODUCED
        elif not (-claim.margin <= low and high <= claim.margin) and verdict == REPRODUCED:
            verdict = UNDECIDED
    return verdict, f"{'; '.join(lines)} against ±{claim.margin:g}"


def _trend(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    verdict, lines = REPRODUCED, []
    for step, (a, b) in enumerate(itertools.pairwise(samples)):
        low, high = sorted(claim.better * x for x in welch(b, a))
        lines.append(f"{subject_name(claim.subjects[step + 1])}: {_span((low, high))}")
        if high < 0:
            verdict = NOT_REPRODUCED
        elif not low > 0 and step >= claim.ties and verdict == REPRODUCED:
            verdict = UNDECIDED
    return verdict, "steps to " + "; ".join(lines)


def _threshold(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    """Count every subject's runs at or above the limit, or at or below it where lower is better."""
    held, lines = True, []
    for number, sample in enumerate(samples):
        values = np.array([sample.mean]) if sample.values is None else sample.values
        below, above = values <= claim.limit + _ROUNDING, values >= claim.limit - _ROUNDING
        passed = int((below if claim.better < 0 else above).sum())  # a run without the number has failed
        seen = values[np.isfinite(values)]
        extreme = (
            "no number"
            if not len(seen)
            else f"most {seen.max():.5g}"
            if claim.better < 0
            else f"least {seen.min():.5g}"
        )
        name = f"{subject_name(claim.subjects[number])}: " if len(samples) > 1 else ""
        lines.append(f"{name}{passed} of {len(values)}, {extreme}")
        held &= passed >= claim.share * len(values)
    side = "at or below" if claim.better < 0 else "at or above"
    return (REPRODUCED if held else NOT_REPRODUCED), f"{side} {claim.limit:g}: {'; '.join(lines)}"


def _mean(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    """Hold the interval of every subject's mean against the limit."""
    verdict, lines = REPRODUCED, []
    for number, sample in enumerate(samples):
        interval = mean_interval(sample)
        low, high = sorted(claim.better * (x - claim.limit) for x in interval)
        name = f"{subject_name(claim.subjects[number])}: " if len(samples) > 1 else ""
        lines.append(f"{name}{_span(interval)}")
        if high < -_ROUNDING:
            verdict = NOT_REPRODUCED
        elif not low >= -_ROUNDING and verdict == REPRODUCED:
            verdict = UNDECIDED
    side = "above" if claim.better > 0 else "below"
    return verdict, f"{'; '.join(lines)}, to lie {side} {claim.limit:g}"


_RULES = {"value": _value, "order": _order, "tie": _tie, "trend": _trend, "threshold": _threshold, "mean": _mean}


def judge(claim: Claim, samples: list[Sample], printed: list[Sample]) -> Verdict:
    """Apply the claim's rule to samples, one a subject, with the printed ones beside.

    Fewer than five runs of any subject give "not enough runs".
    """
    runs = min(s.n for s in samples)
    keys = tuple(r.key for s in samples for r in s.results)
    if runs < LEAST_RUNS:
        short = [subject_name(s) for s, x in zip(claim.subjects, samples, strict=False) if x.n == runs]
        lacking = "all its models together" if claim.joint else ", ".join(short[:3]) + (" …" if len(short) > 3 else "")
        return Verdict(TOO_FEW, f"{runs} of {LEAST_RUNS} for {lacking}", runs, keys)
    verdict, text = _RULES[claim.kind](claim, samples, printed)
    return Verdict(verdict, text, runs, keys)


def on_paper(claim: Claim) -> Verdict:
    """Judge a claim on the paper's own printed numbers."""
    if claim.kind == "static":
        return _static(claim, ours=False)
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


def _static(claim: Claim, ours: bool) -> Verdict:
    held, text = checks.CHECKS[claim.measure.removeprefix("static.")](ours)
    return Verdict(NOT_PRINTED if held is None else REPRODUCED if held else NOT_REPRODUCED, text)


def on_results(claim: Claim, preset: str, store: Store) -> Verdict:
    """Judge a claim on stored results; a verdict from another preset than `paper` says so."""
    if claim.unavailable:
        return Verdict(NO_DATA, claim.unavailable)
    if claim.measure == "static.top_four":
        return _top_four(preset, store)
    if claim.kind == "static":
        return _static(claim, ours=True)
    needed = {parts(claim, subject)[0] for subject in claim.subjects}
    printed = [printed_sample(claim, subject) or Sample(math.nan, LEAST_SD, 2) for subject in claim.subjects]
    try:
        samples = stored_samples(claim, preset, store)
        if all(s.n == 0 for s in samples):  # else the stored numbers may do without the data
            for name in sorted(needed):
                if not _available(name):
                    return Verdict(NO_DATA, f"{name} is not at hand: {catalogue.entry(name).remedy}")
        verdict = judge(claim, samples, printed)
    except DataError as error:  # the bootstrap over rows, and some measures, need the data
        return Verdict(NO_DATA, str(error))
    simulated = all(catalogue.family(name) == "simulations" for name in needed)  # one setting at every preset
    if preset != "paper" and not simulated and verdict.verdict in (*DECIDED, UNDECIDED):
        return Verdict(verdict.verdict, f"{verdict.text} (short schedule: preset {preset})", verdict.n, verdict.keys)
    return verdict


def _top_four(preset: str, store: Store) -> Verdict:
    """Rank MixNAM by means among the models of Table 1 on its six data sets, as its print is ranked."""
    table = published.table("table1_accuracy").query("source == 'Table 1'")
    cases = [c for c in cases_of("accuracy", preset) if c.published in set(table["model"])]
    ranks, absent, keys, runs = {}, [], [], []
    for dataset in dict.fromkeys(table["dataset"]):
        metric = catalogue.entry(dataset).metric
        means = {}
        for case in cases:
            seeds = load_preset("paper").number("seeds")
            specs = specs_of(dataset, case.model, preset, case.overrides, seeds=seeds)
            found = [r for spec in specs if (r := store.get(spec)) is not None]
            keys += [r.key for r in found]
            runs.append(len(found))
            means[case.model] = float(np.mean([r.metrics["test"][metric] for r in found])) if found else math.nan
        if all(map(math.isnan, means.values())) and not _available(dataset):
            absent.append(dataset)
        better = 1 if metric == "auc" else -1
        ranks[dataset] = 1 + sum(better * (mean - means["MixNAM"]) > 0 for mean in means.values())
    if absent:
        return Verdict(NO_DATA, f"not at hand: {', '.join(absent)}", 0, tuple(keys))
    if min(runs) < LEAST_RUNS:
        lacking = sum(count < LEAST_RUNS for count in runs)
        return Verdict(
            TOO_FEW, f"{lacking} of {len(runs)} cells have fewer than {LEAST_RUNS} runs", min(runs), tuple(keys)
        )
    text = ", ".join(f"{name}: {rank}" for name, rank in ranks.items())
    text += "" if preset == "paper" else f" (short schedule: preset {preset})"
    return Verdict(REPRODUCED if max(ranks.values()) <= 4 else NOT_REPRODUCED, text, min(runs), tuple(keys))


def _available(dataset: str) -> bool:
    try:
        catalogue.load(dataset, download=False)
    except DataError:
        return False
    return True


def expected_false(judged: Sequence[tuple[Claim, Verdict]]) -> float:
    """Return how many verdicts may be expected to be wrong by chance: 5 % of those that rest on an interval."""
    return 0.05 * sum(c.kind not in ("threshold", "static") and v.verdict in (*DECIDED, UNDECIDED) for c, v in judged)
