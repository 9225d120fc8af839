"""The parent's side of a worker process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from benchmarks.job import Job

_ROOT = Path(__file__).resolve().parents[1]


class Worker:
    """A fresh process that measures one contestant at a time, on `threads` threads.

    Raises RuntimeError, with what to do, when the process ends before its answer.
    """

    def __init__(self, threads: int = 1) -> None:
        count = str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        self.label = "no contestant yet"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", count],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=environment,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()  # it may be in the middle of a step, and has nothing to lose
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command, whose answer `hear` returns."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._ended()

    def hear(self) -> dict[str, Any]:
        """Wait for the answer to the last command."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> NoReturn:
        code = self.process.wait()
        killed = code < 0
        remedy = "probably out of memory: end what else runs here" if killed else "its own message stands above"
        raise RuntimeError(f"{self.label}: the measuring process ended with code {code}; {remedy}")

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.tell(command)
        return self.hear()

    def build(self, job: Job) -> dict[str, Any]:
        """Build a contestant in place of the one before; return what it says of itself."""
        self.label = job.contestant
        return self.ask({"build": job.as_dict()})

    def seconds(self, steps: int) -> float:
        """Return the seconds that `steps` steps take."""
        return float(self.ask({"steps": steps})["seconds"])

    def peak_mb(self) -> float:
        """Return the peak memory since the process had imported torch, in MB."""
        return float(self.ask({"peak": True})["peak_mb"])


@contextmanager
def workers(threads: Mapping[str, int]) -> Iterator[dict[str, Worker]]:
    """Start a worker for each name, on so many threads, and end them all afterwards."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Worker(count)) for name, count in threads.items()}
