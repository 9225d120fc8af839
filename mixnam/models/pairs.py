"""Models with a term for each feature and one for each pair of features; NA2M."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mixnam.models.base import Network, Outputs
from mixnam.models.layers import Draws, Tensors, apply_layers, constant, declare_layers
from mixnam.models.settings import NA2MSettings, NBMSettings

#: Pairs that are computed at a time: Year has 4,005. No setting, for dropout's random numbers go by chunks.
CHUNK = 128


class Pairwise(Network):
    """A sum of one function a feature and one a pair of features: F(x) = ω_0 + Σ_i f_i(x_i) + Σ_{i<j} f_ij(x_i, x_j).

    Attribute `pairs`: the features of each pair, (i, j) with i < j, in the terms' order. Raises ValueError for
    fewer than two features.
    """

    settings: NA2MSettings | NBMSettings
    featurewise = False

    def __init__(self, settings: NA2MSettings | NBMSettings, features: int) -> None:
        super().__init__(settings, features)
        if features < 2:
            raise ValueError(f"{settings.model} needs at least two features to pair, got {features}")
        self.pairs = list(itertools.combinations(range(features), 2))
        self._ends: dict[torch.device, Tensor] = {}

    def ends(self, device: torch.device) -> Tensor:
        """Return the pairs' features, (2, pairs), on a device; made once: graphs copy nothing from the host."""
        if device not in self._ends:
            self._ends[device] = torch.tensor(self.pairs, device=device).T
        return self._ends[device]

    def held(self, name: str) -> float:
        """Return of how many of a parameter's passes a training step holds the activations at a time."""
        return self.passes(name) * (min(1.0, CHUNK / len(self.pairs)) if name.startswith("pair.") else 1.0)

    def singles(self, tensors: Tensors, x: Tensor, draws: Draws | None, features: Sequence[int]) -> Tensor:
        """Return the terms f_i of the given features, (M, len(features), B), at x, (M, B, n)."""
        raise NotImplementedError

    def doubles(self, tensors: Tensors, x: Tensor, draws: Draws | None, pairs: Sequence[int]) -> Tensor:
        """Return the terms f_ij of the pairs of the given numbers, (M, len(pairs), B), at x, (M, B, n)."""
        raise NotImplementedError

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n); with `draws` in training mode, else in evaluation mode.

        Terms are returned in training mode only, as contributions (M, B, n + pairs), for their penalty.
        """
        terms = [self.singles(tensors, x, draws, range(self.features))]
        terms.append(self.doubles(tensors, x, draws, range(len(self.pairs))))
        contributions = torch.cat(terms, dim=1).transpose(1, 2)
        prediction = tensors["bias"][:, None] + contributions.sum(dim=-1)
        none = prediction.new_empty(*prediction.shape, 0)
        return Outputs(prediction, contributions if draws is not None else none, none[..., None], none[..., None])

    def part(self, tensors: Tensors, x: Tensor, feature: int) -> Tensor:
        """Return the sum of the terms that depend on a feature, in evaluation mode: (M, B, n) → (M, B)."""
        own = [p for p, pair in enumerate(self.pairs) if feature in pair]
        return self.singles(tensors, x, None, [feature])[:, 0] + self.doubles(tensors, x, None, own).sum(dim=1)


class NA2M(Pairwise):
    """One small network a feature and one a pair, summed (Agarwal et al. 2021, as extended by Radenovic et al. 2022).

    Every unit has its own batch normalisation.

    **Examples**

    >>> network = NA2M(NA2MSettings(hidden=(8,)), features=4)
    >>> parameters, buffers = network.initialize([0], torch.device("cpu"))
    >>> network(parameters | buffers, torch.randn(1, 5, 4)).prediction.shape, len(network.pairs)
    (torch.Size([1, 5]), 6)
    """

    settings: NA2MSettings

    def __init__(self, settings: NA2MSettings, features: int) -> None:
        super().__init__(settings, features)
        one = declare_layers(features, (1, *settings.hidden, 1))
        two = declare_layers(len(self.pairs), (2, *settings.hidden, 1), "pair.")
        self.parameters, self.buffers = (a | b for a, b in zip(one, two, strict=True))
        self.parameters["bias"] = constant(value=0.0)

    def singles(self, tensors: Tensors, x: Tensor, draws: Draws | None, features: Sequence[int]) -> Tensor:
        """Return the terms f_i of the given features, (M, len(features), B), at x, (M, B, n)."""
        own = {k: v[:, chosen(features)] for k, v in tensors.items() if k.startswith(("layer.", "norm."))}
        h = x.transpose(1, 2)[:, chosen(features), :, None]
        return apply_layers(own, h, len(self.settings.hidden), draws).squeeze(-1)

    def doubles(self, tensors: Tensors, x: Tensor, draws: Draws | None, pairs: Sequence[int]) -> Tensor:
        """Return the terms f_ij of the pairs of the given numbers, (M, len(pairs), B), at x, (M, B, n)."""
        own = part_of(tensors, "pair.")
        hidden, names = len(self.settings.hidden), [k for k in own if f"pair.{k}" in self.parameters]

        def evaluated(chunk: int, numbers: Sequence[int]) -> tuple[Function, list[Tensor]]:
            running = {k: v[:, chosen(numbers)] for k, v in own.items() if k not in names}

            def terms(first: bool, h: Tensor, *weights: Tensor) -> Tensor:
                layers = dict(zip(names, weights, strict=True)) | running
                return apply_layers(layers, h, hidden, draws, f"dropout/pair/{chunk}", first).squeeze(-1)

            return terms, [own[k][:, chosen(numbers)] for k in names]

        return by_chunks(x, self.ends(x.device), pairs, evaluated)


Function = Callable[..., Tensor]


def chosen(numbers: Sequence[int]) -> slice | list[int]:
    """Return an index of the numbers: a slice where they are a range, so that it gives a view."""
    return slice(numbers.start, numbers.stop) if isinstance(numbers, range) else list(numbers)


def part_of(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def chunks(numbers: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the chunks that pairs of the given numbers, in rising order, belong to, and those of each."""
    for chunk, group in itertools.groupby(numbers, lambda number: number // CHUNK):
        found = list(group)
        yield chunk, range(found[0], found[-1] + 1) if isinstance(numbers, range) else found


def by_chunks(
    x: Tensor,
    ends: Tensor,
    numbers: Sequence[int],
    evaluated: Callable[[int, Sequence[int]], tuple[Function, list[Tensor]]],
) -> Tensor:
    """Return the terms of the pairs of the given numbers, (M, P, B), of which `CHUNK` at a time need memory.

    `ends` are the features of all pairs, (2, pairs).

    `evaluated` takes a chunk's number and those of its pairs, and returns a function and its weights: the function
    takes whether it is called for the first time, the pairs' values (M, P, B, 2) and the weights, and returns their
    terms (M, P, B).
    """
    columns = x.transpose(1, 2)  # (M, n, B)
    parts: list[Tensor] = []
    for chunk, part in chunks(numbers):
        function, weights = evaluated(chunk, part)
        h = torch.stack([columns[:, end] for end in ends[:, chosen(part)]], dim=-1)  # (M, P, B, 2)
        if len(numbers) > CHUNK and torch.is_grad_enabled():
            parts.append(_Recomputed.apply(function, h, *weights))
        else:
            parts.append(function(True, h, *weights))
    return torch.cat(parts, dim=1)


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
