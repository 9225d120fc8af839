"""Training steps as CUDA graphs: a GPU runs through a step without waiting for the host."""

from __future__ import annotations

import warnings
import weakref
from typing import Protocol

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from mixnam import randomness
from mixnam.models import NetworkSettings
from mixnam.models.layers import Draws
from mixnam.training.optimizers import AdamW


class Stack(Protocol):
    """What graphs need of a trainer; `trainer.Trainer` is one."""

    settings: NetworkSettings
    seeds: list[int]
    streams: list[str]
    rates: dict[str, Tensor]
    values: dict[str, Tensor]

    @property
    def optimizer(self) -> AdamW:
        """AdamW over the stack's weights, with the count of steps taken."""

    @property
    def flat(self) -> Tensor:
        """The weights, (M, P)."""

    @property
    def members(self) -> list[int]:
        """The numbers of the members that are in the stack now."""

    def gradient(self, chosen: Tensor, draws: Draws) -> Tensor:
        """Return the gradient (M, P) of the losses on the training rows `chosen`, (M, B)."""

    def step(self, chosen: Tensor, rate: float) -> None:
        """Take one step on the training rows `chosen`, (M, B), with learning rates times `rate`."""


SURVIVES = "2.12"  # the release of torch from which on training goes on after a capture that failed
WARM_UP = 3  # real steps of a batch size that are launched one kernel at a time before it is captured


class CaptureFailed(RuntimeError):
    """A step could not be captured, and the installed torch may not go on after that."""


class Captured:
    """The steps of the members in a trainer's stack, one graph for each batch size.

    What changes from step to step is copied into tensors that the graphs read: the batch's rows, the keys
    of the random streams, and the rate with AdamW's corrections. A stack that loses members needs a new one.
    """

    def __init__(self, trainer: Stack) -> None:
        # not a reference: a trainer that nobody holds must free its memory at once
        self._trainer = weakref.ref(trainer)
        self.stream = torch.cuda.Stream()
        self.warm: dict[int, int] = {}
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.numbers = self.keys = torch.zeros(0)  # one step's; the graphs hold their addresses
        self.failed = False

    @property
    def trainer(self) -> Stack:
        """The trainer whose steps these are."""
        trainer = self._trainer()
        assert trainer is not None
        return trainer

    def epoch(self, order: Tensor, rate: float) -> None:
        """Take the steps of one epoch on rows in `order`, (M, N), with learning rates times `rate`."""
        trainer, tables = self.trainer, None
        parts = order.split(trainer.settings.batch_size, dim=1)
        first = trainer.optimizer.steps
        for i, part in enumerate(parts):
            size = part.shape[1]
            if self.failed or self.warm.get(size, 0) < WARM_UP:
                self._launch(part, rate)
                continue
            if tables is None:
                tables = step_tables(trainer, range(first, first + len(parts)), rate)
            if size not in self.graphs and not self._capture(part, tables):
                self._launch(part, rate)
                continue
            graph, chosen = self.graphs[size]
            chosen.copy_(part)
            self.numbers.copy_(tables[0][i])
            self.keys.copy_(tables[1][i])
            graph.replay()
            trainer.optimizer.steps += 1

    def _launch(self, part: Tensor, rate: float) -> None:
        """Take one step without a graph, on the stream on which graphs are captured."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.trainer.step(part, rate)
        torch.cuda.current_stream().wait_stream(self.stream)
        self.warm[part.shape[1]] = self.warm.get(part.shape[1], 0) + 1

    def _capture(self, part: Tensor, tables: tuple[Tensor, Tensor]) -> bool:
        """Record the step for batches like `part`; it runs only when replayed."""
        if not self.graphs:
            self.numbers, self.keys = (table[0].clone() for table in tables)
        chosen = part.clone()
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values()))[0].pool() if self.graphs else None
        try:
            # the outer one gives the current stream back where a capture that failed does not
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=pool, stream=self.stream):
                take_step(self.trainer, chosen, self.numbers, self.keys)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if TorchVersion(torch.__version__) < SURVIVES:
                raise CaptureFailed(
                    f"the training step cannot be captured as a CUDA graph ({error}), and torch {torch.__version__} "
                    "may not survive a capture that failed; install torch 2.12 or later, which goes on without graphs, "
                    "or train with device 'cpu'"
                ) from error
            warnings.warn(
                f"the training step cannot be captured as a CUDA graph, kernels are launched: {error}", stacklevel=2
            )
            self.failed = True
            return False
        self.graphs[part.shape[1]] = graph, chosen
        return True


def step_tables(trainer: Stack, steps: range, rate: float) -> tuple[Tensor, Tensor]:
    """Return for each step the rate with AdamW's corrections, (steps, 3), and the keys, (steps, streams, M)."""
    flat, optimizer = trainer.flat, trainer.optimizer
    numbers = [(rate, *optimizer.corrections(step + 1)) for step in steps]
    seeds, streams = [trainer.seeds[m] for m in trainer.members], trainer.streams
    keys = [[[randomness.key(seed, stream, step) for seed in seeds] for stream in streams] for step in steps]
    table = torch.tensor(keys, dtype=torch.int64, device=flat.device)
    return torch.tensor(numbers, dtype=flat.dtype, device=flat.device), table.view(len(steps), len(streams), len(seeds))


def take_step(trainer: Stack, chosen: Tensor, numbers: Tensor, keys: Tensor) -> None:
    """Take one step of which everything that changes lies on the device; AdamW's count is left to the caller.

    **Shape:** `chosen` (M, B), `numbers` (3,) and `keys` (streams, M), as in `step_tables`.
    """
    draws = Draws([], 0, trainer.rates, dict(zip(trainer.streams, keys, strict=True)))
    gradient = trainer.gradient(chosen, draws)
    rate = trainer.values["learning_rate"][:, None] * numbers[0]
    trainer.optimizer.update(
        trainer.flat, gradient, rate, trainer.values["weight_decay"][:, None], numbers[1], numbers[2]
    )
