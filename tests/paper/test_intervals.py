"""Intervals agree with those of other code and with cases worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from mixnam.paper import verdicts
from mixnam.paper.verdicts import Sample


def sample(values):
    values = np.array(values, dtype=float)
    return Sample(values.mean(), values.std(ddof=1), len(values), values)


def test_welch_is_scipys():
    a, b = np.random.default_rng(0).normal(0, [[1.0], [3.0]], (2, 7))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert verdicts.welch(sample(a), sample(b)) == pytest.approx((expected.low, expected.high))


def test_welch_of_two_constants_is_their_difference():
    assert verdicts.welch(Sample(2.0, 0.0, 5), Sample(1.0, 0.0, 5)) == (1.0, 1.0)


def test_welch_is_open_where_a_spread_is_unknown():
    assert verdicts.welch(Sample(2.0, math.nan, 1), Sample(1.0, 0.1, 5)) == (-math.inf, math.inf)


def test_nadeau_bengio_is_wider_than_the_plain_t_by_its_correction():
    differences = np.random.default_rng(1).normal(0.3, 0.1, 5)
    plain = stats.t.interval(0.95, 4, differences.mean(), differences.std(ddof=1) / math.sqrt(5))
    low, high = verdicts.nadeau_bengio(differences, 0.25)
    assert (high - low) / (plain[1] - plain[0]) == pytest.approx(math.sqrt((1 / 5 + 0.25) / (1 / 5)))
