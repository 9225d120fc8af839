"""How long training takes: by what is stored, and by counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mixnam.data import catalogue
from mixnam.models import NetworkSettings, TreeSettings, make_network
from mixnam.runs.files import root
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(12.3), duration(200), duration(8000)
    ('12 s', '3 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def alike(spec: RunSpec) -> tuple[Any, ...]:
    """Return what specs that take about the same time have in common."""
    return spec.dataset, spec.model, *spec.settings.shared().items()


def usual_seconds(store: Store) -> dict[tuple[Any, ...], float]:
    """Return how long the stored runs took, training and measures, by what `alike` runs have in common."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for result in store:
        seconds = result.cost["fit_seconds"] + result.cost["explain_seconds"]
        found.setdefault(alike(result.spec), []).append(seconds)
    return {shape: float(np.median(seconds)) for shape, seconds in found.items()}


def estimate(specs: Sequence[RunSpec], jobs: int = 1) -> str:
    """Return how long specs may take, going by stored results of the same shape in the reference."""
    known = usual_seconds(Store(root() / "book" / "results")) if specs else {}
    times = [known[alike(s)] for s in specs if alike(s) in known]
    unknown = len(specs) - len(times)
    text = f"{len(specs)} to train, about {duration(sum(times) / jobs)} with {jobs} job{'s' if jobs > 1 else ''}"
    return text + (f", and {unknown} of unknown length" if unknown else "")


def training_work(spec: RunSpec) -> float:
    """Return the multiplications and additions that training a network for all its epochs takes.

    Each weight is used once a pass of a row on the way forward and twice on the way back. Early stopping is left out,
    and so is what a step costs however small it is; trees, whose epochs limit nothing, take as many steps as their
    stopping rule makes them take at least; models of other libraries count as nothing. Raises DataError where the
    data are not at hand.
    """
    settings = spec.settings
    rows, features = catalogue.load(spec.dataset).x.shape
    if not isinstance(settings, NetworkSettings):
        return 0.0
    network = make_network(settings, features)
    products = sum(p.size * network.passes(name) for name, p in network.parameters.items())
    seen = rows * settings.epochs
    if isinstance(settings, TreeSettings):
        steps = settings.settling_steps + settings.patience_steps
        seen = min(seen, steps * settings.batch_size)
    return 6.0 * products * seen
