"""Derived numbers of planted curves, predictions and scores whose values are known beforehand."""

import contextlib
import math

import numpy as np
import pytest
from planted import result
from scipy import stats

from mixnam.data import catalogue, laws
from mixnam.data.table import DataError
from mixnam.paper import derived, published
from mixnam.paper.claim import claims
from mixnam.paper.derived import Numbers
from mixnam.paper.experiments import specs_of
from mixnam.runs.fitting import fit

X = np.linspace(0, 1, 161)


SINE = np.sin(4 * np.pi * X)


LIFT = 3.0  # of all planted curves; centring must take it off


FEATURES = 8


def law(name="sim_multimodal", mean=SINE, upper=None, lower=None, experts=None, points=200, **arrays):
    """A simulation's result with these curves of x1, its grid padded with NaN."""

    def padded(curve):
        return np.pad(np.asarray(curve, float) + LIFT, (0, points - len(X)), constant_values=np.nan)

    count = catalogue.load(name).x.shape[1]
    grid = np.full((count, points), np.nan)
    grid[0, : len(X)], grid[1:, :2] = X, [-1, 1]
    found = {"grid": grid, "contribution_mean": np.full(count, LIFT)}
    for label, curve in (("mean", mean), ("upper", upper), ("lower", lower)):
        if curve is not None:
            found[f"grid_{label}"] = np.tile(padded(curve), (count, 1))
    if experts is not None:
        found["grid_experts"] = np.stack([np.column_stack([padded(e) for e in experts])] * count)
    return result(name, arrays=found | arrays)


def houses(mean=None, lower=None, upper=None, grid=None, span=(-124.3, -114.3), density=None, low_share=None):
    """A Housing result whose longitude has these curves over this grid, and rows within this span."""
    grid = np.linspace(-124.3, -114.3, 150) if grid is None else grid
    at = np.asarray(grid)[: np.isfinite(grid).sum()]
    arrays = {"grid": np.tile(grid, (FEATURES, 1)), "contribution_mean": np.full(FEATURES, LIFT)}
    for name, curve in (("mean", mean), ("lower", lower), ("upper", upper)):
        if curve is not None:
            values = np.pad(np.asarray(curve(at), float) + LIFT, (0, len(grid) - len(at)), constant_values=np.nan)
            arrays[f"grid_{name}"] = np.tile(values, (FEATURES, 1))
    arrays["density_range"] = np.tile(span, (FEATURES, 1))
    if density is not None:
        arrays["density"] = np.tile(density, (FEATURES, 1))
    if low_share is not None:
        arrays["low_share"] = np.full((FEATURES, len(low_share)), 0.123)
        arrays["low_share"][derived.LONGITUDE] = low_share
    return result(arrays=arrays)


def bumps(*places, heights=None):
    heights = heights or [1.0] * len(places)
    return lambda x: sum(h * np.exp(-(((x - p) / 0.3) ** 2)) for p, h in zip(places, heights, strict=True))


STEP = 10 / 399  # of the even grid that peaks are looked for on


BOTH = bumps(-122.5, -118.5)


def test_peaks_are_found_where_they_were_planted():
    for shape, expected in [
        (BOTH, 0.0),
        (bumps(-121.5, -118.5), 1.0),
        (bumps(-122.5, -119.5), 1.0),
        (bumps(-122.2, -118.6), 0.3),
        (bumps(-122.5, -118.5, -116.0, heights=[1, 1, 0.5]), 0.0),  # a third, less prominent peak
        (bumps(-122.5, -118.5, -116.0, heights=[1, 0.5, 1]), 2.5),  # of the two most prominent none is near -118.5
        (bumps(-122.5), math.inf),
        (lambda x: -x, math.inf),
        (lambda x: 0 * x, math.inf),
    ]:
        assert derived.peak_distance(houses(shape)) == pytest.approx(expected, abs=STEP)


def test_peaks_do_not_depend_on_level_or_grid():
    uneven = np.pad(np.sort(np.random.default_rng(0).uniform(-124.3, -114.3, 400)), (0, 30), constant_values=np.nan)
    assert derived.peak_distance(houses(lambda x: BOTH(x) + 7, grid=uneven)) == pytest.approx(0, abs=0.06)


def test_peaks_are_those_among_the_central_rows():
    outside = bumps(-122.5, -118.5, -114.9, heights=[1, 1, 9])
    assert derived.peak_distance(houses(outside)) == pytest.approx(3.6, abs=STEP)
    assert derived.peak_distance(houses(outside, span=(-124.0, -115.6))) == pytest.approx(0, abs=0.06)


def test_a_mixtures_peaks_are_those_of_the_line_midway_between_its_bounds():
    elsewhere = bumps(-121.0, -117.0)
    mixture = houses(elsewhere, lower=lambda x: BOTH(x) - x - 1, upper=lambda x: BOTH(x) + x + 1)
    assert derived.peak_distance(mixture) == pytest.approx(0, abs=STEP)


# ten cells of one degree, of which the fifth, from -120 to -119, is the valley
CELLED = {"span": (-124.0, -114.0), "density": [1, 1, 1, 1, 50, 3, 1, 1, 1, 1]}


def test_the_valleys_width_is_compared_with_that_of_the_rows_elsewhere():
    def measured(width):
        return derived.valley_width(houses(lower=lambda x: -width(x), upper=width, **CELLED))

    assert measured(lambda x: 0 * x + 2) == pytest.approx(1)
    wide = measured(lambda x: np.where((x > -120.05) & (x < -118.95), 3, np.where(x > -119, 2, 1)))
    assert wide == pytest.approx(3 / np.average([1, 1, 1, 1, 2, 2, 2, 2, 2], weights=[1, 1, 1, 1, 3, 1, 1, 1, 1]))
    assert measured(lambda x: np.where((x > -120.05) & (x < -118.95), 0.5, 1)) == pytest.approx(0.5)


def test_the_share_of_rows_low_in_the_valley_is_weighed_by_cells():
    span, rows = (-124.0, -114.0), np.ones(20)  # cells of half a degree: the ninth and tenth are the valley
    rows[8:10] = 30, 10
    share = np.full(20, 0.9)
    share[8:10] = 0.2, 0.6
    assert derived.valley_low(houses(span=span, density=rows, low_share=share)) == pytest.approx(0.3)
    share[8] = np.nan  # bounds of no width there
    assert derived.valley_low(houses(span=span, density=rows, low_share=share)) == pytest.approx(0.6)


def test_bounds_without_width_in_the_valley_have_no_low_share():
    planted = houses(span=(-124.0, -114.0), density=np.ones(20), low_share=np.full(20, np.nan))
    assert math.isnan(derived.value(planted, "derived.valley_low"))


EAST, NORTH = derived.LONGITUDE, derived.LATITUDE
#: The values of a surface: of longitude and latitude not as many, so that mixing them up is seen.
LINES = {EAST: np.linspace(-123.85, -114.55, 32), NORTH: np.linspace(32.7, 41.8, 38)}
ORDERS = [[NORTH, EAST], [EAST, NORTH]]


def pairwise(effect, rows=None, order=ORDERS[0]):
    """An NA2M result whose second surface is this effect of (longitude, latitude), with so many rows in each cell."""
    lines = [LINES[EAST if feature == EAST else NORTH] for feature in order]
    at = dict(zip(order, np.meshgrid(*lines, indexing="ij"), strict=True))
    at = at[EAST], at.get(NORTH, 0 * at[EAST])
    counts = np.ones(at[0].shape) if rows is None else rows(*at)

    def padded(values, filling=np.nan):
        return np.pad(values, [(0, 40 - size) for size in values.shape], constant_values=filling)

    arrays = {
        "pairs": [[0, 1], order],
        "pair_values": [np.full((2, 40), 7.0), [padded(line) for line in lines]],
        "pair_effect": [np.full((40, 40), 99.0), padded(effect(*at))],
        "pair_rows": [np.full((40, 40), 5.0), padded(counts, 0.0)],
    }
    kinds = {"pairs": np.int32}
    return result(model="NA2M", arrays={k: np.asarray(a, kinds.get(k, np.float32)) for k, a in arrays.items()})


def in_valley(east):
    return (east >= -120) & (east <= -119)


@pytest.mark.parametrize("order", ORDERS)
def test_a_coast_that_raises_prices_is_told_from_land_that_lowers_them(order):
    def told(coast, inland):
        def effect(east, north):  # outside of the valley it counts for nothing
            return np.where(in_valley(east), np.where(north <= 34.6, coast, inland), 50.0)

        return derived.coast_and_inland(pairwise(effect, order=order))

    assert told(2.0, -1.0) == pytest.approx(1.0)  # the lesser of the two
    assert told(1.0, -3.0) == pytest.approx(1.0)
    assert told(-2.0, 1.0) == pytest.approx(-2.0)
    assert told(2.0, 0.5) == pytest.approx(-0.5)  # the land raises them too
    assert told(-0.5, -2.0) == pytest.approx(-0.5)  # the coast lowers them too


@pytest.mark.parametrize("order", ORDERS)
def test_cells_of_the_coast_and_inland_weigh_by_their_rows(order):
    def effect(east, north):
        return np.where(north <= 34.6, 40 - north, -north / 10) + (east + 119.5)

    def rows(east, north):
        return np.floor(3 * (124 + east) + north) % 7

    east, north = np.meshgrid(LINES[EAST], LINES[NORTH])
    parts = [in_valley(east) & part for part in (north <= 34.6, north > 34.6)]
    coast, inland = (np.average(effect(east, north)[part], weights=rows(east, north)[part]) for part in parts)
    assert derived.coast_and_inland(pairwise(effect, rows, order)) == pytest.approx(min(coast, -inland), rel=1e-5)


def test_without_rows_on_the_coast_or_inland_nothing_is_told():
    for rows in (lambda _, north: north > 34.6, lambda _, north: north <= 34.6, lambda _, north: 0 * north):
        planted = pairwise(lambda _, north: np.where(north <= 34.6, 1.0, -1.0), rows)
        assert math.isnan(derived.coast_and_inland(planted))


def test_a_result_without_the_surface_has_no_coast():
    for planted in (result(model="NA2M"), result(), pairwise(lambda east, _: east, order=[5, EAST])):
        assert derived.find(planted, "derived.coast_and_inland") is None


COUNTS = np.arange(1, 51) ** 2


INNER = np.linspace(0.01, 0.99, 99)


def ranked(width, padding=0):
    grid = np.pad(INNER, (0, padding), constant_values=np.nan)
    return houses(lower=lambda x: 0 * x, upper=width, grid=grid, span=(0.0, 1.0), density=COUNTS)


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


def test_density_of_the_ranges_upper_end_is_that_of_the_last_cell():
    counted, _ = np.histogram([0.5, 1.5, 1.5, 2.5, 3.0, 3.0], bins=3, range=(0, 3))
    assert density([3.0], counted) == [3]


def test_variability_is_set_against_the_targets_variance():
    variance = catalogue.load("sim_multimodal").y.var()
    planted = result("sim_multimodal", measures={"variability.mean": 0.25 * variance})
    assert derived.variability_share(planted) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "measure",
    [
        lambda planted: derived.variability_share(planted),
        lambda planted: derived.longitude_r2([planted, planted]),
    ],
    ids=["variability", "shapes"],
)
def test_a_measure_downloads_nothing(measure, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    monkeypatch.setattr("mixnam.data.publishers.fetch", lambda url, *arguments: asked.append(url))
    planted = result(measures={"variability.mean": 0.1})
    with contextlib.suppress(DataError, OSError):
        measure(planted)
    assert asked == []


def predicting(name, off):
    """A simulation's result whose predictions are off by `off(x)` at the probe rows x."""
    x = catalogue.load(name).probe
    return law(name, probe_prediction=laws.truth(name, x) + off(x))


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


def test_explained_share_is_one_less_the_share_of_the_variance_missed():
    for share, expected in [(1.0, 1.0), (0.5, 0.75), (0.0, 0.0), (2.0, 0.0), (-1.0, -3.0)]:
        name = "sim_variability_2"
        x = catalogue.load(name).probe
        signal = laws.truth(name, x)
        planted = law(name, probe_prediction=signal.mean() + share * (signal - signal.mean()))
        assert derived.explained_share(planted) == pytest.approx(expected)


def test_real_data_have_no_known_law():
    for measure in ["excess_mse", "rare_excess_mse", "explained_share", "interaction_on_x1"]:
        assert math.isnan(derived.value(result("diabetes"), f"derived.{measure}"))


def test_curves_are_compared_with_the_sine_whatever_their_level():
    assert derived.curve_error(law(mean=SINE + 5)) == pytest.approx(0)
    assert derived.curve_error(law(mean=1.5 * SINE)) == pytest.approx(0.5 * SINE.std())
    assert derived.curve_error(law(mean=0 * X)) == pytest.approx(SINE.std())
    assert derived.shape_size(law(mean=0.15 * SINE + 2)) == pytest.approx(0.15)
    assert derived.shape_size(law(mean=-2 * SINE)) == pytest.approx(2)


def test_the_majority_is_minus_the_sine():
    for mean, expected in [(-SINE, 1), (SINE, -1), (-0.2 * SINE + 4, 1), (0 * X, 0)]:
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


def test_opposition_is_the_lesser_correlation_with_opposite_sines():
    for experts, expected in [
        ([SINE, -SINE], 1),
        ([-0.3 * SINE + 1, 2 * SINE], 1),
        ([SINE, SINE], -1),
        ([SINE, -0.6 * SINE + 0.8 * RIGHT_ANGLED * SINE.std() / RIGHT_ANGLED.std()], 0.6),
        ([SINE, 0 * X], 0),
        ([RIGHT_ANGLED, -RIGHT_ANGLED], 0),
    ]:
        assert derived.expert_opposition(law(experts=experts)) == pytest.approx(expected, abs=1e-6)


def test_the_interaction_is_found_on_the_feature_that_it_was_planted_on():
    for on_x1, expected in [(1.0, 1.0), (0.0, 0.0), (0.5, 0.5), (0.75, 0.75), (1.5, 1.5)]:
        x = catalogue.load("sim_multimodal").probe
        wave = x[:, 1] * np.sin(4 * np.pi * x[:, 0])
        main = np.column_stack([np.cos(x[:, 0]) + 3, 5 * x[:, 1]])  # each feature's own effect counts for nothing
        planted = law(
            probe_contributions=np.column_stack([on_x1 * wave, (1 - on_x1) * wave]) + main, probe_prediction=wave
        )
        assert derived.interaction_on_x1(planted) == pytest.approx(expected)
        additive = law(probe_contributions=main, probe_prediction=wave)
        assert math.isnan(derived.interaction_on_x1(additive))


def test_a_law_of_many_features_has_no_share_of_the_interaction():
    planted = law("sim_variability_2", probe_prediction=np.zeros(2000))
    assert math.isnan(derived.value(planted, "derived.interaction_on_x1"))


def test_width_is_compared_with_the_spread_of_outcomes():
    for name, spread in [("sim_noise", 0.1 + X), ("sim_hidden", np.hypot(SINE, 0.1))]:
        assert derived.width_over_spread(law(name, upper=spread + 5, lower=5 - spread)) == pytest.approx(1)
        assert derived.width_over_spread(law(name, upper=spread, lower=0 * X)) == pytest.approx(0.5)
        assert derived.width_over_spread(law(name, upper=0 * X, lower=0 * X)) == 0


def test_rare_bounds_are_compared_with_the_rare_branch():
    positive, size = SINE > 0, np.abs(SINE)
    follows = law("sim_sparse_5", upper=np.where(positive, SINE, 9), lower=np.where(positive, -9, SINE))
    assert derived.rare_bound_error(follows) == pytest.approx(0)
    assert derived.rare_bound_error(law("sim_sparse_5", upper=size, lower=-size)) == pytest.approx(0)
    assert derived.rare_bound_error(law("sim_sparse_5", upper=-SINE, lower=-SINE)) == pytest.approx(
        2 * math.sqrt(np.mean(SINE**2))
    )
    lifted = law("sim_sparse_5", upper=size + 0.1, lower=-size - 0.1)
    assert derived.rare_bound_error(lifted) == pytest.approx(0.1)


# of the sum of NC signs: 1 modifier ±1; 2 modifiers -2, 0, 2; of 8 the 1 % quantile is -6 (4 and 3.5 % lie at or below)
def test_bounds_are_compared_with_the_quantiles_of_the_effect():
    for count, most in [(1, 1), (2, 2), (4, 4), (8, 6)]:
        low, high = laws.quantiles(f"sim_variability_{count}", X)
        size = 64 / count * most * np.abs(SINE)
        np.testing.assert_allclose([low, high], [-size, size])
        name = f"sim_variability_{count}"
        assert derived.quantile_error(law(name, upper=size, lower=-size)) == pytest.approx(0)
        assert derived.quantile_error(law(name, upper=1.1 * size, lower=-1.1 * size)) == pytest.approx(0.1)
        assert derived.quantile_error(law(name, upper=0 * X, lower=0 * X)) == pytest.approx(1)


ROWS = catalogue.load("diabetes").x


def shaped(*shapes, level=0.0, every=1):
    """A Diabetes result whose first features have these shapes, known at every (or some) value of the data."""
    values = [np.unique(ROWS[:, i]) for i in range(len(shapes))]
    values = [np.union1d(v[::every], v[-1:]) for v in values]
    most = max(map(len, values))
    grid = np.stack([np.pad(v, (0, most - len(v)), constant_values=np.nan) for v in values])
    mean = np.stack([shape(v) for shape, v in zip(shapes, grid, strict=True)]) + level
    return result("diabetes", arrays={"grid": grid, "grid_mean": mean, "contribution_mean": np.zeros(len(shapes))})


def wave(x):
    return np.sin(x / 5)


def spiky(x):
    return (np.floor(7 * x) % 2) - 0.5


def flat(x):
    return 0 * x


def test_shape_r2_of_a_shape_with_itself_is_one_and_falls_with_noise():
    age = ROWS[:, 0]
    found, expected = [], []
    for size in (0, 0.1, 0.3, 1, 3):
        first = shaped(lambda x, size=size: wave(x) + size * spiky(x), level=8)
        found.append(derived.shape_r2([first, shaped(wave)]))
        expected.append(1 - size**2 * spiky(age).var() / wave(age).var())
    assert found == pytest.approx(expected)
    assert found[0] == 1 and found == sorted(found, reverse=True)


def test_shape_r2_weighs_features_by_the_second_models_shape():
    def small(x):
        return 0.1 * wave(x)

    big, little = wave(ROWS[:, 2]).var(), small(ROWS[:, 0]).var()
    without_small = [shaped(flat, flat, wave), shaped(small, flat, wave)]
    without_big = [shaped(small, flat, flat), shaped(small, flat, wave)]
    assert derived.shape_r2(without_small) == pytest.approx(1 - little / (big + little))
    assert derived.shape_r2(without_big) == pytest.approx(1 - big / (big + little))


def test_shape_r2_weighs_values_by_their_rows():
    ages = np.unique(ROWS[:, 0])
    common, rare = (max(ages, key=lambda a, s=s: s * (ROWS[:, 0] == a).sum()) for s in (1, -1))

    def off(where):
        return shaped(lambda x: wave(x) + (x == where))

    found = {where: derived.shape_r2([off(where), shaped(wave)]) for where in (common, rare)}
    for where, value in found.items():
        assert value == pytest.approx(1 - (ROWS[:, 0] == where).var() / wave(ROWS[:, 0]).var())
    assert found[common] < found[rare] < 1


def test_shape_r2_reads_each_shape_on_its_own_grid():
    assert derived.shape_r2([shaped(lambda x: 5 * x), shaped(lambda x: 5 * x, every=7)]) == pytest.approx(1)


def test_longitude_r2_looks_at_one_feature_alone():
    right, wrong = [flat] * 7 + [wave], [wave] * 8
    assert derived.longitude_r2([shaped(*wrong), shaped(*right)]) == pytest.approx(1)
    assert derived.longitude_r2([shaped(*wrong[:7], flat), shaped(*wrong)]) == pytest.approx(0)


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
    for scores, expected in (((0.45, 0.46, 0.6), 1), ((0.6, 0.5, 0.4), -1)):
        found = sweep(zip((0.0, 1.0, 9.0), scores, strict=True), **additivity)
        numbers = [Numbers(one.spec.settings, one.value) for one in found]
        assert derived.additivity_and_error(numbers) == pytest.approx(expected)
        assert derived.joint("additivity_and_error", found) == pytest.approx(expected)


def contributing(values, mean):
    return result(arrays={"sample_contributions": values, "contribution_mean": np.asarray(mean)})


def test_contributions_are_compared_centred_and_in_units_of_their_spread():
    b = np.random.default_rng(0).normal(0, [1, 10], (100, 2))
    b -= b.mean(axis=0)
    base = contributing(b, [0, 0])
    assert derived._distance([contributing(b + 7, [7, 7]), base]) == pytest.approx(0)
    more_rows = np.vstack([b, 99 + b])  # seed 0 stores more rows than the others
    assert derived._distance([contributing(more_rows, [0, 0]), base]) == pytest.approx(0)
    expected = np.abs(b).mean(axis=0).sum() / b.std(axis=0).sum()  # twice as large: each value moves by itself
    assert derived._distance([contributing(2 * b, [0, 0]), base]) == pytest.approx(expected)
    first = contributing(b * [1, 2], [0, 0])  # the important feature moves: almost the same
    assert derived._distance([first, base]) > 0.9 * expected
    assert derived._distance([contributing(b * [2, 1], [0, 0]), base]) < 0.2 * expected


def test_drift_is_how_far_models_move_over_how_far_seeds_do():
    b = np.random.default_rng(0).normal(0, [1, 10], (100, 2))
    b -= b.mean(axis=0)
    own = [contributing(1.3 * b, [0, 0]), contributing(b, [0, 0])]
    other = [contributing(5 * b, [0, 0]), contributing(1.1 * b, [0, 0])]  # its first model does not matter
    assert derived.drift_over_seeds(own, other) == pytest.approx(3)
    assert derived.drift_over_seeds(own[::-1], other[::-1]) == pytest.approx(0.3 / 3.7)


CELLS = [(c, k) for c in (2, 4, 8, 16) for k in (2, 4, 8, 16) if k <= c]


def cells(scores, model="MixNAM"):
    """Numbers of Table 8's cells: `scores` by (C, K)."""
    found = [result(model=model, score=v, experts=c, active_experts=k) for (c, k), v in scores.items()]
    return [Numbers(one.spec.settings, one.value) for one in found]


def test_slopes_are_those_planted():
    scores = {(c, k): 0.5 - 0.01 * math.log2(c) + 0.02 * math.log2(k) for c, k in CELLS}
    assert derived.slope_over_experts(cells(scores)) == pytest.approx(-0.01)
    assert derived.slope_over_active(cells(scores)) == pytest.approx(0.02)


def test_the_printed_table_ranks_as_printed():
    for model in ("MixNAM", "MixNAM-E"):
        rows = published.table("table8_expert_scaling_housing").query("model == @model")
        printed = {(c, k): m for c, k, m in rows[["C", "K", "rmse_mean"]].itertuples(index=False)}
        opposite = {cell: -mean for cell, mean in printed.items()}
        assert derived.rank_as_printed(cells(printed, model)) == pytest.approx(1)
        assert derived.rank_as_printed(cells(opposite, model)) == pytest.approx(-1)
        # a new number for one cell that keeps the order, and one that does not
        least, most = min(printed, key=printed.get), max(printed, key=printed.get)
        kept = printed | {least: printed[least] - 0.1}
        assert derived.rank_as_printed(cells(kept, model)) == pytest.approx(1)
        assert derived.rank_as_printed(cells(printed | {most: printed[most] - 1}, model)) < 0.7


def rare(error, model="MixNAM", **settings):
    x = catalogue.load("sim_sparse_5").probe
    prediction = laws.truth("sim_sparse_5", x) + np.where(x[:, 1] > 0, error, 0)
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
    held = ("metrics.test.rmse", "measures.additivity.marginal", "measures.additivity.conditional", "cost.parameters")
    assert all(derived.find(planted, measure) is not None for measure in held)  # None: taken, and without a value
    assert derived.find(planted, "measures.tightness.range") is None
    assert derived.find(planted, "derived.peak_distance") is None


def test_a_measure_that_is_unknown_is_refused():
    for measure in [
        "derived.peaks",
        "joint.peak_distance",
        "pooled.shape_r2",
        "crossed.shape_r2",
        "derived.drift_over_seeds",
    ]:
        with pytest.raises(ValueError, match=f"measure '{measure}' is unknown; known are"):
            derived.check(measure)


def test_every_function_serves_a_claim():
    used = {(c.measure.partition(".")[0], c.measure.partition(".")[2]) for c in claims()}
    assert {name for kind, name in used if kind == "derived"} == set(derived.DERIVED)
    assert {name for kind, name in used if kind in ("joint", "pooled")} == {*derived.OF_RESULTS, *derived.OF_NUMBERS}
    assert {name for kind, name in used if kind == "crossed"} == set(derived.CROSSED)


def test_a_law_without_the_number_has_none():
    """Tables ask every law of a page for every measure."""
    has = {("quantile_error", "sim_variability_2"), ("width_over_spread", "sim_noise")}
    for law in ("sim_noise", "sim_variability_2"):
        (trained,) = fit(specs_of(law, "MixNAM", "smoke", seeds=1), "cpu", "smoke")
        for name in ("quantile_error", "width_over_spread", "interaction_on_x1"):
            if (name, law) in has:
                assert math.isfinite(derived.value(trained, f"derived.{name}"))
            holds = (name, law) in {*has, ("interaction_on_x1", "sim_noise")}
            assert (derived.find(trained, f"derived.{name}") is not None) == holds


def test_which_measures_rest_on_what_a_revision_changes():
    resting = {c.measure for c in claims() if derived.rests_on_measures(c.measure)}
    assert "measures.additivity.marginal" in resting and "pooled.additivity_and_error" in resting
    old = result(score=0.5, measures={"additivity.marginal": 0.5, "variability.mean": 1.0})
    old.measures["revision"] = 1
    for measure in resting:
        kind, _, name = measure.partition(".")
        if kind in ("measures", "derived"):
            assert derived.find(old, measure) is None
        else:
            with pytest.raises(KeyError, match="revision 1"):
                derived.joint(name, [old, old])
    assert derived.find(old, "metrics.test.rmse") == 0.5
