"""Random inputs, and how what a network says is held against a reference."""

import itertools
import math

import numpy as np
import torch


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clones(tensors):
    return {name: t.clone() for name, t in tensors.items()}


def member(tensors, m):
    return {name: t[m : m + 1] for name, t in tensors.items()}


def arrays(tensors, m):
    return {name: t[m].numpy().copy() for name, t in tensors.items()}


def assert_close(ours, expected, tolerance=1e-11):
    np.testing.assert_allclose(torch.as_tensor(ours).numpy(), expected, rtol=tolerance, atol=tolerance)


def assert_outputs(outputs, m, expected):
    for name in ("experts", "relevance", "contributions", "prediction", "lower", "upper"):
        assert_close(getattr(outputs, name)[m], getattr(expected, name))


def mixed_difference(f, x, i, j, steps):
    """f(x + both steps) − f(x + first) − f(x + second) + f(x), for steps in features i and j."""
    values = []
    for first, second in itertools.product((1, 0), repeat=2):
        moved = x.clone()
        moved[..., i] += first * steps[0]
        moved[..., j] += second * steps[1]
        values.append(f(moved))
    return values[0] - values[1] - values[2] + values[3]


def ranges(initialization, n, d, count):
    """Half-widths of the uniform initial values, from the description of the method."""
    if initialization == "standard":
        weights = [1, 1 / math.sqrt(d), 1 / math.sqrt(d)]
        biases = [1, 1 / math.sqrt(d), 1 / math.sqrt(d)]
    else:
        weights = [math.sqrt(6 / d), math.sqrt(6 / (d * d)), math.sqrt(6 / (count * d))]
        biases = [1 / math.sqrt(n), 1 / math.sqrt(n * d), 1 / math.sqrt(n * d)]
    names = ["encoder.0", "encoder.1", "experts"]
    found = {f"{name}.weight": w for name, w in zip(names, weights, strict=True)}
    found |= {f"{name}.bias": b for name, b in zip(names, biases, strict=True)}
    return found | {"router.bias": 1 / math.sqrt(n * d)}


def printed(value, like, thousand):
    """Print a number as the paper does, in units of `thousand` or its square, with the decimals of `like`."""
    decimals = len(like[:-1].partition(".")[2])
    return f"{value / {'k': thousand, 'M': thousand**2}[like[-1]]:.{decimals}f}{like[-1]}"
