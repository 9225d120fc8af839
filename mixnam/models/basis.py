"""Neural basis models: functions that all features, or all pairs, share, and weights of their own (NBM, NB2M)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mixnam.models.additive import Additive
from mixnam.models.encoding import encode
from mixnam.models.layers import Draws, Parameter, Tensors, apply_layers, constant, declare_layers, linear, uniform
from mixnam.models.pairs import CHUNK, Pairwise, chosen
from mixnam.models.settings import AdditiveSettings, number


@dataclass(frozen=True)
class NBMSettings(AdditiveSettings):
    """Neural basis model (Radenovic et al. 2022): one network's basis functions, weighed anew for each feature."""

    model = "NBM"
    parts = ("preprocessing", "training", "basis")
    attributes = True

    hidden: tuple[int, ...] = number((256, 128, 128), 1)
    bases: int = number(100, 1)
    basis_dropout: float = number(0.0, 0.0, 1.0, below_high=True)


@dataclass(frozen=True)
class NB2MSettings(NBMSettings):
    """Neural basis model with a second set of basis functions, of two features, for all pairs."""

    model = "NB2M"
    attributes = False
    paired = True

    bases: int = number(200, 1)


def _declare(
    settings: NBMSettings, inputs: int, terms: int, prefix: str = ""
) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Declare a basis of `inputs` numbers and the weights of `terms` terms."""
    widths = (inputs, *settings.hidden, settings.bases)
    parameters, buffers = declare_layers(1, widths, f"{prefix}basis.", normalized_output=True)
    bound = 1 / math.sqrt(settings.bases)
    parameters[f"{prefix}weight"] = uniform(terms, settings.bases, 1, bound=bound)
    parameters[f"{prefix}shift"] = uniform(terms, 1, bound=bound)
    return parameters, buffers


def _weighed(own: Tensors, h: Tensor, draws: Draws | None, stream: str, update: bool = True) -> Tensor:
    """Return weighted basis functions: (M, terms, B, inputs) → (M, terms, B, 1).

    The basis sees terms and rows as one batch, over which it normalises.
    """
    basis = {k.removeprefix("basis."): v for k, v in own.items() if k.startswith("basis.")}
    bases = apply_layers(basis, h.flatten(1, 2)[:, None], draws, stream, update)
    bases = bases.squeeze(1).unflatten(1, (h.shape[1], -1))  # (M, terms, B, bases)
    if draws is not None:
        bases = draws.dropout(bases, f"{stream}/basis", "basis_dropout")
    return linear(bases, own["weight"], own["shift"])


class NBM(Additive):
    """Neural basis model (Radenovic et al. 2022): f_i(x_i) = Σ_k w_ik b_k(x_i), with one network for all b_k."""

    def __init__(self, settings: NBMSettings, features: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, gaps=gaps)
        self.parameters, self.buffers = _declare(settings, 1 + gaps, features)
        self.parameters["bias"] = constant(value=0.0)

    def passes(self, name: str) -> float:
        """Return how often a row passes through a parameter: each feature through those of the basis."""
        return self.features if name.startswith("basis.") else 1.0

    def shapes(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return the shape functions' values f_i(x_i): (M, B, n) → (M, n, B, 1)."""
        return _weighed(tensors, encode({}, x.transpose(1, 2)[..., None], self.gaps), draws, "dropout")


class NB2M(Pairwise):
    """Neural basis model of first and second order: pairs share a second set of basis functions b_k(x_i, x_j).

    Its batch statistics, in training and running, are those of one chunk of pairs, as many as memory need hold.
    """

    def __init__(self, settings: NBMSettings, features: int, chunk: int = CHUNK, *, gaps: bool = False) -> None:
        super().__init__(settings, features, chunk, gaps=gaps)
        inputs = 1 + gaps
        one, two = _declare(settings, inputs, features), _declare(settings, 2 * inputs, len(self.pairs), "pair.")
        self.parameters, self.buffers = (a | b for a, b in zip(one, two, strict=True))
        self.parameters["bias"] = constant(value=0.0)
        for name, buffer in two[1].items():
            self.buffers[name] = constant(-(-len(self.pairs) // chunk), *buffer.shape[1:], value=buffer.scale)

    def passes(self, name: str) -> float:
        """Return how often a row passes through a parameter: each feature or pair through those of its basis."""
        return {"basis": self.features, "pair.basis": len(self.pairs)}.get(name.partition(".layer")[0], 1.0)

    def term(self, own: Tensors, h: Tensor, draws: Draws | None, stream: str, update: bool = True) -> Tensor:
        """Return the weighted basis functions: (M, P, B, inputs) → (M, P, B)."""
        return _weighed(own, encode({}, h, self.gaps), draws, stream, update).squeeze(-1)

    def own(self, tensors: Tensors, numbers: Sequence[int], chunk: int = 0) -> Tensors:
        """Return the terms' weights, the whole basis, and of its running statistics the chunk's."""
        weights = {k: tensors[k][:, chosen(numbers)] for k in ("weight", "shift")}
        basis = {k: v for k, v in tensors.items() if k not in weights}
        return {k: v[:, chunk : chunk + 1] if v.shape[1] > 1 else v for k, v in basis.items()} | weights
