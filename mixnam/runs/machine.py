"""Where a run takes place: device, versions, memory."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

import mixnam


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`; ValueError where it is unknown or absent."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but torch finds no CUDA device; use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@cache
def _git() -> dict[str, Any]:
    folder = Path(mixnam.__file__).parent
    try:
        call = ["git", "-C", str(folder)]
        commit = subprocess.run([*call, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        status = [*call, "status", "--porcelain", "--", str(folder)]
        dirty = bool(subprocess.run(status, capture_output=True, text=True, check=True).stdout)
        return {"git_commit": commit.strip(), "dirty": dirty}
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "dirty": None}


@cache
def processor() -> str:
    """Return the processor's name and core count."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    return f"{name} ({os.cpu_count()} cores)"


def provenance(device: torch.device, preset: str) -> dict[str, Any]:
    """Return where and with what a result came about."""
    versions = {"python": platform.python_version(), "mixnam": mixnam.__version__, "torch": torch.__version__}
    versions |= {"numpy": np.__version__, "scikit-learn": sklearn.__version__}
    return {
        "preset": preset,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else processor(),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "versions": versions,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    } | _git()


def reset_peak(device: torch.device) -> None:
    """Forget the peak of memory so far, where the system lets a process do so."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> float:
    """Return the peak of the device's memory, on a CPU of this process's, in MB (2^20 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource  # not on Windows

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 1024


@contextlib.contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Have torch compute on one thread where it is the CPU that trains, so that the same run gives the same bits."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
