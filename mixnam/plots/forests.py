"""The forest plot: how far MixNAM is ahead of each model, in print and here; the look is that of `plots`."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mixnam.plots.shapes import COLORS, LOWER, _finished


def forest_plot(table: pd.DataFrame, label: str) -> Figure:
    """Draw MixNAM's advantage over each model, a row a model, with its 95 % interval; the paper's as a diamond.

    `table` has the columns label, source ("paper" or one of ours), mean, low and high, in the unit that `label`
    names, positive where MixNAM is better. An infinite interval (one run) leaves the point alone. Red: MixNAM
    is behind, beyond the interval.
    """
    rows = list(dict.fromkeys(table["label"]))
    sources = [s for s in dict.fromkeys(table["source"]) if s != "paper"]
    sources.sort(key=lambda s: "paper's setting" not in s)
    figure, ax = plt.subplots(figsize=(7.4, 0.4 * max(len(rows), 1) + 1.4), layout="constrained")
    ax.axvline(0, color="#777777", linewidth=1, linestyle="--", zorder=1)
    offsets = dict(zip(sources, np.linspace(-0.16, 0.16, len(sources)) if len(sources) > 1 else [0.0], strict=True))
    colors = dict(zip(sources, (COLORS[2], COLORS[3]), strict=False))
    for entry in table.to_dict("records"):
        place = rows.index(entry["label"])
        if entry["source"] == "paper":
            ax.plot(entry["mean"], place, "D", color="none", markeredgecolor=COLORS[1], markersize=7, zorder=4)
            continue
        y = place + offsets[entry["source"]]
        color = LOWER if entry["high"] < 0 else colors[entry["source"]]
        if np.isfinite([entry["low"], entry["high"]]).all():
            ax.plot([entry["low"], entry["high"]], [y, y], color=color, linewidth=2.2, zorder=2)
        ax.plot(entry["mean"], y, "o", color=color, markersize=5, zorder=3)
    if (table["source"] == "paper").any():
        ax.plot([], [], "D", color="none", markeredgecolor=COLORS[1], markersize=7, label="paper")
    for source in sources:
        ax.plot([], [], "o-", color=colors[source], linewidth=2.2, markersize=5, label=source)
    if any(entry["high"] < 0 for entry in table.to_dict("records")):
        ax.plot([], [], "o-", color=LOWER, linewidth=2.2, markersize=5, label="MixNAM is behind")
    ax.set_yticks(range(len(rows)), [textwrap.fill(str(r), 30) for r in rows], fontsize=10)
    ax.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    ax.set_xlabel(label, fontsize=10)
    ax.grid(False, axis="y")
    return _finished(figure)
