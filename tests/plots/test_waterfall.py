"""Waterfalls: bars lead from the intercept to the prediction, beside what each could have been."""

import itertools

import numpy as np
import pandas as pd
import pytest
from curves import legend

from mixnam.plots.waterfall import waterfall
from mixnam.report import pictures

BAND, BOUNDS = "members' band (± 1 sd)", "experts' bounds"


def parts(contributions, off=1.0, spread=0.2, names=None, values=None):
    contributions = np.asarray(contributions, float)
    count = len(contributions)
    told = {"feature": names or [f"f{i}" for i in range(count)], "value": values or [1.0] * count}
    told |= {"contribution": contributions, "lower": contributions - off, "upper": contributions + 2 * off}
    return pd.DataFrame(told | {"spread": spread})


def bars(figure):
    """Return the bars as (start, end), from above, and their labels."""
    (ax,) = figure.axes
    found = sorted(ax.patches, key=lambda bar: bar.get_y())
    labels = [text.get_text() for text in ax.get_yticklabels()]
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in found], labels


def numbers(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_bars_lead_from_the_intercept_to_the_prediction_the_largest_first():
    figure = waterfall(parts([1, -4, 2.5]), 10.0, "rent (pounds)", "of a month")
    found, labels = bars(figure)
    assert found == [(10, 6), (6, 8.5), (8.5, 9.5)]
    assert labels == ["intercept", "f1 = 1", "f2 = 1", "f0 = 1", "prediction\nof a month"]
    assert numbers(figure) == ["10.00", "−4.00", "+2.50", "+1.00", "9.50"]
    assert figure.axes[0].get_xlabel() == "rent (pounds)"
    low, high = waterfall(parts([-1, -4], off=0.0), 10.0, "rent").axes[0].get_xlim()
    assert low < 5 and high > 10  # neither end lies on the frame
    assert {BAND, BOUNDS, "raises the prediction", "lowers the prediction"} <= set(legend(figure))


def test_each_range_stands_where_its_bar_starts_and_the_band_at_its_end():
    table = pictures.drawn(waterfall(parts([1, -4]), 10.0, "rent"))
    at = {name: own["x"].tolist() for name, own in table.groupby("series")}
    assert at[f"{BOUNDS}, low end"] == [10 - 4 - 1, 6 + 1 - 1] and at[f"{BOUNDS}, high end"] == [10 - 4 + 2, 6 + 1 + 2]
    figure = waterfall(parts([1, -4]), 10.0, "rent")
    band = next(c for c in figure.axes[0].containers if c.get_label() == BAND)
    np.testing.assert_allclose([s[:, 0] for s in band.lines[2][0].get_segments()], [[5.8, 6.2], [6.8, 7.2]])


def test_further_features_are_one_bar_without_a_range():
    figure = waterfall(parts([5, 4, -0.5, 0.25, 0.125]), 0.0, "y", most=2)
    found, labels = bars(figure)
    assert labels[1:-1] == ["f0 = 1", "f1 = 1", "3 further features"] and found[-1] == (9, 8.875)
    table = pictures.drawn(figure)
    assert len(table[table["series"] == f"{BOUNDS}, low end"]) == 2
    assert len(bars(waterfall(parts([3, 2, 1]), 0.0, "y", most=2))[0]) == 3  # a single one stands for itself
    assert len(bars(waterfall(parts(np.arange(1, 31)), 0.0, "y", most=None))[0]) == 30


def test_a_model_without_bounds_or_members_has_neither():
    figure = waterfall(parts([1, 2], off=0.0, spread=np.nan), 0.0, "y")
    assert not {BAND, BOUNDS} & set(legend(figure))
    assert len(bars(waterfall(parts([0.0, 0.0]), 0.0, "y"))[0]) == 2


def test_values_are_short_missing_ones_are_said_and_long_names_stay_apart():
    names = ["the income of the household in spring", "the income of the household in autumn", "a", "b", "c"]
    values = [0.123456, 39000.0, None, pd.NA, "a very long name of a town"]
    _, labels = bars(waterfall(parts([5, 4, 3, 2, 1], names=names, values=values), 0.0, "y"))
    assert labels[1].endswith(" = 0.1235") and labels[2].endswith(" = 39000")
    assert labels[3:5] == ["a = missing", "b = missing"]
    assert len(set(labels)) == len(labels) and max(map(len, labels)) < 50


@pytest.mark.parametrize("count", [1, 30])
def test_labels_do_not_lie_on_each_other(count):
    figure = waterfall(parts(np.arange(1, count + 1)), 0.0, "y", "probability 0.5", most=None)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
