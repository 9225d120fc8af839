"""Figures: shape plots with bounds, and what the variation penalty does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.core.getipython import get_ipython
from IPython.core.pylabtools import select_figure_formats
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixnam import datasets
from mixnam.results import Result

UPPER, LOWER, ROWS, DENSITY = "#0b2e6f", "#c0392b", "#4c8ed9", "#d9d2c3"
COLORS = ("#222222", "#b8551f", "#2a6f97", "#5f8a3b")


def style() -> None:
    """Set the look that all figures share, and have notebooks show figures whatever backend is set."""
    shell = get_ipython()
    if shell is not None:
        select_figure_formats(shell, {"png"})
    sns.set_theme(style="whitegrid", context="notebook", rc={"grid.color": "#eeeeee", "axes.edgecolor": "#999999"})
    plt.rcParams.update({"figure.dpi": 110, "axes.titlesize": 12, "axes.labelsize": 11, "savefig.bbox": "tight"})


def _features(dataset: str) -> tuple[tuple[str, ...], str]:
    """Return feature names and the label of contributions."""
    try:
        data = datasets.load(dataset, download=False)
    except datasets.DataError:
        return (), "contribution"
    return data.features, f"contribution to {data.target}" + (f"\n({data.unit})" if data.unit else "\n(log-odds)")


def shape_plot(result: Result, feature: int, ax: Axes, names: Sequence[str] = (), label: str = "contribution") -> None:
    """Draw one feature's contributions against its values: bounds, mean, rows and data density (Figure 3).

    Bounds and rows are centred by the feature's mean contribution; the bounds stay the model's own.
    """
    arrays = result.arrays
    centre = arrays["contribution_mean"][feature]
    grid = arrays["grid"][feature]
    low, high = arrays["density_range"][feature]
    shown = ~np.isnan(grid) & (grid >= low) & (grid <= high)
    x = grid[shown]
    upper, lower, mean = (arrays[f"grid_{k}"][feature][shown] - centre for k in ("upper", "lower", "mean"))
    rows = arrays["sample_x"][:, feature]
    inside = (rows >= low) & (rows <= high)
    density = arrays["density"][feature] / max(arrays["density"][feature].max(), 1)
    edges = np.linspace(low, high, len(density) + 1)
    for share, left, right in zip(density, edges, edges[1:], strict=False):
        ax.axvspan(left, right, color=DENSITY, alpha=0.75 * float(share), linewidth=0, zorder=0)
    ax.scatter(
        rows[inside], arrays["sample_contributions"][inside, feature] - centre,
        s=7, color=ROWS, alpha=0.45, linewidth=0, label="rows", zorder=2,
    )  # fmt: skip
    if np.abs(upper - lower).max() > 1e-6:
        ax.plot(x, upper, color=UPPER, linewidth=1.6, label="upper bound", zorder=3)
        ax.plot(x, lower, color=LOWER, linewidth=1.6, label="lower bound", zorder=3)
    ax.plot(x, mean, color="#444444", linewidth=1.1, linestyle="--", label="mean", zorder=3)
    ax.set_xlim(low, high)
    ax.set_xlabel(names[feature] if names else f"feature {feature}")
    ax.set_ylabel(label)
    ax.grid(False)


def _finished(figure: Figure) -> Figure:
    """Give a figure one legend, its first panel's, and close it: else a notebook shows it a second time."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(len(labels), 1), frameon=False)
    plt.close(figure)
    return figure


def shape_plots(result: Result, features: Sequence[int], columns: int = 2, title: str = "") -> Figure:
    """Draw several features of one result, most plots sharing nothing but the legend."""
    names, label = _features(result.spec.dataset)
    rows = -(-len(features) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.3 * columns, 3.1 * rows), squeeze=False, layout="constrained")
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
        ax.set_xlabel("")
    for ax in list(axes.flat)[len(results) :]:
        ax.set_visible(False)
    figure.supxlabel(names[feature] if names else f"feature {feature}", fontsize=11)
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
            x = [0.01 if p[0] == 0 else p[0] for p in points]
            error = [0.0 if np.isnan(p[2]) else p[2] for p in points]
            ax.errorbar(
                x, [p[1] for p in points], error, color=color, marker="o", markersize=5, capsize=3, label=source
            )
        ax.set_xscale("log")
        ax.set_xticks([0.01, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
        ax.minorticks_off()
        ax.set_xlabel("variation penalty λ")
        ax.set_ylabel(label)
    return _finished(figure)
