"""The work of a training is counted, and the time of runs alike is told."""

import dataclasses
import math

from planted import Memory, result

from mixnam.data import catalogue
from mixnam.paper import costs
from mixnam.paper.experiments import specs_of


def test_the_work_of_a_linear_layer_is_counted():
    (spec,) = specs_of("diabetes", "MLP", "smoke", {"hidden": (16,)}, seeds=1)
    parameters = 10 * 16 + 16 + 16 + 16 + 16 + 1
    rows = len(catalogue.load("diabetes").x)
    assert costs.training_work(spec) == 6 * parameters * rows * spec.settings.epochs
    assert costs.training_work(specs_of("diabetes", "XGBoost", "smoke")[0]) == 0


def taken(seed, version, **cost):
    found = result(seed=seed, score=0.45)
    origin = found.provenance | {"versions": {"mixnam": version}}
    return dataclasses.replace(found, provenance=origin, cost={"explain_seconds": 0.0} | cost)


class Listed(Memory):
    def __iter__(self):
        return iter(self.found.values())


def test_the_usual_time_is_that_of_the_newest_version_and_of_the_processor_where_it_is_known():
    store = Listed()
    store.put(taken(0, "0.10.0", fit_seconds=30.0))
    store.put(taken(1, "0.9.0", fit_seconds=99.0, processor_seconds=98.0))
    shape = costs.alike(taken(0, "0").spec)
    assert costs.usual_seconds(store) == costs.usual_seconds(store, processor=True) == {shape: 30.0}
    store.put(taken(2, "0.10.0", fit_seconds=32.0, processor_seconds=10.0))
    assert costs.usual_seconds(store) == {shape: 31.0}
    assert costs.usual_seconds(store, processor=True) == {shape: 10.0}


def test_a_spec_of_which_the_reference_has_no_like_has_no_known_time():
    assert costs.seconds_of([]) == []
    known, unknown = specs_of("diabetes", "Linear", "quick", seeds=1) + specs_of("diabetes", "MLP", "smoke", seeds=1)
    seconds, none = costs.seconds_of([known, unknown])
    assert seconds > 0 and math.isnan(none)
