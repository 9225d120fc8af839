"""Numbers that claims rest on, computed from stored results: of one result, or of several models' results.

A claim's measure is a path into a result (`metrics.test.rmse`), or `derived.NAME` for a function of one
result, `joint.NAME` for a function of the results that its subjects have for one seed, `pooled.NAME` for one of its
subjects' means, or `crossed.NAME` for one of the results of two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import find_peaks

from mixnam.data import catalogue, laws
from mixnam.data.table import Array
from mixnam.explain.curves import centred
from mixnam.models import Settings
from mixnam.paper import published
from mixnam.paper.intervals import CORRELATION, EXPLAINED, LINEAR, SHARE, Scale
from mixnam.runs.results import Result

LATITUDE, LONGITUDE = 6, 7  # Housing's columns
PEAKS = (-122.5, -118.5)  # where Section 4.2 sees house prices rise
VALLEY = (-120.0, -119.0)  # where it sees wide bounds
COAST = 34.6  # degrees of latitude: in the valley the sea lies south of it, Bakersfield and Fresno north


def _density(result: Result, feature: int, at: Array) -> Array:
    """Return how many rows lie in the histogram cell of each value; 0 outside."""
    counts = result.arrays["density"][feature].astype(float)
    low, high = result.arrays["density_range"][feature]
    cell = np.floor((at - low) / (high - low) * len(counts))
    inside = (at >= low) & (at <= high)  # the last cell holds its upper end
    return np.where(inside, counts[np.clip(cell, 0, len(counts) - 1).astype(int)], 0.0)


def _correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def peak_distance(result: Result) -> float:
    """Return how far (degrees) the two most prominent peaks over longitude lie from the stated ones, the larger.

    Over the central 99 % of the rows; of a mixture the line midway between its bounds.
    """
    x, curves = centred(result.arrays, LONGITUDE)
    low, high = result.arrays["density_range"][LONGITUDE]
    even = np.linspace(low, high, 400)
    line = (curves["lower"] + curves["upper"]) / 2 if "upper" in curves else curves["mean"]
    shape = np.interp(even, x, line)
    found, facts = find_peaks(shape, prominence=0)
    if len(found) < 2:
        return math.inf
    places = even[found[np.argsort(-facts["prominences"])[:2]]]
    return float(max(np.abs(places - place).min() for place in PEAKS))


def _valley(result: Result) -> tuple[Array, Array, NDArray[np.bool]]:
    """Return the cells of longitude's histogram: their middles, rows in each, and which lie in the valley."""
    low, high = result.arrays["density_range"][LONGITUDE]
    rows = result.arrays["density"][LONGITUDE].astype(float)
    middles = low + (np.arange(len(rows)) + 0.5) * (high - low) / len(rows)
    return middles, rows, (middles >= VALLEY[0]) & (middles <= VALLEY[1])


def _weighted(values: Array, weights: Array) -> float:
    return float(np.average(values, weights=weights)) if weights.sum() > 0 else math.nan


def valley_width(result: Result) -> float:
    """Return the mean width of longitude's bounds between -120 and -119 over that elsewhere, by rows."""
    x, curves = centred(result.arrays, LONGITUDE)
    middles, rows, inside = _valley(result)
    width = np.interp(middles, x, curves["upper"] - curves["lower"])
    here, elsewhere = (_weighted(width[part], rows[part]) for part in (inside, ~inside))
    return here / elsewhere if elsewhere > 0 else math.nan


def valley_low(result: Result) -> float:
    """Return the share of rows between longitude -120 and -119 in the lower third of their bounds."""
    _, rows, inside = _valley(result)
    share = result.arrays["low_share"][LONGITUDE].astype(float)
    kept = inside & np.isfinite(share)
    return _weighted(share[kept], rows[kept])


def _surface(result: Result) -> tuple[Array, Array, Array, Array]:
    """Return what a pairwise model says of longitude and latitude together, longitude first.

    Values of both, (L,) and (B,); the centred effect over both, (L, B), and the rows in each cell. KeyError where
    the result has no surface of this pair.
    """
    pairs = [sorted(pair) for pair in result.arrays["pairs"].tolist()] if "pairs" in result.arrays else []
    if [LATITUDE, LONGITUDE] not in pairs:
        raise KeyError(f"result {result.key[:12]} ({result.spec}) has no surface of latitude and longitude")
    k = pairs.index([LATITUDE, LONGITUDE])
    values, effect, rows = (
        result.arrays[name][k].astype(float) for name in ("pair_values", "pair_effect", "pair_rows")
    )
    if result.arrays["pairs"][k].tolist() == [LATITUDE, LONGITUDE]:
        values, effect, rows = values[::-1], effect.T, rows.T
    x, y = (line[np.isfinite(line)] for line in values)
    return x, y, effect[: len(x), : len(y)], rows[: len(x), : len(y)]


def coast_and_inland(result: Result) -> float:
    """Return how clearly a pairwise model tells the coast between longitude -120 and -119 from the land behind it.

    The lesser of its mean effect on the coast, south of COAST, and minus that inland, by rows; above 0 where the
    coast raises prices and the land lowers them. NaN where either has no rows.
    """
    x, y, effect, rows = _surface(result)
    valley = (x >= VALLEY[0]) & (x <= VALLEY[1])
    coast, inland = (_weighted(effect[valley][:, part], rows[valley][:, part]) for part in (y <= COAST, y > COAST))
    return float(np.minimum(coast, -inland))  # min() would pass over a NaN


def width_and_density(result: Result) -> float:
    """Return Spearman's correlation of bound width and data density over each feature's grid, averaged."""
    found = []
    for feature in range(len(result.arrays["grid"])):
        x, curves = centred(result.arrays, feature)
        if len(x) > 10:
            found.append(stats.spearmanr(curves["upper"] - curves["lower"], _density(result, feature, x)).statistic)
    return float(np.nanmean(found))


def variability_share(result: Result) -> float:
    """Return the variability of Equation (19), averaged over features, over the target's variance."""
    return result.value("measures.variability.mean") / float(
        catalogue.load(result.spec.dataset, download=False).y.var()
    )


def _probe(result: Result) -> tuple[Array, Array, Array]:
    """Return a simulation's probe rows, the truth there and the prediction."""
    x = catalogue.load(result.spec.dataset, download=False).probe
    if x is None:
        raise KeyError(f"{result.spec.dataset} has no probe rows; only simulations have")
    return x, laws.truth(result.spec.dataset, x), result.arrays["probe_prediction"].astype(float)


def excess_mse(result: Result) -> float:
    """Return the mean squared distance from the noise-free law: test error beyond the noise."""
    _, truth, prediction = _probe(result)
    return float(np.mean((prediction - truth) ** 2))


def rare_excess_mse(result: Result) -> float:
    """Return `excess_mse` over the rows of the rare mode, x2 = 1."""
    x, truth, prediction = _probe(result)
    return float(np.mean((prediction - truth)[x[:, 1] > 0] ** 2))


def explained_share(result: Result) -> float:
    """Return the share of the law's variance that the prediction explains; below 0 where a constant is better."""
    _, truth, prediction = _probe(result)
    return float(1 - np.mean((prediction - truth) ** 2) / truth.var())


def _sine(result: Result) -> tuple[Array, dict[str, Array], Array]:
    x, curves = centred(result.arrays, 0)
    return x, curves, np.sin(4 * math.pi * x)


def curve_error(result: Result) -> float:
    """Return the RMSE of x1's centred mean contribution against sin(4πx1)."""
    _, curves, sine = _sine(result)
    return float(np.sqrt(np.mean((curves["mean"] - curves["mean"].mean() - sine + sine.mean()) ** 2)))


def shape_size(result: Result) -> float:
    """Return the standard deviation of x1's shape function over that of the sine."""
    _, curves, sine = _sine(result)
    return float(curves["mean"].std() / sine.std())


def majority(result: Result) -> float:
    """Return the correlation of x1's shape function with -sin(4πx1), the frequent mode of Figure 6."""
    _, curves, sine = _sine(result)
    return -_correlation(curves["mean"], sine)


def bound_error(result: Result) -> float:
    """Return the RMSE of x1's centred bounds against ±|sin(4πx1)|."""
    _, curves, sine = _sine(result)
    error = [curves["upper"] - np.abs(sine), curves["lower"] + np.abs(sine)]
    return float(np.sqrt(np.mean(np.square(error))))


def _experts(result: Result) -> tuple[Array, Array]:
    """Return the two experts of x1 over its grid, (P, 2), centred, and the sine there."""
    x, _, sine = _sine(result)
    experts = result.arrays["grid_experts"][0][: len(x)].astype(float)
    return experts - experts.mean(axis=0), sine


def expert_distance(result: Result) -> float:
    """Return the root mean square distance of x1's two experts over the sine's standard deviation."""
    experts, sine = _experts(result)
    return float(np.sqrt(np.mean((experts[:, 0] - experts[:, 1]) ** 2)) / sine.std())


def expert_opposition(result: Result) -> float:
    """Return the lesser |correlation| of x1's two experts with the sine, negative if their signs agree."""
    experts, sine = _experts(result)
    a, b = (_correlation(experts[:, k], sine) for k in (0, 1))
    return min(abs(a), abs(b)) * (1 if a * b < 0 else -1)


def interaction_on_x1(result: Result) -> float:
    """Return which share of the interaction x1's contribution carries, the rest being on x2.

    It is the covariance of x1's part with the whole interaction over the whole's variance; NaN where the model has
    next to no interaction (less than 1e-4 of the law's variance).
    """
    x, truth, _ = _probe(result)
    half = len(x) // 2
    if "probe_contributions" not in result.arrays or not np.array_equal(x[:half, 0], x[half:, 0]):
        raise KeyError(f"{result.spec.dataset} has no grid of two features")
    parts = result.arrays["probe_contributions"].astype(float).reshape(2, half, 2)  # (x2, x1, feature)
    double = parts - parts.mean(axis=0) - parts.mean(axis=1, keepdims=True) + parts.mean(axis=(0, 1))
    whole = double.sum(axis=-1)
    if whole.var() <= 1e-4 * truth.var():
        return math.nan
    return float((double[..., 0] * whole).mean() / (whole**2).mean())  # the parts' shares add up to 1


def rare_bound_error(result: Result) -> float:
    """Return the RMSE of x1's centred bounds against the rare branch sin(4πx1): the upper where it is positive."""
    _, curves, sine = _sine(result)
    return float(np.sqrt(np.mean((np.where(sine > 0, curves["upper"], curves["lower"]) - sine) ** 2)))


def quantile_error(result: Result) -> float:
    """Return the RMSE of x1's centred bounds against the true 1 % and 99 % quantiles, over the quantiles' RMS."""
    if not result.spec.dataset.startswith("sim_variability"):
        raise KeyError(f"{result.spec.dataset} has no modifiers of x1")
    x, curves, _ = _sine(result)
    low, high = laws.quantiles(result.spec.dataset, x)
    error = np.mean([(curves["lower"] - low) ** 2, (curves["upper"] - high) ** 2])
    return float(np.sqrt(error / np.mean([low**2, high**2])))


def width_over_spread(result: Result) -> float:
    """Return the mean width of x1's bounds over twice the mean true standard deviation of y at x1."""
    if result.spec.dataset not in ("sim_noise", "sim_hidden"):
        raise KeyError(f"{result.spec.dataset} has no known spread of y")
    x, curves, _ = _sine(result)
    width = np.mean(curves["upper"] - curves["lower"])
    return float(width / (2 * np.mean(laws.spread(result.spec.dataset, x))))


DERIVED: dict[str, Callable[[Result], float]] = {
    f.__name__: f
    for f in (
        peak_distance, valley_width, valley_low, coast_and_inland, width_and_density, variability_share, excess_mse,
        rare_excess_mse, explained_share, curve_error, shape_size, majority, bound_error, expert_distance,
        expert_opposition, interaction_on_x1, rare_bound_error, quantile_error, width_over_spread,
    )
}  # fmt: skip


def _r2(results: Sequence[Result], features: Sequence[int]) -> float:
    rows = catalogue.load(results[0].spec.dataset, download=False).x
    residual = total = 0.0
    for feature in features:
        curves = (centred(r.arrays, feature) for r in results)
        first, second = (np.interp(rows[:, feature], x, lines["mean"]) for x, lines in curves)
        residual += float((first - first.mean() - second + second.mean()).var())
        total += float(second.var())
    return 1 - residual / total


def shape_r2(results: Sequence[Result]) -> float:
    """Return how much of the second model's shape functions the first one's explain, over all features.

    Over the rows of the data set; features are weighted by the variance of the second model's shape.
    """
    return _r2(results, range(len(results[0].arrays["grid"])))


def longitude_r2(results: Sequence[Result]) -> float:
    """Return `shape_r2` of longitude alone."""
    return _r2(results, [LONGITUDE])


def width_over_penalty(results: Sequence[Result]) -> float:
    """Return Spearman's correlation of λ and the median width of bounds."""
    penalties = [r.spec.settings.all()["variation_penalty"] for r in results]
    widths = [np.mean(r.current_measures()["bounds"]["median_width_per_feature"]) for r in results]
    return float(stats.spearmanr(penalties, widths).statistic)


def _distance(results: Sequence[Result]) -> float:
    """Return the Wasserstein distance of two models' centred contributions, over the second's spread."""
    a, b = (r.arrays["sample_contributions"] - r.arrays["contribution_mean"] for r in results)
    rows = min(len(a), len(b))
    sizes = b[:rows].std(axis=0)
    distances = [stats.wasserstein_distance(a[:rows, i], b[:rows, i]) for i in range(a.shape[1])]
    return float(np.sum(distances) / np.sum(sizes))


def drift_over_seeds(results: Sequence[Result], others: Sequence[Result]) -> float:
    """Return how far contributions move between two models of one seed, over how far between two seeds.

    `results` are the two models of a seed, `others` the same of another.
    """
    return _distance(results) / _distance([others[1], results[1]])


def rare_over_experts(results: Sequence[Result]) -> float:
    """Return Spearman's correlation of the number of experts and the rare mode's excess MSE."""
    experts = [r.spec.settings.all()["experts"] for r in results]
    return float(stats.spearmanr(experts, [rare_excess_mse(r) for r in results]).statistic)


def rare_gain(results: Sequence[Result]) -> float:
    """Return the second model's excess MSE on the rare mode less the first one's."""
    return rare_excess_mse(results[1]) - rare_excess_mse(results[0])


@dataclass(frozen=True)
class Numbers:
    """One model's settings and its numbers by path: of a run, means over runs, or as printed.

    `value` raises KeyError for a number that there is not.
    """

    settings: Settings
    value: Callable[[str], float]


def _errors(models: Sequence[Numbers]) -> list[float]:
    return [model.value("metrics.test.rmse") for model in models]


def additivity_and_error(models: Sequence[Numbers]) -> float:
    """Return Spearman's correlation of additivity and test RMSE over models."""
    additivity = [model.value("measures.additivity.marginal") for model in models]
    return float(stats.spearmanr(additivity, _errors(models)).statistic)


def _slopes(models: Sequence[Numbers]) -> Array:
    """Return level and slopes of test RMSE over log2 C and log2 K, by least squares over cells of Table 8."""
    cells = [(m.settings.all()["experts"], m.settings.all()["active_experts"]) for m in models]
    design = np.column_stack([np.ones(len(cells)), np.log2(cells)])
    slopes: Array = np.linalg.lstsq(design, _errors(models), rcond=None)[0].astype(float)
    return slopes


def slope_over_experts(models: Sequence[Numbers]) -> float:
    """Return the slope of test RMSE over log2 C, at equal K."""
    return float(_slopes(models)[1])


def slope_over_active(models: Sequence[Numbers]) -> float:
    """Return the slope of test RMSE over log2 K, at equal C."""
    return float(_slopes(models)[2])


def rank_as_printed(models: Sequence[Numbers]) -> float:
    """Return Spearman's correlation of test RMSEs with those that Table 8 prints for the same cells."""
    cells = [(m.settings.all()["experts"], m.settings.all()["active_experts"]) for m in models]
    found = [published.scaling(m.settings.model, *cell) for m, cell in zip(models, cells, strict=True)]
    printed = [math.nan if pair is None else pair[0] for pair in found]
    return float(stats.spearmanr(printed, _errors(models)).statistic)


#: Measures of several models: of their results, which hold curves and predictions, or of their numbers alone.
OF_RESULTS: dict[str, Callable[[Sequence[Result]], float]] = {
    f.__name__: f for f in (shape_r2, longitude_r2, width_over_penalty, rare_over_experts, rare_gain)
}
OF_NUMBERS: dict[str, Callable[[Sequence[Numbers]], float]] = {
    f.__name__: f for f in (additivity_and_error, slope_over_experts, slope_over_active, rank_as_printed)
}
CROSSED: dict[str, Callable[[Sequence[Result], Sequence[Result]], float]] = {"drift_over_seeds": drift_over_seeds}


def joint(name: str, results: Sequence[Result]) -> float:
    """Return a measure of the results that several models have for one seed; KeyError where one lacks a number."""
    if name in OF_RESULTS:
        return OF_RESULTS[name](results)
    return OF_NUMBERS[name]([Numbers(result.spec.settings, result.value) for result in results])


#: Bounded numbers by the scale on which their intervals are taken.
_SCALES: dict[Scale, tuple[str, ...]] = {
    SHARE: ("measures.additivity.marginal", "measures.tightness.range", "measures.interventions_outside_bounds.mean"),
    CORRELATION: ("derived.width_and_density", "derived.majority", "joint.rare_over_experts"),
    EXPLAINED: ("derived.explained_share", "joint.longitude_r2", "joint.shape_r2"),
}


def scale(measure: str) -> Scale:
    """Return the scale on which a measure's interval is taken: its own, unless it is bounded."""
    return next((found for found, names in _SCALES.items() if measure in names), LINEAR)


#: Derived, joint and pooled numbers that rest on stored measures; the others on scores, curves and rows.
_OF_MEASURES = ("variability_share", "width_over_penalty", "additivity_and_error")


def rests_on_measures(measure: str) -> bool:
    """Return whether a claim's measure needs stored measures, which may be of an older revision."""
    kind, _, name = measure.partition(".")
    return kind == "measures" or name in _OF_MEASURES


def find(result: Result, measure: str) -> float | None:
    """Return a number of one result by path or `derived.NAME`; NaN where it has no value.

    None where the result does not hold what the measure needs, as one from before the measure existed.
    """
    kind, _, name = measure.partition(".")
    try:
        return DERIVED[name](result) if kind == "derived" else result.value(measure)
    except KeyError:
        return None


def value(result: Result, measure: str) -> float:
    """Return a number of one result as `find` does; NaN also where the result does not hold what it needs."""
    found = find(result, measure)
    return math.nan if found is None else found


def check(measure: str) -> None:
    """Raise ValueError where `measure` names no known function."""
    kind, _, name = measure.partition(".")
    known = {"derived": [*DERIVED], "joint": [*OF_RESULTS, *OF_NUMBERS], "pooled": [*OF_NUMBERS], "crossed": [*CROSSED]}
    if kind in known and name not in known[kind]:
        raise ValueError(f"measure {measure!r} is unknown; known are {', '.join(known[kind])}")
