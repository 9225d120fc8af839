"""Both normalisations in blocks, forward and backward: what stands between a layer's products and its activation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mixnam.data.table import Array
from mixnam.models.layers import Tensors

if TYPE_CHECKING:
    from mixnam.models.fast.blocked import Block, Blocked, Group

_EPSILON = 1e-5  # torch's


class LayerNorm:
    """Each row by itself. Weights and bias are centred once a step, so a row's mean is 0 without being looked for."""

    def __init__(self, engine: Blocked) -> None:
        self.engine, d, rows = engine, engine.network.settings.width, len(engine.ready)
        self.row_mean = engine.values.new_empty(rows)
        self.average = engine.values.new_full((d,), 1 / d)

    def ready(self, rows: Tensor, out: Tensor) -> None:
        """Put into `out` what the encoder multiplies with, from its weights and biases as rows of d values."""
        torch.mv(rows, self.average, out=self.row_mean)
        torch.sub(rows, self.row_mean[:, None], out=out)

    def undo(self, d_rows: Tensor) -> None:
        """Turn the gradient of what `ready` returns into that of the weights and biases, in place."""
        d_rows.sub_(torch.mv(d_rows, self.average, out=self.row_mean)[:, None])

    def begin(self, training: bool, buffers: Tensors) -> None:
        """Begin a forward pass."""
        self.share = self.engine.norms[0][0] / len(self.average)

    def forward(self, block: Block, layer: int) -> None:
        """Normalise the products in `block.normal` in place, and put them, times gain plus shift, into `block.code`."""
        normal, code, (gain, shift) = block.normal[layer], block.code[layer], self.engine.norms[layer]
        square = torch.mul(normal, normal, out=code)
        torch.mv(square, self.average, out=block.inverse[layer]).add_(_EPSILON).rsqrt_()
        normal.mul_(block.inverse_column[layer])
        if self.engine.shared:
            torch.addcmul(shift, normal, gain, out=code)
            return
        for group in block.groups:
            own = group.features
            torch.addcmul(shift[own, None], group.normal[layer], gain[own, None], out=group.code[layer])

    def backward(self, block: Block, layer: int, g: Tensor, parts: list[Tensor]) -> None:
        """Turn a block's gradient g, its groups' `parts`, into that of the products; `block.code` is used up."""
        normal, (gain, _), (d_gain, d_shift) = block.normal[layer], self.engine.norms[layer], self.engine.d_norms[layer]
        t = torch.mul(g, normal, out=block.code[layer])
        if self.engine.shared:
            d_shift.addmv_(g.T, block.ones)
            d_gain.addmv_(t.T, block.ones)
            torch.mv(t, self.share, out=block.mean)
            g.mul_(gain)
        else:
            for group, part in zip(block.groups, parts, strict=True):
                own, product = group.features, group.code[layer]
                d_shift[own, None].baddbmm_(group.ones, part)
                d_gain[own, None].baddbmm_(group.ones, product)
                part.mul_(gain[own, None])
                product.mul_(gain[own, None])
            torch.mv(t, self.average, out=block.mean)
        g.addcmul_(normal, block.mean_column, value=-1).mul_(block.inverse_column[layer])


class _PerFeature:
    """Of a group's k features one value each: sums (2, k), and views (k, 1, 1) of what multiplies them."""

    def __init__(self, norm: BatchNorm, group: Group) -> None:
        own, layers = group.features, range(norm.engine.layers)
        self.own, self.sums = own, norm.sums[:, : group.k]
        # a dot product's result has no axes
        self.total, self.product = self.sums[0], self.sums[1].squeeze()
        self.factor, self.offset = ([t[layer, own, None, None] for layer in layers] for t in norm.scales)
        self.slope, self.level = (t[: group.k, None, None] for t in norm.slopes)
        self.copies = norm.copies[group.all].view(group.k, -1, 1)

    def add(self, first: Tensor, second: Tensor, t: Tensor) -> Array:
        """Return the sums of the first, (k, rows, d), and of its products with the second, (2, k); `t` is free."""
        torch.sum(first, dim=(1, 2), out=self.total)
        if len(first) == 1:
            torch.dot(first.view(-1), second.view(-1), out=self.product)
        else:
            torch.sum(torch.mul(first, second, out=t), dim=(1, 2), out=self.product)
        return self.sums.numpy().astype(float)


class BatchNorm:
    """One mean and variance a feature, over rows and width; `block.normal` keeps the products as they are.

    A block holds all rows of its features. A value that stands for several rows weighs as many. Running statistics move
    as `layers.batch_norm` moves them, and normalise in evaluation mode. What has one value a feature is computed by
    numpy, in float64.
    """

    def __init__(self, engine: Blocked) -> None:
        self.engine, layers, n = engine, engine.layers, engine.network.features
        self.sums = engine.values.new_empty(2, n)
        self.mean, self.inverse = np.empty((2, layers, n))
        self.scales = engine.values.new_empty(2, layers, n)  # factor and offset
        self.slopes = engine.values.new_empty(2, n)  # slope and level of the gradient
        self.copies = torch.ones_like(engine.values)
        self.views: dict[Group, _PerFeature] = {}

    def ready(self, rows: Tensor, out: Tensor) -> None:
        """Put into `out` what the encoder multiplies with: its weights and biases."""
        out.copy_(rows)

    def undo(self, d_rows: Tensor) -> None:
        """Leave the gradient as it is."""

    def begin(self, training: bool, buffers: Tensors) -> None:
        """Begin a forward pass: find how many rows each encoded value stands for, or take the running statistics."""
        engine, self.training = self.engine, training
        self.norms = [(gain.numpy(), shift.numpy()) for gain, shift in engine.norms]
        names = engine.norm_names
        self.running = [(buffers[f"{name}.mean"][0].numpy(), buffers[f"{name}.variance"][0].numpy()) for name in names]
        self.count = engine.rows.batch * engine.network.settings.width if training else math.inf
        if training and engine.rows.index is not None:
            self.copies.copy_(torch.bincount(engine.rows.index.flatten(), minlength=len(self.copies)))
        if not training:
            for layer, (mean, variance) in enumerate(self.running):
                self._settle(layer, slice(None), mean, variance)

    def _of(self, group: Group) -> _PerFeature:
        if group not in self.views:
            self.views[group] = _PerFeature(self, group)
        return self.views[group]

    def _settle(self, layer: int, own: slice, mean: Array, variance: Array) -> None:
        """Let features be normalised by these statistics."""
        inverse = 1 / np.sqrt(variance + _EPSILON)
        (gain, shift), (factor, offset) = self.norms[layer], self.scales.numpy()[:, layer]
        self.mean[layer, own], self.inverse[layer, own] = mean, inverse
        factor[own] = gain[own] * inverse
        offset[own] = shift[own] - mean * gain[own] * inverse

    def forward(self, block: Block, layer: int) -> None:
        """Put the products in `block.normal`, normalised, times gain plus shift, into `block.code`."""
        for group in block.groups:
            of, own, products, code = self._of(group), group.features, group.normal[layer], group.code[layer]
            if self.training:
                weighed = torch.mul(products, of.copies, out=group.t) if self.engine.columns.gathers else products
                mean, square = of.add(weighed, products, code) / self.count
                variance = np.maximum(square - mean * mean, 0)
                unbiased = variance * (self.count / max(self.count - 1, 1))
                for buffer, found in zip(self.running[layer], (mean, unbiased), strict=True):
                    buffer[own] += 0.1 * (found - buffer[own])
                self._settle(layer, own, mean, variance)
            torch.mul(products, of.factor[layer], out=code).add_(of.offset[layer])

    def backward(self, block: Block, layer: int, g: Tensor, parts: list[Tensor]) -> None:
        """Turn a block's gradient, its groups' `parts`, into that of the products; `block.code` is used up."""
        for group, part in zip(block.groups, parts, strict=True):
            of, own, products, t = self._of(group), group.features, group.normal[layer], group.code[layer]
            mean, inverse = self.mean[layer, own], self.inverse[layer, own]
            total, product = of.add(part, products, t)
            product = (product - mean * total) * inverse
            for gradient, found in zip(self.engine.d_norms[layer], (product, total), strict=True):
                gradient.numpy()[own] += found
            slope, level = self.slopes.numpy()[:, : group.k]
            slope[:] = product / self.count * inverse
            level[:] = (total - product * inverse * mean) / self.count
            if self.engine.columns.gathers:
                part.sub_(torch.mul(products, of.slope, out=t).add_(of.level).mul_(of.copies))
            else:
                part.addcmul_(products, of.slope, value=-1).sub_(of.level)
            part.mul_(of.factor[layer])
