"""The store of results: a directory, a file a result, and a lock a key.

It is the only cache: `<data set>/<model>/<key>.json`, with arrays in `<key>.safetensors` and, for seed or fold 0, the
weights in `<key>.weights.safetensors`; the JSON holds the SHA-256 of both, and of its own content. What the data are,
and the test targets of open data, is in `<data set>/<checksum>.json` and `.safetensors`. Files are written to a
temporary name, flushed, then renamed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mixnam.data import catalogue
from mixnam.data.splits import split_rows
from mixnam.data.table import Table
from mixnam.models import Settings
from mixnam.runs.files import sweep, write_file
from mixnam.runs.results import Arrays, NewerResult, Result, UnreadableResult, about_file, described, digest, read
from mixnam.runs.spec import RunSpec

#: Every result read in this process, with the stamps (time, size) of its files: none is opened twice. A text says why
#: it cannot be used.
_READ: dict[Path, tuple[list[tuple[int, int]], Result | str]] = {}
#: Folders in which a result was looked for and not found in this process.
_SOUGHT: set[Path] = set()


@dataclass(frozen=True)
class Group:
    """The results of one model on one data set."""

    results: tuple[Result, ...] = ()
    changed: int = 0

    @cached_property
    def runs(self) -> dict[Settings, dict[tuple[str, str, int], Result]]:
        """The results that are not superseded, by settings, then by the checksum of their data, split and seed."""
        found: dict[Settings, dict[tuple[str, str, int], Result]] = {}
        for result in self.results:
            if not result.superseded:
                spec = result.spec
                run = result.provenance["data_sha256"], spec.split, spec.seed
                found.setdefault(spec.settings, {})[run] = result
        return found


#: Every group read in this process, by its folder.
_GROUPS: dict[Path, Group] = {}
#: A folder that changed within the clock's step may change again and look the same: seconds that it is not trusted for.
_UNSETTLED = 0.1
_WEIGHTS = ".weights.safetensors"


class Store:
    """A directory of results."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def problems(self) -> list[str]:
        """What this process read here and cannot use, a line each."""
        root = self.root.absolute()
        return [why for path, (_, why) in _READ.items() if isinstance(why, str) and path.is_relative_to(root)]

    def set_aside(self) -> list[str]:
        """Return `problems`, files named from here, and which results of other revisions nothing has replaced."""
        root = self.root.absolute()
        for folder in _SOUGHT:
            if folder.is_relative_to(root):
                self.group(folder.parent.name, folder.name)
        found = [line.replace(f"{root}{os.sep}", "") for line in self.problems]
        for path, (_, result) in _READ.items():
            if isinstance(result, Result) and result.superseded and path.is_relative_to(root):
                today = result.spec.key_for(result.provenance["data_sha256"])
                if not path.with_name(f"{today}.json").exists():
                    found.append(f"{path.relative_to(root)}: {result.revised}")
        return found

    def folder(self, spec: RunSpec) -> Path:
        """Return the folder of a spec's results."""
        return self.root / spec.dataset / spec.model

    def get(self, spec: RunSpec) -> Result | None:
        """Return the stored result of `spec`, or None; an unreadable file is reported and passed over.

        Where the data are not at hand, so that their checksum is not known, it is the result of the same run on
        the data that most results of the store were trained on.
        """
        path = self.folder(spec) / f"{spec.key_for(self.data(spec.dataset))}.json"
        if path.exists():
            return self.at(path)
        _SOUGHT.add(path.parent.absolute())
        return None

    def current(self, spec: RunSpec) -> Result | None:
        """Return the stored result of `spec` unless its measures are outdated: then it counts as lacking."""
        result = self.get(spec)
        return None if result is None or result.outdated else result

    def data(self, dataset: str) -> str:
        """Return the checksum of a data set: of the data at hand, else of those that most results were trained on."""
        checksum = catalogue.checksum(dataset)
        if checksum is not None:
            return checksum
        found = (self.at(path) for path in sorted(self.root.glob(f"{dataset}/*/*.json")))
        seen = Counter(result.provenance["data_sha256"] for result in found if result is not None)
        return max(seen, key=lambda data: seen[data], default="")

    def at(self, path: Path) -> Result | None:
        """Return the result of a file here, or None where it cannot be used, which is reported once."""
        path = path.absolute()
        before = _READ.get(path, ([], ""))
        try:
            arrays, weights = path.with_suffix(".safetensors"), path.with_suffix(_WEIGHTS)
            stamps = [(s.st_mtime_ns, s.st_size) for s in map(Path.stat, filter(Path.exists, (path, arrays, weights)))]
            if before[0] == stamps and isinstance(before[1], Result):
                return before[1]
            result = read(path)
            result.check(".safetensors")
            if weights.exists():  # the reference keeps few
                result.check(_WEIGHTS)
            if ".safetensors" not in result.sha256:
                try:
                    with safe_open(arrays, "numpy"):  # checks the header and the file's length
                        pass
                except (OSError, SafetensorError) as error:
                    raise UnreadableResult(f"{path}: its arrays, {arrays.name}, cannot be read: {error}") from error
            _READ[path] = stamps, result
            return result
        except (OSError, UnreadableResult) as error:
            _READ[path] = [], str(error)
            if before[1] != str(error):
                warnings.warn(f"set aside: {error}", stacklevel=3)
            return None

    def __iter__(self) -> Iterator[Result]:
        return self.starting("")

    def starting(self, *digits: str) -> Iterator[Result]:
        """Yield the results whose keys start with some digits; of these alone an unreadable file is reported."""
        for path in sorted(self.root.glob("*/*/*.json")):
            if path.stem.startswith(digits):
                result = self.at(path)
                if result is not None:
                    yield result

    def groups(self) -> list[Group]:
        """Return all groups, in the order of data sets and models; files are written by renaming, never in place."""
        return [self.group(folder.parent.name, folder.name) for folder in sorted(self.root.glob("*/*/"))]

    def group(self, dataset: str, model: str) -> Group:
        """Return the group of a model on a data set: the same object until its folder changes."""
        folder = self.root.absolute() / dataset / model
        try:
            changed = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return Group()
        known = _GROUPS.get(folder)
        if known is None or known.changed != changed or time.time_ns() - changed < _UNSETTLED * 1e9:
            found = (self.at(path) for path in sorted(self.root.glob(f"{dataset}/{model}/*.json")))
            known = _GROUPS[folder] = Group(tuple(result for result in found if result is not None), changed)
        return known

    def put(self, result: Result) -> Result:
        """Store a fresh result and return it as read back; the JSON file is written last.

        What ends in between leaves other arrays beside an old JSON file, which is then set aside. Raises NewerResult
        where a later version's is there.
        """
        folder = self.folder(result.spec)
        path = folder / f"{result.key}.json"
        files = {".safetensors": save(_contiguous(result.arrays))}
        if result.spec.first:
            files[_WEIGHTS] = save(_contiguous(result.weights))
        sums = {suffix: hashlib.sha256(content).hexdigest() for suffix, content in files.items()}
        sums[".json"] = digest(dataclasses.replace(result, sha256=sums).to_json())
        content = dataclasses.replace(result, sha256=sums).to_json()
        lines = [f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in content.items()]
        if result.table is not None:
            self.describe(result.table)
        self.write(path, files | {".json": ("{\n" + ",\n".join(lines) + "\n}\n").encode()})
        return read(path)

    def write(self, path: Path, files: Mapping[str, bytes]) -> None:
        """Write a result's files, by suffix, in their order: its record comes last.

        A record at `path` that cannot be read is renamed first; NewerResult where a later version's is there.
        """
        self._spare(path)
        if path.exists() and self.at(path) is None:
            os.replace(path, path.with_suffix(".json.unreadable"))
            del _READ[path.absolute()]
        sweep(path.parent.glob(f".{path.stem}.*.tmp"))
        if _WEIGHTS not in files:
            path.with_suffix(_WEIGHTS).unlink(missing_ok=True)
        for suffix, content in files.items():
            write_file(path.with_suffix(suffix), content)

    def _spare(self, path: Path) -> None:
        """Raise NewerResult where a later version's record is at `path`."""
        try:
            read(path)
        except NewerResult:
            raise
        except UnreadableResult:
            pass

    def describe(self, table: Table) -> None:
        """Store what a table is, once for all results on it, and of open data the test targets of every split."""
        path = about_file(self.root / table.name, table.checksum)
        secret, splits = catalogue.credentialed(table.name), catalogue.entry(table.name).every_split
        with self.lock_of(table.checksum):
            sweep(path.parent.glob(f".{table.checksum}.*.tmp"))
            if described(path) == table.about and (secret or _names(path.with_suffix(".safetensors")) >= set(splits)):
                return
            if not secret:
                kind = np.uint8 if table.task == "classification" else np.float64
                tests = {split: table.y[split_rows(table, split, 0).test].astype(kind) for split in splits}
                write_file(path.with_suffix(".safetensors"), save(tests))
            write_file(path, (json.dumps(table.about.to_json(), indent=1) + "\n").encode())

    def lock(self, spec: RunSpec) -> FileLock:
        """Return the lock of a spec's key; the system frees it when its owner dies.

        Raises NewerResult where a later version's result of the spec is there.
        """
        self._spare(self.folder(spec) / f"{spec.key}.json")
        return self.lock_of(spec.key)

    def lock_of(self, key: str) -> FileLock:
        """Return the lock of a key."""
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{key}.lock")

    def tidy(self) -> None:
        """Remove what killed processes left: temporary files, and unfinished states of what is stored by now.

        What is a running process's stays: its number tells, and on another machine the lock of the key.
        """
        for pattern in ("*/.*.tmp", "*/*/.*.tmp", ".unfinished/*.tmp"):
            for left in self.root.glob(pattern):
                key = left.name.removeprefix(".").partition(".")[0]
                with contextlib.suppress(OSError), self.lock_of(key).acquire(timeout=0):  # unless another holds it
                    sweep([left])
        for state in self.root.glob(".unfinished/*.pt"):
            if state.is_file() and all(map(self._stored, _members(state))):
                with contextlib.suppress(OSError):
                    state.unlink()

    def _stored(self, key: str) -> bool:
        """Return whether a key's result is here, with today's measures."""
        found = [result for path in self.root.glob(f"*/*/{key}.json") if (result := self.at(path)) is not None]
        return any(not result.outdated for result in found)

    def checkpoint(self, spec: RunSpec, stack: bool = False) -> Path:
        """Return where an unfinished training of `spec` keeps its state, or of the `stack` it belongs to.

        What a killed process left half written beside it is removed; what is there and no file is renamed.
        """
        name = spec.key
        if stack:
            identity = json.dumps([spec.dataset, spec.model, spec.split, spec.settings.shared()], sort_keys=True)
            name = "stack-" + hashlib.sha256(identity.encode()).hexdigest()
        path = self.root / ".unfinished" / f"{name}.pt"
        sweep(path.parent.glob(f"{name}.*.tmp"))
        if path.exists() and not path.is_file():
            os.replace(path, path.with_suffix(".pt.unreadable"))
        return path


def _members(path: Path) -> list[str]:
    """Return the keys of the results that a checkpoint is on the way to; of a damaged one of a stack none is known."""
    if not path.name.startswith("stack-"):
        return [path.stem]
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return list(content["names"]) if isinstance(content, dict) else [path.stem]
    except Exception:  # whatever is in the way of reading it
        return [path.stem]


def _names(path: Path) -> set[str]:
    """Return the names of a file's arrays, none of a file that cannot be read."""
    try:
        with safe_open(path, "numpy") as arrays:
            return set(arrays.keys())
    except (OSError, SafetensorError):
        return set()


def _contiguous(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}
