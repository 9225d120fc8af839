"""Surfaces: what a pairwise model says of two features at once."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mixnam.plots.look import MAP, SMALL, about, contribution_label, finished, name
from mixnam.runs.results import Result


def pair_surfaces(result: Result, pair: tuple[int, int] | None = None) -> Figure:
    """Draw what a pairwise model says of two features at once, beside their interaction alone (Figure 3).

    `pair` are their numbers, the first along x; by default, and where the result has no surface of them, the pair
    that interacts most. Colours are in the target's units (log-odds for classes): blue raises, red lowers; the grey of
    the ground is where no rows lie.
    """
    arrays, data = result.arrays, about(result)
    stored = [tuple(sorted(p)) for p in arrays["pairs"].tolist()]
    wanted = tuple(sorted(pair)) if pair else ()
    k = stored.index(wanted) if wanted in stored else 0
    i, j = (int(feature) for feature in arrays["pairs"][k])
    x, y = (values[np.isfinite(values)] for values in arrays["pair_values"][k])
    turned = pair is not None and pair[0] == j
    if turned:
        i, j, x, y = j, i, y, x
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 4.0), sharex=True, sharey=True, layout="constrained")
    titles = {"pair_effect": "terms of these two features", "pair_interaction": "their interaction alone"}
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        surface = np.where(arrays["pair_rows"][k] > 0, arrays[kind][k], np.nan)
        shown = (surface.T if turned else surface)[: len(x), : len(y)].T
        limit = float(np.nanquantile(np.abs(shown), 0.99)) or 1.0
        drawn = ax.pcolormesh(x, y, shown, cmap=MAP, vmin=-limit, vmax=limit, shading="nearest", rasterized=True)
        figure.colorbar(drawn, ax=ax, label=contribution_label(data) if ax is axes[-1] else "")
        ax.set_title(title)
        ax.set_facecolor("#dddddd")  # white is a contribution of 0
        ax.set_xlabel(name(data, i))
        ax.grid(False)
    axes[0].set_ylabel(name(data, j))
    categories = {} if data is None else data.categories
    for feature, codes, axis in [(i, x, ax.xaxis) for ax in axes] + [(j, y, axes[0].yaxis)]:
        if feature in categories:
            labels = [textwrap.shorten(categories[feature][int(v)], 18, placeholder="…") for v in codes]
            axis.set_ticks(codes, labels)
            axis.set_tick_params(labelsize=SMALL, rotation=90 if axis is not axes[0].yaxis else 0)
        elif len(codes) == 2:
            axis.set_ticks(codes)
    return finished(figure)
