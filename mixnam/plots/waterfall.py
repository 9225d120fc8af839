"""A waterfall: how one row's contributions lead from the intercept to its prediction, and what each could have been."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mixnam.data.columns import number_text
from mixnam.data.table import MISSING, Array
from mixnam.plots.look import BAND, GREY, LOWER, MEMBERS, SMALL, UPPER, finished, one_line, shortened

#: What raises a prediction is blue, what lowers it red, lighter than the bounds, which stand before them.
RAISES, LOWERS = "#6fa3d8", "#e39a90"


def waterfall(parts: pd.DataFrame, intercept: float, label: str, end: str = "", most: int | None = 10) -> Figure:
    """Draw a row's contributions as bars from the intercept to the prediction, the largest first.

    `parts` has a row a feature: feature, value, contribution, lower, upper and spread (NaN where it is not known).
    Behind each bar stands the range between the experts' bounds, from where the bar starts; at its end the members'
    band. Features beyond the `most` largest (None: all) are one bar without a range. `label` names the axis; `end` is
    said of the prediction.
    """
    bars = _bars(parts, most)
    ends = intercept + bars["contribution"].to_numpy().cumsum()
    starts = np.r_[intercept, ends[:-1]]
    at = np.arange(1, len(bars) + 1)
    height = 0.34 * (len(bars) + 2) + 1.3 + 0.2 * bool(end)
    figure, ax = plt.subplots(figsize=(6.6, height), layout="constrained")
    ax.use_sticky_edges = False  # bars would end at the frame
    _ranges(ax, bars, ends, at)
    for raising, color, name in ((True, RAISES, "raises"), (False, LOWERS, "lowers")):
        own = (bars["contribution"] >= 0).to_numpy() == raising
        if own.any():
            width = (ends - starts)[own]
            ax.barh(at[own], width, 0.45, starts[own], color=color, label=f"{name} the prediction", zorder=2)
    path = np.repeat(np.r_[intercept, ends], 2)
    ax.plot(path, np.r_[np.repeat(np.arange(len(bars) + 2), 2)[1:-1]], color=GREY, linewidth=0.8, label="sum so far")
    ax.plot(path[[0, -1]], [0, len(bars) + 1], "o", color="#222222", markersize=5, zorder=4, label="_ends")
    known = np.isfinite(bars["spread"]).to_numpy()
    if known.any():
        spread = bars["spread"].to_numpy()[known]
        look: dict[str, Any] = {"fmt": "none", "ecolor": MEMBERS, "elinewidth": 2.4, "capsize": 0, "zorder": 4}
        ax.errorbar(ends[known], at[known], xerr=spread, label=BAND, **look)
    labels = ["intercept", *bars["label"], "prediction" + (f"\n{end}" if end else "")]
    ax.set_yticks(range(len(labels)), labels, fontsize=SMALL)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    digits = max(0, 2 - math.floor(math.log10(max(float(np.abs(np.r_[ends - starts]).max()), 1e-9))))
    numbers = [_number(intercept, digits), *(_number(v, digits, "+") for v in bars["contribution"])]
    for y, number in enumerate([*numbers, _number(ends[-1], digits)]):
        bold = "bold" if y in (0, len(labels) - 1) else "normal"
        ax.text(1.015, y, number, transform=ax.get_yaxis_transform(), va="center", fontsize=SMALL, weight=bold)
    ax.set_xlabel(textwrap.fill(label, 60))
    ax.grid(False, axis="y")
    return finished(figure)


def _bars(parts: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """Return the bars to draw, with their labels: the largest, and where two or more are left their sum."""
    order = np.argsort(-parts["contribution"].abs().to_numpy(), kind="stable")
    parts = parts.iloc[order].reset_index(drop=True)
    count = len(parts) if most is None or len(parts) <= most + 1 else most
    shown, rest = parts.iloc[:count], parts.iloc[count:]
    names = shortened([str(name) for name in shown["feature"]], 26)
    labels = [f"{name} = {_value(value)}" for name, value in zip(names, shown["value"], strict=True)]
    bars = shown.assign(label=labels)
    if len(rest):
        bars.loc[count] = {"contribution": rest["contribution"].sum(), "label": f"{len(rest)} further features"}
    return bars.astype(dict.fromkeys(("contribution", "lower", "upper", "spread"), float))


def _ranges(ax: Axes, bars: pd.DataFrame, ends: Array, at: NDArray[np.int64]) -> None:
    """Draw where each bar could have ended, whatever the other features say; of a model without bounds nothing."""
    off = np.stack([bars["contribution"] - bars["lower"], bars["upper"] - bars["contribution"]]).clip(0)
    wide = off.sum(axis=0) > 1e-9
    if wide.any():
        _, (low, high), _ = ax.errorbar(
            ends[wide], at[wide], xerr=off[:, wide], fmt="none", ecolor=GREY, elinewidth=1.2, capsize=7,
            capthick=1.6, label="experts' bounds", zorder=1,
        )  # fmt: skip
        for cap, color in ((low, LOWER), (high, UPPER)):
            cap.set(markeredgecolor=color, zorder=3)


def _value(value: Any) -> str:
    """Return a value as it stands beside its feature's name."""
    if pd.isna(value):
        return MISSING
    if isinstance(value, (float, np.floating)):
        return number_text(float(value)) if value == np.round(value) else f"{value:.4g}".replace("-", "−")
    return one_line(str(value), 16)


def _number(value: float, digits: int, sign: str = "") -> str:
    return f"{round(value, digits) + 0.0:{sign},.{digits}f}".replace("-", "−")
