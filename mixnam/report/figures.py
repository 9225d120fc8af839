"""The paper's figures that set several results beside each other; the look is that of `plots`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mixnam.data.laws import quantiles, truth
from mixnam.data.table import Array
from mixnam.plots.shapes import (
    COLORS,
    LOWER,
    ROWS,
    UPPER,
    _curve,
    _data,
    _features,
    _finished,
    _outer_labels,
    shape_plot,
)
from mixnam.runs.results import Result

#: Results by model within each law (a simulation's data set name); None or absent: not run.
ByLaw = Mapping[str, Mapping[str, Result | None]]
#: What Housing's columns are measured in; the data set itself has bare names.
UNITS = {"Longitude": "degrees", "Latitude": "degrees", "HouseAge": "years", "MedInc": "10,000 dollars"}
TRUE: dict[str, Any] = {"color": COLORS[0], "linewidth": 1.2, "linestyle": "--", "zorder": 4}
SMALL = 9  # points
ACROSS = 4  # panels side by side at most


def _say(ax: Axes, text: str) -> None:
    """Say in a panel why it is empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#777777", fontsize=10)
    ax.grid(False)


def pair_surfaces(result: Result, pair: tuple[int, int] | None = None) -> Figure:
    """Draw what a pairwise model says of two features at once, beside their interaction alone (Figure 3).

    `pair` are their numbers; by default, and where the result has no surface of them, the pair that interacts most.
    Colours are in the target's units (log-odds for classes), white is where no rows lie.
    """
    names, label = _features(result.spec.dataset)
    arrays = result.arrays
    stored = [tuple(sorted(p)) for p in arrays["pairs"].tolist()]
    wanted = None if pair is None else tuple(sorted(pair))
    k = stored.index(wanted) if wanted in stored else 0
    i, j = arrays["pairs"][k]
    rows = arrays["pair_rows"][k]
    x, y = (values[np.isfinite(values)] for values in arrays["pair_values"][k])
    if pair is not None and pair[0] == j:  # the first that was asked for lies along x
        (i, j), (x, y), turn = (j, i), (y, x), True
    else:
        turn = False
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 4.0), sharex=True, sharey=True, layout="constrained")
    titles = {"pair_effect": "both features", "pair_interaction": "their interaction alone"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        surface = np.where(rows > 0, arrays[name][k], np.nan)
        surface = surface.T if turn else surface
        shown = surface[: len(x), : len(y)].T
        limit = float(np.nanquantile(np.abs(shown), 0.99)) or 1.0
        drawn = ax.pcolormesh(x, y, shown, cmap="RdBu_r", vmin=-limit, vmax=limit, shading="nearest", rasterized=True)
        figure.colorbar(drawn, ax=ax, label=label if ax is axes[-1] else "")
        ax.set_title(title)
        ax.set_xlabel(_named(names[i]))
        ax.grid(False)
    axes[0].set_ylabel(_named(names[j]))
    categories = {} if (data := _data(result.spec.dataset)) is None else data.categories
    for feature, values, axis in [(i, x, ax.xaxis) for ax in axes] + [(j, y, axes[0].yaxis)]:
        if feature in categories:
            axis.set_ticks(values, [textwrap.shorten(categories[feature][int(v)], 18, placeholder="…") for v in values])
            axis.set_tick_params(labelsize=SMALL, rotation=90 if axis is not axes[0].yaxis else 0)
    return _finished(figure)


def _named(feature: str) -> str:
    return f"{feature} ({UNITS[feature]})" if feature in UNITS else feature


def compare_shapes(results: Mapping[str, Result | None], feature: int) -> Figure:
    """Draw what each model says about one feature, a panel a model on shared axes (Figures 3 and 8).

    An additive model is one line, a mixture its bounds; rows are dots, the shading is the data's density.
    x is in the feature's own units, y in the target's (log-odds for classes), centred by the mean contribution.
    """
    across = min(3, max(len(results), 1))
    down = -(-max(len(results), 1) // across)
    data = next((_data(r.spec.dataset) for r in results.values() if r is not None), None)
    categorical = data is not None and feature in data.categories
    figure, axes = plt.subplots(
        down, across, figsize=(min(2.7 * across, 8) + 0.5, 2.7 * down + 0.6 + categorical),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    xlabel, ylabel = f"feature {feature}", "contribution"
    for ax, (name, result) in zip(axes.flat, results.items(), strict=False):
        if result is not None and "grid_mean" in result.arrays:
            names, ylabel = _features(result.spec.dataset)
            shape_plot(result, feature, ax, names, "")
            xlabel = ax.get_xlabel()
        else:
            _say(ax, "not run" if result is None else "no shape functions")
        ax.set_title(textwrap.fill(name, 24), fontsize=11)
    for ax in axes.flat:
        ax.set_xlabel(xlabel + (f" ({UNITS[xlabel]})" if xlabel in UNITS else ""))
        ax.tick_params(labelsize=SMALL if categorical else 10)
    _outer_labels(axes, len(results))
    figure.supylabel(ylabel, fontsize=11)
    return _finished(figure)


def _law_title(law: str) -> str:
    kind, _, number = law.removeprefix("sim_").partition("_")
    named = {"unimodal": "one mode", "multimodal": "two modes", "sparse": f"{number} % have x2 = +1"}
    named["variability"] = f"{number} modifier{'' if number == '1' else 's'}"
    return named.get(kind, law)


def _panels(down: Sequence[str], across: Sequence[str], draw: Callable[[Axes, str, str], None]) -> Figure:
    """Draw panels with a title over each column and one beside each row, x1 along all of them.

    More than four columns would not be readable on a page: the longer side then runs down it.
    """
    turned = len(across) > max(ACROSS, len(down))
    rows, columns = (across, down) if turned else (down, across)
    figure, axes = plt.subplots(
        max(len(rows), 1), max(len(columns), 1), figsize=(min(3.4 * len(columns), 7.6) + 0.6, 1.9 * len(rows) + 1),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for i, row in enumerate(rows):
        axes[i, 0].set_ylabel(textwrap.fill(row, 17), fontsize=10)
        for j, column in enumerate(columns):
            draw(axes[i, j], *((column, row) if turned else (row, column)))
            axes[i, j].grid(False)
    for ax, column in zip(axes[0], columns, strict=False):
        ax.set_title(textwrap.fill(column, 20), fontsize=11)
    for ax in axes[-1]:
        ax.set_xlabel("x1")
    axes[0, 0].set_xlim(0, 1)
    axes[0, 0].set_xticks([0.25, 0.5, 0.75])
    figure.supylabel("contribution of x1 to y, centred", fontsize=11)
    return _finished(figure)


def _law_figure(results: ByLaw, draw: Callable[[Axes, Result], None], models: Sequence[str], turn: bool) -> Figure:
    """Draw a panel for each law and model: laws down and models across, or the other way round."""
    laws = {_law_title(law): law for law in results}

    def panel(ax: Axes, row: str, column: str) -> None:
        law, model = (laws[column], row) if turn else (laws[row], column)
        result = results[law].get(model)
        if result is None or "grid" not in result.arrays:
            _say(ax, "not run" if result is None else "no shape functions")
        else:
            draw(ax, result)

    return _panels(models, list(laws), panel) if turn else _panels(list(laws), models, panel)


def _models(results: ByLaw) -> list[str]:
    return list(dict.fromkeys(model for by_model in results.values() for model in by_model))


def _x1(result: Result) -> tuple[Array, Array]:
    """Return where x1's curves are stored, and at which of the grid's points."""
    grid = result.arrays["grid"][0].astype(float)
    shown = ~np.isnan(grid)
    return grid[shown], shown


def _modes(law: str, x1: Array) -> list[Array]:
    """Return what x1 truly contributes with x2 = +1, and with x2 = -1 where that differs."""
    plus, minus = (truth(law, np.column_stack([x1, np.full_like(x1, s)])) - s for s in (1.0, -1.0))
    return [plus] if np.allclose(plus, minus) else [plus, minus]


def _true(ax: Axes, x: Array, curves: Sequence[Array], label: str) -> None:
    for i, y in enumerate(curves):
        ax.plot(x, y, label=label if i == 0 else None, **TRUE)


def _bounds(ax: Axes, result: Result) -> None:
    """Draw x1's bounds, or the line that they are one of."""
    x, shown = _x1(result)
    upper, lower, mean = (_curve(result, k, 0)[shown] for k in ("upper", "lower", "mean"))
    if np.abs(upper - lower).max() > 1e-6:
        ax.plot(x, upper, color=UPPER, linewidth=1.3, label="upper bound", zorder=3)
        ax.plot(x, lower, color=LOWER, linewidth=1.3, label="lower bound", zorder=3)
    else:
        ax.plot(x, mean, color=COLORS[3], linewidth=1.5, label="shape function", zorder=3)


def _rows(ax: Axes, result: Result, chosen: NDArray[np.bool], color: str, label: str) -> None:
    x, y = (result.arrays[k][chosen, 0] for k in ("sample_x", "sample_contributions"))
    ax.scatter(
        x, y - result.arrays["contribution_mean"][0], s=16, color=color, alpha=0.4, linewidth=0, label=label, zorder=2
    )


def _two_modes(ax: Axes, result: Result) -> None:
    x, _ = _x1(result)
    positive = result.arrays["sample_x"][:, 1] > 0
    _rows(ax, result, ~positive, ROWS, "rows, x2 = −1")
    _rows(ax, result, positive, COLORS[1], "rows, x2 = +1")
    _bounds(ax, result)
    _true(ax, x, _modes(result.spec.dataset, x), "true contribution")


def simulation_shapes(results: ByLaw) -> Figure:
    """Draw x1's contributions on the simulated laws: rows laws, columns models (Figure 4).

    `results` are by law (`sim_unimodal`, `sim_multimodal`), then model. x1 and y have no unit; contributions
    are centred by their mean, the true ones dashed.
    """
    return _law_figure(results, _two_modes, _models(results), turn=False)


def sparsity_grid(results: ByLaw) -> Figure:
    """Draw x1's contributions where few rows have x2 = +1: shares against numbers of experts (Figure 6).

    `results` are by law (`sim_sparse_25`, ...), then model ("NAM", "C = 2", ...). x1 and y have no unit.
    """
    return _law_figure(results, _two_modes, _models(results), turn=False)


def simulation_experts(results: ByLaw) -> Figure:
    """Draw x1's individual experts, each centred by its own mean, beside the true modes (Figure 5).

    `results` as for `simulation_shapes`; models that have no experts, as NAM, are left out. No units.
    """

    def draw(ax: Axes, result: Result) -> None:
        x, shown = _x1(result)
        experts = result.arrays.get("grid_experts")
        if experts is None:
            _say(ax, "experts not stored")
            return
        curves = experts[0][shown].astype(float)
        for k, curve in enumerate((curves - curves.mean(axis=0)).T):
            color = (UPPER, LOWER)[k] if curves.shape[1] == 2 else mpl.colormaps["viridis"](k / curves.shape[1])
            ax.plot(x, curve, color=color, linewidth=1.6, label=f"expert {k + 1}", zorder=3)
        _true(ax, x, _modes(result.spec.dataset, x), "true contribution")

    held = {m: [r[m] for r in results.values() if r.get(m) is not None] for m in _models(results)}
    models = [m for m, rs in held.items() if not rs or any(r is not None and "grid_experts" in r.arrays for r in rs)]
    return _law_figure(results, draw, models, turn=False)


def variability_grid(results: ByLaw) -> Figure:
    """Draw x1's contributions under 1 to 16 modifiers: modifiers against models (Figure 7).

    `results` are by law (`sim_variability_1`, ...; others are left out), then model. Dashed: the true
    contribution's 1 % and 99 % quantiles given x1. x1 and y have no unit.
    """

    def draw(ax: Axes, result: Result) -> None:
        x = np.linspace(0, 1, 201)
        _rows(ax, result, np.ones(len(result.arrays["sample_x"]), bool), ROWS, "rows")
        _bounds(ax, result)
        _true(ax, x, quantiles(result.spec.dataset, x), "truth, 1 % and 99 %")

    modified = {law: by_model for law, by_model in results.items() if law.startswith("sim_variability")}
    return _law_figure(modified, draw, _models(modified), turn=True)


def scaling_heatmaps(cells: Mapping[str, pd.DataFrame], label: str = "test RMSE (100,000 dollars)") -> Figure:
    """Draw test errors over the numbers of experts, a panel a source, on one colour scale (Table 8).

    Each frame is indexed by K with C as columns and holds means in the target's unit; NaN with K ≤ C reads
    "not run". Errors far above the others (the gap from median to best, fourfold) share the last colour.
    """
    values = np.concatenate([f.to_numpy(float).ravel() for f in cells.values()] or [np.empty(0)])
    values = values[np.isfinite(values)]
    low, top, median = (values.min(), values.max(), np.median(values)) if len(values) else (0.0, 1.0, 0.5)
    high = max(min(top, low + 4 * (median - low)), low + 1e-3)
    norm, colors = mpl.colors.Normalize(low, high), mpl.colormaps["viridis_r"]
    across = min(2, max(len(cells), 1))
    down = -(-max(len(cells), 1) // across)
    rows = max([len(f) for f in cells.values()], default=1)
    figure, axes = plt.subplots(
        down, across, figsize=(3.8 * across + 0.8, down * (0.55 * rows + 1)), squeeze=False, layout="constrained"
    )
    for ax, (title, frame) in zip(axes.flat, cells.items(), strict=False):
        numbers, active, experts = frame.to_numpy(float), frame.index.to_numpy(int), frame.columns.to_numpy(int)
        ax.imshow(numbers, cmap=colors, norm=norm, aspect="auto")
        for i, j in np.ndindex(frame.shape):
            value, impossible = float(numbers[i, j]), active[i] > experts[j]
            text = f"{value:.3f}" if np.isfinite(value) else "" if impossible else "not run"
            red, green, blue, _ = colors(norm(value))
            dark = np.isfinite(value) and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            ax.text(j, i, text, ha="center", va="center", fontsize=10, color="white" if dark else "#222222")
        ax.set_xticks(range(frame.shape[1]), [f"{c}" for c in frame.columns])
        ax.set_yticks(range(frame.shape[0]), [f"{k}" for k in frame.index])
        ax.set(xlabel="experts C", ylabel="active experts K", facecolor="#f4f2ee", title=title)
        ax.grid(False)
    for ax in axes.flat[len(cells) :]:
        ax.set_visible(False)
    mapped = mpl.cm.ScalarMappable(norm, colors)
    figure.colorbar(mapped, ax=axes, label=label, extend="max" if top > high else "neither", aspect=15)
    return _finished(figure)


def usage(result: Result) -> Figure:
    """Draw how much each expert of each feature is used: its mean relevance over all rows, 0 to 1 (no unit).

    Relevances of a feature sum to 1. Experts stand by relevance, the most used first; a cross marks one that
    is active in no row. A model without routing gets a panel that says so.
    """
    relevance = result.arrays.get("relevance", np.zeros((0, 1)))
    features, experts = relevance.shape
    figure, ax = plt.subplots(
        figsize=(float(np.clip(0.5 * experts + 3, 4.5, 8)), 0.28 * max(features, 3) + 1.4), layout="constrained"
    )
    if not features:
        _say(ax, "no routing")
        ax.set_axis_off()
        return _finished(figure)
    order = np.argsort(-relevance, axis=1, kind="stable")
    shares = np.take_along_axis(relevance, order, axis=1)
    idle = np.take_along_axis(result.arrays["active"], order, axis=1) == 0
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=float(shares.max()), aspect="auto")
    if experts <= 8:
        for i, j in zip(*np.nonzero(~idle), strict=True):
            color = "white" if shares[i, j] > 0.6 * shares.max() else "#222222"
            ax.text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", fontsize=SMALL, color=color)
    if idle.any():
        y, x = np.nonzero(idle)
        ax.scatter(x, y, marker="x", s=22, color=LOWER, linewidth=1.2, label="active in no row")
    names = _features(result.spec.dataset)[0] or [f"feature {i}" for i in range(features)]
    ax.set_yticks(range(features), names, fontsize=SMALL if features > 10 else 10)
    step = -(-experts // 16)
    ax.set_xticks(range(0, experts, step), [f"{k + 1}" for k in range(0, experts, step)], fontsize=10)
    ax.set(xlabel="expert, the most used first", ylabel="feature")
    ax.grid(False)
    figure.colorbar(image, ax=ax, label="mean relevance")
    return _finished(figure)


def difference_plot(table: pd.DataFrame, label: str = "difference of test RMSE to the baseline") -> Figure:
    """Draw mean differences with their 95 % intervals, a row a label, in the unit that `label` names (ablations).

    `table` has the columns label, mean, low and high. A missing interval leaves the point alone, a missing
    mean reads "not run". Colours: wholly below zero, wholly above, neither.
    """
    figure, ax = plt.subplots(figsize=(7.4, 0.46 * max(len(table), 1) + 1.5), layout="constrained")
    ax.axvline(0, color="#777777", linewidth=1, linestyle="--", zorder=1)
    kinds = {"lower: better": COLORS[3], "higher: worse": LOWER, "not told apart": COLORS[2]}
    seen: set[str] = set()
    for i, (mean, low, high) in enumerate(table[["mean", "low", "high"]].to_numpy(float)):
        if not np.isfinite(mean):
            ax.text(0.02, i, "not run", transform=ax.get_yaxis_transform(), va="center", color="#777777", fontsize=10)
            continue
        kind = "lower: better" if high < 0 else "higher: worse" if low > 0 else "not told apart"
        if np.isfinite([low, high]).all():
            ax.plot([low, high], [i, i], color=kinds[kind], linewidth=2.2, zorder=2)
        ax.plot(mean, i, "o", color=kinds[kind], markersize=7, label=None if kind in seen else kind, zorder=3)
        seen.add(kind)
    ax.set_yticks(range(len(table)), [textwrap.fill(str(t), 30) for t in table["label"]], fontsize=10)
    ax.set_ylim(max(len(table), 1) - 0.5, -0.5)
    ax.set_xlabel(f"{label}\n(mean and 95 % interval)", fontsize=10)
    ax.grid(False, axis="y")
    return _finished(figure)
