"""What every part is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Part = dict[str, Any]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _keep(part: Part) -> None:
    """Do nothing: who measures a part alone takes what it returns."""


@dataclass(frozen=True)
class Options:
    """Attributes: `repeats`, turns of each contestant; `peer`, a checkout of the authors' repository, or empty;
    `smoke`, cut trainings to seconds, only to see that they run; `say`, told what goes on; `keep`, given what a
    long part has so far.
    """

    repeats: int = 6
    peer: str = ""
    smoke: bool = False
    say: Callable[[str], None] = _say
    keep: Callable[[Part], None] = _keep

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"--repeats must be >= 1, got {self.repeats}")
