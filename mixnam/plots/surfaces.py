"""Surfaces: what a pairwise model says of two features at once."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mixnam.explain.curves import SHOWN
from mixnam.plots.look import MAP, SMALL, about, contribution_label, finished, in_lines, name, shortened
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
    rows = arrays["pair_rows"][k][: len(x), : len(y)]
    if turned:
        i, j, x, y, rows = j, i, y, x, rows.T
    categories = {} if data is None else data.categories
    kept, places, labels = [], [], []  # of x, then of y
    for feature, values, other in ((i, x, 1), (j, y, 0)):
        named = feature in categories
        chosen = np.sort(np.argsort(-rows.sum(axis=other), kind="stable")[: SHOWN if named else None])
        kept.append(chosen)
        places.append(np.arange(len(chosen)) if named else values)
        count = len(categories.get(feature, ()))
        some = f" ({SHOWN} most frequent of {count})" if count > SHOWN else ""
        labels.append(in_lines(name(data, feature) + some))
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 4.0), sharex=True, sharey=True, layout="constrained")
    titles = {"pair_effect": "terms of these two features", "pair_interaction": "their interaction alone"}
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        surface = arrays[kind][k].T if turned else arrays[kind][k]
        shown = np.where(rows > 0, surface[: len(x), : len(y)], np.nan)[np.ix_(*kept)].T
        limit = float(np.nanquantile(np.abs(shown), 0.99)) or 1.0
        drawn = ax.pcolormesh(*places, shown, cmap=MAP, vmin=-limit, vmax=limit, shading="nearest", rasterized=True)
        figure.colorbar(drawn, ax=ax, label=contribution_label(data) if ax is axes[-1] else "")
        ax.set_title(title)
        ax.set_facecolor("#dddddd")  # white is a contribution of 0
        ax.set_xlabel(labels[0])
        ax.grid(False)
    axes[0].set_ylabel(labels[1])
    for feature, at, codes, axis in [
        *((i, places[0], x[kept[0]], ax.xaxis) for ax in axes),
        (j, places[1], y[kept[1]], axes[0].yaxis),
    ]:
        if feature in categories:
            axis.set_ticks(at, shortened([categories[feature][int(v)] for v in codes]))
            axis.set_tick_params(labelsize=SMALL, rotation=90 if axis is not axes[0].yaxis else 0)
        elif len(at) == 2:
            axis.set_ticks(at)
    return finished(figure)
