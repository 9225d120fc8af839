"""MixNAM: a mixture of experts for each feature, routed by all features (Section 3)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mixnam import randomness
from mixnam.models.base import Network, Outputs
from mixnam.models.layers import (
    Draws,
    Parameter,
    Tensors,
    batch_norm,
    constant,
    layer_norm,
    linear,
    per_member,
    softmax,
    uniform,
)
from mixnam.models.settings import MixNAMDSettings, MixtureSettings


def top_k_mask(scores: Tensor, active: int) -> Tensor:
    """Return True for the `active` largest scores along the last axis. Equation (5)."""
    if scores.device.type == "cpu" and scores.shape[-1] >= 16:
        with contextlib.suppress(RuntimeError):  # inside torch.func's transforms there are no arrays
            # numpy's partition takes a tenth of the time of torch's topk
            place = scores.shape[-1] - active
            least = np.partition(scores.detach().numpy(), place, axis=-1)[..., place, None]
            mask = scores >= torch.from_numpy(least)
            if bool((mask.count_nonzero(dim=-1) == active).all()):  # no ties
                return mask
    chosen = scores.topk(active, dim=-1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, chosen, True)


class MixNAM(Network):
    """Feature encoders, C experts a feature, and one dense router. Equations (2) to (9).

    **Examples**

    >>> import torch
    >>> from mixnam.models.settings import MixNAMSettings
    >>> network = MixNAM(MixNAMSettings(width=8, batch_size=16), features=3)
    >>> parameters, buffers = network.initialize([0, 1], torch.device("cpu"))
    >>> outputs = network(parameters | buffers, torch.randn(2, 5, 3))
    >>> outputs.prediction.shape, outputs.experts.shape
    (torch.Size([2, 5]), torch.Size([2, 5, 3, 4]))
    """

    settings: MixtureSettings
    smooth = True

    def __init__(self, settings: MixtureSettings, features: int) -> None:
        super().__init__(settings, features)
        self.dense = self.smooth and settings.active_experts == settings.experts
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
        self._router()
        self.parameters["bias"] = constant(value=0.0)

    def _router(self) -> None:
        n, d, experts = self.features, self.settings.width, self.settings.experts
        targets = experts if self._shared() else n * experts
        shape, spread = (n * d, targets), 1 / math.sqrt(n * d)
        xavier = Parameter(shape, "normal", math.sqrt(2 / sum(shape)))
        authors = self.settings.initialization == "authors"
        self.parameters["router.weight"] = xavier if authors else uniform(*shape, bound=spread)
        self.parameters["router.bias"] = uniform(targets, bound=spread)

    def _shared(self) -> bool:
        return getattr(self.settings, "router", "dense") == "shared"

    def for_all(self, scores: Tensor) -> Tensor:
        """Repeat one set of scores for every feature where the router is shared: (..., C) → (..., n·C)."""
        return scores.repeat(*[1] * (scores.dim() - 1), self.features) if self._shared() else scores

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
            h = h.relu_()
            if draws is not None:
                h = draws.dropout(h, f"dropout/{layer}", "dropout")
        return h

    def relevance(self, scores: Tensor) -> Tensor:
        """Turn routing scores into weights on the simplex: (..., C) → (..., C). Equations (5) and (6)."""
        return softmax(self._masked(scores))

    def _masked(self, scores: Tensor) -> Tensor:
        """Return φ + M: -inf for all but the K largest scores. Equation (5)."""
        if self.settings.active_experts == self.settings.experts:
            return scores
        return scores.masked_fill(~top_k_mask(scores, self.settings.active_experts), -math.inf)

    def expert_mask(self, relevance: Tensor, draws: Draws) -> Tensor | None:
        """Return what training multiplies the relevance (M, B, n, C) by, None where no expert is dropped.

        0 for a dropped expert, else 1, or 1/(1-p) where those left make up for it.
        """
        mask = draws.keep("expert_dropout", "expert_dropout", relevance.shape[1:], relevance.dtype)
        if mask is not None and self.settings.expert_dropout_mode == "scale":
            mask.mul_(per_member(1 / (1 - draws.rates["expert_dropout"]), mask).to(mask.dtype))
        return mask

    def _drop_experts(self, relevance: Tensor, draws: Draws) -> Tensor:
        mask = self.expert_mask(relevance, draws)
        if mask is None:
            return relevance
        kept = relevance * mask
        if self.settings.expert_dropout_mode == "renormalize":  # a feature that lost every expert adds 0
            total = kept.sum(dim=-1, keepdim=True)
            return kept / total.masked_fill(total == 0, 1.0)
        return kept

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n); with `draws` in training mode, else in evaluation mode."""
        z = self.encode(tensors, x, draws)
        experts = linear(z, tensors["experts.weight"], tensors["experts.bias"]).transpose(1, 2)  # (M, B, n, C)
        return self.finish(tensors, experts, self._scores(tensors, z), draws)

    def _scores(self, tensors: Tensors, z: Tensor) -> Tensor:
        """Return the routing scores φ of codes (M, n, B, d), before they are repeated for all. Equation (4)."""
        codes = z.transpose(1, 2).flatten(2)  # (M, B, n·d)
        return torch.baddbmm(tensors["router.bias"][:, None], codes, tensors["router.weight"])

    def responses(self, tensors: Tensors, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each feature's expert predictions and its share in all routing scores."""
        z = self.encode(tensors, x, None)
        experts = linear(z, tensors["experts.weight"], tensors["experts.bias"])
        router = tensors["router.weight"].unflatten(1, (self.features, self.settings.width))
        return experts, self.for_all(z @ router)  # A_ij of Equation (4): (M, n, d, n·C)

    def score_bias(self, tensors: Tensors) -> Tensor:
        """Return μ of Equation (4): (M, n·C)."""
        return self.for_all(tensors["router.bias"])

    def combine(self, tensors: Tensors, experts: Tensor, scores: Tensor) -> Outputs:
        """Combine expert predictions (M, B, n, C) and routing scores (M, B, n·C), in evaluation mode."""
        return self._mixed(tensors, experts, self.relevance(scores.unflatten(2, experts.shape[2:])))

    def finish(self, tensors: Tensors, experts: Tensor, scores: Tensor, draws: Draws | None) -> Outputs:
        """Return the outputs for experts (M, B, n, C) and scores, (M, B, n·C) or (M, B, C) for all features."""
        scores = self.for_all(scores).unflatten(2, experts.shape[2:])
        if draws is None:
            return self._evaluated(tensors, experts, scores)
        return self._mixed(tensors, experts, self._drop_experts(self._training(scores, draws), draws))

    def _training(self, scores: Tensor, draws: Draws) -> Tensor:
        """Return the relevance in training, before experts are dropped."""
        return self.relevance(scores)

    def _evaluated(self, tensors: Tensors, experts: Tensor, scores: Tensor) -> Outputs:
        """Return the outputs of evaluation mode for scores (M, B, n, C)."""
        return self._mixed(tensors, experts, self.relevance(scores))

    def _mixed(self, tensors: Tensors, experts: Tensor, relevance: Tensor) -> Outputs:
        contributions = (relevance * experts).sum(dim=-1)  # Equation (3)
        prediction = tensors["bias"][:, None] + contributions.sum(dim=-1)  # Equation (7)
        return Outputs(prediction, contributions, experts, relevance)


class MixNAMD(MixNAM):
    """MixNAM-D: a feature's experts are routed by that feature alone; strictly additive. Appendix G."""

    settings: MixNAMDSettings

    def _router(self) -> None:
        n, d, experts = self.features, self.settings.width, self.settings.experts
        authors = self.settings.initialization == "authors"
        bound = math.sqrt(6 / (experts * d)) if authors else 1 / math.sqrt(d)
        self._linear("router", (n, d, experts), bound, 1 / math.sqrt((n if authors else 1) * d))

    def _scores(self, tensors: Tensors, z: Tensor) -> Tensor:
        return linear(z, tensors["router.weight"], tensors["router.bias"]).transpose(1, 2).flatten(2)

    def responses(self, tensors: Tensors, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each feature's expert predictions and its share in the scores: none in other features'."""
        z = self.encode(tensors, x, None)
        own = linear(z, tensors["router.weight"], torch.zeros_like(tensors["router.bias"]))  # (M, n, B, C)
        block = torch.eye(self.features, dtype=own.dtype, device=own.device)[None, :, None, :, None]
        experts = linear(z, tensors["experts.weight"], tensors["experts.bias"])
        return experts, (own[:, :, :, None] * block).flatten(3)

    def score_bias(self, tensors: Tensors) -> Tensor:
        """Return μ: (M, n·C)."""
        return tensors["router.bias"].flatten(1)

    def _resample(self, scores: Tensor, keys: Sequence[int] | Tensor) -> Tensor:
        """Return Gumbel-softmax weights drawn around the relevance. Equation (22)."""
        noise = randomness.gumbel(keys, scores[0].numel(), scores.device).to(scores.dtype).view_as(scores)
        # the relevance's logarithm by log_softmax: finite, and so is its gradient, where the relevance is 0
        return softmax((self._masked(scores).log_softmax(dim=-1) + noise) / self.settings.temperature)

    def _training(self, scores: Tensor, draws: Draws) -> Tensor:
        return self._resample(scores, draws.keys("gumbel"))

    def _evaluated(self, tensors: Tensors, experts: Tensor, scores: Tensor) -> Outputs:
        outputs = super()._evaluated(tensors, experts, scores)
        if not self.settings.sample_at_prediction:
            return outputs
        # only the prediction is sampled; contributions, and all that is measured on them, are not
        relevance = self._resample(scores, [randomness.key(0, "gumbel/prediction")] * len(scores))
        return dataclasses.replace(outputs, prediction=self._mixed(tensors, experts, relevance).prediction)


class MixNAME(MixNAM):
    """MixNAM-E: the K active experts weigh 1/K each. Appendix H.

    The bounds are the means of the K smallest and of the K largest expert predictions.
    """

    smooth = False

    def relevance(self, scores: Tensor) -> Tensor:
        """Return 1/K for the K largest scores and 0 elsewhere: (..., C) → (..., C). Equation (23)."""
        active = self.settings.active_experts
        return top_k_mask(scores, active).to(scores.dtype) / active

    def _training(self, scores: Tensor, draws: Draws) -> Tensor:
        # equal weights whose gradient is the softmax's: φ less a constant copy of φ
        level = scores - scores.detach()
        return softmax(level.masked_fill(~top_k_mask(scores, self.settings.active_experts), -math.inf))

    def _mixed(self, tensors: Tensors, experts: Tensor, relevance: Tensor) -> Outputs:
        outputs = super()._mixed(tensors, experts, relevance)
        return dataclasses.replace(outputs, averaged=self.settings.active_experts)


def extra_parameters(features: int, experts: int, width: int, diagonal: bool = False) -> int:
    """Return the number of values in the experts and the router (Appendix J, Table 9).

    nC[(n+1)d+2] for MixNAM and, with `diagonal`, nC(2d+2) for MixNAM-D.
    """
    sources = 1 if diagonal else features
    return features * experts * ((sources + 1) * width + 2)
