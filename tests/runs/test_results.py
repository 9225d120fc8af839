import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import generated
import numpy as np
import pytest
from filelock import Timeout

import mixnam
from mixnam.data import catalogue
from mixnam.data.table import DataMissing
from mixnam.explain import measures
from mixnam.models import REVISIONS, LinearSettings, MixNAMSettings, NAMSettings, number
from mixnam.paper.running import run
from mixnam.report.layout import notice
from mixnam.report.parameters import Parameters
from mixnam.runs.files import write_file
from mixnam.runs.results import Result, UnreadableResult, read
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

# the keys of stored results: if one of these changes, every result of that kind is lost
GOLDEN = {
    "3dbf56083556b1f0d2a941d2f3677d833398eaafe0cf8cd19755539fb9f506bc": RunSpec(
        "housing", MixNAMSettings(variation_penalty=1.0), "holdout", 0
    ),
    "37451891b4df16bada50c74d8c0e9704c8d9bee75066c936d7f52583d29334ef": RunSpec("housing", NAMSettings(), "holdout", 0),
    "372060104525612bc3dcd65297594fa39ab44f8488c5d5924a10d60be75f89bc": RunSpec(
        "diabetes", NAMSettings(hidden=(8,), epochs=3), "holdout", 4
    ),
    "e4c42bf999bc88f92ecf488859fa22643c9f4849f40f67bc0577ceff19473d7a": RunSpec(
        "housing", LinearSettings(), "holdout", 0
    ),
    "250346ea6df775eb75f4ba04ad1f1e946a98b865a1ebd1c98b377e3bbd958024": RunSpec(
        "breast_cancer", LinearSettings(), "fold3", 0
    ),
}
MIXNAM = RunSpec("diabetes", MixNAMSettings(width=4), "holdout", 0)
NAM = RunSpec("diabetes", NAMSettings(), "holdout", 1)
LINEAR = RunSpec("diabetes", LinearSettings(), "holdout", 0)


@pytest.fixture
def first_revisions(monkeypatch):
    """The golden keys are those of revision 1, whatever has been revised since."""
    for part in REVISIONS:
        monkeypatch.setitem(REVISIONS, part, 1)


def fresh(spec, score=0.5):
    """Return a result as `fit` would: nothing of it was trained."""
    arrays = {
        "test_prediction": np.arange(5, dtype=np.float32),
        "grid": np.array([[1.0, np.nan], [2.0, 3.0]], dtype=np.float32),
        "sample_rows": np.array([3, 1, 2], dtype=np.int32),
        "not_contiguous": np.arange(6.0).reshape(2, 3).T,
    }
    weights = {"weight": np.ones((2, 3), np.float32), "bias": np.array(0.25, np.float32)}
    return Result(
        spec,
        metrics={part: {"rmse": score, "r2": -0.1} for part in ("train", "validation", "test")},
        measures={
            "revision": measures.REVISION,
            "additivity": {"marginal": 1.0, "per_feature": [1.0, None]},
            "tightness": {"range": None},
        },
        history={"best_epoch": 2, "epochs": 3, "stopped_early": False, "validation_scores": [[1, 0.9], [2, 0.8]]},
        cost={"fit_seconds": 0.1, "parameters": 7, "stack": 1},
        provenance={
            "preset": "smoke",
            "device": "a CPU",
            "versions": {"python": "3.11"},
            "dirty": None,
            "data_sha256": catalogue.checksum(spec.dataset),
        },
        fresh=(arrays, weights),
    )


def same_arrays(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.shape == other[name].shape
        assert np.array_equal(array, other[name], equal_nan=array.dtype.kind == "f"), name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def child(code, *arguments, **environment):
    """Start another Python in which this module can be imported as `test_results`."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(mixnam.__file__).parents[1])]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("key", GOLDEN, ids=lambda key: f"{key[:8]} {GOLDEN[key].model}")
def test_the_golden_keys_hold(key, first_revisions):
    assert dataclasses.replace(GOLDEN[key]).key == key  # a copy: a spec computes its key once


def test_keys_depend_on_no_environment(tmp_path):
    code = "from test_results import GOLDEN\nfor spec in GOLDEN.values(): print(spec.key)"
    process = child(code, PYTHONHASHSEED="7", OMP_NUM_THREADS="3", CUDA_VISIBLE_DEVICES="", MIXNAM_DATA=str(tmp_path))
    printed, _ = process.communicate(timeout=60)
    assert printed.split() == [spec.key for spec in GOLDEN.values()]
    # device, threads and versions are not even part of a spec
    assert [field.name for field in dataclasses.fields(RunSpec)] == ["dataset", "settings", "split", "seed"]


def test_an_option_added_later_changes_no_key(first_revisions):
    @dataclass(frozen=True)
    class Later(MixNAMSettings):
        smoothness_penalty: float = number(0.0, 0.0)
        hidden: tuple[int, ...] = number((4, 2), 1)

    key, spec = next(iter(GOLDEN.items()))
    assert dataclasses.replace(spec, settings=Later(variation_penalty=1.0)).key == key
    assert dataclasses.replace(spec, settings=Later(variation_penalty=1.0, smoothness_penalty=0.1)).key != key


def test_everything_that_determines_a_model_changes_the_key():
    specs = [
        MIXNAM,
        dataclasses.replace(MIXNAM, dataset="housing"),
        dataclasses.replace(MIXNAM, seed=1),
        dataclasses.replace(MIXNAM, settings=MixNAMSettings(width=5)),
        dataclasses.replace(MIXNAM, settings=NAMSettings()),
        dataclasses.replace(MIXNAM, settings=LinearSettings()),
        RunSpec("breast_cancer", MixNAMSettings(width=4), "fold0", 0),
        RunSpec("breast_cancer", MixNAMSettings(width=4), "fold1", 0),
    ]
    assert len({spec.key for spec in specs}) == len(specs)


def test_the_data_themselves_are_part_of_the_key(monkeypatch):
    entry = catalogue.REGISTRY["diabetes"]
    other = dataclasses.replace(entry, checksum="0" * 64)
    before = MIXNAM.key
    monkeypatch.setitem(catalogue.REGISTRY, "diabetes", other)
    assert dataclasses.replace(MIXNAM).key != before


@pytest.mark.parametrize("part", ["preprocessing", "training", "mixture", "additive", "linear"])
def test_raising_a_revision_changes_the_keys_that_passed_through_it(part, monkeypatch):
    before = {spec.model: spec.key for spec in (MIXNAM, NAM, LINEAR)}
    monkeypatch.setitem(REVISIONS, part, REVISIONS[part] + 1)
    after = {spec.model: dataclasses.replace(spec).key for spec in (MIXNAM, NAM, LINEAR)}
    passed = {
        "preprocessing": {"MixNAM", "NAM", "Linear"},
        "training": {"MixNAM", "NAM"},
        "mixture": {"MixNAM"},
        "additive": {"NAM"},
        "linear": {"Linear"},
    }
    assert {model for model in before if before[model] != after[model]} == passed[part]


def test_a_revision_of_a_part_to_come_changes_no_key(monkeypatch):
    monkeypatch.setitem(REVISIONS, "a part to come", 3)
    for spec in GOLDEN.values():
        assert dataclasses.replace(spec).key == spec.key


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dataset": "boston"}, "dataset must be one of housing, .*, got 'boston'"),
        ({"split": "fold0"}, "split of diabetes must be one of holdout, got 'fold0'"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"seed": True}, "seed must be an integer >= 0, got True"),
        ({"seed": 1.0}, "seed must be an integer >= 0, got 1.0"),
        ({"seed": "1"}, "seed must be an integer >= 0, got '1'"),
    ],
)
def test_a_wrong_spec_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LINEAR, **wrong)


def test_a_stored_result_comes_back_whole(tmp_path):
    store, result = Store(tmp_path), fresh(MIXNAM)
    put, got = store.put(result), store.get(MIXNAM)
    for back in (put, got, *store):
        for field in dataclasses.fields(Result):
            if field.name not in ("folder", "fresh"):
                assert getattr(back, field.name) == getattr(result, field.name), field.name
        same_arrays(back.arrays, result.arrays)
        same_arrays(back.weights, result.weights)
    assert store.problems == []
    assert names(tmp_path / "diabetes" / "MixNAM") == sorted(
        [f"{MIXNAM.key}.json", f"{MIXNAM.key}.safetensors", f"{MIXNAM.key}.weights.safetensors"]
    )


def test_what_was_not_stored_is_none(tmp_path):
    assert Store(tmp_path).get(MIXNAM) is None
    assert Store(tmp_path / "nowhere").get(MIXNAM) is None
    assert list(Store(tmp_path / "nowhere")) == []


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


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        (RunSpec("diabetes", LinearSettings(), "holdout", 0), True),
        (RunSpec("diabetes", LinearSettings(), "holdout", 1), False),
        (RunSpec("breast_cancer", LinearSettings(), "fold0", 0), True),
        (RunSpec("breast_cancer", LinearSettings(), "fold1", 0), False),
        (RunSpec("breast_cancer", LinearSettings(), "fold0", 1), False),
    ],
    ids=str,
)
def test_weights_are_stored_for_seed_or_fold_0(spec, kept, tmp_path):
    result = Store(tmp_path).put(fresh(spec))
    assert result.path(".weights.safetensors").exists() == kept
    if not kept:
        with pytest.raises(UnreadableResult, match=rf"{spec.key}\.weights\.safetensors"):
            _ = result.weights


def test_a_number_is_found_by_its_path():
    result = fresh(MIXNAM, score=0.7)
    assert result.value("metrics.test.rmse") == 0.7
    assert result.value("measures.additivity.marginal") == 1.0
    assert result.value("cost.parameters") == 7.0
    assert np.isnan(result.value("measures.tightness.range"))
    for path in ("metrics.test.auc", "measures.additivity.marginal.mean", "weights"):
        with pytest.raises(KeyError, match=f"{MIXNAM.key[:12]}.*'{path}'"):
            result.value(path)


def test_an_old_revisions_result_stays_and_is_known_as_superseded(tmp_path, monkeypatch):
    store = Store(tmp_path)
    assert not store.put(fresh(MIXNAM)).superseded
    monkeypatch.setitem(REVISIONS, "training", REVISIONS["training"] + 1)
    revised = dataclasses.replace(MIXNAM)
    assert store.get(revised) is None
    (old,) = store
    assert old.superseded
    assert old.key == MIXNAM.key
    new = store.put(fresh(revised))
    assert not new.superseded
    assert {result.superseded for result in store} == {True, False}


def test_measures_of_an_older_revision_are_kept_but_are_no_numbers_of_today(tmp_path, monkeypatch, newer_measures):
    store = Store(tmp_path)
    store.put(fresh(MIXNAM))
    assert store.current(MIXNAM) == store.get(MIXNAM)
    newer_measures()
    old = store.get(MIXNAM)
    assert old.outdated
    assert not old.superseded
    assert store.current(MIXNAM) is None
    assert old.value("metrics.test.rmse") == 0.5
    assert old.value("cost.parameters") == 7
    assert old.measures["additivity"]["marginal"] == 1.0
    message = rf"{MIXNAM.key[:12]}.*revision 2, today's of revision 3.*python -m mixnam measure {MIXNAM.key[:12]}"
    with pytest.raises(KeyError, match=message):
        old.value("measures.tightness.range")
    # what holds no such measures, as a model of another library, stays
    library = dataclasses.replace(fresh(NAM), measures={"revision": 1, "importance": {"per_feature": [1.0]}})
    assert not library.outdated
    assert library.value("measures.revision") == 1


def test_outdated_results_are_trained_again_where_they_are_wanted(tmp_path, monkeypatch, newer_measures):

    first = run("complexity", "diabetes", "smoke", tmp_path, "cpu", progress=None)
    assert not any(result.outdated for result in first.results)
    newer_measures()
    read_only = run("complexity", "diabetes", "smoke", tmp_path, "cpu", train=False)
    assert [r.outdated for r in read_only.results] == [True] * len(first.results)
    assert "hold measures of an older revision" in notice(
        read_only, Parameters("diabetes", "smoke", "cpu", tmp_path, False)
    )
    again = run("complexity", "diabetes", "smoke", tmp_path, "cpu", progress=None)
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


def test_arrays_of_schema_1_load():
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


def test_weights_of_schema_1_load():
    weights = read(next(OLD.glob("*/*/*.json"))).weights
    assert sum(array.size for array in weights.values()) == 1009
    assert weights["router.weight"].shape == (40, 20)
    assert weights["router.weight"][0, :2] == pytest.approx([0.29735318, 0.01757684])
    assert weights["bias"].shape == ()
    assert weights["bias"] == pytest.approx(0.05823987)


def test_a_result_of_schema_1_is_found_by_its_spec(first_revisions):
    result = Store(OLD).get(RunSpec("diabetes", MixNAMSettings(**OLD_SETTINGS), "holdout", 0))
    assert result.key == OLD_KEY
    assert not result.superseded


def edited(**changes):
    def edit(content):
        return json.dumps(json.loads(content) | changes).encode()

    return edit


def spec_edited(**changes):
    def edit(content):
        content = json.loads(content)
        content["spec"] |= changes
        return json.dumps(content).encode()

    return edit


def without(name):
    def edit(content):
        content = json.loads(content)
        del content[name]
        return json.dumps(content).encode()

    return edit


BAD_JSON = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a list": lambda content: b"[]",
    "a number": lambda content: b"1",
    "binary": lambda content: bytes(range(256)),
    "a later schema": edited(schema=2),
    "no schema": without("schema"),
    "no metrics": without("metrics"),
    "no spec": without("spec"),
    "an unknown model": spec_edited(model="MLP"),
    "an unknown data set": spec_edited(dataset="boston"),
    "an unknown setting": spec_edited(settings={"lr": 0.1}),
    "a setting out of range": spec_edited(settings={"width": 0}),
    "settings that are none": spec_edited(settings=None),
    "a wrong seed": spec_edited(seed="0"),
}


@pytest.mark.parametrize("damage", BAD_JSON.values(), ids=BAD_JSON)
def test_an_unreadable_file_is_reported_and_the_rest_is_used(damage, tmp_path):
    store = Store(tmp_path)
    path = store.put(fresh(MIXNAM)).path(".json")
    store.put(fresh(NAM))
    bad = damage(path.read_bytes())
    path.write_bytes(bad)

    with pytest.raises(UnreadableResult, match=path.name):
        read(path)
    with pytest.warns(UserWarning, match=f"set aside.*{path.name}"):
        assert store.get(MIXNAM) is None
    # said once; there are no warnings any more
    assert [result.spec for result in store] == [NAM]
    assert store.get(NAM) is not None
    assert len(store.problems) == 1
    assert path.name in store.problems[0]

    # trained again: the new file takes the place, the old one stays for whoever wants to look
    assert store.put(fresh(MIXNAM, score=0.25)).metrics["test"]["rmse"] == 0.25
    assert store.get(MIXNAM).metrics["test"]["rmse"] == 0.25
    assert path.with_name(f"{MIXNAM.key}.json.unreadable").read_bytes() == bad
    assert len(list(store)) == 2
    assert len(store.problems) == 1


def test_a_later_schema_asks_for_an_update(tmp_path):
    path = Store(tmp_path).put(fresh(MIXNAM)).path(".json")
    path.write_bytes(BAD_JSON["a later schema"](path.read_bytes()))
    with pytest.raises(UnreadableResult, match="schema 2, expected 1; update mixnam"):
        read(path)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-4]), id="cut off"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
    ],
)
def test_a_result_without_its_arrays_is_reported_and_trained_again(damage, tmp_path):
    store = Store(tmp_path)
    result = store.put(fresh(MIXNAM))
    damage(result.path(".safetensors"))
    with pytest.warns(UserWarning, match=rf"set aside.*{MIXNAM.key}\.safetensors"):
        assert store.get(MIXNAM) is None
    assert list(store) == []
    store.put(fresh(MIXNAM))
    same_arrays(store.get(MIXNAM).arrays, fresh(MIXNAM).arrays)
    assert result.path(".json.unreadable").exists()


def test_arrays_that_are_lost_later_are_reported_by_name(tmp_path):
    result = Store(tmp_path).put(fresh(MIXNAM))
    result.path(".safetensors").write_bytes(b"lost")
    with pytest.raises(UnreadableResult, match=rf"{MIXNAM.key}\.safetensors"):
        _ = result.arrays


class Crash(BaseException):
    """Stands for the end of the process: nothing but `finally` runs after it."""


def crash_at(count, monkeypatch):
    """Let the process end when it is about to give its final name to the `count`-th file."""
    replace, calls = os.replace, []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == count:
            raise Crash
        replace(*arguments)

    monkeypatch.setattr(os, "replace", crash)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "file"
    write_file(path, b"old")
    with monkeypatch.context() as patch:
        crash_at(1, patch)
        with pytest.raises(Crash):
            write_file(path, b"new")
    assert path.read_bytes() == b"old"
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_crash_while_storing_leaves_no_half_result(count, tmp_path, monkeypatch):
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        crash_at(count, patch)
        with pytest.raises(Crash):
            store.put(fresh(MIXNAM))
    assert store.get(MIXNAM) is None
    assert list(store) == []
    assert store.problems == []
    store.put(fresh(MIXNAM))
    same_arrays(store.get(MIXNAM).arrays, fresh(MIXNAM).arrays)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_crash_while_storing_again_leaves_the_old_result(count, tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put(fresh(MIXNAM, score=0.5))
    with monkeypatch.context() as patch:
        crash_at(count, patch)
        with pytest.raises(Crash):
            store.put(fresh(MIXNAM, score=0.25))
    old = Store(tmp_path).get(MIXNAM)
    assert old.metrics["test"]["rmse"] == 0.5
    assert old.arrays.keys() == fresh(MIXNAM).arrays.keys()


PUT_AND_DIE = """
import os, signal, sys
from test_results import MIXNAM, fresh
from mixnam.runs.store import Store
os.replace = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
Store(sys.argv[1]).put(fresh(MIXNAM))
"""


def test_what_a_killed_process_left_is_gone_when_the_result_is_stored(tmp_path):
    assert child(PUT_AND_DIE, tmp_path).wait(timeout=60) == -9
    result = Store(tmp_path).put(fresh(MIXNAM))
    files = [result.path(suffix).name for suffix in (".json", ".safetensors", ".weights.safetensors")]
    assert names(tmp_path / "diabetes" / "MixNAM") == sorted(files)


HOLD = """
import sys, time
from test_results import MIXNAM
from mixnam.runs.store import Store
print("started", flush=True)
with Store(sys.argv[1]).lock(MIXNAM):
    print("holds", time.time(), flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_second_process_waits_for_the_lock(tmp_path):
    with Store(tmp_path).lock(MIXNAM):
        process = child(HOLD, tmp_path, 0)
        assert process.stdout.readline() == "started\n"
        time.sleep(0.5)
        assert process.poll() is None
        released = time.time()
    word, when = process.stdout.readline().split()
    assert word == "holds"
    assert float(when) >= released
    assert process.wait(timeout=60) == 0


def test_a_killed_owners_lock_is_free(tmp_path):
    lock = Store(tmp_path).lock(MIXNAM)
    process = child(HOLD, tmp_path, 600)
    try:
        assert process.stdout.readline() == "started\n"
        assert process.stdout.readline().startswith("holds")
        with pytest.raises(Timeout):
            lock.acquire(timeout=0)
        with Store(tmp_path).lock(NAM).acquire(timeout=0):
            pass  # other results are free
    finally:
        process.kill()  # SIGKILL: the owner cannot release it
        process.wait()
    with lock.acquire(timeout=10):
        assert lock.is_locked


def test_a_lock_is_no_result(tmp_path):
    store = Store(tmp_path)
    with store.lock(MIXNAM):
        assert list(store) == []
        assert store.get(MIXNAM) is None
    assert store.problems == []


def test_a_file_whose_content_belongs_to_another_key_is_set_aside(tmp_path):
    store = Store(tmp_path)
    kept = store.put(fresh(MIXNAM))
    other = dataclasses.replace(MIXNAM, seed=3)
    for suffix in (".json", ".safetensors"):
        shutil.copy(kept.path(suffix), kept.folder / f"{other.key}{suffix}")
    with pytest.warns(UserWarning, match="belongs to key"):
        assert store.get(other) is None
    assert store.get(MIXNAM) is not None


def test_results_for_data_that_are_not_at_hand_are_found(tmp_path, monkeypatch):
    """Another machine had Credit: its results show here, and are set aside where other data are at hand."""
    generated.use(monkeypatch, tmp_path / "theirs", names=("credit",))
    spec = RunSpec("credit", LinearSettings(), "fold0", 0)
    made = fresh(spec)
    Store(tmp_path / "store").put(made)
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "nothing here"))
    store, again = Store(tmp_path / "store"), RunSpec("credit", LinearSettings(), "fold0", 0)
    with pytest.raises(DataMissing, match="without its data a run has no key. Remedy: download creditcard.csv"):
        _ = again.key
    assert store.get(again).key == made.key
    assert [r.key for r in store] == [made.key] and not store.problems
    assert store.get(RunSpec("credit", LinearSettings(), "fold1", 0)) is None
    assert store.get(RunSpec("credit", NAMSettings(), "fold0", 0)) is None
    # of results on different data, those of which there are most
    for fold in range(1, 4):
        spec_of = RunSpec("credit", LinearSettings(), f"fold{fold}", 0)
        for data in ["e" * 64] if fold < 3 else ["d" * 64]:
            content = json.loads((store.folder(spec) / f"{made.key}.json").read_text())
            content["spec"]["split"], content["key"] = f"fold{fold}", spec_of.key_for(data)
            content["provenance"]["data_sha256"] = data
            path = store.folder(spec) / f"{content['key']}.json"
            path.write_text(json.dumps(content))
            shutil.copy(store.folder(spec) / f"{made.key}.safetensors", path.with_suffix(".safetensors"))
    mixed = Store(tmp_path / "store")
    found = [mixed.get(RunSpec("credit", LinearSettings(), f"fold{k}", 0)) for k in range(4)]
    assert [r is not None and r.provenance["data_sha256"][0] for r in found] == [False, "e", "e", False]
    generated.use(monkeypatch, tmp_path / "other", rows=310, names=("credit",))
    assert store.get(RunSpec("credit", LinearSettings(), "fold0", 0)) is None
