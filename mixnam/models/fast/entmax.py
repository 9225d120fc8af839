"""Sparse choices: entmax with alpha = 1.5 over the second axis, and its case of two outcomes.

For logits z entmax is p_i = max(z_i / 2 - tau, 0)², with tau such that the p_i sum to 1 (Peters, Niculae and
Martins 2019): much like a softmax, but most outcomes get exactly 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_CELLS = 1 << 15  # numbers of a part that is solved at a time on a CPU: they stay in its cache


def _roots(logits: Tensor) -> Tensor:
    """Return the square roots of entmax over axis 1: (M, F, C) → (M, F, C).

    Newton's method from below on the norm of max(z / 2 - tau, 0), which is convex in tau: no iteration goes too far.
    """
    z = logits / 2
    tau = z.amax(dim=1, keepdim=True) - 1
    tolerance = 16 * torch.finfo(z.dtype).eps
    for _ in range(100):
        above = (z - tau).relu_()
        norm = above.square().sum(dim=1, keepdim=True).sqrt_()
        move = (norm - 1).mul_(norm).div_(above.sum(dim=1, keepdim=True))
        tau += move
        if not float(move.amax()) > tolerance:  # NaN ends it too
            break
    return (z - tau).relu_()


def roots(logits: Tensor) -> Tensor:
    """Return the square roots of entmax over axis 1, without gradients: (M, F, ...) → (M, F, ...)."""
    members, features = logits.shape[:2]
    flat = logits.reshape(members, features, -1)
    flat = flat - flat.amax(dim=1, keepdim=True)
    columns = flat.shape[2]
    width = max(1, _CELLS // (features * members)) if flat.device.type == "cpu" else columns
    if width >= columns:
        return _roots(flat).view(logits.shape)
    return torch.cat([_roots(part) for part in flat.split(width, dim=2)], dim=2).view(logits.shape)


class _Entmax15(torch.autograd.Function):
    """Entmax over axis 1; the gradient needs nothing but the roots."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        root = roots(logits)
        ctx.save_for_backward(root)
        return root.square()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        weighted = gradients[0] * root
        shift = weighted.sum(dim=1, keepdim=True) / root.sum(dim=1, keepdim=True)
        return weighted.sub_(shift * root)


def entmax15(logits: Tensor) -> Tensor:
    """Return weights on the simplex over axis 1: (M, F, ...) → (M, F, ...).

    **Examples**

    >>> entmax15(torch.tensor([[0.0, 1.0, -4.0]]))
    tensor([[0.1693, 0.8307, 0.0000]])
    """
    if logits.requires_grad and torch.is_grad_enabled():
        result: Tensor = _Entmax15.apply(logits)
        return result
    return roots(logits).square_()


def entmoid15(x: Tensor) -> Tensor:
    """Return the first weight of entmax over (x, 0): 0 up to -2, 1 from 2 on, smooth between.

    In closed form, of plain operations: forward and reverse derivatives of any order exist.

    >>> entmoid15(torch.tensor([-2.0, 0.0, 1.0, 3.0]))
    tensor([0.0000, 0.5000, 0.8307, 1.0000])
    """
    x = x.clamp(-2.0, 2.0)
    return 0.5 + 0.125 * x * (8.0 - x * x).sqrt()


@lru_cache(maxsize=16)
def _number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(value, dtype=dtype, device=device)


def entmoid15_(x: Tensor, slope: Tensor, scratch: Tensor) -> None:
    """Turn x into `entmoid15(x)` in place; `slope` takes four times its derivative. No gradients.

    With q = 1 / sqrt(8 - x²), whose root and quotient would take longer, they are x (8 - x²) q / 8 + 1/2 and
    (4 - x²) q / 4.
    """
    x.clamp_(-2.0, 2.0)
    torch.addcmul(_number(8.0, x.dtype, x.device), x, x, value=-1.0, out=slope)
    torch.rsqrt(slope, out=scratch)
    x.mul_(slope)
    torch.addcmul(_number(0.5, x.dtype, x.device), x, scratch, value=0.125, out=x)
    slope.sub_(4.0).mul_(scratch)
