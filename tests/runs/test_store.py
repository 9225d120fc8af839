"""Results are stored whole, found by their key, set aside where they cannot be read, and locked."""

import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import time

import generated
import numpy as np
import pytest
import torch
from every import every
from filelock import Timeout
from untrained import LINEAR, MIXNAM, NAM, Crash, crash_at, fresh, same_arrays

from mixnam.data import catalogue
from mixnam.data.table import DataMissing
from mixnam.models import LinearSettings, NAMSettings
from mixnam.runs.results import NewerResult, Result, UnreadableResult, digest, read
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store


def with_prediction(result, value):
    arrays = result.arrays | {"test_prediction": np.full(5, value, np.float32)}
    return dataclasses.replace(result, fresh=(arrays, result.weights))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_stored_result_comes_back_whole(tmp_path):
    store, result = Store(tmp_path), fresh(MIXNAM)
    put, got = store.put(result), store.get(MIXNAM)
    for back in (put, got, *store):
        for field in dataclasses.fields(Result):
            if field.name not in ("folder", "fresh", "sha256"):
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


@every(
    "spec, kept",
    [
        (RunSpec("diabetes", LinearSettings(), "holdout", 0), True),
        (RunSpec("diabetes", LinearSettings(), "holdout", 1), False),
        (RunSpec("breast_cancer", LinearSettings(), "fold0", 0), True),
        (RunSpec("breast_cancer", LinearSettings(), "fold1", 0), False),
        (RunSpec("breast_cancer", LinearSettings(), "fold0", 1), False),
    ],
)
def test_weights_are_stored_for_seed_or_fold_0(spec, kept, tmp_path):
    result = Store(tmp_path).put(fresh(spec))
    assert result.path(".weights.safetensors").exists() == kept
    if not kept:
        with pytest.raises(UnreadableResult, match=rf"{spec.key}\.weights\.safetensors"):
            _ = result.weights


def test_an_old_revisions_result_stays_and_is_known_as_superseded(tmp_path):
    store, today = Store(tmp_path), fresh(MIXNAM)
    revisions = today.revisions | {"training": 3}
    key = MIXNAM.key_for(today.provenance["data_sha256"], revisions)
    old = store.put(dataclasses.replace(today, key=key, revisions=revisions))
    assert old.superseded
    assert store.get(MIXNAM) is None
    assert [result.key for result in store] == [old.key]
    reason = "trained by revision 3 of training, this version has 1"
    assert store.set_aside() == [f"diabetes/MixNAM/{key}.json: {reason}"] and store.problems == []
    assert not store.put(today).superseded
    assert {result.superseded for result in store} == {True, False}
    assert store.set_aside() == []  # something has replaced it


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


def without(part, name=""):
    """Leave out a part, or of a part what has a name; no checksum tells."""

    def edit(content):
        content = json.loads(content)
        del content["sha256"][".json"]
        whole, left_out = (content[part], name) if name else (content, part)
        del whole[left_out]
        return json.dumps(content).encode()

    return edit


def with_part(part, **changes):
    """Change what a part holds by name; no checksum tells."""

    def edit(content):
        content = json.loads(content)
        del content["sha256"][".json"]
        content[part] |= changes
        return json.dumps(content).encode()

    return edit


#: Ways to spoil a record, and what is said of each.
BAD_JSON = {
    "cut off": (lambda content: content[: len(content) // 2], ""),
    "empty": (lambda content: b"", "Expecting value"),
    "a list": (lambda content: b"[]", "it holds no record"),
    "a number": (lambda content: b"1", "it holds no record"),
    "binary": (lambda content: bytes(range(256)), "can't decode byte"),
    "deep": (lambda content: b"[" * 100_000, "recursion"),
    "no schema": (without("schema"), "it holds no record with a schema"),
    "a failure": (edited(status="failed"), "status 'failed', expected"),
    "no metrics": (without("metrics"), "metrics is missing"),
    "no spec": (without("spec"), "spec is missing"),
    "an unknown model": (spec_edited(model="MLP"), "MLP has no setting"),
    "an unknown data set": (spec_edited(dataset="boston"), "boston and MixNAM, not of its folders"),
    "an unknown setting": (spec_edited(settings={"lr": 0.1}), "no setting 'lr'"),
    "a setting out of range": (spec_edited(settings={"width": 0}), "width must be >= 1"),
    "settings that are none": (spec_edited(settings=None), "spec.settings is None, not dict"),
    "checksums that are none": (edited(sha256=5), "sha256 is 5, not dict"),
    "a seed that is text": (spec_edited(seed="0"), "spec.seed is 0, not int"),
    "another seed": (spec_edited(seed=3), "its content belongs to key .*seed 3"),
    "provenance that is a list": (edited(provenance=[]), r"provenance is \[\], not dict"),
    "no preset": (without("provenance", "preset"), "provenance.preset is missing"),
    "versions that are numbers": (with_part("provenance", versions={"torch": 2}), "versions.torch is 2, not str"),
    "costs that are a list": (edited(cost=[]), r"cost is \[\], not dict"),
    "no time": (without("cost", "fit_seconds"), "cost.fit_seconds is missing"),
    "a time that is null": (with_part("cost", fit_seconds=None), "cost.fit_seconds is None, not int or float"),
    "metrics in a list": (with_part("metrics", test=[0.5]), r"metrics.test is \[0.5\], not dict"),
    "a metric that is text": (with_part("metrics", test={"rmse": "0"}), "metrics.test.rmse is 0, not int or float"),
    "a metric that is null": (with_part("metrics", test={"rmse": None}), "metrics.test.rmse is None"),
    "a metric that is NaN": (with_part("metrics", test={"rmse": math.nan}), "metrics.test.rmse is nan, not finite"),
    "a metric beyond all numbers": (with_part("metrics", test={"rmse": 10**400}), "int too large"),
    "an infinite measure": (with_part("measures", additivity={"marginal": math.inf}), "marginal is inf, not finite"),
    "a NaN in a list": (
        with_part("measures", importance={"per_feature": [math.nan]}),
        "per_feature is .*, not numbers",
    ),
    "a history of triples": (with_part("history", validation_scores=[[1, 2, 3]]), "scores is .*, not pairs"),
    "a text of two lines that cannot be printed": (edited(status="\n# \ud800"), r"status '.n# .ud800'"),
    "a part's name of two lines": (with_part("metrics", **{"a\nb \ud800": 1}), r"metrics.a b .ud800 is 1, not dict"),
    "no revisions": (edited(revisions={}), "its revisions are of nothing, not of preprocessing, training, mixture"),
    "an edit that its types allow": (edited(metrics={}), "its content was changed after it was stored"),
    "no checksum of its own": (
        with_part("provenance", versions={"mixnam": "0.12.0", "torch": "2.13.0"}),
        "it has no checksum of its own",
    ),
}


@every("how, case", BAD_JSON.items())
def test_an_unreadable_file_is_reported_and_the_rest_is_used(how, case, tmp_path):
    damage, why = case
    store = Store(tmp_path)
    path = store.put(fresh(MIXNAM)).path(".json")
    store.put(fresh(NAM))
    bad = damage(path.read_bytes())
    path.write_bytes(bad)

    with pytest.raises(UnreadableResult, match=rf"{path.name}: .*{why}"):
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
    assert store.problems == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@every("suffix", [".json", ".safetensors", ".weights.safetensors"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(suffix, tmp_path):
    store = Store(tmp_path)
    path = store.put(fresh(MIXNAM)).path(suffix)
    path.unlink()
    os.mkfifo(path)
    with pytest.warns(UserWarning, match=rf"{MIXNAM.key}{suffix}: it is no file"):
        assert store.get(MIXNAM) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@every("make", [os.mkdir, getattr(os, "mkfifo", None)])
def test_what_is_no_file_is_not_in_the_way_of_a_checkpoint(make, tmp_path):
    store = Store(tmp_path)
    for stack in (False, True):
        path = store.checkpoint(MIXNAM, stack)
        path.parent.mkdir(exist_ok=True)
        make(path)
    store.tidy()
    for stack in (False, True):
        path = store.checkpoint(MIXNAM, stack)
        assert not path.exists()
        assert path.with_suffix(".pt.unreadable").exists()


def test_a_later_versions_record_is_neither_renamed_nor_overwritten(tmp_path):
    store = Store(tmp_path)
    path = store.put(fresh(MIXNAM)).path(".json")
    path.write_bytes(edited(schema=2)(path.read_bytes()))
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.warns(UserWarning, match="set aside.*schema 2"):
        assert store.get(MIXNAM) is None
    for act in (lambda: store.lock(MIXNAM), lambda: store.put(fresh(MIXNAM))):
        with pytest.raises(NewerResult, match="update mixnam, or name another directory with --results"):
            act()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    with store.lock(NAM):
        pass


@every(
    "how, damage",
    [
        ("missing", lambda path: path.unlink()),
        ("cut off", lambda path: path.write_bytes(path.read_bytes()[:-4])),
        ("empty", lambda path: path.write_bytes(b"")),
    ],
)
def test_a_result_without_its_arrays_is_reported_and_trained_again(how, damage, tmp_path):
    store = Store(tmp_path)
    result = store.put(fresh(MIXNAM))
    damage(result.path(".safetensors"))
    with pytest.warns(UserWarning, match=rf"set aside.*{MIXNAM.key}\.safetensors"):
        assert store.get(MIXNAM) is None
    assert list(store) == []
    store.put(fresh(MIXNAM))
    same_arrays(store.get(MIXNAM).arrays, fresh(MIXNAM).arrays)
    assert result.path(".json.unreadable").exists()


def test_the_json_holds_the_checksums_of_the_files_beside_it(tmp_path):
    for spec, suffixes in ((MIXNAM, [".safetensors", ".weights.safetensors"]), (NAM, [".safetensors"])):
        result = Store(tmp_path).put(fresh(spec))
        files = {suffix: hashlib.sha256(result.path(suffix).read_bytes()).hexdigest() for suffix in suffixes}
        assert result.sha256 == json.loads(result.path(".json").read_text())["sha256"]
        assert result.sha256 == files | {".json": digest(result.to_json())}


def test_arrays_of_another_result_are_set_aside_and_named(tmp_path):
    store = Store(tmp_path)
    result, other = store.put(fresh(MIXNAM)), store.put(with_prediction(fresh(NAM), 7.0))
    assert store.get(MIXNAM) is not None  # and what was read once is read again when its arrays change
    shutil.copy(other.path(".safetensors"), other.path(".swapped"))
    os.replace(other.path(".swapped"), result.path(".safetensors"))
    with pytest.warns(UserWarning, match=rf"set aside.*{MIXNAM.key}\.safetensors: it is not the file.*SHA-256"):
        assert store.get(MIXNAM) is None
    assert [found.key for found in store] == [NAM.key]
    assert len(store.problems) == 1
    with pytest.raises(UnreadableResult, match=rf"{MIXNAM.key}\.safetensors: it is not the file"):
        _ = read(result.path(".json")).arrays
    store.put(fresh(MIXNAM))
    same_arrays(store.get(MIXNAM).arrays, fresh(MIXNAM).arrays)


def test_weights_are_held_against_their_checksum_and_may_be_gone(tmp_path):
    result = Store(tmp_path).put(fresh(MIXNAM))
    path = result.path(".weights.safetensors")
    shutil.copy(result.path(".safetensors"), path)
    with pytest.warns(UserWarning, match=rf"set aside.*{MIXNAM.key}\.weights\.safetensors: it is not the file"):
        assert Store(tmp_path).get(MIXNAM) is None
    path.unlink()
    assert Store(tmp_path).get(MIXNAM) is not None


def test_a_result_from_before_checksums_is_read_whatever_lies_beside_it(tmp_path):
    store = Store(tmp_path)
    result = store.put(fresh(MIXNAM))
    result.path(".json").write_bytes(without("sha256")(result.path(".json").read_bytes()))
    shutil.copy(result.path(".weights.safetensors"), result.path(".safetensors"))
    found = store.get(MIXNAM)
    assert (found.sha256, store.problems) == ({}, [])
    same_arrays(found.arrays, fresh(MIXNAM).weights)
    same_arrays(found.weights, fresh(MIXNAM).weights)


@every("count", [1, 2, 3])
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


@every("count", [1, 2, 3])
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


@every("count", [2, 3])
def test_a_crash_between_other_arrays_and_their_scores_leaves_no_mixture(count, tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put(fresh(MIXNAM))
    with monkeypatch.context() as patch:
        crash_at(count, patch)
        with pytest.raises(Crash):
            store.put(with_prediction(fresh(MIXNAM, score=0.25), 7.0))
    with pytest.warns(UserWarning, match=rf"set aside.*{MIXNAM.key}\.safetensors: it is not the file"):
        assert store.get(MIXNAM) is None


#: Other processes are forks of this one: that spares them the imports.
FORK = multiprocessing.get_context("fork")


def put_and_die(root, made):
    os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
    Store(root).put(made)


def test_what_a_killed_process_left_is_gone_when_the_result_is_stored(tmp_path):
    made = fresh(MIXNAM)
    process = FORK.Process(target=put_and_die, args=(tmp_path, made))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert [path.suffix for path in (tmp_path / "diabetes" / "MixNAM").iterdir()] == [".tmp"]
    result = Store(tmp_path).put(made)
    files = [result.path(suffix).name for suffix in (".json", ".safetensors", ".weights.safetensors")]
    assert names(tmp_path / "diabetes" / "MixNAM") == sorted(files)


def test_tidying_removes_what_killed_processes_left_and_nothing_else(tmp_path, monkeypatch):
    store, process = Store(tmp_path), FORK.Process(target=int)
    process.start()
    process.join(60)
    dead, own, data = process.pid, os.getpid(), catalogue.checksum("diabetes")
    for spec in (MIXNAM, LINEAR):
        store.put(fresh(spec))
    older = json.loads(store.get(LINEAR).path(".json").read_text())
    older["measures"]["revision"] -= 1
    older["sha256"][".json"] = digest(older)
    store.get(LINEAR).path(".json").write_text(json.dumps(older))
    stacks = {name: tmp_path / ".unfinished" / f"stack-{name}.pt" for name in ("done", "open", "damaged")}
    left = [f"diabetes/MixNAM/.{MIXNAM.key}{suffix}.PID.tmp" for suffix in (".json", ".weights.safetensors")]
    left += [f"diabetes/.{data}.json.PID.tmp", f".unfinished/{MIXNAM.key}.PID.tmp", ".unfinished/stack-a.PID.tmp"]
    gone = [tmp_path / name.replace("PID", str(dead)) for name in left]
    kept = [tmp_path / name.replace("PID", str(own)) for name in left]
    gone += [tmp_path / ".unfinished" / f"{MIXNAM.key}.pt", stacks["done"]]
    kept += [tmp_path / ".unfinished" / f"{spec.key}.pt" for spec in (NAM, LINEAR)]  # one waits for today's measures
    kept += [stacks["open"], stacks["damaged"], tmp_path / "diabetes" / "notes.tmp"]
    for path in gone + kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    torch.save({"names": [MIXNAM.key]}, stacks["done"])
    torch.save({"names": [MIXNAM.key, NAM.key]}, stacks["open"])
    held = tmp_path / "diabetes" / "NAM" / f".{NAM.key}.json.{dead}.tmp"  # of another machine, which holds the lock
    held.parent.mkdir()
    held.write_text("")
    with store.lock_of(NAM.key):
        store.tidy()
    assert [path.name for path in gone if path.exists()] == []
    assert [path.name for path in (*kept, held) if not path.exists()] == []
    assert store.get(MIXNAM) is not None


def hold(root, told):
    """Hold a lock from one word to the next, and say when it was got."""
    told.recv()
    told.send("started")
    with Store(root).lock(MIXNAM):
        told.send(time.time())
        told.recv()


@pytest.fixture
def holder(tmp_path):
    """A process that runs `hold`, and the pipe to it."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    yield process, ours
    process.kill()
    process.join()


def test_a_second_process_waits_for_the_lock(holder, tmp_path):
    process, pipe = holder
    with Store(tmp_path).lock(MIXNAM):
        pipe.send("lock")
        assert pipe.recv() == "started"
        assert not pipe.poll(0.5)
        released = time.time()
    assert pipe.poll(60)
    assert pipe.recv() >= released
    pipe.send("release")
    process.join(60)
    assert process.exitcode == 0


def test_a_killed_owners_lock_is_free(holder, tmp_path):
    process, pipe = holder
    lock = Store(tmp_path).lock(MIXNAM)
    pipe.send("lock")
    assert pipe.recv() == "started"
    assert pipe.recv() > 0
    with pytest.raises(Timeout):
        lock.acquire(timeout=0)
    with Store(tmp_path).lock(NAM).acquire(timeout=0):
        pass  # other results are free
    process.kill()  # SIGKILL: the owner cannot release it
    process.join()
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
    with pytest.raises(DataMissing, match="without its data a run has no key"):
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
            content["sha256"][".json"] = digest(content)
            path = store.folder(spec) / f"{content['key']}.json"
            path.write_text(json.dumps(content))
            shutil.copy(store.folder(spec) / f"{made.key}.safetensors", path.with_suffix(".safetensors"))
    mixed = Store(tmp_path / "store")
    found = [mixed.get(RunSpec("credit", LinearSettings(), f"fold{k}", 0)) for k in range(4)]
    assert [r is not None and r.provenance["data_sha256"][0] for r in found] == [False, "e", "e", False]
    generated.use(monkeypatch, tmp_path / "other", rows=310, names=("credit",))
    assert store.get(RunSpec("credit", LinearSettings(), "fold0", 0)) is None
