"""A multi-layer perceptron on all features at once: the black box beside the additive models."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from mixnam.networks.base import Network, Outputs
from mixnam.networks.stacked import Draws, Tensors, batch_norm, constant, linear, uniform
from mixnam.settings import MLPSettings


class MLP(Network):
    """Hidden layers of linear, batch norm, ReLU and dropout, then one output.

    Its layers are those of a stack with a single "feature", the whole row.

    **Examples**

    >>> network = MLP(MLPSettings(hidden=(8, 8)), features=3)
    >>> parameters, buffers = network.initialize([0], torch.device("cpu"))
    >>> network(parameters | buffers, torch.randn(1, 5, 3)).prediction.shape
    torch.Size([1, 5])
    """

    settings: MLPSettings
    featurewise = False

    def __init__(self, settings: MLPSettings, features: int) -> None:
        super().__init__(settings, features)
        for layer, (inner, outer) in enumerate(itertools.pairwise((features, *settings.hidden, 1))):
            bound = 1 / math.sqrt(inner)
            self.parameters[f"layer.{layer}.weight"] = uniform(1, inner, outer, bound=bound)
            self.parameters[f"layer.{layer}.bias"] = uniform(1, outer, bound=bound)
            if layer < len(settings.hidden):
                self.parameters[f"norm.{layer}.gain"] = constant(1, outer, value=1.0)
                self.parameters[f"norm.{layer}.shift"] = constant(1, outer, value=0.0)
                self.buffers[f"norm.{layer}.mean"] = constant(1, outer, value=0.0)
                self.buffers[f"norm.{layer}.variance"] = constant(1, outer, value=1.0)

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the predictions for x, (M, B, n); with `draws` in training mode, else in evaluation mode."""
        h = x[:, None]  # (M, 1, B, n)
        last = len(self.settings.hidden)
        for layer in range(last):
            h = linear(h, tensors[f"layer.{layer}.weight"], tensors[f"layer.{layer}.bias"])
            norm = [tensors[f"norm.{layer}.{part}"] for part in ("gain", "shift", "mean", "variance")]
            h = torch.relu(batch_norm(h, norm[0], norm[1], (norm[2], norm[3]), (2,), draws is not None))
            if draws is not None:
                h = draws.dropout(h, f"dropout/{layer}", "dropout")
        h = linear(h, tensors[f"layer.{last}.weight"], tensors[f"layer.{last}.bias"])
        none = h.new_empty(*x.shape[:2], 0)
        return Outputs(h[:, 0, :, 0], none, none[..., None], none[..., None])
