"""Slow, plain code for every formula of the method, written from its description and not from the package.

One member at a time. `weights` is a dictionary of numpy arrays by parameter name; a norm's running
statistics in it are updated in place by a training pass.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class Forward:
    prediction: np.ndarray  # (B,)
    contributions: np.ndarray  # (B, n)
    experts: np.ndarray  # (B, n, C)
    relevance: np.ndarray  # (B, n, C)
    lower: np.ndarray  # (B, n)
    upper: np.ndarray  # (B, n)


@dataclass
class Masks:
    """What dropout keeps: one (n, B, d) array a layer and (B, n, C) for the experts, with their rates."""

    encoder: list
    experts: np.ndarray
    rate: float
    expert_rate: float


def inputs(weights, i, x):
    """What the network of feature i is given for values (B,): each value, its share in each bin, whether it is missing.

    The last only where there is a weight for it; of a missing value, NaN, it is all that is not 0.
    """
    bins = list(itertools.pairwise(weights["encoding.edges"][i, 0])) if "encoding.edges" in weights else []
    shares = [[min(max((v - a) / (b - a), 0.0), 1.0) if b > a else 0.0 for a, b in bins] for v in x]
    rows = [[0.0] * (1 + len(bins)) + [1.0] if np.isnan(v) else [v, *s, 0.0] for v, s in zip(x, shares, strict=True)]
    return np.array(rows)[:, : weights["encoder.0.weight"].shape[1]]


def encoder(weights, settings, i, x, masks=None):
    """z_i = f_i(x_i) for one feature: (B,) → (B, d). Linear, norm, activation, dropout in each layer."""
    h = inputs(weights, i, x)
    for layer in range(settings.layers):
        weight, bias = weights[f"encoder.{layer}.weight"][i], weights[f"encoder.{layer}.bias"][i]
        h = np.array(
            [[sum(row[a] * weight[a, b] for a in range(len(row))) + bias[b] for b in range(len(bias))] for row in h]
        )
        h = normalize(weights, settings, i, layer, h, training=masks is not None)
        h = h / (1 + np.exp(-h)) if settings.activation == "silu" else np.where(h > 0, h, 0.0)
        if masks is not None:
            h = h * masks.encoder[layer][i] / (1 - masks.rate)
    return h


def normalize(weights, settings, i, layer, h, training):
    """Normalise one feature's activations (B, d) after a linear layer."""
    name = "norm" if settings.shared_normalization else f"norm.{layer}"
    gain, shift = weights[f"{name}.gain"], weights[f"{name}.shift"]
    if settings.normalization == "layer_norm":
        if not settings.shared_normalization:
            gain, shift = gain[i], shift[i]
        rows = [(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in h]
        return np.array([row * gain + shift for row in rows])
    # one mean and variance over rows and width
    mean, variance = weights[f"{name}.mean"], weights[f"{name}.variance"]
    used = (mean[i], variance[i])
    if training:
        used = (h.mean(), h.var())
        mean[i] = 0.9 * mean[i] + 0.1 * h.mean()
        variance[i] = 0.9 * variance[i] + 0.1 * h.var(ddof=1)
    return (h - used[0]) / math.sqrt(used[1] + 1e-5) * gain[i] + shift[i]


def top_k(scores, active):
    """Equation (5): 0 for the largest scores, minus infinity for the rest."""
    mask = np.full(len(scores), -np.inf)
    for k in sorted(range(len(scores)), key=lambda k: -scores[k])[:active]:
        mask[k] = 0.0
    return mask


def softmax(scores):
    powers = [math.exp(s - max(scores)) for s in scores]
    return np.array([p / sum(powers) for p in powers])


def drop(relevance, kept, rate, mode):
    """Expert dropout of one feature's relevance (C,)."""
    left = relevance * kept
    if mode == "scale":
        return left / (1 - rate)
    if mode == "renormalize":
        return left / left.sum() if left.sum() > 0 else left
    return left


def routing_scores(weights, settings, z, b, j):
    """φ_j of row b: (C,). Equation (4), with one set of weights for all features in Equation (16)."""
    n, d, count = len(z), settings.width, settings.experts
    if settings.model == "MixNAM-D":  # A_ij = 0 for i ≠ j (Appendix G)
        return weights["router.bias"][j] + weights["router.weight"][j].T @ z[j][b]
    first = 0 if settings.router == "shared" else j * count
    columns = slice(first, first + count)
    scores = weights["router.bias"][columns].copy()
    for i in range(n):
        scores += weights["router.weight"][i * d : (i + 1) * d, columns].T @ z[i][b]
    return scores


def relevances(settings, scores, noise=None):
    """One feature's relevance (C,): Equation (6), (22) with Gumbel noise, (23) for MixNAM-E."""
    masked = scores + top_k(scores, settings.active_experts)
    if settings.model == "MixNAM-E":
        return np.array([1 / settings.active_experts if s > -np.inf else 0.0 for s in masked])
    if noise is None:
        return softmax(masked)
    logarithms = masked - max(masked) - math.log(sum(math.exp(s - max(masked)) for s in masked))
    return softmax((logarithms + noise) / settings.temperature)


def outermost(settings, cell):
    """Equation (9), or for MixNAM-E the least and greatest of the means of K experts."""
    if settings.model != "MixNAM-E":
        return min(cell), max(cell)
    means = [np.mean(chosen) for chosen in itertools.combinations(cell, settings.active_experts)]
    return min(means), max(means)


def forward(weights, settings, x, masks=None, noise=None):
    """Equations (3) to (9) for rows x, (B, n), and the variants of Appendices D, G and H.

    `noise` (B, n, C) is MixNAM-D's Gumbel noise.
    """
    rows, n = x.shape
    count = settings.experts
    z = [encoder(weights, settings, i, x[:, i], masks) for i in range(n)]
    experts, relevance = np.empty((rows, n, count)), np.empty((rows, n, count))
    contributions, prediction = np.empty((rows, n)), np.empty(rows)
    for b in range(rows):
        for j in range(n):
            for k in range(count):
                experts[b, j, k] = weights["experts.weight"][j][:, k] @ z[j][b] + weights["experts.bias"][j][k]
            scores = routing_scores(weights, settings, z, b, j)
            relevance[b, j] = relevances(settings, scores, None if noise is None else noise[b, j])
            if masks is not None:
                relevance[b, j] = drop(
                    relevance[b, j], masks.experts[b, j], masks.expert_rate, settings.expert_dropout_mode
                )
            contributions[b, j] = sum(relevance[b, j, k] * experts[b, j, k] for k in range(count))  # Equation (3)
        prediction[b] = weights["bias"] + sum(contributions[b])  # Equation (7)
    bounds = np.array([[outermost(settings, cell) for cell in row] for row in experts])
    return Forward(prediction, contributions, experts, relevance, bounds[..., 0], bounds[..., 1])


def mlp(weights, hidden, x, masks=None, rate=0.0):
    """A multi-layer perceptron's predictions (B,): linear, batch norm, ReLU, dropout; then one linear output.

    `masks`, one (B, width) a layer, makes it a training pass.
    """
    h = x
    for layer in range(len(hidden)):
        name = f"norm.{layer}"
        gain, shift, mean, variance = (weights[f"{name}.{p}"][0] for p in ("gain", "shift", "mean", "variance"))
        h = h @ weights[f"layer.{layer}.weight"][0] + weights[f"layer.{layer}.bias"][0]
        for unit in range(hidden[layer]):
            column = h[:, unit]
            used = (mean[unit], variance[unit])
            if masks is not None:
                used = (column.mean(), column.var())
                mean[unit] = 0.9 * mean[unit] + 0.1 * column.mean()
                variance[unit] = 0.9 * variance[unit] + 0.1 * column.var(ddof=1)
            h[:, unit] = (column - used[0]) / math.sqrt(used[1] + 1e-5) * gain[unit] + shift[unit]
        h = np.where(h > 0, h, 0.0)
        if masks is not None:
            h = h * masks[layer] / (1 - rate)
    last = f"layer.{len(hidden)}"
    return (h @ weights[f"{last}.weight"][0] + weights[f"{last}.bias"][0])[:, 0]


def loss(out, y, task, output_penalty, variation_penalty):
    """Equation (8), with the variance over experts divided by C − 1."""
    total = 0.0
    for b, label in enumerate(y):
        value = out.prediction[b]
        if task == "regression":
            total += (value - label) ** 2 / len(y)
        else:
            probability = 1 / (1 + math.exp(-value))
            total -= math.log(probability if label == 1 else 1 - probability) / len(y)
    squares = [o**2 for row in out.contributions for o in row]
    total += output_penalty * sum(squares) / len(squares)
    count = out.experts.shape[-1]
    if count > 1:
        cells = out.experts.reshape(-1, count)
        spread = [sum((o - cell.mean()) ** 2 for o in cell) / (count - 1) for cell in cells]
        total += variation_penalty * sum(spread) / len(spread)
    return total


def replaced(background, i, value):
    """Copies of the background rows with feature i set to a value."""
    x = background.clone()
    x[:, i] = value
    return x


def additivity(predict, background, grid, i):
    """Equation (11) for feature i: grid (G,) × background (B, n), by autograd through `predict`."""
    slopes = np.empty((len(grid), len(background)))
    for a, value in enumerate(grid):
        x = replaced(background, i, value).requires_grad_(True)
        slopes[a] = torch.autograd.grad(predict(x).sum(), x)[0][:, i].numpy()
    return np.var(slopes.mean(axis=1)) / np.var(slopes)


def variability(predict, background, grid, i):
    """Equation (19) for feature i, averaged over the grid."""
    surface = np.array([predict(replaced(background, i, value)).numpy() for value in grid])
    deviation = surface - surface.mean(axis=0)
    return np.mean([np.var(row) for row in deviation])


def tightness(outputs, rows, grid, i):
    """Equation (12) for feature i over grid × rows; `outputs` gives contributions, lower and upper (B, n)."""
    shares = []
    for value in grid:
        o, lower, upper = (t[:, i] for t in outputs(replaced(rows, i, value)))
        shares.append(float((o.max() - o.min()) / (upper[0] - lower[0])))
    return np.mean(shares)


def torch_nam(tensors, member, features):
    """The NAM of torch's own modules, one `Sequential` a feature, with the weights of one member."""
    nets = []
    layers = sum(1 for name in tensors if name.startswith("layer.") and name.endswith("weight"))
    for i in range(features):
        parts = []
        for layer in range(layers):
            weight, bias = (tensors[f"layer.{layer}.{part}"][member, i] for part in ("weight", "bias"))
            linear = torch.nn.Linear(*weight.shape, dtype=weight.dtype)
            linear.weight.data, linear.bias.data = weight.T.clone(), bias.clone()
            parts.append(linear)
            if layer < layers - 1:
                norm = torch.nn.BatchNorm1d(len(bias), dtype=weight.dtype)
                norm.weight.data = tensors[f"norm.{layer}.gain"][member, i].clone()
                norm.bias.data = tensors[f"norm.{layer}.shift"][member, i].clone()
                norm.running_mean.copy_(tensors[f"norm.{layer}.mean"][member, i])
                norm.running_var.copy_(tensors[f"norm.{layer}.variance"][member, i])
                parts += [norm, torch.nn.ReLU()]
        nets.append(torch.nn.Sequential(*parts))
    return nets
