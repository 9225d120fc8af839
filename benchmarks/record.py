"""The record: one JSON file a machine, `book/benchmarks/<machine>.json`, from which the book's page is written.

```
{"schema": 1,
 "processor": "AMD EPYC (2 cores)",          # the machine; a file never holds two
 "parts": {<part>: {..., "measured": MEASURED}, ...}}   # those measured so far; measured again, a part is replaced
```

MEASURED, in every part: `created` (UTC), `git_commit`, `dirty` (uncommitted changes in mixnam), `versions` (python,
mixnam, torch, numpy, scikit-learn), `seconds` (what measuring the part took), `load` (the machine's load average when
it began: above 0.5 or so something else was running), `repeats` (turns of each contestant; slow ones had two), `smoke`
(true: cut short, only to see that it runs).

Everywhere: `labels` is {contestant: {label, note}} for readers; seconds are medians over interleaved turns, on float32
data; `ratio` is how many times longer than ours a row takes (ours: 1; below 1 it is faster than ours); MB are 2^20
bytes, GB and GFLOP powers of ten.

`machine`: `processor`, `cores`, `memory_mb`, `platform`, `versions`; `matrix_gflops` and `copy_gb_per_second` (read
and written together), each {"<threads>": rate} for one thread and for all.

`steps`, one training step (forward, backward, AdamW) on one thread: `threads`, `labels`, and `shapes`, a list of
  `name`, `dataset`, `preset`, `features`, `settings` (MixNAM's); `matrix_gflops`, one thread's rate in the same rounds;
  `blocked` (whether ours took its blocked formulation), `gathers` (whether it encodes each distinct value once);
  `distinct`, {source, counts}, only where columns repeat values; `contestants`, {contestant:
    `rows` of its batch, fewer than settings.batch_size where that would not fit; `seconds` a step; `times`, of each
    turn; `rows_per_second`; `gflop` a step of the work as usually done, each row encoded; `matrix_share`, that work's
    rate over the matrix rate (where ours `gathers` it can exceed 1); `peak_mb` above an imported torch, at `rows`;
    `ratio`}.
  Contestants: ours, general, elementwise, loop, conv1d, and on Housing, with --peer, authors.

`cores`, equal cores on Housing: `shape`, `settings`, `labels`, and `teams`, a list of `contestant`, `cores`,
  `processes`, `threads` (of each process), `rows` (of each process's batch), `rates` (rows a second of all its
  processes together, a turn each), `rows_per_second`, `ratio` (ours on as many cores over it).

`curves`, on one thread, nothing dropped: `threads`, `labels`, `settings` (what does not vary), and `curves`, a list of
  `name` ("rows", "features", "experts") and `points`, a list of `value`, `rows`, `features`, `seconds` ({contestant:
  seconds a step, null where it was left out as too large}).

`device`, stacks on a GPU, float32: `device`, `matrix_gflops`, `copy_gb_per_second`, and `stacks`, a list of `shape`,
  `members`, `rows` (of each member's batch), `launched_seconds` and `captured_seconds` a step of the whole stack,
  `captured` (whether it could be), `rows_per_second` and `gflops` of the faster, `matrix_share`, `peak_mb`,
  `estimated_mb` (what the stack's size is cut by).

`quality`, test RMSE over seconds of training: `dataset`, `split`, `seed`, `metric`, `unit`, and `contestants`, {name:
  `kind` ("network" or "library"), `threads` (one of a network; of a library as it says), `settings`, `points`,
  `seconds` in all, `measured` (each has its own, as they are stored one by one; its `seconds` count from the part's
  begin)}.
  A network's points are one training: `seconds`, `rmse` (test, of the best validation epoch so far), `at` (that epoch);
  and it has `epochs` run. A library's are a fit each: `seconds`, `rmse`, `at` (the setting named by `cut`; 0: the
  library's own number), `rounds` (kept, in all).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from mixnam.runs.machine import processor

SCHEMA = 1
FOLDER = Path(__file__).resolve().parents[1] / "book" / "benchmarks"

Record = dict[str, Any]


def slug(machine: str) -> str:
    """Return a machine's name as a file's.

    **Examples**

    >>> slug("AMD EPYC (2 cores)")
    'amd-epyc-2-cores'
    """
    return re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")


def default_path() -> Path:
    """Return where this machine's record is kept."""
    return FOLDER / f"{slug(processor())}.json"


def read(path: Path) -> Record:
    """Return the record at `path`, an empty one where there is no file.

    Raises ValueError for another machine's, another schema's, or a file that is no record.
    """
    machine = processor()
    if not path.exists():
        return {"schema": SCHEMA, "processor": machine, "parts": {}}
    remedy = "name another file with --out, or remove this one"
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}; {remedy}") from error
    for name, wanted in (("schema", SCHEMA), ("processor", machine)):
        found = record.get(name) if isinstance(record, dict) else None
        if found != wanted:
            raise ValueError(f"{path}: {name} is {found!r}, expected {wanted!r}; {remedy}")
    content: Record = record
    return content


def merged(record: Record, part: str, found: dict[str, Any]) -> Record:
    """Return the record with one part replaced; of `quality`, only the contestants found."""
    before = record["parts"].get(part, {})
    if part == "quality":
        found = found | {"contestants": before.get("contestants", {}) | found["contestants"]}
    return record | {"parts": record["parts"] | {part: found}}


def write(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
