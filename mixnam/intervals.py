"""Intervals that verdicts rest on: over seeds, over folds, and over resampled test rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from mixnam import datasets
from mixnam.preprocessing import split_rows
from mixnam.results import Result

Values = NDArray[np.float64]
Interval = tuple[float, float]
_RESAMPLES = {"rmse": 2000, "mse": 2000, "auc": 400}


@dataclass(frozen=True)
class Sample:
    """A mean with its standard deviation over `n` seeds or folds, and the results it comes from.

    `interval`, where it is set, is the 95 % interval of a mean that no single run has: a statistic of
    several models' means.
    """

    mean: float
    sd: float
    n: int
    values: Values | None = None
    results: tuple[Result, ...] = ()
    interval: Interval | None = None

    @staticmethod
    def of(values: Sequence[float] | Values, results: tuple[Result, ...] = ()) -> Sample:
        """Summarise values; a single one has an unknown spread."""
        found = np.array(values, dtype=float)
        sd = float(found.std(ddof=1)) if len(found) > 1 else math.nan
        return Sample(float(found.mean()) if len(found) else math.nan, sd, len(found), found, results)


def mean_interval(sample: Sample) -> Interval:
    """Return the 95 % interval of a mean (Student); infinite for fewer than two values, a point for a printed mean."""
    if sample.interval is not None:
        return sample.interval
    if sample.values is None:
        return sample.mean, sample.mean
    if sample.n < 2:
        return -math.inf, math.inf
    reach = float(stats.t.ppf(0.975, sample.n - 1)) * sample.sd / math.sqrt(sample.n)
    return sample.mean - reach, sample.mean + reach


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
