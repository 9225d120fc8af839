"""Layers whose tensors carry a leading member axis, so that M networks train side by side.

A network is a set of named parameters, each (M, ...), and functions of them. A feature's activations inside it are laid
out (M, n, B, d): one matrix product per member and feature.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mixnam import randomness

Tensors = dict[str, Tensor]
#: One member's masks of steps that follow each other, by seed, stream and shape.
Ahead = dict[tuple[int, str, tuple[int, ...]], tuple[range, Tensor]]
#: Masks of at most so many values are drawn for so many steps at once: the calls take longer than the numbers.
SMALL, STEPS = 1 << 14, 16


@dataclass(frozen=True)
class Parameter:
    """Shape of one member's parameter and the distribution of its initial values.

    They are `scale` (constant), uniform on ±scale, uniform on (0, scale) (positive), normal with that deviation, or 1
    at so many random places of the first axis and 0 elsewhere (subset).
    """

    shape: tuple[int, ...]
    kind: Literal["uniform", "normal", "constant", "positive", "subset"]
    scale: float

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def initialize(self, name: str, seeds: Sequence[int], device: torch.device) -> Tensor:
        """Return each seed's initial values: float32, (M, *shape)."""
        shape = (len(seeds), *self.shape)
        if self.kind == "constant":
            return torch.full(shape, self.scale, device=device)
        draw = randomness.normal if self.kind == "normal" else randomness.uniform
        values = draw([randomness.key(seed, f"initial/{name}") for seed in seeds], self.size).view(shape)
        if self.kind == "subset":
            return (values.argsort(dim=1).argsort(dim=1) < self.scale).float().to(device)
        if self.kind == "uniform":
            values.mul_(2).sub_(1)
        return values.mul_(self.scale).float().to(device)


def uniform(*shape: int, bound: float) -> Parameter:
    """Declare a parameter drawn uniformly from [-bound, bound]."""
    return Parameter(shape, "uniform", bound)


def constant(*shape: int, value: float) -> Parameter:
    """Declare a parameter or buffer that starts at `value`."""
    return Parameter(shape, "constant", value)


@dataclass
class Draws:
    """The random numbers of one training step.

    Attributes: `seeds`, one a member; `step`, counted from the start of training; `rates`, by setting name, the dropout
    probabilities that are not 0 for every member, each (M,); `table`, the keys (M,) by stream, where they lie ready on
    the device; `asked`, the streams drawn from so far; `ahead`, what holds small masks of one member on a processor
    that were drawn before their steps come.
    """

    seeds: Sequence[int]
    step: int
    rates: Tensors
    table: Mapping[str, Tensor] | None = None
    asked: list[str] = field(default_factory=list)
    ahead: Ahead | None = None

    def keys(self, stream: str) -> Sequence[int] | Tensor:
        """Return each member's key for a stream in this step."""
        if self.table is not None:
            return self.table[stream]
        if stream not in self.asked:  # what is computed twice draws the same numbers
            self.asked.append(stream)
        return [randomness.key(seed, stream, self.step) for seed in self.seeds]

    def keep(self, stream: str, rate: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor | None:
        """Return the 0/1 mask of `stream`, (M, *shape), or None where nothing is dropped."""
        if rate not in self.rates:
            return None
        keys, drop = self.keys(stream), self.rates[rate]
        if len(keys) == 1 and drop.device.type == "cpu":
            if self.ahead is not None and math.prod(shape) <= SMALL:
                return self._ahead(self.ahead, stream, drop, tuple(shape), dtype)
            return randomness.keep_part(int(keys[0]), float(drop), 0, torch.empty(1, *shape, dtype=dtype))
        return randomness.keep_mask(keys, drop, shape, dtype)

    def _ahead(self, ahead: Ahead, stream: str, drop: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return one member's mask of this step, drawn together with those of the steps that follow."""
        seed, step = self.seeds[0], self.step
        found = ahead.get((seed, stream, shape))
        if found is None or step not in found[0]:
            steps = range(step, step + STEPS)
            keys = [randomness.key(seed, stream, s) for s in steps]
            found = ahead[seed, stream, shape] = steps, randomness.keep_mask(keys, drop.expand(STEPS), shape, dtype)
        return found[1][step - found[0].start, None].clone()

    def dropout(self, x: Tensor, stream: str, rate: str) -> Tensor:
        """Return x with a random share set to 0 and the rest scaled by 1/(1-p); x is (M, ...)."""
        mask = self.keep(stream, rate, x.shape[1:], x.dtype)
        if mask is None:
            return x
        scale = (1 / (1 - self.rates[rate])).to(x.dtype)
        return x * mask.mul_(per_member(scale, x))


def per_member(values: Tensor, like: Tensor) -> Tensor:
    """View one value a member, (M,), so that it multiplies a tensor (M, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply each feature's own linear map: (M, n, B, in), (M, n, in, out), (M, n, out) → (M, n, B, out)."""
    if x.shape[-1] == 1:
        return torch.addcmul(bias[:, :, None, :], x, weight)
    members, features = x.shape[:2]
    product = torch.baddbmm(bias.flatten(0, 1)[:, None, :], x.flatten(0, 1), weight.flatten(0, 1))
    return product.unflatten(0, (members, features))


def layer_norm(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Normalise over the last axis; gain and shift are (M, d), shared by all features, or (M, n, d)."""
    if gain.dim() == 2 and len(gain) == 1:
        return F.layer_norm(x, x.shape[-1:], gain[0], shift[0])
    shape = (len(gain), -1, 1, gain.shape[-1])
    return torch.addcmul(shift.view(shape), F.layer_norm(x, x.shape[-1:]), gain.view(shape))


def activate(x: Tensor, name: str) -> Tensor:
    """Return ReLU or SiLU of x, whose memory may be used for it."""
    return F.silu(x) if name == "silu" else x.relu_()


def softmax(x: Tensor) -> Tensor:
    """Return the softmax over the last axis."""
    if x.device.type == "cpu" and x.shape[-1] <= 16:
        # torch's works row by row: of 4 values each, it takes 15 times as long as along the first axis
        return x.movedim(-1, 0).softmax(dim=0).movedim(0, -1)
    return x.softmax(dim=-1)


def batch_norm(
    x: Tensor, gain: Tensor, shift: Tensor, running: tuple[Tensor, Tensor], axes: tuple[int, ...], training: bool,
    update: bool = True,
) -> Tensor:  # fmt: skip
    """Return (M, n, B, d) normalised over `axes`, by its own statistics in training, else by `running`'s.

    Training with `update` moves `running` (mean, variance) in place: momentum 0.1, unbiased variance, as in torch.
    Statistics keep one value for each index of the other axes, as do gain, shift and running.
    """
    if training:
        out, mean, variance = _BatchNorm.apply(x, gain, shift, axes)
        count = math.prod(x.shape[a] for a in axes)
        if update:
            with torch.no_grad():
                running[0].lerp_(mean.view_as(running[0]), 0.1)
                running[1].lerp_(variance.view_as(running[1]) * (count / max(count - 1, 1)), 0.1)
        return out
    shape = [1 if a in axes else size for a, size in enumerate(x.shape)]
    mean, variance = running[0].view(shape), running[1].view(shape)
    factor = gain.view(shape) * torch.rsqrt(variance + 1e-5)
    return torch.addcmul(shift.view(shape) - mean * factor, x, factor)


class _BatchNorm(torch.autograd.Function):
    """Normalise with the batch's own statistics; returns those too: (..., 1 along each axis, ...).

    By hand because torch's variance over leading axes, and its gradient, take most of a step on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, shift: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, ...]:
        mean = x.mean(axes, keepdim=True)
        normal = x - mean
        variance = normal.square().mean(axes, keepdim=True)
        inverse = torch.rsqrt(variance + 1e-5)
        normal.mul_(inverse)
        ctx.save_for_backward(normal, gain, inverse)
        ctx.axes = axes
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(shift.view_as(mean), normal, gain.view_as(mean)), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        g, (normal, gain, inverse) = gradients[0], ctx.saved_tensors
        d_shift = g.sum(ctx.axes, keepdim=True)
        d_gain = (g * normal).sum(ctx.axes, keepdim=True)
        count = normal.numel() // inverse.numel()
        d_x = (g - d_shift / count).addcmul_(normal, d_gain / -count).mul_(gain.view_as(inverse) * inverse)
        return d_x, d_gain.view_as(gain), d_shift.view_as(gain), None


def declare_layers(
    groups: int, widths: Sequence[int], prefix: str = "", normalized_output: bool = False
) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Declare the parameters and buffers of `groups` perceptrons: linear layers, each unit's own batch norm between.

    The last layer is normalised only with `normalized_output`. Initial values are torch's for linear layers.
    """
    parameters, buffers = {}, {}
    for layer, (inner, outer) in enumerate(itertools.pairwise(widths)):
        bound = 1 / math.sqrt(inner)
        parameters[f"{prefix}layer.{layer}.weight"] = uniform(groups, inner, outer, bound=bound)
        parameters[f"{prefix}layer.{layer}.bias"] = uniform(groups, outer, bound=bound)
        if layer < len(widths) - 2 or normalized_output:
            parameters[f"{prefix}norm.{layer}.gain"] = constant(groups, outer, value=1.0)
            parameters[f"{prefix}norm.{layer}.shift"] = constant(groups, outer, value=0.0)
            buffers[f"{prefix}norm.{layer}.mean"] = constant(groups, outer, value=0.0)
            buffers[f"{prefix}norm.{layer}.variance"] = constant(groups, outer, value=1.0)
    return parameters, buffers


def apply_layers(
    tensors: Tensors, h: Tensor, draws: Draws | None, stream: str = "dropout", update: bool = True,
    activation: str = "relu",
) -> Tensor:  # fmt: skip
    """Return the outputs of what `declare_layers` declared: (M, groups, B, in) → (M, groups, B, out).

    `stream` names the dropout's random numbers; `update` is `batch_norm`'s.
    """
    layer = 0
    while f"layer.{layer}.weight" in tensors:
        h = linear(h, tensors[f"layer.{layer}.weight"], tensors[f"layer.{layer}.bias"])
        if f"norm.{layer}.gain" in tensors:
            gain, shift, mean, variance = (tensors[f"norm.{layer}.{p}"] for p in ("gain", "shift", "mean", "variance"))
            h = activate(batch_norm(h, gain, shift, (mean, variance), (2,), draws is not None, update), activation)
            if draws is not None:
                h = draws.dropout(h, f"{stream}/{layer}", "dropout")
        layer += 1
    return h
