"""The paper's figures that set several results beside each other; the look is that of `mixnam.plots`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixnam.data import catalogue
from mixnam.data.laws import quantiles, truth
from mixnam.data.table import Array
from mixnam.explain.curves import centred, centred_rows
from mixnam.plots.forests import forest_plot
from mixnam.plots.look import COLORS, GREY, LOWER, ROWS, about, finished, say
from mixnam.plots.shapes import draw_curves
from mixnam.runs.results import Result

#: Results by model within each law (a simulation's data set name); None or absent: not run.
ByLaw = Mapping[str, Mapping[str, Result | None]]
ACROSS = 4  # panels side by side at most
_PLUS = "#009e73"  # rows with x2 = +1
_ZERO = 1e-4  # where a logarithmic axis of λ shows 0


def usage_told(result: Result) -> str:
    """Return alt text for `plots.routing.usage`: use of each feature's most and least used expert."""
    relevance, data = result.arrays.get("relevance", np.zeros((0, 1))), about(result)
    names = data.features if data else [f"feature {i}" for i in range(len(relevance))]
    said = (f"{name} {row.max():.2f} to {row.min():.2f}" for name, row in zip(names, relevance, strict=False))
    return f"Mean relevance of each feature's experts, from the most to the least used: {', '.join(said)}."


def law_title(law: str) -> str:
    """Return a simulation's name without the word: "two modes"."""
    kind, _, number = law.removeprefix("sim_").partition("_")
    named = {"sparse": f"{number} % have x2 = +1", "variability": f"{number} modifier{'' if number == '1' else 's'}"}
    return named.get(kind) or catalogue.entry(law).title.partition(": ")[2]


def _models(results: ByLaw) -> list[str]:
    return list(dict.fromkeys(model for by_model in results.values() for model in by_model))


def _law_figure(
    results: ByLaw, draw: Callable[[Axes, Result], None], models: Sequence[str] | None = None, laws_across: bool = False
) -> Figure:
    """Draw a panel for each law and model, x1 along all of them: laws down and models across, or the other way round.

    More than four columns would not be readable on a page: the longer side then runs down it.
    """
    models = _models(results) if models is None else models
    down, across = (models, list(results)) if laws_across else (list(results), models)
    if len(across) > max(ACROSS, len(down)):
        down, across, laws_across = across, down, not laws_across
    figure, axes = plt.subplots(
        max(len(down), 1), max(len(across), 1), figsize=(min(3.4 * len(across), 7.6) + 0.6, 1.9 * len(down) + 1),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for i, row in enumerate(down):
        axes[i, 0].set_ylabel(textwrap.fill(row if laws_across else law_title(row), 17), fontsize=10)
        for ax, column in zip(axes[i], across, strict=True):
            law, model = (column, row) if laws_across else (row, column)
            ax.set_label(f"{law_title(law)}, {model}")
            result = results[law].get(model)
            if result is None or "grid" not in result.arrays:
                say(ax, "not run" if result is None else "no shape functions")
            else:
                draw(ax, result)
            ax.grid(False)
    for ax, column in zip(axes[0], across, strict=False):
        ax.set_title(textwrap.fill(law_title(column) if laws_across else column, 20), fontsize=11)
    for ax in axes[-1]:
        ax.set_xlabel("x1")
    axes[0, 0].set_xlim(0, 1)
    axes[0, 0].set_xticks([0.25, 0.5, 0.75])
    figure.supylabel("contribution of x1 to y, centred", fontsize=11)
    return finished(figure)


def _modes(law: str, x1: Array) -> list[Array]:
    """Return what x1 truly contributes with x2 = +1, and with x2 = -1 where that differs."""
    plus, minus = (truth(law, np.column_stack([x1, np.full_like(x1, s)])) - s for s in (1.0, -1.0))
    return [plus] if np.allclose(plus, minus) else [plus, minus]


def _true(ax: Axes, x: Array, curves: Sequence[Array], label: str) -> None:
    for i, y in enumerate(curves):
        ax.plot(x, y, label=None if i else label, color=COLORS[0], linewidth=1.2, linestyle="--", zorder=4)


def _bounds(ax: Axes, result: Result) -> Array:
    """Draw x1's bounds, or the line that they are one of, and return x1 there."""
    x, curves = centred(result.arrays, 0)
    draw_curves(ax.plot, x, curves, 2.2, middle=False, color=COLORS[3])
    return x


def _rows(ax: Axes, x: Array, y: Array, color: str, label: str, size: float = 16) -> None:
    ax.scatter(x, y, s=size, color=color, alpha=0.4, linewidth=0, label=label, zorder=2)


def simulation_shapes(results: ByLaw) -> Figure:
    """Draw x1's contributions on two-mode laws, laws down and models across (Figures 4 and 6).

    `results` are by law (`sim_unimodal`, `sim_sparse_25`, ...), then model. x1 and y have no unit; contributions
    are centred by their mean, the true ones dashed.
    """

    def draw(ax: Axes, result: Result) -> None:
        x, y = centred_rows(result.arrays, 0)
        positive = result.arrays["sample_x"][:, 1] > 0
        _rows(ax, x[~positive], y[~positive], ROWS, "rows, x2 = −1")
        _rows(ax, x[positive], y[positive], _PLUS, "rows, x2 = +1", 16 if positive.mean() > 0.3 else 36)
        at = _bounds(ax, result)
        _true(ax, at, _modes(result.spec.dataset, at), "true contribution")

    return _law_figure(results, draw)


def simulation_experts(results: ByLaw) -> Figure:
    """Draw x1's individual experts, each centred by its own mean, beside the true modes (Figure 5).

    `results` as for `simulation_shapes`; models that have no experts, as NAM, are left out. No units.
    """

    def draw(ax: Axes, result: Result) -> None:
        x, _ = centred(result.arrays, 0)
        if "grid_experts" not in result.arrays:
            say(ax, "experts not stored")
            return
        curves = result.arrays["grid_experts"][0][: len(x)].astype(float)
        for k, curve in enumerate((curves - curves.mean(axis=0)).T):
            look: dict[str, Any] = {"color": mpl.colormaps["viridis"](k / max(curves.shape[1] - 1, 1) * 0.8)}
            look["linestyle"] = "-." if k == 1 and curves.shape[1] == 2 else "-"
            ax.plot(x, curve, linewidth=2, label=f"expert {k + 1}", zorder=3, **look)
        _true(ax, x, _modes(result.spec.dataset, x), "true contribution")

    held = {m: [r for by_model in results.values() if (r := by_model.get(m)) is not None] for m in _models(results)}
    kept = [m for m, found in held.items() if not found or any("grid_experts" in r.arrays for r in found)]
    return _law_figure(results, draw, kept)


def variability_grid(results: ByLaw) -> Figure:
    """Draw x1's contributions under 1 to 16 modifiers: modifiers against models (Figure 7).

    `results` are by law (`sim_variability_1`, ...; others are left out), then model. Dashed: the true
    contribution's 1 % and 99 % quantiles given x1. x1 and y have no unit.
    """

    def draw(ax: Axes, result: Result) -> None:
        _rows(ax, *centred_rows(result.arrays, 0), ROWS, "rows")
        _bounds(ax, result)
        x = np.linspace(0, 1, 201)
        _true(ax, x, quantiles(result.spec.dataset, x), "truth, 1 % and 99 %")

    modified = {law: by_model for law, by_model in results.items() if law.startswith("sim_variability")}
    return _law_figure(modified, draw, laws_across=True)


def sweep_plot(lines: pd.DataFrame, panels: Mapping[str, str], colors: Mapping[str, str]) -> Figure:
    """Draw measures over λ, one panel a measure and one line a source in its colour; a pale dot is a seed or fold.

    `lines` has the columns source, measure, penalty, mean, sd and numbers; `panels` gives each measure's label. λ = 0
    is drawn at the left end of a logarithmic axis.
    """
    rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(8.6, 3.0 * rows), squeeze=False, layout="constrained")
    sources = list(dict.fromkeys(lines["source"]))
    for ax, (measure, label) in zip(axes.flat, panels.items(), strict=False):
        for k, source in enumerate(sources):
            points = lines[(lines["source"] == source) & (lines["measure"] == measure)]
            if len(points):
                x, error = points["penalty"].replace(0, _ZERO) * 1.25 ** (k - (len(sources) - 1) / 2), points["sd"]
                look: dict[str, Any] = {"marker": "o", "markersize": 5, "capsize": 3, "linewidth": 1.4, "zorder": 3}
                ax.errorbar(x, points["mean"], error.fillna(0), color=colors[source], label=source, **look)
                each = [(at, number) for at, numbers in zip(x, points["numbers"], strict=True) for number in numbers]
                if each:
                    marks = {"s": 12, "color": colors[source], "alpha": 0.35, "linewidth": 0, "zorder": 2}
                    ax.scatter(*np.transpose(each), gid=f"{source}, each run", **marks)
        ax.set_xscale("log")
        ax.set_xticks(
            [_ZERO, 0.001, 0.01, 0.1, 1, 10, 100], ["0", "0.001", "0.01", "0.1", "1", "10", "100"], fontsize=9
        )
        ax.minorticks_off()
        ax.set_xlabel("variation penalty λ")
        ax.set_ylabel(label)
    return finished(figure)


def difference_plot(table: pd.DataFrame, label: str, better: int) -> Figure:
    """Draw mean differences of a score, whose unit `label` names, and a small dot a seed.

    `table` is `tables.difference_table`'s; `better` is -1 where less of the score is better, else 1.
    """
    sides = ("lower: better", "higher: worse") if better < 0 else ("lower: worse", "higher: better")
    colors = dict(zip(sides, (COLORS[3], LOWER) if better < 0 else (LOWER, COLORS[3]), strict=True))
    kind = np.select([table["high"] < 0, table["low"] > 0], sides, "not told apart")
    figure = forest_plot(table.assign(kind=kind), label, colors | {"not told apart": GREY})
    for y, seeds in enumerate(table["seeds"]):
        figure.axes[0].plot(seeds, np.full(len(seeds), y + 0.25), "o", color=GREY, markersize=3, alpha=0.7)
    return figure


def difference_told(table: pd.DataFrame) -> str:
    """Return alt text for `difference_plot`: each row's mean difference and interval."""
    rows = (f"{r['label']} {r['mean']:+.3f} ({r['low']:+.3f} to {r['high']:+.3f})" for r in table.to_dict("records"))
    return f"Differences to the default, with 95 % intervals: {'; '.join(rows)}."


def training_curves(runs: pd.DataFrame, colors: Mapping[str, str]) -> Figure:
    """Draw validation errors over epochs: a panel a row of `runs`, a line a run, a dot at the epoch that was kept.

    Runs without a history, as those of other libraries, are left out. Errors are in standard deviations of the target;
    of classes they are minus the score that picks the epoch. `colors` are by source.
    """
    found = runs[[bool(result.history.get("validation_scores")) for result in runs["result"]]]
    rows = list(dict.fromkeys(found["row"]))
    size = (2.7 * max(len(rows), 2) + 0.5, 3.2)
    figure, axes = plt.subplots(1, max(len(rows), 1), figsize=size, sharey=True, squeeze=False, layout="constrained")
    every: list[float] = []
    for ax, row in zip(axes[0], rows, strict=False):
        for source, result in found.loc[found["row"] == row, ["source", "result"]].itertuples(index=False):
            epochs, errors = np.asarray(result.history["validation_scores"], float).T
            ax.plot(epochs, errors, color=colors[source], linewidth=0.8, alpha=0.7, label=source)
            kept = np.argmin(errors)
            ax.plot(epochs[kept], errors[kept], "o", color=colors[source], markersize=3)
            every += errors.tolist()
        ax.set(title=row, xlabel="epoch", xscale="log")
    if every:
        low, high = np.quantile(every, [0, 0.99])
        axes[0, 0].set_ylim(low - 0.05 * (high - low), high)
    axes[0, 0].set_ylabel("validation error")
    return finished(figure)


def scaling_heatmaps(cells: Mapping[str, pd.DataFrame], label: str = "test RMSE (100,000 dollars)") -> Figure:
    """Draw test errors over the numbers of experts, a panel a source, on one colour scale (Table 8).

    Each frame is indexed by K with C as columns and holds means in the target's unit. A dash stands where nothing was
    run, nothing where K > C; a source without a run has no panel. Errors far above the others (the gap from median to
    best, fourfold) share the last colour.
    """
    cells = {source: frame for source, frame in cells.items() if frame.notna().any(axis=None)}
    values = np.concatenate([f.to_numpy(float).ravel() for f in cells.values()] or [np.empty(0)])
    values = values[np.isfinite(values)]
    low, top, median = (values.min(), values.max(), np.median(values)) if len(values) else (0.0, 1.0, 0.5)
    high = max(min(top, low + 4 * (median - low)), low + 1e-3)
    norm, colors = mpl.colors.Normalize(low, high), mpl.colormaps["viridis_r"]
    rows = max([len(f) for f in cells.values()], default=1)
    size = (2.5 * max(len(cells), 1) + 1.2, 0.48 * rows + 1.1)
    figure, axes = plt.subplots(1, max(len(cells), 1), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, (title, frame) in zip(axes[0], cells.items(), strict=False):
        numbers, active, experts = frame.to_numpy(float), frame.index.to_numpy(int), frame.columns.to_numpy(int)
        ax.imshow(numbers, cmap=colors, norm=norm, aspect="auto")
        for i, j in np.ndindex(frame.shape):
            value, impossible = float(numbers[i, j]), active[i] > experts[j]
            text = f"{value:.3f}" if np.isfinite(value) else "" if impossible else "–"
            red, green, blue, _ = colors(norm(value))
            dark = np.isfinite(value) and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            ax.text(j, i, text, ha="center", va="center", fontsize=10, color="white" if dark else "#222222")
        ax.set_xticks(range(frame.shape[1]), [f"{c}" for c in frame.columns])
        ax.set_yticks(range(frame.shape[0]), [f"{k}" for k in frame.index])
        ax.set(xlabel="experts C", facecolor="#f4f2ee", title=title)
        ax.grid(False)
    axes[0, 0].set_ylabel("active experts K")
    mapped = mpl.cm.ScalarMappable(norm, colors)
    figure.colorbar(mapped, ax=axes, label=label, extend="max" if top > high else "neither", aspect=15)
    return finished(figure)


def scaling_told(cells: Mapping[str, pd.DataFrame]) -> str:
    """Return alt text for `scaling_heatmaps`: each source's best and worst cell, and how many it has."""
    said = []
    for source, frame in cells.items():
        numbers = [(float(v), c, k) for k, row in frame.iterrows() for c, v in row.items() if np.isfinite(v)]
        ends = [f"{v:.3f} (C = {c}, K = {k})" for v, c, k in (min(numbers), max(numbers))] if numbers else []
        said.append(f"{source}: " + (f"{len(numbers)} cells, {ends[0]} to {ends[1]}" if ends else "nothing run"))
    return f"Mean test errors over experts C and active experts K. {'; '.join(said)}."
