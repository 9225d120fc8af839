"""A multi-layer perceptron on all features at once: the black box beside the additive models."""

from __future__ import annotations

from torch import Tensor

from mixnam.models.base import Network, Outputs
from mixnam.models.layers import Draws, Tensors, apply_layers, declare_layers
from mixnam.models.settings import MLPSettings


class MLP(Network):
    """Hidden layers of linear, batch norm, ReLU and dropout, then one output.

    Its layers are those of a stack with a single "feature", the whole row.

    **Examples**

    >>> import torch
    >>> network = MLP(MLPSettings(hidden=(8, 8)), features=3)
    >>> parameters, buffers = network.initialize([0], torch.device("cpu"))
    >>> network(parameters | buffers, torch.randn(1, 5, 3)).prediction.shape
    torch.Size([1, 5])
    """

    settings: MLPSettings
    featurewise = False

    def __init__(self, settings: MLPSettings, features: int) -> None:
        super().__init__(settings, features)
        self.parameters, self.buffers = declare_layers(1, (features, *settings.hidden, 1))

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the predictions for x, (M, B, n); with `draws` in training mode, else in evaluation mode."""
        h = apply_layers(tensors, x[:, None], len(self.settings.hidden), draws)  # (M, 1, B, 1)
        none = h.new_empty(*x.shape[:2], 0)
        return Outputs(h[:, 0, :, 0], none, none[..., None], none[..., None])
