"""MixNAM's encoders, experts and routing scores on one processor core: forward and backward by hand.

The general formulation spends its time on memory traffic. Here the (rows, d) activations of a batch are handled in
blocks that stay in the cache, from the first layer to the last and back, in buffers allocated once. Three identities
make the work between the matrix products small:

- Weights and bias are centred once a step: layer normalisation finds a mean of 0, and divides by the mean square. Batch
  normalisation has one factor and one offset a feature, whose block holds all its rows (`norms`).
- Where ReLU's stored activation is 0 (negative, or dropped) so is its gradient: no mask is kept. SiLU's slope is kept,
  0 where dropped. Dropout's scale 1/(1-p) goes into the next layer's weights.
- f_i sees one number: what repeats in a column is encoded once and gathered (`columns.Columns`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from mixnam import randomness
from mixnam.models.base import EVALUATED, Network, Outputs
from mixnam.models.encoding import EDGES, bins_of
from mixnam.models.fast.columns import Columns, Piece
from mixnam.models.fast.norms import BatchNorm, LayerNorm
from mixnam.models.layers import Draws, Tensors
from mixnam.models.mixture import MixNAM

BLOCK = 1 << 16  # activations of one block: with their gradients they fit the second-level cache
HEAD = 1 << 18  # experts and scores that are computed at a time


class Group:
    """Views for the products of `k` neighbouring features with equally many rows in one block."""

    def __init__(self, engine: Blocked, block: Block, pieces: list[Piece]) -> None:
        k, first = len(pieces), pieces[0]
        self.k, self.size, self.features = k, first.stop - first.start, slice(first.feature, first.feature + k)
        self.batch_rows = slice(first.offset, first.offset + self.size)
        self.all = slice(first.start, pieces[-1].stop)
        inside = slice(first.start - block.start, pieces[-1].stop - block.start)

        def cut(t: Tensor, rows: slice = inside) -> Tensor:
            return t[rows].view(k, self.size, -1)

        self.x = cut(engine.values, self.all)
        self.normal, self.code = [cut(t) for t in block.normal], [cut(t) for t in block.code]
        self.g, self.t = cut(block.g), cut(block.t)
        # of each layer, then the head's
        self.source = [self.x if block.pieces is None else cut(block.pieces), *self.code]
        self.weight = [w[self.features] for w, _ in engine.encoder]
        self.bias = [b[self.features, None] for _, b in engine.encoder]
        self.weight_t = [w.transpose(1, 2) for w in self.weight]
        self.source_t = [t.transpose(1, 2) for t in self.source]
        if engine.keep:
            self.beta = float(first.offset > 0)  # the first rows of features begin their gradients
            self.ones = engine.ones[: self.size].view(1, 1, -1).expand(k, -1, -1)
            self.d_weight = [w[self.features] for w, _ in engine.d_encoder]
            self.d_bias = [b[self.features, None] for _, b in engine.d_encoder]
        columns = engine.head.shape[1]
        step = max(1, engine.head_cells // (self.size * columns))
        self.heads = [_Head(engine, self, i, min(i + step, k)) for i in range(0, k, step)]

    def encode(self, low: Tensor, inverse: Tensor, gaps: bool) -> None:
        """Put into the source values, their shares in bins and, with `gaps`, whether they are missing.

        The bins have these lower edges and inverse widths (n, 1, T).
        """
        source, shares = self.source[0], self.source[0][..., 1 : 1 + low.shape[2]]
        source[..., :1] = self.x
        torch.sub(self.x, low[self.features], out=shares)
        shares.mul_(inverse[self.features]).clamp_(0, 1)
        if gaps:
            source[..., -1:] = self.x.isnan()
            source.nan_to_num_()


class _Head:
    """Views for what some features of a group say: their own experts, and their part in the scores."""

    def __init__(self, engine: Blocked, group: Group, first: int, last: int) -> None:
        start = group.features.start
        self.features, self.batch_rows = slice(start + first, start + last), group.batch_rows
        self.code, self.code_t, self.g = group.code[-1][first:last], group.source_t[-1][first:last], group.g[first:last]
        self.weight, self.bias = engine.head_weight[self.features], engine.head_bias[self.features, None]
        self.weight_t = self.weight.transpose(1, 2)
        begin, rows = group.all.start + first * group.size, (last - first) * group.size
        out = engine.head[begin : begin + rows] if engine.columns.gathers else engine.head[:rows]
        self.out = out.view(last - first, group.size, -1)
        # own: experts, and what routes their feature alone; rest: the part in the scores of all
        self.own, self.rest = self.out[..., : engine.own].transpose(0, 1), self.out[..., engine.own :]
        self.parts = [self.out[..., columns] for columns in engine.heads.values()]
        if engine.keep:
            self.beta, self.d_weight = group.beta, engine.d_head_weight[self.features]


class Block:
    """Views of neighbouring rows: whole for what is done element by element, groups for products."""

    def __init__(self, engine: Blocked, pieces: list[Piece]) -> None:
        self.start, self.stop = pieces[0].start, pieces[-1].stop
        size = self.stop - self.start
        rows = slice(self.start, self.stop) if engine.keep else slice(0, size)
        self.normal = [t[rows] for t in engine.normal]
        self.code = [t[rows] for t in engine.code]
        self.inverse = [t[rows] for t in engine.inverse]
        self.inverse_column = [t[:, None] for t in self.inverse]
        self.slope = [t[rows] for t in engine.slope]
        self.pieces = None if engine.pieces is None else engine.pieces[rows]
        self.g, self.t = (t[:size] for t in engine.scratch)
        self.mean, self.ones = engine.mean[:size], engine.ones[:size]
        self.mean_column = self.mean[:, None]
        same = len({(p.stop - p.start, p.offset > 0) for p in pieces}) == 1
        self.groups = [Group(engine, self, part) for part in ([pieces] if same else [[p] for p in pieces])]


def split(pieces: tuple[Piece, ...], limit: int) -> list[list[Piece]]:
    """Cut pieces into blocks of at most `limit` neighbouring rows; short neighbours share a block."""
    blocks: list[list[Piece]] = []
    for piece in pieces:
        rows = piece.stop - piece.start
        size = -(-rows // max(1, -(-rows // limit)))
        for at in range(piece.start, piece.stop, max(size, 1)):
            part = Piece(at, min(at + size, piece.stop), piece.feature, piece.offset + at - piece.start)
            last = blocks[-1] if blocks else None
            if last and last[-1].stop == at and part.stop - last[0].start <= limit:
                last.append(part)
            else:
                blocks.append([part])
    return blocks


class Blocked:
    """One member of a network on a CPU, for batches of at most `batch` different rows of a table x, (N, n).

    `edges` (1, n, 1, T + 1) are those of the bins where the network reads a number in pieces. `keep` stores what the
    backward pass needs; `gather` encodes repeated values once, where that pays (not where codes are dropped: each row
    has its own mask); `block` activations and `head` experts and scores are handled at a time. `forward` takes flat
    parameters (1, P) and `backward` returns their gradient; what stands between them, from experts and scores to the
    loss, is left to the caller.
    """

    @staticmethod
    def covers(network: Network, members: int, device: torch.device) -> TypeGuard[MixNAM]:
        """Say whether a network is handled this way: one member on a CPU."""
        return isinstance(network, MixNAM) and members == 1 and device.type == "cpu"

    def __init__(
        self, network: MixNAM, x: Tensor, batch: int, keep: bool, gather: bool, edges: Tensor | None = None,
        block: int = BLOCK, head: int = HEAD,
    ) -> None:  # fmt: skip
        self.network, self.keep, self.batch, self.head_cells = network, keep, batch, head
        self.columns = Columns(x, batch, gather)
        rows, dtype = self.columns.most, x.dtype
        settings, n, d = network.settings, network.features, network.settings.width
        self.layers, self.silu = settings.layers, settings.activation == "silu"
        self.shared = settings.shared_normalization

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=dtype)

        sizes = [p.size for p in network.parameters.values()]
        self.starts, size = dict(zip(network.parameters, accumulate(sizes, initial=0), strict=False)), sum(sizes)
        self.norm_names = ["norm" if self.shared else f"norm.{i}" for i in range(self.layers)]
        # the encoder's weights and biases come first, as rows of d values: they are made ready together
        encoder_rows = self.starts[f"{self.norm_names[0]}.gain"] // d
        self.ready, self.row_scale = empty(encoder_rows, d), torch.ones(encoder_rows, 1, dtype=dtype)
        self.scale = 1.0
        self.encoder = self._encoder(self.ready.view(-1))
        # one matrix a feature: experts, then its own router (MixNAM-D) or its part in the scores of all
        router = network.parameters["router.weight"].shape
        columns, self.routed = settings.experts + router[-1], len(router) == 2
        self.heads = {"experts": slice(0, settings.experts), "router": slice(settings.experts, columns)}
        self.own = settings.experts if self.routed else columns
        self.limit = max(1, min(block // d, rows))
        batch_norm = settings.normalization == "batch_norm"
        if batch_norm and keep:  # a block holds all rows of its features
            self.limit = max(self.limit, min(batch, len(x)))
        self.head_weight, self.head_bias = empty(n, d, columns), torch.zeros(n, columns, dtype=dtype)
        self.values = empty(rows)
        self.bins = bins_of(x.new_zeros(n, 1, 1) if edges is None else edges[0])
        inputs = network.parameters["encoder.0.weight"].shape[1]
        self.pieces = None if inputs == 1 else empty(rows if keep else self.limit, inputs)
        self.head = empty(rows if self.columns.gathers else min(self.limit, max(head // columns, batch)), columns)
        stored, kept = (rows, self.layers) if keep else (self.limit, 1)  # or all layers and blocks share one
        of = [(empty(stored, d), empty(stored, d), empty(stored)) for _ in range(kept)] * (self.layers // kept)
        self.normal, self.code, self.inverse = map(list, zip(*of, strict=True))
        self.slope = [empty(rows, d) for _ in range(self.layers if keep and self.silu else 0)]
        self.scratch = [empty(self.limit, d) for _ in range(2)]
        self.mean, self.ones = empty(self.limit), torch.ones(self.limit, dtype=dtype)
        self.norm = BatchNorm(self) if batch_norm else LayerNorm(self)
        if keep:
            self.gradient = empty(1, size)
            self.d_named = {name: self._named(self.gradient[0], name) for name in self.starts}
            self.d_encoder = self._encoder(self.gradient[0])
            self.d_norms = self._norms(self.gradient[0])
            # sums over all rows; what else there is begins with a feature's first rows
            self.d_norms_sum = self.gradient[0, encoder_rows * d : self.starts["experts.weight"]]
            self.d_encoder_rows = self.gradient[0, : encoder_rows * d].view(encoder_rows, d)
            self.d_head_weight = torch.empty_like(self.head_weight)
            parts = {name: self.d_head_weight[..., columns] for name, columns in self.heads.items()}
            self.d_weights = [(self.d_named[f"{name}.weight"].view_as(part), part) for name, part in parts.items()]
        self.plans: dict[tuple[Piece, ...], list[Block]] = {}
        self.flat = empty(0)

    def _named(self, flat: Tensor, name: str) -> Tensor:
        start, parameter = self.starts[name], self.network.parameters[name]
        return flat[start : start + parameter.size].view(parameter.shape)

    def _encoder(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        names = [f"encoder.{i}" for i in range(self.layers)]
        return [(self._named(flat, f"{name}.weight"), self._named(flat, f"{name}.bias")) for name in names]

    def _norms(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(self._named(flat, f"{name}.gain"), self._named(flat, f"{name}.shift")) for name in self.norm_names]

    def outputs(self, flat: Tensor, buffers: Tensors) -> Iterator[Outputs]:
        """Yield what the network says about the table in evaluation mode, `batch` rows at a time."""
        for chosen in torch.arange(len(self.columns.x)).split(self.batch):
            with torch.no_grad():
                outputs = self.network.finish({"bias": flat[:, -1]}, *self.forward(flat, buffers, chosen), None)
            yield outputs

    @torch.no_grad()
    def predict(self, flat: Tensor, buffers: Tensors) -> Tensor:
        """Return the predictions for the whole table in evaluation mode: (1, N)."""
        return torch.cat([out.prediction for out in self.outputs(flat, buffers)], dim=1)

    def _prepare(self, flat: Tensor, draws: Draws | None) -> None:
        """Make the encoder's weights ready, scale each weight behind a dropout, and find the norms' gain and shift."""
        scale = 1.0
        if draws is not None and "dropout" in draws.rates:
            scale = 1 / (1 - float(draws.rates["dropout"]))
        if scale != self.scale:
            self.scale = scale
            spread = torch.ones_like(self.ready)
            for weight, _ in self._encoder(spread.view(-1))[1:]:
                weight.fill_(scale)
            self.row_scale = spread[:, :1].contiguous()
        if flat is not self.flat:
            self._look(flat)
        self.norm.ready(self.rows_of_flat, self.ready)
        for weight, into in self.weights:
            torch.mul(weight, scale, out=into)
        for bias, into in self.biases:
            into.copy_(bias)
        if scale != 1:
            self.ready.mul_(self.row_scale)

    def _look(self, flat: Tensor) -> None:
        """View flat parameters (1, P), which a step changes in place, as what they are."""
        self.flat, flat = flat, flat[0]
        self.rows_of_flat, self.norms = flat[: self.ready.numel()].view_as(self.ready), self._norms(flat)
        self.weights, self.biases = [], []
        for name, columns in self.heads.items():
            into = self.head_weight[..., columns]
            self.weights.append((self._named(flat, f"{name}.weight").view_as(into), into))
            if name == "experts" or not self.routed:
                self.biases.append((self._named(flat, f"{name}.bias"), self.head_bias[:, columns]))
        self.router_bias = self._named(flat, "router.bias")

    def _plan(self, pieces: tuple[Piece, ...]) -> list[Block]:
        if pieces not in self.plans:
            self.plans[pieces] = [Block(self, part) for part in split(pieces, self.limit)]
        return self.plans[pieces]

    def _encode(self, block: Block, masks: list[tuple[int, float]]) -> None:
        for layer, code in enumerate(block.code):
            for group in block.groups:
                if not layer and block.pieces is not None:
                    group.encode(*self.bins, self.network.gaps)
                source, weight, bias = group.source[layer], group.weight[layer], group.bias[layer]
                if layer or block.pieces is not None:
                    torch.baddbmm(bias, source, weight, out=group.normal[layer])
                else:
                    torch.addcmul(bias, source, weight, out=group.normal[layer])
            self.norm.forward(block, layer)
            if not self.silu:
                code.relu_()
            elif not self.keep:
                F.silu(code, inplace=True)
            else:  # s = sigmoid(a), the code a·s, its slope s + a·s·(1 - s)
                slope = torch.sigmoid(code, out=block.slope[layer])
                code.mul_(slope)
                slope.addcmul_(code, slope, value=-1).add_(code)
            if masks:
                mask = randomness.keep_part(*masks[layer], block.start * code.shape[1], block.t)
                code.mul_(mask)
                if self.silu and self.keep:
                    block.slope[layer].mul_(mask)

    @torch.no_grad()
    def forward(
        self, flat: Tensor, buffers: Tensors, chosen: Tensor, draws: Draws | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return experts (1, B, n, C) and scores (1, B, n·C) or (1, B, C) of rows `chosen`, (B,).

        With `draws` in training mode, which moves the running statistics of batch norm in the `buffers`.
        """
        rows = self.rows = self.columns.rows(chosen)
        self._prepare(flat, draws)
        self.values[: len(rows.values)] = rows.values
        self.norm.begin(draws is not None, buffers)
        masks = []
        if draws is not None and "dropout" in draws.rates:
            rate = float(draws.rates["dropout"])
            masks = [(int(draws.keys(f"dropout/{i}")[0]), rate) for i in range(self.layers)]
        n, experts = self.network.features, self.heads["experts"].stop
        own = flat.new_empty(rows.batch, n, self.own)
        scores = self.router_bias.expand(rows.batch, -1).clone() if self.routed else None
        for block in self._plan(rows.pieces):
            self._encode(block, masks)
            for head in (head for group in block.groups for head in group.heads):
                torch.baddbmm(head.bias, head.code, head.weight, out=head.out)
                if rows.index is None:
                    own[head.batch_rows, head.features] = head.own
                    if scores is not None:
                        scores[head.batch_rows] += head.rest[0] if len(head.rest) == 1 else head.rest.sum(dim=0)
        if rows.index is not None:
            own = self.head[:, : self.own][rows.index]
            if scores is not None:
                scores += F.embedding_bag(rows.index, self.head, mode="sum")[:, experts:]
        if scores is None:
            return own[None, ..., :experts], own[None, ..., experts:].flatten(2)
        return own[None], scores[None]

    @torch.no_grad()
    def backward(self, d_experts: Tensor, d_scores: Tensor, d_bias: Tensor) -> Tensor:
        """Return the gradient (1, P), valid until the next call, from those of the last `forward` and of the bias."""
        rows, d_experts, d_scores = self.rows, d_experts[0], d_scores[0]
        self.d_norms_sum.zero_()
        self.gradient[:, -1] = d_bias
        named = self.d_named
        torch.sum(d_experts, dim=0, out=named["experts.bias"])
        n = self.network.features
        d_router = d_scores[:, None].expand(-1, n, -1) if self.routed else d_scores.view_as(d_experts)
        torch.sum(d_scores if self.routed else d_router, dim=0, out=named["router.bias"])
        if rows.index is not None:
            self.head.zero_()
            for i, column in enumerate(rows.index.T):
                self.head.index_add_(0, column, torch.cat([d_experts[:, i], d_router[:, i]], dim=1))
        for block in self._plan(rows.pieces):
            for head in (head for group in block.groups for head in group.heads):
                if rows.index is None:
                    for part, into in zip((d_experts, d_router), head.parts, strict=True):
                        into.copy_(part[head.batch_rows, head.features].transpose(0, 1))
                torch.bmm(head.out, head.weight_t, out=head.g)
                head.d_weight.baddbmm_(head.code_t, head.out, beta=head.beta)
            self._decode(block)
        self.norm.undo(self.d_encoder_rows)
        if self.scale != 1:
            self.d_encoder_rows.mul_(self.row_scale)
            self.d_head_weight.mul_(self.scale)
        for weight, part in self.d_weights:
            weight.copy_(part)
        return self.gradient

    def _decode(self, block: Block) -> None:
        """Go back through a block's layers, from the gradient of its codes in `block.g`."""
        g, t = block.g, block.t
        g3, t3 = [group.g for group in block.groups], [group.t for group in block.groups]
        for layer in reversed(range(self.layers)):
            if self.silu:
                g.mul_(block.slope[layer])
            else:
                torch.ops.aten.threshold_backward.grad_input(g, block.code[layer], 0, grad_input=g)
            self.norm.backward(block, layer, g, g3)
            for i, group in enumerate(block.groups):
                group.d_bias[layer].baddbmm_(group.ones, g3[i], beta=group.beta)
                group.d_weight[layer].baddbmm_(group.source_t[layer], g3[i], beta=group.beta)
                if layer:
                    torch.bmm(g3[i], group.weight_t[layer], out=t3[i])
            g, t, g3, t3 = t, g, t3, g3


def evaluate(network: Network, tensors: Tensors, x: Tensor, rows: int = EVALUATED) -> Iterator[Outputs]:
    """Yield a network's outputs for x, (M, N, n), in evaluation mode and without gradients, `rows` rows at a time.

    Where this implementation covers the network, each distinct value of a column is encoded once.
    """
    if Blocked.covers(network, len(x), x.device):
        flat = torch.cat([tensors[name].reshape(1, -1) for name in network.parameters], dim=1)
        engine = Blocked(network, x[0], rows, keep=False, gather=True, edges=tensors.get(EDGES))
        yield from engine.outputs(flat, tensors)
    else:
        for part in x.split(rows, dim=1):
            with torch.no_grad():
                outputs = network(tensors, part)
            yield outputs
