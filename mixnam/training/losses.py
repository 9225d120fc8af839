"""The training loss of Equation (8), and its gradient by hand for the mixture that is trained most."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mixnam.models import MixNAM, MixNAME, Outputs
from mixnam.models.layers import Draws, Tensors

Task = Literal["regression", "classification"]
Gradients = tuple[Tensor, Tensor, Tensor]


def loss(outputs: Outputs, y: Tensor, task: Task, penalties: Tensors, weights: Tensor | None = None) -> Tensor:
    """Return each member's training loss, (M,). Equation (8), with the unbiased variance over experts.

    `penalties`: `output_penalty` γ, where the network has one, and `variation_penalty` λ of mixtures, each (M,). The
    authors' code takes the unbiased variance: λ·C/(C-1) in the paper's terms. `weights` (M, B) are those of rows and of
    their penalties.
    """

    def mean(values: Tensor) -> Tensor:
        weighed = values if weights is None else values * (weights if values.ndim == 2 else weights[..., None])
        return weighed.mean(dim=tuple(range(1, values.ndim)))

    if task == "regression":
        total = mean((outputs.prediction - y).square())
    else:
        total = mean(F.binary_cross_entropy_with_logits(outputs.prediction, y, reduction="none"))
    if "output_penalty" in penalties:
        total = total + penalties["output_penalty"] * mean(outputs.contributions.square())
    if "variation_penalty" in penalties and outputs.experts.shape[-1] > 1:
        # torch's var takes ten times as long on a CPU
        deviation = outputs.experts - outputs.experts.mean(dim=-1, keepdim=True)
        variance = deviation.square().sum(dim=-1) / (outputs.experts.shape[-1] - 1)
        total = total + penalties["variation_penalty"] * mean(variance)
    return total


def head_gradients(
    network: MixNAM, experts: Tensor, scores: Tensor, bias: Tensor, y: Tensor, task: Task, penalties: Tensors,
    draws: Draws, weights: Tensor | None = None,
) -> Gradients:  # fmt: skip
    """Return the gradients of the members' losses with respect to experts, scores and bias.

    **Shape:** experts (M, B, n, C), scores (M, B, n·C) or (M, B, C), bias (M,), y (M, B).
    """
    if type(network) in (MixNAM, MixNAME) and len(bias) == 1 and network.settings.expert_dropout_mode != "renormalize":
        return _by_hand(network, experts, scores, bias, y, task, penalties, draws, weights)
    leaves = [t.detach().requires_grad_(True) for t in (experts, scores, bias)]
    losses = loss(network.finish({"bias": leaves[2]}, leaves[0], leaves[1], draws), y, task, penalties, weights)
    return torch.autograd.grad(losses.sum(), leaves)  # type: ignore[return-value]


@torch.no_grad()
def _by_hand(
    network: MixNAM, experts: Tensor, scores: Tensor, bias: Tensor, y: Tensor, task: Task, penalties: Tensors,
    draws: Draws, weights: Tensor | None = None,
) -> Gradients:  # fmt: skip
    """Do the same for one member of MixNAM, or of MixNAM-E, whose gradient is the softmax's at equal scores."""
    _, rows, n, count = experts.shape
    gamma, spread = float(penalties["output_penalty"]), float(penalties["variation_penalty"])
    # a short last axis is slow: few experts come first, (C, B, n)
    axis, order, back = (0, (2, 0, 1), (1, 2, 0)) if count <= 16 else (2, (0, 1, 2), (0, 1, 2))
    e = experts[0].permute(order).contiguous()
    relevance = network.relevance(network.for_all(scores).view(1, rows, n, count))
    mask = network.expert_mask(relevance, draws)
    weight = relevance = relevance[0].permute(order).contiguous()
    if mask is not None:
        weight = relevance * mask[0].permute(order)
    weighted = weight * e
    contributions = weighted.sum(dim=axis)  # Equations (3) and (7)
    prediction = bias + contributions.sum(dim=1)
    mean = prediction if task == "regression" else prediction.sigmoid()
    error = (mean - y[0]).mul_((2 if task == "regression" else 1) / rows)
    d_contributions = torch.add(error[:, None], contributions, alpha=2 * gamma / contributions.numel())
    if weights is not None:
        error.mul_(weights[0])
        d_contributions.mul_(weights[0, :, None])
    d_contributions = d_contributions.unsqueeze(axis)
    d_experts = weight * d_contributions
    if count > 1:
        deviation = e - e.mean(dim=axis, keepdim=True)
        if weights is not None:
            deviation.mul_(weights[0, :, None].unsqueeze(axis))
        d_experts.add_(deviation, alpha=2 * spread / (contributions.numel() * (count - 1)))
    # the softmax's gradient, where relevance times its own gradient is `weighted` times that of the contribution
    d_scores = weighted.addcmul_(relevance, contributions.unsqueeze(axis), value=-1).mul_(d_contributions)
    d_experts, d_scores = d_experts.permute(back), d_scores.permute(back)
    d_scores = d_scores.sum(dim=1) if scores.shape[2] == count else d_scores.reshape(rows, -1)
    return d_experts[None], d_scores[None], error.sum()[None]
