"""Others' results come into a store checked, whole, and without taking the place of its own."""

import dataclasses
import json

import pytest
from untrained import LINEAR, MIXNAM, NAM, Crash, crash_at, fresh, older_measures, same_arrays

from mixnam.__main__ import main
from mixnam.data import catalogue
from mixnam.runs.results import described
from mixnam.runs.store import Store


@pytest.fixture
def stores(tmp_path):
    """Others' store, ours, and a function that merges one into the other and returns the exit code."""
    theirs, ours = Store(tmp_path / "their results"), Store(tmp_path / "results")
    return theirs, ours, lambda: main(["merge", str(theirs.root), "--results", str(ours.root)])


def test_results_come_in_whole_with_what_describes_their_data(stores, capsys):
    theirs, ours, merge = stores
    for spec in (MIXNAM, NAM):
        theirs.put(dataclasses.replace(fresh(spec), table=catalogue.load("diabetes")))
    assert merge() == 0
    assert "2 results came in: diabetes/MixNAM 1, diabetes/NAM 1" in capsys.readouterr().out
    for spec in (MIXNAM, NAM):
        found, expected = ours.get(spec), theirs.get(spec)
        assert found.to_json() == expected.to_json()
        same_arrays(found.arrays, expected.arrays)
    same_arrays(ours.get(MIXNAM).weights, fresh(MIXNAM).weights)
    data = MIXNAM.dataset, catalogue.checksum("diabetes")
    assert described(ours.root / data[0] / f"{data[1]}.json") == catalogue.load("diabetes").about
    assert ours.get(MIXNAM).targets.tolist() == theirs.get(MIXNAM).targets.tolist()
    assert merge() == 0
    assert "0 results came in\nalready there: 2" in capsys.readouterr().out


def test_ours_stays_unless_it_is_outdated_or_cannot_be_read(stores, capsys):
    theirs, ours, merge = stores
    for spec in (MIXNAM, NAM, LINEAR):
        theirs.put(fresh(spec, 0.25))
    theirs.get(MIXNAM).path(".weights.safetensors").unlink()  # they keep few; ours would be another model's
    ours.put(fresh(MIXNAM))
    older_measures(ours.root)
    ours.put(fresh(NAM))
    ours.put(fresh(LINEAR)).path(".json").write_text("{")
    assert merge() == 0
    said = capsys.readouterr().out
    assert "2 results came in" in said
    assert f"left: diabetes/NAM/{NAM.key}: ours has other content and is kept" in said
    assert [ours.get(s).metrics["test"]["rmse"] for s in (MIXNAM, NAM, LINEAR)] == [0.25, 0.5, 0.25]
    assert not ours.get(MIXNAM).path(".weights.safetensors").exists()
    older_measures(theirs.root)
    assert merge() == 0
    assert not ours.get(MIXNAM).outdated


def test_what_cannot_be_used_stays_out_and_is_named(stores, capsys):
    theirs, ours, merge = stores
    for spec in (MIXNAM, NAM, LINEAR):
        theirs.put(fresh(spec))
    path = theirs.get(MIXNAM).path(".weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    edited = theirs.get(NAM).path(".json")
    edited.write_text(edited.read_text().replace("0.5", "0.4", 1))
    revisions = LINEAR.revisions | {"linear": 2}
    other = dataclasses.replace(LINEAR, seed=4)
    key = other.key_for(catalogue.checksum("diabetes"), revisions)
    theirs.put(dataclasses.replace(fresh(other), key=key, revisions=revisions))
    assert merge() == 1
    said = capsys.readouterr().out
    assert "1 result came in" in said
    assert f"set aside: diabetes/MixNAM/{MIXNAM.key}.weights.safetensors: it is not the file" in said
    assert f"set aside: diabetes/NAM/{NAM.key}.json: its content was changed" in said
    assert f"set aside: diabetes/Linear/{key}.json: trained by revision 2 of linear, this version has 1" in said
    assert [result.spec for result in ours] == [LINEAR]


def test_a_later_versions_record_and_one_that_is_being_trained_are_left_alone(stores, capsys):
    theirs, ours, merge = stores
    for spec in (MIXNAM, NAM):
        theirs.put(fresh(spec))
    path = ours.put(fresh(MIXNAM)).path(".json")
    later = json.dumps(json.loads(path.read_text()) | {"schema": 2})
    path.write_text(later)
    with ours.lock(NAM):
        assert merge() == 0
    said = capsys.readouterr().out
    assert "schema 2, expected 1" in said and "another process is at work on it" in said
    assert path.read_text() == later and ours.get(NAM) is None


def test_rows_of_data_that_are_not_open_stay_out(stores, capsys, monkeypatch):
    theirs, ours, merge = stores
    theirs.put(fresh(MIXNAM))
    monkeypatch.setitem(
        catalogue.REGISTRY, "diabetes", dataclasses.replace(catalogue.entry("diabetes"), credentialed=True)
    )
    assert merge() == 0
    assert "left: diabetes/MixNAM" in (said := capsys.readouterr().out) and "rows of data that are not open" in said
    assert list(ours) == []


def test_a_directory_without_results_is_refused(stores, capsys):
    assert stores[2]() == 2
    assert "error: " in (said := capsys.readouterr().err) and "holds no results; name a directory" in said


def test_a_kill_while_merging_leaves_no_half_result(stores, monkeypatch):
    theirs, ours, merge = stores
    theirs.put(fresh(MIXNAM))
    with monkeypatch.context() as patch:
        crash_at(3, patch)
        with pytest.raises(Crash):
            merge()
    assert list(ours) == [] and ours.problems == []
    assert merge() == 0
    assert ours.get(MIXNAM) is not None
