"""Seconds a step on one thread, over the rows of a batch, the number of features and the number of experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import memory
from benchmarks.contestants import described
from benchmarks.job import BATCHES, Job
from benchmarks.options import Options, Part
from benchmarks.process import workers
from benchmarks.timing import interleaved, median
from mixnam.models import MixNAMSettings

RIVALS = ["ours", "general", "elementwise", "loop", "conv1d"]
FITS = 1 << 30  # bytes: the element-wise formulation takes part where it is expected to take less
TURN = 0.1  # seconds
TURNS = 5  # at most: there are many points
#: Nothing is dropped: what differs is the formulation alone.
FIXED = {"layers": 3, "width": 64, "experts": 4, "active_experts": 4, "dropout": 0.0, "expert_dropout": 0.0}


@dataclass(frozen=True)
class Curve:
    """One quantity that varies; the others stay as they are here."""

    name: str
    values: tuple[int, ...]
    rows: int
    features: int

    def point(self, value: int) -> tuple[MixNAMSettings, int]:
        """Return settings and features at a value of the quantity."""
        changed = {"experts": value, "active_experts": value} if self.name == "experts" else {}
        rows = value if self.name == "rows" else self.rows
        settings = MixNAMSettings(**(FIXED | changed | {"batch_size": rows}))  # type: ignore[arg-type]
        return settings, value if self.name == "features" else self.features


CURVES = (
    Curve("rows", (256, 512, 1024, 2048, 4096, 8192), rows=0, features=8),
    # few rows: at 360 features the router has 33 million weights
    Curve("features", (8, 16, 32, 64, 128, 256, 360), rows=256, features=0),
    Curve("experts", (4, 8, 16, 32, 64, 128), rows=1024, features=8),
)


def taking_part(settings: MixNAMSettings, features: int) -> list[str]:
    """Return who is measured at a point."""
    rows = settings.batch_size
    return [
        name
        for name in RIVALS
        if name != "elementwise" or memory.estimate(name, settings, features, rows) <= FITS
    ]  # fmt: skip


def measure(options: Options) -> Part:
    """Measure the part `curves`."""
    curves: list[dict[str, Any]] = []
    with workers(dict.fromkeys(RIVALS, 1)) as running:
        for curve in CURVES:
            points = []
            for value in curve.values:
                options.say(f"curves: {value} {curve.name}")
                settings, features = curve.point(value)
                present = {name: running[name] for name in taking_part(settings, features)}
                rows = settings.batch_size
                for name, worker in present.items():
                    worker.build(Job(name, settings.all(), features, rows, BATCHES * rows))
                times = interleaved(present, min(options.repeats, TURNS), TURN)
                seconds = {name: median(times[name]) if name in times else None for name in RIVALS}
                points.append({"value": value, "rows": rows, "features": features, "seconds": seconds})
            curves.append({"name": curve.name, "points": points})
    return {"threads": 1, "labels": described(RIVALS), "settings": FIXED, "curves": curves}
