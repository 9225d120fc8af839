"""Additivity and its standard error, held against the definition taken slowly and against each other."""

import itertools

import naive
import numpy as np
import pytest
import torch
from every import every
from explained import CASES, DIAGONAL, MLP, explained, table

from mixnam.explain import additivity
from mixnam.explain.additivity import BACKGROUNDS, ROUND, estimate, share_of_means
from mixnam.explain.measures import Explainer
from mixnam.models import MixNAMESettings, MixNAMSettings, NA2MSettings, NAMSettings


def draws(x, count, size, seed=1):
    chosen = torch.randint(len(x), (count, 1 + size), generator=torch.Generator().manual_seed(seed))
    return x[chosen[:, 0]], x[chosen[:, 1:]]


@every("cells", [1, 1 << 20])
@every("case", CASES)
def test_slopes_equal_brute_force(build, case, cells):
    x = table()
    explainer, outputs = explained(build, CASES[case], x)
    explainer.together = cells
    values, rows = draws(x, 12, 5)
    found = explainer.slopes(values, rows)
    assert found.shape == (3, 12, 5)
    for i in range(3):
        mixed = rows.clone()
        mixed[..., i] = values[:, i : i + 1]
        leaf = mixed.flatten(0, 1).requires_grad_(True)
        expected = torch.autograd.grad(outputs(leaf).prediction.sum(), leaf)[0][:, i].view(12, 5)
        torch.testing.assert_close(found[i], expected)


@every("settings", [MLP, NA2MSettings(hidden=(4,)), CASES["sparse"]])
def test_slopes_of_a_prediction_equal_brute_force(build, settings):
    x = table()
    explainer, outputs = explained(build, settings, x)
    values, rows = draws(x, 12, 5)
    found = Explainer.slopes(explainer, values, rows)
    for i, (draw, row) in itertools.product(range(3), itertools.product(range(12), range(5))):
        leaf = naive.replaced(rows[draw, row : row + 1], i, values[draw, i]).requires_grad_(True)
        expected = torch.autograd.grad(outputs(leaf).prediction.sum(), leaf)[0][0, i]
        torch.testing.assert_close(found[i, draw, row], expected)


def test_the_share_is_that_of_an_analysis_of_variance():
    slopes = np.random.default_rng(0).gamma(0.5, size=(2, 40, BACKGROUNDS))
    slopes += np.random.default_rng(1).normal(size=(2, 40, 1))
    found = share_of_means(torch.tensor(slopes.mean(axis=2)), torch.tensor(slopes.var(axis=2, ddof=1)))
    shares = []
    for feature in slopes:
        within = np.mean([np.var(draw, ddof=1) for draw in feature])
        between = np.var(feature.mean(axis=1)) - within / BACKGROUNDS
        shares.append(between / (between + within))
    assert found.per_feature == pytest.approx(shares)
    assert found.mean == pytest.approx(np.mean(shares))
    assert found.draws == 40


def test_the_standard_error_is_that_of_leaving_out_each_draw():
    means = torch.randn(3, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variances = torch.rand(3, 400, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4
    found = share_of_means(means, variances)
    kept = [[j for j in range(400) if j != i] for i in range(400)]
    without = [share_of_means(means[:, k], variances[:, k]).mean for k in kept]
    jackknife = np.sqrt(399 / 400 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert found.standard_error == pytest.approx(jackknife, rel=0.01)


def test_a_derivative_that_nothing_changes_is_additive():
    constant = share_of_means(torch.full((2, 10), 0.7), torch.zeros(2, 10))
    assert (constant.per_feature, constant.mean, constant.standard_error) == ([1.0, 1.0], 1.0, 0.0)
    flat = share_of_means(torch.zeros(1, 10), torch.zeros(1, 10))
    assert (flat.mean, flat.standard_error) == (1.0, 0.0)


@every("case", [c for c in CASES if c != "one_active"])
def test_the_estimate_is_that_of_all_values_in_all_rows(build, case):
    x = table()
    explainer, outputs = explained(build, CASES[case], x)

    def predict(rows):
        return outputs(rows).prediction[0]

    found = explainer.additivity()
    whole = [naive.additivity(predict, x, x[:, i], i) for i in range(3)]
    assert case in DIAGONAL or 0 < np.mean(whole) < 0.99
    assert found.standard_error <= additivity.ERROR
    assert found.mean == pytest.approx(np.mean(whole), abs=4.5 * found.standard_error + 1e-9)


def test_the_stated_error_is_the_spread_over_disjoint_draws(build, monkeypatch):
    monkeypatch.setattr(additivity, "ERROR", 0.02)
    x = table(500).float()
    found = []
    for number in range(20):
        explainer, _ = explained(build, CASES["sparse"], x)
        explainer.name = f"draw {number}"
        found.append(explainer.additivity())
    assert len({one.mean for one in found}) == 20
    spread = np.std([one.mean for one in found], ddof=1)
    assert 0.7 < spread / np.mean([one.standard_error for one in found]) < 1.4
    for a, b in itertools.combinations(found, 2):
        assert abs(a.mean - b.mean) < 4.5 * np.hypot(a.standard_error, b.standard_error)


@every("dtype", [torch.float32, torch.float64])
@every(
    "settings",
    [
        NAMSettings(hidden=(8, 6)),
        MixNAMSettings(layers=2, width=6, experts=1, active_experts=1),
        MixNAMESettings(layers=2, width=6, experts=1, active_experts=1),
    ],
)
def test_slopes_that_repeat_have_additivity_1_exactly(build, settings, dtype):
    explainer, _ = explained(build, settings, table().to(dtype))
    found = explainer.additivity()
    assert found.per_feature == [1.0, 1.0, 1.0]
    assert (found.mean, found.standard_error, found.draws) == (1.0, 0.0, 2 * ROUND)


@every("dtype", [torch.float32, torch.float64])
@every(
    "settings",
    [*(CASES[case] for case in DIAGONAL), MixNAMESettings(layers=2, width=6, experts=5, active_experts=5)],
)
def test_additive_models_have_additivity_1(build, settings, dtype):
    explainer, _ = explained(build, settings, table().to(dtype))
    assert explainer.additivity().mean >= 0.9995


def test_draws_go_by_the_name_and_end_where_the_error_is_small():
    x = torch.arange(60.0, dtype=torch.float64).view(20, 3)
    asked = []

    def slopes(values, rows):
        asked.append((values, rows))
        assert set(values[:, 0].tolist()) <= set(x[:, 0].tolist())
        return (values.T[:, :, None] + rows.sum(dim=-1)).expand(3, -1, -1)

    first = estimate(slopes, x, "one", most=10 * ROUND)
    # rounds and rows are drawn anew
    assert not torch.equal(asked[0][0], asked[1][0])
    assert not torch.equal(asked[0][1][:, 0], asked[0][1][:, 1])
    assert estimate(slopes, x, "one", most=10 * ROUND) == first
    assert estimate(slopes, x, "two", most=10 * ROUND) != first
    assert first.draws == 10 * ROUND  # these slopes need more
    assert first.standard_error > additivity.ERROR
    assert estimate(slopes, x, "one", most=0).draws == 2 * ROUND


def test_fewer_values_are_drawn_where_each_takes_more_work(build, monkeypatch):
    monkeypatch.setattr(additivity, "ERROR", 0)
    for case, limit, work in (("sparse", "work", 36), ("MLP", "slopes_taken", 3)):
        explainer, _ = explained(build, CASES.get(case, MLP), table())
        setattr(explainer, limit, 3 * ROUND * BACKGROUNDS * work)
        assert explainer.additivity().draws == 3 * ROUND


def test_slopes_are_those_of_no_grid(build):
    """All values of the data are drawn, not those at some quantiles."""
    x = table(40)
    explainer, _ = explained(build, NAMSettings(hidden=(4,)), x)
    seen = set()
    slopes = explainer.slopes

    def watched(values, rows):
        seen.update(values[:, 0].tolist())
        return slopes(values, rows)

    explainer.slopes = watched
    explainer.additivity()
    assert seen == set(x[:, 0].tolist())
