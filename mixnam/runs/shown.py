"""What pictures of a model need beside the model: where curves are stored, which rows lie there, missing values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixnam.data.table import Array, Table
from mixnam.data.transforms import Preprocessing
from mixnam.explain import cells
from mixnam.explain.curves import blurred
from mixnam.models.encoding import EDGES
from mixnam.models.layers import Tensors
from mixnam.runs.results import Arrays


def curve_grid(table: Table, transforms: Preprocessing, tensors: Tensors, least: int = 1) -> Array:
    """Return the values of each feature at which curves are stored, (n, P), in its own units, padded with NaN.

    Where `tensors` hold the edges of an encoding's bins, curves have kinks there, and are stored there, too.
    """
    columns = range(table.x.shape[1])
    kinks = [None for _ in columns]
    if EDGES in tensors:
        kinks = [*transforms.numbers(tensors[EDGES][0, :, 0].double().cpu().numpy().T).T]
    sizes = [len(table.categories.get(i, ())) for i in columns]
    return np.stack([cells.curve_grid(table.x[:, i], sizes[i], least=least, kinks=kinks[i]) for i in columns])


def grid_inputs(grid: Array, transforms: Preprocessing, gaps: bool) -> NDArray[np.float32]:
    """Return the network inputs of a grid's values, (P, n), and with `gaps` a last row for what is missing.

    Padded points are inputs, too, for `named` to blank.
    """
    inputs = transforms.inputs(np.nan_to_num(grid.T, nan=0.0))
    if not gaps:
        return inputs
    return np.vstack([inputs, np.where(transforms.gaps, np.nan, 0).astype(np.float32)])


def named(curves: Arrays, grid: Array, transforms: Preprocessing) -> Arrays:
    """Return curves at `grid_inputs`, (n, P or P + 1, ...), by name as results store them.

    `grid_...` is (n, P, ...), NaN where the grid is; `missing_...`, (n,), is the curve's value where a feature is
    missing, NaN for a feature that no training row misses.
    """
    found: Arrays = {}
    for name, values in curves.items():
        inside = values[:, : grid.shape[1]]
        blank = np.isnan(grid) if inside.ndim == 2 else np.isnan(grid)[..., None]
        found[f"grid_{name}"] = np.where(blank, np.nan, inside)
        if values.shape[1] > grid.shape[1] and values.ndim == 2:
            found[f"missing_{name}"] = np.where(transforms.gaps, values[:, -1], np.nan)
    return found


def rows_shown(table: Table, grid: Array, least: int = 1) -> Arrays:
    """Return where a table's rows lie: each feature's histogram, and how many hold which value, or none.

    Counts of fewer than `least` rows are left out.
    """
    x = table.x
    ends = cells.histogram_range(x, least)
    counts = np.stack([np.histogram(x[:, i], bins=cells.CELLS, range=tuple(ends[:, i]))[0] for i in range(x.shape[1])])
    counts[counts < least] = 0
    shown: Arrays = {"grid": grid, "density": counts, "density_range": ends.T}
    held = cells.rows_at(x, grid, least)
    if blurred(shown, held, table.categories):
        shown["rows_at"] = held
    if table.gaps:
        shown["missing_rows"] = np.isnan(x).sum(axis=0)
    return shown
