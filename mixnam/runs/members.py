"""The mean of several models that differ in their seed alone: of stored results, or of trained models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixnam.data.table import Array, Table
from mixnam.models import Settings
from mixnam.runs.files import write_file
from mixnam.runs.model import Model, NewRows, load_model, scores, train
from mixnam.runs.results import Arrays, Result


@dataclass(frozen=True)
class Mean(Result):
    """What the mean of `members` predicts and says, derived from their results: nothing is trained.

    `metrics` are of the test rows. `arrays` has what is the mean of the members' own: `test_prediction` (log-odds for
    classes) and, where they have curves, `grid_mean`, `grid_lower` and `grid_upper`, (n, P), over the first member's
    `grid`, with `grid_spread`, the members' standard deviation of `grid_mean` less its mean contribution; the same of
    missing values, (n,), where the table has some. Each point of a mean contribution lies within the mean bounds.
    `measures`, `history` and `cost`, which single models have, are empty.
    """

    members: tuple[Result, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the members' results."""
        return tuple(key for member in self.members for key in member.keys)


def mean_of(results: Sequence[Result]) -> Mean:
    """Return the mean of results whose runs differ in the seed alone; of a single one its own predictions.

    Raises ValueError for none, for a seed twice, for runs that differ in more, and for results without predictions,
    as those of credentialed data are.
    """
    if not results:
        raise ValueError("a mean needs one result at least, got none")
    first = results[0]
    for other in results[1:]:
        apart = [
            f"{name} ({a} and {b})"
            for name, a, b in zip(("data set", "data", "settings", "split"), _run(first), _run(other), strict=True)
            if a != b
        ]
        if apart:
            raise ValueError(f"members of a mean differ in their seed alone, these also in {', '.join(apart)}")
    seeds = [result.spec.seed for result in results]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"members of a mean need a seed each, got seeds {', '.join(map(str, seeds))}")
    bare = [result.key[:12] for result in results if "test_prediction" not in result.arrays]
    if bare:
        raise ValueError(f"no mean: no predictions are stored of {', '.join(bare)}")
    prediction = np.mean([result.arrays["test_prediction"].astype(float) for result in results], axis=0)
    key = hashlib.sha256(" ".join(result.key for result in results).encode()).hexdigest()
    curves = all("grid_mean" in result.arrays for result in results)
    told = {"test_prediction": prediction.astype(np.float32)}
    told |= mean_curves([result.arrays for result in results]) if curves else {}
    return Mean(
        first.spec, {"test": scores(prediction, first.targets, first.about.task)}, {}, {}, {}, first.provenance,
        key, first.revisions, folder=first.folder, fresh=(told, {}), table=first.table, members=tuple(results),
    )  # fmt: skip


def _run(result: Result) -> tuple[str, str, str, str]:
    spec = result.spec
    told = f"{spec.model} {spec.settings.changed()}"
    return spec.dataset, result.provenance["data_sha256"][:12], told, spec.split


def mean_curves(members: Sequence[Arrays]) -> Arrays:
    """Return the mean of members' curves over the first one's grid, with what else plots need of it.

    Beside them stand `grid_spread` and `missing_spread`, the members' standard deviation of the centred curves.
    """
    first = members[0]
    grid = first["grid"]
    kinds = [f"{where}_{kind}" for where in ("grid", "missing") for kind in ("mean", "lower", "upper")]
    names = [name for name in kinds if all(name in arrays for arrays in members)]
    stacked = {
        name: np.stack([_moved(arrays, name, grid) for arrays in members]) for name in names
    }  # (M, n, P), (M, n)
    centres = np.stack([arrays["contribution_mean"].astype(float) for arrays in members])  # (M, n)
    found = {name: values.mean(axis=0) for name, values in stacked.items()}
    found["grid_spread"] = _spread(stacked["grid_mean"] - centres[..., None])
    if "missing_mean" in stacked:
        found["missing_spread"] = _spread(stacked["missing_mean"] - centres)
    found["contribution_mean"] = centres.mean(axis=0)
    shown = ("grid", "density", "density_range", "rows_at", "missing_rows")
    told: Arrays = {k: first[k] for k in shown if k in first}
    return told | {name: values.astype(np.float32) for name, values in found.items()}


def _moved(arrays: Arrays, name: str, grid: NDArray[Any]) -> Array:
    """Return a member's curves at the values of another grid, (n, P), by interpolation where its own is another.

    What has no grid, (n,), stays.
    """
    own, curves = arrays["grid"], arrays[name].astype(float)
    if curves.ndim == 1 or np.array_equal(own, grid, equal_nan=True):
        return curves
    found = np.full(grid.shape, np.nan)
    for i, (at, values) in enumerate(zip(own, curves, strict=True)):
        here, there = ~np.isnan(at), ~np.isnan(grid[i])
        found[i, there] = np.interp(grid[i, there], at[here], values[here])
    return found


def _spread(values: Array) -> Array:
    """Return the members' standard deviation, (...), of values (M, ...): NaN where there is one member."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)


@dataclass
class Members:
    """Trained models as one that is their mean: on the additive scale, log-odds for a classification.

    Contributions add up with `intercept` to the prediction, and lie within `bounds`: all three are means over members.
    The extremes of averaged experts would be no bounds, since experts of two members have no common order.
    """

    models: tuple[Model, ...]

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("a mean needs one model at least, got none")
        first = self.models[0]
        for other in self.models[1:]:
            if _told(first) != _told(other):
                raise ValueError(f"members need the same features and target, got {_told(first)} and {_told(other)}")

    def predict(self, rows: NewRows, *, log_odds: bool = False) -> Array:
        """Return the mean prediction, (rows,); of classes the probability at the mean log-odds, or these."""
        found = np.mean([model.predict(rows, log_odds=True) for model in self.models], axis=0)
        plain = log_odds or self.models[0].about.task == "regression"
        return found if plain else 0.5 * (1 + np.tanh(found / 2))

    def contributions(self, rows: NewRows) -> pd.DataFrame:
        """Return the members' mean contribution of each feature; TypeError as `Model.contributions` raises it."""
        return _joined([model.contributions(rows) for model in self.models])

    def bounds(self, rows: NewRows) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the members' mean bounds, least and greatest; TypeError as `Model.bounds` raises it."""
        lower, upper = zip(*(model.bounds(rows) for model in self.models), strict=True)
        return _joined(lower), _joined(upper)

    def spread(self, rows: NewRows) -> pd.DataFrame:
        """Return the members' standard deviation of each contribution; NaN where there is one member.

        It holds constants that members share out between features in different ways.
        """
        return _joined([model.contributions(rows) for model in self.models], _spread)

    @property
    def intercept(self) -> float:
        """What the prediction is before contributions are added."""
        return float(np.mean([model.intercept for model in self.models]))

    def score(self, table: Table) -> dict[str, float]:
        """Return the metrics of predictions for a table's rows; raises what `Model.score` does."""
        self.models[0].score(table)  # checks the table
        return scores(self.predict(table, log_odds=True), table.y, table.task)

    def save(self, folder: Path | str) -> None:
        """Write each member into a folder of its own below `folder`, and last how many there are, in `mean.json`."""
        for number, model in enumerate(self.models):
            model.save(Path(folder) / f"member{number}")
        write_file(Path(folder) / "mean.json", f'{{"members": {len(self.models)}}}\n'.encode())


def _told(model: Model) -> str:
    return f"{model.about.target!r} ({model.about.task}) of {', '.join(model.about.features)}"


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=0))


def _joined(found: Sequence[pd.DataFrame], take: Callable[[Array], Array] = _mean) -> pd.DataFrame:
    """Return what `take` makes of the members' frames of one shape."""
    return pd.DataFrame(take(np.stack(found)), columns=found[0].columns, index=found[0].index)


def load_mean(folder: Path | str) -> Members:
    """Return the members that `Members.save` wrote; ValueError where there are none, or one cannot be read."""
    try:
        count = int(json.loads((Path(folder) / "mean.json").read_text(encoding="utf-8"))["members"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no members of a mean: {error}") from error
    return Members(tuple(load_model(Path(folder) / f"member{number}") for number in range(count)))


def train_mean(table: Table, settings: Settings, members: int = 4, *, seed: int = 0, **options: Any) -> Members:
    """Train members with the seeds from `seed` on, as `train` does with its `options`; ValueError for less than one."""
    if isinstance(members, bool) or not isinstance(members, int) or members < 1:
        raise ValueError(f"members must be an integer >= 1, got {members!r}")
    return Members(tuple(train(table, settings, seed=seed + number, **options) for number in range(members)))
