"""Everything that training changes, as it stands in a checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixnam.models.layers import Tensors, per_member
from mixnam.training.optimizers import AdamW


def averaging_limit(step: int) -> float:
    """Return the most that an average of weights keeps in a step, counted from 0: young averages forget the start."""
    return (1 + step) / (10 + step)


@dataclass
class State:
    """The state of a stack: weights `flat` (M, P), buffers, their moving averages, the best so far, and the history.

    `members` are the numbers of those in the stack now; `done` is what became of the others; `shares` are the seconds
    that each has taken; `names` tell the members of a checkpoint apart.
    """

    flat: Tensor
    optimizer: AdamW
    buffers: Tensors
    averaged: Tensor
    averaged_buffers: Tensors
    best: Tensor
    best_buffers: Tensors
    best_score: list[float]
    best_epoch: list[int]
    scores: list[list[tuple[int, float]]]
    stopped: list[bool]
    members: list[int]
    done: dict[int, dict[str, Any]]
    shares: list[float]
    names: list[str]
    epoch: int = 0
    seconds: float = 0.0

    #: lists with one entry for each member in the stack
    listed: ClassVar[tuple[str, ...]] = ("best_score", "best_epoch", "scores", "stopped", "members")

    def keep(self, positions: list[int]) -> None:
        """Drop the members that are not at `positions`."""
        index = torch.tensor(positions, dtype=torch.long, device=self.flat.device)
        self.flat, self.best = self.flat[index], self.best[index]
        if len(self.averaged):
            self.averaged = self.averaged[index]
            self.averaged_buffers = {k: b[index] for k, b in self.averaged_buffers.items()}
        self.optimizer.first, self.optimizer.second = self.optimizer.first[index], self.optimizer.second[index]
        self.buffers = {k: b[index] for k, b in self.buffers.items()}
        self.best_buffers = {k: b[index] for k, b in self.best_buffers.items()}
        for name in self.listed:
            setattr(self, name, [getattr(self, name)[p] for p in positions])

    def average(self, decay: Tensor) -> None:
        """Move the averages towards the weights and buffers: `decay`, (M, 1), is what stays of them."""
        self.averaged.lerp_(self.flat, 1 - decay)
        for name, buffer in self.averaged_buffers.items():
            buffer.lerp_(self.buffers[name], per_member((1 - decay)[:, 0], buffer))

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content: dict[str, Any] = {k: v for k, v in vars(self).items() if k != "optimizer"}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        torch.save(content | {"adam": vars(self.optimizer)}, temporary)
        os.replace(temporary, path)

    def load(self, path: Path, one: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same members, or take what it says of them where all had ended.

        Of other members nothing is taken. `one` is what becomes of a member. Raises ValueError, or what reading does,
        for what is no state of such members; nothing is taken then.
        """
        content = torch.load(path, map_location=self.flat.device, weights_only=True)
        own = {k: v for k, v in vars(self).items() if k != "optimizer"} | {"adam": vars(self.optimizer)}
        if type(content) is not dict or content.keys() != own.keys() or type(content["names"]) is not list:
            raise ValueError("it holds other parts than a state of training")
        theirs, ended = content["names"], content["members"] == []
        if theirs != self.names and not (ended and set(self.names) <= set(theirs)):
            return
        done, members = content["done"], content["members"]
        whole = range(len(self.shares) if theirs == self.names else len(theirs))
        fitting = {k: _alike(content[k], like, len(members)) for k, like in own.items() if k not in ("names", "done")}
        fitting["shares"] = _alike(content["shares"], self.shares, len(whole))
        if "snapshots" in fitting:  # there are none at the start
            fitting["snapshots"] &= all(_alike(snapshot, self.flat, len(members)) for snapshot in content["snapshots"])
        fitting["members"] &= sorted({*members}.intersection(whole)) == members
        fitting["done"] = type(done) is dict and all(_alike(entry, one, 1) for entry in done.values())
        fitting["done"] &= {*whole} - {*members} <= {*done} <= {*whole}
        if fitting["scores"] and fitting["done"]:
            told = [*content["scores"], *(entry["scores"] for entry in done.values())]
            fitting["scores"] = {(*map(type, pair),) for pairs in told for pair in pairs} <= {(int, float)}
        wrong = [name for name, fits in fitting.items() if not fits]
        if wrong:
            raise ValueError(f"its {', '.join(wrong)} are of other types or shapes")
        if theirs == self.names:
            vars(self.optimizer).update(content.pop("adam"))
            vars(self).update(content)
        else:
            self.done = {i: done[theirs.index(name)] for i, name in enumerate(self.names)}
            self.members = []


def _alike(found: Any, like: Any, rows: int) -> bool:
    """Return whether a value has another's types and shapes, but with so many rows."""
    if type(found) is not type(like):
        return False
    if isinstance(like, Tensor):
        shape = (rows, *like.shape[1:]) if len(like) else like.shape
        return (found.dtype, found.layout, found.shape) == (like.dtype, like.layout, shape) and not found.requires_grad
    if isinstance(like, dict):
        return found.keys() == like.keys() and all(_alike(found[k], like[k], rows) for k in like)
    if not isinstance(like, list) or not like:
        return True
    return len(found) == rows and all(type(entry) is type(like[0]) for entry in found)
