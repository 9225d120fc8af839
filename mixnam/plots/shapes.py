"""Shape plots: what a model says of one feature, with bounds, rows and the data's density."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mixnam.data.table import Array
from mixnam.explain.curves import bounded, centred, centred_rows, row_counts
from mixnam.plots.look import (
    DENSITY,
    GREY,
    LOWER,
    MODEL_COLORS,
    ROWS,
    SMALL,
    UPPER,
    about,
    contribution_label,
    finished,
    in_lines,
    name,
    outer_labels,
    say,
)
from mixnam.runs.results import Result

#: Categories that a shape plot shows at most: their names must stay readable.
CATEGORIES = 16
#: Numbers of so many values at most are drawn as strokes, as categories are: no line leads from 0 to 1.
DISTINCT = 32
#: Panels share an axis of contributions where the tallest spans so many times the flattest at most.
COMPARABLE = 2.5


def draw_curves(
    draw: Callable[..., Any],
    x: NDArray[Any],
    curves: Mapping[str, Array],
    width: float = 1.6,
    middle: bool = True,
    color: str = "#444444",
    label: str = "shape function",
) -> None:
    """Draw bounds and, unless `middle` is False, the mean between them; a model without bounds is one line in `color`.

    `draw` is an axes' `plot`, or what strokes a value; `label` names the one line.
    """
    if not bounded(curves):
        draw(x, curves["mean"], color=color, linewidth=width, label=label, zorder=3)
        return
    draw(x, curves["upper"], color=UPPER, linewidth=width, label="upper bound", zorder=3)
    draw(x, curves["lower"], color=LOWER, linewidth=width, label="lower bound", zorder=3)
    if middle:
        draw(x, curves["mean"], color="#444444", linewidth=1.1, linestyle="--", label="mean", zorder=3)


def _density(ax: Axes, edges: NDArray[Any], shares: Array) -> None:
    """Shade the whole height between edges, the darker the larger the share of the fullest cell."""
    spans = [[(left, 0), (left, 1), (right, 1), (right, 0)] for left, right in itertools.pairwise(edges)]
    colors = [to_rgba(DENSITY, 0.75 * float(share)) for share in shares]
    shading = PolyCollection(spans, facecolors=colors, linewidths=0, zorder=0, transform=ax.get_xaxis_transform())
    ax.add_collection(shading, autolim=False)


def _rows(ax: Axes, x: Array, y: Array) -> None:
    ax.scatter(x, y, s=7, color=ROWS, alpha=0.45, linewidth=0, label="rows", zorder=2)


def _cells(ax: Axes, x: Array, quantiles: Array) -> None:
    """Draw the middle 90 % of the rows' contributions and their median in each cell, where no rows may be shown."""
    low, middle, high = quantiles.T
    ax.vlines(x, low, high, color=ROWS, alpha=0.45, linewidth=2, label="5 % to 95 % of the rows", zorder=2)
    ax.scatter(x, middle, s=7, color=ROWS, linewidth=0, label="median of the rows", zorder=2)


def values_of(result: Result, feature: int) -> tuple[NDArray[Any], Sequence[str]]:
    """Return which points of a feature's grid are strokes, in the order drawn, and their names where they have some.

    Categories stand most frequent first, 16 at most, and other features of few values in their order within the
    central 99 % of the rows; of a feature that is a line there are none.
    """
    data, (grid, _) = about(result), centred(result.arrays, feature)
    counts = row_counts(result.arrays, feature, grid)
    if data is not None and feature in data.categories:
        chosen = np.argsort(-counts, kind="stable")[:CATEGORIES]
        return chosen, [data.categories[feature][code] for code in grid[chosen].astype(int)]
    chosen = np.flatnonzero(counts) if (counts > 0).sum() > 1 else np.arange(len(grid))
    return chosen[: len(grid) if len(grid) <= DISTINCT else 0], []


def _strokes(result: Result, feature: int, ax: Axes, draw: Callable[..., None]) -> None:
    """Draw a feature of few values as strokes: categories by name side by side, numbers at their place."""
    arrays = result.arrays
    grid, curves = centred(arrays, feature)
    chosen, names = values_of(result, feature)
    at = np.arange(len(chosen), dtype=float) if names else grid[chosen]
    gaps = np.diff(at) if len(at) > 1 else np.ones(1)
    before, after = np.r_[gaps[0], gaps], np.r_[gaps, gaps[-1]]
    half = 0.4 * np.minimum(before, after)
    counts = row_counts(arrays, feature, grid)[chosen]
    _density(ax, np.r_[at - before / 2, at[-1] + after[-1] / 2], counts / max(counts.max(), 1))
    if "cell_quantiles" in arrays:
        quantiles = arrays["cell_quantiles"][feature] - arrays["contribution_mean"][feature]
        low, high = (0, len(quantiles)) if names else arrays["density_range"][feature]
        cells = ((grid[chosen] - low) / max(high - low, 1e-9) * len(quantiles)).astype(int)
        known = cells < len(quantiles) if names else np.ones(len(cells), bool)
        _cells(ax, at[known], quantiles[np.minimum(cells[known], len(quantiles) - 1)])
    elif "sample_x" in arrays:
        rows, y = centred_rows(arrays, feature)
        row, place = np.nonzero(np.isclose(rows[:, None], grid[chosen]))
        spread = np.arange(len(row)) * 0.618034 % 1 * 2 - 1  # evenly and always the same
        _rows(ax, at[place] + 0.75 * half[place] * spread, y[row])
    draw(lambda x, y, **look: ax.hlines(y, x - half, x + half, **look), at, {k: v[chosen] for k, v in curves.items()})
    ax.set_xlim(at[0] - before[0] / 2, at[-1] + after[-1] / 2)
    if names:
        labels = [n if len(n) <= 18 else f"{n[:17]}…" for n in names]
        ax.set_xticks(at, labels, rotation=0 if len(" ".join(labels)) <= 26 else 90, fontsize=SMALL)
    elif len(at) <= 12 and gaps.min() > 0.08 * np.ptp(at):
        ax.set_xticks(at if len(at) <= 8 else at[::2])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=bool((at % 1 == 0).all())))


def _numbers(result: Result, feature: int, ax: Axes, draw: Callable[..., None]) -> None:
    """Draw a numeric feature over the central 99 % of the rows."""
    arrays = result.arrays
    x, curves = centred(arrays, feature)
    low, high = arrays["density_range"][feature]
    density = arrays["density"][feature] / max(arrays["density"][feature].max(), 1)
    edges = np.linspace(low, high, len(density) + 1)
    _density(ax, edges, density)
    if "cell_quantiles" in arrays:
        quantiles = arrays["cell_quantiles"][feature] - arrays["contribution_mean"][feature]
        _cells(ax, (edges[1:] + edges[:-1]) / 2, quantiles)
    elif "sample_x" in arrays:
        rows, y = centred_rows(arrays, feature)
        inside = (rows >= low) & (rows <= high)
        _rows(ax, rows[inside], y[inside])
    shown = (x >= low) & (x <= high)
    draw(ax.plot, x[shown], {name: curve[shown] for name, curve in curves.items()})
    if "grid_spread" in arrays:
        off = arrays["grid_spread"][feature][: len(x)][shown]
        for sign, end in ((1, "+"), (-1, "−")):
            ax.plot(x[shown], curves["mean"][shown] + sign * off, ":", color="#444444", label=f"mean {end} spread")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(MaxNLocator(5 if high < 10_000 else 3))
    if high >= 10_000:
        ax.xaxis.set_major_formatter("{x:,.0f}")


def shape_plot(result: Result, feature: int, ax: Axes, label: str = "contribution", bounds: bool = True) -> None:
    """Draw one feature's contributions against its values: bounds, mean, rows and data density (Figure 3).

    Bounds and rows are centred by the feature's mean contribution; the bounds stay the model's own. A model without
    bounds, or with `bounds` off, is one line. Features of few values are strokes: categories, named where the data
    are known, stand most frequent first, 16 at most.
    """
    data, model = about(result), result.spec.model
    ax.set_ylabel(label)
    ax.grid(False)
    count = 0 if data is None else len(data.categories.get(feature, ()))

    def draw(stroke: Callable[..., Any], x: NDArray[Any], curves: dict[str, Array]) -> None:
        shown = curves if bounds else {"mean": curves["mean"]}
        color = MODEL_COLORS.get(model, GREY)
        draw_curves(stroke, x, shown, 2 if stroke != ax.plot else 1.6, True, color, f"shape function of {model}")

    (_strokes if len(values_of(result, feature)[0]) else _numbers)(result, feature, ax, draw)
    some = f" ({CATEGORIES} most frequent of {count})" if count > CATEGORIES else ""
    ax.set_xlabel(in_lines(name(data, feature) + some))


def most_important(result: Result, count: int = 4) -> list[int]:
    """Return the features with the largest mean absolute contribution, largest first."""
    importance = np.array(result.measures["importance"]["per_feature"])
    return [int(i) for i in np.argsort(-importance)[:count]]


def featured(result: Result) -> int:
    """Return the feature that pages show first: Housing's longitude, as the paper does, else the most important."""
    data = about(result)
    known = () if data is None else data.features
    return known.index("Longitude") if "Longitude" in known else most_important(result)[0]


def shape_plots(result: Result, features: Sequence[int], columns: int = 2, title: str = "") -> Figure:
    """Draw several features of one result, most plots sharing nothing but the legend."""
    data = about(result)
    rows = -(-len(features) // columns)
    lines = [features[i : i + columns] for i in range(0, len(features), columns)]
    named = [any(data is not None and feature in data.categories for feature in line) for line in lines]
    size = (8.8, 2.7 * rows + 0.9 * sum(named))  # categories' names take room below
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax, feature in zip(axes.flat, features, strict=False):
        shape_plot(result, feature, ax, "")
    for ax in list(axes.flat)[len(features) :]:
        ax.set_visible(False)
    figure.supylabel(contribution_label(data), fontsize=11)
    if title:
        figure.suptitle(title)
    return finished(figure)


def sweep_shapes(results: Mapping[float, Result], feature: int) -> Figure:
    """Draw one feature's shape plot at each λ, on one scale (Table 2's pictures)."""
    across = min(3, len(results))
    down = -(-len(results) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(2.9 * across, 2.7 * down), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (penalty, result) in zip(axes.flat, results.items(), strict=False):
        shape_plot(result, feature, ax, "")
        ax.set_title(f"λ = {penalty:g}")
        ax.tick_params(labelsize=SMALL)
    outer_labels(axes, len(results))
    figure.supylabel(contribution_label(about(next(iter(results.values())))), fontsize=11)
    return finished(figure)


def compare_shapes(results: Mapping[str, Result | None], feature: int, plain: Sequence[str] = ()) -> Figure:
    """Draw what each model says about one feature, a panel a model on one axis of x (Figures 3 and 8).

    An additive model is one line, a mixture its bounds unless it is in `plain`; rows are dots, the shading is the
    data's density. x is in the feature's own units, y in the target's (log-odds for classes), centred by the mean
    contribution; panels share y where each can be read on it.
    """
    count = max(len(results), 1)
    across = 2 if count == 4 else min(3, count)
    down = -(-count // across)
    data = next((about(result) for result in results.values() if result is not None), None)
    categorical = data is not None and feature in data.categories
    figure, axes = plt.subplots(
        down, across, figsize=(min(3.4 * across, 8) + 0.8, 3.0 * down + 0.6 + categorical),
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    shown, xlabel = [], name(data, feature)
    for ax, (title, result) in zip(axes.flat, results.items(), strict=False):
        if result is not None and "grid_mean" in result.arrays:
            shape_plot(result, feature, ax, "", title not in plain)
            shown.append(ax)
            xlabel = ax.get_xlabel()
        else:
            say(ax, "not run" if result is None else "no shape functions")
        ax.set_title(textwrap.fill(title, 24), fontsize=11)
    for ax in axes.flat:
        ax.set_xlabel(xlabel)
        ax.tick_params(labelsize=SMALL if categorical else 10)
    heights = [float(np.ptp(ax.get_ylim())) for ax in shown]
    if shown and max(heights) <= COMPARABLE * min(heights):
        limits = np.array([ax.get_ylim() for ax in shown])
        for ax in axes.flat:
            ax.set_ylim(limits.min(), limits.max())
            ax.tick_params(labelleft=ax.get_subplotspec().is_first_col())
    outer_labels(axes, len(results))
    figure.supylabel(contribution_label(data) if shown else "contribution", fontsize=11)
    return finished(figure)


def scales(figure: Figure) -> str:
    """Return what a reader must know of the axes of `compare_shapes`."""
    limits = {ax.get_ylim() for ax in figure.axes if ax.get_visible() and not ax.texts}
    return "All panels share one scale." if len(limits) < 2 else "Each panel has its own scale of contributions."
