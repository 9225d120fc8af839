"""A feature's stored curves, centred: the one place that takes the mean contribution off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnam.data.table import Array

#: Categories that a shape plot shows at most: their names must stay readable.
SHOWN = 16
#: Numbers of so many values at most are drawn as strokes, as categories are: no line leads from 0 to 1.
DISTINCT = 32


def centred(arrays: Mapping[str, NDArray[Any]], feature: int) -> tuple[Array, dict[str, Array]]:
    """Return a feature's grid, (P,), and its curves there less its mean contribution, by name.

    `mean` is always there, `lower` and `upper` where the model has bounds; all in the target's units (log-odds).
    """
    grid = arrays["grid"][feature].astype(float)
    shown = ~np.isnan(grid)
    centre = float(arrays["contribution_mean"][feature])
    names = [name for name in ("lower", "upper", "mean") if f"grid_{name}" in arrays]
    return grid[shown], {name: arrays[f"grid_{name}"][feature][shown].astype(float) - centre for name in names}


def row_counts(arrays: Mapping[str, NDArray[Any]], feature: int) -> Array:
    """Return how many rows hold each value of a feature's grid: (P,), 0 beyond the central 99 % of the rows.

    That is what is stored of the values, else what their cells of the histogram hold.
    """
    values = arrays["grid"][feature].astype(float)
    values = values[~np.isnan(values)]
    if "rows_at" in arrays:
        return arrays["rows_at"][feature][: len(values)].astype(float)
    counts = arrays["density"][feature].astype(float)
    low, high = (float(end) for end in arrays["density_range"][feature])
    cells = np.searchsorted(np.linspace(low, high, len(counts) + 1), values, side="right") - 1
    cells = np.clip(cells, 0, len(counts) - 1)  # the last cell holds its upper end
    inside = (values >= low) & (values <= high)
    return np.where(inside, counts[cells] if high > low else counts.max(), 0.0)


def blurred(arrays: Mapping[str, NDArray[Any]], rows: NDArray[Any], categories: Collection[int]) -> bool:
    """Return whether a histogram does not tell how many `rows` (n, P) hold the values of a grid drawn one by one.

    Values may share a cell, or one of the most frequent of many categories lie beyond the central 99 % of the rows.
    """
    for i, exact in enumerate(rows):
        found = row_counts(arrays, i)
        exact, inside, named = exact[: len(found)], found > 0, i in categories
        if not named and len(found) > DISTINCT:
            continue
        frequent = np.argsort(-exact, kind="stable")[: SHOWN if named and len(found) > SHOWN else 0]
        if (found != exact)[inside].any() or not inside[frequent].all():
            return True
    return False


def bounded(curves: Mapping[str, Array]) -> bool:
    """Return whether a feature's curves are bounds that lie apart, not one line."""
    return "upper" in curves and bool(np.abs(curves["upper"] - curves["lower"]).max() > 1e-6)


def centred_rows(arrays: Mapping[str, NDArray[Any]], feature: int) -> tuple[Array, Array]:
    """Return the stored sample of rows: the feature's values, (S,), and its contributions less their mean."""
    centre = float(arrays["contribution_mean"][feature])
    return arrays["sample_x"][:, feature].astype(float), arrays["sample_contributions"][:, feature] - centre
