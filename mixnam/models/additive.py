"""Strictly additive models: NAM as implemented for the benchmarks of NBM, and the linear model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mixnam.models.base import Featurewise, Outputs
from mixnam.models.encoding import encode
from mixnam.models.layers import Draws, Tensors, apply_layers, constant, declare_layers
from mixnam.models.settings import EncodedSettings, LibrarySettings, number


@dataclass(frozen=True)
class NAMSettings(EncodedSettings):
    """Neural additive model as benchmarked by NBM: hidden layers 64-64-32, batch norm, ReLU per feature."""

    model = "NAM"
    parts = ("preprocessing", "training", "additive")
    attributes = True

    hidden: tuple[int, ...] = number((64, 64, 32), 1)


@dataclass(frozen=True)
class LinearSettings(LibrarySettings):
    """Ordinary least squares, or logistic regression with scikit-learn's default penalty (C = 1)."""

    model = "Linear"
    parts = ("preprocessing", "linear")
    attributes = True


class Additive(Featurewise):
    """A sum of one function a feature (Equation (1)).

    In `Outputs` a feature's single prediction is its only expert, with relevance 1 and bounds of width 0.
    """

    def shapes(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return the shape functions' values f_i(x_i): (M, B, n) → (M, n, B, 1)."""
        raise NotImplementedError

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n), in training mode if there are `draws`."""
        experts = self.shapes(tensors, x, draws).transpose(1, 2)
        return self.combine(tensors, experts, experts)

    def responses(self, tensors: Tensors, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shape functions' values; shares in scores are 0."""
        shapes = self.shapes(tensors, x, None)
        return shapes, torch.zeros(1, 1, 1, 1, dtype=x.dtype, device=x.device).expand(*shapes.shape[:3], self.features)

    def score_bias(self, tensors: Tensors) -> Tensor:
        """Return zeros: there is no router."""
        return tensors["bias"].new_zeros(1, 1).expand(len(tensors["bias"]), self.features)

    def relevance(self, scores: Tensor) -> Tensor:
        """Return ones: a single expert carries all the weight."""
        return torch.ones_like(scores)

    def combine(self, tensors: Tensors, experts: Tensor, scores: Tensor) -> Outputs:
        """Return the outputs for shape functions (M, B, n, 1); `scores` play no part."""
        f = experts.squeeze(-1)
        prediction = tensors["bias"][:, None] + f.sum(dim=-1)  # Equation (1)
        return Outputs(prediction, f, experts, torch.ones_like(experts))


class Linear(Additive):
    """A weighted sum of the inputs, with `gaps` a number in place of missing ones; both come from scikit-learn."""

    def __init__(self, settings: LinearSettings, features: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, gaps=gaps)
        names = ("weight", "missing") if gaps else ("weight",)
        self.parameters = {name: constant(features, value=0.0) for name in names} | {"bias": constant(value=0.0)}

    def shapes(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return w_i x_i: (M, B, n) → (M, n, B, 1)."""
        found = x.nan_to_num() * tensors["weight"][:, None, :]
        if self.gaps:
            found = torch.where(x.isnan(), tensors["missing"][:, None, :], found)
        return found.transpose(1, 2)[..., None]


class NAM(Additive):
    """One small network a feature, each unit with its own batch norm, summed (Agarwal et al. 2021; Equation (1))."""

    def __init__(self, settings: NAMSettings, features: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, gaps=gaps)
        self.parameters, buffers = declare_layers(features, (self._inputs(features), *settings.hidden, 1))
        self.parameters["bias"] = constant(value=0.0)
        self.buffers |= buffers

    def shapes(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return the networks' outputs f_i(x_i): (M, B, n) → (M, n, B, 1)."""
        h = encode(tensors, x.transpose(1, 2)[..., None], self.gaps)
        return apply_layers(tensors, h, draws, activation=self.settings.activation)
