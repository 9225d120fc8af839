"""What was run and what came out: RunSpec, its key, the Result, and the store of results.

A result belongs to no experiment. Its key is the SHA-256 of what determines it, and the store is the only
cache: `<data set>/<model>/<key>.json`, with arrays in `<key>.safetensors` and, for seed or fold 0, the
weights in `<key>.weights.safetensors`. Files are written to a temporary name, flushed, then renamed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from mixnam import datasets, explanations
from mixnam.settings import REVISIONS, Settings, make_settings

SCHEMA = 1
Arrays = dict[str, NDArray[Any]]


class UnreadableResult(Exception):
    """A result file that cannot be used; the message names the file and why."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines one trained model.

    **Examples**

    >>> from mixnam.settings import MixNAMSettings
    >>> spec = RunSpec("housing", MixNAMSettings(variation_penalty=1.0), "holdout", 0)
    >>> spec.model, len(spec.key)
    ('MixNAM', 64)
    """

    dataset: str
    settings: Settings
    split: str
    seed: int

    def __post_init__(self) -> None:
        known = datasets.entry(self.dataset)
        if self.split not in known.every_split:
            raise ValueError(
                f"split of {self.dataset} must be one of {', '.join(known.every_split)}, got {self.split!r}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be an integer >= 0, got {self.seed!r}")

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.settings.model

    @property
    def first(self) -> bool:
        """Whether this is seed or fold 0, whose weights are stored."""
        return self.seed == 0 and self.split in ("holdout", "fold0")

    @property
    def revisions(self) -> dict[str, int]:
        """Revisions of the parts that this run passes through."""
        return {part: REVISIONS[part] for part in self.settings.parts}

    @cached_property
    def key(self) -> str:
        """Return the result's identity: 64 hexadecimal digits.

        Hashed are the settings that differ from the frozen defaults, the checksum of the parsed data,
        split, seed, and the revisions of the parts passed through. Device, threads, versions and stack
        size are provenance, not identity.
        """
        return self.key_for(datasets.checksum(self.dataset))

    def key_for(self, data: str) -> str:
        """Return the key of this run on data of a given checksum."""
        identity = {
            "data": data,
            "model": self.model,
            "settings": self.settings.changed(),
            "split": self.split,
            "seed": self.seed,
            "revisions": self.revisions,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def __str__(self) -> str:
        changed = ", ".join(f"{k}={v}" for k, v in self.settings.changed().items())
        return f"{self.dataset} {self.model}{f' ({changed})' if changed else ''} {self.split} seed {self.seed}"


@dataclass(frozen=True)
class Result:
    """One trained model's outcome. `metrics` are by part (train, validation, test), in the target's units."""

    spec: RunSpec
    metrics: dict[str, dict[str, float]]
    measures: dict[str, Any]
    history: dict[str, Any]
    cost: dict[str, Any]
    provenance: dict[str, Any]
    status: str = "ok"
    key: str = ""
    revisions: dict[str, int] = field(default_factory=dict)
    folder: Path | None = None
    fresh: tuple[Arrays, Arrays] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.spec.key)
            object.__setattr__(self, "revisions", self.spec.revisions)

    @property
    def superseded(self) -> bool:
        """Whether a part that this result passed through has been revised since."""
        return self.revisions != self.spec.revisions

    @property
    def outdated(self) -> bool:
        """Whether it holds measures of an older revision, which are not to be compared with today's."""
        return "additivity" in self.measures and self.measures.get("revision") != explanations.REVISION

    @cached_property
    def arrays(self) -> Arrays:
        """Test predictions, curves, bounds and a sample of contributions, by name."""
        return self.fresh[0] if self.fresh is not None else _load_arrays(self.path(".safetensors"))

    @cached_property
    def weights(self) -> Arrays:
        """The trained weights, by name; UnreadableResult where they were not stored."""
        return self.fresh[1] if self.fresh is not None else _load_arrays(self.path(".weights.safetensors"))

    def path(self, suffix: str) -> Path:
        """Return the place of one of this result's files."""
        return (self.folder or Path()) / f"{self.key}{suffix}"

    def holds(self, path: str) -> bool:
        """Return whether this result has the number at `path`; results from before a measure existed lack it."""
        try:
            self.value(path)
        except KeyError:
            return False
        return True

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
                f"today's of revision {explanations.REVISION}; train it again, or where its weights are stored say "
                f"`python -m mixnam measure {self.key[:12]}`"
            )
        return self.measures

    def to_json(self) -> dict[str, Any]:
        """Return the content of the JSON file, schema 1."""
        settings = dataclasses.asdict(self.spec.settings)
        spec: dict[str, Any] = {"dataset": self.spec.dataset, "model": self.spec.model, "settings": settings}
        spec |= {"split": self.spec.split, "seed": self.spec.seed}
        names = ("metrics", "measures", "history", "cost", "provenance", "status", "revisions")
        return {"schema": SCHEMA, "key": self.key, "spec": spec} | {k: getattr(self, k) for k in names}


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
        run = RunSpec(spec["dataset"], settings, spec["split"], spec["seed"])
        names = ("metrics", "measures", "history", "cost", "provenance", "status", "key", "revisions")
        result = Result(run, **{k: content[k] for k in names}, folder=path.parent)
        # the data that it was trained on may not be those at hand, or there may be none
        own = (run.key, run.key_for(result.provenance.get("data_sha256", "")))
        if result.key != path.stem or (not result.superseded and result.key not in own):
            raise ValueError(f"its content belongs to key {result.key} ({run}), not to its name")
        return result
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableResult(f"{path}: {type(error).__name__}: {error}") from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name, flushed to the disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def root() -> Path:
    """Return the project's directory: where `book/` lies, above this package or the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "book" / "_config.yml").exists():
            return folder
    return Path.cwd()


class Store:
    """A directory of results. Attribute `problems`: what could not be read, a line each."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.problems: list[str] = []
        self._known: dict[str, str] = {}

    def folder(self, spec: RunSpec) -> Path:
        """Return the folder of a spec's results."""
        return self.root / spec.dataset / spec.model

    def get(self, spec: RunSpec) -> Result | None:
        """Return the stored result of `spec`, or None; an unreadable file is reported and passed over.

        Where the data are not at hand, so that their checksum is not known, it is the result of the same run on
        the data that most results of the store were trained on.
        """
        key = spec.key
        if datasets.absent(datasets.checksum(spec.dataset)):
            key = spec.key_for(self._data(spec.dataset))
        path = self.folder(spec) / f"{key}.json"
        return self._try(path) if path.exists() else None

    def current(self, spec: RunSpec) -> Result | None:
        """Return the stored result of `spec` unless its measures are outdated: then it counts as lacking."""
        result = self.get(spec)
        return None if result is None or result.outdated else result

    def _data(self, dataset: str) -> str:
        """Return the checksum of the data that most of a data set's results were trained on, else an empty text."""
        if dataset not in self._known:
            seen: Counter[str] = Counter()
            for path in sorted(self.root.glob(f"{dataset}/*/*.json")):
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    seen[json.loads(path.read_text(encoding="utf-8"))["provenance"]["data_sha256"]] += 1
            self._known[dataset] = max(seen, key=lambda data: seen[data], default="")
        return self._known[dataset]

    def _try(self, path: Path) -> Result | None:
        try:
            result = read(path)
            arrays = result.path(".safetensors")
            try:
                with safe_open(arrays, "numpy"):  # checks the header and the file's length
                    pass
            except (OSError, SafetensorError) as error:
                raise UnreadableResult(f"{path}: its arrays, {arrays.name}, cannot be read: {error}") from error
            return result
        except UnreadableResult as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
                warnings.warn(f"set aside, trained again when it is needed: {error}", stacklevel=3)
            return None

    def __iter__(self) -> Iterator[Result]:
        for path in sorted(self.root.glob("*/*/*.json")):
            result = self._try(path)
            if result is not None:
                yield result

    def put(self, result: Result) -> Result:
        """Store a fresh result and return it as read back; the JSON file is written last."""
        folder = self.folder(result.spec)
        path = folder / f"{result.key}.json"
        lines = [f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in result.to_json().items()]
        if path.exists() and self._try(path) is None:
            os.replace(path, path.with_suffix(".json.unreadable"))
        write_file(folder / f"{result.key}.safetensors", save(_contiguous(result.arrays)))
        if result.spec.first:
            write_file(folder / f"{result.key}.weights.safetensors", save(_contiguous(result.weights)))
        for left in folder.glob(f".{result.key}*.tmp"):  # from a process that was killed; the lock is ours
            left.unlink(missing_ok=True)
        write_file(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
        return read(path)

    def lock(self, spec: RunSpec) -> FileLock:
        """Return the lock of a spec's key; the system frees it when its owner dies."""
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{spec.key}.lock")

    def checkpoint(self, spec: RunSpec, stack: bool = False) -> Path:
        """Return where an unfinished training of `spec` keeps its state, or of the `stack` it belongs to."""
        name = spec.key
        if stack:
            identity = json.dumps([spec.dataset, spec.model, spec.split, spec.settings.shared()], sort_keys=True)
            name = "stack-" + hashlib.sha256(identity.encode()).hexdigest()
        return self.root / ".unfinished" / f"{name}.pt"


def _contiguous(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}
