"""The paper's statements, each tested against results by a rule; a note says where one replaced the draft.

There are seven kinds (`claims.toml` says which applies): value, order, tie, trend, threshold, mean, static.
Each claim gets a verdict on the paper's own printed numbers and one on ours.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.paper import checks, published
from mixnam.paper.claim import Claim
from mixnam.paper.evidence import LEAST_SD, parts, printed_joint, printed_sample, stored_samples
from mixnam.paper.experiments import cases as cases_of
from mixnam.paper.experiments import stored
from mixnam.paper.intervals import LEVEL, Estimate, Sample, difference, mean_of
from mixnam.paper.ranks import top_four
from mixnam.runs.results import Result
from mixnam.runs.store import Store

REPRODUCED, BETTER, NOT_REPRODUCED = "reproduced", "better", "not reproduced"
UNDECIDED, TOO_FEW, NO_DATA = "undecided", "not enough runs", "data not available"
NOT_PRINTED, PRINTED = "not printed", "is a printed number"
DECIDED = (REPRODUCED, BETTER, NOT_REPRODUCED)
VERDICTS = (*DECIDED, UNDECIDED, TOO_FEW, NO_DATA, NOT_PRINTED, PRINTED)

Rows = Callable[[Sequence[Result], Sequence[Result], str], tuple[float, float]]

_ROUNDING = 1e-9  # what a statistic that must reach a limit may lose to rounding
LEAST_RUNS = 5  # seeds or folds that a verdict needs


@dataclass(frozen=True)
class Verdict:
    """An answer: one of `VERDICTS`, the difference or value it rests on, and what it was read off."""

    verdict: str
    text: str = ""
    n: int = 0
    keys: tuple[str, ...] = ()


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


def _difference(claim: Claim, a: Sample, b: Sample, rows: Rows | None) -> Estimate:
    """Return a − b with its one interval: over seeds and, of test scores, over test rows; or over folds."""
    metric = claim.measure.removeprefix("metrics.test.") if claim.measure.startswith("metrics.test.") else ""
    return difference(a, b, claim.dataset, metric, rows)


def _of_all(found: Iterable[Comparison]) -> str:
    """Return the verdict of several comparisons."""
    found = list(found)
    if any(one.loss <= LEVEL for one in found):
        return NOT_REPRODUCED
    return REPRODUCED if all(one.won for one in found) else UNDECIDED


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


def _value(claim: Claim, samples: list[Sample], printed: list[Sample], rows: Rows | None) -> tuple[str, str]:
    found = difference(samples[0], dataclasses.replace(printed[0], results=()), claim.dataset)
    low, high = found.interval
    text = f"{samples[0].mean:.4f} − {printed[0].mean:g}: [{low:+.4f}, {high:+.4f}] against ±{claim.margin:g}"
    if -claim.margin <= low and high <= claim.margin:
        return REPRODUCED, text
    if low > claim.margin or high < -claim.margin:
        improved = claim.better != 0 and (low > claim.margin) == (claim.better > 0)
        return (BETTER if improved else NOT_REPRODUCED), text
    return UNDECIDED, text


def _order(claim: Claim, samples: list[Sample], printed: list[Sample], rows: Rows | None) -> tuple[str, str]:
    """Hold the advantage over each rival against the margin."""
    found = []
    for subject, rival in zip(claim.subjects[1:], samples[1:], strict=True):
        ahead = _difference(claim, samples[0], rival, rows).turned(claim.better)
        won = ahead.chance_above(claim.margin) <= LEVEL
        found.append(Comparison(f"{subject_name(subject)}: ", ahead, won, ahead.chance_below(claim.margin)))
    least = f", to exceed {claim.margin:g}" if claim.margin else ""
    return _of_all(found), f"advantage over {'; '.join(map(str, found))}{least}"


def _tie(claim: Claim, samples: list[Sample], printed: list[Sample], rows: Rows | None) -> tuple[str, str]:
    """Hold each rival's distance against the margin; with `better`, only how far the best one is ahead."""
    rivals = list(zip(claim.subjects[1:], samples[1:], strict=True))
    if claim.better:
        rivals = [max(rivals, key=lambda pair: claim.better * pair[1].mean)]
    found, sign = [], "behind" if claim.better else "−"
    for subject, rival in rivals:
        off = _difference(claim, samples[0], rival, rows).turned(-claim.better or 1)
        sides = [off.interval[1] <= claim.margin, claim.better != 0 or off.interval[0] >= -claim.margin]
        losses = [off.chance_above(claim.margin), 1.0 if claim.better else off.chance_below(-claim.margin)]
        name = f"{subject_name(claim.subjects[0])} {sign} {subject_name(subject)}: "
        found.append(Comparison(name, off, all(sides), min(losses)))
    return _of_all(found), f"{'; '.join(map(str, found))} against ±{claim.margin:g}"


def _trend(claim: Claim, samples: list[Sample], printed: list[Sample], rows: Rows | None) -> tuple[str, str]:
    """Hold each step's interval against zero."""
    found = []
    for step, (before, after) in enumerate(itertools.pairwise(samples)):
        up = _difference(claim, after, before, rows).turned(claim.better)
        name = f"{subject_name(claim.subjects[step + 1])}: "
        won = up.chance_above(0) <= LEVEL or step < claim.ties
        found.append(Comparison(name, up, won, up.chance_below(0)))
    return _of_all(found), f"steps to {'; '.join(map(str, found))}"


def _threshold(claim: Claim, samples: list[Sample], printed: list[Sample], rows: Rows | None) -> tuple[str, str]:
    """Count every subject's runs at or above the limit, or at or below it where lower is better."""
    held, lines = True, []
    for name, sample in zip(_headings(claim, samples), samples, strict=True):
        values = np.array([sample.mean]) if sample.values is None else sample.values
        below, above = values <= claim.limit + _ROUNDING, values >= claim.limit - _ROUNDING
        passed = int((below if claim.better < 0 else above).sum())  # a run without the number has failed
        seen = values[np.isfinite(values)]
        worst = (
            f"most {seen.max(initial=-math.inf):.5g}" if claim.better < 0 else f"least {seen.min(initial=math.inf):.5g}"
        )
        lines.append(f"{name}{passed} of {len(values)}, {worst if len(seen) else 'no number'}")
        held &= passed >= claim.share * len(values)
    side = "at or below" if claim.better < 0 else "at or above"
    return (REPRODUCED if held else NOT_REPRODUCED), f"{side} {claim.limit:g}: {'; '.join(lines)}"


def _mean(claim: Claim, samples: list[Sample], printed: list[Sample], rows: Rows | None) -> tuple[str, str]:
    """Hold the interval of every subject's mean against the limit."""
    found = []
    for name, sample in zip(_headings(claim, samples), samples, strict=True):
        mean = mean_of(sample)
        side, limit = mean.turned(claim.better), claim.better * claim.limit
        won = side.interval[0] >= limit - _ROUNDING
        found.append(Comparison(name, mean, won, side.chance_below(limit - _ROUNDING)))
    side_word = "above" if claim.better > 0 else "below"
    return _of_all(found), f"{'; '.join(map(str, found))}, to lie {side_word} {claim.limit:g}"


def _headings(claim: Claim, samples: list[Sample]) -> list[str]:
    """Return what stands before each subject's numbers: its name where there are several."""
    several = len(samples) > 1
    return [f"{subject_name(s)}: " if several else "" for s, _ in zip(claim.subjects, samples, strict=False)]


_RULES = {"value": _value, "order": _order, "tie": _tie, "trend": _trend, "threshold": _threshold, "mean": _mean}


def judge(claim: Claim, samples: list[Sample], printed: list[Sample], rows: Rows | None = None) -> Verdict:
    """Apply the claim's rule to samples, one a subject, with the printed ones beside.

    `rows` gives the variance of a difference over test rows, by default `intervals.row_variance`. Fewer than five
    runs of any subject give "not enough runs".
    """
    runs = min(s.n for s in samples)
    keys = tuple(r.key for s in samples for r in s.results)
    if runs < LEAST_RUNS:
        short = [subject_name(s) for s, x in zip(claim.subjects, samples, strict=False) if x.n == runs]
        lacking = "all its models together" if claim.joint else ", ".join(short[:3]) + (" …" if len(short) > 3 else "")
        return Verdict(TOO_FEW, f"{runs} of {LEAST_RUNS} for {lacking}", runs, keys)
    verdict, text = _RULES[claim.kind](claim, samples, printed, rows)
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


def on_results(claim: Claim, preset: str, store: Store, rows: Rows | None = None) -> Verdict:
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
        verdict = judge(claim, samples, printed, rows)
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
    scores: dict[str, dict[str, float]] = {}
    absent: list[str] = []
    keys: list[str] = []
    runs: list[int] = []
    for dataset in dict.fromkeys(table["dataset"]):
        path = f"metrics.test.{catalogue.entry(dataset).metric}"
        found = {c.model: stored(store, dataset, c.model, preset, c.overrides) for c in cases}
        keys += [r.key for results in found.values() for r in results]
        runs += map(len, found.values())
        scores[dataset] = {m: float(np.mean([r.value(path) for r in rs])) for m, rs in found.items() if rs}
        if not scores[dataset] and not _available(dataset):
            absent.append(dataset)
    if absent:
        return Verdict(NO_DATA, f"not at hand: {', '.join(absent)}", 0, tuple(keys))
    if min(runs) < LEAST_RUNS:
        few = sum(count < LEAST_RUNS for count in runs)
        text = f"{few} of {len(runs)} cells have fewer than {LEAST_RUNS} runs"
        return Verdict(TOO_FEW, text, min(runs), tuple(keys))
    held, text = top_four(scores)
    text += "" if preset == "paper" else f" (short schedule: preset {preset})"
    return Verdict(REPRODUCED if held else NOT_REPRODUCED, text, min(runs), tuple(keys))


def _available(dataset: str) -> bool:
    try:
        catalogue.load(dataset, download=False)
    except DataError:
        return False
    return True


def expected_false(judged: Sequence[tuple[Claim, Verdict]]) -> float:
    """Return how many verdicts may be expected to be wrong by chance: 5 % of those that rest on an interval."""
    return 0.05 * sum(c.kind not in ("threshold", "static") and v.verdict in (*DECIDED, UNDECIDED) for c, v in judged)
