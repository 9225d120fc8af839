"""Everything that training changes, as it stands in a checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixnam.models.layers import Tensors
from mixnam.training.optimizers import AdamW


@dataclass
class State:
    """The state of a stack: weights `flat` (M, P), buffers, the best of both so far, and each member's history.

    `members` are the numbers of those in the stack now; `done` is what became of the others; `shares` are the seconds
    that each has taken; `names` tell the members of a checkpoint apart.
    """

    flat: Tensor
    optimizer: AdamW
    buffers: Tensors
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
        self.optimizer.first, self.optimizer.second = self.optimizer.first[index], self.optimizer.second[index]
        self.buffers = {k: b[index] for k, b in self.buffers.items()}
        self.best_buffers = {k: b[index] for k, b in self.best_buffers.items()}
        for name in self.listed:
            setattr(self, name, [getattr(self, name)[p] for p in positions])

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content: dict[str, Any] = {k: v for k, v in vars(self).items() if k != "optimizer"}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        torch.save(content | {"adam": vars(self.optimizer)}, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same members, or take what it says of them where all had ended."""
        content = torch.load(path, map_location=self.flat.device, weights_only=True)
        theirs = content["names"]
        if theirs == self.names:
            vars(self.optimizer).update(content.pop("adam"))
            vars(self).update(content)
        elif not content["members"] and set(self.names) <= set(theirs):
            self.done = {i: content["done"][theirs.index(name)] for i, name in enumerate(self.names)}
            self.members = []
