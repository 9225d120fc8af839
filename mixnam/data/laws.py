"""The synthetic laws of Section 4.4 and Appendix E, and two of ours: each a data set whose truth is known.

Rows come from the counter-based hash alone, so they belong to no run's seed; they are rounded, because
libraries differ in the last bits of a sine or of a normal draw, and a result's key depends on every bit.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from mixnam import randomness
from mixnam.data.download import fetch as fetch
from mixnam.data.table import Array, Table
from mixnam.data.table import DataError as DataError
from mixnam.data.table import DataMissing as DataMissing

ROWS = 10_000
#: Rows of `sim_variability_<NC>` per modifying feature, and T, the range that all of them share.
ROWS_PER_MODIFIER, RANGE = 2000, 64.0
#: Standard deviation of the noise; the paper gives none for E.2.
NOISE = 0.1
#: Evenly spaced x1 of a two-feature law's probe; fresh rows of another's.
PROBE_POINTS, PROBE_ROWS = 201, 2000


def _parts(name: str) -> tuple[str, int]:
    """Return a law's kind and number: ("sparse", 25), ("unimodal", 0)."""
    if name not in SIMULATIONS:
        raise ValueError(f"simulation must be one of {', '.join(SIMULATIONS)}, got {name!r}")
    kind, _, number = name.removeprefix("sim_").partition("_")
    return kind, int(number or 0)


def truth(name: str, x: Array) -> Array:
    """Return a law's value without noise at raw features: (rows, n) → (rows,).

    y = sin(4πx1) + x2 (`sim_unimodal`, `sim_noise`), x2·sin(4πx1) + x2 (`sim_multimodal`, `sim_sparse_*`),
    Σ_i (T/NC)·x_i·sin(4πx1) (`sim_variability_*`, NC modifiers), and x2 (`sim_hidden`, the mean over its switch).

    Raises ValueError for an unknown law, or rows that do not have its features.
    """
    kind, number = _parts(name)
    columns = 1 + (number if kind == "variability" else 1)
    if x.ndim != 2 or x.shape[1] != columns:
        raise ValueError(f"x of {name} must be (rows, {columns}), got {x.shape}")
    wave, x2 = np.sin(4 * np.pi * x[:, 0]), x[:, 1]
    if kind in ("unimodal", "noise"):
        return wave + x2
    if kind == "hidden":
        return x2.copy()
    if kind == "variability":
        return RANGE / number * x[:, 1:].sum(axis=1) * wave
    return x2 * wave + x2


def spread(name: str, x1: Array) -> Array:
    """Return the standard deviation of y given x1, x2's part removed: any shape → the same shape.

    0.1 + x1 for `sim_noise`; (sin²(4πx1) + 0.1²)^½ for `sim_hidden`. Raises ValueError for any other law.
    """
    if name == "sim_noise":
        return NOISE + x1
    if name == "sim_hidden":
        return np.hypot(np.sin(4 * np.pi * x1), NOISE)
    raise ValueError(f"spread is known for sim_noise and sim_hidden, got {name!r}")


def quantiles(law: str, x1: Array) -> list[Array]:
    """Return the 1 % and the 99 % quantile of x1's true contribution given x1 (`sim_variability_<NC>`).

    It is (T/NC)·S·sin(4πx1), where S, the sum of NC random signs, is 2·Binomial(NC, 1/2) - NC. Equation (20).
    """
    from scipy import stats  # half a second, for one figure

    count = int(law.rsplit("_", 1)[1])
    sums = 2 * stats.binom.ppf([0.01, 0.99], count, 0.5) - count
    return [RANGE / count * s * np.abs(np.sin(4 * np.pi * x1)) for s in sums]


def _key(name: str, column: str) -> list[int]:
    return [randomness.key(0, f"simulation/{name}/{column}")]


def _sign(name: str, column: str, rows: int) -> Array:
    signs: Array = np.where(randomness.uniform(_key(name, column), rows)[0].numpy() < 0.5, -1.0, 1.0)
    return signs


def _features(name: str, rows: int, stream: str = "") -> Array:
    """Draw rows of a law's features, (rows, n), from streams named after `stream` and the feature."""
    kind, number = _parts(name)
    x1 = np.round(randomness.uniform(_key(name, f"{stream}x1"), rows)[0].numpy(), 6)
    if kind == "sparse":  # counted, not drawn: 1 % is exactly so many rows
        x2 = np.full(rows, -1.0)
        x2[randomness.permutation(_key(name, f"{stream}x2"), rows)[0, : round(number / 100 * rows)].numpy()] = 1.0
        return np.column_stack([x1, x2])
    modifiers = range(number if kind == "variability" else 1)
    return np.column_stack([x1, *(_sign(name, f"{stream}x{i + 2}", rows) for i in modifiers)])


def _probe(name: str) -> Array:
    if _parts(name)[0] == "variability":
        return _features(name, PROBE_ROWS, "probe/")
    x1 = np.linspace(0, 1, PROBE_POINTS)
    return np.column_stack([np.tile(x1, 2), np.repeat([-1.0, 1.0], PROBE_POINTS)])


@cache
def generate(name: str) -> Table:
    """Return a law's rows as a data set, always the same; ValueError for an unknown law.

    Its `probe`: each pair of 201 evenly spaced x1 with x2 = -1, then with x2 = +1; of
    `sim_variability_*`, 2,000 fresh rows.
    """
    kind, number = _parts(name)
    rows = ROWS_PER_MODIFIER * number if kind == "variability" else ROWS
    x = _features(name, rows)
    scale = spread(name, x[:, 0]) if kind == "noise" else NOISE
    y = truth(name, x) + np.round(scale * randomness.normal(_key(name, "noise"), rows)[0].numpy(), 6)
    if kind == "hidden":
        y += _sign(name, "s", rows) * np.sin(4 * np.pi * x[:, 0])
    return Table(
        name, SIMULATIONS[name], "regression", "rmse", x, np.round(y, 9), tuple(f"x{i + 1}" for i in range(x.shape[1])),
        "y", probe=_probe(name), source="simulated",
    )  # fmt: skip


#: Titles of the synthetic laws; the laws themselves are in `simulations`, which is loaded when one is asked for.
SIMULATIONS = {
    "sim_unimodal": "Simulation: one mode",
    "sim_multimodal": "Simulation: two modes",
    **{f"sim_sparse_{share}": f"Simulation: two modes, {share} % of the rows in one" for share in (25, 5, 1)},
    **{f"sim_variability_{count}": f"Simulation: modifiers of x1, {count} of them" for count in (1, 2, 4, 8, 16)},
    "sim_noise": "Simulation: noise that grows with x1",
    "sim_hidden": "Simulation: two modes, their switch not among the features",
}
