"""`fit`: the one way from specs to results, for networks and library models alike."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixnam import randomness
from mixnam.data import catalogue
from mixnam.data.splits import check_split, split_rows
from mixnam.data.table import Array, Table
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
from mixnam.explain.surfaces import SURFACES, pair_surfaces
from mixnam.models import Featurewise, Network, NetworkSettings, make_network
from mixnam.models.layers import Tensors
from mixnam.models.libraries import Fitted
from mixnam.models.pairs import Pairwise
from mixnam.runs import shown
from mixnam.runs.machine import one_thread, peak_mb, pick_device, provenance, reset_peak
from mixnam.runs.model import Job, Member, Model, Progress, scores, train_members
from mixnam.runs.results import Arrays, Result
from mixnam.runs.spec import RunSpec, stacks
from mixnam.training.trainer import OutOfTime, Trained


class Diverged(FloatingPointError):
    """A training no epoch of which gave a finite validation score."""


#: Names the file of a spec's unfinished training, or of the stack that it belongs to.
Checkpoint = Callable[[RunSpec, bool], Path]


def fit(
    specs: Sequence[RunSpec],
    device: str = "auto",
    preset: str = "",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    stack: int | None = None,
    deadline: float = math.inf,
    lost: Callable[[RunSpec, Exception], None] | None = None,
) -> Iterator[Result]:
    """Train what the specs describe and yield a Result for each, as they come.

    On a CPU training runs on one thread and alone, so that the same spec gives the same bits; several jobs
    make use of several cores. On a GPU networks that differ only in seed or `settings.PER_MEMBER` train side
    by side, as many as fit; `stack` says how many at most, on either device. `preset` is only recorded. With
    `checkpoint`, an interrupted run of networks goes on from the file that it names.

    A metric that a part has none of (R² of one row, AUC of one class) is None, and `progress` is told so. With
    `lost`, which is told why, a trained model that comes to nothing leaves the others of its stack alone.

    Raises DataMissing or DataError for data that cannot be used, Diverged where training diverged from the first
    epoch, FloatingPointError where predictions are not finite, MemoryError where a network does not fit, OutOfTime
    where the clock (`time.monotonic`) passes `deadline` during training.
    """
    where = pick_device(device)
    with one_thread(where):
        stacked = where.type != "cpu" or (stack or 1) > 1
        for group in stacks(specs, stacked):
            table = catalogue.load(group[0].dataset)
            reset_peak(where)
            by_name = {spec.key: spec for spec in group}
            path = None if checkpoint is None else checkpoint(group[0], stacked)
            used = time.process_time()
            job = Job(where, progress, path, stack, deadline)
            for member, model, outcome, together in train_members([_member(s, table) for s in group], job):
                spec = by_name[member.name]
                if together > 1 and time.monotonic() > deadline:
                    raise OutOfTime(f"{spec}: trained, its measures are left for the next time")
                try:
                    result = _result(spec, member, model, outcome, where, preset, together)
                except Exception as error:  # the others of its stack are well
                    if lost is None:
                        raise
                    lost(spec, error)
                    continue
                if together == 1:
                    result.cost["processor_seconds"] = time.process_time() - used
                undefined = [
                    f"{part} {k}" for part, found in result.metrics.items() for k, v in found.items() if v is None
                ]
                if undefined and progress is not None:
                    progress(f"{spec}: stored as null, for so few rows or one class have none: {', '.join(undefined)}")
                yield result


def _member(spec: RunSpec, table: Table) -> Member:
    rows = (check_split if table.own else split_rows)(table, spec.split, spec.seed)
    return Member(table, spec.settings, rows, spec.seed, spec.key, str(spec))


def measure_again(result: Result, device: str = "auto") -> Result:
    """Take a stored result's measures and curves again from its weights; scores and predictions stay.

    Results trained before a change of `explain` get today's measures this way.

    Raises UnreadableResult where the weights were not stored, DataError where other data are at hand.
    """
    where = pick_device(device)
    member = _member(result.spec, result.trained_on(download=True))
    network = make_network(result.spec.settings, member.x.shape[1], gaps=bool(member.table.gaps))
    tensors = {k: torch.tensor(w, device=where)[None] for k, w in result.weights.items()}
    _, measures, arrays = _explain(result.spec, member, network, tensors, where)
    if not catalogue.credentialed(result.spec.dataset):
        arrays["test_prediction"] = result.arrays["test_prediction"]
    return dataclasses.replace(result, measures=measures, fresh=(arrays, result.weights))


def _result(
    spec: RunSpec, member: Member, model: Model, outcome: Trained, device: torch.device, preset: str, stack: int
) -> Result:
    dataset, core = member.table, model.fitted or model.network
    assert core is not None
    rate = spec.settings.learning_rate if isinstance(spec.settings, NetworkSettings) else math.nan
    if math.isinf(outcome.best_score):
        raise Diverged(
            f"{spec}: training diverged, no epoch has a finite validation score; lower learning_rate ({rate:g})"
        )
    started = time.perf_counter()
    tensors = {k: t.to(device) for k, t in outcome.tensors.items()}
    prediction, measures, arrays = _explain(spec, member, core, tensors, device)
    parts = vars(member.split)
    wrong, remedy = int((~np.isfinite(prediction)).sum()), f"lower learning_rate ({rate:g}) or raise the penalties"
    if wrong:
        if math.isnan(rate):
            remedy = f"rescale the columns and the target (up to {np.abs(dataset.y).max():g}), or leave the model out"
        raise FloatingPointError(f"{spec}: {wrong} of {len(prediction)} predictions are not finite; {remedy}")
    metrics = {name: scores(prediction[rows], dataset.y[rows], dataset.task) for name, rows in parts.items()}
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
        "parameters": core.parameters if isinstance(core, Fitted) else core.parameter_count(),
        "stack": stack,
    }
    origin = provenance(device, preset) | {"data_sha256": dataset.checksum, "data_source": dataset.source}
    origin["versions"] |= core.versions if isinstance(core, Fitted) else {}
    weights = {k: t[0].cpu().numpy() for k, t in outcome.tensors.items()}
    if not catalogue.credentialed(spec.dataset):
        arrays["test_prediction"] = prediction[parts["test"]].astype(np.float32)
    return Result(
        spec,
        {name: {k: v if math.isfinite(v) else None for k, v in part.items()} for name, part in metrics.items()},
        measures,
        history,
        cost,
        origin,
        fresh=(arrays, weights),
        table=dataset,
    )


def _explain(
    spec: RunSpec, member: Member, model: Network | Fitted, tensors: Tensors, device: torch.device
) -> tuple[Array, dict[str, Any], Arrays]:
    """Return predictions for all rows in the target's units, the measures, and the arrays to store.

    Where the table has gaps, these hold beside each curve `grid_...` its value where a feature is missing, (n,) as
    `missing_...`, NaN for a feature that no training row misses; and `missing_rows`, how many rows miss it.
    """
    dataset, prep = member.table, member.preprocessing
    scale, offset = prep.target_scale, prep.target_mean
    least = cells.least_rows(dataset.name)
    edges = tensors if isinstance(model, Featurewise) else {}
    grid = shown.curve_grid(dataset, prep, edges, least)
    at_grid = shown.grid_inputs(grid, prep, bool(dataset.gaps))
    probe = None if dataset.probe is None else prep.inputs(dataset.probe)
    arrays: Arrays = {}
    if isinstance(model, Fitted):
        prediction = model.predict(member.x.astype(float))
        measures: dict[str, Any] = {"revision": REVISION, "rows": len(member.x)}
        contributions = None if model.contributions is None else model.contributions(member.x.astype(float)) * scale
        if contributions is not None and model.contributions is not None:
            arrays = shown.named({"mean": model.contributions(at_grid.astype(float)).T * scale}, grid, prep)
            measures["importance"] = importance(contributions)
        if probe is not None:
            arrays["probe_prediction"] = model.predict(probe.astype(float)) * scale + offset
    else:
        told = explainer(model, tensors, torch.tensor(member.x, device=device), scale, spec.key)
        rows = {k: v.cpu().double().numpy() for k, v in told.rows().items()}
        prediction, contributions = rows["prediction"], None
        measures = told.measures(rows)
        if isinstance(told, FeaturewiseExplainer):
            contributions = rows["contributions"] * scale
            curves = told.curves(torch.tensor(at_grid, device=device))
            arrays = shown.named({k: v.cpu().numpy() * scale for k, v in curves.items()}, grid, prep)
            arrays |= {"relevance": rows["relevance"], "active": rows["active"]}
            if rows["active"].shape[1] > 1:
                arrays["low_share"] = cells.low_share(dataset.x, rows, least)
            # every seed's expert curves only where they are few: they are the largest arrays
            if not 1 < curves["experts"].shape[-1] <= MAX_EXPERTS or not (spec.first or len(grid) <= 2):
                del arrays["grid_experts"]
        elif isinstance(model, Pairwise):  # all surfaces of every seed would be the largest arrays
            arrays = pair_surfaces(model, tensors, dataset, prep, device, SURFACES if spec.first else 1)
            arrays |= {k: arrays[k] * scale for k in ("pair_effect", "pair_interaction")}
        if probe is not None:
            out = explainer(model, tensors, torch.tensor(probe, device=device), scale, spec.key).rows()
            arrays["probe_prediction"] = out["prediction"].cpu().numpy() * scale + offset
            if contributions is not None and len(grid) <= 2:
                arrays["probe_contributions"] = out["contributions"].cpu().numpy() * scale
    if contributions is not None:
        arrays |= _shown(spec, dataset, contributions, grid)
    fine = any(cells.fine(arrays[k]) for k in ("grid", "pair_values") if k in arrays)
    places = {"grid", "sample_x", "density_range", "pair_values"} if fine else set()
    kinds = {
        k: np.int32 if a.dtype.kind == "i" else np.float64 if k in places else np.float32 for k, a in arrays.items()
    }
    small = {k: a.astype(kinds[k]) for k, a in arrays.items()}
    return prediction * scale + offset, measures, small


def _shown(spec: RunSpec, table: Table, contributions: Array, grid: Array) -> Arrays:
    """Return what a shape plot needs beside the curves: their grid, mean contributions, densities, a sample of rows.

    Of credentialed data not the sample, but quantiles of the contributions.
    """
    x = table.x
    found = shown.rows_shown(table, grid, cells.least_rows(table.name))
    found["contribution_mean"] = contributions.mean(axis=0)
    if catalogue.credentialed(table.name):
        return found | {"cell_quantiles": cells.cell_quantiles(x, contributions, table.categories)}
    count = SAMPLE_FIRST if spec.first else SAMPLE
    sample = randomness.permutation([randomness.key(0, "sample")], len(x))[0, :count].numpy()
    return found | {"sample_rows": sample, "sample_x": x[sample], "sample_contributions": contributions[sample]}
