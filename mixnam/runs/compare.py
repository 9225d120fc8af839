"""Whether a repetition gave what is stored: the same bits, within rounding, or different."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixnam.runs.results import Result

SAME, WITHIN, DIFFERENT = "the same bits", "within rounding", "different"
#: How far apart a score of two trainings of one run may lie, in a power of the target's standard deviation over the
#: part's rows (0: in the score's own unit, of `log_loss` nats).
METRICS = {"rmse": (0.02, 1), "mae": (0.03, 1), "mse": (0.03, 2), "r2": (0.03, 0)}
METRICS |= {"auc": (0.02, 0), "average_precision": (0.02, 0), "log_loss": (0.06, 0), "accuracy": (0.03, 0)}
#: The same for the measures of these groups that are single numbers: shares of 1.
SHARE, SHARES = 0.25, ("additivity", "tightness", "interventions_outside_bounds", "routing")
#: The same for all else, as a share of its largest number: what other arithmetic moves where it does not grow.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Part:
    """One part of two results.

    Attributes: `kind` (metric, measure, history, array or weights) and `name`; `verdict`; `before` and `after`, its
    values, of lists and arrays type and shape, None where it is missing; `distance`, the largest between two of its
    numbers; `tolerance`, how large that may be; `decides`, whether the verdict on the whole rests on it.
    """

    kind: str
    name: str
    verdict: str
    before: Any
    after: Any
    distance: float
    tolerance: float
    decides: bool

    def __str__(self) -> str:
        before, after = ("nothing" if value is None else value for value in (self.before, self.after))
        far = f"up to {self.distance:.3g} apart" if before == after else f"{before} before, {after} now"
        return f"{self.kind} {self.name} {far}"


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: `parts`; `reasons`, how the trainings differ; `elsewhere`, whether bits may then differ."""

    parts: tuple[Part, ...]
    reasons: tuple[str, ...]
    elsewhere: bool

    @property
    def verdict(self) -> str:
        """`SAME`, `WITHIN` or `DIFFERENT`; with the last the repetition does not confirm what is stored."""
        if all(part.verdict == SAME for part in self.parts):
            return SAME
        beyond = any(part.verdict == DIFFERENT and part.decides for part in self.parts)
        return DIFFERENT if beyond or not self.elsewhere else WITHIN

    @property
    def reason(self) -> str:
        """How the two trainings differ, as far as their records say."""
        return "; ".join(self.reasons) or "same device and versions"

    @property
    def worst(self) -> Part | None:
        """The part that is farthest beyond its tolerance, those that decide first; None where all bits are the same."""
        found = [part for part in self.parts if part.verdict != SAME]
        return max(found, key=lambda p: (p.decides, p.distance / (p.tolerance or math.ulp(0.0))), default=None)

    @property
    def text(self) -> str:
        """One line: the verdict, the worst part with its numbers, how many parts have other bits, and the reason."""
        if self.worst is None:
            return f"{self.verdict}; {self.reason}"
        tolerance = f" (tolerance {self.worst.tolerance:.3g})" if self.elsewhere else ""
        others = f"{sum(part.verdict != SAME for part in self.parts)} of {len(self.parts)}"
        return f"{self.verdict}: {self.worst}{tolerance}; other bits in {others} parts; {self.reason}"


def compare(stored: Result, again: Result) -> Comparison:
    """Compare a stored result with a repetition of its run; ValueError for results of two runs.

    On the same CPU and versions every bit comes out again, and anything else is different. Elsewhere (another device,
    version, number of threads or stack, and always on a GPU) a rounded bit grows, because training is chaotic. There a
    repetition is within rounding where nothing is missing (a later version may keep more), and the metrics of the test
    rows (`METRICS`) and the measures that are shares (`SHARE`) are within their tolerances. All other parts (scores of
    other rows, lists by feature, numbers in the target's units, counts, history, arrays, weights) are compared and
    told, and decide nothing.

    The tolerances come from 267 networks of the reference that came out with other bits when a later release trained
    them again: test RMSEs moved by 0.014 standard deviations at most, and shares of three networks by more than 0.25.

    Weights are compared where both results have them; cost and provenance are not. NaN equals NaN. Measures of another
    revision are different, and no more is said of them.
    """
    if stored.key != again.key:
        raise ValueError(f"results of two runs cannot be compared: {stored.key[:12]} and {again.key[:12]}")
    pair = stored, again
    reasons, revisions = _reasons(stored, again), [result.measures.get("revision") for result in pair]
    renewed = revisions[0] != revisions[1] and (stored.outdated or again.outdated)
    weights = all(result.fresh is not None or result.path(".weights.safetensors").exists() for result in pair)
    before, after = (_values(result, renewed, weights) for result in pair)
    parts = [_part(key, before.get(key), after.get(key), stored.metrics) for key in before | after]
    versions = [result.provenance["versions"].get("mixnam") for result in pair]
    if versions[0] != versions[1]:  # a later version may keep more
        parts = [dataclasses.replace(part, decides=part.decides and part.before is not None) for part in parts]
    told = [f"measures of another revision: {revisions[0]} against {revisions[1]}"] if renewed else []
    return Comparison(tuple(parts), (*reasons, *told), elsewhere=bool(reasons))


def _reasons(stored: Result, again: Result) -> list[str]:
    """Return why bits may differ, a line each."""
    places: list[dict[str, Any]] = []
    for result in (stored, again):
        place = {name: result.provenance.get(name) for name in ("device", "threads")}
        places.append(place | {"stack": result.cost.get("stack")} | result.provenance["versions"])
    pairs = [(name, *(place.get(name) for place in places)) for name in places[0] | places[1]]
    found = [f"other {name}: {before} against {after}" for name, before, after in pairs if before != after]
    gpu = again.provenance.get("device_type", "cpu") != "cpu"
    return found or (["on a GPU, where bits may differ each time"] if gpu else [])


def _values(result: Result, renewed: bool, weights: bool) -> dict[tuple[str, ...], Any]:
    """Return what is compared, by kind and path; of measures of another revision no more than which."""
    # a library's models hold the same measures in all revisions
    measures = {k: v for k, v in result.measures.items() if (k == "revision") == renewed}
    whole = {"metric": result.metrics, "measure": measures, "history": result.history, "array": result.arrays}
    return dict(_leaves((), whole | ({"weights": result.weights} if weights else {})))


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield numbers, texts and arrays with their paths; None is NaN, as in the JSON."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves((*path, name), inner)
    elif isinstance(value, list):
        yield path, np.array(value, dtype=float)
    else:
        yield path, math.nan if value is None else value


def _part(key: tuple[str, ...], before: Any, after: Any, metrics: Mapping[str, Mapping[str, float | None]]) -> Part:
    """Compare one part, None where it is missing."""
    kind, group, last = key[0], key[1], key[-1]
    told = tuple(f"{v.dtype} {v.shape}" if isinstance(v, np.ndarray) else v for v in (before, after))
    distance, tolerance = _distance(before, after)
    decides = before is None or after is None or (kind, group) in (("metric", "test"), ("measure", "revision"))
    if kind == "metric" and last in METRICS:
        share, power = METRICS[last]
        tolerance = share * _deviation(metrics.get(group, {})) ** power
    elif kind == "measure" and group in SHARES and (isinstance(before, float) or isinstance(after, float)):
        tolerance, decides = SHARE, True
    same = distance == 0 and (told[0] == told[1] or not isinstance(before, np.ndarray))
    verdict = SAME if same else WITHIN if distance <= tolerance else DIFFERENT
    return Part(kind, ".".join(key[1:]), verdict, told[0], told[1], distance, tolerance, decides)


def _distance(before: Any, after: Any) -> tuple[float, float]:
    """Return the largest distance of two numbers at one place, and of how much rounding makes up.

    It is infinite where a part is missing, of another shape or text, or NaN in one alone.
    """
    if before is None or after is None or isinstance(before, str) or isinstance(after, str):
        return (0.0 if isinstance(before, str) and isinstance(after, str) and before == after else math.inf), 0.0
    a, b = (np.asarray(value, dtype=float) for value in (before, after))
    if a.shape != b.shape:
        return math.inf, 0.0
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    largest = np.abs(a).max(initial=0.0, where=np.isfinite(a))
    return float(np.nan_to_num(apart, nan=math.inf, posinf=math.inf).max(initial=0.0)), float(largest) * ROUNDING


def _deviation(metrics: Mapping[str, float | None]) -> float:
    """Return the target's standard deviation over a part's rows: R² is 1 − MSE / variance. 1 for a classification."""
    if "r2" not in metrics or "rmse" not in metrics:
        return 1.0
    error, share = metrics["rmse"], metrics["r2"]  # None, where there is none
    return error / math.sqrt(1 - share) if error is not None and share is not None and share < 1 else 0.0
