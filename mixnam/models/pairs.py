"""Models with a term for each feature and one for each pair of features; NA2M."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixnam.models.additive import NAMSettings
from mixnam.models.base import Network, Outputs
from mixnam.models.encoding import EDGES, encode
from mixnam.models.layers import Draws, Tensors, apply_layers, constant, declare_layers

#: Pairs that are computed at a time: Year has 4,005. No setting, for dropout's random numbers go by chunks.
CHUNK = 128


@dataclass(frozen=True)
class NA2MSettings(NAMSettings):
    """Neural additive model with a network for each pair of features too (Radenovic et al. 2022)."""

    model = "NA2M"
    parts = ("preprocessing", "training", "pairwise")
    attributes = False
    paired = True


class Pairwise(Network):
    """A sum of one function a feature and one a pair of features: F(x) = ω_0 + Σ_i f_i(x_i) + Σ_{i<j} f_ij(x_i, x_j).

    Attributes: `pairs`, the features (i, j) of each pair, i < j, in the terms' order; `chunk`, how many pairs are
    computed at a time. Raises ValueError for fewer than two features.
    """

    def __init__(self, settings: Any, features: int, chunk: int = CHUNK, *, gaps: bool = False) -> None:
        super().__init__(settings, features, gaps=gaps)
        if features < 2:
            raise ValueError(f"{settings.model} needs at least two features to pair, got {features}")
        self.pairs, self.chunk = list(itertools.combinations(range(features), 2)), chunk
        self._ends: dict[torch.device, Tensor] = {}

    def ends(self, device: torch.device) -> Tensor:
        """Return the pairs' features, (2, pairs), on a device; made once: graphs copy nothing from the host."""
        if device not in self._ends:
            self._ends[device] = torch.tensor(self.pairs, device=device).T
        return self._ends[device]

    def held(self, name: str) -> float:
        """Return of how many of a parameter's passes a training step holds the activations at a time."""
        return self.passes(name) * (min(1.0, self.chunk / len(self.pairs)) if name.startswith("pair.") else 1.0)

    def term(self, own: Tensors, h: Tensor, draws: Draws | None, stream: str, update: bool = True) -> Tensor:
        """Return the terms (M, P, B) of the values h, (M, P, B, 1 or 2), by what `own` returned for them."""
        raise NotImplementedError

    def own(self, tensors: Tensors, numbers: Sequence[int], chunk: int = 0) -> Tensors:
        """Return what the terms of the given numbers take of all terms' tensors; pairs belong to a chunk."""
        raise NotImplementedError

    def singles(self, tensors: Tensors, x: Tensor, draws: Draws | None, features: Sequence[int]) -> Tensor:
        """Return the terms f_i of the given features, (M, len(features), B), at x, (M, B, n)."""
        own = {k: v for k, v in tensors.items() if k != "bias" and not k.startswith("pair.")}
        h = x.transpose(1, 2)[:, chosen(features), :, None]
        return self.term(self.own(own, features), h, draws, "dropout")

    def doubles(self, tensors: Tensors, x: Tensor, draws: Draws | None, pairs: Sequence[int]) -> Tensor:
        """Return the terms f_ij of the pairs of the given numbers, (M, len(pairs), B), at x, (M, B, n).

        Where they are more than a chunk, a training step keeps only their inputs and computes them again.
        """
        own = {k.removeprefix("pair."): v for k, v in tensors.items() if k.startswith("pair.")}
        columns, ends = x.transpose(1, 2), self.ends(x.device)
        parts: list[Tensor] = []
        for chunk, numbers in chunks(pairs, self.chunk):
            h = torch.stack([columns[:, end] for end in ends[:, chosen(numbers)]], dim=-1)  # (M, P, B, 2)
            function, weights = self._function(self.own(own, numbers, chunk), draws, f"dropout/pair/{chunk}")
            if len(pairs) > self.chunk and torch.is_grad_enabled():
                parts.append(_Recomputed.apply(function, h, *weights))
            else:
                parts.append(function(True, h, *weights))
        return torch.cat(parts, dim=1)

    def _function(self, own: Tensors, draws: Draws | None, stream: str) -> tuple[Function, list[Tensor]]:
        """Return the function of (whether it is the first call, values, weights) that gives terms, and its weights."""
        weights = {k: v for k, v in own.items() if f"pair.{k}" in self.parameters}
        running = {k: v for k, v in own.items() if k not in weights}

        def terms(first: bool, h: Tensor, *values: Tensor) -> Tensor:
            return self.term(dict(zip(weights, values, strict=True)) | running, h, draws, stream, first)

        return terms, list(weights.values())

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n), in training mode if there are `draws`."""
        terms = [self.singles(tensors, x, draws, range(self.features))]
        terms.append(self.doubles(tensors, x, draws, range(len(self.pairs))))
        contributions = torch.cat(terms, dim=1).transpose(1, 2)
        prediction = tensors["bias"][:, None] + contributions.sum(dim=-1)
        return Outputs.whole(prediction, None if draws is None else contributions)

    def part(self, tensors: Tensors, x: Tensor, feature: int) -> Tensor:
        """Return the sum of the terms that depend on a feature, in evaluation mode: (M, B, n) → (M, B)."""
        own = [p for p, pair in enumerate(self.pairs) if feature in pair]
        return self.singles(tensors, x, None, [feature])[:, 0] + self.doubles(tensors, x, None, own).sum(dim=1)


class NA2M(Pairwise):
    """One small network a feature and one a pair, each unit with its own batch normalisation, summed.

    Agarwal et al. 2021, as extended by Radenovic et al. 2022.

    **Examples**

    >>> network = NA2M(NA2MSettings(hidden=(8,)), features=4)
    >>> parameters, buffers = network.initialize([0], torch.device("cpu"))
    >>> network(parameters | buffers, torch.randn(1, 5, 4)).prediction.shape, len(network.pairs)
    (torch.Size([1, 5]), 6)
    """

    def __init__(self, settings: NA2MSettings, features: int, chunk: int = CHUNK, *, gaps: bool = False) -> None:
        super().__init__(settings, features, chunk, gaps=gaps)
        inputs = self._inputs(features)
        one = declare_layers(features, (inputs, *settings.hidden, 1))
        two = declare_layers(len(self.pairs), (2 * inputs, *settings.hidden, 1), "pair.")
        self.parameters, buffers = (a | b for a, b in zip(one, two, strict=True))
        self.parameters["bias"] = constant(value=0.0)
        self.buffers |= buffers
        if EDGES in self.buffers:
            self.buffers[f"pair.{EDGES}"] = constant(len(self.pairs), 2, 1 + settings.bins, value=0.0)
            self.row_cells += 4 * inputs * min(self.chunk, len(self.pairs))

    def fitted(self, x: Tensor) -> Tensors:
        """Return the edges of the encoding's bins, of features and pairs, by training inputs x, (M, N, n)."""
        found = super().fitted(x)
        return found | {f"pair.{EDGES}": edges[:, self.ends(x.device).T, 0] for edges in found.values()}

    def term(self, own: Tensors, h: Tensor, draws: Draws | None, stream: str, update: bool = True) -> Tensor:
        """Return the networks' outputs: (M, P, B, 1 or 2) → (M, P, B)."""
        h = encode(own, h, self.gaps)
        return apply_layers(own, h, draws, stream, update, self.settings.activation).squeeze(-1)

    def own(self, tensors: Tensors, numbers: Sequence[int], chunk: int = 0) -> Tensors:
        """Return the tensors of the terms of the given numbers."""
        return {k: v[:, chosen(numbers)] for k, v in tensors.items()}


Function = Callable[..., Tensor]


def chosen(numbers: Sequence[int]) -> slice | list[int]:
    """Return an index of the numbers: a slice where they are a range, so that it gives a view."""
    return slice(numbers.start, numbers.stop) if isinstance(numbers, range) else list(numbers)


def chunks(numbers: Sequence[int], size: int) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the chunks that pairs of the given numbers, in rising order, belong to, and those of each."""
    for chunk, group in itertools.groupby(numbers, lambda number: number // size):
        found = list(group)
        yield chunk, range(found[0], found[-1] + 1) if isinstance(numbers, range) else found


class _Recomputed(torch.autograd.Function):
    """Evaluates a function of tensors and keeps nothing for its gradient, which computes it again."""

    @staticmethod
    def forward(ctx: Any, function: Function, *inputs: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*inputs)
        return function(True, *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        inputs = [t.detach().requires_grad_(n) for t, n in zip(ctx.saved_tensors, needed, strict=True)]
        with torch.enable_grad():
            out = ctx.function(False, *inputs)
        found = iter(torch.autograd.grad(out, [t for t in inputs if t.requires_grad], gradients[0]))
        return None, *(next(found) if t.requires_grad else None for t in inputs)
