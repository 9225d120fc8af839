"""The forest plot: points, intervals, places beside each other, and a legend of the kinds that are there."""

import numpy as np
import pandas as pd
from curves import legend

from mixnam.plots.forests import forest_plot

COLORS = {"ours": "#111111", "behind": "#222222", "not there": "#333333"}


def drawn(ax, marker):
    """Each point's place, and its colour."""
    points = [line for line in ax.lines if line.get_marker() == marker and len(line.get_xdata())]
    return [(*map(float, line.get_xydata()[0]), line.get_color()) for line in points]


def test_points_have_their_row_their_place_and_their_kinds_colour():
    table = pd.DataFrame(
        [
            ("a", "paper", 0.1, np.nan, np.nan, 0),
            ("a", "ours", 0.2, 0.1, 0.3, -1),
            ("b", "behind", -0.2, -0.3, -0.1, 1),
            ("c", "ours", 0.4, -np.inf, np.inf, 0),
        ],
        columns=["label", "kind", "mean", "low", "high", "place"],
    )
    figure = forest_plot(table, "advantage", COLORS)
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"] and ax.yaxis_inverted()
    assert drawn(ax, "o") == [(0.2, -0.16, "#111111"), (-0.2, 1.16, "#222222"), (0.4, 2.0, "#111111")]
    assert [point[:2] for point in drawn(ax, "D")] == [(0.1, 0.0)]
    _, *others = ax.lines  # the first marks 0
    intervals = [line.get_xdata().tolist() for line in others if len(line.get_xdata()) == 2]
    assert intervals == [[0.1, 0.3], [-0.3, -0.1]]  # one run has none, neither has the paper
    assert legend(figure) == ["paper", "ours", "behind", "one run, no interval"]
    hollow = [li.get_markerfacecolor() == "white" for li in ax.lines if li.get_marker() == "o" and len(li.get_xdata())]
    assert hollow == [False, False, True]
    assert ax.get_xlabel() == "advantage\n(mean and 95 % interval)"


def test_rows_of_one_source_need_no_place():
    table = pd.DataFrame([("a", "ours", 0.2, 0.1, 0.3)], columns=["label", "kind", "mean", "low", "high"])
    assert drawn(forest_plot(table, "x", COLORS).axes[0], "o") == [(0.2, 0.0, "#111111")]
