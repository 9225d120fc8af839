"""The look that all pictures share: colours, names of features, panels and their one legend."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mixnam.data.table import About, DataError
from mixnam.runs.results import Result

UPPER, LOWER, ROWS, DENSITY = "#0b2e6f", "#c0392b", "#4c8ed9", "#d9d2c3"
COLORS = ("#222222", "#b8551f", "#2a6f97", "#5f8a3b")
GREY = "#777777"
#: One colour a source of numbers in all pictures; they can be told apart by the colour-blind, and none is a verdict's.
PAPER_COLOR = "#c15b00"
SOURCE_COLORS = {"paper": "#00568f", "quick": "#4ba3d8", "rerun": "#9a5ea8"}
SMALL = 9  # points
#: What Housing's columns are measured in; the data set itself has bare names.
UNITS = {"Longitude": "degrees", "Latitude": "degrees", "HouseAge": "years", "MedInc": "10,000 dollars"}


def style() -> None:
    """Set the look of all figures."""
    sns.set_theme(style="whitegrid", context="notebook", rc={"grid.color": "#eeeeee", "axes.edgecolor": "#999999"})
    plt.rcParams.update({"figure.dpi": 110, "axes.titlesize": 12, "axes.labelsize": 11, "savefig.bbox": "tight"})


def about(result: Result) -> About | None:
    """Return what the data behind a result are, or None where nobody knows."""
    try:
        return result.about
    except DataError:
        return None


def unit(data: About | None) -> str:
    """Return the unit of contributions: the target's, log-odds for classes, nothing where it is not known."""
    return "" if data is None else "log-odds" if data.task == "classification" else data.unit


def contribution_label(data: About | None) -> str:
    """Return an axis label: contribution to what, and its unit."""
    if data is None:
        return "contribution"
    label = f"contribution to {data.target}"
    return textwrap.fill(label, 36 if len(label) <= 36 else 28) + (f"\n({unit(data)})" if unit(data) else "")


def with_unit(feature: str) -> str:
    """Return a feature's name with its unit, where one is known."""
    return f"{feature} ({UNITS[feature]})" if feature in UNITS else feature


def say(ax: Axes, text: str) -> None:
    """Say in a panel why it is empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY, fontsize=10)
    ax.grid(False)


def outer_labels(axes: NDArray[Any], count: int) -> None:
    """Label x below the last of each column of `count` panels on shared axes, and hide the panels beyond."""
    across = axes.shape[1]
    for i, ax in enumerate(axes.flat):
        ax.set_visible(i < count)
        if i < count - across:
            ax.set_xlabel("")
        else:
            ax.tick_params(labelbottom=True)


def finished(figure: Figure) -> Figure:
    """Give a figure one legend for all its panels and close it: else a notebook shows it a second time."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        fitting = max(1, int(figure.get_figwidth() / (0.8 + 0.09 * max(map(len, entries)))))
        lines = -(-len(entries) // fitting)
        across = -(-len(entries) // lines)
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=across, frameon=False)
    plt.close(figure)
    return figure
