"""The paper's statements, each tested against results by rules fixed before the paper-preset runs.

There are seven kinds (`claims.toml` says which applies): value, order, tie, trend, threshold, mean, static.
Each claim gets a verdict on the paper's own printed numbers and one on ours.
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

from mixnam import checks, datasets, derived, published
from mixnam.experiments import specs_of
from mixnam.intervals import Interval, Sample, mean_interval, nadeau_bengio, row_bootstrap, welch
from mixnam.presets import load_preset
from mixnam.results import Result, RunSpec, Store
from mixnam.settings import Settings, make_settings

REPRODUCED, BETTER, NOT_REPRODUCED = "reproduced", "better", "not reproduced"
UNDECIDED, TOO_FEW, NO_DATA = "undecided", "not enough runs", "data not available"
NOT_PRINTED = "not printed"
DECIDED = (REPRODUCED, BETTER, NOT_REPRODUCED)
VERDICTS = (*DECIDED, UNDECIDED, TOO_FEW, NO_DATA, NOT_PRINTED)

LEAST_RUNS = 5  # seeds or folds that a verdict needs
PRINTED_RUNS = {"holdout": 10, "folds": 5}  # what the paper's ± stands on
LEAST_SD = 0.0005  # a printed standard deviation of 0.000


@dataclass(frozen=True)
class Verdict:
    """An answer: one of `VERDICTS`, the difference or value it rests on, and what it was read off."""

    verdict: str
    text: str = ""
    n: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, as read from `claims.toml`.

    Attributes: `subjects`, the models compared, each a model name, setting overrides and, where it is not
    the claim's, a data set, the one that the claim is about first; `measure`, a path into a result,
    `derived.NAME` or `joint.NAME` (`mixnam.derived`), or for the static kind `static.NAME`
    (`mixnam.checks`); `table` and `quantity`, where the printed numbers stand; `margin` and `limit`, in
    the measure's units; `better`, -1 or 1 where lower or higher is better, 0 where neither is; `ties`, how
    many leading steps of a trend may tie; `share`, the share of runs that must pass a threshold;
    `unavailable`, what is lacking here to test the claim at all.
    """

    id: str
    place: str
    statement: str
    page: str
    kind: str
    measure: str
    dataset: str = "housing"
    table: str = ""
    subjects: tuple[Mapping[str, Any], ...] = ()
    quantity: str = ""
    margin: float = 0.0
    limit: float = 0.0
    better: int = 0
    ties: int = 0
    share: float = 1.0
    note: str = ""
    unavailable: str = ""

    def __post_init__(self) -> None:
        if self.kind not in (*_KINDS, "static"):
            raise ValueError(f"claim {self.id}: kind must be one of {', '.join(_KINDS)}, static, got {self.kind!r}")
        if self.kind in ("order", "trend", "mean") and self.better == 0 and not self.unavailable:
            raise ValueError(f"claim {self.id}: {self.kind} needs better = 1 or -1")
        least = {"static": 0, "value": 1, "threshold": 1, "mean": 1}.get(self.kind, 2)
        if len(self.subjects) < least and not self.unavailable:
            raise ValueError(f"claim {self.id}: {self.kind} needs at least {least} subjects, got {len(self.subjects)}")
        derived.check(self.measure)
        if self.kind == "static" and self.measure.removeprefix("static.") not in checks.CHECKS:
            raise ValueError(f"claim {self.id}: no check {self.measure!r}; known are {', '.join(checks.CHECKS)}")

    @property
    def joint(self) -> bool:
        """Whether the measure takes the results of all subjects together."""
        return self.measure.startswith("joint.")


@cache
def claims() -> tuple[Claim, ...]:
    """Read the claims; ValueError names a claim with unknown or missing entries."""
    content = tomllib.loads(files("mixnam.published").joinpath("claims.toml").read_text(encoding="utf-8"))
    found = []
    for entry in content["claim"]:
        try:
            found.append(Claim(**(entry | {"subjects": tuple(entry.get("subjects", ()))})))
        except (TypeError, KeyError) as error:
            raise ValueError(f"claim {entry.get('id', '?')}: {error}") from error
    return tuple(found)


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


def subject_name(subject: Mapping[str, Any]) -> str:
    """Return a subject as readers know it, such as "MixNAM (λ = 10, C = 8)"."""
    symbols = {"variation_penalty": "λ", "experts": "C", "active_experts": "K"}
    shown = [
        f"{symbols.get(k, k)} = {v:g}" if isinstance(v, (int, float)) else f"{k} {v}"
        for k, v in subject.items()
        if k not in ("model", "dataset", "expert_dropout")
    ]
    where = [datasets.entry(subject["dataset"]).title] if "dataset" in subject else []
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
        if all(high < 0 for _, high in intervals):
            verdict = NOT_REPRODUCED
        elif not all(low > 0 for low, _ in intervals) and verdict == REPRODUCED:
            verdict = UNDECIDED
    return verdict, "advantage over " + "; ".join(lines)


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
        passed = int((values <= claim.limit).sum() if claim.better < 0 else (values >= claim.limit).sum())
        extreme = f"most {values.max():.5g}" if claim.better < 0 else f"least {values.min():.5g}"
        name = f"{subject_name(claim.subjects[number])}: " if len(samples) > 1 else ""
        lines.append(f"{name}{passed} of {len(values)}, {extreme}")
        held &= passed >= claim.share * len(values)
    side = "at or below" if claim.better < 0 else "at or above"
    return (REPRODUCED if held else NOT_REPRODUCED), f"{side} {claim.limit:g}: {'; '.join(lines)}"


def _mean(claim: Claim, samples: list[Sample], printed: list[Sample]) -> tuple[str, str]:
    """Hold the interval of every subject's mean against the limit."""
    verdict, lines = REPRODUCED, []
    for number, sample in enumerate(samples):
        interval = (sample.mean, sample.mean) if sample.values is None else mean_interval(sample)
        low, high = sorted(claim.better * (x - claim.limit) for x in interval)
        name = f"{subject_name(claim.subjects[number])}: " if len(samples) > 1 else ""
        lines.append(f"{name}{_span(interval)}")
        if high < 0:
            verdict = NOT_REPRODUCED
        elif low < 0 and verdict == REPRODUCED:
            verdict = UNDECIDED
    side = "above" if claim.better > 0 else "below"
    return verdict, f"{'; '.join(lines)}, to lie {side} {claim.limit:g}"


_KINDS = {"value": _value, "order": _order, "tie": _tie, "trend": _trend, "threshold": _threshold, "mean": _mean}


def _parts(claim: Claim, subject: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return a subject's data set, model and setting overrides."""
    overrides = {k: v for k, v in subject.items() if k not in ("model", "dataset")}
    return subject.get("dataset", claim.dataset), subject["model"], overrides


def printed_sample(claim: Claim, subject: Mapping[str, Any], quantity: str = "") -> Sample | None:
    """Return the paper's number for a subject, or None where it prints none."""
    dataset, model, overrides = _parts(claim, subject)
    found = None
    if claim.table == "table1":
        found = published.accuracy(dataset, model)
    elif claim.table == "table3":
        found = published.sweep(quantity or claim.quantity, overrides.get("variation_penalty", 0.1), model)
    elif claim.table == "table8":
        found = published.scaling(model, overrides["experts"], overrides["active_experts"])
    if found is None:
        return None
    holdout = dataset in (*datasets.REGISTRY, "year") and (
        dataset == "year" or datasets.entry(dataset).splits == datasets.HOLDOUT
    )
    return Sample(found[0], max(found[1], LEAST_SD), PRINTED_RUNS["holdout" if holdout else "folds"])


@dataclass(frozen=True)
class _Printed:
    """A printed cell that stands where a joint measure expects a result."""

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


def _printed_joint(claim: Claim) -> Sample | None:
    """Return a joint measure of the printed means, which have no spread of their own; None where it needs more."""
    cells = [_Printed(make_settings(m, o), claim, s) for s in claim.subjects for _, m, o in [_parts(claim, s)]]
    try:
        found = derived.JOINT[claim.measure.partition(".")[2]](cells)  # type: ignore[arg-type]
    except (KeyError, AttributeError):
        return None
    return Sample(found, LEAST_SD, PRINTED_RUNS["holdout"])


def stored(claim: Claim, subject: Mapping[str, Any], preset: str, store: Store) -> list[Result]:
    """Return every stored seed or fold of a subject."""
    dataset, model, overrides = _parts(claim, subject)
    specs = specs_of(dataset, model, preset, overrides, seeds=load_preset("paper").number("seeds"))
    return [r for spec in specs if (r := store.get(spec)) is not None and r.status == "ok"]


def specs_for_claim(claim: Claim, preset: str, seeds: int) -> list[RunSpec]:
    """Return the runs that a claim rests on: so many seeds, or all folds, of each subject."""
    specs: dict[str, RunSpec] = {}
    for subject in claim.subjects:
        dataset, model, overrides = _parts(claim, subject)
        specs |= {s.key: s for s in specs_of(dataset, model, preset, overrides, seeds=seeds)}
    return sorted(specs.values(), key=lambda spec: (spec.seed, spec.split))


def stored_samples(claim: Claim, preset: str, store: Store) -> list[Sample]:
    """Return our numbers for a claim's subjects under a preset; a joint measure gives one sample.

    Taken is every seed or fold that is stored; a joint measure needs all subjects of a seed.
    """
    runs = [stored(claim, subject, preset, store) for subject in claim.subjects]
    if not claim.joint:
        found = []
        for results in runs:
            pairs = [(r, v) for r in results if math.isfinite(v := derived.value(r, claim.measure))]
            found.append(Sample.of([v for _, v in pairs], tuple(r for r, _ in pairs)))
        return found
    by_run = [{(r.spec.split, r.spec.seed): r for r in results} for results in runs]
    shared = [key for key in by_run[0] if all(key in other for other in by_run)]
    measure = derived.JOINT[claim.measure.partition(".")[2]]
    values = [measure([found[key] for found in by_run]) for key in shared]
    return [Sample.of(values, tuple(found[key] for key in shared for found in by_run))]


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
    verdict, text = _KINDS[claim.kind](claim, samples, printed)
    return Verdict(verdict, text, runs, keys)


def on_paper(claim: Claim) -> Verdict:
    """Judge a claim on the paper's own printed numbers."""
    if claim.kind == "static":
        return _static(claim, ours=False)
    if claim.joint:
        whole = _printed_joint(claim)
        printed = [whole]
    else:
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
    if claim.kind == "static":
        return _static(claim, ours=True)
    samples = stored_samples(claim, preset, store)
    needed = {_parts(claim, subject)[0] for subject in claim.subjects}
    missing = [name for name in sorted(needed) if not _available(name)]
    if all(s.n == 0 for s in samples) and missing:
        return Verdict(NO_DATA, datasets.entry(missing[0]).remedy)
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
