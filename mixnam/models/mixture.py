"""MixNAM: a mixture of experts for each feature, routed by all features (Section 3)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mixnam import randomness
from mixnam.models import fused
from mixnam.models.base import Featurewise, Outputs
from mixnam.models.encoding import encode
from mixnam.models.layers import (
    Draws,
    Parameter,
    Tensors,
    activate,
    batch_norm,
    constant,
    layer_norm,
    linear,
    per_member,
    softmax,
    uniform,
)  # fmt: skip
from mixnam.models.settings import EncodedSettings, number


@dataclass(frozen=True)
class MixtureSettings(EncodedSettings):
    """A mixture of experts for each feature; the defaults are Table 5's column for Housing."""

    parts = ("preprocessing", "training", "mixture")
    attributes = True

    layers: int = number(4, 1)
    width: int = number(128, 1)
    experts: int = number(4, 1)
    active_experts: int = number(4, 1)
    expert_dropout: float = number(0.2, 0.0, 1.0, below_high=True)
    variation_penalty: float = number(0.1, 0.0)
    normalization: Literal["layer_norm", "batch_norm"] = "layer_norm"
    #: one normalisation for all layers and features (the authors' code), or one per layer and feature
    shared_normalization: bool = True
    initialization: Literal["authors", "standard"] = "authors"
    #: relevance dropped and scaled by 1/(1-p) (authors), dropped only (paper's text), or renormalised
    expert_dropout_mode: Literal["scale", "drop", "renormalize"] = "scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.active_experts > self.experts:
            raise ValueError(f"active_experts must be <= experts ({self.experts}), got {self.active_experts}")


@dataclass(frozen=True)
class MixNAMSettings(MixtureSettings):
    """MixNAM (Section 3)."""

    model = "MixNAM"

    #: scores for each feature's experts, or one set of scores for all features (Equation (16))
    router: Literal["dense", "shared"] = "dense"


@dataclass(frozen=True)
class MixNAMDSettings(MixtureSettings):
    """MixNAM-D: each feature routes itself, with Gumbel-softmax in training (Appendix G)."""

    model = "MixNAM-D"
    parent = "MixNAM"

    experts: int = number(64, 1)
    active_experts: int = number(64, 1)
    temperature: float = number(0.1, 1e-3)
    #: whether predictions are sampled too (the authors' code), or take the relevance itself
    sample_at_prediction: bool = False


@dataclass(frozen=True)
class MixNAMESettings(MixNAMSettings):
    """MixNAM-E: the active experts weigh the same (Appendix H); C and K as in Table 7."""

    model = "MixNAM-E"
    parent = "MixNAM"

    experts: int = number(32, 1)
    active_experts: int = number(16, 1)


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


class MixNAM(Featurewise):
    """Feature encoders, C experts a feature, and one dense router. Equations (2) to (9).

    **Examples**

    >>> network = MixNAM(MixNAMSettings(width=8, batch_size=16), features=3)
    >>> parameters, buffers = network.initialize([0, 1], torch.device("cpu"))
    >>> outputs = network(parameters | buffers, torch.randn(2, 5, 3))
    >>> outputs.prediction.shape, outputs.experts.shape
    (torch.Size([2, 5]), torch.Size([2, 5, 3, 4]))
    """

    settings: MixtureSettings
    smooth = True

    def __init__(self, settings: MixtureSettings, features: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, gaps=gaps)
        self.dense = self.smooth and settings.active_experts == settings.experts
        self.shared = isinstance(settings, MixNAMSettings) and settings.router == "shared"
        n, d, first = features, settings.width, self._inputs(features)
        for layer in range(settings.layers):
            # the authors' Kaiming draw on an (n, out, in) tensor takes out·in for the fan-in
            self._linear(f"encoder.{layer}", d if layer else first, d)
        for suffix in [""] if settings.shared_normalization else [f".{i}" for i in range(settings.layers)]:
            shape: tuple[int, ...] = (d,) if settings.shared_normalization else (n, d)
            if settings.normalization == "batch_norm":
                shape = (n,)
                self.buffers[f"norm{suffix}.mean"] = constant(n, value=0.0)
                self.buffers[f"norm{suffix}.variance"] = constant(n, value=1.0)
            self.parameters[f"norm{suffix}.gain"] = constant(*shape, value=1.0)
            self.parameters[f"norm{suffix}.shift"] = constant(*shape, value=0.0)
        self._linear("experts", d, settings.experts)
        self._router()
        self.parameters["bias"] = constant(value=0.0)

    def _linear(self, name: str, inner: int, outer: int) -> None:
        """Declare each feature's own linear map."""
        n, authors = self.features, self.settings.initialization == "authors"
        bound = math.sqrt(6 / (outer * inner)) if authors else 1 / math.sqrt(inner)
        self.parameters[f"{name}.weight"] = uniform(n, inner, outer, bound=bound)
        self.parameters[f"{name}.bias"] = uniform(n, outer, bound=1 / math.sqrt((n if authors else 1) * inner))

    def _router(self) -> None:
        n, d, experts = self.features, self.settings.width, self.settings.experts
        shape, spread = (n * d, experts if self.shared else n * experts), 1 / math.sqrt(n * d)
        xavier = Parameter(shape, "normal", math.sqrt(2 / sum(shape)))
        authors = self.settings.initialization == "authors"
        self.parameters["router.weight"] = xavier if authors else uniform(*shape, bound=spread)
        self.parameters["router.bias"] = uniform(shape[1], bound=spread)

    def for_all(self, scores: Tensor) -> Tensor:
        """Return scores, (..., C) of a shared router repeated for every feature: (..., n·C)."""
        return scores.repeat(*[1] * (scores.dim() - 1), self.features) if self.shared else scores

    def encode(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return the features' codes z_i = f_i(x_i): (M, B, n) → (M, n, B, d)."""
        h = encode(tensors, x.transpose(1, 2)[..., None], self.gaps)  # (M, n, B, inputs)
        for layer in range(self.settings.layers):
            h = linear(h, tensors[f"encoder.{layer}.weight"], tensors[f"encoder.{layer}.bias"])
            name = "norm" if self.settings.shared_normalization else f"norm.{layer}"
            gain, shift = tensors[f"{name}.gain"], tensors[f"{name}.shift"]
            layer_wise = self.settings.normalization == "layer_norm"
            if layer_wise and draws is not None and fused.pays(h, draws.rates):
                h = fused.apply(h, gain, shift, draws, f"dropout/{layer}", self.settings.activation == "silu")
                continue
            if layer_wise:
                h = layer_norm(h, gain, shift)
            else:
                running = (tensors[f"{name}.mean"], tensors[f"{name}.variance"])
                h = batch_norm(h, gain, shift, running, (2, 3), draws is not None)
            h = activate(h, self.settings.activation)
            if draws is not None:
                h = draws.dropout(h, f"dropout/{layer}", "dropout")
        return h

    def relevance(self, scores: Tensor) -> Tensor:
        """Return the routing scores' weights on the simplex: (..., C) → (..., C). Equations (5) and (6)."""
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
        """Return the outputs for x, (M, B, n), in training mode if there are `draws`."""
        z = self.encode(tensors, x, draws)
        experts = linear(z, tensors["experts.weight"], tensors["experts.bias"]).transpose(1, 2)  # (M, B, n, C)
        return self.finish(tensors, experts, self._scores(tensors, z), draws)

    def _scores(self, tensors: Tensors, z: Tensor) -> Tensor:
        """Return the routing scores φ of codes (M, n, B, d), before they are repeated for all. Equation (4)."""
        codes = z.transpose(1, 2).flatten(2)  # (M, B, n·d)
        return torch.baddbmm(tensors["router.bias"][:, None], codes, tensors["router.weight"])

    def responses(self, tensors: Tensors, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each feature's expert predictions (M, n, B, C) and its share in all routing scores, (M, n, B, n·C)."""
        z = self.encode(tensors, x, None)
        return linear(z, tensors["experts.weight"], tensors["experts.bias"]), self._shares(tensors, z)

    def _shares(self, tensors: Tensors, z: Tensor) -> Tensor:
        router = tensors["router.weight"].unflatten(1, (self.features, self.settings.width))
        return self.for_all(z @ router)  # A_ij of Equation (4): (M, n, B, n·C)

    def score_bias(self, tensors: Tensors) -> Tensor:
        """Return μ of Equation (4): (M, n·C)."""
        return self.for_all(tensors["router.bias"])

    def combine(self, tensors: Tensors, experts: Tensor, scores: Tensor) -> Outputs:
        """Return the outputs for expert predictions (M, B, n, C) and scores (M, B, n·C), in evaluation mode."""
        return self._mixed(tensors, experts, self.relevance(scores.unflatten(2, experts.shape[2:])))

    def finish(self, tensors: Tensors, experts: Tensor, scores: Tensor, draws: Draws | None) -> Outputs:
        """Return the outputs for experts (M, B, n, C) and scores, (M, B, n·C) or (M, B, C) for all features."""
        scores = self.for_all(scores)
        if draws is None:
            return self.combine(tensors, experts, scores)
        relevance = self._training(scores.unflatten(2, experts.shape[2:]), draws)
        return self._mixed(tensors, experts, self._drop_experts(relevance, draws))

    def _training(self, scores: Tensor, draws: Draws) -> Tensor:
        """Return the relevance in training, before experts are dropped."""
        return self.relevance(scores)

    def _mixed(self, tensors: Tensors, experts: Tensor, relevance: Tensor) -> Outputs:
        contributions = (relevance * experts).sum(dim=-1)  # Equation (3)
        prediction = tensors["bias"][:, None] + contributions.sum(dim=-1)  # Equation (7)
        return Outputs(prediction, contributions, experts, relevance)


class MixNAMD(MixNAM):
    """MixNAM-D: a feature's experts are routed by that feature alone; strictly additive. Appendix G."""

    settings: MixNAMDSettings

    def _router(self) -> None:
        self._linear("router", self.settings.width, self.settings.experts)

    def _scores(self, tensors: Tensors, z: Tensor) -> Tensor:
        return linear(z, tensors["router.weight"], tensors["router.bias"]).transpose(1, 2).flatten(2)

    def _shares(self, tensors: Tensors, z: Tensor) -> Tensor:  # none in other features' scores
        own = linear(z, tensors["router.weight"], torch.zeros_like(tensors["router.bias"]))  # (M, n, B, C)
        block = torch.eye(self.features, dtype=own.dtype, device=own.device)[None, :, None, :, None]
        return (own[:, :, :, None] * block).flatten(3)

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

    def finish(self, tensors: Tensors, experts: Tensor, scores: Tensor, draws: Draws | None) -> Outputs:
        """Return the outputs for experts (M, B, n, C) and scores (M, B, n·C)."""
        outputs = super().finish(tensors, experts, scores, draws)
        if draws is not None or not self.settings.sample_at_prediction:
            return outputs
        # only the prediction is sampled; contributions, and all that is measured on them, are not
        keys = [randomness.key(0, "gumbel/prediction")] * len(scores)
        relevance = self._resample(scores.unflatten(2, experts.shape[2:]), keys)
        return dataclasses.replace(outputs, prediction=self._mixed(tensors, experts, relevance).prediction)


class MixNAME(MixNAM):
    """MixNAM-E: the K active experts weigh 1/K each; bounds are means of the K smallest and largest. Appendix H."""

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
    """Return the number of values in experts and router: nC[(n+1)d+2], if `diagonal` nC(2d+2). Appendix J, Table 9."""
    sources = 1 if diagonal else features
    return features * experts * ((sources + 1) * width + 2)
