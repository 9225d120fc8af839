"""The paper's statements, each tested against results by rules fixed before the paper-preset runs.

There are five kinds (`claims.toml` says which applies): value, order, tie, trend, threshold. Each claim
gets a verdict on the paper's own printed numbers and one on ours.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from mixnam import datasets, published
from mixnam.experiments import specs_of
from mixnam.preprocessing import split_rows
from mixnam.presets import load_preset
from mixnam.results import Result, Store

Values = NDArray[np.float64]
REPRODUCED, BETTER, NOT_REPRODUCED = "reproduced", "better", "not reproduced"
UNDECIDED, TOO_FEW, NO_DATA = "undecided", "not enough runs", "data not available"
DECIDED = (REPRODUCED, BETTER, NOT_REPRODUCED)
VERDICTS = (*DECIDED, UNDECIDED, TOO_FEW, NO_DATA)

LEAST_RUNS = 5  # seeds or folds that a verdict needs
PRINTED_RUNS = {"holdout": 10, "folds": 5}  # what the paper's ± stands on
LEAST_SD = 0.0005  # a printed standard deviation of 0.000
_RESAMPLES = {"rmse": 2000, "mse": 2000, "auc": 400}

Interval = tuple[float, float]


@dataclass(frozen=True)
class Sample:
    """A mean with its standard deviation over `n` seeds or folds, and the results it comes from."""

    mean: float
    sd: float
    n: int
    values: Values | None = None
    results: tuple[Result, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """An answer: one of the six words, the difference or value it rests on, and what it was read off."""

    verdict: str
    text: str = ""
    n: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, as read from `claims.toml`.

    Attributes: `subjects`, the models compared, each a model name and setting overrides, the one that the
    claim is about first; `measure`, a path into a result; `table` and `quantity`, where the printed
    numbers stand; `margin` and `limit`, in the measure's units; `better`, -1 or 1 where lower or higher is
    better, 0 where neither is; `ties`, how many leading steps of a trend may tie; `share`, the share of
    runs that must pass a threshold.
    """

    id: str
    place: str
    statement: str
    page: str
    dataset: str
    kind: str
    measure: str
    table: str
    subjects: tuple[Mapping[str, Any], ...]
    quantity: str = ""
    margin: float = 0.0
    limit: float = 0.0
    better: int = 0
    ties: int = 0
    share: float = 1.0
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"claim {self.id}: kind must be one of {', '.join(_KINDS)}, got {self.kind!r}")
        if self.kind in ("order", "trend") and self.better == 0:
            raise ValueError(f"claim {self.id}: {self.kind} needs better = 1 or -1")
        least = 1 if self.kind in ("value", "threshold") else 2
        if len(self.subjects) < least:
            raise ValueError(f"claim {self.id}: {self.kind} needs at least {least} subjects, got {len(self.subjects)}")


@cache
def claims() -> tuple[Claim, ...]:
    """Read the claims; ValueError names a claim with unknown or missing entries."""
    content = tomllib.loads(files("mixnam.published").joinpath("claims.toml").read_text(encoding="utf-8"))
    found = []
    for entry in content["claim"]:
        try:
            found.append(Claim(**(entry | {"subjects": tuple(entry["subjects"])})))
        except (TypeError, KeyError) as error:
            raise ValueError(f"claim {entry.get('id', '?')}: {error}") from error
    return tuple(found)


def welch(a: Sample, b: Sample) -> Interval:
    """Return the 95 % interval of mean(a) − mean(b) (Welch); infinite where a spread is unknown."""
    if min(a.n, b.n) < 2:
        return -math.inf, math.inf
    parts = [s.sd**2 / s.n for s in (a, b)]
    total = sum(parts)
    difference = a.mean - b.mean
    if total == 0:
        return difference, difference
    freedom = total**2 / sum(p**2 / (s.n - 1) for p, s in zip(parts, (a, b), strict=True))
    reach = float(stats.t.ppf(0.975, freedom)) * math.sqrt(total)
    return difference - reach, difference + reach


def nadeau_bengio(differences: Values, test_share: float) -> Interval:
    """Return the 95 % interval of a mean difference over folds, by the corrected resampled t.

    `test_share` is test rows over training rows (Nadeau and Bengio 2003).
    """
    n = len(differences)
    spread = float(differences.var(ddof=1)) * (1 / n + test_share)
    reach = float(stats.t.ppf(0.975, n - 1)) * math.sqrt(spread)
    return float(differences.mean()) - reach, float(differences.mean()) + reach


def _row_scores(results: Sequence[Result], metric: str, weights: Values) -> Values:
    """Return the mean score over results for each row weighting (resamples, rows)."""
    spec = results[0].spec
    dataset = datasets.load(spec.dataset, download=False)
    total = np.zeros(len(weights))
    for result in results:
        y = dataset.y[split_rows(dataset, spec.split, result.spec.seed).test]
        prediction = result.arrays["test_prediction"].astype(np.float64)
        if metric == "auc":
            total += [roc_auc_score(y, prediction, sample_weight=w) for w in weights]
        else:
            mse = weights @ (prediction - y) ** 2 / weights.sum(axis=1)
            total += np.sqrt(mse) if metric == "rmse" else mse
    return total / len(results)


def row_bootstrap(a: Sequence[Result], b: Sequence[Result], metric: str) -> Interval:
    """Return the 95 % interval of score(a) − score(b) over resampled test rows of one split."""
    rows = len(a[0].arrays["test_prediction"])
    weights = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), _RESAMPLES[metric]).astype(float)
    low, high = np.quantile(_row_scores(a, metric, weights) - _row_scores(b, metric, weights), [0.025, 0.975])
    return float(low), float(high)


def _difference(a: Sample, b: Sample, claim: Claim) -> list[Interval]:
    """Return the intervals that a comparison must clear: over seeds and rows, or over folds."""
    if not a.results or not b.results:
        return [welch(a, b)]
    if datasets.entry(claim.dataset).splits != datasets.HOLDOUT:
        assert a.values is not None and b.values is not None
        shared = min(a.n, b.n)
        return [nadeau_bengio(a.values[:shared] - b.values[:shared], 0.2 / 0.64)]
    intervals = [welch(a, b)]
    if claim.measure.startswith("metrics.test."):
        intervals.append(row_bootstrap(a.results, b.results, claim.measure.rsplit(".", 1)[1]))
    return intervals


def _span(interval: Interval) -> str:
    return f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"


def _name(subject: Mapping[str, Any]) -> str:
    penalty = subject.get("variation_penalty")
    return str(subject["model"]) + ("" if penalty is None else f" (λ = {penalty:g})")


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
        lines.append(f"{_name(subject)}: {', '.join(_span((x, y)) for x, y in intervals)}")
        if all(high < 0 for _, high in intervals):
            verdict = NOT_REPRODUCED
        elif not all(low > 0 for low, _ in intervals) and verdict == REPRODUCED:
            verdict = UNDECIDED
    return verdict, "advantage over " + "; ".join(lines)


def _tie(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    intervals = _difference(samples[0], samples[1], claim)
    low, high = min(i[0] for i in intervals), max(i[1] for i in intervals)
    text = f"{_name(claim.subjects[0])} − {_name(claim.subjects[1])}: {_span((low, high))} against ±{claim.margin:g}"
    if -claim.margin <= low and high <= claim.margin:
        return REPRODUCED, text
    apart = all(i[0] > claim.margin for i in intervals) or all(i[1] < -claim.margin for i in intervals)
    return (NOT_REPRODUCED if apart else UNDECIDED), text


def _trend(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    verdict, lines = REPRODUCED, []
    for step, (a, b) in enumerate(itertools.pairwise(samples)):
        low, high = sorted(claim.better * x for x in welch(b, a))
        lines.append(f"{_name(claim.subjects[step + 1])}: {_span((low, high))}")
        if high < 0:
            verdict = NOT_REPRODUCED
        elif not low > 0 and step >= claim.ties and verdict == REPRODUCED:
            verdict = UNDECIDED
    return verdict, "steps to " + "; ".join(lines)


def _threshold(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    values = np.array([samples[0].mean]) if samples[0].values is None else samples[0].values
    passed = int((values >= claim.limit).sum())
    text = f"{passed} of {len(values)} at or above {claim.limit:g}; least {values.min():.5f}"
    return (REPRODUCED if passed >= claim.share * len(values) else NOT_REPRODUCED), text


_KINDS = {"value": _value, "order": _order, "tie": _tie, "trend": _trend, "threshold": _threshold}


def printed_sample(claim: Claim, subject: Mapping[str, Any]) -> Sample | None:
    """Return the paper's number for a subject, or None where it prints none."""
    if claim.table == "table1":
        found = published.accuracy(claim.dataset, subject["model"])
    else:
        found = published.sweep(claim.quantity, subject.get("variation_penalty", 0.1), subject["model"])
    if found is None:
        return None
    holdout = datasets.entry(claim.dataset).splits == datasets.HOLDOUT
    return Sample(found[0], max(found[1], LEAST_SD), PRINTED_RUNS["holdout" if holdout else "folds"])


def stored_sample(claim: Claim, subject: Mapping[str, Any], preset: str, store: Store) -> Sample:
    """Return our numbers for a subject under a preset: every seed or fold that is stored."""
    overrides = {k: v for k, v in subject.items() if k != "model"}
    specs = specs_of(claim.dataset, subject["model"], preset, overrides, seeds=load_preset("paper").number("seeds"))
    found = (store.get(spec) for spec in specs)
    results = tuple(r for r in found if r is not None and r.status == "ok" and _finite(r, claim.measure))
    values = np.array([r.value(claim.measure) for r in results])
    sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Sample(float(values.mean()) if len(values) else math.nan, sd, len(values), values, results)


def _finite(result: Result, measure: str) -> bool:
    return result.holds(measure) and math.isfinite(result.value(measure))


def judge(claim: Claim, samples: list[Sample], printed: list[Sample]) -> Verdict:
    """Apply the claim's rule to samples, one a subject, with the printed ones beside.

    Fewer than five runs of any subject give "not enough runs".
    """
    runs = min(s.n for s in samples)
    keys = tuple(r.key for s in samples for r in s.results)
    if runs < LEAST_RUNS:
        short = [_name(s) for s, x in zip(claim.subjects, samples, strict=True) if x.n == runs]
        return Verdict(TOO_FEW, f"{runs} of {LEAST_RUNS} for {', '.join(short)}", runs, keys)
    verdict, text = _KINDS[claim.kind](claim, samples, printed)
    return Verdict(verdict, text, runs, keys)


def on_paper(claim: Claim) -> Verdict:
    """Judge a claim on the paper's own printed numbers."""
    printed = [printed_sample(claim, subject) for subject in claim.subjects]
    present = [p for p in printed if p is not None]
    if len(present) < len(printed):
        return Verdict(NO_DATA, "the paper prints no number")
    return judge(claim, present, present)


def on_results(claim: Claim, preset: str, store: Store) -> Verdict:
    """Judge a claim on stored results; a verdict from another preset than `paper` says so."""
    samples = [stored_sample(claim, subject, preset, store) for subject in claim.subjects]
    if all(s.n == 0 for s in samples) and not _available(claim.dataset):
        return Verdict(NO_DATA, datasets.entry(claim.dataset).remedy)
    printed = [printed_sample(claim, subject) or Sample(math.nan, LEAST_SD, 2) for subject in claim.subjects]
    try:
        verdict = judge(claim, samples, printed)
    except datasets.DataError as error:  # the bootstrap over rows needs the test rows
        return Verdict(NO_DATA, str(error), min(s.n for s in samples))
    if preset != "paper" and verdict.verdict in (*DECIDED, UNDECIDED):
        return Verdict(verdict.verdict, f"{verdict.text} (short schedule: preset {preset})", verdict.n, verdict.keys)
    return verdict


def _available(dataset: str) -> bool:
    try:
        datasets.load(dataset, download=False)
    except datasets.DataError:
        return False
    return True


def expected_false(verdicts: Sequence[str]) -> float:
    """Return how many verdicts are at most expected to be decided wrongly: 5 % of the claims that were tested."""
    return 0.05 * sum(v in (*DECIDED, UNDECIDED) for v in verdicts)
