"""What an encoder has to encode for a batch: each distinct value of a column once, where that pays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

#: Gathering pays where it leaves at most this share of the rows to encode.
WORTH_GATHERING = 0.75


class Piece(NamedTuple):
    """Encoder rows [start, stop) of one feature; `offset` counts from the feature's own first row."""

    start: int
    stop: int
    feature: int
    offset: int = 0


@dataclass(frozen=True)
class Rows:
    """What to encode for one batch, feature after feature.

    **Shape:** `values` (R,), in `pieces`; `index` (B, n), where each batch row finds its codes, or None where every
    feature has B rows in the batch's order.
    """

    values: Tensor
    pieces: tuple[Piece, ...]
    index: Tensor | None
    batch: int


class Columns:
    """A table (N, n) that is encoded in batches of at most `batch` rows.

    With `gather`, if that saves enough, a column that has fewer distinct values than a batch has rows is encoded at
    each of these, whatever the batch; other columns are encoded at the batch's rows. Missing values are one.

    Attributes: `gathers`, whether values are encoded once; `most`, how many rows a batch takes at most.

    **Examples**

    >>> columns = Columns(torch.tensor([[0.0, 1.5], [1.0, 2.5], [0.0, 3.5], [1.0, 4.5]]), batch=4, gather=True)
    >>> rows = columns.rows(torch.tensor([0, 1, 2]))
    >>> rows.values[rows.index]
    tensor([[0.0000, 1.5000],
            [1.0000, 2.5000],
            [0.0000, 3.5000]])
    >>> [piece.stop - piece.start for piece in rows.pieces]
    [2, 3]
    """

    def __init__(self, x: Tensor, batch: int, gather: bool) -> None:
        self.x, self.by_column = x, x.T.contiguous()
        self.dense: dict[int, tuple[Piece, ...]] = {}
        count, features = x.shape
        batch = min(batch, count)
        self.most = batch * features
        self.gathers = False
        if not gather or not count:
            return
        # each NaN would be a value of its own; no column holds infinity
        distinct = [torch.unique(column.nan_to_num(nan=torch.inf), return_inverse=True) for column in x.T]
        sizes = [min(len(values), batch) for values, _ in distinct]
        if sum(sizes) > WORTH_GATHERING * self.most:
            return
        self.gathers, self.most = True, sum(sizes)
        starts = [sum(sizes[:i]) for i in range(features)]
        self.direct = [i for i, (values, _) in enumerate(distinct) if len(values) >= batch]
        values = torch.cat([v[:s] for (v, _), s in zip(distinct, sizes, strict=True)])
        self.values = values.masked_fill(values.isinf(), torch.nan)
        self.codes = torch.stack([codes + s for (_, codes), s in zip(distinct, starts, strict=True)], dim=1)
        self.pieces = tuple(Piece(s, s + size, i) for i, (s, size) in enumerate(zip(starts, sizes, strict=True)))

    def rows(self, chosen: Tensor) -> Rows:
        """Return what to encode for the batch of rows `chosen`, (B,); valid until the next call."""
        batch = len(chosen)
        if not self.gathers:
            if batch not in self.dense:
                features = range(len(self.by_column))
                self.dense[batch] = tuple(Piece(i * batch, (i + 1) * batch, i) for i in features)
            return Rows(self.by_column.index_select(1, chosen).view(-1), self.dense[batch], None, batch)
        index, parts = self.codes[chosen], list(self.pieces)
        for i in self.direct:
            start = parts[i].start
            parts[i] = Piece(start, start + batch, i)
            self.values[start : start + batch] = self.by_column[i, chosen]
            index[:, i] = torch.arange(start, start + batch)
        return Rows(self.values, tuple(parts), index, batch)
