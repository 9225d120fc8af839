"""What came out of one training; a result belongs to no experiment."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
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
from mixnam.models import Settings, make_settings
from mixnam.runs.spec import RunSpec

SCHEMA = 1
Arrays = dict[str, NDArray[Any]]


def _numbers(found: list[Any]) -> bool:
    """Return whether a list holds finite numbers alone, or null."""
    return set(map(type, found)) <= {int, float, type(None)} and math.isfinite(sum(filter(None, found)))


def _pairs(found: list[Any]) -> bool:
    """Return whether a list holds pairs of finite numbers alone."""
    return all(type(one) is list and len(one) == 2 for one in found) and _numbers(list(chain.from_iterable(found)))


_NUMBER, _MAYBE = (int, float), (int, float, type(None))
_VALUE = (*_MAYBE, str, _numbers)
_UNDEFINED = ("r2", "auc", "average_precision")
#: What a record holds: each part is of one of some types, a mapping of parts by name, or a list; numbers are finite.
#: "*" stands for all other names, "?" has the names that may be missing.
_RECORD = {
    "key": (str,), "revisions": ({"*": (int,)},), "sha256": ({"*": (str,)},), "?": ("sha256",),
    "spec": ({"dataset": (str,), "model": (str,), "settings": (dict,), "split": (str,), "seed": (int,)},),
    # scores that are not defined are null: R² of a single row, the others of a single class
    "metrics": ({"*": (dict.fromkeys(_UNDEFINED, _MAYBE) | {"*": _NUMBER, "?": _UNDEFINED},)},),
    "measures": ({
        "revision": (int,), "importance": ({"per_feature": (_numbers,)},), "?": ("revision", "importance"),
        "*": (*_VALUE, {"*": (*_VALUE, {"*": _VALUE})}),
    },),
    "history": ({"validation_scores": (_pairs,), "?": ("validation_scores",), "*": (*_VALUE, bool)},),
    "cost": ({"fit_seconds": _NUMBER, "explain_seconds": _NUMBER, "*": _MAYBE},),
    "provenance": ({
        **dict.fromkeys(("preset", "device", "device_type", "data_sha256", "data_source"), (str,)), "threads": (int,),
        "versions": ({"torch": (str,), "*": (str,)},), "git_commit": (str, type(None)), "dirty": (bool, type(None)),
    },),
}  # fmt: skip


class UnreadableResult(Exception):
    """A result file that cannot be used; the message names the file and why, in one line that can be printed."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split())[:500].encode("utf-8", "backslashreplace").decode())


class NewerResult(UnreadableResult):
    """A result file that a later version wrote, which is neither renamed nor overwritten."""


@dataclass(frozen=True)
class Result:
    """One trained model's outcome. `metrics` are by part (train, validation, test), in the target's units.

    A metric that is not defined, as the R² of one row, is None. `sha256` has the checksums of its files, by suffix, and
    of its record's own content as `.json`, which results of before 0.12.0 lack; those of before 0.7.0 have none.
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
    def revised(self) -> str:
        """Why it is superseded, as "trained by revision 1 of mixture, this version has 2", or nothing."""
        pairs = [(part, known, self.spec.revisions[part]) for part, known in self.revisions.items()]
        return ", ".join(f"trained by revision {a} of {part}, this version has {b}" for part, a, b in pairs if a != b)

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
            _check_file(path)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError) as error:
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
        if not isinstance(found, _MAYBE):
            raise KeyError(f"result {self.key[:12]} ({self.spec}) holds no number {path!r}")
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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _load_arrays(path: Path) -> Arrays:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UnreadableResult(f"{path}: {error}") from error


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's content as canonical JSON, less that of its own checksum."""
    sums = {suffix: known for suffix, known in content["sha256"].items() if suffix != ".json"}
    text = json.dumps({**content, "sha256": sums}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _wrong(found: Any, expected: Any) -> str:
    """Return what of a part of a record is not as `_RECORD` says: its place, the value, what it must be; or nothing."""
    kind, fields = type(found), expected[-1]
    if kind in expected:
        return f" is {found}, not finite" if kind in (int, float) and not math.isfinite(found) else ""
    if kind is list and any(one(found) for one in expected if one in (_numbers, _pairs)):
        return ""
    if not type(fields) is kind is dict:
        kinds = ("null" if one is type(None) else getattr(one, "__name__", "dict").strip("_") for one in expected)
        return f" is {found!s:.60}, not {' or '.join(kinds)}"
    lacking = fields.keys() - found.keys() - {"*", "?", *fields.get("?", ())}
    if lacking:
        return f".{min(lacking)} is missing"
    others = fields.get("*")
    for name, one in found.items():
        parts = fields.get(name, others)
        if parts and (wrong := _wrong(one, parts)):
            return f".{name}{wrong}"
    return ""


def _check_file(path: Path) -> None:
    """Raise ValueError for what is there and no file, such as a pipe, which reading would wait for."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")


@lru_cache(maxsize=4096)
def _settings(model: str, values: str) -> Settings:
    """Return the settings that a JSON text holds."""
    return make_settings(model, json.loads(values))


def read(path: Path) -> Result:
    """Read one result; UnreadableResult names the file and what is wrong with it, NewerResult where it is of later."""
    try:
        _check_file(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        if type(content) is not dict or type(content.get("schema")) is not int:
            raise ValueError("it holds no record with a schema")
        if content["schema"] > SCHEMA:
            raise NewerResult(
                f"{path}: schema {content['schema']}, expected {SCHEMA}: a later version wrote it; update mixnam, or "
                "name another directory with --results"
            )
        if (content["schema"], content.get("status")) != (SCHEMA, "ok"):
            raise ValueError(
                f"schema {content['schema']} and status {content.get('status')!r:.60}, expected 1 and 'ok'"
            )
        wrong = _wrong(content, (_RECORD,))
        if wrong:
            raise ValueError(wrong.removeprefix("."))
        spec = content["spec"]
        settings = _settings(spec["model"], json.dumps(spec["settings"]))
        run = RunSpec.stored(spec["dataset"], settings, spec["split"], spec["seed"])
        names = ("metrics", "measures", "history", "cost", "provenance", "key", "revisions")
        result = Result(run, **{k: content[k] for k in names}, sha256=content.get("sha256", {}), folder=path.parent)
        if (path.parent.parent.name, path.parent.name) != (run.dataset, run.model):
            raise ValueError(f"its content is of {run.dataset} and {run.model}, not of its folders")
        if result.revisions.keys() != run.revisions.keys():
            raise ValueError(
                f"its revisions are of {', '.join(result.revisions) or 'nothing'}, not of {', '.join(run.revisions)}"
            )
        # the data that it was trained on may not be those at hand, or there may be none
        own = run.key_for(result.provenance["data_sha256"], result.revisions)
        if not result.key == path.stem == own:
            raise ValueError(f"its content belongs to key {own} ({run}), not to its name")
        known, made = result.sha256.get(".json"), result.provenance["versions"].get("mixnam", "0.0").split(".")
        if known is None and [int(part) if part.isdecimal() else 0 for part in made[:2]] >= [0, 12]:
            raise ValueError("its content was changed after it was stored: it has no checksum of its own")
        if known is not None and known != digest(content):
            raise ValueError(
                f"its content was changed after it was stored (SHA-256 {digest(content)[:12]}, not {known[:12]})"
            )
        return result
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UnreadableResult(f"{path}: {error}") from error
