"""How long training takes: by what is stored, and by counting."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mixnam.data import catalogue
from mixnam.models import LibrarySettings, NetworkSettings, Settings, TreeSettings, make_network
from mixnam.runs.files import root
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

#: Rows and features of the data whose results say how long a model takes on others.
HOUSING = (20_640, 8)


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(12.3), duration(200), duration(8000)
    ('12 s', '3 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def version_order(version: str | None) -> list[int]:
    """Return by what versions are sorted: the numbers of "0.10.1"; none where it is not known."""
    return [int(part) for part in re.findall(r"\d+", version or "")]


def alike(spec: RunSpec) -> tuple[Any, ...]:
    """Return what specs that take about the same time have in common."""
    return spec.dataset, spec.model, *spec.settings.shared().items()


def usual_seconds(store: Store, processor: bool = False) -> dict[tuple[Any, ...], float]:
    """Return how long the stored runs took, training and measures, by what `alike` runs have in common.

    It is the median of those that the newest version trained. With `processor` it is the processor's time where that
    is known, which other work on the machine does not lengthen.
    """
    found: dict[tuple[Any, ...], list[Result]] = {}
    for result in store:
        found.setdefault(alike(result.spec), []).append(result)
    usual = {}
    for shape, results in found.items():
        versions = [version_order(result.provenance["versions"].get("mixnam")) for result in results]
        newest = [r.cost for r, version in zip(results, versions, strict=True) if version == max(versions)]
        walls = [cost["fit_seconds"] + cost["explain_seconds"] for cost in newest]
        used = [cost["processor_seconds"] for cost in newest if processor and "processor_seconds" in cost]
        usual[shape] = float(np.median(used or walls))
    return usual


def seconds_of(specs: Sequence[RunSpec]) -> list[float]:
    """Return the processor's time that each spec takes, by the reference's results of the same shape; NaN if none.

    On a user's own table, of which the reference has none, it is that of the same model on Housing, by what there is
    to do: its order of magnitude.
    """
    store = Store(root() / "book" / "results")
    known = usual_seconds(store, processor=True) if specs else {}
    return [known[shape] if (shape := alike(spec)) in known else _by_work(spec, store) for spec in specs]


def _by_work(spec: RunSpec, store: Store) -> float:
    """Return how long a run takes on a user's own table, by its model's runs on Housing; NaN for other data.

    Of libraries only runs with the same settings count. Measures ask a network for a number of rows that does not
    depend on the table: their time grows as the terms that a feature is in, else as the features.
    """
    if not catalogue.entry(spec.dataset).features:
        return math.nan
    (rows, features), library = catalogue.load(spec.dataset).x.shape, isinstance(spec.settings, LibrarySettings)
    found = [r for r in store.group("housing", spec.model).results if not library or r.spec.settings == spec.settings]
    grown = _terms(spec, features) / _terms(spec, HOUSING[1])
    grown /= features / HOUSING[1] if spec.settings.paired else 1
    times = [
        r.cost["fit_seconds"] * work(spec.settings, rows, features) / work(r.spec.settings, *HOUSING)
        + r.cost["explain_seconds"] * grown
        for r in found
    ]
    return float(np.median(times)) if times else math.nan


def _terms(spec: RunSpec, features: int) -> float:
    return features * ((features + 1) / 2 if spec.settings.paired else 1)


def estimate(specs: Sequence[RunSpec], jobs: int = 1) -> str:
    """Return how long specs may take on idle cores, going by stored results of the same shape in the reference."""
    times = seconds_of(specs)
    known = [seconds for seconds in times if math.isfinite(seconds)]
    text = f"{len(specs)} to train, about {duration(sum(known) / jobs)} with {jobs} job{'s' if jobs > 1 else ''}"
    return text + (f", and {len(times) - len(known)} of unknown length" if len(known) < len(times) else "")


def training_work(spec: RunSpec) -> float:
    """Return the multiplications and additions that training a network for all its epochs takes, 0 for libraries.

    Raises DataError where the data are not at hand.
    """
    if not isinstance(spec.settings, NetworkSettings):
        return 0.0
    return work(spec.settings, *catalogue.load(spec.dataset).x.shape)


def work(settings: Settings, rows: int, features: int) -> float:
    """Return how much there is to do in training, in units that are a model's own.

    Of a network they are multiplications and additions. Each weight is used once a pass of a row on the way forward
    and twice on the way back. Early stopping is left out, and so is what a step costs however small it is; trees,
    whose epochs limit nothing, take as many steps as their stopping rule makes them take at least. Of other libraries
    it is the numbers in the table.
    """
    if not isinstance(settings, NetworkSettings):
        return float(rows * features)
    network = make_network(settings, features)
    products = sum(p.size * network.passes(name) for name, p in network.parameters.items())
    seen = rows * settings.epochs
    if isinstance(settings, TreeSettings):
        steps = settings.settling_steps + settings.patience_steps
        seen = min(seen, steps * settings.batch_size)
    return 6.0 * products * seen
