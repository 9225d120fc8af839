"""Layers of oblivious trees: NODE (Popov et al. 2020), and its additive forms (Chang et al. 2022).

Each split compares a weighted sum of the features and of all earlier trees' outputs with a threshold, softly. NODE
chooses the weights anew in each split and sees all earlier trees; in the additive forms a tree comes to choose one
feature, or two, and sees earlier trees only as far as they chose the same.

Inside, rows lie along the last axis: inputs are (M, n, B), a layer's outputs (M, T, K, B), of T trees with K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mixnam import randomness
from mixnam.models.additive import Additive
from mixnam.models.base import Network, Outputs
from mixnam.models.fast.entmax import entmax15
from mixnam.models.fast.oblivious import Respond, respond
from mixnam.models.layers import Draws, Parameter, Tensors, constant, uniform
from mixnam.models.settings import AdditiveSettings, number


@dataclass(frozen=True)
class TreeSettings(AdditiveSettings):
    """Layers of oblivious trees and their training (Popov et al. 2020, Chang et al. 2022).

    `dropout` drops trees' outputs. Training is evaluated and may stop every `evaluation_steps` steps; `epochs` limits
    what the stopping rule, counted in steps, would let run longer.
    """

    parts = ("preprocessing", "training", "trees")

    epochs: int = number(10_000, 1)
    learning_rate: float = number(0.01, 0.0)
    weight_decay: float = number(0.0, 0.0)
    dropout: float = number(0.0, 0.0, 1.0, below_high=True)
    output_penalty: float = number(0.0, 0.0)
    selection: Literal["auc_plus_f1", "auc", "log_loss"] = "auc"
    layers: int = number(2, 1)
    #: trees of each layer
    trees: int = number(1024, 1)
    depth: int = number(6, 1, 12)
    #: outputs of each tree beyond its first, which only later layers and the last weights see
    extra_outputs: int = number(0, 0)
    #: share of the features that a tree may choose from
    colsample_bytree: float = number(1.0, 0.0, 1.0)
    #: whether trees have learnt weights, or are averaged
    last_linear: bool = False
    last_dropout: float = number(0.0, 0.0, 1.0, below_high=True)
    #: the learning rate rises linearly over so many steps
    warmup_steps: int = number(0, 0)
    #: it falls to a fifth after so many steps without a better score; 0: never
    decay_steps: int = number(0, 0)
    #: training stops after so many steps without a better score
    patience_steps: int = number(11_000, 1)
    evaluation_steps: int = number(100, 1)
    #: the weights evaluated are the mean over so many evaluations
    averaged_checkpoints: int = number(5, 1)

    @property
    def settling_steps(self) -> int:
        """Steps until the choice of features is final; before that, patience does not count."""
        return 0


@dataclass(frozen=True)
class NODESettings(TreeSettings):
    """Neural oblivious decision ensembles (Popov et al. 2020): each split weighs several features."""

    model = "NODE"


@dataclass(frozen=True)
class NODEGAMSettings(TreeSettings):
    """NODE-GAM (Chang et al. 2022): each tree comes to choose a single feature."""

    model = "NODE-GAM"
    attributes = True

    #: steps over which the choice of features hardens, from temperature 1 to `min_temperature`
    anneal_steps: int = number(4000, 0)
    min_temperature: float = number(0.01, 1e-6, 1.0)
    #: size of keys and queries that weigh earlier trees; 0: earlier trees of the same feature weigh alike
    attention: int = number(0, 0)
    warmup_steps: int = number(500, 0)
    decay_steps: int = number(5000, 0)

    @property
    def settling_steps(self) -> int:
        """Steps until the choice of features is final."""
        return self.anneal_steps


@dataclass(frozen=True)
class NODEGA2MSettings(NODEGAMSettings):
    """NODE-GA2M (Chang et al. 2022): each tree comes to choose at most two features."""

    model = "NODE-GA2M"
    parent = "NODE-GAM"
    attributes = False
    paired = True


_EXCLUDED = -20.0  # the logit of a feature that a tree may not choose
_MISSING = 8.0  # where a missing value lies: beyond all others, which are normal
_EPSILON = 1e-6  # added to the largest distance from a threshold, and to weights of which the logarithm is taken


@dataclass
class Mix:
    """What the splits of a layer compare: weighted sums.

    **Shape:** `own` (M, n, S, T), the weights of the features, for S splits that differ; `earlier`, those of each
    earlier layer's outputs, (M, T·K, S', T), or (M, T, S', T) where a tree's outputs weigh the same, S' being S or 1;
    `choice` (M, n, S, T), what an additive tree has chosen of the features.
    """

    own: Tensor
    earlier: list[Tensor]
    choice: Tensor

    def values(self, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return what the splits compare: (M, n, B) and each earlier layer's (M, T, K, B) → (M, S, T, B)."""
        values = _weigh(self.own, x)
        for weights, out in zip(self.earlier, outputs, strict=True):
            alike = weights.shape[1] < out.shape[1] * out.shape[2]
            values = values + _weigh(weights, out.sum(dim=2) if alike else out.flatten(1, 2))
        return values


def _weigh(weights: Tensor, x: Tensor) -> Tensor:
    """Return weighted sums: (M, F, S, T), (M, F, B) → (M, S, T, B)."""
    return torch.bmm(weights.flatten(2).transpose(1, 2), x).unflatten(1, weights.shape[2:])


class Trees(Network):
    """What NODE and its additive forms share; `kinds` is how many weighted sums a tree's splits compare.

    Parameters of layer l with T trees of depth D and K outputs, those of the choices first: `logits.l` (F, kinds, T),
    `threshold.l` and `log_temperature.l` (D, T), `response.l` (T, K, 2^D); `last` (layers, T, K) weighs the trees if
    `last_linear`. Buffers: `columns.l` (F, T), 1 where a tree may choose, if it may not everywhere.
    """

    settings: TreeSettings

    def __init__(self, settings: TreeSettings, features: int, depth: int, kinds: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, gaps=gaps)
        self.depth, self.kinds, self.outputs, trees = depth, kinds, 1 + settings.extra_outputs, settings.trees
        self.kept: tuple[list[Tensor], list[int], list[Mix]] | None = None
        choices, others = dict[str, Parameter](), dict[str, Parameter]()
        for layer in range(settings.layers):
            count = self.columns(inputs := self.inputs(layer))
            if count < inputs:
                self.buffers[f"columns.{layer}"] = Parameter((inputs, trees), "subset", count)
            if count > 1 or count == inputs:
                choices[f"logits.{layer}"] = Parameter((inputs, kinds, trees), "positive", 1.0)
            others[f"threshold.{layer}"] = others[f"log_temperature.{layer}"] = constant(depth, trees, value=0.0)
            others[f"response.{layer}"] = Parameter((trees, self.outputs, 1 << depth), "normal", 1.0)
        if settings.last_linear:
            shape = (settings.layers, trees, self.outputs)
            others["last"] = uniform(*shape, bound=math.sqrt(6 / (math.prod(shape) + 1)))  # Glorot and Bengio's
        self.choices = sum(p.size for p in choices.values())
        self.row_cells = settings.layers * trees * (4 * kinds + 6 * self.outputs)
        self.parameters = choices | others | {"bias": constant(value=0.0)}

    def inputs(self, layer: int) -> int:
        """Return how many inputs the trees of a layer choose from: the features, and all earlier outputs."""
        return self.features + layer * self.settings.trees * self.outputs

    def columns(self, inputs: int) -> int:
        """Return how many of them a single tree chooses from."""
        return min(inputs, max(1, math.ceil(inputs * self.settings.colsample_bytree)))

    def fixed(self, step: int) -> int:
        """Return how many parameters, the first ones, are no longer trained in a step."""
        return 0

    def passes(self, name: str) -> float:
        """Return how often a row passes through a parameter; thresholds include the products with earlier trees."""
        kind, _, layer = name.partition(".")
        if kind != "threshold":
            return 1.0
        return 8 + (0 if self.kinds == self.depth else int(layer) * self.settings.trees / self.depth)

    def logits(self, tensors: Tensors, layer: int) -> Tensor | None:
        """Return the logits of the choices (M, F, kinds, T), or None where each tree has a single feature."""
        logits, columns = tensors.get(f"logits.{layer}"), tensors.get(f"columns.{layer}")
        if logits is None or columns is None:
            return logits
        return torch.where(columns[:, :, None] > 0, logits, _EXCLUDED)

    def mix(self, tensors: Tensors, draws: Draws | None) -> list[Mix]:
        """Return each layer's weights."""
        raise NotImplementedError

    def mixed(self, tensors: Tensors) -> list[Mix]:
        """Return each layer's weights in evaluation mode, kept for the next call with the same tensors."""
        of = [t for name, t in tensors.items() if name.partition(".")[0] in ("logits", "columns", "key", "query")]
        versions = [t._version for t in of]
        if self.kept is not None:
            last, written, found = self.kept
            if written == versions and all(a is b for a, b in zip(of, last, strict=True)):
                return found
        found = self.mix(tensors, None)
        keep = len(tensors["bias"]) == 1 and not any(t.requires_grad for t in of)
        self.kept = (of, versions, found) if keep else None
        return found

    def layer(self, tensors: Tensors, layer: int, values: Tensor, draws: Draws | None) -> Tensor:
        """Return a layer's outputs, (M, T, K, B), for what its splits compare."""
        scale = torch.exp(-tensors[f"log_temperature.{layer}"])
        shift = -tensors[f"threshold.{layer}"] * scale
        if draws is None:
            return respond(values, scale, shift, tensors[f"response.{layer}"])
        out: Tensor = Respond.apply(values, scale, shift, tensors[f"response.{layer}"])
        return draws.dropout(out, f"dropout/{layer}", "dropout")

    def placed(self, x: Tensor) -> Tensor:
        """Return x with the rows last, and every missing value at its place: (M, B, n) → (M, n, B)."""
        return x.transpose(1, 2).nan_to_num(nan=_MISSING) if self.gaps else x.transpose(1, 2)

    def grow(self, tensors: Tensors, x: Tensor, mixes: list[Mix], draws: Draws | None) -> list[Tensor]:
        """Return each layer's outputs, (M, T, K, B) each, for x as (M, n, B)."""
        outputs: list[Tensor] = []
        for layer, mix in enumerate(mixes):
            outputs.append(self.layer(tensors, layer, mix.values(x, outputs), draws))
        return outputs

    def weighed(self, tensors: Tensors, outputs: list[Tensor], draws: Draws | None) -> list[Tensor]:
        """Return each tree's share in the prediction, by layers: (M, T, B) each."""
        if not self.settings.last_linear:
            return [out[:, :, 0] / (self.settings.layers * self.settings.trees) for out in outputs]
        last = tensors["last"]
        if draws is not None:
            last = draws.dropout(last, "last_dropout", "last_dropout")
        return [(last[:, layer, :, None] @ out).squeeze(2) for layer, out in enumerate(outputs)]

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n), in training mode if there are `draws`."""
        mixes = self.mixed(tensors) if draws is None else self.mix(tensors, draws)
        outputs = self.grow(tensors, self.placed(x), mixes, draws)
        shares = self.weighed(tensors, outputs, draws)
        prediction = tensors["bias"][:, None] + sum(share.sum(dim=1) for share in shares)
        if draws is None:
            return Outputs.whole(prediction)
        # the penalty is taken of all outputs that are weighed
        counted = [out.flatten(1, 2) if self.settings.last_linear else out[:, :, 0] for out in outputs]
        together = counted[0] if len(counted) == 1 else torch.cat(counted, dim=1)
        return Outputs.whole(prediction, together.transpose(1, 2))

    @torch.no_grad()
    def settle(self, tensors: Tensors, x: Tensor, seeds: Sequence[int], rates: Tensors) -> None:
        """Write thresholds and temperatures that suit the data x, (M, B, n), into the tensors, layer by layer.

        A threshold is a random percentile of what its split compares; the temperature lets the gate's slope reach the
        farthest row. Earlier layers run as in training, before the first step.
        """
        draws = Draws(seeds, -1, rates)
        mixes, outputs = self.mix(tensors, draws), list[Tensor]()
        inputs = self.placed(x)
        for layer, mix in enumerate(mixes):
            values = mix.values(inputs, outputs).cpu().numpy()  # numpy sorts an order of magnitude faster
            ordered = np.sort(values, axis=-1)
            keys = [randomness.key(seed, f"initial/threshold.{layer}") for seed in seeds]
            places = randomness.uniform(keys, self.depth * values.shape[2]).view(len(x), self.depth, -1).numpy()
            places *= values.shape[3] - 1
            below = places.astype(int)
            kind = np.arange(self.depth)[:, None] % values.shape[1]
            member, tree = np.arange(len(x))[:, None, None], np.arange(values.shape[2])
            low, high = (ordered[member, kind, tree, np.minimum(at, values.shape[3] - 1)] for at in (below, below + 1))
            threshold = low + (high - low) * (places - below)
            first, last = ordered[member, kind, tree, 0], ordered[member, kind, tree, -1]
            reach = np.maximum(last - threshold, threshold - first) + _EPSILON
            tensors[f"threshold.{layer}"].copy_(torch.as_tensor(threshold))
            tensors[f"log_temperature.{layer}"].copy_(torch.as_tensor(np.log(reach)))
            outputs.append(self.layer(tensors, layer, mix.values(inputs, outputs), draws))


class NODE(Trees):
    """Neural oblivious decision ensembles: each split weighs all features and all earlier trees' outputs."""

    def __init__(self, settings: NODESettings, features: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, settings.depth, settings.depth, gaps=gaps)

    def mix(self, tensors: Tensors, draws: Draws | None) -> list[Mix]:
        """Return each layer's weights, which are sparse and sum to 1."""
        found, size = [], self.settings.trees * self.outputs
        for layer in range(self.settings.layers):
            logits = self.logits(tensors, layer)
            weights = tensors[f"columns.{layer}"][:, :, None] if logits is None else entmax15(logits)
            own, *earlier = weights.split([self.features, *[size] * layer], dim=1)
            found.append(Mix(own, earlier, own))
        return found


class _Choosing(Trees):
    """Trees that come to choose `most` features: softly at first, more and more strictly, then for good."""

    settings: NODEGAMSettings
    most: int

    def __init__(self, settings: NODEGAMSettings, features: int, *, gaps: bool = False) -> None:
        super().__init__(settings, features, max(settings.depth, self.most), self.most, gaps=gaps)
        if settings.attention:
            size, trees = settings.attention, settings.trees
            for layer in range(1, settings.layers):
                self.parameters[f"key.{layer}"] = Parameter((layer * trees * self.outputs, size), "positive", 1.0)
                self.parameters[f"query.{layer}"] = Parameter((size, trees), "positive", 1.0)

    def inputs(self, layer: int) -> int:
        """Return the number of features: the weights of earlier outputs follow from the choice."""
        return self.features

    def columns(self, inputs: int) -> int:
        """Return how many features a tree chooses from, at least as many as it may come to choose."""
        return min(inputs, max(self.kinds, super().columns(inputs)))

    def temperature(self, step: int) -> float:
        """Return the temperature of the choice in a step; 0 where it is strict. Before the first step it is 1."""
        steps = self.settings.anneal_steps
        if step >= steps:
            return 0.0
        return float(self.settings.min_temperature ** (max(step, 0) / max(steps, 1)))

    def fixed(self, step: int) -> int:
        """Return how many parameters are no longer trained: the choices, once they are strict."""
        return self.choices if self.temperature(step) == 0 else 0

    def choose(self, logits: Tensor, temperature: float) -> Tensor:
        """Return the weights of features, (M, n, kinds, T)."""
        if temperature:
            return entmax15(logits / temperature)
        chosen = logits.argmax(dim=1, keepdim=True)
        return torch.zeros_like(logits, requires_grad=False).scatter_(1, chosen, 1.0)

    def mix(self, tensors: Tensors, draws: Draws | None) -> list[Mix]:
        """Return each layer's weights: of the features as chosen, of earlier trees by what they chose alike."""
        temperature = 0.0 if draws is None else self.temperature(draws.step)
        found: list[Mix] = []
        for layer in range(self.settings.layers):
            logits = self.logits(tensors, layer)
            choice = tensors[f"columns.{layer}"][:, :, None] if logits is None else self.choose(logits, temperature)
            earlier = [agreement(mix.choice, choice) for mix in found]
            if layer == 0:
                found.append(Mix(choice, [], choice))
            elif self.settings.attention:
                earlier = self.attend(earlier, tensors[f"key.{layer}"] @ tensors[f"query.{layer}"])
                found.append(Mix(choice, [weights[:, :, None] for weights in earlier], choice))
            else:
                total = torch.stack([weights.sum(dim=1) for weights in earlier]).sum(dim=0)
                share = 1 / (1 + self.outputs * total)[:, None, None]  # so that all weights of a split sum to 1
                found.append(Mix(choice * share, [weights[:, :, None] * share for weights in earlier], choice))
        return found

    def attend(self, earlier: list[Tensor], scores: Tensor) -> list[Tensor]:
        """Return agreements, (M, T, T) a layer, weighed among themselves too, by scores (M, all outputs, T)."""
        weights = torch.cat(earlier, dim=1).repeat_interleave(self.outputs, dim=1)
        weights = weights * entmax15((weights + _EPSILON).log() + scores)
        return list(weights.chunk(len(earlier), dim=1))


def agreement(earlier: Tensor, choice: Tensor) -> Tensor:
    """Return how far trees chose the same: (M, n, kinds, P), (M, n, kinds, T) → (M, P, T), 0 to 1.

    It is the inner product of the choices of one feature, or the products of both for two, in either order.
    """
    first, second = [t.transpose(1, 2) for t in earlier.unbind(2)], choice.unbind(2)
    if len(first) == 1:
        return first[0] @ second[0]
    same = (first[0] @ second[0]) * (first[1] @ second[1])
    return (same + (first[1] @ second[0]) * (first[0] @ second[1])).clamp(max=1.0)


class NODEGAM(_Choosing, Additive):
    """NODE-GAM: in the end each tree depends on one feature, and the prediction is a sum over features."""

    most = 1

    def __call__(self, tensors: Tensors, x: Tensor, draws: Draws | None = None) -> Outputs:
        """Return the outputs for x, (M, B, n), in training mode if there are `draws`."""
        return Additive.__call__(self, tensors, x) if draws is None else super().__call__(tensors, x, draws)

    def shapes(self, tensors: Tensors, x: Tensor, draws: Draws | None) -> Tensor:
        """Return the sums of the trees that chose each feature, in evaluation mode: (M, B, n) → (M, n, B, 1)."""
        mixes = self.mixed(tensors)
        shares = self.weighed(tensors, self.grow(tensors, self.placed(x), mixes, None), None)
        sums = (mix.choice[:, :, 0] @ share for mix, share in zip(mixes, shares, strict=True))
        return sum(sums, start=x.new_zeros(()))[..., None]


class NODEGA2M(_Choosing):
    """NODE-GA2M: in the end each tree depends on two features at most."""

    most = 2
