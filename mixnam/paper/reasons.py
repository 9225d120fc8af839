"""Why a score may lie far from the paper's: the reasons that are known, each for a model and what it holds for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mixnam.models import MODELS
from mixnam.paper import experiments, published
from mixnam.paper.experiments import Case
from mixnam.paper.presets import PRESETS


@dataclass(frozen=True)
class Reason:
    """Why a model's score may lie far from the paper's, as read from `reasons.toml`.

    `row`, a row of the accuracy page; `dataset`; `preset`; and `side`, better or worse than the paper: where
    one is empty the reason holds for any.
    """

    model: str
    text: str
    row: str = ""
    dataset: str = ""
    preset: str = ""
    side: str = ""

    def __post_init__(self) -> None:
        rows = [c.label for c in experiments.cases("accuracy", "paper") if c.model == self.model]
        data = dict.fromkeys(published.table("table1_accuracy")["dataset"])
        known = {"model": MODELS, "row": ("", *rows), "dataset": ("", *data), "preset": ("", *PRESETS)}
        known["side"] = ("", "better", "worse")
        for name, allowed in known.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"reason for {self.model}: {name} must be one of {', '.join(allowed)}")

    def fits(self, row: str, dataset: str, preset: str, side: str) -> bool:
        """Return whether the reason holds for a row on a data set."""
        return all(mine in ("", asked) for mine, asked in zip(self._where, (row, dataset, preset, side), strict=True))

    @property
    def _where(self) -> tuple[str, ...]:
        return self.row, self.dataset, self.preset, self.side


@cache
def reasons() -> tuple[Reason, ...]:
    """Read the reasons, the most particular first; ValueError names an entry that cannot be used."""
    try:
        found = [Reason(**entry) for entry in published.entries("reason")]
    except TypeError as error:
        raise ValueError(f"reasons.toml: {error}") from error
    return tuple(sorted(found, key=lambda r: -sum(map(bool, r._where))))


def reason(case: Case, dataset: str, preset: str, side: str) -> str:
    """Return the known reason for a gap, or that none is known."""
    fitting = (r.text for r in reasons() if r.model == case.model and r.fits(case.label, dataset, preset, side))
    return next(fitting, "no reason known yet")
