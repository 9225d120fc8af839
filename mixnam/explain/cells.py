"""Points and cells of each raw feature at which curves, histograms and shares of rows are stored."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from mixnam.data import catalogue
from mixnam.data.table import Array
from mixnam.models.encoding import known

CURVE = 100  # points of a stored curve
CELLS = 50  # of a feature's stored histogram
LEAST_ROWS = 10  # in a cell whose rows are told of where single rows may not be shown


def least_rows(dataset: str) -> int:
    """Return how many rows a stored count, quantile or value of a data set stands on at least."""
    return LEAST_ROWS if catalogue.credentialed(dataset) else 1


def curve_grid(
    column: Array, categories: int = 0, points: int = CURVE, least: int = 1, kinks: Array | None = None
) -> Array:
    """Return where a feature's curves are stored: half at quantiles, half evenly spaced; padded with NaN.

    A curve of many values that has `kinks` is stored there too, beside the `points`.

    The even half spans the central 99 % of the rows, the extremes are included; a feature with few distinct values is
    stored at those, one of many categories at the most frequent. Missing values do not count. `least` leaves out values
    of fewer rows, and then quantiles lie between the rows' values and in the central 99 %. Where these are one value,
    the others count once.
    """
    column = known(column)
    if categories:
        counts = np.bincount(column.astype(int), minlength=categories)
        distinct = np.sort(np.argsort(-counts, kind="stable")[:points]).astype(float)
    else:
        distinct, counts = np.unique(column, return_counts=True)
        if len(distinct) <= points:
            distinct = distinct[counts >= least]
    if len(distinct) > points:
        low, high = np.quantile(column, [0.005, 0.995])
        if low == high and least == 1:
            column, (low, high) = distinct, np.quantile(distinct, [0.005, 0.995])
        ends, method = ((0, 1), "inverted_cdf") if least == 1 else ((0.005, 0.995), "linear")
        quantiles = np.quantile(column, np.linspace(*ends, points // 2), method=method)  # type: ignore[call-overload]
        distinct = np.unique(np.concatenate([quantiles, np.linspace(low, high, points - points // 2)]))
        if kinks is not None and least == 1:
            inside = kinks[(kinks >= distinct[0]) & (kinks <= distinct[-1])]
            distinct = np.unique(np.concatenate([distinct, inside]))
    most = points + (0 if kinks is None else len(kinks))
    return np.pad(distinct[:most], (0, max(0, most - len(distinct))), constant_values=np.nan)


def histogram_range(x: Array, least: int = 1) -> Array:
    """Return where features' histograms begin and end: (rows, n) → (2, n).

    That is the central 99 % of the rows with a value; where these have one value, and single rows may be shown
    (`least` is 1), all of them.
    """
    held = [known(column) for column in x.T]
    ends = np.stack([np.quantile(column, [0.005, 0.995]) for column in held], axis=1)
    for i in np.flatnonzero(ends[0] == ends[1]) if least == 1 else ():
        ends[:, i] = held[i].min(), held[i].max()
    return ends


def rows_at(x: Array, grid: Array, least: int = 1) -> NDArray[np.int64]:
    """Return how many rows (rows, n) hold each value of a grid (n, P); 0 for fewer than `least`."""
    found = np.zeros(grid.shape, np.int64)
    for i, points in enumerate(grid):
        values, counts = np.unique(x[:, i], return_counts=True)
        places = np.minimum(np.searchsorted(values, points), len(values) - 1)
        found[i] = np.where(values[places] == points, counts[places], 0)
    return np.where(found >= least, found, 0)


def fine(values: Array) -> bool:
    """Return whether float32 would change whole numbers, or make one of two different values along the last axis."""
    values = np.sort(values, axis=-1)
    rounded = values.astype(np.float32)
    merged = (np.diff(values) > 0) & (np.diff(rounded) == 0)
    return bool(merged.any() or ((values % 1 == 0) & (rounded != values)).any())


def low_share(x: Array, rows: dict[str, Array], least: int = 1) -> Array:
    """Return the share of rows in the lower third of their bounds, by cells of each feature: (n, CELLS).

    `x` are raw features (rows, n), `rows` what `Explainer.rows` gave, as arrays; NaN where a cell has fewer than
    `least` rows or the bounds no width.
    """
    low, high = histogram_range(x, least)
    width = rows["upper"] - rows["lower"]
    place = np.where(width > 1e-9, (rows["contributions"] - rows["lower"]) / np.where(width > 1e-9, width, 1.0), np.nan)
    shares = np.full((x.shape[1], CELLS), np.nan)
    for i in range(x.shape[1]):
        inside = (x[:, i] >= low[i]) & (x[:, i] <= high[i]) & np.isfinite(place[:, i])
        if inside.any() and high[i] > low[i]:
            lower = inside & (place[:, i] < 1 / 3)
            count, near = (np.histogram(x[chosen, i], CELLS, (low[i], high[i]))[0] for chosen in (inside, lower))
            shares[i] = np.where(count >= least, near / np.maximum(count, 1), np.nan)
    return shares


def cell_quantiles(x: Array, contributions: Array, categories: Collection[int]) -> Array:
    """Return the 5 %, 50 % and 95 % quantiles of contributions in each cell of a feature's histogram: (n, CELLS, 3).

    The cells of a feature in `categories` are its first CELLS codes. NaN where a cell has fewer than LEAST_ROWS rows:
    this stands where rows may not be shown.
    """
    low, high = histogram_range(x, LEAST_ROWS)
    found = np.full((x.shape[1], CELLS, 3), np.nan)
    for i in range(x.shape[1]):
        place = x[:, i]
        if i not in categories:
            place = np.floor((place - low[i]) / max(high[i] - low[i], 1e-300) * CELLS)
            place[x[:, i] == high[i]] = CELLS - 1  # the last cell holds its upper end
        for cell in range(CELLS):
            inside = contributions[place == cell, i]
            if len(inside) >= LEAST_ROWS:
                found[i, cell] = np.quantile(inside, [0.05, 0.5, 0.95])
    return found
