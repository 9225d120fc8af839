"""Figures: shape plots with bounds, and what the variation penalty does."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mixnam.data import catalogue
from mixnam.data.table import Array, DataError, Table
from mixnam.runs.results import Result

UPPER, LOWER, ROWS, DENSITY = "#0b2e6f", "#c0392b", "#4c8ed9", "#d9d2c3"
_ZERO = 1e-4  # where a logarithmic axis of λ shows 0
COLORS = ("#222222", "#b8551f", "#2a6f97", "#5f8a3b")
#: Categories that a shape plot shows at most: their names must stay readable.
CATEGORIES = 16


def style() -> None:
    """Set the look that all figures share."""
    sns.set_theme(style="whitegrid", context="notebook", rc={"grid.color": "#eeeeee", "axes.edgecolor": "#999999"})
    plt.rcParams.update({"figure.dpi": 110, "axes.titlesize": 12, "axes.labelsize": 11, "savefig.bbox": "tight"})


def _data(dataset: str) -> Table | None:
    """Return a data set for its names, or None where it is not at hand."""
    try:
        return catalogue.load(dataset, download=False)
    except DataError:
        return None


def feature_names(dataset: str) -> tuple[tuple[str, ...], str]:
    """Return a data set's feature names and the unit of contributions, both empty where it is not at hand."""
    data = _data(dataset)
    if data is None:
        return (), ""
    return data.features, "log-odds" if data.task == "classification" else data.unit


def _features(dataset: str) -> tuple[tuple[str, ...], str]:
    """Return feature names and the label of contributions."""
    data = _data(dataset)
    if data is None:
        return (), "contribution"
    names, unit = feature_names(dataset)
    label = f"contribution to {data.target}"
    return names, textwrap.fill(label, 36 if len(label) <= 36 else 28) + (f"\n({unit})" if unit else "")


def _curve(result: Result, kind: str, feature: int) -> Array:
    """Return a feature's upper, lower or mean curve on its grid, centred; without bounds, its shape function."""
    arrays = result.arrays
    values: Array = arrays.get(f"grid_{kind}", arrays["grid_mean"])[feature] - arrays["contribution_mean"][feature]
    return values


def _rows(ax: Axes, x: Array, y: Array) -> None:
    ax.scatter(x, y, s=7, color=ROWS, alpha=0.45, linewidth=0, label="rows", zorder=2)


def _cells(ax: Axes, x: Array, quantiles: Array) -> None:
    """Draw the middle 90 % of the rows' contributions and their median in each cell, where no rows may be shown."""
    low, middle, high = quantiles.T
    ax.vlines(x, low, high, color=ROWS, alpha=0.45, linewidth=2, label="5 % to 95 % of the rows", zorder=2)
    ax.scatter(x, middle, s=7, color=ROWS, linewidth=0, label="median of the rows", zorder=2)


def _category_plot(result: Result, feature: int, ax: Axes, names: Sequence[str], counts: NDArray[Any]) -> None:
    """Draw one categorical feature's contributions: bounds as strokes, the most frequent categories first."""
    arrays = result.arrays
    centre = arrays["contribution_mean"][feature]
    grid = arrays["grid"][feature]
    codes = grid[~np.isnan(grid)].astype(int)
    chosen = np.argsort(-counts[codes], kind="stable")[:CATEGORIES]
    places = {int(code): place for place, code in enumerate(codes[chosen])}
    at = np.arange(len(chosen))
    for place, code in enumerate(codes[chosen]):
        share = float(counts[code] / max(counts.max(), 1))
        ax.axvspan(place - 0.5, place + 0.5, color=DENSITY, alpha=0.75 * share, linewidth=0, zorder=0)
    if "cell_quantiles" in arrays:
        found = [code for code in codes[chosen] if code < len(arrays["cell_quantiles"][feature])]
        _cells(ax, np.array([places[int(c)] for c in found]), arrays["cell_quantiles"][feature][found] - centre)
    else:
        rows = arrays["sample_x"][:, feature].astype(int)
        inside = np.isin(rows, codes[chosen])
        jitter = (np.arange(len(rows)) * 0.618034 % 1 - 0.5) * 0.6  # spread evenly and always the same
        x = np.array([places[int(code)] for code in rows[inside]]) + jitter[inside]
        _rows(ax, x, arrays["sample_contributions"][inside, feature] - centre)
    upper, lower, mean = (_curve(result, k, feature)[chosen] for k in ("upper", "lower", "mean"))
    if np.abs(upper - lower).max() > 1e-6:
        ax.hlines(upper, at - 0.4, at + 0.4, color=UPPER, linewidth=2, label="upper bound", zorder=3)
        ax.hlines(lower, at - 0.4, at + 0.4, color=LOWER, linewidth=2, label="lower bound", zorder=3)
        ax.hlines(mean, at - 0.4, at + 0.4, color="#444444", linewidth=1.1, linestyle="--", label="mean", zorder=3)
    else:
        ax.hlines(mean, at - 0.4, at + 0.4, color="#444444", linewidth=2, label="shape function", zorder=3)
    labels = [n if len(n) <= 14 else f"{n[:13]}…" for n in (names[code] for code in codes[chosen])]
    ax.set_xticks(at, labels, rotation=0 if sum(map(len, labels)) <= 24 else 90, fontsize=9)
    ax.set_xlim(-0.5, len(at) - 0.5)


def shape_plot(result: Result, feature: int, ax: Axes, names: Sequence[str] = (), label: str = "contribution") -> None:
    """Draw one feature's contributions against its values: bounds, mean, rows and data density (Figure 3).

    Bounds and rows are centred by the feature's mean contribution; the bounds stay the model's own. A model
    without bounds is one line. Categories, named where the data set is at hand, stand most frequent first,
    16 at most.
    """
    data = _data(result.spec.dataset)
    categories = () if data is None else data.categories.get(feature, ())
    name = names[feature] if names else f"feature {feature}"
    ax.set_xlabel(
        name + (f"\n({CATEGORIES} most frequent of {len(categories)})" if len(categories) > CATEGORIES else "")
    )
    ax.set_ylabel(label)
    ax.grid(False)
    if data is not None and categories:
        counts = np.bincount(data.x[:, feature].astype(int), minlength=len(categories))
        _category_plot(result, feature, ax, categories, counts)
        return
    arrays = result.arrays
    centre = arrays["contribution_mean"][feature]
    grid = arrays["grid"][feature]
    low, high = arrays["density_range"][feature]
    shown = ~np.isnan(grid) & (grid >= low) & (grid <= high)
    x = grid[shown]
    upper, lower, mean = (_curve(result, k, feature)[shown] for k in ("upper", "lower", "mean"))
    density = arrays["density"][feature] / max(arrays["density"][feature].max(), 1)
    edges = np.linspace(low, high, len(density) + 1)
    for share, left, right in zip(density, edges, edges[1:], strict=False):
        ax.axvspan(left, right, color=DENSITY, alpha=0.75 * float(share), linewidth=0, zorder=0)
    if "cell_quantiles" in arrays:
        _cells(ax, (edges[1:] + edges[:-1]) / 2, arrays["cell_quantiles"][feature] - centre)
    else:
        rows = arrays["sample_x"][:, feature]
        inside = (rows >= low) & (rows <= high)
        _rows(ax, rows[inside], arrays["sample_contributions"][inside, feature] - centre)
    if np.abs(upper - lower).max() > 1e-6:
        ax.plot(x, upper, color=UPPER, linewidth=1.6, label="upper bound", zorder=3)
        ax.plot(x, lower, color=LOWER, linewidth=1.6, label="lower bound", zorder=3)
        ax.plot(x, mean, color="#444444", linewidth=1.1, linestyle="--", label="mean", zorder=3)
    else:
        ax.plot(x, mean, color="#444444", linewidth=1.6, label="shape function", zorder=3)
    ax.set_xlim(low, high)


def _finished(figure: Figure) -> Figure:
    """Give a figure one legend for all its panels and close it: else a notebook shows it a second time."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        handles, labels = list(entries.values()), list(entries)
        fitting = max(1, int(figure.get_figwidth() / (0.8 + 0.09 * max(map(len, labels)))))
        lines = -(-len(labels) // fitting)
        columns = -(-len(labels) // lines)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    plt.close(figure)
    return figure


def _outer_labels(axes: NDArray[Any], count: int) -> None:
    """Of `count` panels on shared axes, label x below the last of each column, and hide the panels beyond."""
    across = axes.shape[1]
    for i, ax in enumerate(axes.flat):
        ax.set_visible(i < count)
        if i < count - across:
            ax.set_xlabel("")
        else:
            ax.tick_params(labelbottom=True)


def shape_plots(result: Result, features: Sequence[int], columns: int = 2, title: str = "") -> Figure:
    """Draw several features of one result, most plots sharing nothing but the legend."""
    names, label = _features(result.spec.dataset)
    rows = -(-len(features) // columns)
    data = _data(result.spec.dataset)
    lines = [features[i : i + columns] for i in range(0, len(features), columns)]
    named = [any(data is not None and feature in data.categories for feature in line) for line in lines]
    size = (4.3 * columns, 3.1 * rows + 0.9 * sum(named))  # categories' names take room below
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax, feature in zip(axes.flat, features, strict=False):
        shape_plot(result, feature, ax, names, label)
    for ax in list(axes.flat)[len(features) :]:
        ax.set_visible(False)
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    if title:
        figure.suptitle(title)
    return _finished(figure)


def sweep_shapes(results: Mapping[float, Result], feature: int) -> Figure:
    """Draw one feature's shape plot at each λ, on one scale (Table 2's pictures)."""
    first = next(iter(results.values()))
    names, label = _features(first.spec.dataset)
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(2.9 * columns, 2.7 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (penalty, result) in zip(axes.flat, results.items(), strict=False):
        shape_plot(result, feature, ax, names, "")
        ax.set_title(f"λ = {penalty:g}")
    _outer_labels(axes, len(results))
    figure.supylabel(label, fontsize=11)
    return _finished(figure)


def sweep_plot(lines: Mapping[str, Mapping[str, Any]], panels: Mapping[str, str]) -> Figure:
    """Draw measures over λ, one panel a measure and one line a source (paper, reference, rerun).

    `lines[source][measure]` is a list of (λ, mean, standard deviation); `panels` gives each measure's
    label. λ = 0 is drawn at the left end of a logarithmic axis.
    """
    rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(8.6, 3.0 * rows), squeeze=False, layout="constrained")
    for ax, (measure, label) in zip(axes.flat, panels.items(), strict=False):
        for color, (source, values) in zip(COLORS, lines.items(), strict=False):
            points = values.get(measure, [])
            if not points:
                continue
            x = [_ZERO if p[0] == 0 else p[0] for p in points]
            error = [0.0 if np.isnan(p[2]) else p[2] for p in points]
            ax.errorbar(
                x, [p[1] for p in points], error, color=color, marker="o", markersize=5, capsize=3, label=source
            )
        ax.set_xscale("log")
        ax.set_xticks([_ZERO, 0.001, 0.01, 0.1, 1, 10, 100], ["0", ".001", ".01", "0.1", "1", "10", "100"])
        ax.minorticks_off()
        ax.set_xlabel("variation penalty λ")
        ax.set_ylabel(label)
    return _finished(figure)
