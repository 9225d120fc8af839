"""`fit`: the one way from specs to results, for networks and library models alike."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, r2_score, roc_auc_score

from mixnam import randomness
from mixnam.data import catalogue
from mixnam.data.splits import Split, split_rows
from mixnam.data.table import Array, DataError, Table
from mixnam.data.transforms import Preprocessing
from mixnam.explain import cells
from mixnam.explain.measures import (
    MAX_EXPERTS,
    REVISION,
    SAMPLE,
    SAMPLE_FIRST,
    FeaturewiseExplainer,
    explainer,
    importance,
)
from mixnam.explain.surfaces import pair_surfaces
from mixnam.models import LibrarySettings, LinearSettings, Network, NetworkSettings, make_network
from mixnam.models.layers import Tensors
from mixnam.models.libraries import Fitted, Rows, fit_library, fit_linear
from mixnam.models.pairs import Pairwise
from mixnam.runs.machine import peak_mb, pick_device, provenance, reset_peak
from mixnam.runs.results import Arrays, Result
from mixnam.runs.spec import RunSpec, stacks
from mixnam.training.stacks import in_parts, largest_stack
from mixnam.training.trainer import Fold, OutOfTime, Trained
from mixnam.training.tree_trainer import trainer_class

Progress = Callable[[str], None]
#: Names the file of a spec's unfinished training, or of the stack that it belongs to.
Checkpoint = Callable[[RunSpec, bool], Path]


def _metrics(prediction: Array, y: Array, dataset: Table) -> dict[str, float]:
    """Return a part's scores: errors in the target's units, or scores of log-odds against labels."""
    if dataset.task == "regression":
        error = prediction - y
        mse = float(np.mean(error**2))
        return {
            "rmse": math.sqrt(mse),
            "mse": mse,
            "mae": float(np.abs(error).mean()),
            "r2": float(r2_score(y, prediction)),
        }
    probability = 0.5 * (1 + np.tanh(prediction / 2))
    return {
        "auc": float(roc_auc_score(y, prediction)),
        "average_precision": float(average_precision_score(y, prediction)),
        "log_loss": float(log_loss(y, probability)),
        "accuracy": float(accuracy_score(y, prediction > 0)),
    }


class _Member:
    """One spec with its rows, transforms and inputs."""

    def __init__(self, spec: RunSpec, dataset: Table) -> None:
        self.spec, self.dataset = spec, dataset
        self.split: Split = split_rows(dataset, spec.split, spec.seed)
        self.preprocessing = Preprocessing(dataset, self.split.train, spec.seed, spec.settings.quantile_rows)
        self.x = self.preprocessing.inputs(dataset.x)
        self.y = self.preprocessing.scale_target(dataset.y)


def fit(
    specs: Sequence[RunSpec],
    device: str = "auto",
    preset: str = "",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    stack: int | None = None,
    deadline: float = math.inf,
) -> Iterator[Result]:
    """Train what the specs describe and yield a Result for each, as they come.

    On a CPU training runs on one thread and alone, so that the same spec gives the same bits; several jobs
    make use of several cores. On a GPU networks that differ only in seed or `settings.PER_MEMBER` train side
    by side, as many as fit; `stack` says how many at most, on either device. `preset` is only recorded. With
    `checkpoint`, an interrupted run of networks goes on from the file that it names.

    Raises DataMissing or DataError for data that cannot be used, FloatingPointError where training
    diverged from the first epoch, MemoryError where a network does not fit, OutOfTime where the clock
    (`time.monotonic`) passes `deadline` during training.
    """
    where = pick_device(device)
    threads = torch.get_num_threads()
    if where.type == "cpu":
        torch.set_num_threads(1)
    try:
        for group in stacks(specs, where.type != "cpu" or (stack or 1) > 1):
            dataset = catalogue.load(group[0].dataset)
            reset_peak(where)
            members = [_Member(spec, dataset) for spec in group]
            diverged = []
            job = _Job(where, progress, checkpoint, stack, deadline)
            for member, model, outcome, together in _trained(members, job):
                if together > 1 and time.monotonic() > deadline:
                    raise OutOfTime(f"{member.spec}: trained, its measures are left for the next time")
                try:
                    if math.isinf(outcome.best_score):
                        raise FloatingPointError
                    result = _result(member, model, outcome, where, preset, together)
                except FloatingPointError:  # the others of its stack are well
                    diverged.append(member.spec)
                else:
                    yield result
            if diverged:
                rate = diverged[0].settings.learning_rate  # type: ignore[attr-defined]
                names = "; ".join(map(str, diverged))
                raise FloatingPointError(
                    f"{names}: training diverged, scores or predictions are not finite; lower learning_rate ({rate:g})"
                )
    finally:
        torch.set_num_threads(threads)


def same_data(result: Result) -> Table:
    """Return the data that a result was trained on; DataError where what is at hand is something else."""
    dataset = catalogue.load(result.spec.dataset)
    theirs = result.provenance["data_sha256"]
    if dataset.checksum != theirs:
        raise DataError(
            f"{result.key[:12]} {result.spec}: it was trained on other data (SHA-256 {theirs[:12]}) than are at hand "
            f"({dataset.checksum[:12]}); put back the files it was trained on"
        )
    return dataset


def measure_again(result: Result, device: str = "auto") -> Result:
    """Take a stored result's measures and curves again from its weights; scores and predictions stay.

    This is how results trained before a change of `explanations` get today's measures.

    Raises UnreadableResult where the weights were not stored, DataError where other data are at hand.
    """
    where = pick_device(device)
    member = _Member(result.spec, same_data(result))
    network = make_network(result.spec.settings, member.x.shape[1])
    tensors = {k: torch.tensor(w, device=where)[None] for k, w in result.weights.items()}
    _, measures, arrays = _explain(member, network, tensors, where)
    if not catalogue.credentialed(result.spec.dataset):
        arrays["test_prediction"] = result.arrays["test_prediction"]
    return dataclasses.replace(result, measures=measures, fresh=(arrays, result.weights))


@dataclass
class _Job:
    """How to train: what `fit` was told."""

    device: torch.device
    progress: Progress | None
    checkpoint: Checkpoint | None
    stack: int | None
    deadline: float


def _trained(members: list[_Member], job: _Job) -> Iterator[tuple[_Member, Network | Fitted, Trained, int]]:
    """Train a group side by side, or fit its members one after another through their library."""
    settings = members[0].spec.settings
    if not isinstance(settings, LibrarySettings):
        network = make_network(settings, members[0].x.shape[1])
        largest = largest_stack(network, len(members[0].x), job.device, job.stack)

        def train(part: list[_Member]) -> Iterator[tuple[_Member, Network | Fitted, Trained, int]]:
            for member, trained in zip(part, _train(part, network, job), strict=True):
                yield member, network, trained, len(part)

        yield from in_parts(members, largest, train, job.progress or (lambda line: None))
        return
    for member in members:
        started = time.perf_counter()
        rows, validation = member.split.train, member.split.validation
        x, y = member.x.astype(float), member.y
        if isinstance(settings, LinearSettings):
            model: Network | Fitted = make_network(settings, x.shape[1])
            tensors = fit_linear(x[rows], y[rows], member.dataset.task)
            rounds = 1
        else:
            parts = Rows(x[rows], y[rows], x[validation], y[validation])
            model = fit_library(settings, parts, member.dataset.task, member.spec.seed)
            tensors, rounds = {}, model.rounds
        outcome = Trained(tensors, 0.0, rounds, rounds, False, [], time.perf_counter() - started, rounds)
        yield member, model, outcome, 1


def _train(members: list[_Member], network: Network, job: _Job) -> list[Trained]:
    def tensor(values: Sequence[NDArray[Any]]) -> torch.Tensor:
        return torch.tensor(np.stack(values), dtype=torch.float32, device=job.device)

    fold = Fold(
        tensor([m.x[m.split.train] for m in members]),
        tensor([m.y[m.split.train] for m in members]),
        tensor([m.x[m.split.validation] for m in members]),
        tensor([m.y[m.split.validation] for m in members]),
    )
    settings = [m.spec.settings for m in members]
    assert all(isinstance(s, NetworkSettings) for s in settings)
    seeds, names = [m.spec.seed for m in members], [m.spec.key for m in members]
    trainer = trainer_class(settings[0])(network, settings, seeds, fold, members[0].dataset.task, names=names)  # type: ignore[arg-type]
    label = f"{members[0].spec}" + (f" and {len(members) - 1} more" if len(members) > 1 else "")
    say = None if job.progress is None else lambda line: job.progress(f"{label}: {line}")  # type: ignore[misc]
    stacked = job.device.type != "cpu" or (job.stack or 1) > 1
    path = None if job.checkpoint is None else job.checkpoint(members[0].spec, stacked)
    return trainer.run(say, path, deadline=job.deadline)


def _result(
    member: _Member, model: Network | Fitted, outcome: Trained, device: torch.device, preset: str, stack: int
) -> Result:
    dataset, spec = member.dataset, member.spec
    started = time.perf_counter()
    tensors = {k: t.to(device) for k, t in outcome.tensors.items()}
    prediction, measures, arrays = _explain(member, model, tensors, device)
    parts = {"train": member.split.train, "validation": member.split.validation, "test": member.split.test}
    if not np.isfinite(prediction).all():
        raise FloatingPointError(f"{spec}: predictions are not finite; lower learning_rate or raise the penalties")
    history = {
        "best_epoch": outcome.best_epoch,
        "epochs": outcome.epochs,
        "stopped_early": outcome.stopped_early,
        "validation_scores": [[epoch, score] for epoch, score in outcome.scores if math.isfinite(score)],
    }
    cost = {
        "fit_seconds": outcome.seconds,
        "explain_seconds": time.perf_counter() - started,
        "seconds_per_step": outcome.seconds / max(outcome.steps, 1),
        "peak_memory_mb": peak_mb(device),
        "parameters": model.parameters if isinstance(model, Fitted) else model.parameter_count(),
        "stack": stack,
    }
    origin = provenance(device, preset) | {"data_sha256": dataset.checksum, "data_source": dataset.source}
    origin["versions"] |= model.versions if isinstance(model, Fitted) else {}
    weights = {k: t[0].cpu().numpy() for k, t in outcome.tensors.items()}
    if not catalogue.credentialed(spec.dataset):
        arrays["test_prediction"] = prediction[parts["test"]].astype(np.float32)
    return Result(
        spec,
        {name: _metrics(prediction[rows], dataset.y[rows], dataset) for name, rows in parts.items()},
        measures,
        history,
        cost,
        origin,
        fresh=(arrays, weights),
    )


def _explain(
    member: _Member, model: Network | Fitted, tensors: Tensors, device: torch.device
) -> tuple[Array, dict[str, Any], Arrays]:
    """Return predictions for all rows in the target's units, the measures, and the arrays to store."""
    dataset, prep = member.dataset, member.preprocessing
    scale, offset = prep.target_scale, prep.target_mean
    columns = range(dataset.x.shape[1])
    least = cells.least_rows(dataset.name)
    grid = np.stack(
        [cells.curve_grid(dataset.x[:, i], len(dataset.categories.get(i, ())), least=least) for i in columns]
    )
    at_grid = prep.inputs(np.nan_to_num(grid.T, nan=0.0))  # padded points are computed and blanked
    probe = None if dataset.probe is None else prep.inputs(dataset.probe)
    arrays: Arrays = {}
    if isinstance(model, Fitted):
        prediction = model.predict(member.x.astype(float))
        measures: dict[str, Any] = {"revision": REVISION, "rows": len(member.x)}
        contributions = None if model.contributions is None else model.contributions(member.x.astype(float)) * scale
        if contributions is not None and model.contributions is not None:
            arrays["grid_mean"] = model.contributions(at_grid.astype(float)).T * scale
            measures["importance"] = importance(contributions)
        if probe is not None:
            arrays["probe_prediction"] = model.predict(probe.astype(float)) * scale + offset
    else:
        told = explainer(model, tensors, torch.tensor(member.x, device=device), scale, member.spec.key)
        rows = {k: v.cpu().double().numpy() for k, v in told.rows().items()}
        prediction, contributions = rows["prediction"], None
        measures = told.measures(rows)
        if isinstance(told, FeaturewiseExplainer):
            contributions = rows["contributions"] * scale
            curves = told.curves(torch.tensor(at_grid, device=device))
            arrays = {f"grid_{k}": v.cpu().numpy() * scale for k, v in curves.items()}
            arrays |= {"relevance": rows["relevance"], "active": rows["active"]}
            if rows["active"].shape[1] > 1:
                arrays["low_share"] = cells.low_share(dataset.x, rows, least)
            # every seed's expert curves only where they are few: they are the largest arrays
            if not 1 < curves["experts"].shape[-1] <= MAX_EXPERTS or not (member.spec.first or len(columns) <= 2):
                del arrays["grid_experts"]
        elif isinstance(model, Pairwise) and member.spec.first:  # of every seed they would be the largest arrays
            arrays = pair_surfaces(model, tensors, dataset, prep, device)
            arrays |= {k: arrays[k] * scale for k in ("pair_effect", "pair_interaction")}
        if probe is not None:
            out = explainer(model, tensors, torch.tensor(probe, device=device), scale, member.spec.key).rows()
            arrays["probe_prediction"] = out["prediction"].cpu().numpy() * scale + offset
            if contributions is not None and len(columns) <= 2:
                arrays["probe_contributions"] = out["contributions"].cpu().numpy() * scale
    if contributions is not None:
        blank = np.isnan(grid)
        for name in [n for n in arrays if n.startswith("grid_")]:
            arrays[name] = np.where(blank if arrays[name].ndim == 2 else blank[..., None], np.nan, arrays[name])
        arrays |= _shown(member, contributions) | {"grid": grid}
    small = {k: a.astype(np.int32 if a.dtype.kind == "i" else np.float32) for k, a in arrays.items()}
    return prediction * scale + offset, measures, small


def _shown(member: _Member, contributions: Array) -> Arrays:
    """Return what a shape plot needs beside the curves: mean contributions, densities, and a sample of rows.

    Of credentialed data not the sample, but quantiles of the contributions.
    """
    x = member.dataset.x
    edges = cells.histogram_range(x)
    counts = np.stack([np.histogram(x[:, i], bins=cells.CELLS, range=tuple(edges[:, i]))[0] for i in range(x.shape[1])])
    counts[counts < cells.least_rows(member.dataset.name)] = 0
    shown = {"contribution_mean": contributions.mean(axis=0), "density": counts, "density_range": edges.T}
    if catalogue.credentialed(member.dataset.name):
        return shown | {"cell_quantiles": cells.cell_quantiles(x, contributions, member.dataset.categories)}
    count = SAMPLE_FIRST if member.spec.first else SAMPLE
    sample = randomness.permutation([randomness.key(0, "sample")], len(x))[0, :count].numpy()
    return shown | {"sample_rows": sample, "sample_x": x[sample], "sample_contributions": contributions[sample]}
