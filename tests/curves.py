"""Results with planted curves, and what is read off a picture of them."""

import dataclasses

import numpy as np

from mixnam.data.catalogue import checksum
from mixnam.models import make_settings
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec

X = np.linspace(0, 1, 61)
WAVE = np.sin(4 * np.pi * X)


def planted(law, upper, lower=None, model="MixNAM", experts=None, features=2):
    """Return a Result whose first feature has these curves, raised by 3, which centring must take off."""
    lower = upper if lower is None else lower
    grid = np.full((features, 70), np.nan)
    grid[0, :61], grid[1:, :2] = X, [-1, 1]
    curves = np.full((3, features, 70), np.nan)
    curves[:, 0, :61] = np.stack([upper, lower, (upper + lower) / 2]) + 3
    curves[:, 1:, :2] = [-1, 1]
    rows = np.column_stack([X, *(np.where(np.arange(61) % 3 == i % 3, 1.0, -1.0) for i in range(1, features))])
    contributions = rows.copy()
    contributions[:, 0] = np.where(rows[:, 1] > 0, upper, lower) + 3
    arrays = {
        "grid": grid,
        "contribution_mean": np.array([3.0] + [0.0] * (features - 1)),
        "density": np.ones((features, 50), int),
        "density_range": np.array([[0.0, 1.0]] + [[-1.0, 1.0]] * (features - 1)),
        "sample_x": rows,
        "sample_contributions": contributions,
        "relevance": np.tile([0.25, 0.0, 0.75], (features, 1)),
        "active": np.tile([0.5, 0.0, 1.0], (features, 1)),
    } | dict(zip(("grid_upper", "grid_lower", "grid_mean"), curves, strict=True))
    if experts is not None:
        arrays["grid_experts"] = np.full((features, 70, len(experts)), np.nan)
        arrays["grid_experts"][0, :61] = np.column_stack(experts)
    spec = RunSpec(law, make_settings(model, {}), "holdout", 0)
    return Result(spec, {}, {}, {}, {}, {"data_sha256": checksum(law)}, key="planted", fresh=(arrays, {}))


def without(result, *names):
    return dataclasses.replace(result, fresh=({k: v for k, v in result.arrays.items() if k not in names}, {}))


def lines(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}


def texts(ax):
    return [t.get_text() for t in ax.texts]


def legend(figure):
    (found,) = figure.legends
    return [t.get_text() for t in found.get_texts()]


def dashed(ax):
    return [np.asarray(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "--"]
