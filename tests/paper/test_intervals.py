"""Intervals agree with those of other code and with cases worked out by hand."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from planted import on_split, result
from scipy import stats
from sklearn.metrics import roc_auc_score

from mixnam.data.splits import FOLDS, REPEATS
from mixnam.paper import intervals
from mixnam.paper.intervals import Sample

OPEN = (-math.inf, math.inf)


def test_over_seeds_a_difference_is_scipys_welch():
    a, b = np.random.default_rng(0).normal(0, [[1.0], [3.0]], (2, 7))
    expected = stats.ttest_ind(a, b, equal_var=False)
    found = intervals.difference(Sample.of(a), Sample.of(b), "housing")
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.freedom == pytest.approx(expected.df)
    assert found.chance_above(0) == pytest.approx(stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue)
    assert found.chance_below(0.3) == pytest.approx(1 - found.chance_above(0.3))


def test_a_difference_of_two_constants_is_exact_and_open_where_a_spread_is_unknown():
    exact = intervals.difference(Sample(2.0, 0.0, 5), Sample(1.0, 0.0, 5), "housing")
    assert exact.interval == (1.0, 1.0)
    assert (exact.chance_above(0.5), exact.chance_above(1.0), exact.chance_below(1.0)) == (0, 1, 1)
    unknown = intervals.difference(Sample(2.0, math.nan, 1), Sample(1.0, 0.1, 5), "housing")
    assert (unknown.interval, unknown.chance_above(-9.0)) == (OPEN, 1)


def test_a_means_interval_is_students_or_what_is_known_of_it():
    values = np.random.default_rng(0).normal(0, 1, 6)
    expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert intervals.mean_of(Sample.of(values)).interval == pytest.approx(expected)
    assert intervals.mean_of(Sample.of([1.0])).interval == OPEN
    assert intervals.mean_of(Sample(0.4, 0.1, 10)).interval == (0.4, 0.4)  # printed
    known = intervals.mean_of(Sample(0.4, math.nan, 5, interval=(0.3, 0.6)))
    assert [known.chance_above(x) for x in (0.2, 0.3, 0.5)] == [0, 1, 1]
    assert [known.chance_below(x) for x in (0.5, 0.6, 0.7)] == [1, 1, 0]


def test_rows_add_their_variance_and_satterthwaite_weighs_the_degrees_of_freedom():
    scores = np.random.default_rng(2).normal(0.5, 0.01, (2, 5))
    a, b = (over("housing", model, dict(enumerate(s))) for model, s in zip(("MixNAM", "NAM"), scores, strict=True))
    parts = [(s.var(ddof=1) / 5, 4) for s in scores] + [(0.03**2, 4127)]
    found = intervals.difference(a, b, "housing", "rmse", lambda *_: parts[-1])
    total = sum(v for v, _ in parts)
    assert found.error == pytest.approx(math.sqrt(total))
    assert found.freedom == pytest.approx(total**2 / sum(v**2 / f for v, f in parts))
    without = intervals.difference(a, b, "housing")
    assert without.error == pytest.approx(math.sqrt(total - parts[-1][0]))


def predicting(predictions, y):
    """Results of several seeds that hold these predictions of the targets y."""
    return [Planted({"test_prediction": p.astype(np.float32)}, y) for p in predictions]


@dataclass
class Planted:
    """What the variance over rows reads of a result."""

    arrays: dict
    targets: np.ndarray


def test_the_variance_over_rows_is_that_of_resampled_rows():
    rng = np.random.default_rng(3)
    y = {"rmse": rng.normal(size=300), "mse": rng.normal(size=300), "auc": (rng.random(300) < 0.3).astype(float)}
    for metric, target in y.items():
        sides = [target + rng.normal(0, sd, (2, 300)) for sd in (0.6, 0.8)]  # two seeds of two models
        variance, freedom = intervals.row_variance(*(predicting(s, target) for s in sides), metric)

        def score(predictions, rows, metric=metric, target=target):
            if metric == "auc":
                return np.mean([roc_auc_score(target[rows], p[rows]) for p in predictions])
            mse = np.mean((predictions[:, rows] - target[rows]) ** 2, axis=1)
            return np.mean(np.sqrt(mse) if metric == "rmse" else mse)

        drawn = [rng.integers(300, size=300) for _ in range(250)]
        differences = [score(sides[0], rows) - score(sides[1], rows) for rows in drawn]
        assert math.sqrt(variance) == pytest.approx(np.std(differences), rel=0.15)
        assert freedom == {"auc": min((target == k).sum() for k in (0, 1)) - 1}.get(metric, 299)


def test_without_predictions_no_variance_over_rows_is_known():
    y = np.arange(5.0)
    secret = [Planted({}, y)]
    assert intervals.row_variance(secret, predicting([y], y), "rmse") == (0.0, math.inf)


def test_the_variance_over_rows_of_an_auc_is_delongs():
    rng = np.random.default_rng(4)
    y = (rng.random(40) < 0.4).astype(float)
    scores = rng.integers(0, 6, (2, 40)) + y  # with ties
    wins = [np.where(d > 0, 1.0, np.where(d == 0, 0.5, 0.0)) for d in (s[y == 1][:, None] - s[y == 0] for s in scores)]
    off = wins[0] - wins[1]  # (positives, negatives)
    expected = off.mean(axis=1).var(ddof=1) / off.shape[0] + off.mean(axis=0).var(ddof=1) / off.shape[1]
    assert intervals.row_variance(*(predicting([s], y) for s in scores), "auc")[0] == pytest.approx(expected)


def over(dataset, model, scores):
    """A sample of made-up results: `scores` by the number of the seed or fold."""
    results = tuple(result(dataset, model, seed, score) for seed, score in scores.items())
    return Sample.of(list(scores.values()), results)


def split_over(dataset, model, scores):
    """A sample of made-up results: `scores` by the name of the fold."""
    results = tuple(on_split(result(dataset, model, 0, score), split) for split, score in scores.items())
    return Sample.of(list(scores.values()), results)


def test_folds_are_paired_by_name_and_seeds_are_not_paired():
    ours = {0: 0.91, 1: 0.92, 2: 0.93, 3: 0.94, 4: 0.95}
    theirs = {4: 0.94, 3: 0.92, 2: 0.92, 1: 0.91}  # in another order, and one is lacking
    found = intervals.difference(over("income", "MixNAM", ours), over("income", "NAM", theirs), "income")
    differences = np.array([0.01, 0.01, 0.02, 0.01])
    plain = stats.t.interval(0.95, 3, differences.mean(), differences.std(ddof=1) / 2)
    assert (found.n, found.mean, found.freedom) == (4, pytest.approx(differences.mean()), 3)
    # Nadeau and Bengio: wider than the plain t by test rows over training rows
    wider = math.sqrt((1 / 4 + intervals.share_tested("income")) / (1 / 4))
    assert found.interval[1] - found.mean == pytest.approx(wider * (plain[1] - found.mean))
    a, b = over("housing", "MixNAM", ours), over("housing", "NAM", theirs)
    assert intervals.difference(a, b, "housing").mean == a.mean - b.mean


def test_too_few_folds_leave_the_difference_open_and_print_has_none():
    one, other = over("income", "MixNAM", {0: 0.9, 1: 0.8}), over("income", "NAM", {1: 0.7, 2: 0.6})
    found = intervals.difference(one, other, "income")
    assert (found.mean, found.interval, found.n) == (pytest.approx(0.1), OPEN, 1)
    nothing = intervals.difference(over("income", "MixNAM", {0: 0.9}), over("income", "NAM", {1: 0.7}), "income")
    assert math.isnan(nothing.mean)
    assert (nothing.interval, nothing.n) == (OPEN, 0)
    printed = Sample(0.927, 0.003, 5), Sample(0.910, 0.003, 5)
    assert intervals.difference(*printed, "income").freedom == pytest.approx(8)


def test_over_three_partitions_it_is_the_spread_of_their_means_and_test_rows():
    rng = np.random.default_rng(5)
    names = [*FOLDS, *REPEATS]
    scores, models = 0.9 + rng.normal(0, 0.01, (2, 15)), ("MixNAM", "NAM")
    a, b = (
        split_over("income", m, dict(zip(names, s, strict=True)))
        for m, s in zip(("MixNAM", "NAM"), scores, strict=True)
    )
    means = (scores[0] - scores[1]).reshape(3, 5).mean(axis=1)
    found = intervals.difference(a, b, "income")
    assert (found.n, found.freedom) == (15, 2)
    assert found.interval == pytest.approx(stats.t.interval(0.95, 2, means.mean(), stats.sem(means)))
    with_rows = intervals.difference(a, b, "income", "auc", lambda *_: (0.004**2, 100))
    assert with_rows.error == pytest.approx(math.hypot(found.error, math.sqrt(0.004**2 / 5)))
    # print is one more partition of the same rows
    ours = scores[0].reshape(3, 5).mean(axis=1)
    beside = intervals.difference(a, Sample(0.9, 0.003, 5), "income")
    assert (beside.mean, beside.freedom) == (pytest.approx(ours.mean() - 0.9), 2)
    assert beside.error == pytest.approx(ours.std(ddof=1) * math.sqrt(1 + 1 / 3))
    # two whole partitions have too few means: the own folds decide, as if there were no others
    fewer = split_over("income", "NAM", dict(zip(names[:14], scores[1], strict=False)))
    own = [over("income", m, dict(enumerate(s[:5]))) for m, s in zip(models, scores, strict=True)]
    assert intervals.difference(a, fewer, "income") == intervals.difference(*own, "income")


def test_of_credentialed_data_which_hold_no_predictions_the_own_folds_decide():
    rng = np.random.default_rng(7)
    names, scores = [*FOLDS, *REPEATS], 0.8 + rng.normal(0, 0.01, (2, 15))
    sides = [
        split_over("mimic2", m, dict(zip(names, s, strict=True)))
        for m, s in zip(("MixNAM", "NAM"), scores, strict=True)
    ]
    for side in sides:
        for one in side.results:
            one.arrays.pop("test_prediction", None)
    own = [over("mimic2", m, dict(enumerate(s[:5]))) for m, s in zip(("MixNAM", "NAM"), scores, strict=True)]
    assert intervals.difference(*sides, "mimic2", "auc") == intervals.difference(*own, "mimic2", "auc")
    assert intervals.difference(*sides, "mimic2").freedom == 2  # what is no score of rows needs none


def test_the_interval_of_a_bounded_number_stays_within_its_bounds():
    for scale, values, inside in [
        (intervals.SHARE, [0.999, 0.9995, 0.97, 1.0, 0.998], (0, 1)),
        (intervals.CORRELATION, [-1.0, -0.8, -1.0, -0.4, -0.9], (-1, 1)),
        (intervals.EXPLAINED, [0.97, 0.98, 0.96, 0.97, -0.07], (-math.inf, 1)),
    ]:
        found = intervals.mean_of(Sample.of(values), scale)
        low, high = found.interval
        assert inside[0] < low < high < inside[1]
        assert intervals.mean_of(Sample.of(values)).interval[1] > 1 or scale is intervals.CORRELATION
        # the chance belongs to the interval: at its ends it is that of a 95 % interval
        assert found.chance_above(low) == pytest.approx(0.025)
        assert found.chance_below(high) == pytest.approx(0.025)
    straight = intervals.mean_of(Sample.of([-1.0, -0.8, -1.0, -0.4, -0.9])).interval
    assert straight[0] < -1


def test_the_interval_of_one_more_run_holds_it():
    rng = np.random.default_rng(6)
    held = []
    for _ in range(500):
        low, high = intervals.of_one_more(Sample.of(rng.normal(0.5, 0.02, 5)))
        held.append(low <= rng.normal(0.5, 0.02) <= high)
    assert 0.93 < np.mean(held) < 0.97


def test_scales_lead_back_to_where_they_came_from():
    for scale, values in [
        (intervals.SHARE, [0.01, 0.5, 0.999]),
        (intervals.CORRELATION, [-0.99, 0.0, 0.4]),
        (intervals.EXPLAINED, [-3.0, 0.0, 0.99, 1e-12]),
    ]:
        assert [scale.back(scale.to(v)) for v in values] == pytest.approx(values)
