"""A result says what came out of a training; what was stored once stays readable."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from untrained import MIXNAM, NAM, fresh, older_measures

from mixnam.explain import measures
from mixnam.models import REVISIONS, MixNAMSettings
from mixnam.paper.running import run
from mixnam.report.layout import progress
from mixnam.report.parameters import Parameters
from mixnam.runs.results import NewerResult, UnreadableResult, read
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store


def test_the_json_names_every_setting_and_holds_no_nan(tmp_path):
    Store(tmp_path).put(fresh(MIXNAM))
    (path,) = tmp_path.glob("*/*/*.json")
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content["schema"] == 1
    assert content["key"] == MIXNAM.key
    # all of them, so that the file can be read without this package
    assert content["spec"] == {
        "dataset": "diabetes",
        "model": "MixNAM",
        "settings": dataclasses.asdict(MIXNAM.settings),
        "split": "holdout",
        "seed": 0,
    }
    assert content["revisions"] == {part: REVISIONS[part] for part in ("preprocessing", "training", "mixture")}


def test_a_number_is_found_by_its_path():
    result = fresh(MIXNAM, score=0.7)
    assert result.value("metrics.test.rmse") == 0.7
    assert result.value("measures.additivity.marginal") == 1.0
    assert result.value("cost.parameters") == 7.0
    assert np.isnan(result.value("measures.tightness.range"))
    for path in ("metrics.test.auc", "measures.additivity.marginal.mean", "weights"):
        with pytest.raises(KeyError, match=f"{MIXNAM.key[:12]}.*'{path}'"):
            result.value(path)


def test_measures_of_an_older_revision_are_kept_but_are_no_numbers_of_today(tmp_path):
    store = Store(tmp_path)
    store.put(fresh(MIXNAM))
    assert store.current(MIXNAM) == store.get(MIXNAM)
    older_measures(tmp_path)
    old = store.get(MIXNAM)
    assert old.outdated
    assert not old.superseded
    assert store.current(MIXNAM) is None
    assert old.value("metrics.test.rmse") == 0.5
    assert old.value("cost.parameters") == 7
    assert old.measures["additivity"]["marginal"] == 1.0
    known = rf"revision {measures.REVISION - 1}, today's of revision {measures.REVISION}"
    message = rf"{MIXNAM.key[:12]}.*{known}.*python -m mixnam measure {MIXNAM.key[:12]}"
    with pytest.raises(KeyError, match=message):
        old.value("measures.tightness.range")
    # what holds no such measures, as a model of another library, stays
    library = dataclasses.replace(fresh(NAM), measures={"revision": 1, "importance": {"per_feature": [1.0]}})
    assert not library.outdated
    assert library.value("measures.revision") == 1


def test_outdated_results_are_trained_again_where_they_are_wanted(tmp_path):
    first = run("mixnam_e", "diabetes", "smoke", tmp_path, "cpu", progress=None)
    assert not any(result.outdated for result in first.results)
    older_measures(tmp_path)
    read_only = run("mixnam_e", "diabetes", "smoke", tmp_path, "cpu", train=False)
    assert [r.outdated for r in read_only.results] == [True] * len(first.results)
    said = progress("mixnam_e", Parameters("diabetes", "smoke", "cpu", tmp_path, False))
    assert f" {len(first.results)} of " in said and "were explained by an older version of our measures" in said
    again = run("mixnam_e", "diabetes", "smoke", tmp_path, "cpu", progress=None)
    assert not any(result.outdated for result in again.results)
    assert [r.key for r in again.results] == [r.key for r in first.results]
    assert [r.metrics for r in again.results] == [r.metrics for r in first.results]


# Written by the first version of the package: `fit` on diabetes, but with 100 sample rows to keep it small.
# Results cost hours on a GPU: whatever changes here, such files must stay readable.
OLD = Path(__file__).parents[1] / "stored"


OLD_KEY = "c4544f4e943a1deb1242acf3ed1f9f935e29550b800a45e26fc7833100e08db9"


OLD_SETTINGS = {
    "width": 4,
    "layers": 1,
    "experts": 2,
    "active_experts": 1,
    "epochs": 2,
    "batch_size": 64,
    "learning_rate": 0.01,
}


def test_a_stored_result_of_schema_1_loads():
    store = Store(OLD)
    (result,) = store
    assert store.problems == []
    assert result.key == OLD_KEY
    assert result.spec == RunSpec("diabetes", MixNAMSettings(**OLD_SETTINGS), "holdout", 0)
    assert result.revisions == {"preprocessing": 1, "training": 1, "mixture": 1}
    assert result.metrics["test"] == {
        "rmse": 140.25006756846903,
        "mse": 19670.08145296013,
        "mae": 108.87477471999331,
        "r2": -2.835873899945546,
    }
    assert result.value("metrics.train.rmse") == 143.32498236332253
    assert result.value("metrics.validation.rmse") == 134.7599719831894
    assert result.measures["additivity"]["marginal"] == 0.5408129883946995
    assert len(result.measures["additivity"]["per_feature"]) == 10
    assert result.history["best_epoch"] == 2
    assert result.history["validation_scores"] == [[1, 2.0412590503692627], [2, 1.7167129516601562]]
    assert result.cost["parameters"] == 1009
    assert result.provenance["preset"] == "smoke"
    assert result.provenance["versions"]["mixnam"] == "0.1.0"
    if set(REVISIONS.values()) == {1}:  # what has been revised since has another key
        assert store.get(RunSpec("diabetes", MixNAMSettings(**OLD_SETTINGS), "holdout", 0)) == result
        assert not result.superseded


def test_arrays_and_weights_of_schema_1_load():
    arrays = read(next(OLD.glob("*/*/*.json"))).arrays
    shapes = {
        "test_prediction": (89,),
        "grid": (10, 100),
        "grid_lower": (10, 100),
        "grid_upper": (10, 100),
        "grid_mean": (10, 100),
        "grid_experts": (10, 100, 2),
        "contribution_mean": (10,),
        "density": (10, 50),
        "density_range": (10, 2),
        "sample_rows": (100,),
        "sample_x": (100, 10),
        "sample_contributions": (100, 10),
        "relevance": (10, 2),
        "active": (10, 2),
    }
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert arrays["test_prediction"][:3] == pytest.approx([2.1813884, -5.6591773, 28.652586])
    assert arrays["grid_lower"][2, :3] == pytest.approx([15.561461, 16.143084, 16.43448])
    assert np.array_equal(arrays["grid_experts"].min(axis=-1), arrays["grid_lower"], equal_nan=True)
    weights = read(next(OLD.glob("*/*/*.json"))).weights
    assert sum(array.size for array in weights.values()) == 1009
    assert weights["router.weight"].shape == (40, 20)
    assert weights["router.weight"][0, :2] == pytest.approx([0.29735318, 0.01757684])
    assert weights["bias"].shape == ()
    assert weights["bias"] == pytest.approx(0.05823987)


def test_a_later_schema_asks_for_an_update(tmp_path):
    path = Store(tmp_path).put(fresh(MIXNAM)).path(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(
        NewerResult, match="schema 2, expected 1: a later version wrote it; update mixnam, or name another"
    ):
        read(path)


def test_arrays_that_are_lost_later_are_reported_by_name(tmp_path):
    result = Store(tmp_path).put(fresh(MIXNAM))
    result.path(".safetensors").write_bytes(b"lost")
    with pytest.raises(UnreadableResult, match=rf"{MIXNAM.key}\.safetensors"):
        _ = result.arrays
