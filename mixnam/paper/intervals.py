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
from mixnam.data.splits import split_rows
from mixnam.runs.results import Result

Values = NDArray[np.float64]
Interval = tuple[float, float]
_RESAMPLES = {"rmse": 2000, "mse": 2000, "auc": 400}
_PART = 100  # resamples at a time


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
    dataset = catalogue.load(results[0].spec.dataset, download=False)
    scores = []
    for result in results:
        y = dataset.y[split_rows(dataset, result.spec.split, result.spec.seed).test]
        prediction = result.arrays["test_prediction"].astype(np.float64)
        scores.append(_row_scores(prediction.tobytes(), y.astype(np.float64).tobytes(), metric))
    mean: Values = np.mean(scores, axis=0)
    return mean


def row_bootstrap(a: Sequence[Result], b: Sequence[Result], metric: str) -> Interval:
    """Return the 95 % interval of score(a) − score(b) over resampled test rows of one split."""
    low, high = np.quantile(_mean_scores(a, metric) - _mean_scores(b, metric), [0.025, 0.975])
    return float(low), float(high)
