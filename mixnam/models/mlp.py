"""A multi-layer perceptron on all features at once: the black box beside the additive models."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mixnam.models.base import Network, Outputs
from mixnam.models.encoding import encode
from mixnam.models.layers import Draws, Tensors, apply_layers, declare_layers
from mixnam.models.settings import NetworkSettings, number


@dataclass(frozen=True)
class MLPSettings(NetworkSettings):
    """Multi-layer perceptron on all features: linear, batch norm, ReLU, dropout."""

    model = "MLP"
    parts = ("preprocessing", "training", "mlp")

    hidden: tuple[int, ...] = number((128, 128, 128), 1)


class MLP(Network):
    """Hidden layers of linear, batch norm, ReLU and dropout, then one output: a single "feature", the whole row."""

    def __init__(self, settings: MLPSettings, features: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, gaps=gaps)
        self.parameters, self.buffers = declare_layers(1, (features * (1 + gaps), *settings.hidden, 1))

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n), in training mode if there are `draws`."""
        return Outputs.whole(apply_layers(tensors, encode({}, x[:, None], self.gaps), draws)[:, 0, :, 0])
