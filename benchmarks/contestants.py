"""Who takes part, and how each is built."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.authors import load_model
from benchmarks.job import Job
from benchmarks.peers import Conv1d, Elementwise, Loop, Peer, stepper
from mixnam.models import make_network
from mixnam.training.trainer import Fold, Trainer

Step = Callable[[], object]
MATRIX = 2048  # rows and columns of the product that says what the machine can do


@dataclass(frozen=True)
class Contestant:
    """Attributes: `label` and `note`, for readers; `routed`, whether it has experts and router; `build`, from a
    job to one training step and what there is to say about how it works.
    """

    label: str
    build: Callable[[Job], tuple[Step, dict[str, Any]]]
    note: str = ""
    routed: bool = True


def _ours(job: Job, blocked: bool) -> tuple[Step, dict[str, Any]]:
    x, y = (t[None] for t in job.data())
    settings = job.mixture
    network = make_network(settings, job.features)
    trainer = Trainer(network, [settings], [0], Fold(x, y, x[:, :2], y[:, :2]), job.task, blocked=blocked)
    chosen = itertools.cycle([rows[None] for rows in job.batches()])
    engine = trainer.blocked
    how = {"blocked": engine is not None, "gathers": engine is not None and engine.columns.gathers}
    return lambda: trainer.step(next(chosen), 1.0), how


def _cycle(job: Job, step: Callable[[Tensor, Tensor], None]) -> Step:
    (x, y), chosen = job.data(), itertools.cycle(job.batches())

    def next_step() -> None:
        rows = next(chosen)
        step(x[rows], y[rows])

    return next_step


def _peer(kind: type[Peer]) -> Callable[[Job], tuple[Step, dict[str, Any]]]:
    def build(job: Job) -> tuple[Step, dict[str, Any]]:
        settings = job.mixture
        parameters, _ = make_network(settings, job.features).initialize([0], torch.device("cpu"))
        peer = kind(settings, job.features, {k: v[0] for k, v in parameters.items()}, job.task)
        return _cycle(job, stepper(peer.loss, list(peer.leaves.values()), settings)), {}

    return build


def _authors(job: Job) -> tuple[Step, dict[str, Any]]:
    model = load_model(Path(job.peer), job.mixture, job.features, job.task)
    step = stepper(lambda x, y: model(x, y)[0], list(model.parameters()), job.mixture)
    return _cycle(job, step), {}


def _matrix(job: Job) -> tuple[Step, dict[str, Any]]:
    a, b, out = (torch.randn(MATRIX, MATRIX) for _ in range(3))
    return lambda: torch.mm(a, b, out=out), {}


def _copy(job: Job) -> tuple[Step, dict[str, Any]]:
    source = torch.ones(job.rows)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), {}


CONTESTANTS: dict[str, Contestant] = {
    "ours": Contestant("ours", lambda job: _ours(job, True)),
    "general": Contestant(
        "ours, not blocked", lambda job: _ours(job, False), "batched products, automatic differentiation; as on a GPU"
    ),
    "elementwise": Contestant(
        "element-wise", _peer(Elementwise), "the authors' formulation, written by us: (row, feature, out, in), summed"
    ),
    "loop": Contestant("loop over features", _peer(Loop), "a network a feature, one after the other"),
    "conv1d": Contestant(
        "grouped Conv1d NAM", _peer(Conv1d), "one output a feature, no experts and no router: it does less", False
    ),
    "authors": Contestant("authors' code", _authors, "imported from the checkout given by --peer"),
    # what the machine can do, measured in the same rounds
    "matrix": Contestant("matrix product", _matrix, f"float32, {MATRIX} by {MATRIX}"),
    "copy": Contestant("copy", _copy, "float32, beyond the caches"),
}


def described(names: list[str]) -> dict[str, dict[str, str]]:
    """Return label and note of each contestant named."""
    return {name: {"label": CONTESTANTS[name].label, "note": CONTESTANTS[name].note} for name in names}
