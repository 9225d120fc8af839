"""What a network is: parameters by name and a prediction; what a sum over features offers beyond that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixnam.models.encoding import EDGES, fitted_edges
from mixnam.models.layers import Draws, Parameter, Tensors, constant

#: Rows of a table that are evaluated at a time.
EVALUATED = 4096


@dataclass
class Outputs:
    """What a network says about a batch.

    **Shape:** `prediction` (M, B), on the network's scale (standardised target, or logit); `contributions` (M, B, n),
    the features' outputs o_i; `experts` (M, B, n, C), the expert predictions o_ik; `relevance` (M, B, n, C); `lower`
    and `upper` (M, B, n), the bounds of Equation (9): the means of the `averaged` smallest and largest expert
    predictions (1 but for MixNAM-E).
    """

    prediction: Tensor
    contributions: Tensor
    experts: Tensor
    relevance: Tensor
    averaged: int = 1

    @classmethod
    def whole(cls, prediction: Tensor, terms: Tensor | None = None) -> Outputs:
        """Return the outputs of a network that is no sum over features: everything but the prediction is empty.

        In training, contributions are the `terms` (M, B, terms) that the output penalty is taken of.
        """
        none = prediction.new_empty(*prediction.shape, 0)
        return cls(prediction, none if terms is None else terms, none[..., None], none[..., None])

    @property
    def lower(self) -> Tensor:
        """The least value each contribution can take: (M, B, n)."""
        return self.experts.amin(dim=-1) if self.averaged == 1 else self._mean_of_extremes(largest=False)

    @property
    def upper(self) -> Tensor:
        """The greatest value each contribution can take: (M, B, n)."""
        return self.experts.amax(dim=-1) if self.averaged == 1 else self._mean_of_extremes(largest=True)

    def _mean_of_extremes(self, largest: bool) -> Tensor:
        return self.experts.topk(self.averaged, dim=-1, largest=largest).values.mean(dim=-1)


class Network:
    """A model that trains in stacks and predicts.

    Attributes: `settings`; `features` (n); `gaps`, whether inputs may be missing, NaN; `parameters` and `buffers`, the
    shapes and initial values of one member's tensors.
    """

    #: numbers that a training step holds for each row and that the shapes of weights do not tell, about
    row_cells = 0

    def __init__(self, settings: Any, features: int, *, gaps: bool = False) -> None:
        self.settings, self.features, self.gaps = settings, features, gaps
        self.parameters: dict[str, Parameter] = {}
        self.buffers: dict[str, Parameter] = {}

    def initialize(self, seeds: Sequence[int], device: torch.device) -> tuple[Tensors, Tensors]:
        """Draw the parameters and buffers of one member a seed, each (M, ...)."""
        parameters = {name: p.initialize(name, seeds, device) for name, p in self.parameters.items()}
        return parameters, {name: b.initialize(name, seeds, device) for name, b in self.buffers.items()}

    def fitted(self, x: Tensor) -> Tensors:
        """Return the buffers that training inputs x, (M, N, n), determine: the edges of an encoding's bins."""
        return {EDGES: fitted_edges(x, self.settings.bins)} if EDGES in self.buffers else {}

    def _inputs(self, groups: int) -> int:
        """Return how many numbers the network of each of `groups` features is given; declare what that takes."""
        inputs = 1 + self.gaps
        if self.settings.encoding != "scalar":
            inputs += self.settings.bins
            self.buffers[EDGES] = constant(groups, 1, 1 + self.settings.bins, value=0.0)
            self.row_cells = 2 * groups * inputs
        return inputs

    def parameter_count(self) -> int:
        """Return the number of trained values of one member."""
        return sum(p.size for p in self.parameters.values())

    def passes(self, name: str) -> float:
        """Return how often a row passes through a parameter: once, unless features share it."""
        return 1.0

    def held(self, name: str) -> float:
        """Return of how many of these passes a training step holds the activations at a time."""
        return self.passes(name)

    def part(self, tensors: Tensors, x: Tensor, feature: int) -> Tensor:
        """Return the sum of all terms that a feature changes, in evaluation mode: (M, B, n) → (M, B).

        Here it is the whole prediction.
        """
        return self(tensors, x).prediction

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n); with `draws` in training mode, else in evaluation mode."""
        raise NotImplementedError


class Featurewise(Network):
    """A prediction that is a sum over features, each a mixture of expert predictions.

    Attributes: `smooth`, whether the relevance is a softmax, which scores move smoothly; `dense`, whether that softmax
    is over all experts, not over the active ones alone.
    """

    smooth = False
    dense = False

    def responses(self, tensors: Tensors, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each feature's own value determines, in evaluation mode.

        **Shape:** x is (M, B, n); the result is the expert predictions (M, n, B, C) and each feature's share in the
        routing scores of all features (M, n, B, n·C). Shares and `score_bias` add up to the scores of `combine`.
        """
        raise NotImplementedError

    def score_bias(self, tensors: Tensors) -> Tensor:
        """Return the constant part μ of the routing scores: (M, n·C)."""
        raise NotImplementedError

    def relevance(self, scores: Tensor) -> Tensor:
        """Return the routing scores' weights on the simplex: (..., C) → (..., C)."""
        raise NotImplementedError

    def combine(self, tensors: Tensors, experts: Tensor, scores: Tensor) -> Outputs:
        """Return the outputs for expert predictions (M, B, n, C) and scores (M, B, n·C), in evaluation mode."""
        raise NotImplementedError
