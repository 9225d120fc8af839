"""Stacks on a GPU: seconds a step, captured as CUDA graphs and launched kernel by kernel, beside the GPU's limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.job import Job
from benchmarks.options import Options, Part
from benchmarks.shapes import SHAPES, Shape
from benchmarks.work import step_flop
from mixnam.models import make_network
from mixnam.training.graphs import WARM_UP
from mixnam.training.stacks import member_bytes
from mixnam.training.trainer import Fold, Trainer

MATRIX, COPIED = 8192, 1 << 28  # rows of a square matrix product, floats of a copy
BATCHES = 8  # steps of an epoch


@dataclass(frozen=True)
class Stack:
    """So many members on one shape."""

    shape: str
    members: int


STACKS = (
    Stack("Housing, quick", 10),
    Stack("Housing", 10),
    Stack("Housing", 70),
    Stack("Income", 5),
    Stack("Year", 10),
)


def waited(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_each(run: Callable[[], Any], times: int, device: torch.device) -> float:
    """Return the seconds of one of `times` calls, after one that is not counted."""
    run()
    waited(device)
    started = time.perf_counter()
    for _ in range(times):
        run()
    waited(device)
    return (time.perf_counter() - started) / times


def limits(device: torch.device, matrix: int = MATRIX, copied: int = COPIED) -> dict[str, float]:
    """Return the device's float32 matrix rate, in GFLOP/s, and its copy bandwidth, in GB/s."""
    a, source = torch.randn(matrix, matrix, device=device), torch.zeros(copied, device=device)
    out, target = torch.empty_like(a), torch.empty_like(source)
    product = seconds_each(lambda: torch.mm(a, a, out=out), 5, device)
    copy = seconds_each(lambda: target.copy_(source), 5, device)
    return {"matrix_gflops": 2 * matrix**3 / product / 1e9, "copy_gb_per_second": 8 * copied / copy / 1e9}


def trainer(shape: Shape, members: int, device: torch.device) -> Trainer:
    """Return a stack on synthetic rows of a shape, `BATCHES` batches of them."""
    job: Job = replace(shape.job("ours"), table=BATCHES * shape.settings.batch_size)
    x, y = (t.to(device).expand(members, *t.shape).contiguous() for t in job.data())
    network = make_network(shape.settings, shape.features)
    fold = Fold(x, y, x[:, :256], y[:, :256])
    return Trainer(network, [shape.settings] * members, range(members), fold, shape.task)


def stack(shape: Shape, members: int, device: torch.device, epochs: int) -> dict[str, Any]:
    """Time a stack's steps, launched and captured."""
    found: dict[str, Any] = {"shape": shape.name, "members": members, "rows": shape.settings.batch_size}
    steps = {}
    for name in ("launched", "captured") if device.type == "cuda" else ("launched",):
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        one = trainer(shape, members, device)
        if one.captured is not None:
            one.captured.failed = name == "launched"
        for _ in range(WARM_UP + 1):
            one.epoch()
        steps[name] = seconds_each(one.epoch, epochs, device) / BATCHES
        found[f"{name}_seconds"] = steps[name]
        if device.type == "cuda":
            # reserved: what a graph holds it does not allocate again
            found["peak_mb"] = torch.cuda.max_memory_reserved() / 2**20
            found["captured"] = bool(one.captured is not None and one.captured.graphs)
        found["estimated_mb"] = members * member_bytes(one.network, one.fold.x.shape[1]) / 2**20
        del one
    seconds = min(steps.values())
    gflop = members * step_flop(shape.settings, shape.features, shape.settings.batch_size) / 1e9
    return found | {"rows_per_second": members * shape.settings.batch_size / seconds, "gflops": gflop / seconds}


def measure(options: Options) -> Part:
    """Measure the part `device`; RuntimeError where there is no GPU."""
    if not torch.cuda.is_available():
        raise RuntimeError("torch finds no CUDA device here")
    device = torch.device("cuda")
    shapes = {shape.name: shape for shape in SHAPES}
    rates = limits(device)
    stacks = []
    for one in STACKS:
        options.say(f"device: {one.members} members on {one.shape}")
        try:
            found = stack(shapes[one.shape], one.members, device, 1 if options.smoke else 5)
        except torch.OutOfMemoryError as error:
            options.say(f"device: {error}")
            continue
        stacks.append(found | {"matrix_share": found["gflops"] / rates["matrix_gflops"]})
        options.keep({"device": torch.cuda.get_device_name(), **rates, "stacks": stacks})
    return {"device": torch.cuda.get_device_name(), **rates, "stacks": stacks}
