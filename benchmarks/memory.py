"""Memory: what a step takes at its peak, what it is expected to take, and how many rows fit."""

from __future__ import annotations

import os
from pathlib import Path

from mixnam.models import MixtureSettings

CEILING = 3 << 30  # bytes: Housing whole, element-wise; more rows would say nothing new and take minutes
_FLOAT = 4
_PRODUCTS = 3  # of the element-wise formulation at once: one forward, or two gradients and one in the making
_COPIES = 6  # of each layer's activations, with gradients and masks


def _kib(path: str, name: str) -> int | None:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def total() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limit() -> int:
    """Return the bytes that one contestant may take: half of what is free, `CEILING` at most."""
    free = _kib("/proc/meminfo", "MemAvailable")
    return min(CEILING, (free * 1024 if free is not None else total()) // 2)


def estimate(contestant: str, settings: MixtureSettings, features: int, rows: int) -> int:
    """Return roughly how many bytes a step of `rows` rows takes."""
    n, d = features, settings.width
    wide = d * max(d if settings.layers > 1 else 1, settings.experts)
    if contestant in ("elementwise", "authors"):
        return rows * n * wide * _FLOAT * _PRODUCTS
    return rows * n * d * settings.layers * _FLOAT * _COPIES


def rows_that_fit(contestant: str, settings: MixtureSettings, features: int, allowed: int) -> int:
    """Return the largest batch, at most the settings' own, that is expected to take `allowed` bytes or less.

    Raises MemoryError where not even two rows fit.
    """
    rows = min(settings.batch_size, allowed // estimate(contestant, settings, features, 1))
    if rows < 2:
        need = 2 * estimate(contestant, settings, features, 1) / 2**20
        raise MemoryError(
            f"{contestant} needs {need:.0f} MB for two rows, {allowed / 2**20:.0f} are allowed: free some"
        )
    return rows
