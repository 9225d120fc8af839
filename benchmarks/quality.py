"""Test RMSE on Housing over seconds of training: networks on one core, boosting libraries on two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import housing
from benchmarks.housing import Data
from benchmarks.libraries import fit_threaded, openmp_threads
from benchmarks.options import Options, Part
from benchmarks.watched import Watched
from mixnam.models import LibrarySettings, NetworkSettings
from mixnam.paper.presets import load_preset

SMOKE_EPOCHS, SMOKE_ROUNDS = 3, 20


@dataclass(frozen=True)
class Case:
    """One contestant: a model at a preset's setting; for a library the setting that cuts it short, and to what.

    0 leaves the number of rounds to the library. `threads` are a library's; a network always has one.
    """

    name: str
    model: str
    preset: str
    overrides: tuple[tuple[str, Any], ...] = ()
    cut: str = ""
    values: tuple[int, ...] = ()
    threads: int = 2


_TREES = (100, 300, 1000, 3000)
_ERA = (("release", "0.2.7"),)
CASES = (
    Case("MixNAM, quick", "MixNAM", "quick"),
    Case("NAM, quick", "NAM", "quick"),
    Case("XGBoost, searched", "XGBoost", "quick", cut="trees", values=_TREES),
    # trees grow so fast that a second thread may cost more than it brings
    Case("XGBoost, one thread", "XGBoost", "quick", cut="trees", values=_TREES, threads=1),
    Case("EBM, today", "EBM", "paper", cut="max_rounds", values=(30, 300, 0)),
    Case("EBM, 0.2.7", "EBM", "paper", _ERA, "max_rounds", (30, 300, 0)),
    Case("EB2M, today", "EB2M", "paper", cut="max_rounds", values=(100, 1000, 3000)),
    Case("EB2M, 0.2.7", "EB2M", "paper", _ERA, "max_rounds", (100, 1000, 0)),
    Case("MixNAM, paper", "MixNAM", "paper"),
)


def _network(case: Case, data: Data, options: Options) -> Iterator[dict[str, Any]]:
    short = {"epochs": SMOKE_EPOCHS} if options.smoke else {}
    settings = load_preset(case.preset).settings(housing.DATASET, case.model, dict(case.overrides) | short)
    assert isinstance(settings, NetworkSettings)
    trainer = Watched(settings, data, housing.SEED)
    (trained,) = trainer.run(lambda line: options.say(f"quality: {case.name}: {line}"))
    yield {
        "kind": "network", "threads": 1, "settings": settings.all(), "points": trainer.points,
        "seconds": trainer.elapsed(), "epochs": trained.epochs,
    }  # fmt: skip


def _library(case: Case, data: Data, options: Options) -> Iterator[dict[str, Any]]:
    values = (SMOKE_ROUNDS,) if options.smoke else case.values
    points: list[dict[str, Any]] = []
    for value in values:
        options.say(f"quality: {case.name}, {case.cut} = {value or 'its own'}")
        settings = load_preset(case.preset).settings(
            housing.DATASET, case.model, dict(case.overrides) | {case.cut: value}
        )
        assert isinstance(settings, LibrarySettings)
        started = time.perf_counter()
        predict, rounds = fit_threaded(settings, data.rows, case.threads, housing.SEED)
        seconds = time.perf_counter() - started
        points.append({"seconds": seconds, "rmse": data.rmse(predict(data.x_test)), "at": value, "rounds": rounds})
        yield {
            "kind": "library", "threads": case.threads, "cut": case.cut,
            "settings": {k: v for k, v in settings.all().items() if k != case.cut}, "points": points,
            "seconds": sum(p["seconds"] for p in points),
        }  # fmt: skip


def _rehearse(data: Data) -> None:
    """Import the libraries and start their processes, which is nobody's training time."""
    from mixnam.models import EBMSettings, XGBoostSettings

    for settings in (EBMSettings(outer_bags=2, max_rounds=2), XGBoostSettings(trees=2)):
        fit_threaded(settings, data.rows, threads=2)


def measure(options: Options, stamp: Callable[[], dict[str, Any]] = dict) -> Part:
    """Measure the part `quality`; each contestant is kept, with a `stamp`, as soon as it is there."""
    data = housing.load()
    part: Part = {
        "dataset": housing.DATASET, "split": housing.SPLIT, "seed": housing.SEED, "metric": "test RMSE",
        "unit": "100,000 dollars", "contestants": {},
    }  # fmt: skip
    with openmp_threads(1):
        _rehearse(data)
        for case in CASES:
            options.say(f"quality: {case.name}")
            for found in (_library if case.cut else _network)(case, data, options):
                part["contestants"][case.name] = found | {"measured": stamp()}
                options.keep(part)
    return part
