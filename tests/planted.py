"""Results with made-up numbers and arrays, for tests that know the answer beforehand."""

import dataclasses

import numpy as np

from mixnam.data import catalogue
from mixnam.data.splits import split_rows
from mixnam.explain import measures as explanations
from mixnam.paper.experiments import specs_of
from mixnam.paper.presets import load_preset
from mixnam.report.accuracy import Standing
from mixnam.report.parameters import Parameters
from mixnam.runs.model import scores
from mixnam.runs.results import Result
from mixnam.runs.store import Group, Store

ORIGIN = {
    "preset": "made up",
    "device": "a test",
    "device_type": "cpu",
    "threads": 1,
    "versions": {"torch": "0"},
    "git_commit": None,
    "dirty": None,
    "data_sha256": "0" * 64,
    "data_source": "made up",
}
COST = {"fit_seconds": 2.0, "explain_seconds": 1.0, "seconds_per_step": 0.5, "peak_memory_mb": 3.0, "parameters": 7}


def result(
    dataset="housing", model="MixNAM", seed=0, score=None, preset="paper", arrays=None, measures=None, **settings
):
    """A result of one seed (or fold, where the data set has folds) with the test score and measures given.

    Measures are given by path: `measures={"additivity.marginal": 0.4}`.
    """
    spec = specs_of(dataset, model, preset, settings, seeds=max(seed + 1, 5))[seed]
    metric = catalogue.entry(dataset).metric
    metrics = {} if score is None else {"test": {metric: float(score)}}
    nested = {"revision": explanations.REVISION} if measures else {}
    for path, number in (measures or {}).items():
        *outer, last = path.split(".")
        inner = nested
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = number
    found = {k: np.asarray(a) for k, a in (arrays or {}).items()}
    data = data_of(dataset)
    key, origin = spec.key_for(data), ORIGIN | {"data_sha256": data}
    return Result(spec, metrics, nested, {}, COST, origin, key=key, revisions=spec.revisions, fresh=(found, {}))


def on_split(found, split):
    """The same result, of another split."""
    spec = dataclasses.replace(found.spec, split=split)
    return dataclasses.replace(found, spec=spec, key=spec.key_for(found.provenance["data_sha256"]))


def predicted(seed, error, dataset="housing", split="", model="MixNAM", preset="best", **arrays):
    """A result of our recipe's fresh runs: the truth of its test rows and an error of its own."""
    table = catalogue.load(dataset)
    first = result(dataset, model, 0, 1.0, preset=preset)
    split = split or first.spec.split
    settings = load_preset(preset).settings(dataset, model, split=split)
    spec = dataclasses.replace(first.spec, settings=settings, seed=seed, split=split)
    y = table.y[split_rows(table, spec.split, seed).test]
    noise = np.random.default_rng([seed, *map(ord, model + spec.split)]).normal(size=len(y))
    arrays["test_prediction"] = (y + error * noise).astype(np.float32)
    metrics = {"test": scores(y + error * noise, y, table.task)}
    key = spec.key_for(first.provenance["data_sha256"])
    return dataclasses.replace(first, spec=spec, metrics=metrics, key=key, fresh=(arrays, {}))


def data_of(dataset):
    """The checksum of a data set, made up where it is not at hand."""
    return catalogue.checksum(dataset) or f"{dataset:0<64}"


class Memory(Store):
    """A store of results that writes nothing."""

    def __init__(self):
        super().__init__("in memory")
        self.found = {}

    def put(self, found):
        self.found[found.key] = found

    def get(self, spec):
        return self.found.get(spec.key_for(self.data(spec.dataset)))

    current = get

    def data(self, dataset):
        return data_of(dataset)

    def group(self, dataset, model):
        return Group(tuple(r for r in self.found.values() if (r.spec.dataset, r.spec.model) == (dataset, model)))

    def groups(self):
        names = sorted({(r.spec.dataset, r.spec.model) for r in self.found.values()})
        return [self.group(*pair) for pair in names]


def fill(store, seeds=5, scores=None, **options):
    """Store results of seeds 0, 1, …: `scores` gives each seed's, and a measure may be a list of as many."""
    for seed in range(seeds):
        measures = {k: v[seed] if isinstance(v, list) else v for k, v in options.get("measures", {}).items()}
        score = scores[seed] if isinstance(scores, (list, np.ndarray)) else scores
        store.put(result(**options | {"seed": seed, "score": score, "measures": measures}))


class Project:
    """An empty project in a folder: `store` is its reference, `other` a rerun's store."""

    def __init__(self, folder):
        self.store, self.other = Store(folder / "book" / "results"), Store(folder / "runs" / "results")

    def parameters(self, dataset="housing", rerun=False):
        where = self.other.root if rerun else self.store.root
        return Parameters(dataset, "smoke" if rerun else "paper", "cpu", where, False, self.store.root)

    def standing(self, dataset="housing", rerun=False):
        return Standing(self.parameters(dataset, rerun))
