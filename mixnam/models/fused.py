"""Layer normalisation, activation and dropout as one kernel each way on a GPU.

Launched one by one they move each activation through the device's memory a dozen times, and the hash behind dropout's
random numbers takes as long as the matrix products. torch.compile makes one kernel of them; the masks are bit for bit
`randomness.keep_mask`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from mixnam.models.layers import Draws
from mixnam.randomness import GOLDEN, mixed

#: What was compiled in this process and has given the plain functions' numbers once, by type and activation.
_CHECKED: set[tuple[torch.dtype, bool]] = set()
#: Activations (M, n, B, d) from which on compiling, some seconds a process, is worth it.
LEAST = 1 << 25


def keeps(keys: Tensor, drop: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return `randomness.keep_mask` as booleans, without views of memory as other types: (M, *shape)."""
    index = torch.arange(torch.Size(shape).numel(), device=keys.device)
    draws = mixed((index >> 2) * GOLDEN + keys[:, None])
    lanes = (draws << (48 - 16 * (index & 3))) >> 48  # the sign goes with the shift back
    threshold = (drop * 65536).round().sub(32768).clamp(max=32767).long()[:, None]
    return (lanes >= threshold).view(-1, *shape)


def unit(x: Tensor, gain: Tensor, shift: Tensor, keys: Tensor, drop: Tensor, silu: bool) -> Tensor:
    """Return x, (M, n, B, d), normalised over its last axis, activated, and with a share `drop`, (M,), dropped.

    `gain` and `shift` are (M, 1 or n, 1, d), `keys` (M,) on x's device.
    """
    h = F.layer_norm(x, x.shape[-1:]) * gain + shift
    h = F.silu(h) if silu else F.relu(h)
    scale = (1 / (1 - drop)).to(x.dtype).view(-1, 1, 1, 1)
    return torch.where(keeps(keys, drop, tuple(x.shape[1:])), h * scale, torch.zeros_like(h))


@cache
def compiled() -> Callable[..., Tensor]:
    """Return `unit` as torch compiles it."""
    return torch.compile(unit, dynamic=True)


def pays(x: Tensor, rates: Mapping[str, Tensor]) -> bool:
    """Return whether the activations x are handled here: many, on a GPU, with dropout, and Triton is installed."""
    return x.device.type == "cuda" and "dropout" in rates and x.numel() >= LEAST and _triton()


@cache
def _triton() -> bool:
    return find_spec("triton") is not None


def apply(x: Tensor, gain: Tensor, shift: Tensor, draws: Draws, stream: str, silu: bool) -> Tensor:
    """Return `unit` of x, (M, n, B, d), with gain and shift (M, d) or (M, n, d), and a stream's random numbers.

    Raises AssertionError where a process's first kernel gives other numbers than the functions that it was made of.
    """
    shape = (len(gain), -1, 1, gain.shape[-1])
    keys = torch.as_tensor(draws.keys(stream), device=x.device)
    gain, shift, drop = gain.view(shape), shift.view(shape), draws.rates["dropout"]
    found = compiled()(x, gain, shift, keys, drop, silu)
    if (x.dtype, silu) not in _CHECKED:
        with torch.no_grad():  # of the first member alone: stacks fill the memory
            first = unit(x[:1], gain[:1], shift[:1], keys[:1], drop[:1], silu)
            torch.testing.assert_close(found[:1].detach(), first, rtol=1e-3, atol=1e-3)
        _CHECKED.add((x.dtype, silu))
    return found
