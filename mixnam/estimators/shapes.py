"""What members say of their features as one: centres, mean curves over a sample of rows, and mean measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from mixnam.data.table import Array, Table
from mixnam.explain.measures import FeaturewiseExplainer, importance
from mixnam.models import Featurewise
from mixnam.runs.members import Members, mean_curves
from mixnam.runs.model import Model
from mixnam.runs.results import Arrays
from mixnam.runs.shown import curve_grid, grid_inputs, named, rows_shown

#: Training rows that centres and curves are means over.
SAMPLE = 1000


class Shapes:
    """What explanations need of the training rows: the members' mean contributions, and curves, computed once.

    Attributes: `centres` (classes or 1, members, n).
    """

    def __init__(self, centres: Array, sample: Array, shown: Arrays, curves: tuple[Arrays, ...] | None) -> None:
        self.centres, self._sample, self._shown, self._curves = centres, sample, shown, curves

    @classmethod
    def kept(cls, members: Sequence[Members], table: Table, seed: int) -> Self:
        """Return what is kept of a table: how many rows lie where, and a sample of its rows for curves."""
        first = members[0].models[0]
        rows = np.random.default_rng(seed).permutation(len(table.y))[:SAMPLE]
        sample = table.x[np.sort(rows)]
        found = [[m.outputs(sample, "contributions")[0].mean(axis=0) for m in of.models] for of in members]
        grid = curve_grid(table, first.transforms, first.tensors)
        return cls(np.array(found), sample, rows_shown(table, grid), None)

    def curves(self, members: Sequence[Members]) -> tuple[Arrays, ...]:
        """Return each score's curves as `curves` has them."""
        if self._curves is None:
            self._curves = tuple(curves(of, self._shown, self._sample) for of in members)
        return self._curves

    def state(self, members: Sequence[Members]) -> Arrays:
        """Return what `restored` takes; no row of the table is in it."""
        found = {f"{k}.{name}": array for k, of in enumerate(self.curves(members)) for name, array in of.items()}
        return found | {"centres": self.centres}

    @classmethod
    def restored(cls, arrays: Arrays) -> Self:
        """Return what `state` told."""
        found: list[Arrays] = [{} for _ in arrays["centres"]]
        for name, array in arrays.items():
            number, _, rest = name.partition(".")
            if rest:
                found[int(number)][rest] = array
        return cls(arrays["centres"], np.empty((0, 0)), {}, tuple(found))


def _explainer(model: Model, x: Array) -> FeaturewiseExplainer:
    """Return who asks a model of rows x, (rows, n), as `encode` gives them, in float64."""
    assert isinstance(model.network, Featurewise)
    tensors = {name: tensor.double() for name, tensor in model.tensors.items()}
    inputs = torch.tensor(model.transforms.inputs(x), dtype=torch.float64)
    return FeaturewiseExplainer(model.network, tensors, inputs, model.transforms.target_scale, "")


def curves(members: Members, shown: Arrays, sample: Array) -> Arrays:
    """Return the mean curves of members with their spread, by name as `Mean.arrays` has them, and `importance`, (n,).

    `shown` has the grid and where the training rows lie, `sample`, (rows, n), the rows that means are taken over.
    """
    each, contributions = [], []
    for model in members.models:
        told, transforms, grid = _explainer(model, sample), model.transforms, shown["grid"]
        scale = transforms.target_scale
        found = told.curves(torch.tensor(grid_inputs(grid, transforms, told.network.gaps), dtype=torch.float64))
        lines = {name: found[name].numpy() * scale for name in ("mean", "lower", "upper")}
        contributions.append(told.rows()["contributions"].numpy() * scale)
        each.append(shown | named(lines, grid, transforms) | {"contribution_mean": contributions[-1].mean(axis=0)})
    mean = np.mean(contributions, axis=0)
    return mean_curves(each) | {"importance": np.array(importance(mean)["per_feature"])}


def average_measures(models: Sequence[Model], x: Array) -> pd.DataFrame:
    """Return a line a feature: measures on rows x, (rows, n), averaged over models."""
    found = []
    for model in models:
        told = _explainer(model, x)
        measures: dict[str, Any] = told.measures({k: v.numpy() for k, v in told.rows().items()})
        found.append(
            pd.DataFrame(
                {
                    "importance": measures["importance"]["per_feature"],
                    "bounds_width": measures["bounds"]["width_per_feature"],
                    "additivity": measures["additivity"]["per_feature"],
                    "tightness": measures["tightness"]["per_feature"],
                    "variability": measures["variability"]["per_feature"],
                },
                dtype=float,
            )
        )
    mean = sum(found[1:], start=found[0]) / len(found)
    return mean.set_axis(pd.Index(models[0].about.features, name="feature"))
