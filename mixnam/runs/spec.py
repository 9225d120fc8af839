"""One run: everything that determines one trained model, and the key that it has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from mixnam.data import catalogue
from mixnam.data.splits import FOLDS, HOLDOUT, HOLDOUTS
from mixnam.data.table import DataMissing
from mixnam.models import REVISIONS, LibrarySettings, Settings


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines one trained model.

    **Examples**

    >>> from mixnam.models import MixNAMSettings
    >>> spec = RunSpec("housing", MixNAMSettings(variation_penalty=1.0), "holdout", 0)
    >>> spec.model, len(spec.key)
    ('MixNAM', 64)
    """

    dataset: str
    settings: Settings
    split: str
    seed: int

    def __post_init__(self) -> None:
        known = catalogue.entry(self.dataset)
        if self.split not in known.every_split:
            raise ValueError(
                f"split of {self.dataset} must be one of {', '.join(known.every_split)}, got {self.split!r}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be an integer >= 0, got {self.seed!r}")

    @classmethod
    def stored(cls, dataset: str, settings: Settings, split: str, seed: int) -> Self:
        """Return the spec of a stored run: nobody here need know its data set, and its key needs their checksum."""
        made = object.__new__(cls)
        for name, value in (("dataset", dataset), ("settings", settings), ("split", split), ("seed", seed)):
            object.__setattr__(made, name, value)
        return made

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.settings.model

    @property
    def first(self) -> bool:
        """Whether this is seed or fold 0, whose weights are stored."""
        return self.seed == 0 and self.split in ("holdout", "fold0")

    @property
    def repetition(self) -> str:
        """What tells this run from others of the same settings: its seed on the one split, its fold, or both."""
        if self.split in HOLDOUT:
            return f"seed {self.seed}"
        return f"{self.split} seed {self.seed}" if self.split in HOLDOUTS or self.seed else self.split

    @property
    def revisions(self) -> dict[str, int]:
        """Revisions of the parts that this run passes through."""
        return {part: REVISIONS[part] for part in self.settings.parts}

    @cached_property
    def key(self) -> str:
        """Return the result's identity: 64 hexadecimal digits.

        Hashed are the settings that differ from the frozen defaults, the checksum of the parsed data,
        split, seed, and the revisions of the parts passed through. Device, threads, versions and stack
        size are provenance, not identity. Raises DataMissing where the data are not at hand.
        """
        checksum = catalogue.checksum(self.dataset)
        if checksum is None:
            raise DataMissing(
                f"{self}: without its data a run has no key. Remedy: {catalogue.entry(self.dataset).remedy}"
            )
        return self.key_for(checksum)

    def key_for(self, data: str, revisions: Mapping[str, int] | None = None) -> str:
        """Return the key of this run on data of a given checksum, by today's revisions or by others."""
        identity = {
            "data": data,
            "model": self.model,
            "settings": self.settings.changed(),
            "split": self.split,
            "seed": self.seed,
            "revisions": revisions or self.revisions,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def __str__(self) -> str:
        changed = ", ".join(f"{k}={v}" for k, v in self.settings.changed().items())
        return f"{self.dataset} {self.model}{f' ({changed})' if changed else ''} {self.split} seed {self.seed}"


def repetitions(dataset: str, seeds: int, folds: int | None = None) -> list[tuple[str, int]]:
    """Return the split and seed of each run on a data set: so many seeds of one split, or folds with seed 0.

    Five `folds` are all, of data that have more, too.
    """
    splits = catalogue.entry(dataset).splits
    few = folds if folds is not None and folds < len(FOLDS) else None
    return [(HOLDOUT[0], seed) for seed in range(seeds)] if splits == HOLDOUT else [(s, 0) for s in splits[:few]]


def stacks(specs: Sequence[RunSpec], side_by_side: bool) -> list[list[RunSpec]]:
    """Group specs that can train side by side, in the order given; else each stands alone."""
    groups: dict[object, list[RunSpec]] = {}
    for i, spec in enumerate(specs):
        shared = tuple(spec.settings.shared().items())
        # folds differ in their row counts, and nothing is padded: each is a stack of its own
        alone = None if side_by_side and not isinstance(spec.settings, LibrarySettings) else i
        groups.setdefault((spec.dataset, spec.model, shared, spec.split, alone), []).append(spec)
    return list(groups.values())
