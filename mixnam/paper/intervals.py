"""Intervals that verdicts rest on: over seeds, over folds, and over resampled test rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT
from mixnam.runs.results import Result

Values = NDArray[np.float64]
Interval = tuple[float, float]
UNKNOWN: Interval = (-math.inf, math.inf)
_RESAMPLES = {"rmse": 2000, "mse": 2000, "auc": 400}
_PART = 100  # resamples at a time


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

    @property
    def by_split(self) -> dict[str, float]:
        """The values by the name of their result's split."""
        values = () if self.values is None else self.values
        return {r.spec.split: float(value) for r, value in zip(self.results, values, strict=True)}


@dataclass(frozen=True)
class Difference:
    """The difference of two samples' means with its 95 % interval; `n` counts the second's runs or shared folds."""

    mean: float
    interval: Interval
    n: int


def _student(mean: float, variance: float, freedom: float) -> Interval:
    reach = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    return mean - reach, mean + reach


def mean_interval(sample: Sample) -> Interval:
    """Return the 95 % interval of a mean (Student); infinite for fewer than two values, a point for a printed mean."""
    if sample.interval is not None:
        return sample.interval
    if sample.values is None:
        return sample.mean, sample.mean
    return UNKNOWN if sample.n < 2 else _student(sample.mean, sample.sd**2 / sample.n, sample.n - 1)


def welch(a: Sample, b: Sample) -> Interval:
    """Return the 95 % interval of mean(a) − mean(b) (Welch); infinite where a spread is unknown."""
    if min(a.n, b.n) < 2:
        return UNKNOWN
    parts = [s.sd**2 / s.n for s in (a, b)]
    total, difference = sum(parts), a.mean - b.mean
    if total == 0:
        return difference, difference
    freedom = total**2 / sum(p**2 / (s.n - 1) for p, s in zip(parts, (a, b), strict=True))
    return _student(difference, total, freedom)


def nadeau_bengio(differences: Values, test_share: float) -> Interval:
    """Return the 95 % interval of a mean difference over folds, by the corrected resampled t.

    `test_share` is test rows over training rows (Nadeau and Bengio 2003).
    """
    n = len(differences)
    variance = float(differences.var(ddof=1)) * (1 / n + test_share)
    return _student(float(differences.mean()), variance, n - 1)


def share_tested(dataset: str) -> float:
    """Return the test rows of a fold over its training rows, of which a fifth are kept for validation.

    >>> round(share_tested("income"), 4)
    0.3125
    """
    folds = len(catalogue.entry(dataset).splits)
    return (1 / folds) / ((1 - 1 / folds) * 0.8)


def difference(a: Sample, b: Sample, dataset: str) -> Difference:
    """Return mean(a) − mean(b) on a data set: over seeds by Welch, over folds of the shared ones, paired by name.

    Printed means, which have no results, are compared by Welch. The mean is NaN where no fold is shared, the interval
    infinite where fewer than two are.
    """
    if not a.results or not b.results or catalogue.entry(dataset).splits == HOLDOUT:
        return Difference(a.mean - b.mean, welch(a, b), b.n)
    ours, theirs = a.by_split, b.by_split
    differences = np.array([value - theirs[split] for split, value in ours.items() if split in theirs])
    if len(differences) < 2:
        return Difference(float(differences[0]) if len(differences) else math.nan, UNKNOWN, len(differences))
    interval = nadeau_bengio(differences, share_tested(dataset))
    return Difference(float(differences.mean()), interval, len(differences))


@lru_cache(maxsize=4)
def _weights(rows: int, resamples: int) -> NDArray[np.uint8]:
    """Return how often each resample has each row; drawn in parts, for the sake of memory."""
    generator, share = np.random.default_rng(0), np.full(rows, 1 / rows)
    parts = [generator.multinomial(rows, share, min(_PART, resamples - k)) for k in range(0, resamples, _PART)]
    return np.concatenate([part.astype(np.uint8) for part in parts])


@lru_cache(maxsize=256)
def _row_scores(prediction: bytes, y: bytes, metric: str) -> Values:
    """Return one result's score for each resample: (resamples,). Takes bytes, so that it is remembered."""
    predicted, target = np.frombuffer(prediction), np.frombuffer(y)
    scores = []
    weights = _weights(len(target), _RESAMPLES[metric])
    for k in range(0, len(weights), _PART):
        w = weights[k : k + _PART].astype(np.float64)
        if metric == "auc":
            scores += [roc_auc_score(target, predicted, sample_weight=row) for row in w]
        else:
            mse = w @ (predicted - target) ** 2 / w.sum(axis=1)
            scores += [*(np.sqrt(mse) if metric == "rmse" else mse)]
    return np.array(scores)


def _mean_scores(results: Sequence[Result], metric: str) -> Values:
    """Return the mean score over results for each resample."""
    predictions = [result.arrays["test_prediction"].astype(np.float64) for result in results]
    pairs = zip(predictions, (result.targets for result in results), strict=True)
    mean: Values = np.mean([_row_scores(p.tobytes(), y.tobytes(), metric) for p, y in pairs], axis=0)
    return mean


def row_bootstrap(a: Sequence[Result], b: Sequence[Result], metric: str) -> Interval:
    """Return the 95 % interval of score(a) − score(b) over resampled test rows of one split."""
    low, high = np.quantile(_mean_scores(a, metric) - _mean_scores(b, metric), [0.025, 0.975])
    return float(low), float(high)
