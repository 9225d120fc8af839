"""`python -m benchmarks.trees`: a training step of the NODE family on one thread, ours beside the authors' package.

No part of the record of `python -m benchmarks`: the package is not installed with ours (`nodegam.VARIABLE`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import nodegam
from benchmarks.tables import duration, layout
from benchmarks.timing import median
from mixnam.models import TreeSettings, make_network, make_settings
from mixnam.training.optimizers import QHAdam
from mixnam.training.trainer import Fold
from mixnam.training.tree_trainer import TreeTrainer

FEATURES, TURNS = 8, 7
#: Name, model, settings; a step before the end of annealing, or after it.
SHAPES = (
    ("NODE", "NODE", {"layers": 2, "trees": 128, "depth": 6, "batch_size": 1024}, 0),
    ("NODE-GAM, annealing", "NODE-GAM", {"layers": 2, "trees": 256, "depth": 4, "batch_size": 2048}, 0),
    ("NODE-GAM, hard", "NODE-GAM", {"layers": 2, "trees": 256, "depth": 4, "batch_size": 2048}, 100_000),
    ("NODE-GAM, small", "NODE-GAM", {"layers": 1, "trees": 128, "depth": 4, "batch_size": 512}, 0),
    ("NODE-GA2M, annealing", "NODE-GA2M", {"layers": 2, "trees": 128, "depth": 6, "batch_size": 1024}, 0),
    (
        "NODE-GA2M, attention",
        "NODE-GA2M",
        {"layers": 2, "trees": 128, "depth": 6, "batch_size": 1024, "attention": 8},
        0,
    ),
)


def ours(settings: TreeSettings, x: torch.Tensor, y: torch.Tensor, at: int) -> Callable[[], None]:
    """Return a step of ours, with its optimiser."""
    fold = Fold(x[None], y[None], x[None, :2], y[None, :2])
    trainer = TreeTrainer(make_network(settings, FEATURES), [settings], [0], fold, "regression")  # type: ignore[arg-type]
    chosen = torch.arange(settings.batch_size)[None]

    def step() -> None:
        trainer.state.optimizer.steps = at
        trainer.step(chosen, 1.0)

    return step


def theirs(found: Any, settings: TreeSettings, x: torch.Tensor, y: torch.Tensor, at: int) -> Callable[[], None]:
    """Return a step of the package's network, with our optimiser: theirs, qhoptim's, is another package."""
    network, choice = nodegam.build(found, settings, FEATURES)
    if settings.model != "NODE":
        choice.temp_step_callback(at)
    with torch.no_grad():
        network(x)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizers = [QHAdam(p.detach().view(1, -1)) for p in parameters]
    rate, decay = torch.full((1, 1), settings.learning_rate), torch.zeros(1, 1)
    batch, target = x[: settings.batch_size], y[: settings.batch_size]

    def step() -> None:
        for p in parameters:
            p.grad = None
        prediction, penalty = network(batch, return_outputs_penalty=True)
        (F.mse_loss(prediction, target) + penalty).backward()
        with torch.no_grad():
            for p, optimizer in zip(parameters, optimizers, strict=True):
                if p.grad is not None:
                    optimizer.step(p.view(1, -1), p.grad.view(1, -1), rate, decay)

    return step


def measured(steps: list[Callable[[], None]]) -> list[float]:
    """Return the median seconds of each step, in turn; the first turn is not counted."""
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(TURNS + 1):
        for step, own in zip(steps, times, strict=True):
            started = time.perf_counter()
            step()
            if turn:
                own.append(time.perf_counter() - started)
    return [median(own) for own in times]


def main() -> None:
    """Print the table."""
    place = nodegam.folder()
    if place is None:
        sys.exit(f"no nodegam here: {nodegam.VARIABLE} may name a folder that holds the package")
    torch.set_num_threads(1)
    source = torch.Generator().manual_seed(0)
    rows = []
    with nodegam.modules(place) as found:
        for name, model, values, at in SHAPES:
            settings = make_settings(model, values)
            assert isinstance(settings, TreeSettings)
            x = torch.randn(2 * settings.batch_size, FEATURES, generator=source)
            y = torch.randn(len(x), generator=source)
            first, second = measured([ours(settings, x, y, at), theirs(found, settings, x, y, at)])
            rows.append([name, str(settings.batch_size), duration(first), duration(second), f"{second / first:.1f}"])
            print(f"{name}: {second / first:.1f}", file=sys.stderr)
    print(layout(["one thread", "rows", "ours", "nodegam", "ratio"], rows))


if __name__ == "__main__":
    main()
