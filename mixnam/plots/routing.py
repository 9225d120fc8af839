"""Routing: how much each expert is used."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mixnam.plots.look import LOWER, SMALL, about, finished, name, say, shortened
from mixnam.runs.results import Result


def usage(result: Result) -> Figure:
    """Draw how much each expert of each feature is used: its mean relevance over all rows, 0 to 1 (no unit).

    Relevances of a feature sum to 1. Experts stand by relevance, the most used first; a cross marks one that
    is active in no row. A model without routing gets a panel that says so.
    """
    relevance = result.arrays.get("relevance", np.zeros((0, 1)))
    features, experts = relevance.shape
    data = about(result)
    names = shortened([name(data, i) for i in range(features)], 44)
    wide = min(max(0.5 * experts + 3, 4.5) + 0.09 * max(max(map(len, names), default=0) - 30, 0), 8.0)
    figure, ax = plt.subplots(figsize=(wide, 0.28 * max(features, 3) + 1.4), layout="constrained")
    if not features:
        say(ax, "no routing")
        ax.set_axis_off()
        return finished(figure)
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
    ax.set_yticks(range(features), names, fontsize=SMALL if features > 10 else 10)
    step = -(-experts // 16)
    ax.set_xticks(range(0, experts, step), [f"{k + 1}" for k in range(0, experts, step)], fontsize=10)
    ax.set(xlabel="expert, the most used first", ylabel="feature")
    ax.grid(False)
    figure.colorbar(image, ax=ax, label="mean relevance")
    return finished(figure)
