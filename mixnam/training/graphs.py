"""Training steps as CUDA graphs: a GPU runs through a step without waiting for the host."""

from __future__ import annotations

import contextlib
import warnings
from typing import Protocol

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from mixnam import randomness
from mixnam.models import NetworkSettings
from mixnam.models.layers import Draws
from mixnam.training.state import State, averaging_limit

WARM_UP = 3  # real steps of a batch size that are launched one kernel at a time before it is captured


class Stack(Protocol):
    """What graphs need of a trainer; `trainer.Trainer` is one."""

    settings: NetworkSettings
    state: State
    seeds: list[int]
    streams: list[str]
    rates: dict[str, Tensor]
    values: dict[str, Tensor]

    def gradient(self, chosen: Tensor, draws: Draws) -> Tensor:
        """Return the gradient (M, P) of the losses on the training rows `chosen`, (M, B)."""

    def step(self, chosen: Tensor, rate: float) -> None:
        """Take one step on the training rows `chosen`, (M, B), with learning rates times `rate`."""


class Captured:
    """The steps of one stack of members, one graph for each batch size; `failed` where they are launched instead.

    What changes from step to step is copied into tensors that the graphs read: the batch's rows, the keys of the random
    streams, and the rate with AdamW's corrections. A stack that loses members needs a new one.
    """

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.warm: dict[int, int] = {}
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.pool = torch.cuda.graph_pool_handle()
        self.numbers = self.keys = torch.zeros(0)  # one step's; the graphs hold their addresses
        self.failed = False

    def epoch(self, trainer: Stack, order: Tensor, rate: float) -> None:
        """Take the steps of one epoch on rows in `order`, (M, N), with learning rates times `rate`."""
        parts, tables = order.split(trainer.settings.batch_size, dim=1), None
        first = trainer.state.optimizer.steps
        for i, part in enumerate(parts):
            size = part.shape[1]
            if self.failed or self.warm.get(size, 0) < WARM_UP:
                self._launch(trainer, part, rate)
                continue
            if tables is None:
                tables = step_tables(trainer, range(first, first + len(parts)), rate)
            if size not in self.graphs and not self._capture(trainer, part, tables):
                self._launch(trainer, part, rate)
                continue
            graph, chosen = self.graphs[size]
            chosen.copy_(part)
            self.numbers.copy_(tables[0][i])
            self.keys.copy_(tables[1][i])
            graph.replay()
            trainer.state.optimizer.steps += 1

    def _launch(self, trainer: Stack, part: Tensor, rate: float) -> None:
        """Take one step without a graph, on the stream on which graphs are captured."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            trainer.step(part, rate)
        torch.cuda.current_stream().wait_stream(self.stream)
        self.warm[part.shape[1]] = self.warm.get(part.shape[1], 0) + 1

    def _capture(self, trainer: Stack, part: Tensor, tables: tuple[Tensor, Tensor]) -> bool:
        """Record the step for batches like `part`, which runs only when replayed; return whether that was possible."""
        if not self.graphs:
            self.numbers, self.keys = (table[0].clone() for table in tables)
        chosen, graph = part.clone(), torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self.pool, stream=self.stream)
        try:
            # the outer one gives the current stream back where a capture that failed does not
            with torch.cuda.stream(torch.cuda.current_stream()), recording:
                take_step(trainer, chosen, self.numbers, self.keys)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            forget(self.pool)
            warnings.warn(
                f"the training step cannot be captured as a CUDA graph, kernels are launched: {error}", stacklevel=2
            )
            self.failed = True
            return False
        self.graphs[part.shape[1]] = graph, chosen
        return True


def forget(pool: tuple[int, int]) -> None:
    """Tell the allocator that a capture into `pool` is over, which torch before 2.12 leaves out where one fails.

    Without this, memory that is free is not given back any more, and allocations fail.
    """
    if TorchVersion(torch.__version__) < "2.12":
        with contextlib.suppress(RuntimeError):  # it knows already
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            torch._C._cuda_releasePool(torch.cuda.current_device(), pool)


def step_tables(trainer: Stack, steps: range, rate: float) -> tuple[Tensor, Tensor]:
    """Return for each step rate, AdamW's corrections and averages' limit, (steps, 4), and keys, (steps, streams, M)."""
    flat, optimizer = trainer.state.flat, trainer.state.optimizer
    numbers = [(rate, *optimizer.corrections(step + 1), averaging_limit(step)) for step in steps]
    seeds, streams = [trainer.seeds[m] for m in trainer.state.members], trainer.streams
    keys = [[[randomness.key(seed, stream, step) for seed in seeds] for stream in streams] for step in steps]
    table = torch.tensor(keys, dtype=torch.int64, device=flat.device)
    return torch.tensor(numbers, dtype=flat.dtype, device=flat.device), table.view(len(steps), len(streams), len(seeds))


def take_step(trainer: Stack, chosen: Tensor, numbers: Tensor, keys: Tensor) -> None:
    """Take one step of which everything that changes lies on the device; AdamW's count is left to the caller.

    **Shape:** `chosen` (M, B), `numbers` (4,) and `keys` (streams, M), as in `step_tables`.
    """
    draws = Draws([], 0, trainer.rates, dict(zip(trainer.streams, keys, strict=True)))
    gradient = trainer.gradient(chosen, draws)
    rates, decay = (trainer.values[k][:, None] for k in ("learning_rate", "weight_decay"))
    trainer.state.optimizer.update(trainer.state.flat, gradient, rates * numbers[0], decay, numbers[1], numbers[2])
    if len(trainer.state.averaged):
        trainer.state.average(trainer.values["averaging"].minimum(numbers[3])[:, None])
