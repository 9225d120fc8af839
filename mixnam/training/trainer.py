"""One training loop for a stack of networks (Appendix B): AdamW, cosine annealing, best epoch, patience.

The same inputs give the same bits on a CPU, where a stack is one member on one thread.
"""

from __future__ import annotations

import math
import pickle
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mixnam import randomness
from mixnam.models import PER_MEMBER, Network, NetworkSettings
from mixnam.models.base import EVALUATED
from mixnam.models.encoding import EDGES
from mixnam.models.fast.blocked import Blocked, evaluate
from mixnam.models.layers import Ahead, Draws, Tensors
from mixnam.models.settings import EncodedSettings
from mixnam.training.graphs import Captured
from mixnam.training.losses import Task, head_gradients, loss
from mixnam.training.optimizers import AdamW
from mixnam.training.state import State, averaging_limit
from mixnam.training.validation import validation_scores

Progress = Callable[[str], None]
#: Is told by how many epochs of members training has advanced. Those that a member leaves out when it stops early count
#: at once: the sum is members times `Trainer.last_epoch()`.
Advance = Callable[[int], None]


class OutOfTime(Exception):
    """The time given was over before training was; its state was saved where it had a place."""


@dataclass
class Fold:
    """Network inputs (M, rows, n) and targets (M, rows) of M members, standardised or 0/1, on the training device.

    `weights` and `weights_validation` (M, rows), on any scale, where rows do not weigh the same; validation rows that
    all weigh 0 weigh the same.
    """

    x: Tensor
    y: Tensor
    x_validation: Tensor
    y_validation: Tensor
    weights: Tensor | None = None
    weights_validation: Tensor | None = None


@dataclass
class Trained:
    """One trained member: `tensors` (its best epoch's weights and buffers, each (1, ...)) and its history."""

    tensors: Tensors
    best_score: float
    best_epoch: int
    epochs: int
    stopped_early: bool
    scores: list[tuple[int, float]]
    seconds: float
    steps: int


@torch.no_grad()
def predict(network: Network, tensors: Tensors, x: Tensor) -> Tensor:
    """Return predictions in evaluation mode: (M, rows, n) → (M, rows)."""
    return torch.cat([out.prediction for out in evaluate(network, tensors, x)], dim=1)


class Trainer:
    """Trains M members of one architecture side by side.

    **Shape:** `settings` and `seeds` have one entry a member, `fold` their data; `names` tells members apart in a
    checkpoint. On a CPU a single member is trained in blocks where they cover its network, unless `blocked` is False.

    Raises ValueError where settings differ in anything but `settings.PER_MEMBER`.
    """

    state_class: type[State] = State
    optimizer_class: type[AdamW] = AdamW
    captures = True  # whether steps differ in nothing but what `Captured` copies

    def __init__(
        self, network: Network, settings: Sequence[NetworkSettings], seeds: Sequence[int], fold: Fold, task: Task,
        dtype: torch.dtype = torch.float32, blocked: bool = True, names: Sequence[str] = (),
    ) -> None:  # fmt: skip
        shared = [{"model": s.model} | s.shared() for s in settings]
        if any(s != shared[0] for s in shared):
            differing = sorted({k for s in shared for k in s if s[k] != shared[0].get(k)})
            raise ValueError(f"members of one stack must agree in {', '.join(differing)}")
        self.network, self.seeds, self.task = network, list(seeds), task
        self.fold = Fold(fold.x.to(dtype), fold.y.to(dtype), fold.x_validation.to(dtype), fold.y_validation.to(dtype))
        if fold.weights is not None:
            self.fold.weights = fold.weights.to(dtype) / fold.weights.to(dtype).mean(dim=1, keepdim=True)
        if fold.weights_validation is not None:
            weights = fold.weights_validation.to(dtype)
            mean = weights.mean(dim=1, keepdim=True)
            self.fold.weights_validation = torch.where(mean > 0, weights / mean, 1.0)
        self.settings = settings[0]
        device, count = fold.x.device, len(settings)
        numbers = {k: [s.all()[k] for s in settings] for k in PER_MEMBER if k in settings[0].all()}
        self.all_values = {k: torch.tensor(v, dtype=dtype, device=device) for k, v in numbers.items()}
        self.dropped = [k for k, v in numbers.items() if k.endswith("dropout") and any(v)]
        parameters, buffers = network.initialize(self.seeds, device)
        buffers |= network.fitted(self.fold.x)
        flat = torch.cat([p.reshape(count, -1) for p in parameters.values()], dim=1).to(dtype)
        buffers = {k: b.to(dtype) for k, b in buffers.items()}
        self.blocked = self.evaluated = None
        if blocked and Blocked.covers(network, count, device):
            gather, edges = "dropout" not in self.dropped, buffers.get(EDGES)  # each row has its own mask of dropout
            self.blocked = Blocked(network, self.fold.x[0], self.settings.batch_size, True, gather, edges)
            self.evaluated = Blocked(network, self.fold.x_validation[0], EVALUATED, False, True, edges)
        self.state = self.state_class(
            flat=flat, optimizer=self.optimizer_class(flat), buffers=buffers, averaged=flat.new_empty(0),
            averaged_buffers={}, best=flat.clone(),
            best_buffers={k: b.clone() for k, b in buffers.items()}, best_score=[math.inf] * count,
            best_epoch=[0] * count, scores=[[] for _ in range(count)], stopped=[False] * count,
            members=list(range(count)), done={}, shares=[0.0] * count, names=list(names),
        )  # fmt: skip
        if "averaging" in numbers and any(numbers["averaging"]):
            self.state.averaged, self.state.averaged_buffers = flat.clone(), {k: b.clone() for k, b in buffers.items()}
        self.streams: list[str] = []  # of random numbers that a step draws from
        self.ahead: Ahead = {}
        self.captured: Captured | None = None
        self.begin()
        self._select()

    def begin(self) -> None:
        """Fit the initial state to the data; here it stays as drawn."""

    def last_epoch(self) -> int:
        """Return after how many epochs training ends at the latest."""
        return self.settings.epochs

    def candidates(self) -> list[tuple[Tensor, Tensors]]:
        """Return what is validated, and kept where it is the best: weights (M, P) and buffers, and averages of both."""
        state = self.state
        averaged = [(state.averaged, state.averaged_buffers)] if len(state.averaged) else []
        return [(state.flat, state.buffers), *averaged]

    def ends(self, i: int) -> bool:
        """Return whether member i of the stack has trained long enough."""
        state, settings = self.state, self.settings
        patience = settings.patience if isinstance(settings, EncodedSettings) else 0
        waited = state.epoch - state.best_epoch[i]
        return state.epoch >= settings.epochs or waited >= (patience or settings.epochs // 4 + 1)

    def tensors(self, flat: Tensor, buffers: Tensors) -> Tensors:
        """View flat parameters (M, P) by name, together with the buffers."""
        specs = self.network.parameters
        parts = flat.split([p.size for p in specs.values()], dim=1)
        named = {name: part.view(-1, *p.shape) for (name, p), part in zip(specs.items(), parts, strict=True)}
        return named | buffers

    def _select(self) -> None:
        """Take what belongs to the members that are in the stack now, and changes in no step."""
        members, device = self.state.members, self.state.flat.device
        self.member_column = torch.tensor(members, device=device)[:, None]
        self.values = {k: v[members] for k, v in self.all_values.items()}
        self.rates = {k: self.values[k] for k in self.dropped}
        failed = self.captured is not None and self.captured.failed
        captures = self.captures and device.type == "cuda" and members and not failed
        self.captured = Captured() if captures else None

    def gradient(self, chosen: Tensor, draws: Draws) -> Tensor:
        """Return the gradient (M, P) of the members' losses on the training rows `chosen`, (M, B)."""
        flat = self.state.flat
        if self.blocked is not None:
            y, weights = (t if t is None else t.index_select(1, chosen[0]) for t in (self.fold.y, self.fold.weights))
            assert y is not None
            experts, scores = self.blocked.forward(flat, self.state.buffers, chosen[0], draws)
            network, bias = self.blocked.network, flat[:, -1]
            gradients = head_gradients(network, experts, scores, bias, y, self.task, self.values, draws, weights)
            return self.blocked.backward(*gradients)
        leaf = flat.detach().requires_grad_(True)
        x, y = self.fold.x[self.member_column, chosen], self.fold.y[self.member_column, chosen]
        weights = None if self.fold.weights is None else self.fold.weights[self.member_column, chosen]
        outputs = self.network(self.tensors(leaf, self.state.buffers), x, draws)
        losses = loss(outputs, y, self.task, self.values, weights)
        return torch.autograd.grad(losses.sum(), leaf)[0]

    def step(self, chosen: Tensor, rate: float) -> None:
        """Take one step on the training rows `chosen`, (M, B), with learning rates times `rate`."""
        state, step = self.state, self.state.optimizer.steps
        draws = Draws([self.seeds[m] for m in state.members], step, self.rates, ahead=self.ahead)
        gradient = self.gradient(chosen, draws)
        rates, decay = self.learning_rates(step) * rate, self.values["weight_decay"][:, None]
        state.optimizer.step(state.flat, gradient, rates, decay, self.fixed(step))
        if len(state.averaged):
            state.average(self.values["averaging"].clamp(max=averaging_limit(step))[:, None])
        self.streams = draws.asked

    def learning_rates(self, step: int) -> Tensor:
        """Return the members' learning rates in a step: (M, 1)."""
        return self.values["learning_rate"][:, None]

    def fixed(self, step: int) -> int:
        """Return how many of the weights, the first ones, are no longer trained in a step."""
        return 0

    def epoch(self) -> None:
        """Run one epoch: each row once, in a fresh random order, the short last batch included."""
        state = self.state
        rate = 0.5 * (1 + math.cos(math.pi * state.epoch / self.settings.epochs))
        keys = [randomness.key(self.seeds[m], "order", state.epoch) for m in state.members]
        order = randomness.permutation(keys, self.fold.x.shape[1], state.flat.device)
        if self.captured is not None:
            self.captured.epoch(self, order, rate)
        else:
            for chosen in order.split(self.settings.batch_size, dim=1):
                self.step(chosen, rate)
        state.epoch += 1

    def scores(self, weights: Tensor, buffers: Tensors) -> list[float]:
        """Return the validation score of each member in the stack with such weights and buffers; lower is better."""
        members = self.state.members
        if self.evaluated is not None:
            prediction = self.evaluated.predict(weights, buffers)
        else:
            tensors = self.tensors(weights, buffers)
            prediction = predict(self.network, tensors, self.fold.x_validation[members])
        given, y = self.fold.weights_validation, self.fold.y_validation[members]
        of_rows = 1.0 if given is None else given[members]
        return validation_scores(prediction, y, self.task, self.settings.selection, of_rows)

    def _score(self) -> None:
        state = self.state
        thin = max(1, self.last_epoch() // 100)
        found = [(self.scores(weights, buffers), weights, buffers) for weights, buffers in self.candidates()]
        for i, stopped in enumerate(state.stopped):
            if stopped:
                continue  # it waits in the stack, frozen
            score, weights, buffers = min(((scores[i], w, b) for scores, w, b in found), key=lambda one: one[0])
            if state.epoch % thin == 0 or state.epoch == 1:
                state.scores[i].append((state.epoch, score))
            if score < state.best_score[i]:
                state.best_score[i], state.best_epoch[i] = score, state.epoch
                state.best[i] = weights[i]
                for k, buffer in buffers.items():
                    state.best_buffers[k][i] = buffer[i]
            if self.ends(i):
                state.stopped[i] = True
                state.done[state.members[i]] = vars(self._trained(i))

    def run(
        self, progress: Progress | None = None, checkpoint: Path | None = None, checkpoint_seconds: float = 60.0,
        deadline: float = math.inf, advance: Advance | None = None,
    ) -> list[Trained]:  # fmt: skip
        """Train to the end and return the members in the given order.

        The state is saved in `checkpoint` every `checkpoint_seconds` (of a stack also at the end: its members are
        measured one by one) and taken up from there if the file exists; who has stored the results deletes it.
        `progress` is told in words now and then, `advance` after each epoch.

        Raises OutOfTime when the clock (`time.monotonic`) passes `deadline`.
        """
        state = self.state
        if checkpoint is not None and checkpoint.exists():
            try:
                state.load(checkpoint, vars(self._trained(0)))
                self._select()
            except torch.OutOfMemoryError:
                raise
            except (OSError, RuntimeError, EOFError, ValueError, TypeError, LookupError, pickle.PickleError) as error:
                warnings.warn(f"{checkpoint} cannot be read, training starts afresh: {error}", stacklevel=2)
        before, started, saved, said = state.seconds, time.perf_counter(), time.perf_counter(), 0.0
        left = self._advanced(len(self.seeds) * self.last_epoch(), advance)
        while state.members:
            if time.monotonic() > deadline:
                if checkpoint is not None:
                    state.save(checkpoint)
                raise OutOfTime(f"stopped in epoch {state.epoch} of {self.last_epoch()}: the time given is over")
            self.epoch()
            last, state.seconds = state.seconds, before + time.perf_counter() - started
            for member in state.members:  # each bears its part of the time that the stack takes
                state.shares[member] += (state.seconds - last) / len(state.members)
            self._score()
            left = self._advanced(left, advance)
            now = time.perf_counter()
            finished = [i for i, stopped in enumerate(state.stopped) if stopped]
            # members that have stopped leave the stack when half are done
            if len(finished) * 2 >= len(state.members):
                state.keep([i for i in range(len(state.members)) if i not in finished])
                self._select()
            elif checkpoint is not None and now - saved > checkpoint_seconds:
                state.save(checkpoint)
                saved = now
            if progress is not None and state.members and now - said > 10:
                progress(self._report())
                said = now
        if checkpoint is not None and len(self.seeds) > 1:
            state.save(checkpoint)
        return [Trained(**state.done[i]) for i in range(len(self.seeds))]

    def _advanced(self, before: int, advance: Advance | None) -> int:
        """Return how many epochs of members are left, and tell by how many these are fewer than `before`."""
        left = (self.last_epoch() - self.state.epoch) * (len(self.seeds) - len(self.state.done))
        if advance is not None and left < before:
            advance(before - left)
        return left

    def _report(self) -> str:
        state, epochs = self.state, self.last_epoch()
        best = min(range(len(state.members)), key=lambda i: state.best_score[i])
        left = state.seconds / state.epoch * (epochs - state.epoch)
        return (
            f"epoch {state.epoch}/{epochs}, best validation score {abs(state.best_score[best]):.4f} "
            f"(epoch {state.best_epoch[best]}), at most {left:.0f} s left"
        )

    def _trained(self, i: int) -> Trained:
        state = self.state
        buffers = {k: b[i : i + 1].clone() for k, b in state.best_buffers.items()}
        tensors = {k: t.clone() for k, t in self.tensors(state.best[i : i + 1], buffers).items()}
        return Trained(
            tensors, state.best_score[i], state.best_epoch[i], state.epoch,
            state.epoch < self.last_epoch(), state.scores[i], state.shares[state.members[i]],
            state.optimizer.steps,
        )  # fmt: skip
