"""Additivity: the share of a derivative's variance that a feature's own value determines. Equation (11).

It is the first-order Sobol' index of ∂ŷ/∂x_i. Each draw takes one row for the features' own values and a few rows for
the others, into which feature i's value is put, for every i. The variance of the mean slopes, less the part that so few
rows leave in it, is set over the whole variance (one-way analysis of variance with random effects); the influence of
each draw on the features' mean gives the standard error. Slopes are heavy-tailed: values are drawn, not taken from a
grid, until that error is small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mixnam import randomness

#: Values of x_i drawn at a time, rows that each is put into, and values drawn at most.
ROUND, BACKGROUNDS, MOST = 256, 8, 1 << 15
#: Drawing ends at this standard error, after two rounds at the earliest.
ERROR = 0.005
#: Takes values (N, n) and rows (N, m, n); returns each feature's slope with its value in these rows, (n, N, m).
Slopes = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Additivity:
    """The estimate for each feature, their mean with its standard error, and how many values were drawn."""

    per_feature: list[float]
    mean: float
    standard_error: float
    draws: int


def estimate(slopes: Slopes, x: Tensor, name: str, most: int = MOST) -> Additivity:
    """Return the additivity over the rows x, (rows, n), from at most `most` draws that `name` seeds.

    It is 1 for a feature whose slope varies with no other feature, exactly so where its slopes repeat bit for bit, and
    unbiased but for the ratio: it may lie a little below 0.
    """
    means, variances = list[Tensor](), list[Tensor]()
    found = Additivity([], float("nan"), float("inf"), 0)
    for number in range(max(2, most // ROUND)):
        key = randomness.key(0, f"additivity/{name}", number)
        drawn = randomness.uniform([key], ROUND * (1 + BACKGROUNDS), x.device).view(ROUND, 1 + BACKGROUNDS)
        rows = (drawn * len(x)).long()
        slope = slopes(x[rows[:, 0]], x[rows[:, 1:]]).double()
        means.append(slope.mean(dim=2))
        variances.append(slope.var(dim=2))
        found = share_of_means(torch.cat(means, dim=1), torch.cat(variances, dim=1))
        if number and found.standard_error <= ERROR:
            break
    return found


def share_of_means(means: Tensor, variances: Tensor) -> Additivity:
    """Return the share from each draw's mean and unbiased variance over its rows, both (n, N)."""
    centred = (means - means.mean(dim=1, keepdim=True)).square()
    between = centred - variances / BACKGROUNDS
    whole = centred + variances * (1 - 1 / BACKGROUNDS)
    total = whole.mean(dim=1, keepdim=True)
    # a constant derivative varies with no other feature
    constant = total <= 1e-12 * means.square().mean(dim=1, keepdim=True)
    total = total.masked_fill(constant, 1.0)
    share = (between.mean(dim=1, keepdim=True) / total).masked_fill(constant, 1.0)
    influence = ((between - share * whole) / total).masked_fill(constant, 0.0).mean(dim=0)
    error = float(influence.std()) / len(influence) ** 0.5
    return Additivity(share[:, 0].tolist(), float(share.mean()), error, means.shape[1])
