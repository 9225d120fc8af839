"""A process of its own for one contestant: builds it, takes steps when told, says what they took.

`process.Worker` starts it and speaks to it in lines of JSON: {"build": job}, {"steps": count}, {"peak": true}.
Its own process keeps a contestant's memory apart from that of the others.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.contestants import CONTESTANTS, Step
from benchmarks.job import Job
from mixnam.runs.machine import peak_mb, reset_peak

CPU = torch.device("cpu")


def _rehearse() -> None:
    """Let torch load what it loads when an optimizer or a backward pass is first used: it is nobody's step."""
    weight = torch.zeros(4, 2, 1, requires_grad=True)
    h = F.conv1d(torch.randn(8, 4, 1), weight, groups=2)
    h = F.dropout(F.layer_norm(torch.relu(h), (1,)), 0.5)
    optimizer = torch.optim.AdamW([weight])
    (h.sum() + torch.mm(weight[..., 0], torch.randn(2, 2)).sum()).backward()
    optimizer.step()


class Session:
    """One worker's state: the step it has built, and its memory before."""

    def __init__(self) -> None:
        self.step: Step | None = None
        _rehearse()
        reset_peak(CPU)
        self.before = peak_mb(CPU)

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Obey one command."""
        if "build" in command:
            self.step = None  # the one before goes first
            values = command["build"]
            job = Job(**values | {"distinct": tuple(values["distinct"])})
            self.step, how = CONTESTANTS[job.contestant].build(job)
            return how
        if "steps" in command:
            return {"seconds": self.steps(int(command["steps"]))}
        return {"peak_mb": peak_mb(CPU) - self.before}

    def steps(self, count: int) -> float:
        """Return the seconds that `count` steps took."""
        assert self.step is not None
        started = time.perf_counter()
        for _ in range(count):
            self.step()
        return time.perf_counter() - started


def main(threads: int) -> None:
    """Obey the lines on standard input until it ends."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    session = Session()
    for line in sys.stdin:
        print(json.dumps(session.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
