"""How the NODE family trains, which is counted in steps (Popov et al. 2020, Chang et al. 2022).

Weights are averaged before they are validated; the learning rate rises at first and falls where nothing gets better.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from mixnam import randomness
from mixnam.models import TreeSettings
from mixnam.models.layers import Tensors
from mixnam.models.trees import Trees
from mixnam.training.optimizers import QHAdam
from mixnam.training.state import State
from mixnam.training.trainer import Trainer

FALL = 0.2  # what a learning rate is multiplied by
LEAST = 1e-6  # and the least that it falls to
_HELD = 31 << 20  # bytes; glibc keeps blocks up to 32 MiB


@dataclass
class TreeState(State):
    """What changes beside a `State`: earlier weights (M, P), learning rates, and the steps of their last fall."""

    optimizer: QHAdam
    snapshots: list[Tensor] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    fallen: list[int] = field(default_factory=list)

    listed: ClassVar[tuple[str, ...]] = (*State.listed, "learning_rates", "fallen")

    def keep(self, positions: list[int]) -> None:
        """Drop the members that are not at `positions`."""
        super().keep(positions)
        self.snapshots = [snapshot[positions] for snapshot in self.snapshots]


class TreeTrainer(Trainer):
    """Trains M members of one architecture of the NODE family side by side.

    An epoch is `evaluation_steps` steps and one evaluation, whatever part of the rows they see: `epochs`,
    `best_epoch` and the history count evaluations. Batches run through the rows in one random order after another,
    at most `settings.epochs` times, or as often as annealing and patience take (few rows make few steps an epoch).

    An evaluation takes the mean of the weights at the last `averaged_checkpoints` evaluations, this one included; the
    best such mean is what is returned. A member has trained long enough when no evaluation is left within
    `patience_steps` of its best one, or of the end of annealing if that came later.
    """

    settings: TreeSettings
    network: Trees
    state: TreeState
    state_class = TreeState
    optimizer_class = QHAdam
    captures = False  # the temperature of the choices changes, and in the end what is trained at all

    def begin(self) -> None:
        """Fit thresholds and temperatures to the rows of two batches, and the bias to the labels."""
        state, settings = self.state, self.settings
        if state.flat.device.type == "cpu":
            hold_memory()
        tensors = self.tensors(state.flat, state.buffers)
        rates = {k: self.all_values[k] for k in self.dropped}
        self.network.settle(tensors, self.fold.x[:, : 2 * settings.batch_size], self.seeds, rates)
        if self.task == "classification":
            tensors["bias"].copy_(torch.logit(self.fold.y.mean(dim=1), eps=1e-6))
        state.best = state.flat.clone()
        state.learning_rates = self.all_values["learning_rate"].tolist()
        state.fallen = [-1] * len(self.seeds)
        self.batches = -(-self.fold.x.shape[1] // settings.batch_size)  # in one pass over the rows
        self.last_step = max(settings.epochs * self.batches, settings.settling_steps + settings.patience_steps)
        self.orders: tuple[int, list[int], tuple[Tensor, ...]] = (-1, [], ())

    def _select(self) -> None:
        super()._select()
        if not bool(self.all_values["output_penalty"].any()):
            del self.values["output_penalty"]  # nobody pays it: it need not be computed

    def last_epoch(self) -> int:
        """Return how many evaluations there are at most."""
        return -(-self.last_step // self.settings.evaluation_steps)

    def best_step(self, i: int) -> int:
        """Return the step of the best evaluation of member i of the stack; 0 before there is one."""
        return min(self.state.best_epoch[i] * self.settings.evaluation_steps, self.last_step)

    def candidates(self) -> list[tuple[Tensor, Tensors]]:
        """Return the mean of the weights (M, P) at the last evaluations, and the buffers."""
        return [(torch.stack(self.state.snapshots).mean(dim=0), self.state.buffers)]

    def ends(self, i: int) -> bool:
        """Return whether member i of the stack has trained long enough."""
        steps, settings = self.state.optimizer.steps, self.settings
        since = max(self.best_step(i), settings.settling_steps)
        return steps >= self.last_step or steps + settings.evaluation_steps - 1 > since + settings.patience_steps

    def chosen(self, step: int) -> Tensor:
        """Return the training rows of a step, (M, B); the last batch of a pass may be short."""
        run, batch = divmod(step, self.batches)
        members = self.state.members
        if self.orders[:2] != (run, members):
            keys = [randomness.key(self.seeds[m], "order", run) for m in members]
            order = randomness.permutation(keys, self.fold.x.shape[1], self.state.flat.device)
            self.orders = run, list(members), order.split(self.settings.batch_size, dim=1)
        return self.orders[2][batch]

    def epoch(self) -> None:
        """Take the steps up to the next evaluation, and keep the weights for it."""
        state = self.state
        end = min(self.last_step, (state.epoch + 1) * self.settings.evaluation_steps)
        for step in range(state.optimizer.steps, end):
            self.step(self.chosen(step), 1.0)
        state.snapshots = [*state.snapshots, state.flat.clone()][-self.settings.averaged_checkpoints :]
        state.epoch += 1

    def fixed(self, step: int) -> int:
        """Return how many of the weights, the first ones, are no longer trained in a step: the choices, once strict."""
        return self.network.fixed(step)

    def learning_rates(self, step: int) -> Tensor:
        """Return the learning rates (M, 1) in a step; those that waited too long for a better score fall now."""
        state, wait, rise = self.state, self.settings.decay_steps, self.settings.warmup_steps
        for i, rate in enumerate(state.learning_rates):
            if wait and step > self.best_step(i) + wait and step > state.fallen[i] + wait:
                state.learning_rates[i] = max(rate * FALL, min(rate, LEAST))
                state.fallen[i] = step
        factor = min(1.0, (step + 1) / rise) if rise else 1.0
        rates = [rate * factor for rate in state.learning_rates]
        return torch.tensor(rates, dtype=state.flat.dtype, device=state.flat.device)[:, None]


def hold_memory() -> None:
    """Let the C library keep freed memory for the next step instead of returning it to the system after each.

    glibc keeps blocks up to the size of the largest that was ever freed; without this, steps take twice as long.
    """
    torch.empty(_HELD, dtype=torch.uint8)


def trainer_class(settings: object) -> type[Trainer]:
    """Return the class that trains networks of these settings."""
    return TreeTrainer if isinstance(settings, TreeSettings) else Trainer
