"""Shape plots: what a model says of one feature, with bounds, rows and the data's density."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from mixnam.data.table import Array
from mixnam.explain.curves import DISTINCT, SHOWN, bounded, centred, centred_rows, row_counts
from mixnam.plots.look import (
    BAND,
    DENSITY,
    GREY,
    LOWER,
    MEMBERS,
    MODEL_COLORS,
    ROWS,
    SMALL,
    UPPER,
    Explained,
    about,
    as_written,
    contribution_label,
    finished,
    in_lines,
    name,
    outer_labels,
    say,
    shortened,
)

#: Strokes nearer than this share of the axis of x would lie on each other.
CROWDED = 0.015
#: Labels of so many characters fit below a panel.
WIDE = 25
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
    draw(x, curves["upper"], color=UPPER, linewidth=width, label="experts' bounds: upper", zorder=3)
    draw(x, curves["lower"], color=LOWER, linewidth=width, label="experts' bounds: lower", zorder=3)
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


def values_of(result: Explained, feature: int) -> tuple[NDArray[Any], Sequence[str]]:
    """Return which points of a feature's grid are strokes, in the order drawn, and their names where they have some.

    Of categories the 16 most frequent are drawn, most frequent first, or in their own order where they have one; other
    features of few values in their order; of a feature that is a line there are none.
    """
    data, (grid, _) = about(result), centred(result.arrays, feature)
    if data is not None and feature in data.categories:
        chosen = np.argsort(-row_counts(result.arrays, feature), kind="stable")[:SHOWN]
        if feature in data.ordered:
            chosen = np.sort(chosen)
        return chosen, [data.categories[feature][code] for code in grid[chosen].astype(int)]
    return np.arange(len(grid) if len(grid) <= DISTINCT else 0), []


def _space_evenly(ax: Axes, values: Array) -> None:
    """Give neighbours among ascending values, (P,), one distance along x: on a common scale they would be one dot."""
    count = len(values)
    ends = values[0] - count * (values[1] - values[0]), values[-1] + count * (values[-1] - values[-2])
    at, places = np.r_[ends[0], values, ends[1]], np.r_[-count, np.arange(count), 2 * count - 1]
    ax.set_xlim(values[0], values[-1])
    ax.set_xscale(
        "function", functions=(lambda x: np.interp(x, at, places), lambda place: np.interp(place, places, at))
    )


def _number_format(low: float, high: float, even: bool = True) -> str | ScalarFormatter:
    """Return how ticks from `low` to `high` are written so that no two read the same; `even` says round numbers."""
    big, span = max(abs(low), abs(high)), (high - low) or 1.0
    if not even:
        return "{x:,.12g}" if big >= 10_000 else "{x:.12g}"
    if big < 10_000 and not 0 < big < 1e-4:
        return ScalarFormatter(useOffset=False)
    digits = max(math.ceil(math.log10(big / span)), 0) + 2
    return "{x:,.0f}" if 10_000 <= big < 1e7 and span >= 10 else f"{{x:,.{digits}g}}"


def _tick(ax: Axes, low: float, high: float, values: Array | None = None, most: int = 5, whole: bool = False) -> None:
    """Label numbers on the axis of x: `values`, upright where they would meet, else at most so many round ones."""
    ax.xaxis.set_major_formatter(_number_format(low, high, ax.get_xscale() == "linear"))
    wide = 0.7 * WIDE if ax.child_axes else WIDE  # missing values take room
    if values is not None:
        ax.set_xticks(values)
        labels = " ".join(ax.xaxis.get_major_formatter().format_ticks(values.tolist()))
        ax.tick_params(axis="x", rotation=90 if len(labels) > wide else 0)
        return
    for count in (most, 3, 2):
        ax.xaxis.set_major_locator(locator := MaxNLocator(count, integer=whole))
        shown = [at for at in locator.tick_values(low, high) if low <= at <= high]
        longest = max(map(len, ax.xaxis.get_major_formatter().format_ticks(shown)), default=0)
        if len(shown) < 2 or longest + 1 <= wide * (shown[1] - shown[0]) / (high - low):
            return


def _strokes(result: Explained, feature: int, ax: Axes, draw: Callable[..., None]) -> None:
    """Draw a feature of few values as strokes: categories by name side by side, numbers at their place.

    Numbers that would lie on each other there stand side by side, too.
    """
    arrays = result.arrays
    grid, curves = centred(arrays, feature)
    chosen, names = values_of(result, feature)
    at = np.arange(len(chosen), dtype=float) if names else grid[chosen]
    gap = np.diff(at).min(initial=np.inf)
    crowded = bool(gap < CROWDED * np.ptp(at))
    if crowded:
        _space_evenly(ax, at)
    scale = ax.xaxis.get_transform()
    place, back = scale.transform(at), scale.inverted().transform
    steps = np.diff(place) if len(at) > 1 else np.ones(1)
    before, after = np.r_[steps[:1], steps][: len(at)], np.r_[steps, steps[-1:]][-len(at) :]
    half = 0.4 * np.minimum(before, after)
    ends = back(np.r_[place - before / 2, place[-1] + after[-1] / 2])
    counts = row_counts(arrays, feature)[chosen]
    _density(ax, ends, counts / max(counts.max(), 1))
    if "cell_quantiles" in arrays:
        quantiles = arrays["cell_quantiles"][feature] - arrays["contribution_mean"][feature]
        low, high = (0, len(quantiles)) if names else arrays["density_range"][feature]
        cells = np.floor((grid[chosen] - low) / max(high - low, 1e-9) * len(quantiles)).astype(int)
        if not names:
            cells[grid[chosen] == high] = len(quantiles) - 1  # the last cell holds its upper end
        known = (cells >= 0) & (cells < len(quantiles))
        _cells(ax, at[known], quantiles[cells[known]])
    elif "sample_x" in arrays:
        rows, y = centred_rows(arrays, feature)
        row, stroke = np.nonzero(rows[:, None] == grid[chosen])
        _rows(ax, back(place[stroke] + 0.75 * half[stroke] * _spread(len(row))), y[row])
    left, right = back(place - half), back(place + half)
    draw(lambda x, y, **look: ax.hlines(y, left, right, **look), at, {k: v[chosen] for k, v in curves.items()})
    _stand(ax, at, _band(arrays, feature, "grid", curves["mean"])[:, chosen])
    ax.set_xlim(ends[0], ends[-1])
    if names:
        labels = shortened(names)
        ax.set_xticks(at, labels, rotation=0 if len(" ".join(labels)) <= 26 else 90, fontsize=SMALL)
        return
    even = len(at) <= 12 and gap > 0.08 * np.ptp(at)
    if crowded or even:
        _tick(ax, at[0], at[-1], at[:: -(-len(at) // (12 if crowded else 8))])
    else:
        whole = bool((at % 1 == 0).all())
        _tick(ax, at[0], at[-1], None, 8 if whole else 5, whole)


def _band(arrays: Mapping[str, NDArray[Any]], feature: int, where: str, mean: Array) -> Array:
    """Return the members' band about a mean, (P,), lower end first: (2, P), NaN where the members are not known."""
    off = np.full_like(mean, np.nan)
    if (name := f"{where}_spread") in arrays:
        off[:] = arrays[name][feature].ravel()[: len(mean)]
    return mean + np.array([[-1.0], [1.0]]) * off


def _stand(ax: Axes, x: Array, ends: Array) -> None:
    """Stand the members' bands, (2, P), upright at x, where they are known."""
    if not np.isnan(ends).all():
        ax.vlines(x, *ends, color=MEMBERS, linewidth=3, alpha=0.8, label=BAND, zorder=3.5)


def _spread(count: int) -> Array:
    """Return so many places from -1 to 1, evenly and always the same."""
    return np.arange(count, dtype=float) * 0.618034 % 1 * 2 - 1


def _numbers(result: Explained, feature: int, ax: Axes, draw: Callable[..., None]) -> None:
    """Draw a numeric feature over the central 99 % of the rows.

    Where a fiftieth of the axis would hold more than a quarter of the curve's points, these are evenly spaced.
    """
    arrays = result.arrays
    x, curves = centred(arrays, feature)
    low, high = (float(end) for end in arrays["density_range"][feature])
    if low == high:
        low, high = x[0], x[-1]
    density = arrays["density"][feature] / max(arrays["density"][feature].max(), 1)
    edges = np.linspace(low, high, len(density) + 1)
    shown = (x >= low) & (x <= high)
    crowded = np.histogram(x[shown], edges)[0].max() > max(shown.sum() / 4, 1)
    if crowded:
        _space_evenly(ax, x[shown])
    _density(ax, edges, density)
    if not shown.all() or "cell_quantiles" in arrays:
        ax.fill_between([], [], color=DENSITY, linewidth=0, label="density (central 99 %)")
    if "cell_quantiles" in arrays:
        quantiles = arrays["cell_quantiles"][feature] - arrays["contribution_mean"][feature]
        _cells(ax, (edges[1:] + edges[:-1]) / 2, quantiles)
    elif "sample_x" in arrays:
        rows, y = centred_rows(arrays, feature)
        inside = (rows >= low) & (rows <= high)
        _rows(ax, rows[inside], y[inside])
    draw(ax.plot, x[shown], {name: curve[shown] for name, curve in curves.items()})
    ends = _band(arrays, feature, "grid", curves["mean"])[:, shown]
    if not np.isnan(ends).all():
        ax.fill_between(x[shown], *ends, color=MEMBERS, alpha=0.25, linewidth=0, zorder=2.5)
        for end in ends:
            ax.plot(x[shown], end, ":", color=MEMBERS, linewidth=1.2, label=BAND, zorder=3)
    ax.set_xlim(low, high)
    places = np.linspace(0, shown.sum() - 1, 5).astype(int)
    _tick(ax, low, high, np.unique([_rounded(x[shown], place) for place in places]) if crowded else None)


def _rounded(values: Array, place: int) -> float:
    """Return one of ascending values in the fewest digits that leave it nearer to itself than to its neighbours."""
    value = values[place]
    near = min(abs(np.delete(values, place) - value)) / 2
    return next(r for d in range(1, 18) if abs((r := float(f"{value:.{d}g}")) - value) <= near)


def _missing(result: Explained, feature: int, ax: Axes, draw: Callable[..., None]) -> None:
    """Draw what a feature contributes where its value is missing, as a stroke beside the axis of its numbers."""
    arrays = result.arrays
    if np.isnan(arrays.get("missing_mean", np.full(feature + 1, np.nan))[feature]):
        return
    side = ax.inset_axes((1.12, 0, 0.14, 1), sharey=ax)
    centre, fullest = float(arrays["contribution_mean"][feature]), row_counts(arrays, feature).max()
    kinds = [kind for kind in ("lower", "upper", "mean") if f"missing_{kind}" in arrays]
    curves = {kind: np.array([float(arrays[f"missing_{kind}"][feature]) - centre]) for kind in kinds}
    _density(side, np.array([-0.5, 0.5]), np.minimum([arrays["missing_rows"][feature] / max(fullest, 1)], 1))
    if "sample_x" in arrays:
        rows, y = centred_rows(arrays, feature)
        gaps = np.isnan(rows)
        _rows(side, 0.3 * _spread(int(gaps.sum())), y[gaps])
    draw(lambda x, y, **look: side.hlines(y, x - 0.4, x + 0.4, **look), np.zeros(1), curves)
    _stand(side, np.zeros(1), _band(arrays, feature, "missing", curves["mean"]))
    side.set_xlim(-0.5, 0.5)
    side.set_xticks([0], ["missing"], fontsize=SMALL)
    side.tick_params(axis="y", left=False, labelleft=False)
    side.grid(False)


def shape_plot(result: Explained, feature: int, ax: Axes, label: str = "contribution", bounds: bool = True) -> None:
    """Draw one feature's contributions against its values: bounds, mean, rows and data density (Figure 3).

    Bounds and rows are centred by the feature's mean contribution; the bounds stay the model's own. A model without
    bounds, or with `bounds` off, is one line. Features of few values are strokes: categories, named where the data
    are known, stand most frequent first, 16 at most. Missing numbers have a stroke beside the axis.
    """
    data, model = about(result), result.model
    ax.set_ylabel(label)
    ax.grid(False)
    count = 0 if data is None else len(data.categories.get(feature, ()))

    def draw(stroke: Callable[..., Any], x: NDArray[Any], curves: dict[str, Array]) -> None:
        shown = curves if bounds else {"mean": curves["mean"]}
        color = MODEL_COLORS.get(model, GREY)
        draw_curves(stroke, x, shown, 2 if stroke != ax.plot else 1.6, True, color, f"shape function of {model}")

    _missing(result, feature, ax, draw)
    (_strokes if len(values_of(result, feature)[0]) else _numbers)(result, feature, ax, draw)
    some = f" ({SHOWN} most frequent of {count})" if count > SHOWN else ""
    some += "" if ax.get_xscale() == "linear" else " (not to scale)"
    ax.set_xlabel(in_lines(name(data, feature) + some))
    as_written(ax)


def most_important(result: Explained, count: int = 4) -> list[int]:
    """Return the features with the largest mean absolute contribution, largest first."""
    return [int(i) for i in np.argsort(-result.importance, kind="stable")[:count]]


def featured(result: Explained) -> int:
    """Return the feature that pages show first: Housing's longitude, as the paper does, else the most important."""
    data = about(result)
    known = () if data is None else data.features
    return known.index("Longitude") if "Longitude" in known else most_important(result)[0]


def shape_plots(result: Explained, features: Sequence[int], columns: int = 2, title: str = "") -> Figure:
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


def sweep_shapes(results: Mapping[float, Explained], feature: int) -> Figure:
    """Draw one feature's shape plot at each λ, on one scale (Table 2's pictures)."""
    across = min(3, len(results))
    down = -(-len(results) // across)
    data = about(next(iter(results.values())))
    size = 2.9 * across, 2.7 * down + 1.2 * (data is not None and feature in data.categories)
    figure, axes = plt.subplots(
        down, across, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (penalty, result) in zip(axes.flat, results.items(), strict=False):
        shape_plot(result, feature, ax, "")
        ax.set_title(f"λ = {penalty:g}")
        ax.tick_params(labelsize=SMALL)
    outer_labels(axes, len(results))
    figure.supylabel(contribution_label(data), fontsize=11)
    return finished(figure)


def compare_shapes(results: Mapping[str, Explained | None], feature: int, plain: Sequence[str] = ()) -> Figure:
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
    turned = [label.get_rotation() for ax in shown[:1] for label in ax.get_xticklabels()[:1]]
    for ax in axes.flat:
        ax.set_xlabel(xlabel)
        ax.tick_params(labelsize=SMALL if categorical else 10)
        ax.tick_params(axis="x", rotation=sum(turned))
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
