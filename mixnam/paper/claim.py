"""Claims of the paper, as `claims.toml` states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mixnam.paper import checks, derived, published

#: How a claim is judged; `verdicts` has the rule of each. A static one is checked without results.
KINDS = ("value", "order", "tie", "trend", "threshold", "mean", "static")


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, as read from `claims.toml`.

    Attributes: `subjects`, the models compared, each a model name, setting overrides and, where it is not
    the claim's, a data set, the one that the claim is about first; `measure`, a path into a result,
    `derived.NAME`, `joint.NAME`, `pooled.NAME` or `crossed.NAME` (module `derived`), or for the static kind
    `static.NAME` (module `checks`); `table` and `quantity`, where the printed numbers stand; `margin` and `limit`, in
    the measure's units (of an order: the least difference); `better`, -1 or 1 where lower or higher is better,
    0 where neither is; `ties`, how many leading steps of a trend may tie; `share`, the share of runs that must
    pass a threshold; `one_model`, whether the printed number stands on one model, so that its ± is none;
    `unavailable`, what keeps the claim from being tested whatever data are at hand.
    """

    id: str
    place: str
    statement: str
    page: str
    kind: str
    measure: str
    dataset: str = "housing"
    table: str = ""
    subjects: tuple[Mapping[str, Any], ...] = ()
    quantity: str = ""
    margin: float = 0.0
    limit: float = 0.0
    better: int = 0
    ties: int = 0
    share: float = 1.0
    one_model: bool = False
    note: str = ""
    unavailable: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"claim {self.id}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind in ("order", "trend", "mean") and self.better == 0 and not self.unavailable:
            raise ValueError(f"claim {self.id}: {self.kind} needs better = 1 or -1")
        least = {"static": 0, "value": 1, "threshold": 1, "mean": 1}.get(self.kind, 2)
        if len(self.subjects) < least and not self.unavailable:
            raise ValueError(f"claim {self.id}: {self.kind} needs at least {least} subjects, got {len(self.subjects)}")
        derived.check(self.measure)
        if self.kind == "static" and self.measure.removeprefix("static.") not in checks.CHECKS:
            raise ValueError(f"claim {self.id}: no check {self.measure!r}; known are {', '.join(checks.CHECKS)}")

    @property
    def joint(self) -> bool:
        """Whether the measure takes the results of all subjects together."""
        return self.measure.startswith(("joint.", "pooled.", "crossed."))


@cache
def claims() -> tuple[Claim, ...]:
    """Read the claims; ValueError names a claim with unknown or missing entries."""
    found = []
    for entry in published.entries("claim"):
        try:
            found.append(Claim(**(entry | {"subjects": tuple(entry.get("subjects", ()))})))
        except (TypeError, KeyError) as error:
            raise ValueError(f"claim {entry.get('id', '?')}: {error}") from error
    return tuple(found)
