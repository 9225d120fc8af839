"""Numbers that claims rest on, computed from stored results: of one result, or of several of one seed.

A claim's measure is a path into a result (`metrics.test.rmse`), or `derived.NAME` for a function of one
result, or `joint.NAME` for a function of the results that its subjects have for one seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from scipy.signal import find_peaks

from mixnam import datasets, published, simulations
from mixnam.datasets import Array
from mixnam.results import Result

LONGITUDE = 7  # Housing's column
PEAKS = (-122.5, -118.5)  # where Section 4.2 sees house prices rise
VALLEY = (-120.0, -119.0)  # where it sees wide bounds


def _curves(result: Result, feature: int) -> tuple[Array, dict[str, Array]]:
    """Return a feature's grid and its curves there, centred by the mean contribution."""
    arrays = result.arrays
    grid = arrays["grid"][feature].astype(float)
    shown = ~np.isnan(grid)
    names = [n for n in ("lower", "upper", "mean") if f"grid_{n}" in arrays]
    centre = float(arrays["contribution_mean"][feature])
    return grid[shown], {n: arrays[f"grid_{n}"][feature][shown].astype(float) - centre for n in names}


def _density(result: Result, feature: int, at: Array) -> Array:
    """Return how many rows lie in the histogram cell of each value; 0 outside."""
    counts = result.arrays["density"][feature].astype(float)
    low, high = result.arrays["density_range"][feature]
    cell = np.floor((at - low) / (high - low) * len(counts))
    inside = (cell >= 0) & (cell < len(counts))
    return np.where(inside, counts[np.clip(cell, 0, len(counts) - 1).astype(int)], 0.0)


def _correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def peak_distance(result: Result) -> float:
    """Return how far (degrees) the two most prominent peaks over longitude lie from the stated ones, the larger."""
    x, curves = _curves(result, LONGITUDE)
    even = np.linspace(x.min(), x.max(), 400)
    shape = np.interp(even, x, curves["mean"])
    found, facts = find_peaks(np.pad(shape, 1, constant_values=shape.min()), prominence=0)
    places = even[found[np.argsort(-facts["prominences"])[:2]] - 1]
    return float(max(np.abs(places - place).min() for place in PEAKS))


def valley_width(result: Result) -> float:
    """Return the mean width of longitude's bounds between -120 and -119 over that elsewhere, by rows."""
    x, curves = _curves(result, LONGITUDE)
    rows = result.arrays["sample_x"][:, LONGITUDE]
    width = np.interp(rows, x, curves["upper"] - curves["lower"])
    inside = (rows >= VALLEY[0]) & (rows <= VALLEY[1])
    return float(width[inside].mean() / width[~inside].mean())


def valley_low(result: Result) -> float:
    """Return the share of rows between longitude -120 and -119 in the lower third of their bounds."""
    x, curves = _curves(result, LONGITUDE)
    rows = result.arrays["sample_x"][:, LONGITUDE]
    inside = (rows >= VALLEY[0]) & (rows <= VALLEY[1])
    centre = result.arrays["contribution_mean"][LONGITUDE]
    low, high = (np.interp(rows[inside], x, curves[k]) for k in ("lower", "upper"))
    place = (result.arrays["sample_contributions"][inside, LONGITUDE] - centre - low) / (high - low)
    return float((place < 1 / 3).mean())


def width_and_density(result: Result) -> float:
    """Return Spearman's correlation of bound width and data density over each feature's grid, averaged."""
    found = []
    for feature in range(len(result.arrays["grid"])):
        x, curves = _curves(result, feature)
        if len(x) > 10:
            found.append(stats.spearmanr(curves["upper"] - curves["lower"], _density(result, feature, x)).statistic)
    return float(np.nanmean(found))


def variability_share(result: Result) -> float:
    """Return the variability of Equation (19), averaged over features, over the target's variance."""
    return result.value("measures.variability.mean") / float(datasets.load(result.spec.dataset).y.var())


def _probe(result: Result) -> tuple[Array, Array, Array]:
    """Return a simulation's probe rows, the truth there and the prediction."""
    x = datasets.load(result.spec.dataset).probe
    if x is None:
        raise KeyError(f"{result.spec.dataset} has no probe rows; only simulations have")
    return x, simulations.truth(result.spec.dataset, x), result.arrays["probe_prediction"].astype(float)


def excess_mse(result: Result) -> float:
    """Return the mean squared distance from the noise-free law: test error beyond the noise."""
    _, truth, prediction = _probe(result)
    return float(np.mean((prediction - truth) ** 2))


def rare_excess_mse(result: Result) -> float:
    """Return `excess_mse` over the rows of the rare mode, x2 = 1."""
    x, truth, prediction = _probe(result)
    return float(np.mean((prediction - truth)[x[:, 1] > 0] ** 2))


def explained_share(result: Result) -> float:
    """Return the share of the law's variance that the prediction explains; 0 where it explains none."""
    _, truth, prediction = _probe(result)
    return float(1 - np.mean((prediction - truth) ** 2) / truth.var())


def _sine(result: Result) -> tuple[Array, dict[str, Array], Array]:
    x, curves = _curves(result, 0)
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
    """Return which share of the interaction's variance x1's contribution carries, the rest being on x2.

    NaN where the model has next to no interaction (less than 1e-4 of the law's variance).
    """
    x, truth, _ = _probe(result)
    half = len(x) // 2
    if "probe_contributions" not in result.arrays or not np.array_equal(x[:half, 0], x[half:, 0]):
        raise KeyError(f"{result.spec.dataset} has no grid of two features")
    parts = result.arrays["probe_contributions"].astype(float).reshape(2, half, 2)  # (x2, x1, feature)
    double = parts - parts.mean(axis=0) - parts.mean(axis=1, keepdims=True) + parts.mean(axis=(0, 1))
    size = (double**2).mean(axis=(0, 1))
    return float(size[0] / size.sum()) if size.sum() > 1e-4 * truth.var() else math.nan


def width_and_spread(result: Result) -> float:
    """Return the correlation of the width of x1's bounds with the true spread of y at x1."""
    x, curves, _ = _sine(result)
    return _correlation(curves["upper"] - curves["lower"], simulations.spread(result.spec.dataset, x))


DERIVED: dict[str, Callable[[Result], float]] = {
    f.__name__: f
    for f in (
        peak_distance, valley_width, valley_low, width_and_density, variability_share, excess_mse, rare_excess_mse,
        explained_share, curve_error, shape_size, majority, bound_error, expert_distance, expert_opposition,
        interaction_on_x1, width_and_spread,
    )
}  # fmt: skip


def _r2(results: Sequence[Result], features: Sequence[int]) -> float:
    residual = total = 0.0
    for feature in features:
        x, curves = _curves(results[0], feature)
        other_x, other = _curves(results[1], feature)
        weight = _density(results[0], feature, x)
        shapes = [curves["mean"], np.interp(x, other_x, other["mean"])]
        first, second = (s - np.average(s, weights=weight) for s in shapes)
        residual += float(np.average((first - second) ** 2, weights=weight))
        total += float(np.average(second**2, weights=weight))
    return 1 - residual / total


def shape_r2(results: Sequence[Result]) -> float:
    """Return how much of the second model's shape functions the first one's explain, over all features.

    Points of the grid are weighted by the data's density, features by the variance of the second
    model's shape.
    """
    return _r2(results, range(len(results[0].arrays["grid"])))


def longitude_r2(results: Sequence[Result]) -> float:
    """Return `shape_r2` of longitude alone."""
    return _r2(results, [LONGITUDE])


def width_over_penalty(results: Sequence[Result]) -> float:
    """Return Spearman's correlation of λ and the median width of bounds."""
    widths = [np.mean(r.measures["bounds"]["median_width_per_feature"]) for r in results]
    return _rank(results, widths)


def additivity_and_error(results: Sequence[Result]) -> float:
    """Return Spearman's correlation of additivity and test RMSE over models."""
    pairs = [(r.value("measures.additivity.marginal"), r.value("metrics.test.rmse")) for r in results]
    return float(stats.spearmanr(pairs).statistic)


def contribution_distance(results: Sequence[Result]) -> float:
    """Return the Wasserstein distance of the rows' centred contributions between two models.

    In units of their standard deviation, averaged over features by importance.
    """
    a, b = (r.arrays["sample_contributions"] - r.arrays["contribution_mean"] for r in results)
    rows = min(len(a), len(b))
    sizes = b[:rows].std(axis=0)
    distances = [stats.wasserstein_distance(a[:rows, i], b[:rows, i]) for i in range(a.shape[1])]
    return float(np.sum(distances) / np.sum(sizes))


def _rank(results: Sequence[Result], values: Sequence[float]) -> float:
    penalties = [r.spec.settings.variation_penalty for r in results]  # type: ignore[attr-defined]
    return float(stats.spearmanr(penalties, values).statistic)


def _grid(results: Sequence[Result]) -> tuple[Array, Array, Array]:
    """Return log2 C, log2 K and test RMSE of each cell of Table 8."""
    settings = [r.spec.settings for r in results]
    c, k = ([math.log2(getattr(s, name)) for s in settings] for name in ("experts", "active_experts"))
    return np.array(c), np.array(k), np.array([r.value("metrics.test.rmse") for r in results])


def _slopes(results: Sequence[Result]) -> Array:
    c, k, rmse = _grid(results)
    slopes: Array = np.linalg.lstsq(np.column_stack([np.ones_like(c), c, k]), rmse, rcond=None)[0].astype(float)
    return slopes


def slope_over_experts(results: Sequence[Result]) -> float:
    """Return the slope of test RMSE over log2 C, at equal K."""
    return float(_slopes(results)[1])


def slope_over_active(results: Sequence[Result]) -> float:
    """Return the slope of test RMSE over log2 K, at equal C."""
    return float(_slopes(results)[2])


def behind_best(results: Sequence[Result]) -> float:
    """Return the first model's test RMSE less the best of all."""
    scores = [r.value("metrics.test.rmse") for r in results]
    return scores[0] - min(scores)


def lead(results: Sequence[Result]) -> float:
    """Return the best test RMSE of the other models less the first one's."""
    scores = [r.value("metrics.test.rmse") for r in results]
    return min(scores[1:]) - scores[0]


def rank_as_printed(results: Sequence[Result]) -> float:
    """Return Spearman's correlation of test RMSEs with those that Table 8 prints for the same cells."""
    printed = []
    for r in results:
        found = published.scaling(r.spec.model, r.spec.settings.experts, r.spec.settings.active_experts)  # type: ignore[attr-defined]
        printed.append(math.nan if found is None else found[0])
    return float(stats.spearmanr(printed, [r.value("metrics.test.rmse") for r in results]).statistic)


def rare_over_experts(results: Sequence[Result]) -> float:
    """Return Spearman's correlation of the number of experts and the rare mode's excess MSE."""
    return float(stats.spearmanr(_grid(results)[0], [rare_excess_mse(r) for r in results]).statistic)


def rare_gain(results: Sequence[Result]) -> float:
    """Return the second model's excess MSE on the rare mode less the first one's."""
    return rare_excess_mse(results[1]) - rare_excess_mse(results[0])


JOINT: dict[str, Callable[[Sequence[Result]], float]] = {
    f.__name__: f
    for f in (
        shape_r2, longitude_r2, width_over_penalty, additivity_and_error, contribution_distance, slope_over_experts,
        slope_over_active, behind_best, lead, rank_as_printed, rare_over_experts, rare_gain,
    )
}  # fmt: skip


def value(result: Result, measure: str) -> float:
    """Return a number of one result by path or `derived.NAME`; NaN where the result has no such number."""
    kind, _, name = measure.partition(".")
    try:
        return DERIVED[name](result) if kind == "derived" else result.value(measure)
    except KeyError:
        if kind == "derived" and name not in DERIVED:
            raise
        return math.nan


def check(measure: str) -> None:
    """Raise ValueError where `measure` names no known function."""
    kind, _, name = measure.partition(".")
    known = {"derived": list(DERIVED), "joint": list(JOINT)}.get(kind, [name])
    if name not in known:
        raise ValueError(f"measure {measure!r} is unknown; known are {', '.join(known)}")
