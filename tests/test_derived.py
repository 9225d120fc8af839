"""Derived measures of planted curves, predictions and contributions whose answer is known beforehand."""

import math

import numpy as np
import pytest
from planted import result
from scipy import stats

from mixnam import claims, datasets, derived, published, simulations
from mixnam.datasets import DataMissing

X = np.linspace(0, 1, 161)
SINE = np.sin(4 * np.pi * X)
LIFT = 3.0  # of all planted curves; centring must take it off
FEATURES = 8


def law(name="sim_multimodal", mean=SINE, upper=None, lower=None, experts=None, points=200, **arrays):
    """A simulation's result with these curves of x1, its grid padded with NaN."""

    def padded(curve):
        return np.pad(np.asarray(curve, float) + LIFT, (0, points - len(X)), constant_values=np.nan)

    count = datasets.load(name).x.shape[1]
    grid = np.full((count, points), np.nan)
    grid[0, : len(X)], grid[1:, :2] = X, [-1, 1]
    found = {"grid": grid, "contribution_mean": np.full(count, LIFT)}
    for label, curve in (("mean", mean), ("upper", upper), ("lower", lower)):
        if curve is not None:
            found[f"grid_{label}"] = np.tile(padded(curve), (count, 1))
    if experts is not None:
        found["grid_experts"] = np.stack([np.column_stack([padded(e) for e in experts])] * count)
    return result(name, arrays=found | arrays)


def houses(mean=None, width=None, density=None, rows=None, contributions=None, grid=None, features=FEATURES):
    """A Housing result whose every feature has these curves over this grid, longitude's by default."""
    grid = np.linspace(-124.3, -114.3, 150) if grid is None else grid
    at = np.asarray(grid)[: np.isfinite(grid).sum()]
    arrays = {"grid": np.tile(grid, (features, 1)), "contribution_mean": np.full(features, LIFT)}

    def curve(values):
        return np.tile(
            np.pad(np.asarray(values, float), (0, len(grid) - len(at)), constant_values=np.nan), (features, 1)
        )

    if mean is not None:
        arrays["grid_mean"] = curve(mean(at) + LIFT)
    if width is not None:
        arrays |= {"grid_lower": curve(0 * at + LIFT), "grid_upper": curve(width(at) + LIFT)}
    if density is not None:
        arrays |= {"density": np.tile(density, (features, 1)), "density_range": np.tile([at[0], at[-1]], (features, 1))}
    if rows is not None:
        sample = np.zeros((len(rows), features))
        sample[:, derived.LONGITUDE] = rows
        arrays["sample_x"] = sample
    if contributions is not None:
        sample = np.zeros((len(contributions), features))
        sample[:, derived.LONGITUDE] = np.asarray(contributions) + LIFT
        arrays["sample_contributions"] = sample
    return result(arrays=arrays)


def bumps(*places, heights=None):
    heights = heights or [1.0] * len(places)
    return lambda x: sum(h * np.exp(-(((x - p) / 0.3) ** 2)) for p, h in zip(places, heights, strict=True))


STEP = 10 / 399  # of the even grid that peaks are looked for on


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (bumps(-122.5, -118.5), 0.0),
        (bumps(-121.5, -118.5), 1.0),
        (bumps(-122.5, -119.5), 1.0),
        (bumps(-122.2, -118.6), 0.3),
        (bumps(-122.5, -118.5, -116.0, heights=[1, 1, 0.5]), 0.0),  # a third, less prominent peak
        (bumps(-122.5, -118.5, -116.0, heights=[1, 0.5, 1]), 2.5),  # of the two most prominent none is near -118.5
        (bumps(-122.5), 4.0),
        (lambda x: -x, 5.8),  # highest at the western end, -124.3: that end is a peak
    ],
)
def test_peaks_are_found_where_they_were_planted(shape, expected):
    assert derived.peak_distance(houses(shape)) == pytest.approx(expected, abs=STEP)


def test_peaks_do_not_depend_on_level_or_grid():
    uneven = np.pad(np.sort(np.random.default_rng(0).uniform(-124.3, -114.3, 400)), (0, 30), constant_values=np.nan)
    raised = houses(lambda x: bumps(-122.5, -118.5)(x) + 7, grid=uneven)
    assert derived.peak_distance(raised) == pytest.approx(0, abs=0.06)


@pytest.mark.xfail(raises=ValueError, strict=True, reason="a flat shape has no peak, and the scorecard stops")
def test_a_flat_shape_has_no_peak_near_the_stated_places():
    assert not derived.value(houses(lambda x: 0 * x), "derived.peak_distance") <= 0.3


def valley(x):
    return (x > -120.05) & (x < -118.95)


ROWS = np.array([-119.9, -119.5, -119.1, -122.0, -122.1, -122.2, -116.0])


def test_the_valleys_width_is_compared_with_that_of_the_rows_elsewhere():
    assert derived.valley_width(houses(width=lambda x: 0 * x + 2, rows=ROWS)) == pytest.approx(1)
    wide = houses(width=lambda x: np.where(valley(x), 3, np.where(x > -118, 2, 1)), rows=ROWS)
    assert derived.valley_width(wide) == pytest.approx(3 / np.mean([1, 1, 1, 2]), rel=1e-6)
    narrow = houses(width=lambda x: np.where(valley(x), 0.5, 1), rows=ROWS)
    assert derived.valley_width(narrow) == pytest.approx(0.5)


def test_the_share_of_rows_low_in_the_valley_counts_those_in_the_lower_third():
    at = [0.1, 0.3, 0.4, 0.9, 0.9, 0.9, 0.9]  # of bounds from 0 to 1; the last four rows lie elsewhere
    low = houses(width=lambda x: 0 * x + 1, rows=ROWS, contributions=at)
    assert derived.valley_low(low) == pytest.approx(2 / 3)
    high = houses(width=lambda x: 0 * x + 1, rows=ROWS, contributions=[0.9, 0.9, 0.9, 0, 0, 0, 0])
    assert derived.valley_low(high) == 0


COUNTS = np.arange(1, 51) ** 2


INNER = np.linspace(0.01, 0.99, 99)


def ranked(width, padding=0):
    grid = np.pad(INNER, (0, padding), constant_values=np.nan)
    arrays = dict(houses(width=width, grid=grid).arrays)
    arrays |= {"density": np.tile(COUNTS, (FEATURES, 1)), "density_range": np.tile([0.0, 1.0], (FEATURES, 1))}
    return result(arrays=arrays)


def test_width_and_density_ranks_wide_bounds_against_thin_data():
    at = COUNTS[(INNER * 50).astype(int)]
    assert derived.width_and_density(ranked(lambda x: 1 / at)) == pytest.approx(-1)
    assert derived.width_and_density(ranked(lambda x: at**0.5, padding=20)) == pytest.approx(1)
    noise = np.random.default_rng(0).normal(size=99)
    expected = stats.spearmanr(noise, at).statistic
    assert derived.width_and_density(ranked(lambda x: 5 + noise)) == pytest.approx(expected)


def test_features_with_few_values_do_not_enter_width_and_density():
    arrays = dict(ranked(lambda x: 1 / COUNTS[(INNER * 50).astype(int)]).arrays)
    arrays["grid"] = arrays["grid"].copy()
    arrays["grid"][3:, 10:] = np.nan
    arrays["grid_upper"] = arrays["grid_upper"].copy()
    arrays["grid_upper"][3:, :10] = LIFT + np.arange(10)  # these would count the other way round
    assert derived.width_and_density(result(arrays=arrays)) == pytest.approx(-1)


def density(at, cells=(1, 2, 3), span=(0.0, 3.0)):
    planted = result(arrays={"density": np.array([cells]), "density_range": np.array([span])})
    return derived._density(planted, 0, np.array(at)).tolist()


def test_density_is_the_count_of_a_values_cell():
    assert density([0.0, 0.99, 1.0, 2.5]) == [1, 1, 2, 3]
    assert density([-0.01, 3.01]) == [0, 0]


@pytest.mark.xfail(strict=True, reason="the range's upper end, a point of every grid, is given no rows")
def test_density_of_the_ranges_upper_end_is_that_of_the_last_cell():
    counted, _ = np.histogram([0.5, 1.5, 1.5, 2.5, 3.0, 3.0], bins=3, range=(0, 3))
    assert density([3.0], counted) == [3]


def test_variability_is_set_against_the_targets_variance():
    variance = datasets.load("sim_multimodal").y.var()
    planted = result("sim_multimodal", measures={"variability.mean": 0.25 * variance})
    assert derived.variability_share(planted) == pytest.approx(0.25)


@pytest.mark.xfail(raises=DataMissing, strict=True, reason="one missing data set stops the whole scorecard")
def test_variability_without_the_data_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "_HOUSING_URL", "http://127.0.0.1:9/none")
    assert math.isnan(derived.value(result(measures={"variability.mean": 0.1}), "derived.variability_share"))


def predicting(name, off):
    """A simulation's result whose predictions are off by `off(x)` at the probe rows x."""
    x = datasets.load(name).probe
    return law(name, probe_prediction=simulations.truth(name, x) + off(x))


def test_excess_mse_is_the_distance_from_the_law_without_noise():
    assert derived.excess_mse(predicting("sim_unimodal", lambda x: 0)) == pytest.approx(0)
    assert derived.excess_mse(predicting("sim_unimodal", lambda x: 0.1)) == pytest.approx(0.01)
    assert derived.excess_mse(predicting("sim_multimodal", lambda x: 0.2 * x[:, 1])) == pytest.approx(0.04)


def test_rare_excess_mse_takes_the_rare_rows_alone():
    rare = predicting("sim_sparse_1", lambda x: np.where(x[:, 1] > 0, 0.5, 0))
    assert derived.rare_excess_mse(rare) == pytest.approx(0.25)
    assert derived.excess_mse(rare) == pytest.approx(0.125)
    frequent = predicting("sim_sparse_1", lambda x: np.where(x[:, 1] < 0, 0.5, 0))
    assert derived.rare_excess_mse(frequent) == pytest.approx(0)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.5, 0.75), (0.0, 0.0), (2.0, 0.0), (-1.0, -3.0)])
def test_explained_share_is_one_less_the_share_of_the_variance_missed(share, expected):
    name = "sim_variability_2"
    x = datasets.load(name).probe
    signal = simulations.truth(name, x)
    planted = law(name, probe_prediction=signal.mean() + share * (signal - signal.mean()))
    assert derived.explained_share(planted) == pytest.approx(expected)


@pytest.mark.parametrize("measure", ["excess_mse", "rare_excess_mse", "explained_share", "interaction_on_x1"])
def test_real_data_have_no_known_law(measure):
    assert math.isnan(derived.value(result("diabetes"), f"derived.{measure}"))


def test_curves_are_compared_with_the_sine_whatever_their_level():
    assert derived.curve_error(law(mean=SINE + 5)) == pytest.approx(0)
    assert derived.curve_error(law(mean=1.5 * SINE)) == pytest.approx(0.5 * SINE.std())
    assert derived.curve_error(law(mean=0 * X)) == pytest.approx(SINE.std())
    assert derived.shape_size(law(mean=0.15 * SINE + 2)) == pytest.approx(0.15)
    assert derived.shape_size(law(mean=-2 * SINE)) == pytest.approx(2)


@pytest.mark.parametrize(("mean", "expected"), [(-SINE, 1), (SINE, -1), (-0.2 * SINE + 4, 1), (0 * X, 0)])
def test_the_majority_is_minus_the_sine(mean, expected):
    assert derived.majority(law(mean=mean)) == pytest.approx(expected)


def test_bounds_are_compared_with_both_branches():
    size = np.abs(SINE)
    assert derived.bound_error(law(upper=size, lower=-size)) == pytest.approx(0)
    assert derived.bound_error(law(upper=size + 0.1, lower=-size - 0.1)) == pytest.approx(0.1)
    assert derived.bound_error(law(upper=size + 0.1, lower=-size)) == pytest.approx(0.1 / math.sqrt(2))
    assert derived.bound_error(law(upper=0 * X, lower=0 * X)) == pytest.approx(math.sqrt(np.mean(SINE**2)))


def test_experts_coincide_whatever_their_levels():
    assert derived.expert_distance(law(experts=[SINE, SINE + 9])) == pytest.approx(0)
    assert derived.expert_distance(law(experts=[SINE, -SINE])) == pytest.approx(2)
    assert derived.expert_distance(law(experts=[SINE, 1.05 * SINE])) == pytest.approx(0.05)


RIGHT_ANGLED = np.cos(4 * np.pi * X) - np.cos(4 * np.pi * X).mean()


@pytest.mark.parametrize(
    ("experts", "expected"),
    [
        ([SINE, -SINE], 1),
        ([-0.3 * SINE + 1, 2 * SINE], 1),
        ([SINE, SINE], -1),
        ([SINE, -0.6 * SINE + 0.8 * RIGHT_ANGLED * SINE.std() / RIGHT_ANGLED.std()], 0.6),
        ([SINE, 0 * X], 0),
        ([RIGHT_ANGLED, -RIGHT_ANGLED], 0),
    ],
)
def test_opposition_is_the_lesser_correlation_with_opposite_sines(experts, expected):
    assert derived.expert_opposition(law(experts=experts)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("on_x1", "expected"), [(1.0, 1.0), (0.0, 0.0), (0.5, 0.5), (0.75, 0.9), (1.5, 0.9)])
def test_the_interaction_is_found_on_the_feature_that_it_was_planted_on(on_x1, expected):
    x = datasets.load("sim_multimodal").probe
    wave = x[:, 1] * np.sin(4 * np.pi * x[:, 0])
    main = np.column_stack([np.cos(x[:, 0]) + 3, 5 * x[:, 1]])  # each feature's own effect counts for nothing
    planted = law(probe_contributions=np.column_stack([on_x1 * wave, (1 - on_x1) * wave]) + main, probe_prediction=wave)
    assert derived.interaction_on_x1(planted) == pytest.approx(expected)
    additive = law(probe_contributions=main, probe_prediction=wave)
    assert math.isnan(derived.interaction_on_x1(additive))


def test_a_law_of_many_features_has_no_share_of_the_interaction():
    planted = law("sim_variability_2", probe_prediction=np.zeros(2000))
    assert math.isnan(derived.value(planted, "derived.interaction_on_x1"))


@pytest.mark.parametrize(("name", "spread"), [("sim_noise", 0.1 + X), ("sim_hidden", np.hypot(SINE, 0.1))])
def test_width_is_compared_with_the_spread_of_outcomes(name, spread):
    assert derived.width_and_spread(law(name, upper=3 * spread, lower=-spread)) == pytest.approx(1)
    assert derived.width_and_spread(law(name, upper=5 - spread, lower=0 * X)) == pytest.approx(-1)
    assert derived.width_and_spread(law(name, upper=0 * X + 1, lower=0 * X)) == 0


GRID = np.linspace(0, 1, 100)
WAVE = np.sin(2 * np.pi * GRID)


def shaped(*curves, density=None, grid=GRID):
    """A result with one feature for each curve over the grid, and rows evenly spread unless `density` says."""
    cells = np.ones(50) if density is None else density
    arrays = {
        "grid": np.tile(grid, (len(curves), 1)),
        "grid_mean": np.stack(curves) + LIFT,
        "contribution_mean": np.zeros(len(curves)),
        "density": np.tile(cells, (len(curves), 1)),
        "density_range": np.tile([-0.01, 1.01], (len(curves), 1)),
    }
    return result(arrays=arrays)


def test_shape_r2_of_a_shape_with_itself_is_one_and_falls_with_noise():
    noise = np.random.default_rng(0).normal(size=100)
    noise -= noise.mean() + WAVE * ((noise - noise.mean()) @ WAVE) / (WAVE @ WAVE)
    found = [derived.shape_r2([shaped(WAVE + 8 + size * noise), shaped(WAVE)]) for size in (0, 0.1, 0.3, 1)]
    expected = [1 - size**2 * noise.var() / WAVE.var() for size in (0, 0.1, 0.3, 1)]
    assert found == pytest.approx(expected)
    assert found[0] == 1


def test_shape_r2_weighs_features_by_the_second_models_shape():
    flat, tenth = 0 * WAVE, 0.1 * WAVE
    assert derived.shape_r2([shaped(WAVE, flat), shaped(WAVE, tenth)]) == pytest.approx(1 - 0.01 / 1.01)
    assert derived.shape_r2([shaped(flat, tenth), shaped(WAVE, tenth)]) == pytest.approx(0.01 / 1.01)


def test_shape_r2_weighs_the_grid_by_the_data():
    half = np.repeat([1.0, 0.0], 25)  # no row in the upper half
    wrong = np.where(GRID > 0.5, 50, WAVE)
    assert derived.shape_r2([shaped(wrong, density=half), shaped(WAVE)]) == pytest.approx(1)
    assert derived.shape_r2([shaped(wrong), shaped(WAVE)]) < 0


def test_shape_r2_reads_the_second_shape_at_the_first_ones_grid():
    other = np.linspace(0, 1, 37)
    line = shaped(5 * GRID)
    assert derived.shape_r2([line, shaped(5 * other, grid=other)]) == pytest.approx(1)


def test_longitude_r2_looks_at_longitude_alone():
    right = [0 * WAVE] * 7 + [WAVE]
    wrong = [WAVE] * 8
    assert derived.longitude_r2([shaped(*wrong), shaped(*right)]) == pytest.approx(1)
    assert derived.longitude_r2([shaped(*right[::-1]), shaped(*right)]) == pytest.approx(0)


def sweep(numbers, **measures):
    return [
        result(score=score, variation_penalty=penalty, measures={k: v[i] for k, v in measures.items()})
        for i, (penalty, score) in enumerate(numbers)
    ]


def test_width_over_penalty_is_a_rank_correlation_over_the_mean_of_features():
    penalties = [(p, 0.5) for p in (0.0, 0.001, 0.01, 0.1)]

    def widths(*means):
        return [[mean - 1, mean + 1] for mean in means]

    for means, expected in (((4, 3, 2, 1), -1), ((3, 4, 2, 1), -0.8), ((1, 2, 3, 4), 1)):
        results = sweep(penalties, **{"bounds.median_width_per_feature": widths(*means)})
        assert derived.width_over_penalty(results) == pytest.approx(expected)


def test_additivity_and_error_rank_together_or_apart():
    additivity = {"additivity.marginal": [0.3, 0.4, 0.9]}
    assert derived.additivity_and_error(sweep([(0.0, 0.45), (1.0, 0.46), (9.0, 0.6)], **additivity)) == pytest.approx(1)
    assert derived.additivity_and_error(sweep([(0.0, 0.6), (1.0, 0.5), (9.0, 0.4)], **additivity)) == pytest.approx(-1)


def contributing(values, mean):
    return result(arrays={"sample_contributions": values, "contribution_mean": np.asarray(mean)})


def test_contributions_are_compared_centred_and_in_units_of_their_spread():
    b = np.random.default_rng(0).normal(0, [1, 10], (100, 2))
    b -= b.mean(axis=0)
    base = contributing(b, [0, 0])
    assert derived.contribution_distance([contributing(b + 7, [7, 7]), base]) == pytest.approx(0)
    more_rows = np.vstack([b, 99 + b])  # seed 0 stores more rows than the others
    assert derived.contribution_distance([contributing(more_rows, [0, 0]), base]) == pytest.approx(0)
    expected = np.abs(b).mean(axis=0).sum() / b.std(axis=0).sum()  # twice as large: each value moves by itself
    assert derived.contribution_distance([contributing(2 * b, [0, 0]), base]) == pytest.approx(expected)
    first = contributing(b * [1, 2], [0, 0])  # the important feature moves: almost the same
    assert derived.contribution_distance([first, base]) > 0.9 * expected
    assert derived.contribution_distance([contributing(b * [2, 1], [0, 0]), base]) < 0.2 * expected


CELLS = [(c, k) for c in (2, 4, 8, 16) for k in (2, 4, 8, 16) if k <= c]


def cells(score, model="MixNAM", of=CELLS):
    return [result(model=model, score=score(c, k), experts=c, active_experts=k) for c, k in of]


def test_slopes_are_those_planted():
    results = cells(lambda c, k: 0.5 - 0.01 * math.log2(c) + 0.02 * math.log2(k))
    assert derived.slope_over_experts(results) == pytest.approx(-0.01)
    assert derived.slope_over_active(results) == pytest.approx(0.02)


def test_leads_are_those_planted():
    first_best = [result(score=s) for s in (0.44, 0.45, 0.46)]
    assert derived.behind_best(first_best) == 0
    assert derived.lead(first_best) == pytest.approx(0.01)
    last_best = [result(score=s) for s in (0.46, 0.45, 0.44)]
    assert derived.behind_best(last_best) == pytest.approx(0.02)
    assert derived.lead(last_best) == pytest.approx(-0.02)


@pytest.mark.parametrize("model", ["MixNAM", "MixNAM-E"])
def test_the_printed_table_ranks_as_printed(model):
    rows = published.table("table8_expert_scaling_housing").query("model == @model")
    printed = {(c, k): m for c, k, m in rows[["C", "K", "rmse_mean"]].itertuples(index=False)}
    assert derived.rank_as_printed(cells(lambda c, k: printed[c, k], model, printed)) == pytest.approx(1)
    assert derived.rank_as_printed(cells(lambda c, k: -printed[c, k], model, printed)) == pytest.approx(-1)
    # a new number for one cell that keeps the order, and one that does not
    least, most = min(printed, key=printed.get), max(printed, key=printed.get)
    kept = derived.rank_as_printed(cells(lambda c, k: printed[c, k] - 0.1 * ((c, k) == least), model, printed))
    assert kept == pytest.approx(1)
    assert derived.rank_as_printed(cells(lambda c, k: printed[c, k] - ((c, k) == most), model, printed)) < 0.7


def rare(error, model="MixNAM", **settings):
    x = datasets.load("sim_sparse_5").probe
    prediction = simulations.truth("sim_sparse_5", x) + np.where(x[:, 1] > 0, error, 0)
    return result("sim_sparse_5", model, score=0.5, arrays={"probe_prediction": prediction}, **settings)


def test_the_rare_mode_over_experts_and_against_nam():
    def over(*errors):
        counts = (2, 4, 8, 16)
        pairs = zip(counts, errors, strict=True)
        return derived.rare_over_experts([rare(e, experts=c, active_experts=c) for c, e in pairs])

    assert over(0.4, 0.3, 0.2, 0.1) == pytest.approx(-1)
    assert over(0.1, 0.2, 0.3, 0.4) == pytest.approx(1)
    assert over(0.4, 0.3, 0.1, 0.2) == pytest.approx(-0.8)
    assert derived.rare_gain([rare(0.1), rare(1.0, "NAM")]) == pytest.approx(0.99)


def test_values_are_found_by_path_or_name_and_are_nan_where_there_is_none():
    planted = result(score=0.45, measures={"additivity.marginal": 0.4, "additivity.conditional": None})
    assert derived.value(planted, "metrics.test.rmse") == 0.45
    assert derived.value(planted, "measures.additivity.marginal") == 0.4
    assert derived.value(planted, "cost.parameters") == 7
    for lacking in ("measures.additivity.conditional", "measures.tightness.range", "derived.peak_distance"):
        assert math.isnan(derived.value(planted, lacking))
    with pytest.raises(KeyError):
        derived.value(planted, "derived.peaks")


@pytest.mark.parametrize("measure", ["derived.peaks", "joint.peak_distance", "derived.lead"])
def test_a_measure_that_is_unknown_is_refused(measure):
    with pytest.raises(ValueError, match=f"measure '{measure}' is unknown; known are"):
        derived.check(measure)


def test_every_function_serves_a_claim_or_a_page():
    used = {c.measure for c in claims.claims()}
    assert {f"derived.{name}" for name in derived.DERIVED} <= used
    assert {f"joint.{name}" for name in derived.JOINT} <= used
