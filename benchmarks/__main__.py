"""`python -m benchmarks`: measure parts, merge them into this machine's record, print them as tables."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import cores, curves, device, machine, quality, record, steps
from benchmarks.authors import model_file
from benchmarks.options import Options, Part
from benchmarks.tables import TABLES
from mixnam.data.table import DataError
from mixnam.runs.machine import provenance

PARTS = {"machine": machine, "steps": steps, "cores": cores, "curves": curves, "device": device, "quality": quality}
#: all but `quality`, which takes half an hour, and what this machine lacks
DEFAULT = [name for name in PARTS if name != "quality" and (name != "device" or torch.cuda.is_available())]


def parts(text: str) -> list[str]:
    """Return the parts named, in the order in which they are measured; ValueError for one that is unknown."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise ValueError(f"--parts: no part {name!r}; there are {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


class Stamp:
    """When, with what and under which load a part was measured."""

    def __init__(self, options: Options) -> None:
        self.options, self.started = options, time.perf_counter()
        self.load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        origin = provenance(torch.device("cpu"), "")
        self.origin = {k: origin[k] for k in ("git_commit", "dirty", "versions")}

    def __call__(self) -> dict[str, Any]:
        """Return the stamp, as of now."""
        return self.origin | {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - self.started,
            "load": self.load,
            "repeats": self.options.repeats,
            "smoke": self.options.smoke,
        }


def measure(name: str, path: Path, options: Options) -> Part:
    """Measure one part and merge it into the record at `path`."""
    stamp = Stamp(options)

    def keep(part: Part) -> None:
        record.write(path, record.merged(record.read(path), name, part | {"measured": stamp()}))

    keeping = dataclasses.replace(options, keep=keep)
    part = quality.measure(keeping, stamp) if name == "quality" else PARTS[name].measure(keeping)
    keep(part)
    return part


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--parts",
        default=",".join(DEFAULT),
        help=f"of {', '.join(PARTS)}, with commas; all but quality (and device without a GPU)",
    )
    parser.add_argument("--out", type=Path, help="the record; by default this machine's in book/benchmarks")
    parser.add_argument("--peer", default="", help="a checkout of the authors' repository, timed too")
    parser.add_argument("--repeats", type=int, default=Options.repeats, help="turns of each contestant")
    parser.add_argument("--smoke", action="store_true", help="cut the trainings of quality to seconds")
    given = parser.parse_args(arguments)
    try:
        names = parts(given.parts)
        options = Options(given.repeats, str(Path(given.peer).resolve()) if given.peer else "", given.smoke)
        if options.peer:
            model_file(Path(options.peer))
        if options.smoke and given.out is None:
            raise ValueError("--smoke gives numbers that mean nothing: say with --out where to put them")
        path = given.out or record.default_path()
        record.read(path)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    failed = False
    for name in names:
        try:
            part = measure(name, path, options)
        except (DataError, RuntimeError, MemoryError, ModuleNotFoundError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"\n{name}\n\n{TABLES[name](part)}", flush=True)
    print(f"\n{path}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
