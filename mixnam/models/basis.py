"""Neural basis models: functions that all features, or all pairs, share, and weights of their own (NBM, NB2M)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from mixnam.models import pairs as chunked
from mixnam.models.additive import Additive
from mixnam.models.layers import Draws, Parameter, Tensors, apply_hidden, constant, declare_layers, linear, uniform
from mixnam.models.pairs import Function, Pairwise, by_chunks, chosen, part_of
from mixnam.models.settings import NBMSettings


def _declare(
    settings: NBMSettings, inputs: int, terms: int, prefix: str
) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Declare a basis of `inputs` features and the weights of `terms` terms."""
    widths = (inputs, *settings.hidden, settings.bases)
    parameters, buffers = declare_layers(1, widths, f"{prefix}basis.", normalized_output=True)
    bound = 1 / math.sqrt(settings.bases)
    parameters[f"{prefix}weight"] = uniform(terms, settings.bases, 1, bound=bound)
    parameters[f"{prefix}shift"] = uniform(terms, 1, bound=bound)
    return parameters, buffers


def _weighed(
    settings: NBMSettings, own: Tensors, h: Tensor, draws: Draws | None, stream: str, update: bool = True
) -> Tensor:
    """Return weighted basis functions: (M, terms, B, inputs) → (M, terms, B, 1).

    The basis sees terms and rows as one batch, over which it normalises.
    """
    terms = h.shape[1]
    layers = len(settings.hidden) + 1
    bases = apply_hidden(part_of(own, "basis."), h.flatten(1, 2)[:, None], layers, draws, stream, update)
    bases = bases.squeeze(1).unflatten(1, (terms, -1))  # (M, terms, B, bases)
    if draws is not None:
        bases = draws.dropout(bases, f"{stream}/basis", "basis_dropout")
    return linear(bases, own["weight"], own["shift"])


class NBM(Additive):
    """Neural basis model (Radenovic et al. 2022): f_i(x_i) = Σ_k w_ik b_k(x_i), with one network for all b_k.

    **Examples**

    >>> import torch
    >>> network = NBM(NBMSettings(hidden=(8,), bases=5), features=3)
    >>> parameters, buffers = network.initialize([0], torch.device("cpu"))
    >>> network(parameters | buffers, torch.randn(1, 7, 3)).contributions.shape
    torch.Size([1, 7, 3])
    """

    settings: NBMSettings

    def __init__(self, settings: NBMSettings, features: int) -> None:
        super().__init__(settings, features)
        self.parameters, self.buffers = _declare(settings, 1, features, "")
        self.parameters["bias"] = constant(value=0.0)

    def passes(self, name: str) -> float:
        """Return how often a row passes through a parameter: each feature through those of the basis."""
        return self.features if name.startswith("basis.") else 1.0

    def shapes(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return the shape functions' values f_i(x_i): (M, B, n) → (M, n, B, 1)."""
        return _weighed(self.settings, tensors, x.transpose(1, 2)[..., None], draws, "dropout")


class NB2M(Pairwise):
    """Neural basis model of first and second order: pairs share a second set of basis functions b_k(x_i, x_j).

    Its batch statistics, in training and running, are those of at most `CHUNK` pairs, as many as memory need hold.
    """

    settings: NBMSettings

    def __init__(self, settings: NBMSettings, features: int) -> None:
        super().__init__(settings, features)
        one, two = _declare(settings, 1, features, ""), _declare(settings, 2, len(self.pairs), "pair.")
        self.parameters, self.buffers = (a | b for a, b in zip(one, two, strict=True))
        self.parameters["bias"] = constant(value=0.0)
        for name, buffer in two[1].items():
            self.buffers[name] = constant(-(-len(self.pairs) // chunked.CHUNK), *buffer.shape[1:], value=buffer.scale)

    def passes(self, name: str) -> float:
        """Return how often a row passes through a parameter: each feature or pair through those of its basis."""
        return {"basis": self.features, "pair.basis": len(self.pairs)}.get(name.partition(".layer")[0], 1.0)

    def singles(self, tensors: Tensors, x: Tensor, draws: Draws | None, features: Sequence[int]) -> Tensor:
        """Return the terms f_i of the given features, (M, len(features), B), at x, (M, B, n)."""
        own = tensors | {k: tensors[k][:, chosen(features)] for k in ("weight", "shift")}
        h = x.transpose(1, 2)[:, chosen(features), :, None]
        return _weighed(self.settings, own, h, draws, "dropout").squeeze(-1)

    def doubles(self, tensors: Tensors, x: Tensor, draws: Draws | None, pairs: Sequence[int]) -> Tensor:
        """Return the terms f_ij of the pairs of the given numbers, (M, len(pairs), B), at x, (M, B, n)."""
        own = part_of(tensors, "pair.")
        names = [k for k in own if f"pair.{k}" in self.parameters]

        def evaluated(chunk: int, numbers: Sequence[int]) -> tuple[Function, list[Tensor]]:
            running = {k: v[:, chunk : chunk + 1] for k, v in own.items() if k not in names}

            def terms(first: bool, h: Tensor, *weights: Tensor) -> Tensor:
                values = dict(zip(names, weights, strict=True)) | running
                return _weighed(self.settings, values, h, draws, f"dropout/pair/{chunk}", first).squeeze(-1)

            return terms, [own[k] if k.startswith("basis.") else own[k][:, chosen(numbers)] for k in names]

        return by_chunks(x, self.ends(x.device), pairs, evaluated)
