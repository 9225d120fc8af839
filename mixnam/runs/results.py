"""What came out of one training; a result belongs to no experiment."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mixnam.data import catalogue
from mixnam.data.splits import split_rows
from mixnam.data.table import About, Array, DataError, Table
from mixnam.explain.measures import REVISION
from mixnam.models import make_settings
from mixnam.runs.spec import RunSpec

SCHEMA = 1
Arrays = dict[str, NDArray[Any]]


class UnreadableResult(Exception):
    """A result file that cannot be used; the message names the file and why."""


@dataclass(frozen=True)
class Result:
    """One trained model's outcome. `metrics` are by part (train, validation, test), in the target's units.

    A metric that is not defined, as the R² of one row, is None. `sha256` has the checksums of the files beside its own,
    by suffix; results of before 0.7.0 have none.
    """

    spec: RunSpec
    metrics: Mapping[str, Mapping[str, float | None]]
    measures: dict[str, Any]
    history: dict[str, Any]
    cost: dict[str, Any]
    provenance: dict[str, Any]
    key: str = ""
    revisions: dict[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    fresh: tuple[Arrays, Arrays] | None = field(default=None, repr=False, compare=False)
    table: Table | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.spec.key_for(self.provenance["data_sha256"]))
            object.__setattr__(self, "revisions", self.spec.revisions)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the trainings that it rests on: its own."""
        return (self.key,)

    @property
    def model(self) -> str:
        """What its model is called."""
        return self.spec.model

    @property
    def importance(self) -> Array:
        """The mean absolute contribution of each feature, (n,); KeyError where the model has none."""
        return np.array(self.measures["importance"]["per_feature"])

    @property
    def superseded(self) -> bool:
        """Whether a part that this result passed through has been revised since."""
        return self.revisions != self.spec.revisions

    @property
    def outdated(self) -> bool:
        """Whether it holds measures of an older revision, which are not to be compared with today's."""
        return "additivity" in self.measures and self.measures.get("revision") != REVISION

    @cached_property
    def arrays(self) -> Arrays:
        """Test predictions, curves, bounds and a sample of contributions, by name."""
        return self.fresh[0] if self.fresh is not None else self._beside(".safetensors")

    @cached_property
    def weights(self) -> Arrays:
        """The trained weights, by name; UnreadableResult where they were not stored, or others were."""
        return self.fresh[1] if self.fresh is not None else self._beside(".weights.safetensors")

    @cached_property
    def about(self) -> About:
        """What the table was that it was trained on; DataMissing where neither a description nor the data are there.

        A store holds one description for all results on the same data; the names of a user's table are those that it
        has now.
        """
        with contextlib.suppress(ValueError):  # nobody knows the name any more, or its file cannot be read
            known = catalogue.entry(self.spec.dataset)
            if known.features and known.checksum == self.provenance["data_sha256"]:
                return catalogue.load(self.spec.dataset).about
        return described(self._description) or self.trained_on().about

    @cached_property
    def targets(self) -> Array:
        """The targets of the test rows, in their order; DataMissing where they are not at hand."""
        known = self._description
        if known is not None:
            with contextlib.suppress(UnreadableResult, KeyError):  # not there, or damaged: the data may be at hand
                return _load_arrays(known.with_suffix(".safetensors"))[self.spec.split].astype(np.float64)
        table = self.trained_on()
        return table.y[split_rows(table, self.spec.split, self.spec.seed).test]

    @property
    def _description(self) -> Path | None:
        return None if self.folder is None else about_file(self.folder.parent, self.provenance["data_sha256"])

    def trained_on(self, download: bool = False) -> Table:
        """Return the data themselves; DataMissing where they are not at hand, DataError where others are."""
        table = self.table or catalogue.load(self.spec.dataset, download=download)
        theirs = self.provenance["data_sha256"]
        if table.checksum != theirs:
            raise DataError(
                f"{self.key[:12]} {self.spec}: it was trained on other data (SHA-256 {theirs[:12]}) than are at hand "
                f"({table.checksum[:12]}); put back the files it was trained on"
            )
        return table

    def path(self, suffix: str) -> Path:
        """Return the place of one of this result's files."""
        return (self.folder or Path()) / f"{self.key}{suffix}"

    def check(self, suffix: str) -> None:
        """Raise UnreadableResult where one of this result's files is not the one that it was stored with."""
        path, known = self.path(suffix), self.sha256.get(suffix)
        if known is None:
            return
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UnreadableResult(f"{path}: {error}") from error
        if found != known:
            raise UnreadableResult(
                f"{path}: it is not the file that the result was stored with (SHA-256 {found[:12]}, not {known[:12]})"
            )

    def _beside(self, suffix: str) -> Arrays:
        self.check(suffix)
        return _load_arrays(self.path(suffix))

    def value(self, path: str) -> float:
        """Return a stored number by dotted path, as `metrics.test.rmse` or `measures.additivity.marginal`.

        Raises KeyError where there is none, or where it is a measure of an older revision.
        """
        measures = self.current_measures() if path.startswith("measures.") else {}
        found: Any = {"metrics": self.metrics, "measures": measures, "cost": self.cost}
        for part in path.split("."):
            if not isinstance(found, dict) or part not in found:
                raise KeyError(f"result {self.key[:12]} ({self.spec}) holds no {path!r}: {part!r} is missing")
            found = found[part]
        return float("nan") if found is None else float(found)

    def current_measures(self) -> dict[str, Any]:
        """Return the measures; KeyError where they are of an older revision and must not stand beside today's."""
        if self.outdated:
            raise KeyError(
                f"result {self.key[:12]} ({self.spec}): its measures are of revision {self.measures['revision']}, "
                f"today's of revision {REVISION}; train it again, or where its weights are stored say "
                f"`python -m mixnam measure {self.key[:12]}`"
            )
        return self.measures

    def to_json(self) -> dict[str, Any]:
        """Return the content of the JSON file, schema 1."""
        settings = dataclasses.asdict(self.spec.settings)
        spec: dict[str, Any] = {"dataset": self.spec.dataset, "model": self.spec.model, "settings": settings}
        spec |= {"split": self.spec.split, "seed": self.spec.seed}
        content = {k: getattr(self, k) for k in ("metrics", "measures", "history", "cost", "provenance", "sha256")}
        whole = {"schema": SCHEMA, "key": self.key, "spec": spec} | content
        return whole | {"status": "ok", "revisions": self.revisions}


def about_file(folder: Path, data: str) -> Path:
    """Return where a store describes the data of a checksum: in a data set's folder, beside those of its models."""
    return folder / f"{data}.json"


def described(path: Path | None) -> About | None:
    """Return what a store's description says of its data, None where there is none or it is damaged."""
    try:
        return None if path is None else About.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _load_arrays(path: Path) -> Arrays:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UnreadableResult(f"{path}: {error}") from error


def read(path: Path) -> Result:
    """Read one result; UnreadableResult names the file and what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}, expected {SCHEMA}; update mixnam to read it")
        spec = content["spec"]
        settings = make_settings(spec["model"], spec["settings"])
        run = RunSpec.stored(spec["dataset"], settings, spec["split"], spec["seed"])
        if content["status"] != "ok":
            raise ValueError(f"status {content['status']!r}, expected 'ok'")
        names = ("metrics", "measures", "history", "cost", "provenance", "key", "revisions")
        sums = {suffix: str(known) for suffix, known in dict(content.get("sha256", {})).items()}
        result = Result(run, **{k: content[k] for k in names}, sha256=sums, folder=path.parent)
        # the data that it was trained on may not be those at hand, or there may be none
        if (path.parent.parent.name, path.parent.name) != (run.dataset, run.model):
            raise ValueError(f"its content is of {run.dataset} and {run.model}, not of its folders")
        own = run.key_for(result.provenance["data_sha256"])
        if result.key != path.stem or (not result.superseded and result.key != own):
            raise ValueError(f"its content belongs to key {result.key} ({run}), not to its name")
        return result
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableResult(f"{path}: {type(error).__name__}: {error}") from error
