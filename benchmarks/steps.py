"""One training step on one thread: ours beside its baselines, at the paper's shapes and settings."""

from __future__ import annotations

from typing import Any

from benchmarks import memory
from benchmarks.contestants import CONTESTANTS, described
from benchmarks.machine import device_job, matrix_gflops
from benchmarks.options import Options, Part
from benchmarks.process import workers
from benchmarks.shapes import HOUSING, SHAPES, Shape, income_distinct
from benchmarks.timing import interleaved, median
from benchmarks.work import step_flop

RIVALS = ["ours", "general", "elementwise", "loop", "conv1d"]


def entrants(shape: Shape, peer: str) -> list[str]:
    """Return who is measured on a shape: the authors' own code on Housing, where there is a checkout.

    On our own recipe we alone: the others have no formulas for it.
    """
    if shape.preset == "best":
        return ["ours", "general"]
    return [*RIVALS, "authors"] if peer and shape == HOUSING else RIVALS


def entry(shape: Shape, contestant: str, rows: int, times: list[float], gflops: float) -> dict[str, Any]:
    """Return what is recorded of one contestant, but its memory and its ratio to ours."""
    seconds = median(times)
    flop = step_flop(shape.settings, shape.features, rows, CONTESTANTS[contestant].routed)
    return {
        "rows": rows,
        "seconds": seconds,
        "times": times,
        "rows_per_second": rows / seconds,
        "gflop": flop / 1e9,
        "matrix_share": flop / 1e9 / seconds / gflops,
    }


def _shape(shape: Shape, options: Options) -> dict[str, Any]:
    names = entrants(shape, options.peer)
    settings, allowed = shape.settings, memory.limit()
    rows = {name: memory.rows_that_fit(name, settings, shape.features, allowed) for name in names}
    how: dict[str, dict[str, Any]] = {}
    with workers(dict.fromkeys([*names, "matrix"], 1)) as running:
        running["matrix"].build(device_job("matrix"))
        for name in names:
            how[name] = running[name].build(shape.job(name, rows[name], options.peer))
        times = interleaved(running, options.repeats)
        peaks = {name: running[name].peak_mb() for name in names}
    gflops = matrix_gflops(median(times["matrix"]))
    found = {name: entry(shape, name, rows[name], times[name], gflops) for name in names}
    for name, values in found.items():
        values |= {"peak_mb": peaks[name], "ratio": found["ours"]["rows_per_second"] / values["rows_per_second"]}
    record = {
        "name": shape.name, "dataset": shape.dataset, "preset": shape.preset, "features": shape.features,
        "settings": settings.all(), "matrix_gflops": gflops, **how["ours"], "contestants": found,
    }  # fmt: skip
    if shape.repeats:
        source, counts = income_distinct()
        record["distinct"] = {"source": source, "counts": list(counts)}
    return record


def measure(options: Options) -> Part:
    """Measure the part `steps`."""
    shapes = []
    for shape in SHAPES:
        options.say(f"steps: {shape.name}")
        shapes.append(_shape(shape, options))
    names = [*RIVALS, "authors"] if options.peer else RIVALS
    return {"threads": 1, "labels": described(names), "shapes": shapes}
