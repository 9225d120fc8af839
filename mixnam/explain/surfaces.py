"""Surfaces of pairwise models: the effect of two features on a grid, and their interaction alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mixnam.data.table import Array, Table
from mixnam.data.transforms import Preprocessing
from mixnam.explain.cells import histogram_range, least_rows
from mixnam.models.layers import Tensors
from mixnam.models.pairs import Pairwise

POINTS = 40  # values of a feature on a surface, at most
SURFACES = 6  # stored of the first seed or fold; of the others the strongest alone
CONSIDERED, ROWS = 50, 2000  # pairs whose surfaces are computed, those whose terms vary most over so many rows
_ROUNDS = 200  # of purification, at most


def cells(column: Array, least: int = 1, categorical: bool = False) -> tuple[Array, NDArray[np.int64]]:
    """Return a feature's values on a surface, at most `POINTS`, and each row's place among them.

    A feature with few values has those of at least `least` rows, one of categories the most frequent; else the values
    are the middles of cells of one width over the central 99 % of the rows. Rows outside, and those in which it is
    missing, belong to none (-1).
    """
    distinct, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    if categorical or len(distinct) <= POINTS:
        kept = (counts >= least) & ~np.isnan(distinct)
        kept[np.argsort(-counts, kind="stable")[POINTS:]] = False
        return distinct[kept], np.where(kept, np.cumsum(kept) - 1, -1)[place]
    low, high = histogram_range(column[:, None], least)[:, 0]
    edges = np.linspace(low, high, POINTS + 1)
    place = np.minimum(np.searchsorted(edges, column, side="right") - 1, POINTS - 1)
    return (edges[1:] + edges[:-1]) / 2, np.where((column >= low) & (column <= high), place, -1)


def purify(surface: Array, weight: Array) -> Array:
    """Return a surface less what either feature does alone: "purification" (Lengerich et al. 2020).

    The weighted mean of each row and column is 0; cells without weight become 0.
    """
    found = np.where(weight > 0, surface, 0.0)
    for _ in range(_ROUNDS):
        moved = 0.0
        for axis in (0, 1):
            total = weight.sum(axis=axis, keepdims=True)
            mean = (found * weight).sum(axis=axis, keepdims=True) / np.where(total > 0, total, 1)
            found = np.where(weight > 0, found - mean, 0.0)
            moved = max(moved, float(np.abs(mean).max()))
        if moved <= 1e-9 * (1 + np.abs(surface).max()):
            break
    return found


@torch.no_grad()
def pair_surfaces(
    network: Pairwise, tensors: Tensors, dataset: Table, preprocessing: Preprocessing, device: torch.device,
    surfaces: int = SURFACES, considered: int = CONSIDERED,
) -> dict[str, Array]:  # fmt: skip
    """Return the at most `surfaces` pairs that interact most, by the interaction's standard deviation over rows.

    **Shape:** `pairs` (K, 2), the features' numbers; `pair_values` (K, 2, POINTS), their values, padded with NaN; over
    both, (K, POINTS, POINTS): `pair_effect`, f_i + f_j + f_ij less its mean over rows, `pair_interaction`, its
    interaction alone, both on the network's scale, and `pair_rows`, the rows in each cell.
    """
    least = least_rows(dataset.name)
    places = [cells(column, least, i in dataset.categories) for i, column in enumerate(dataset.x.T)]

    def inputs(x: Array) -> torch.Tensor:
        return torch.tensor(preprocessing.inputs(x), device=device)[None]

    found = []
    for number in most_varied(network, tensors, inputs(dataset.x[:ROWS]), considered):
        i, j = network.pairs[number]
        (first, row), (second, column) = places[i], places[j]
        x = np.tile(dataset.x[0], (len(first) * len(second), 1))  # no term depends on other features
        x[:, i], x[:, j] = np.repeat(first, len(second)), np.tile(second, len(first))
        grid = inputs(x)
        effect = network.singles(tensors, grid, None, [i, j])[0].sum(dim=0)
        effect = effect + network.doubles(tensors, grid, None, [number])[0, 0]
        surface = effect.cpu().double().numpy().reshape(len(first), len(second))
        inside = (row >= 0) & (column >= 0)
        rows = np.zeros(surface.shape)
        np.add.at(rows, (row[inside], column[inside]), 1)
        rows[rows < least] = 0
        alone = purify(surface, rows)
        strength = float((rows * alone**2).sum() / max(rows.sum(), 1))
        centre = np.average(surface, weights=rows if rows.any() else None)
        found.append((strength, (i, j), (first, second), surface - centre, alone, rows))
    found.sort(key=lambda entry: -entry[0])
    _, pairs, values, effects, interactions, counts = zip(*found[:surfaces], strict=True)
    return {
        "pairs": np.array(pairs),
        "pair_values": np.stack([[_padded(v, 1) for v in both] for both in values]),
        "pair_effect": np.stack([_padded(surface, 2) for surface in effects]),
        "pair_interaction": np.stack([_padded(surface, 2) for surface in interactions]),
        "pair_rows": np.stack([_padded(surface, 2, 0.0) for surface in counts]),
    }


def most_varied(network: Pairwise, tensors: Tensors, x: torch.Tensor, count: int = CONSIDERED) -> Sequence[int]:
    """Return the numbers of the `count` pairs whose terms vary most over the rows x, (1, B, n)."""
    numbers = range(len(network.pairs))
    if len(numbers) <= count:
        return numbers
    spread = network.doubles(tensors, x, None, numbers)[0].std(dim=1)
    return spread.argsort(descending=True)[:count].tolist()


def _padded(values: Array, axes: int, filling: float = np.nan) -> Array:
    return np.pad(values, [(0, POINTS - size) for size in values.shape[:axes]], constant_values=filling)
