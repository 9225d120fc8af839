"""Seconds a step, contestants in turn: a, b, c, a, b, c …, so that noise on the machine hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.process import Worker

TURN = 0.3  # seconds, about, that short steps are repeated for in one turn
SLOW = 2.0  # seconds a step from which on a contestant gets two turns in all


def turn_steps(seconds: float, turn: float = TURN) -> int:
    """Return how many steps of `seconds` make a turn."""
    return max(1, round(turn / max(seconds, 1e-6)))


def takes_part(first: float, turn: int, repeats: int) -> bool:
    """Say whether a contestant whose first step took `first` seconds is measured in this turn."""
    return first < SLOW or turn % max(repeats // 2, 1) == 0


def interleaved(workers: Mapping[str, Worker], repeats: int, turn: float = TURN) -> dict[str, list[float]]:
    """Return the seconds a step of each turn of each contestant; a first step each is not counted.

    A turn of short steps begins with one that is not counted either: the contestant before has left the caches full.
    """
    firsts = {name: worker.seconds(1) for name, worker in workers.items()}
    steps = {
        name: turn_steps(worker.seconds(1), turn) if firsts[name] < SLOW else 1 for name, worker in workers.items()
    }
    times: dict[str, list[float]] = {name: [] for name in workers}
    for i in range(repeats):
        for name, worker in workers.items():
            if takes_part(firsts[name], i, repeats):
                if steps[name] > 1:
                    worker.seconds(1)
                times[name].append(worker.seconds(steps[name]) / steps[name])
    return times


def median(times: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(times)
