"""Others' results, taken into a store: each is checked in full, and nothing is executed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from filelock import Timeout
from safetensors import SafetensorError
from safetensors.numpy import load

from mixnam.data import catalogue
from mixnam.runs.files import write_file
from mixnam.runs.results import NewerResult, Result, UnreadableResult, about_file, described, digest
from mixnam.runs.store import Store

#: Arrays with an entry a row of the data.
_ROWS = {"test_prediction", "sample_rows", "sample_x", "sample_contributions"}


@dataclass
class Merged:
    """What `merge` did.

    Attributes: `came`, how many results came in, by data set and model; `there`, how many were there already; `left`,
    which were left, and `set_aside`, which cannot be used, each with the reason, a line each.
    """

    came: Counter[str] = field(default_factory=Counter)
    there: int = 0
    left: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        came = ", ".join(f"{name} {count}" for name, count in self.came.items())
        count = self.came.total()
        lines = [f"{count} result{'' if count == 1 else 's'} came in" + (f": {came}" if came else "")]
        lines += [f"already there: {self.there}"] if self.there else []
        lines += [f"left: {line}" for line in self.left]
        return "\n".join([*lines, *(f"set aside: {line}" for line in self.set_aside)])


def merge(source: Path, store: Store) -> Merged:
    """Take the results of a directory into a store, with what describes their data.

    A result of the same key stays, unless its measures are outdated or it cannot be read. Results of other revisions
    are set aside. Raises ValueError where the directory holds none, OSError where the store cannot be written.
    """
    others, told = Store(source), Merged()
    for result in others:
        name = f"{result.spec.dataset}/{result.model}"
        if result.superseded:
            continue
        try:
            with store.lock_of(result.key).acquire(timeout=0):
                said = _take(result, store)
        except Timeout:
            said = "another process is at work on it"
        except NewerResult as error:
            said = str(error)
        except UnreadableResult as error:
            told.set_aside.append(f"{name}/{result.key}: {error}")
            continue
        told.came[name] += said == "came"
        told.there += said == "there"
        told.left += [f"{name}/{result.key}: {said}"] if said not in ("came", "there") else []
    told.came = +told.came
    told.set_aside += others.set_aside()
    if told == Merged():
        raise ValueError(f"{source} holds no results; name a directory that holds DATA SET/MODEL/KEY.json")
    return told


def _take(result: Result, store: Store) -> str:
    """Copy a result's files into a store, the record last, and return "came", "there", or why it is left."""
    path = store.folder(result.spec) / f"{result.key}.json"
    ours = store.at(path) if path.exists() else None
    if ours is not None and (result.outdated or not ours.outdated):
        same = digest(ours.to_json()) == digest(result.to_json())
        return "there" if same else "ours has other content and is kept"
    suffixes = (".safetensors", ".weights.safetensors", ".json")
    try:
        files = {suffix: result.path(suffix).read_bytes() for suffix in suffixes if result.path(suffix).exists()}
        arrays = [load(content) for suffix, content in files.items() if suffix != ".json"]  # early ones: no checksum
    except (OSError, SafetensorError) as error:
        raise UnreadableResult(str(error)) from error
    if catalogue.credentialed(result.spec.dataset) and not _ROWS.isdisjoint(arrays[0]):
        return "it holds rows of data that are not open"
    _describe(result, store)
    store.write(path, files)
    return "came"


def _describe(result: Result, store: Store) -> None:
    """Copy what a result's data are, unless the store has it."""
    data = result.provenance["data_sha256"]
    theirs, ours = (about_file(path.parent, data) for path in (result.path("").parent, store.folder(result.spec)))
    if described(theirs) is None:
        return
    with store.lock_of(data):
        if described(ours) is None:
            targets = theirs.with_suffix(".safetensors")
            if targets.exists() and not catalogue.credentialed(result.spec.dataset):
                write_file(ours.with_suffix(".safetensors"), targets.read_bytes())
            write_file(ours, theirs.read_bytes())
