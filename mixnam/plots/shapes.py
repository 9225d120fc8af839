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
from numpy.typing import NDArray

from mixnam.data.table import About, Array
from mixnam.explain.curves import bounded, centred, centred_rows, row_counts
from mixnam.plots.look import (
    DENSITY,
    LOWER,
    ROWS,
    SMALL,
    UPPER,
    about,
    contribution_label,
    finished,
    outer_labels,
    say,
    with_unit,
)
from mixnam.runs.results import Result

#: Categories that a shape plot shows at most: their names must stay readable.
CATEGORIES = 16


def draw_curves(
    draw: Callable[..., Any],
    x: NDArray[Any],
    curves: Mapping[str, Array],
    width: float = 1.6,
    middle: bool = True,
    color: str = "#444444",
) -> None:
    """Draw bounds and, unless `middle` is False, the mean between them; a model without bounds is one line in `color`.

    `draw` is an axes' `plot`, or what strokes a category.
    """
    if not bounded(curves):
        draw(x, curves["mean"], color=color, linewidth=width, label="shape function", zorder=3)
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


def _categories(result: Result, feature: int, ax: Axes, data: About) -> None:
    """Draw a categorical feature: bounds as strokes, the most frequent categories first."""
    arrays, names = result.arrays, data.categories[feature]
    grid, curves = centred(arrays, feature)
    counts = row_counts(arrays, feature, grid)
    chosen = np.argsort(-counts, kind="stable")[:CATEGORIES]
    codes, at = grid[chosen].astype(int), np.arange(len(chosen))
    place = np.full(len(names), -1)
    place[codes] = at
    _density(ax, np.arange(len(at) + 1) - 0.5, counts[chosen] / max(counts.max(), 1))
    if "cell_quantiles" in arrays:
        quantiles = arrays["cell_quantiles"][feature] - arrays["contribution_mean"][feature]
        found = codes[codes < len(quantiles)]
        _cells(ax, place[found], quantiles[found])
    else:
        rows, y = centred_rows(arrays, feature)
        jitter = (np.arange(len(rows)) * 0.618034 % 1 - 0.5) * 0.6  # spread evenly and always the same
        inside = place[rows.astype(int)] >= 0
        _rows(ax, (place[rows.astype(int)] + jitter)[inside], y[inside])
    strokes = {name: curve[chosen] for name, curve in curves.items()}
    draw_curves(lambda x, y, **look: ax.hlines(y, x - 0.4, x + 0.4, **look), at, strokes, 2)
    labels = [n if len(n) <= 14 else f"{n[:13]}…" for n in (names[code] for code in codes)]
    ax.set_xticks(at, labels, rotation=0 if sum(map(len, labels)) <= 24 else 90, fontsize=9)
    ax.set_xlim(-0.5, len(at) - 0.5)


def _numbers(result: Result, feature: int, ax: Axes) -> None:
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
    else:
        rows, y = centred_rows(arrays, feature)
        inside = (rows >= low) & (rows <= high)
        _rows(ax, rows[inside], y[inside])
    shown = (x >= low) & (x <= high)
    draw_curves(ax.plot, x[shown], {name: curve[shown] for name, curve in curves.items()})
    ax.set_xlim(low, high)


def shape_plot(result: Result, feature: int, ax: Axes, label: str = "contribution") -> None:
    """Draw one feature's contributions against its values: bounds, mean, rows and data density (Figure 3).

    Bounds and rows are centred by the feature's mean contribution; the bounds stay the model's own. A model
    without bounds is one line. Categories, named where the data are known, stand most frequent first, 16 at most.
    """
    data = about(result)
    name = f"feature {feature}" if data is None else data.features[feature]
    ax.set_ylabel(label)
    ax.grid(False)
    if data is not None and feature in data.categories:
        count = len(data.categories[feature])
        name += f"\n({CATEGORIES} most frequent of {count})" if count > CATEGORIES else ""
        _categories(result, feature, ax, data)
    else:
        _numbers(result, feature, ax)
    ax.set_xlabel(name)


def most_important(result: Result, count: int = 4) -> list[int]:
    """Return the features with the largest mean absolute contribution, largest first."""
    importance = np.array(result.measures["importance"]["per_feature"])
    return [int(i) for i in np.argsort(-importance)[:count]]


def shape_plots(result: Result, features: Sequence[int], columns: int = 2, title: str = "") -> Figure:
    """Draw several features of one result, most plots sharing nothing but the legend."""
    data = about(result)
    rows = -(-len(features) // columns)
    lines = [features[i : i + columns] for i in range(0, len(features), columns)]
    named = [any(data is not None and feature in data.categories for feature in line) for line in lines]
    size = (4.3 * columns, 3.1 * rows + 0.9 * sum(named))  # categories' names take room below
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax, feature in zip(axes.flat, features, strict=False):
        shape_plot(result, feature, ax, contribution_label(data))
    for ax in list(axes.flat)[len(features) :]:
        ax.set_visible(False)
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
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
    outer_labels(axes, len(results))
    figure.supylabel(contribution_label(about(next(iter(results.values())))), fontsize=11)
    return finished(figure)


def compare_shapes(results: Mapping[str, Result | None], feature: int) -> Figure:
    """Draw what each model says about one feature, a panel a model on shared axes (Figures 3 and 8).

    An additive model is one line, a mixture its bounds; rows are dots, the shading is the data's density.
    x is in the feature's own units, y in the target's (log-odds for classes), centred by the mean contribution.
    """
    across = min(3, max(len(results), 1))
    down = -(-max(len(results), 1) // across)
    data = next((about(result) for result in results.values() if result is not None), None)
    categorical = data is not None and feature in data.categories
    figure, axes = plt.subplots(
        down, across, figsize=(min(2.7 * across, 8) + 0.5, 2.7 * down + 0.6 + categorical),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    xlabel, ylabel = f"feature {feature}", "contribution"
    for ax, (name, result) in zip(axes.flat, results.items(), strict=False):
        if result is not None and "grid_mean" in result.arrays:
            ylabel = contribution_label(data)
            shape_plot(result, feature, ax, "")
            xlabel = ax.get_xlabel()
        else:
            say(ax, "not run" if result is None else "no shape functions")
        ax.set_title(textwrap.fill(name, 24), fontsize=11)
    for ax in axes.flat:
        ax.set_xlabel(with_unit(xlabel))
        ax.tick_params(labelsize=SMALL if categorical else 10)
    outer_labels(axes, len(results))
    figure.supylabel(ylabel, fontsize=11)
    return finished(figure)
