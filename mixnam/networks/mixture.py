"""MixNAM: a mixture of experts for each feature, routed by all features (Section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixnam.networks.base import Network, Outputs
from mixnam.networks.stacked import Draws, Parameter, Tensors, batch_norm, constant, layer_norm, linear, uniform
from mixnam.settings import MixNAMSettings


def top_k_mask(scores: Tensor, active: int) -> Tensor:
    """Return True for the `active` largest scores along the last axis. Equation (5)."""
    chosen = scores.topk(active, dim=-1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, chosen, True)


class MixNAM(Network):
    """Feature encoders, C experts a feature, and one dense router. Equations (2) to (9).

    **Examples**

    >>> import torch
    >>> from mixnam.settings import MixNAMSettings
    >>> network = MixNAM(MixNAMSettings(width=8, batch_size=16), features=3)
    >>> parameters, buffers = network.initialize([0, 1], torch.device("cpu"))
    >>> outputs = network(parameters | buffers, torch.randn(2, 5, 3))
    >>> outputs.prediction.shape, outputs.experts.shape
    (torch.Size([2, 5]), torch.Size([2, 5, 3, 4]))
    """

    settings: MixNAMSettings

    def __init__(self, settings: MixNAMSettings, features: int) -> None:
        super().__init__(settings, features)
        n, d, experts = features, settings.width, settings.experts
        authors = settings.initialization == "authors"
        for layer in range(settings.layers):
            width = d if layer else 1
            # the authors' Kaiming draw on an (n, out, in) tensor takes out·in for the fan-in
            bound = math.sqrt(6 / (d * width)) if authors else 1 / math.sqrt(width)
            self._linear(f"encoder.{layer}", (n, width, d), bound, 1 / math.sqrt((n if authors else 1) * width))
        self._norms()
        bound = math.sqrt(6 / (experts * d)) if authors else 1 / math.sqrt(d)
        self._linear("experts", (n, d, experts), bound, 1 / math.sqrt((n if authors else 1) * d))
        router, spread = (n * d, n * experts), 1 / math.sqrt(n * d)
        xavier = Parameter(router, "normal", math.sqrt(2 / sum(router)))
        self.parameters["router.weight"] = xavier if authors else uniform(*router, bound=spread)
        self.parameters["router.bias"] = uniform(n * experts, bound=spread)
        self.parameters["bias"] = constant(value=0.0)

    def _linear(self, name: str, shape: tuple[int, int, int], weight: float, bias: float) -> None:
        self.parameters[f"{name}.weight"] = uniform(*shape, bound=weight)
        self.parameters[f"{name}.bias"] = uniform(shape[0], shape[2], bound=bias)

    def _norms(self) -> None:
        settings, n = self.settings, self.features
        batch = settings.normalization == "batch_norm"
        for suffix in [""] if settings.shared_normalization else [f".{i}" for i in range(settings.layers)]:
            if batch:
                shape: tuple[int, ...] = (n,)
                self.buffers[f"norm{suffix}.mean"] = constant(n, value=0.0)
                self.buffers[f"norm{suffix}.variance"] = constant(n, value=1.0)
            else:
                shape = (settings.width,) if settings.shared_normalization else (n, settings.width)
            self.parameters[f"norm{suffix}.gain"] = constant(*shape, value=1.0)
            self.parameters[f"norm{suffix}.shift"] = constant(*shape, value=0.0)

    def encode(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return the features' codes z_i = f_i(x_i): (M, B, n) → (M, n, B, d)."""
        h = x.transpose(1, 2)[..., None]  # (M, n, B, 1)
        for layer in range(self.settings.layers):
            h = linear(h, tensors[f"encoder.{layer}.weight"], tensors[f"encoder.{layer}.bias"])
            name = "norm" if self.settings.shared_normalization else f"norm.{layer}"
            gain, shift = tensors[f"{name}.gain"], tensors[f"{name}.shift"]
            if self.settings.normalization == "layer_norm":
                h = layer_norm(h, gain, shift)
            else:
                running = (tensors[f"{name}.mean"], tensors[f"{name}.variance"])
                h = batch_norm(h, gain, shift, running, (2, 3), draws is not None)
            h = torch.relu(h)
            if draws is not None:
                h = draws.dropout(h, f"dropout/{layer}", "dropout")
        return h

    def relevance(self, scores: Tensor) -> Tensor:
        """Turn routing scores into weights on the simplex: (..., C) → (..., C). Equations (5) and (6)."""
        if self.settings.active_experts < self.settings.experts:
            scores = scores.masked_fill(~top_k_mask(scores, self.settings.active_experts), -math.inf)
        return scores.softmax(dim=-1)

    def _drop_experts(self, relevance: Tensor, draws: Draws) -> Tensor:
        mask = draws.keep("expert_dropout", "expert_dropout", relevance.shape[1:], relevance.dtype)
        if mask is None:
            return relevance
        kept = relevance * mask
        if self.settings.expert_dropout_mode == "scale":
            return kept / (1 - draws.rates["expert_dropout"]).to(kept.dtype).view(-1, 1, 1, 1)
        if self.settings.expert_dropout_mode == "renormalize":  # a feature that lost every expert adds 0
            total = kept.sum(dim=-1, keepdim=True)
            return kept / total.masked_fill(total == 0, 1.0)
        return kept

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n); with `draws` in training mode, else in evaluation mode."""
        z = self.encode(tensors, x, draws)
        experts = linear(z, tensors["experts.weight"], tensors["experts.bias"]).transpose(1, 2)  # (M, B, n, C)
        codes = z.transpose(1, 2).flatten(2)  # (M, B, n·d)
        scores = torch.baddbmm(self.score_bias(tensors)[:, None], codes, tensors["router.weight"])  # Equation (4)
        return self.combine(tensors, experts, scores, draws)

    def responses(self, tensors: Tensors, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each feature's expert predictions and its share in all routing scores."""
        z = self.encode(tensors, x, None)
        experts = linear(z, tensors["experts.weight"], tensors["experts.bias"])
        router = tensors["router.weight"].unflatten(1, (self.features, self.settings.width))
        return experts, z @ router  # A_ij of Equation (4): (M, n, d, n·C)

    def score_bias(self, tensors: Tensors) -> Tensor:
        """Return μ of Equation (4): (M, n·C)."""
        return tensors["router.bias"]

    def combine(self, tensors: Tensors, experts: Tensor, scores: Tensor, draws: Draws | None = None) -> Outputs:
        """Combine expert predictions (M, B, n, C) and routing scores (M, B, n·C) into outputs."""
        relevance = self.relevance(scores.unflatten(2, experts.shape[2:]))
        if draws is not None:
            relevance = self._drop_experts(relevance, draws)
        contributions = (relevance * experts).sum(dim=-1)  # Equation (3)
        prediction = tensors["bias"][:, None] + contributions.sum(dim=-1)  # Equation (7)
        return Outputs(prediction, contributions, experts, relevance)


def extra_parameters(features: int, experts: int, width: int) -> int:
    """Return the number of values in MixNAM's experts and router, nC[(n+1)d+2] (Appendix J, Table 9)."""
    return features * experts * ((features + 1) * width + 2)
