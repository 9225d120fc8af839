"""MixNAM and NAM as they are usually written, in plain torch: what ours is compared with.

Element-wise: each layer multiplies (row, feature, out, in) element by element and sums, as the authors' code does.
Loop: a network a feature, one after the other, a matrix product a layer. Conv1d: all features' networks as grouped
convolutions of length 1; it has one output a feature and no router, so it does less. All take dropout, and
backward by automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mixnam.models import MixNAMSettings
from mixnam.training.losses import Task

Leaves = dict[str, Tensor]


class Peer:
    """A formulation with weights of its own layout, made from one member's tensors as `Network` names them.

    Raises ValueError for settings that it has no formulas for.
    """

    def __init__(self, settings: MixNAMSettings, features: int, named: Leaves, task: Task) -> None:
        if settings.active_experts != settings.experts:
            raise ValueError(
                f"peers route to all experts: active_experts must be experts ({settings.experts}), "
                f"got {settings.active_experts}"
            )
        wanted = {"shared_normalization": True, "encoding": "scalar", "activation": "relu"}
        for name, value in wanted.items():
            if getattr(settings, name) != value:
                raise ValueError(f"peers have no formulas for {name} {getattr(settings, name)!r}: it must be {value!r}")
        self.settings, self.features, self.task = settings, features, task
        self.leaves = {k: v.detach().clone().contiguous().requires_grad_(True) for k, v in self.layout(named).items()}
        some = named["bias"]
        self.running = [torch.zeros(features).to(some), torch.ones(features).to(some)]

    def layout(self, named: Leaves) -> Leaves:
        """Return this formulation's weights from ours."""
        return named

    def prediction(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return prediction (B,), contributions (B, n) and experts (B, n, C) in training mode, for x, (B, n)."""
        raise NotImplementedError

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of Equation (8)."""
        prediction, contributions, experts = self.prediction(x)
        error = F.mse_loss if self.task == "regression" else F.binary_cross_entropy_with_logits
        total = error(prediction, y) + self.settings.output_penalty * contributions.square().mean()
        if experts is not None and experts.shape[-1] > 1:
            total = total + self.settings.variation_penalty * experts.var(dim=-1).mean()
        return total

    def activate(self, h: Tensor, features: slice = slice(None)) -> Tensor:
        """Normalise, cut at 0 and drop: (B, k, d) of the k features named."""
        gain, shift = self.leaves["norm.gain"], self.leaves["norm.shift"]
        if self.settings.normalization == "layer_norm":
            h = F.layer_norm(h, h.shape[-1:], gain, shift)
        else:
            mean, variance = (t[features] for t in self.running)
            h = F.batch_norm(h, mean, variance, gain[features], shift[features], training=True)
        return F.dropout(torch.relu(h), self.settings.dropout)

    def mix(self, experts: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Route experts (B, n, C) by codes (B, n·d) through one matrix."""
        scores = torch.addmm(self.leaves["router.bias"], codes, self.leaves["router.weight"])
        relevance = F.dropout(scores.view_as(experts).softmax(dim=-1), self.settings.expert_dropout)
        contributions = (relevance * experts).sum(dim=-1)
        return self.leaves["bias"] + contributions.sum(dim=-1), contributions, experts


class Elementwise(Peer):
    """Products of (row, feature, out, in), summed: the authors' formulation in our words."""

    def layout(self, named: Leaves) -> Leaves:
        """Return ours with each feature's matrices as (n, out, in)."""
        turned = {k: v.transpose(1, 2) for k, v in named.items() if v.dim() == 3}
        return named | turned

    def linear(self, h: Tensor, name: str) -> Tensor:
        """Apply each feature's linear map: (B, n, in) → (B, n, out)."""
        return (self.leaves[f"{name}.weight"] * h[:, :, None]).sum(dim=-1) + self.leaves[f"{name}.bias"]

    def prediction(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return prediction, contributions and experts."""
        h = x[..., None]
        for layer in range(self.settings.layers):
            h = self.activate(self.linear(h, f"encoder.{layer}"))
        return self.mix(self.linear(h, "experts"), h.flatten(1))


class Loop(Peer):
    """One network a feature, in a Python loop."""

    def prediction(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return prediction, contributions and experts."""
        # unbound once: the gradient of `weight[i]` would fill the whole tensor with zeros for each feature
        parts = {k: v.unbind(0) for k, v in self.leaves.items() if k.startswith(("encoder", "experts"))}
        codes, experts = [], []
        for i in range(self.features):
            h = x[:, i : i + 1]
            for layer in range(self.settings.layers):
                h = torch.addmm(parts[f"encoder.{layer}.bias"][i], h, parts[f"encoder.{layer}.weight"][i])
                h = self.activate(h[:, None], slice(i, i + 1))[:, 0]
            codes.append(h)
            experts.append(torch.addmm(parts["experts.bias"][i], h, parts["experts.weight"][i]))
        return self.mix(torch.stack(experts, dim=1), torch.cat(codes, dim=1))


class Conv1d(Peer):
    """A NAM of the encoder's layers and one output a feature, each layer one grouped convolution."""

    def layout(self, named: Leaves) -> Leaves:
        """Return the encoder's weights as (n·out, in, 1), and the first expert's as the output layer."""
        weights = {k: v for k, v in named.items() if k.startswith(("encoder", "norm", "bias"))}
        weights |= {f"experts.{part}": named[f"experts.{part}"][..., :1] for part in ("weight", "bias")}
        return {
            k: v.transpose(1, 2).flatten(0, 1)[..., None] if v.dim() == 3 else v.flatten() if v.dim() == 2 else v
            for k, v in weights.items()
        }

    def prediction(self, x: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return prediction and contributions; there are no experts to penalise."""
        n, h = self.features, x[..., None]
        for layer in range(self.settings.layers):
            weight, bias = self.leaves[f"encoder.{layer}.weight"], self.leaves[f"encoder.{layer}.bias"]
            h = F.conv1d(h, weight, bias, groups=n)  # (B, n·d, 1)
            h = self.activate(h.view(len(x), n, -1)).view(len(x), -1, 1)
        out = F.conv1d(h, self.leaves["experts.weight"], self.leaves["experts.bias"], groups=n)[..., 0]
        return self.leaves["bias"] + out.sum(dim=-1), out, None


def stepper(
    loss: Callable[[Tensor, Tensor], Tensor], leaves: list[Tensor], settings: MixNAMSettings
) -> Callable[[Tensor, Tensor], None]:
    """Return one training step by torch's AdamW, of rows x and targets y."""
    optimizer = torch.optim.AdamW(leaves, lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()

    return step
