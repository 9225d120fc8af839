"""Counter-based random numbers: a pure function of (seed, stream, step, index).

There is no generator to save or replay, so neither the size of a stack, nor the order of draws, nor
stopping and resuming can change a number. The mixing function is splitmix64's finaliser applied to a
counter (Steele, Lea and Flood 2014), in torch's int64 arithmetic, which wraps around.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX = ((30, 0xBF58476D1CE4E5B9 - (1 << 64)), (27, 0x94D049BB133111EB - (1 << 64)), (31, 1))
_own = threading.local()
_CHUNK = 1 << 16  # counters mixed at a time: they stay in the processor's second-level cache
_PART = 1 << 16  # values of a mask drawn at a time, from a quarter as many counters


def key(seed: int, stream: str, step: int = 0) -> int:
    """Return the 64-bit start of the sequence of (seed, stream, step), as a signed integer."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


@lru_cache(maxsize=8)
def _counters(count: int) -> Tensor:
    return torch.arange(count).mul_(GOLDEN)


def _mix(part: Tensor, scratch: Tensor) -> Tensor:
    """Turn counters into draws, in place."""
    if part.device.type == "cpu":  # numpy shifts without the sign, and multiplies faster
        draws, moved = (t.numpy().view(np.uint64) for t in (part, scratch))
        for shift, factor in _MIX:
            np.right_shift(draws, shift, out=moved)
            np.bitwise_xor(draws, moved, out=draws)
            if factor != 1:
                np.multiply(draws, factor % (1 << 64), out=draws)
        return part
    for shift, factor in _MIX:
        # int64 shifts copy the sign bit: mask the copies off, or the bits are biased
        torch.bitwise_right_shift(part, shift, out=scratch)
        part.bitwise_xor_(scratch.bitwise_and_((1 << (64 - shift)) - 1))
        if factor != 1:
            part.mul_(factor)
    return part


def mixed(counters: Tensor) -> Tensor:
    """Return the draws that counters, an int64 tensor of any shape, turn into."""
    for shift, factor in _MIX:
        counters = (counters ^ ((counters >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return counters


def bits(keys: Sequence[int] | Tensor, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return `count` 64-bit draws for each key: int64, (M, count). Keys are numbers, or lie on the device."""
    starts = (keys if isinstance(keys, Tensor) else torch.tensor(list(keys), device=device))[:, None]
    out = torch.empty((len(keys), count), dtype=torch.int64, device=device)
    if out.device.type == "cpu":
        counters, chunk = _counters(count), _CHUNK
    else:  # not kept: a captured step may outlive a cache
        counters, chunk = torch.arange(count, device=device).mul_(GOLDEN), max(count, 1)
    scratch = torch.empty_like(out[:, :chunk])
    for start in range(0, count, chunk):
        part = out[:, start : start + chunk]
        torch.add(counters[start : start + chunk], starts, out=part)
        _mix(part, scratch[:, : part.shape[1]])
    return out


def uniform(keys: Sequence[int] | Tensor, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return draws from the open interval (0, 1): float64, (M, count), each an odd multiple of 2^-53."""
    return (bits(keys, count, device) >> 12).bitwise_and_((1 << 52) - 1).double().add_(0.5).mul_(2.0**-52)


def normal(keys: Sequence[int] | Tensor, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return draws from the standard normal distribution: float64, (M, count)."""
    return torch.special.ndtri(uniform(keys, count, device))


def gumbel(keys: Sequence[int] | Tensor, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return draws from the standard Gumbel distribution: float64, (M, count)."""
    return uniform(keys, count, device).log_().neg_().log_().neg_()


def permutation(keys: Sequence[int] | Tensor, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return a random order of range(count) for each key: int64, (M, count)."""
    return bits(keys, count, device).argsort(dim=1, stable=True)


def keep_mask(keys: Sequence[int] | Tensor, drop: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a mask that is 0 with probability `drop` and 1 elsewhere, drawn from 16-bit lanes.

    **Shape:** `drop` is (M,), on the device to draw on; the result is (M, *shape). Probabilities are
    rounded to multiples of 2^-16.
    """
    size = torch.Size(shape).numel()
    lanes = bits(keys, -(-size // 4), drop.device).view(torch.int16)[:, :size]
    mask = torch.empty(lanes.shape, dtype=dtype, device=drop.device)
    threshold = (drop * 65536).round().sub(32768).clamp(max=32767).to(torch.int32)[:, None]
    torch.ge(lanes, threshold, out=mask)
    return mask.view(len(keys), *shape)


def _scratch(count: int) -> tuple[Tensor, Tensor]:
    """Return this thread's buffers for `count` draws."""
    buffers: dict[int, tuple[Tensor, Tensor]] = _own.__dict__.setdefault("buffers", {})
    if count not in buffers:
        if len(buffers) >= 8:
            buffers.clear()
        buffers[count] = torch.empty(count, dtype=torch.int64), torch.empty(count, dtype=torch.int64)
    return buffers[count]


def keep_part(key: int, drop: float, start: int, out: Tensor) -> Tensor:
    """Fill `out` with the values from `start` on of the one-member mask that `keep_mask` draws for `key`.

    For the processor: of the draws nothing is allocated anew.
    """
    lead, size = start % 4, out.numel()
    if size > _PART:
        for i, part in enumerate(out.view(-1).split(_PART)):
            keep_part(key, drop, start + i * _PART, part)
        return out
    count = -(-(lead + size) // 4)
    # a later counter is a later start of the same sequence
    moved = (key + (start // 4) * GOLDEN + (1 << 63)) % (1 << 64) - (1 << 63)
    draws, scratch = _scratch(count)
    np.add(_counters(count).numpy(), moved, out=draws.numpy())
    lanes = _mix(draws, scratch).view(torch.int16)[lead : lead + size]
    return torch.ge(lanes.view_as(out), min(round(drop * 65536) - 32768, 32767), out=out)
