"""The measures equal their definitions, taken slowly through the whole network."""

import itertools
import json

import naive
import numpy as np
import pytest
import torch
from every import every
from explained import CASES, DIAGONAL, MLP, ROWS, as_arrays, bounds, explained, table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mixnam.explain import measures as explanations
from mixnam.explain.cells import curve_grid
from mixnam.explain.measures import Explainer, quantile_grid, variance_share
from mixnam.models import (
    LinearSettings,
    MixNAMDSettings,
    MixNAMESettings,
    MixNAMSettings,
    MixtureSettings,
    MLPSettings,
    NAMSettings,
)


@every("case", CASES)
def test_variability_equals_brute_force(build, case):
    explainer, outputs = explained(build, CASES[case], table(), scale=2.5)
    explainer.grid = explainer.grid[::4]
    found = explainer.interventions()

    def predict(rows):
        return outputs(rows).prediction[0]

    for i in range(3):
        grid, background = explainer.grid[:, i], explainer.background
        expected = naive.variability(predict, background, grid, i) * 2.5**2
        assert found["variability"][i] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@every("widened", [1, 30, 1000])
def test_interventions_of_a_dense_router_are_those_of_any(build, widened):
    """Also where routing scores range so widely that exponentials of their parts would vanish."""
    x = table().float()
    explainer, _ = explained(build, CASES["dense"], x)
    explainer.tensors["router.weight"].mul_(widened)
    assert explainer.network.dense
    factorized = explainer.interventions()
    explainer.network.dense = False
    for name, expected in explainer.interventions().items():
        assert factorized[name] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@every("case", CASES)
def test_tightness_equals_brute_force(build, case):
    explainer, outputs = explained(build, CASES[case], table())
    explainer.grid = explainer.grid[::4]  # brute force is slow
    tightness = explainer.tightness()
    for i in range(3):
        found, grid = {name: values[i] for name, values in tightness.items()}, explainer.grid[:, i]
        expected = naive.tightness(bounds(outputs), explainer.x, grid, i)
        assert case in ("one_active", *DIAGONAL) or 0 < expected <= 1
        assert case not in DIAGONAL or expected == pytest.approx(0, abs=1e-9)
        assert found["range"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert found["left_out"] == 0
        surface = np.array([bounds(outputs)(naive.replaced(explainer.x, i, a))[0][:, i].numpy() for a in grid])
        within = np.mean([np.var(row) for row in surface])
        assert found["routed"] == pytest.approx(within / np.var(surface), rel=1e-9, abs=1e-12)
        assert found["spread"] <= found["range"]
        limits = [bounds(outputs)(naive.replaced(explainer.x[:1], i, a))[1:] for a in grid]
        low, high = (np.array([float(limit[side][0, i]) for limit in limits]) for side in (0, 1))
        assert found["span"] == pytest.approx(np.ptp(surface) / (high.max() - low.min()), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("case", ["dense", "even"])
def test_interventions_outside_bounds_equal_brute_force(build, case):
    explainer, outputs = explained(build, CASES[case], table())
    before = outputs(explainer.background)
    found = explainer.interventions()
    for i in range(3):
        outside = []
        for value in explainer.grid[:, i]:
            after = outputs(naive.replaced(explainer.background, i, value))
            change = after.prediction[0] - before.prediction[0]
            least, most = (bound[0, :, i] - before.contributions[0, :, i] for bound in (after.lower, after.upper))
            outside += ((change < least - 1e-5) | (change > most + 1e-5)).tolist()
        assert 0 < np.mean(outside) < 1
        assert found["outside"][i] == pytest.approx(np.mean(outside), abs=2e-3)  # our slack is a little wider


def test_conditional_additivity_equals_brute_force(build):
    x = table(200)
    explainer, outputs = explained(build, CASES["sparse"], x)
    leaf = x.clone().requires_grad_(True)
    slopes = torch.autograd.grad(outputs(leaf).prediction.sum(), leaf)[0]
    torch.testing.assert_close(explainer.derivatives(), slopes)
    for i, found in enumerate(explainer.conditional_additivity()):
        groups = np.array_split(slopes[x[:, i].argsort(), i].numpy(), 10)  # 200 rows in groups of 20
        assert found == pytest.approx(np.var([g.mean() for g in groups]) / np.var(slopes[:, i].numpy()), rel=1e-9)


@every("bins", [200, 15, 3])
@every("widened", [10.0, 0.2])  # 0.2: bounds so narrow that some ratios are cut at 1
def test_conditional_tightness_equals_brute_force(build, widened, bins):
    explainer, _ = explained(build, CASES["dense"], table(200))
    rows = as_arrays(explainer.rows())
    o, width = rows["contributions"], widened * (rows["upper"] - rows["lower"])
    rows["upper"] = rows["lower"] + width
    for i, found in enumerate(explainer.conditional_tightness(rows, bins)):
        order = np.argsort(explainer.x[:, i].numpy())
        groups = np.array_split(order[:198], 3) if bins == 3 else np.array_split(order, 10)  # of 20 rows at least
        ratios = [(o[g, i].max() - o[g, i].min()) / width[g, i].mean() for g in groups]
        assert (max(ratios) > 1) == (widened < 1)
        assert found == pytest.approx(np.mean(np.minimum(ratios, 1)), rel=1e-9)


def test_bounds_without_width_have_no_conditional_tightness(build):
    explainer, _ = explained(build, NAMSettings(hidden=(4,)), table())
    assert np.isnan(explainer.conditional_tightness(as_arrays(explainer.rows()))).all()


def test_conditional_measures_exist_for_fewer_rows_than_a_group(build):
    explainer, _ = explained(build, CASES["dense"], table(12))
    found = explainer.measures(as_arrays(explainer.rows()))
    assert found["additivity"]["groups"] == 1
    json.dumps(found, allow_nan=False)


@every("case", CASES)
def test_curves_and_rows_equal_brute_force(build, case):
    explainer, outputs = explained(build, CASES[case], table())
    rows, out = explainer.rows(), outputs(explainer.x)
    for name in ("prediction", "contributions", "lower", "upper"):
        torch.testing.assert_close(rows[name], getattr(out, name)[0])
    torch.testing.assert_close(rows["relevance"], out.relevance[0].mean(dim=0))
    torch.testing.assert_close(rows["active"], (out.relevance[0] > 0).double().mean(dim=0))
    inputs = explainer.grid[::20]
    curves = explainer.curves(inputs)
    for i, p in itertools.product(range(3), range(len(inputs))):
        out = outputs(naive.replaced(explainer.background, i, inputs[p, i]))
        torch.testing.assert_close(curves["experts"][i, p], out.experts[0, 0, i])
        torch.testing.assert_close(curves["lower"][i, p], out.lower[0, 0, i])
        torch.testing.assert_close(curves["upper"][i, p], out.upper[0, 0, i])
        torch.testing.assert_close(curves["mean"][i, p], out.contributions[0, :, i].mean())


@every("case", [*CASES, "MLP"])
def test_derivatives_equal_finite_differences(build, case):
    explainer, outputs = explained(build, CASES.get(case, MLP), table())
    slopes, step = explainer.derivatives(), 1e-6
    for i in range(3):
        move = torch.zeros(3, dtype=torch.float64)
        move[i] = step
        with torch.no_grad():
            ahead, behind = (outputs(explainer.x + sign * move).prediction[0] for sign in (1, -1))
        # a kink or a jump within a step is possible, but rare
        close = torch.isclose((ahead - behind) / (2 * step), slopes[:, i], rtol=1e-5, atol=1e-7)
        assert float(close.double().mean()) > 0.98


@every("case", ["MLP", "MLP of one layer", "constant column"])
def test_measures_of_a_prediction_equal_brute_force(build, case):
    x = table(200)
    if case == "constant column":
        x[:, 2] = 0.4
    settings = MLPSettings(hidden=(5,)) if case == "MLP of one layer" else MLP
    explainer, outputs = explained(build, settings, x, scale=2.5)
    found = explainer.measures({})

    def predict(rows):
        return outputs(rows).prediction[0]

    slopes = explainer.derivatives().numpy()
    for i in range(3):
        grid, background = explainer.grid[:, i], explainer.background
        expected = naive.variability(predict, background, grid, i) * 2.5**2
        assert found["variability"]["per_feature"][i] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        groups = np.array_split(slopes[np.argsort(x[:, i].numpy(), kind="stable"), i], 10)
        expected = np.var([g.mean() for g in groups]) / np.var(slopes[:, i])
        assert found["additivity"]["per_feature_conditional"][i] == pytest.approx(expected, rel=1e-9)
    for name, per_feature in (("marginal", "per_feature"), ("conditional", "per_feature_conditional")):
        assert found["additivity"][name] == pytest.approx(np.mean(found["additivity"][per_feature]))
    assert found["variability"]["mean"] == pytest.approx(np.mean(found["variability"]["per_feature"]))
    assert found["variability"]["mean"] > 0
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found.keys().isdisjoint({"tightness", "bounds", "importance", "routing", "interventions_outside_bounds"})
    assert (found["grid"], found["background"], found["rows"]) == (explanations.GRID, 200, 200)


@every("case", ["NAM", "sparse", "even", "diagonal"])
def test_measures_of_a_prediction_are_those_of_its_parts_where_it_has_parts(build, case):
    explainer, _ = explained(build, CASES.get(case, NAMSettings(hidden=(6, 5))), table(), scale=2.0)
    whole = Explainer(explainer.network, explainer.tensors, explainer.x, explainer.scale, explainer.name)
    found, expected = whole.measures({}), explainer.measures(as_arrays(explainer.rows()))
    assert found.keys() < expected.keys()
    for name in found:
        if name in ("additivity", "variability"):
            for part, value in found[name].items():
                wanted = expected[name][part]
                if not isinstance(value, str):
                    wanted = pytest.approx(wanted, rel=1e-9, abs=1e-12)
                assert value == wanted, part
        else:
            assert found[name] == expected[name]


@every("routed, rows", [(1 << 27, 700), (100 * 4 * 600, 600), (10, 500), (100 * 4 * 10**6, 700)])
def test_tightness_takes_fewer_rows_where_there_are_many_experts(build, routed, rows):
    x = table(700)
    explainer, outputs = explained(build, CASES["sparse"], x)  # 4 experts, 100 grid values
    explainer.routed = routed
    background = explainer.tightness_background()
    assert len(background.unique(dim=0)) == len(background) == rows
    assert torch.equal(background, explainer.tightness_background())
    assert {tuple(row) for row in background.tolist()} <= {tuple(row) for row in x.tolist()}
    found = explainer.tightness()["range"][1]
    assert found == pytest.approx(naive.tightness(bounds(outputs), background, explainer.grid[:, 1], 1), rel=1e-9)


def test_measures_do_not_depend_on_how_many_numbers_are_handled_at_a_time(build):
    explainer, _ = explained(build, CASES["sparse"], table())
    whole = explainer.interventions(), explainer.tightness()
    explainer.together = 7 * ROWS * 12
    for first, second in zip(whole, (explainer.interventions(), explainer.tightness()), strict=True):
        for name in first:
            assert first[name] == pytest.approx(second[name], rel=1e-9)


@every("dtype", [torch.float32, torch.float64])
@every(
    "settings",
    [
        NAMSettings(hidden=(8, 6)),
        MixNAMSettings(layers=2, width=6, experts=1, active_experts=1),
        MixNAMSettings(layers=2, width=6, experts=1, active_experts=1, router="shared"),
        MixNAMDSettings(layers=2, width=6, experts=1, active_experts=1),
        MixNAMESettings(layers=2, width=6, experts=1, active_experts=1),
        MixNAMESettings(layers=2, width=6, experts=5, active_experts=5),
    ],
)
def test_additive_models_have_variability_0(build, settings, dtype):
    explainer, outputs = explained(build, settings, table().to(dtype))
    spread = float(outputs(explainer.x).prediction.var())
    assert max(explainer.interventions()["variability"]) <= 1e-10 * spread
    found = explainer.tightness()  # bounds without width are left out and counted
    assert np.isnan(found["range"]).all()
    assert found["left_out"] == [explanations.GRID] * 3


@every("dtype", [torch.float32, torch.float64])
@every("case", DIAGONAL)
def test_features_that_route_themselves_are_additive_and_have_bounds(build, case, dtype):
    explainer, outputs = explained(build, CASES[case], table().to(dtype))
    spread = float(outputs(explainer.x).prediction.var())
    assert max(explainer.interventions()["variability"]) <= 1e-10 * spread
    found = explainer.tightness()
    assert max(found["range"]) < 1e-5
    assert max(found["routed"]) < 1e-9
    assert found["left_out"] == [0] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_of_equal_weights_on_all_experts_have_no_width(build, dtype):
    settings = MixNAMESettings(layers=2, width=6, experts=5, active_experts=5)
    explainer, _ = explained(build, settings, table().to(dtype), scale=3.0)
    found = explainer.measures(as_arrays(explainer.rows()))
    assert found["additivity"]["marginal"] >= 0.9995
    assert found["bounds"]["width"] < 1e-6
    assert found["bounds"]["violations"] == 0
    assert found["tightness"]["range"] is None
    assert found["tightness"]["conditional"] is None
    assert found["tightness"]["left_out"] == 3 * explanations.GRID
    json.dumps(found, allow_nan=False)


def test_measures_take_no_samples_where_predictions_are_sampled(build):
    settings = {"layers": 2, "width": 6, "experts": 4, "active_experts": 4}
    plain, _ = explained(build, MixNAMDSettings(**settings), table(200))
    sampled, _ = explained(build, MixNAMDSettings(**settings, sample_at_prediction=True), table(200))
    assert sampled.interventions() == plain.interventions()
    assert sampled.tightness() == plain.tightness()
    torch.testing.assert_close(sampled.derivatives(), plain.derivatives())
    # what is summarized goes with the stored curves, whose values are expected, not sampled
    measures = [one.measures(as_arrays(one.rows())) for one in (plain, sampled)]
    for name in ("additivity", "tightness", "variability", "importance", "routing"):
        assert measures[0][name] == measures[1][name], name


@pytest.mark.parametrize("size", [1, 1000])
def test_additive_models_never_leave_their_bounds(build, size):
    x = table(600).float()
    explainer, _ = explained(build, LinearSettings(), x)
    explainer.tensors["weight"].mul_(size)  # rounding grows with the contributions
    explainer.tensors["bias"].mul_(size)
    assert explainer.interventions()["outside"] == [0.0, 0.0, 0.0]


def test_conditional_additivity_of_additive_models_is_near_1_with_enough_rows(build):
    x = table(6000)
    additive, _ = explained(build, MixNAMSettings(layers=2, width=6, experts=1, active_experts=1), x)
    even, _ = explained(build, MixNAMESettings(layers=2, width=6, experts=5, active_experts=5), x)
    diagonal, _ = explained(build, CASES["diagonal"], x)
    mixture, _ = explained(build, CASES["sparse"], x)
    assert min(additive.conditional_additivity()) > 0.97
    assert min(even.conditional_additivity()) > 0.97
    assert min(diagonal.conditional_additivity()) > 0.93  # steeper: within a group x_i still varies
    assert min(mixture.conditional_additivity()) < 0.8
    linear, _ = explained(build, LinearSettings(), x)
    assert linear.conditional_additivity() == [1.0, 1.0, 1.0]


def test_variance_share_of_known_matrices():
    assert variance_share(torch.tensor([[1.0, 1.0], [3.0, 3.0]])) == 1
    assert variance_share(torch.tensor([[1.0, 3.0], [1.0, 3.0]])) == 0
    assert variance_share(torch.tensor([[0.0, 2.0], [2.0, 4.0]])) == 0.5
    assert variance_share(torch.full((2, 3), 0.7)) == 1
    assert variance_share(torch.zeros(2, 3)) == 1


def test_the_background_is_a_repeatable_choice_of_different_rows(build):
    x = table(700)
    first, second = (explained(build, CASES["dense"], x)[0].background for _ in range(2))
    assert torch.equal(first, second)
    assert len(first.unique(dim=0)) == explanations.BACKGROUND == 500
    assert {tuple(row) for row in first.tolist()} <= {tuple(row) for row in x.tolist()}


@every("settings", [*CASES.values(), NAMSettings(hidden=(4,)), LinearSettings()])
@every("constant", [False, True])
def test_summaries_are_finite_and_can_be_written(build, settings, constant):
    x = table().float()
    if constant:
        x[:, 1] = 0.3
    explainer, _ = explained(build, settings, x, scale=3.0)
    found = explainer.measures(as_arrays(explainer.rows()))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["bounds"]["violations"] == 0
    assert 0 <= found["additivity"]["marginal"] <= 1 + 1e-6
    assert 0 <= found["additivity"]["conditional"] <= 1 + 1e-6
    assert found["variability"]["mean"] >= 0
    additive = not isinstance(settings, MixtureSettings)
    assert (found["tightness"]["range"] is None) == additive
    assert found["tightness"]["left_out"] == (300 if additive else 0)
    assert None not in found["additivity"]["per_feature"]


def test_a_summary_averages_the_features_and_is_in_target_units(build):
    x = table()
    explainer, outputs = explained(build, CASES["sparse"], x, scale=3.0)
    found = explainer.measures(as_arrays(explainer.rows()))
    tested, tight = explainer.interventions(), explainer.tightness()
    additive = explainer.additivity()
    assert found["additivity"]["marginal"] == additive.mean
    assert found["additivity"]["standard_error"] == additive.standard_error
    assert found["additivity"]["per_feature"] == additive.per_feature
    assert found["additivity"]["conditional"] == pytest.approx(np.mean(explainer.conditional_additivity()))
    assert found["tightness"]["range"] == pytest.approx(np.mean(tight["range"]))
    assert found["tightness"]["span"] == pytest.approx(np.mean(tight["span"]))
    rows = as_arrays(explainer.rows())
    assert found["tightness"]["conditional_15"] == pytest.approx(np.mean(explainer.conditional_tightness(rows, 15)))
    assert found["variability"]["per_feature"] == tested["variability"]
    out = outputs(x)
    widths = 3 * (out.upper - out.lower)[0]
    assert found["bounds"]["width"] == pytest.approx(float(widths.mean()))
    assert found["bounds"]["width_per_feature"] == pytest.approx(widths.mean(dim=0).tolist())
    o = 3 * out.contributions[0]
    assert found["importance"]["per_feature"] == pytest.approx((o - o.mean(dim=0)).abs().mean(dim=0).tolist())


def test_a_summary_counts_contributions_outside_their_bounds(build):
    explainer, _ = explained(build, CASES["dense"], table())
    rows = as_arrays(explainer.rows())
    rows["contributions"][3, 1] = rows["upper"][3, 1] + 0.1
    rows["contributions"][5, 2] = rows["lower"][5, 2] - 0.1
    assert explainer.measures(rows)["bounds"]["violations"] == 2


@given(arrays.arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6)), st.integers(1, 120))
def test_quantile_grid_holds_values_of_the_data_in_order(column, points):
    grid = quantile_grid(torch.from_numpy(column), points).numpy()
    assert len(grid) == points
    assert set(grid) <= set(column)
    assert (np.diff(grid) >= 0).all()


def test_quantile_grid_holds_the_midpoints_of_equal_groups():
    column = torch.arange(1000.0)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    assert quantile_grid(column, 10).tolist() == [50.0 + 100 * k for k in range(10)]


@given(arrays.arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e6, 1e6)), st.sampled_from([10, 100]))
def test_curve_grid_is_sorted_padded_and_includes_the_extremes(column, points):
    grid = curve_grid(column, points=points)
    assert grid.shape == (points,)
    used = grid[: np.isfinite(grid).sum()]
    assert np.isnan(grid[len(used) :]).all()
    assert (np.diff(used) > 0).all()
    assert (used[0], used[-1]) == (column.min(), column.max())
    distinct = np.unique(column)
    if len(distinct) <= points:
        assert used.tolist() == distinct.tolist()


def test_curve_grid_is_half_quantiles_and_half_even():
    column = np.exp(4 * np.random.default_rng(0).normal(size=5000))
    grid = curve_grid(column)
    used = grid[np.isfinite(grid)]
    assert len(used) >= 98  # the two halves share at most their ends
    assert np.isin(np.quantile(column, np.linspace(0, 1, 50), method="inverted_cdf"), used).all()
    even = np.linspace(*np.quantile(column, [0.005, 0.995]), 50)
    assert np.isin(even, used).all()


def test_curve_grid_holds_the_kinks_within_the_column():
    column = np.linspace(0, 1, 1001)
    kinks = np.array([-3.0, 0.12345, 0.5, 7.0])
    grid = curve_grid(column, kinks=kinks)
    plain = curve_grid(column)
    assert len(grid) == len(plain) + len(kinks)  # equally long for every column
    assert set(grid[np.isfinite(grid)]) == set(plain) | {0.12345, 0.5}
    assert np.isnan(curve_grid(np.array([0.0, 1.0]), kinks=kinks)[2:]).all()  # few values have no others
    assert len(curve_grid(column, least=10, kinks=kinks)) == len(grid)


@every("categories", [3, 100, 130])
def test_curve_grid_of_a_categorical_column_holds_categories(categories):
    column = np.random.default_rng(0).integers(0, categories, 2000).astype(float)
    grid = curve_grid(column, categories)
    used = grid[np.isfinite(grid)]
    assert (used == used.astype(int)).all()
    if categories <= 100:  # all of them, whether they occur or not
        assert used.tolist() == list(range(categories))
        assert curve_grid(column[:2], categories)[:categories].tolist() == list(range(categories))
