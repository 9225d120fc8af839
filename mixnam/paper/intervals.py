"""Estimates that verdicts rest on: a number with its standard error over seeds, folds and test rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT, partition
from mixnam.runs.results import Result

Values = NDArray[np.float64]
Interval = tuple[float, float]
#: The chance of a false verdict to either side: the ends of a 95 % interval.
LEVEL = 0.025
LEAST_PARTITIONS = 3  # whose means have a spread
_POWER = 0.8


@dataclass(frozen=True)
class Sample:
    """A mean with its standard deviation over `n` seeds or folds, and the results it comes from.

    `interval`, where it is set, is the 95 % interval of a mean that no single run has: a statistic of several
    models' means.
    """

    mean: float
    sd: float
    n: int
    values: Values | None = None
    results: tuple[Result, ...] = ()
    interval: Interval | None = None

    @staticmethod
    def of(values: Sequence[float] | Values, results: tuple[Result, ...] = ()) -> Sample:
        """Summarise values, one a result where these are given; the spread of a single value is unknown."""
        found = np.array(values, dtype=float)
        sd = float(found.std(ddof=1)) if len(found) > 1 else math.nan
        return Sample(float(found.mean()) if len(found) else math.nan, sd, len(found), found, results)

    def without(self, left_out: Collection[str]) -> Sample:
        """Return the sample without the values that rest on results of these keys; whole where there are no values."""
        if self.values is None or not self.n:
            return self
        size = len(self.results) // self.n  # of a joint measure each value rests on several results
        groups = [self.results[k * size : (k + 1) * size] for k in range(self.n)]
        kept = [k for k, group in enumerate(groups) if not any(result.key in left_out for result in group)]
        return Sample.of(self.values[kept], tuple(result for k in kept for result in groups[k]))

    @property
    def by_split(self) -> dict[str, float]:
        """The values by the name of their result's split, each the mean of that split's."""
        found: dict[str, list[float]] = {}
        for result, value in zip(self.results, () if self.values is None else self.values, strict=True):
            found.setdefault(result.spec.split, []).append(float(value))
        return {split: float(np.mean(values)) for split, values in found.items()}

    @property
    def partitions(self) -> list[dict[str, float]]:
        """The values by split, partition by partition of the rows into folds, the data set's own first."""
        found: dict[str, dict[str, float]] = {"": {}}
        for split, value in self.by_split.items():
            found.setdefault(partition(split), {})[split] = value
        return [*found.values()]


@dataclass(frozen=True)
class Scale:
    """A scale on which a bounded number varies about evenly: `to` leads there, `back` from there.

    Values beyond `ends`, where the scale runs to infinity, count as the ends.
    """

    to: Callable[[float], float]
    back: Callable[[float], float]
    ends: Interval = (-math.inf, math.inf)

    def within(self, number: float) -> float:
        """Return a number, or the end that it lies beyond."""
        return float(np.clip(number, *self.ends))


LINEAR = Scale(float, float)
#: Shares, from 0 to 1: the logit.
SHARE = Scale(lambda x: float(special.logit(x)), lambda z: float(special.expit(z)), (1e-6, 1 - 1e-6))
#: Correlations: Fisher's z.
CORRELATION = Scale(lambda r: float(special.logit((1 + r) / 2)) / 2, math.tanh, (-0.999, 0.999))
#: Explained shares of a variance, at most 1 and below 0 where a constant explains more: the logarithm of the rest.
EXPLAINED = Scale(lambda x: -float(special.log1p(-x)), lambda z: -float(special.expm1(-z)), (-math.inf, 1 - 1e-6))


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and degrees of freedom (Student) on a scale, from `n` runs or shared folds.

    `mean` and `error` are on the scale, limits and the interval in the number's own units. The error is infinite
    where it is not known. `known` is an interval that was found by resampling instead.
    """

    mean: float
    error: float
    freedom: float = math.inf
    n: int = 0
    known: Interval | None = None
    scale: Scale = LINEAR

    @property
    def interval(self) -> Interval:
        """The 95 % interval."""
        if self.known is not None:
            return self.known
        if not math.isfinite(self.error):
            return -math.inf, math.inf
        reach = float(stats.t.ppf(1 - LEVEL, self.freedom)) * self.error
        return self.scale.back(self.mean - reach), self.scale.back(self.mean + reach)

    def chance_above(self, limit: float) -> float:
        """Return the one-sided p-value of the number lying above a limit: small where it surely does."""
        return self._chance(limit, 1)

    def chance_below(self, limit: float) -> float:
        """Return the one-sided p-value of the number lying below a limit."""
        return self._chance(limit, -1)

    def _chance(self, limit: float, side: int) -> float:
        if self.known is not None:
            return float(not min(side * end for end in self.known) > side * limit)
        off = side * (self.mean - self.scale.to(limit))
        if self.error == 0:
            return float(not off > 0)
        if not math.isfinite(self.error) or math.isnan(off):
            return 1.0
        return float(stats.t.sf(off / self.error, self.freedom))

    def detectable(self, limit: float) -> float:
        """Return the smallest distance from a limit that so exact an estimate tells apart with a power of 80 %."""
        if self.known is not None:
            low, high = self.known
            reach = (high - low) / 2 * (1 + stats.norm.ppf(_POWER) / stats.norm.ppf(1 - LEVEL))
        else:
            reach = float(sum(stats.t.ppf([1 - LEVEL, _POWER], self.freedom))) * self.error
        start = self.scale.to(self.scale.within(limit))
        return abs(self.scale.back(start + math.copysign(reach, self.mean - start)) - limit)

    def turned(self, side: int) -> Estimate:
        """Return a difference times `side`, 1 or -1."""
        return dataclasses.replace(self, mean=side * self.mean)


def _sum(mean: float, parts: Iterable[tuple[float, float]], n: int) -> Estimate:
    """Return an estimate whose variance is a sum of (variance, degrees of freedom), by Satterthwaite's formula."""
    kept = [(variance, freedom) for variance, freedom in parts if variance != 0]
    total = sum(variance for variance, _ in kept)
    if not math.isfinite(total):
        return Estimate(mean, math.inf, n=n)
    if not kept:
        return Estimate(mean, 0.0, n=n)
    return Estimate(mean, math.sqrt(total), total**2 / sum(v**2 / f for v, f in kept), n)


def _over_runs(sample: Sample) -> tuple[float, float]:
    """Return the variance of a sample's mean over its seeds or folds, and its degrees of freedom."""
    return (sample.sd**2 / sample.n, sample.n - 1) if sample.n > 1 else (math.inf, 0)


def mean_of(sample: Sample, scale: Scale = LINEAR) -> Estimate:
    """Return a sample's mean over seeds or folds on a scale; a printed mean, which has no values here, is exact."""
    if sample.interval is not None:
        return Estimate(sample.mean, math.nan, n=sample.n, known=sample.interval)
    if sample.values is None:
        return Estimate(scale.to(scale.within(sample.mean)), 0.0, n=sample.n, scale=scale)
    moved = Sample.of([scale.to(scale.within(value)) for value in sample.values])
    return dataclasses.replace(_sum(moved.mean, [_over_runs(moved)], moved.n), scale=scale)


def of_one_more(sample: Sample, scale: Scale = LINEAR) -> Interval:
    """Return where one more run falls in 95 of 100 cases: the prediction interval of a single value."""
    one = mean_of(sample, scale)
    return dataclasses.replace(one, error=one.error * math.sqrt(sample.n + 1)).interval


def share_tested(dataset: str) -> float:
    """Return the test rows of a fold over its training rows, of which a fifth are kept for validation; of a holdout.

    >>> round(share_tested("income"), 4), round(share_tested("housing"), 4)
    (0.3125, 0.2857)
    """
    if catalogue.entry(dataset).splits == HOLDOUT:
        return 0.2 / 0.7
    folds = len(catalogue.entry(dataset).splits)
    return (1 / folds) / ((1 - 1 / folds) * 0.8)


RowVariance = Callable[[Sequence[Result], Sequence[Result], str], tuple[float, float]]


def difference(a: Sample, b: Sample, dataset: str, metric: str = "", rows: RowVariance | None = None) -> Estimate:
    """Return mean(a) − mean(b) on a data set.

    Over seeds of one split the variance is that over seeds and, where `metric` names a test score, over test rows
    (`rows`, by default `row_variance`). Over folds it is that of the differences on shared folds, by the corrected
    resampled t (Nadeau and Bengio 2003), and so it is over several holdouts, and over all folds of other partitions
    where the data set's own are not there (Bouckaert and Frank 2004). Over three partitions into folds or more it is
    that of the partitions' means, and over test rows, which scores of credentialed data lack: there the data set's own
    folds decide. The mean is NaN where
    no fold is shared; the error is infinite where fewer than two runs are.
    Printed means, which have no results, vary over their seeds alone; beside several partitions of ours they are one
    more.
    """
    rows, folds = rows or row_variance, catalogue.entry(dataset).splits
    one_split = len({result.spec.split for result in (*a.results, *b.results)}) < 2
    if (folds == HOLDOUT and one_split) or not a.results:
        parts = [_over_runs(a), _over_runs(b)]
        if metric and a.results and b.results:
            parts.append(rows(a.results, b.results, metric))
        return _sum(a.mean - b.mean, parts, b.n)
    if not b.results:
        found = [part for part in a.partitions if len(part) == len(folds)]
        if len(found) < LEAST_PARTITIONS:
            own = Sample.of([*a.partitions[0].values()])
            return _sum(own.mean - b.mean, [_over_runs(own), _over_runs(b)], b.n)
        mean, variance, freedom = _over_partitions(found)
        return _sum(mean - b.mean, [(variance * (1 + len(found)), freedom)], a.n)
    theirs = b.by_split
    shared = [{split: v - theirs[split] for split, v in part.items() if split in theirs} for part in a.partitions]
    whole = [part for part in shared if len(part) == len(folds)]
    if folds != HOLDOUT and len(whole) >= LEAST_PARTITIONS and not (metric and catalogue.credentialed(dataset)):
        mean, variance, freedom = _over_partitions(whole)
        by_row = [_fold_rows(a, b, whole, metric, rows)] if metric else []
        return _sum(mean, [(variance, freedom), *by_row], sum(map(len, whole)))
    values = np.array([*shared[0].values()] or [value for part in shared for value in part.values()])
    return over_folds(values, share_tested(dataset))


def over_folds(differences: Values, tested: float) -> Estimate:
    """Return the mean of differences on shared folds, by the corrected resampled t (Nadeau and Bengio 2003).

    `tested` is the number of a fold's test rows over that of its training rows.
    """
    n = len(differences)
    variance = float(differences.var(ddof=1)) * (1 / n + tested) if n > 1 else math.inf
    return _sum(float(differences.mean()) if n else math.nan, [(variance, n - 1)], n)


def _over_partitions(found: Sequence[Mapping[str, float]]) -> tuple[float, float, float]:
    """Return the mean of partitions' means, its variance over partitions, and its degrees of freedom."""
    means = np.array([np.mean([*part.values()]) for part in found])
    return float(means.mean()), float(means.var(ddof=1)) / len(means), len(means) - 1


def _fold_rows(
    a: Sample, b: Sample, whole: Sequence[Mapping[str, float]], metric: str, rows: RowVariance
) -> tuple[float, float]:
    """Return the variance of a difference of cross-validation means over test rows, each tested once a partition."""
    one, other = ({r.spec.split: r for r in sample.results} for sample in (a, b))
    found = [[rows([one[split]], [other[split]], metric) for split in part] for part in whole]
    variance = np.mean([sum(v for v, _ in part) / len(part) ** 2 for part in found])
    return float(variance), sum(freedom for _, freedom in found[0])


def row_variance(a: Sequence[Result], b: Sequence[Result], metric: str) -> tuple[float, float]:
    """Return the variance of score(a) − score(b) over test rows of one split, and its degrees of freedom.

    Scores are means over the results of each side, which share their test rows. It is the variance of each row's
    influence on the difference: DeLong's for the AUC, the delta method's for RMSE and MSE. Of credentialed data no
    predictions are stored, and no variance is known: 0.
    """
    if not all("test_prediction" in result.arrays for result in (*a, *b)):
        return 0.0, math.inf
    y = a[0].targets
    ours, theirs = ([_influence(r.arrays["test_prediction"], y, metric) for r in side] for side in (a, b))
    found = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    if metric != "auc":
        return float(found.var(ddof=1)) / len(y), len(y) - 1
    classes = [found[y == label] for label in (0, 1)]
    return sum(float(part.var(ddof=1)) / len(part) for part in classes), min(map(len, classes)) - 1


def _influence(prediction: NDArray[np.float32], y: Values, metric: str) -> Values:
    """Return each row's influence on a score, up to a constant: (rows,)."""
    if metric == "auc":  # the share of the other class that a row is on the right side of
        score, placed = prediction.astype(float), np.empty(len(y))
        for label in (0, 1):
            own, others = y == label, np.sort(score[y != label])
            below = np.searchsorted(others, score[own], "left") + np.searchsorted(others, score[own], "right")
            share = below / (2 * len(others))
            placed[own] = share if label == 1 else 1 - share
        return placed
    squares: Values = (prediction.astype(float) - y) ** 2
    return squares / (2 * math.sqrt(squares.mean() or 1.0)) if metric == "rmse" else squares
