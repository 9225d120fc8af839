"""A feature's stored curves, centred: the one place that takes the mean contribution off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnam.data.table import Array


def centred(arrays: Mapping[str, NDArray[Any]], feature: int) -> tuple[Array, dict[str, Array]]:
    """Return a feature's grid, (P,), and its curves there less its mean contribution, by name.

    `mean` is always there, `lower` and `upper` where the model has bounds; all in the target's units (log-odds).
    """
    grid = arrays["grid"][feature].astype(float)
    shown = ~np.isnan(grid)
    centre = float(arrays["contribution_mean"][feature])
    names = [name for name in ("lower", "upper", "mean") if f"grid_{name}" in arrays]
    return grid[shown], {name: arrays[f"grid_{name}"][feature][shown].astype(float) - centre for name in names}


def row_counts(arrays: Mapping[str, NDArray[Any]], feature: int, values: Array) -> Array:
    """Return how many rows lie in the histogram's cell of each value, 0 beyond the central 99 % of the rows."""
    counts = arrays["density"][feature].astype(float)
    low, high = (float(end) for end in arrays["density_range"][feature])
    cells = np.searchsorted(np.linspace(low, high, len(counts) + 1), values, side="right") - 1
    cells = np.clip(cells, 0, len(counts) - 1)  # the last cell holds its upper end
    inside = (values >= low) & (values <= high)
    return np.where(inside, counts[cells] if high > low else counts.max(), 0.0)


def bounded(curves: Mapping[str, Array]) -> bool:
    """Return whether a feature's curves are bounds that lie apart, not one line."""
    return "upper" in curves and bool(np.abs(curves["upper"] - curves["lower"]).max() > 1e-6)


def centred_rows(arrays: Mapping[str, NDArray[Any]], feature: int) -> tuple[Array, Array]:
    """Return the stored sample of rows: the feature's values, (S,), and its contributions less their mean."""
    centre = float(arrays["contribution_mean"][feature])
    return arrays["sample_x"][:, feature].astype(float), arrays["sample_contributions"][:, feature] - centre
