"""The forest plot: differences with their intervals, a row a label."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mixnam.plots.look import COLORS, GREY, LOWER, finished

PAPER = "paper"  # a kind of its own: printed numbers, a hollow diamond without an interval


def forest_plot(table: pd.DataFrame, label: str, colors: Mapping[str, str]) -> Figure:
    """Draw differences with their 95 % intervals around 0, a row a label, in the unit that `label` names.

    `table` has the columns label, mean, low, high and kind, and for rows of several sources `place`, where each lies
    beside the others (-1 to 1). A kind has its colour and its line of the legend; an infinite interval (one run)
    leaves the point alone, hollow. Where a column `behind` is true, a red ring is around the point.
    """
    rows = list(dict.fromkeys(table["label"]))
    figure, ax = plt.subplots(figsize=(7.4, 0.42 * max(len(rows), 1) + 1.5), layout="constrained")
    ax.axvline(0, color=GREY, linewidth=1, linestyle="--", zorder=1)
    hollow: dict[str, Any] = {
        "marker": "D",
        "linestyle": "",
        "color": "none",
        "markeredgecolor": COLORS[1],
        "markersize": 7,
    }
    ring = hollow | {"marker": "o", "markeredgecolor": LOWER, "markeredgewidth": 1.8, "markersize": 11}
    for row in table.assign(place=table.get("place", 0.0)).to_dict("records"):
        y = rows.index(row["label"]) + 0.16 * row["place"]
        if row["kind"] == PAPER:
            ax.plot(row["mean"], y, zorder=4, **hollow)
            continue
        known = np.isfinite([row["low"], row["high"]]).all()
        if known:
            ax.plot([row["low"], row["high"]], [y, y], color=colors[row["kind"]], linewidth=2.2, zorder=2)
        fill = colors[row["kind"]] if known else "white"
        ax.plot(row["mean"], y, "o", color=colors[row["kind"]], markerfacecolor=fill, markersize=6, zorder=3)
        if row.get("behind"):
            ax.plot(row["mean"], y, zorder=4, **ring)
    kinds = set(table["kind"])
    if PAPER in kinds:
        ax.plot([], [], label=PAPER, **hollow)
    for kind in (kind for kind in colors if kind in kinds):
        ax.plot([], [], "o-", color=colors[kind], linewidth=2.2, markersize=6, label=kind)
    if (np.isinf(table["low"]) & (table["kind"] != PAPER)).any():
        ax.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=6, label="one run, no interval")
    if "behind" in table and table["behind"].any():
        ax.plot([], [], label="MixNAM is behind", **ring)
    ax.set_yticks(range(len(rows)), [textwrap.fill(str(row), 30) for row in rows], fontsize=10)
    ax.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    ax.set_xlabel(f"{label}\n(mean and 95 % interval)", fontsize=10)
    ax.grid(False, axis="y")
    return finished(figure)
