"""What the machine can do: matrix products and copies on one thread and on all, and what runs on it."""

from __future__ import annotations

import os
import platform
import sys

import numpy as np
import torch

from benchmarks import memory
from benchmarks.contestants import MATRIX
from benchmarks.job import Job
from benchmarks.options import Options, Part
from benchmarks.process import workers
from benchmarks.timing import interleaved, median
from mixnam.models import MixNAMSettings
from mixnam.runs.machine import processor

COPIED = 1 << 26  # floats: 256 MB


def device_job(contestant: str) -> Job:
    """Return the job of what measures the machine itself."""
    return Job(contestant, MixNAMSettings().all(), features=1, rows=COPIED, table=1)


def matrix_gflops(seconds: float) -> float:
    """Return GFLOP/s of the matrix product that took `seconds`."""
    return 2 * MATRIX**3 / seconds / 1e9


def copy_gb_per_second(seconds: float) -> float:
    """Return GB/s, read and written together, of the copy that took `seconds`."""
    return 2 * 4 * COPIED / seconds / 1e9


def measure(options: Options) -> Part:
    """Measure the part `machine`."""
    cores = os.cpu_count() or 1
    counts = {str(threads): threads for threads in sorted({1, cores})}
    rates = {}
    for contestant, rate in (("matrix", matrix_gflops), ("copy", copy_gb_per_second)):
        with workers(counts) as running:
            for worker in running.values():
                worker.build(device_job(contestant))
            times = interleaved(running, options.repeats)
        rates[contestant] = {threads: rate(median(t)) for threads, t in times.items()}
    return {
        "processor": processor(),
        "cores": cores,
        "memory_mb": memory.total() / 2**20,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__},
        "matrix_gflops": rates["matrix"],
        "copy_gb_per_second": rates["copy"],
    }
