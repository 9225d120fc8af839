"""A trained model with all that it needs to predict new rows, and the one way that makes it: `train`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load_file, save
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, r2_score, roc_auc_score

import mixnam
from mixnam.data.columns import encode
from mixnam.data.splits import FOLDS, REPEATS, Split, split_rows, splits_of
from mixnam.data.table import About, Array, Table, TableError, Task
from mixnam.data.transforms import Preprocessing
from mixnam.models import (
    Featurewise,
    LibrarySettings,
    LinearSettings,
    MixNAM,
    Network,
    NetworkSettings,
    Settings,
    make_network,
    make_settings,
)
from mixnam.models.fast.blocked import evaluate
from mixnam.models.layers import Tensors
from mixnam.models.libraries import Fitted, Rows, fit_library, fit_linear, restore
from mixnam.runs.files import write_file
from mixnam.runs.machine import one_thread, pick_device
from mixnam.training.stacks import in_parts, largest_stack
from mixnam.training.trainer import Advance, Fold, Trained
from mixnam.training.tree_trainer import trainer_class

#: Version of what `Model.save` writes.
FORMAT = 1
Progress = Callable[[str], None]
NewRows = pd.DataFrame | Table | Array


def scores(prediction: Array, y: Array, task: Task) -> dict[str, float]:
    """Return a part's metrics: errors in the target's units, or scores of log-odds against labels.

    NaN stands for the R² of one row or of a constant target, and for rankings of a single class.
    """
    if task == "regression":
        error = prediction - y
        mse = float(np.mean(error**2))
        return {
            "rmse": math.sqrt(mse),
            "mse": mse,
            "mae": float(np.abs(error).mean()),
            "r2": float(r2_score(y, prediction)) if np.ptp(y) > 0 else math.nan,
        }
    probability = 0.5 * (1 + np.tanh(prediction / 2))
    both = len(np.unique(y)) == 2
    return {
        "auc": float(roc_auc_score(y, prediction)) if both else math.nan,
        "average_precision": float(average_precision_score(y, prediction)) if both else math.nan,
        "log_loss": float(log_loss(y, probability, labels=[0, 1])),
        "accuracy": float(accuracy_score(y, prediction > 0)),
    }


@dataclass
class Model:
    """A trained model: settings, fitted transforms, and a network's weights or what a library fitted.

    New rows are a data frame with the training table's columns, a `Table`, or an array (rows, n). Predictions and
    contributions are in the target's units, for a classification in log-odds of class 1 (`about.target` says which),
    but for `predict`, which then gives its probability.

    Attributes: `settings`; `about`, what the table was; `transforms`; `network` with its `tensors` on the CPU, or
    `fitted`; `metrics`, by part (train, validation, test) of the rows it was made from.
    """

    settings: Settings
    about: About
    transforms: Preprocessing
    network: Network | None
    tensors: Tensors
    fitted: Fitted | None
    metrics: dict[str, dict[str, float]]

    def predict(self, rows: NewRows, *, log_odds: bool = False) -> Array:
        """Return predictions, (rows,): in the target's units, or the probability of class 1 or its log-odds."""
        found = self._scaled(self._inputs(rows))
        return found if log_odds or self.about.task == "regression" else 0.5 * (1 + np.tanh(found / 2))

    def contributions(self, rows: NewRows) -> pd.DataFrame:
        """Return what each feature adds to the prediction, a column a feature; with `intercept` they sum to it.

        Raises TypeError for a model that is no sum over single features.
        """
        return self._frame(self._parts(self._inputs(rows)), rows)

    def bounds(self, rows: NewRows) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the least and the greatest value that each contribution can take. Equation (9).

        Raises TypeError for a model without experts.
        """
        if not isinstance(self.network, MixNAM):
            raise TypeError(f"{self.settings.model} has no bounds: only mixtures of experts bound a contribution")
        lower, upper = self._outputs(self._inputs(rows), "lower", "upper")
        scale = self.transforms.target_scale
        return self._frame(lower * scale, rows), self._frame(upper * scale, rows)

    def outputs(self, x: Array, *names: str) -> list[Array]:
        """Return what a network says of rows as `encode` gives them, (rows, n), in the target's units (log-odds).

        By name: `prediction` (rows,), `contributions`, `lower` and `upper` (rows, n).
        """
        scale, mean = self.transforms.target_scale, self.transforms.target_mean
        found = self._outputs(self.transforms.inputs(x), *names)
        return [v * scale + (mean if name == "prediction" else 0) for name, v in zip(names, found, strict=True)]

    @property
    def intercept(self) -> float:
        """What the prediction is before contributions are added; TypeError for a model that has none."""
        origin = np.zeros((1, len(self.about.features)), np.float32)
        return float(self._scaled(origin)[0] - self._parts(origin).sum())

    def score(self, table: Table) -> dict[str, float]:
        """Return the metrics of predictions for a table's rows against its target.

        Raises TypeError for what is no `Table`, TableError for a table with another target.
        """
        _check_table(table)
        if (table.task, table.target) != (self.about.task, self.about.target):
            raise TableError(
                f"the table's target is {table.target!r} ({table.task}), the model predicts {self.about.target!r} "
                f"({self.about.task}); read the table with the same target and task"
            )
        return scores(self.predict(table, log_odds=True), table.y, self.about.task)

    def save(self, folder: Path | str) -> None:
        """Write the model into a folder: `model.json`, its arrays, and where a library has one its own text file.

        The transforms hold up to 2,000 quantiles of each column: a model of private data is private, too.
        """
        folder = Path(folder)
        arrays = {f"transforms.{k}": v for k, v in self.transforms.state().items()}
        if self.fitted is None:
            arrays |= {f"weights.{k}": t[0].numpy() for k, t in self.tensors.items()}
        else:
            arrays |= {f"library.{k}": v for k, v in self.fitted.state.items()}
        content = {
            "format": FORMAT,
            "mixnam": mixnam.__version__,
            "model": self.settings.model,
            "settings": self.settings.all(),
            "about": self.about.to_json(),
            "metrics": {k: {m: None if v != v else v for m, v in part.items()} for k, part in self.metrics.items()},
        }
        write_file(folder / "arrays.safetensors", save({k: np.array(v, order="C") for k, v in arrays.items()}))
        if self.fitted is not None and self.fitted.text:
            write_file(folder / "library.json", self.fitted.text.encode())
        write_file(folder / "model.json", (json.dumps(content, indent=1) + "\n").encode())

    def _inputs(self, rows: NewRows) -> NDArray[np.float32]:
        return self.transforms.inputs(encode(rows, self.about))

    def _outputs(self, inputs: NDArray[np.float32], *names: str) -> list[Array]:
        """Return what the network's outputs call so, on its scale, with the rows first.

        They are computed in float64: to 1e-9 they do not depend on which rows are asked for together.
        """
        assert self.network is not None
        tensors = {name: tensor.double() for name, tensor in self.tensors.items()}
        with torch.no_grad():
            parts = [
                [getattr(out, name) for name in names]
                for out in evaluate(self.network, tensors, torch.tensor(inputs, dtype=torch.float64)[None])
            ]
        return [torch.cat(part, dim=1)[0].numpy() for part in zip(*parts, strict=True)]

    def _scaled(self, inputs: NDArray[np.float32]) -> Array:
        if self.fitted is not None:
            found = self.fitted.predict(inputs.astype(float))
        else:
            (found,) = self._outputs(inputs, "prediction")
        return found * self.transforms.target_scale + self.transforms.target_mean

    def _parts(self, inputs: NDArray[np.float32]) -> Array:
        if self.fitted is not None and self.fitted.contributions is not None:
            found = self.fitted.contributions(inputs.astype(float))
        elif isinstance(self.network, Featurewise):
            (found,) = self._outputs(inputs, "contributions")
        else:
            raise TypeError(f"{self.settings.model} is no sum over single features: it has no contributions")
        return found * self.transforms.target_scale

    def _frame(self, values: Array, rows: NewRows) -> pd.DataFrame:
        index = rows.index if isinstance(rows, pd.DataFrame) else None
        return pd.DataFrame(values, columns=list(self.about.features), index=index)


def load_model(folder: Path | str) -> Model:
    """Return the model that `Model.save` wrote; ValueError names a file that it did not write, or a later format."""
    folder = Path(folder)
    try:
        content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}; update mixnam")
        arrays = load_file(folder / "arrays.safetensors")
        parts: dict[str, dict[str, Any]] = {"transforms": {}, "weights": {}, "library": {}}
        for name, array in arrays.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = array
        settings, about = make_settings(content["model"], content["settings"]), About.from_json(content["about"])
        network = fitted = None
        if parts["weights"]:
            network = make_network(settings, len(about.features), gaps=bool(about.gaps))
        else:
            assert isinstance(settings, LibrarySettings)
            text = folder / "library.json"
            fitted = restore(settings, parts["library"], text.read_text(encoding="utf-8") if text.exists() else "")
        tensors = {name: torch.tensor(weights)[None] for name, weights in parts["weights"].items()}
        transforms = Preprocessing.restored(parts["transforms"])
        metrics = {k: {m: math.nan if v is None else v for m, v in p.items()} for k, p in content["metrics"].items()}
        return Model(settings, about, transforms, network, tensors, fitted, metrics)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever a damaged file makes of it
        raise ValueError(f"{folder} holds no model of mixnam that can be read: {error}") from error


class Member:
    """One training of a group: a table's rows, transforms and inputs. `name` tells it apart, `label` is for people."""

    def __init__(
        self, table: Table, settings: Settings, rows: Split, seed: int, name: str = "", label: str = "",
        weights: Array | None = None,
    ) -> None:  # fmt: skip
        self.table, self.settings, self.split, self.seed = table, settings, rows, seed
        self.name, self.label, self.weights = name, label or f"{table.name} {settings.model} seed {seed}", weights
        self.preprocessing = Preprocessing(table, rows.train, seed, settings.quantile_rows)
        self.x = self.preprocessing.inputs(table.x)
        self.x_train = self.x[rows.train]
        if table.many_valued:
            self.x_train = self.preprocessing.training_inputs(table, rows.train, seed)
        self.y = self.preprocessing.scale_target(table.y)


@dataclass
class Job:
    """How to train: where, whom to tell, where an unfinished training is kept, how many at a time, and until when.

    `advance` is told of networks' epochs: of each member, `Trainer.last_epoch()` in all.
    """

    device: torch.device
    progress: Progress | None = None
    checkpoint: Path | None = None
    stack: int | None = None
    deadline: float = math.inf
    advance: Advance | None = None


def train(
    table: Table,
    settings: Settings,
    split: str | None = None,
    seed: int = 0,
    *,
    sample_weight: ArrayLike | None = None,
    validation: ArrayLike | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Model:
    """Train a model on a table's training rows, and take its metrics on all parts.

    `split` names one of the table's: `holdout`, or `fold0` ... (default: the first). With `validation`, the numbers of
    the rows that pick the best epoch (or a mask), there is no test part: all other rows are trained on.
    `sample_weight`, (rows,), on any scale, weighs each training row's error and penalties, and each validation row in
    the score that picks a network's epoch (validation rows that all weigh 0 count alike). Transforms and metrics do not
    see it. On a CPU the same arguments give the same bits.

    Raises TypeError for what is no table or no settings, ValueError for a split, weights or rows that do not fit the
    table, or parts with a single class, FloatingPointError where training diverged.

    **Examples**

    >>> from mixnam.data import catalogue
    >>> from mixnam.models import NAMSettings
    >>> model = train(catalogue.load("diabetes"), NAMSettings(hidden=(8,), epochs=2, batch_size=64))
    >>> sorted(model.metrics), model.contributions(catalogue.load("diabetes")).shape
    (['test', 'train', 'validation'], (442, 10))
    """
    _check_table(table)
    if not isinstance(settings, Settings):
        raise TypeError(f"settings must be a model's settings, as make_settings gives them, got {settings!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be an integer >= 0, got {seed!r}")
    where = pick_device(device)
    rows = _parts(table, split, seed, validation)
    weights = None if sample_weight is None else _weights(sample_weight, table, rows)
    _check_parts(table, settings, rows, weights)
    member = Member(table, settings, rows, seed, weights=weights)
    with one_thread(where):
        ((_, model, trained, _),) = train_members([member], Job(where, progress))
    if math.isinf(trained.best_score):
        raise FloatingPointError(f"{member.label}: training diverged, scores are not finite; lower learning_rate")
    prediction = model._scaled(member.x)
    parts = {k: rows for k, rows in vars(member.split).items() if len(rows)}
    model.metrics = {k: scores(prediction[rows], table.y[rows], table.task) for k, rows in parts.items()}
    return model


def _check_table(table: object) -> None:
    if not isinstance(table, Table):
        raise TypeError(f"table must be a Table, as read_table gives it, got {type(table).__name__}")


def _weights(given: ArrayLike, table: Table, parts: Split) -> Array:
    """Return weights whose mean over the training rows is 1."""
    weights = np.asarray(given, np.float64)
    sound = weights.shape == table.y.shape and np.isfinite(weights).all() and (weights >= 0).all()
    if not sound or not weights[parts.train].any():
        raise ValueError(
            f"sample_weight must be {len(table.y)} finite numbers >= 0, not all of them 0 on training rows, "
            f"got {given!r}"
        )
    return weights / weights[parts.train].mean()


def _parts(table: Table, split: str | None, seed: int, validation: ArrayLike | None) -> Split:
    rows = np.arange(len(table.y))
    if validation is not None:
        if split is not None:
            raise ValueError(f"split is {split!r}, but validation already says which rows are not trained on")
        chosen = np.asarray(validation)
        if chosen.dtype == bool and chosen.shape == rows.shape:
            chosen = rows[chosen]
        if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer) or not np.isin(chosen, rows).all():
            raise ValueError(f"validation must be row numbers from 0 to {len(rows) - 1}, got {validation!r}")
        return Split(np.setdiff1d(rows, chosen), np.unique(chosen), rows[:0])
    known = splits_of(table) + (REPEATS if table.folds is None and splits_of(table) == FOLDS else ())
    if split is not None and split not in known:
        raise ValueError(f"split of {table.name} must be one of {', '.join(known)}, got {split!r}")
    return split_rows(table, known[0] if split is None else split, seed)


def _check_parts(table: Table, settings: Settings, parts: Split, weights: Array | None) -> None:
    by_loss = isinstance(settings, NetworkSettings) and settings.selection == "log_loss"
    for name, part, classes in (("training", parts.train, 2), ("validation", parts.validation, 1 if by_loss else 2)):
        weighing = np.ones(len(part)) if weights is None else weights[part]
        counted = part[weighing > 0] if weighing.any() else part
        if len(counted) < 2 or (table.task == "classification" and len(np.unique(table.y[counted])) < classes):
            raise ValueError(
                f"{table.name}: the {name} part has {len(counted)} rows"
                + (" that weigh more than 0" if len(counted) < len(part) else "")
                + (" of one class" if len(counted) > 1 else "")
                + "; give more rows, or other rows for validation"
            )


def train_members(members: list[Member], job: Job) -> Iterator[tuple[Member, Model, Trained, int]]:
    """Train a group side by side, or fit its members one after another; with each model how many were together."""
    settings, table = members[0].settings, members[0].table
    if not isinstance(settings, LibrarySettings):
        network = make_network(settings, len(table.features), gaps=bool(table.gaps))

        def side_by_side(part: list[Member]) -> Iterator[tuple[Member, Model, Trained, int]]:
            for member, trained in zip(part, _train(part, network, job), strict=True):
                tensors = {k: t.cpu() for k, t in trained.tensors.items()}
                yield member, _model(member, network, tensors, None), trained, len(part)

        largest = largest_stack(network, len(members[0].x), job.device, job.stack)
        yield from in_parts(members, largest, side_by_side, job.progress or (lambda line: None))
        return
    for member in members:
        started = time.perf_counter()
        rows, validation = member.split.train, member.split.validation
        x, y = member.x_train.astype(float), member.y
        if member.weights is not None:
            x, rows = x[member.weights[rows] > 0], rows[member.weights[rows] > 0]  # EBM takes no weight of 0
        weights = None if member.weights is None else member.weights[rows]
        if isinstance(settings, LinearSettings):
            gaps = bool(table.gaps)
            tensors, rounds = fit_linear(x, y[rows], table.task, weights, gaps), 1
            model = _model(member, make_network(settings, len(table.features), gaps=gaps), tensors, None)
        else:
            parts = Rows(x, y[rows], member.x[validation].astype(float), y[validation], weights)
            fitted = fit_library(settings, parts, table.task, member.seed)
            tensors, rounds, model = {}, fitted.rounds, _model(member, None, {}, fitted)
        seconds = time.perf_counter() - started
        yield member, model, Trained(tensors, 0.0, rounds, rounds, False, [], seconds, rounds), 1


def _model(member: Member, network: Network | None, tensors: Tensors, fitted: Fitted | None) -> Model:
    return Model(member.settings, member.table.about, member.preprocessing, network, tensors, fitted, {})


def _train(members: list[Member], network: Network, job: Job) -> list[Trained]:
    def tensor(values: Sequence[NDArray[Any]]) -> torch.Tensor:
        return torch.tensor(np.stack(values), dtype=torch.float32, device=job.device)

    weights = [(m.weights[m.split.train], m.weights[m.split.validation]) for m in members if m.weights is not None]
    fold = Fold(
        tensor([m.x_train for m in members]),
        tensor([m.y[m.split.train] for m in members]),
        tensor([m.x[m.split.validation] for m in members]),
        tensor([m.y[m.split.validation] for m in members]),
        tensor([training for training, _ in weights]) if weights else None,
        tensor([validation for _, validation in weights]) if weights else None,
    )
    settings = [m.settings for m in members if isinstance(m.settings, NetworkSettings)]
    seeds, names = [m.seed for m in members], [m.name for m in members]
    trainer = trainer_class(settings[0])(network, settings, seeds, fold, members[0].table.task, names=names)
    label = members[0].label + (f" and {len(members) - 1} more" if len(members) > 1 else "")
    say = None if job.progress is None else lambda line: job.progress(f"{label}: {line}")  # type: ignore[misc]
    return trainer.run(say, job.checkpoint, deadline=job.deadline, advance=job.advance)
