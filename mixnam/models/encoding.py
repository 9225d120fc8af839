"""What a network is given of one number: it, how far it has come through each bin, and whether it is missing.

The piecewise-linear encoding of Gorishniy, Rubachev and Babenko (2022), with bins between quantiles of training rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mixnam.data.table import Array

#: The buffer of the bins' edges: (n, k, bins + 1), in rising order.
EDGES = "encoding.edges"
#: Share of the quantiles that may coincide; where more do, quantiles of the distinct values come beside them.
COINCIDING = 0.3


def known(column: Array) -> Array:
    """Return the values of a column, (rows,), that are not missing; 0 where all are."""
    values = column[~np.isnan(column)]
    return values if len(values) else np.zeros(1)


def bin_edges(column: Array, bins: int) -> Array:
    """Return the rising edges of at most `bins` bins of a column's values, (rows,): `bins` + 1, or fewer.

    All distinct values where they are few; else quantiles of the rows, each once, filled up with quantiles of the
    distinct values where more than `COINCIDING` of them coincide. Missing values do not count.

    >>> bin_edges(np.array([0.0, 1.0, 1.0, 3.0]), 8).tolist()
    [0.0, 1.0, 3.0]
    """
    column = known(column)
    distinct = np.unique(column)
    if len(distinct) <= bins + 1:
        return distinct
    edges = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1)))
    lost = bins + 1 - len(edges)
    if lost > COINCIDING * (bins + 1):
        edges = np.unique(np.concatenate([edges, np.quantile(distinct, np.linspace(0, 1, lost + 2)[1:-1])]))
    return edges


def fitted_edges(x: Tensor, bins: int) -> Tensor:
    """Return the edges of each column of x, (M, N, n): (M, n, 1, bins + 1), the last repeated where there are fewer."""
    columns = x.transpose(1, 2).cpu().numpy()
    found = [[np.pad(e, (0, bins + 1 - len(e)), "edge") for e in (bin_edges(c, bins) for c in m)] for m in columns]
    return torch.tensor(np.array(found), dtype=x.dtype, device=x.device)[:, :, None]


def encode(tensors: dict[str, Tensor], h: Tensor, gaps: bool) -> Tensor:
    """Return what a network is given of values h, (M, n, B, k): (M, n, B, k·inputs).

    Of each value itself, its shares in the bins where the `tensors` hold edges, and with `gaps` a last input that is 1
    where it is missing, NaN; then all others are 0, and so is the derivative.
    """
    if not gaps:
        return piecewise_linear(h, tensors[EDGES]) if EDGES in tensors else h
    missing = h.isnan()[..., None]
    found = encode(tensors, h.nan_to_num(), gaps=False).unflatten(3, (h.shape[3], -1))
    return torch.cat([found.masked_fill(missing, 0.0), missing], dim=-1).flatten(3)


def bins_of(edges: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bins' lower edges and inverse widths, 0 where there is none: (..., bins + 1) → two of (..., bins)."""
    width = edges.diff(dim=-1)
    return edges[..., :-1], torch.where(width > 0, 1 / width, torch.zeros_like(width))


def piecewise_linear(x: Tensor, edges: Tensor) -> Tensor:
    """Return values and their shares in each bin, 0 below it and 1 above: (M, n, B, k) → (M, n, B, k·(1 + bins)).

    `edges` are (M, n, k, bins + 1). A bin without width, which only fills up, has share 0. Beyond the edges the value
    alone goes on.
    """
    low, inverse = bins_of(edges[:, :, None])
    shares = ((x[..., None] - low) * inverse).clamp(0, 1)  # (M, n, B, k, bins)
    return torch.cat([x[..., None], shares], dim=-1).flatten(3)
