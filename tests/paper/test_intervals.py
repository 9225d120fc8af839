"""Intervals agree with those of other code and with cases worked out by hand."""

import math

import numpy as np
import pytest
from planted import result
from scipy import stats

from mixnam.paper import intervals
from mixnam.paper.intervals import Sample

OPEN = (-math.inf, math.inf)


def test_welch_is_scipys():
    a, b = np.random.default_rng(0).normal(0, [[1.0], [3.0]], (2, 7))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert intervals.welch(Sample.of(a), Sample.of(b)) == pytest.approx((expected.low, expected.high))


def test_welch_of_two_constants_is_their_difference():
    assert intervals.welch(Sample(2.0, 0.0, 5), Sample(1.0, 0.0, 5)) == (1.0, 1.0)


def test_welch_is_open_where_a_spread_is_unknown():
    assert intervals.welch(Sample(2.0, math.nan, 1), Sample(1.0, 0.1, 5)) == OPEN


def test_a_means_interval_is_students_or_what_is_known_of_it():
    values = np.random.default_rng(0).normal(0, 1, 6)
    expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert intervals.mean_interval(Sample.of(values)) == pytest.approx(expected)
    assert intervals.mean_interval(Sample.of([1.0])) == OPEN
    assert intervals.mean_interval(Sample(0.4, 0.1, 10)) == (0.4, 0.4)  # printed
    assert intervals.mean_interval(Sample(0.4, math.nan, 5, interval=(0.3, 0.6))) == (0.3, 0.6)


def test_nadeau_bengio_is_wider_than_the_plain_t_by_its_correction():
    differences = np.random.default_rng(1).normal(0.3, 0.1, 5)
    plain = stats.t.interval(0.95, 4, differences.mean(), differences.std(ddof=1) / math.sqrt(5))
    low, high = intervals.nadeau_bengio(differences, 0.25)
    assert (high - low) / (plain[1] - plain[0]) == pytest.approx(math.sqrt((1 / 5 + 0.25) / (1 / 5)))


def over(dataset, model, scores):
    """A sample of made-up results: `scores` by the number of the seed or fold."""
    results = tuple(result(dataset, model, seed, score) for seed, score in scores.items())
    return Sample.of(list(scores.values()), results)


def test_folds_are_paired_by_name_and_seeds_are_not_paired():
    ours = {0: 0.91, 1: 0.92, 2: 0.93, 3: 0.94, 4: 0.95}
    theirs = {4: 0.94, 3: 0.92, 2: 0.92, 1: 0.91}  # in another order, and one is lacking
    found = intervals.difference(over("income", "MixNAM", ours), over("income", "NAM", theirs), "income")
    differences = np.array([0.01, 0.01, 0.02, 0.01])
    assert found.n == 4
    assert found.mean == pytest.approx(differences.mean())
    assert found.interval == pytest.approx(intervals.nadeau_bengio(differences, intervals.share_tested("income")))
    a, b = over("housing", "MixNAM", ours), over("housing", "NAM", theirs)
    assert intervals.difference(a, b, "housing") == intervals.Difference(a.mean - b.mean, intervals.welch(a, b), 4)


def test_too_few_folds_leave_the_difference_open_and_print_has_none():
    one, other = over("income", "MixNAM", {0: 0.9, 1: 0.8}), over("income", "NAM", {1: 0.7, 2: 0.6})
    found = intervals.difference(one, other, "income")
    assert (found.mean, found.interval, found.n) == (pytest.approx(0.1), OPEN, 1)
    nothing = intervals.difference(over("income", "MixNAM", {0: 0.9}), over("income", "NAM", {1: 0.7}), "income")
    assert math.isnan(nothing.mean)
    assert (nothing.interval, nothing.n) == (OPEN, 0)
    printed = Sample(0.927, 0.003, 5), Sample(0.910, 0.003, 5)
    assert intervals.difference(*printed, "income").interval == intervals.welch(*printed)
