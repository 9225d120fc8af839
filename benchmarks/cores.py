"""Equal cores: two processes of ours, one thread each, against two threads of the others, on Housing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks import memory
from benchmarks.contestants import described
from benchmarks.options import Options, Part
from benchmarks.process import Worker
from benchmarks.shapes import HOUSING
from benchmarks.timing import median, takes_part, turn_steps

CORES = 2
TURN = 2.0  # seconds that processes run side by side in one turn, about
RIVALS = ["ours", "elementwise", "loop", "conv1d"]


class Team:
    """Processes that train the same contestant at the same time."""

    def __init__(self, contestant: str, processes: int, threads: int) -> None:
        self.contestant, self.processes, self.threads = contestant, processes, threads
        self.rates: list[float] = []

    @property
    def cores(self) -> int:
        """How many cores the team can keep busy."""
        return self.processes * self.threads

    def start(self, stack: ExitStack, options: Options) -> None:
        """Start the processes, to be ended by `stack`, and let each take one step."""
        settings, n = HOUSING.settings, HOUSING.features
        # side by side they share what one may take
        self.rows = memory.rows_that_fit(self.contestant, settings, n, memory.limit() // self.processes)
        self.workers = [stack.enter_context(Worker(self.threads)) for _ in range(self.processes)]
        for worker in self.workers:
            worker.build(HOUSING.job(self.contestant, self.rows, options.peer))
        self.first = max(worker.seconds(1) for worker in self.workers)
        self.steps = turn_steps(max(worker.seconds(1) for worker in self.workers) if self.first < TURN else TURN, TURN)

    def turn(self) -> None:
        """Take a turn's steps in all processes at once, and note the rows a second of all together."""
        for worker in self.workers:
            worker.tell({"steps": self.steps})
        done = self.rows * self.steps
        self.rates.append(sum(done / float(worker.hear()["seconds"]) for worker in self.workers))

    def entry(self, ours: float) -> dict[str, Any]:
        """Return what is recorded of the team, beside ours on as many cores."""
        rate = median(self.rates)
        return {
            "contestant": self.contestant, "cores": self.cores, "processes": self.processes,
            "threads": self.threads, "rows": self.rows, "rates": self.rates, "rows_per_second": rate,
            "ratio": ours / rate,
        }  # fmt: skip


def teams(names: Sequence[str]) -> list[Team]:
    """Return everyone on one core, then on `CORES`: ours in processes, the others in threads."""
    both = [Team(name, CORES, 1) if name == "ours" else Team(name, 1, CORES) for name in names]
    return [Team(name, 1, 1) for name in names] + both


def measure(options: Options) -> Part:
    """Measure the part `cores`."""
    names = [*RIVALS, "authors"] if options.peer else RIVALS
    plan = teams(names)
    with ExitStack() as stack:
        for team in plan:
            options.say(f"cores: {team.contestant} on {team.cores}")
            team.start(stack, options)
        for i in range(options.repeats):
            for team in plan:
                if takes_part(team.first, i, options.repeats):
                    team.turn()
    ours = {team.cores: median(team.rates) for team in plan if team.contestant == "ours"}
    return {
        "shape": HOUSING.name,
        "settings": HOUSING.settings.all(),
        "labels": described(names),
        "teams": [team.entry(ours[team.cores]) for team in plan],
    }
