"""Files that are written whole or not at all, and where the project lies."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path


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


def alive(process: int) -> bool:
    """Return whether a process of that number runs on this machine, or may do so."""
    if sys.platform == "win32":  # where 0 is no question but an interrupt
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def sweep(paths: Iterable[Path]) -> None:
    """Remove those of the files that are temporary ones, named `...PID.tmp...`, of processes that no longer run."""
    for path in paths:
        found = re.search(r"\.(\d+)\.tmp\b", path.name)
        if found and not alive(int(found[1])):
            with contextlib.suppress(OSError):  # somebody else's, or gone
                path.unlink()


def root() -> Path:
    """Return the project's directory: where `book/` lies, above this package or the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]):
        if (folder / "book" / "_config.yml").exists():
            return folder
    return Path.cwd()


def told(path: Path) -> str:
    """Return a path as a reader may type it in the project's directory."""
    return (path.relative_to(root()) if path.is_relative_to(root()) else path).as_posix()
