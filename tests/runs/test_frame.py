"""A store's frame and its selections hold what key lookups find, and follow what is stored."""

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pytest
from planted import fill, result
from untrained import older_measures

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT
from mixnam.models import make_settings
from mixnam.paper import experiments
from mixnam.paper.presets import load_preset
from mixnam.runs.frame import _frame, frame, results_of, runs_of
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

REFERENCE = Path(__file__).parents[2] / "book" / "results"


def by_key(store, dataset, settings, seeds):
    splits = catalogue.entry(dataset).splits
    runs = [("holdout", seed) for seed in range(seeds)] if splits == HOLDOUT else [(split, 0) for split in splits]
    return [r.key for run in runs if (r := store.get(RunSpec(dataset, settings, *run))) is not None]


def test_selections_are_what_the_keys_find_on_all_experiments():
    store, asked, found = Store(REFERENCE), set(), 0
    for preset in ("paper", "quick"):
        for experiment in experiments.EXPERIMENTS:
            for dataset in ("housing", "income", "mimic2"):
                for case in experiments.cases(experiment, preset):
                    name = case.dataset or dataset
                    asked.add((name, load_preset(preset).settings(name, case.model, case.overrides)))
    for name, settings in asked:
        keys = [r.key for r in results_of(store, name, settings, 10)]
        assert keys == by_key(store, name, settings, 10), (name, settings)
        found += len(keys)
    assert found > 300


def test_a_frame_has_a_row_for_each_result_with_its_numbers():
    store = Store(REFERENCE)
    table = frame(store)
    assert table.index.is_unique
    assert set(table.index) == {r.key for r in store if not r.superseded}
    for key in table.index[::50]:
        row = table.loc[key]
        spec = row["result"].spec
        assert (row["dataset"], row["model"], row["split"], row["seed"]) == (
            spec.dataset, spec.model, spec.split, spec.seed,
        )  # fmt: skip
        metric = f"metrics.test.{catalogue.entry(spec.dataset).metric}"
        assert row[metric] == row["result"].value(metric)
        assert row["cost.fit_seconds"] == row["result"].cost["fit_seconds"]


def test_a_selections_rows_are_those_of_the_frame_in_the_order_of_seeds(tmp_path):
    store = Store(tmp_path)
    fill(store, 3, scores=[0.3, 0.1, 0.2])
    settings = load_preset("paper").settings("housing", "MixNAM")
    rows = runs_of(store, "housing", settings, 2)
    assert list(rows["metrics.test.rmse"]) == [0.3, 0.1]
    assert list(rows["seed"]) == [0, 1]
    assert runs_of(store, "housing", make_settings("NAM", {}), 2).empty


def test_other_draws_of_the_one_split_are_no_seeds_of_it(tmp_path):
    store = Store(tmp_path)
    fill(store, 2, scores=[0.3, 0.1])
    own = runs_of(store, "housing", load_preset("paper").settings("housing", "MixNAM"), 10)["result"]
    spec = dataclasses.replace(own.iloc[0].spec, split="holdout2", seed=1)
    store.put(dataclasses.replace(result(score=0.9), spec=spec, key=""))
    assert store.get(spec).spec.repetition == "holdout2 seed 1"
    for every_split in (False, True):
        found = results_of(store, "housing", spec.settings, 10, every_split)
        assert [r.spec.repetition for r in found] == ["seed 0", "seed 1"]


def test_a_frame_is_made_once_and_anew_when_files_come_change_or_go(tmp_path):
    store = Store(tmp_path)
    assert frame(store).empty
    store.put(result(seed=0, score=0.5))
    put = store.put(result(seed=1, score=0.6))
    assert len(frame(store)) == 2
    folder = store.folder(put.spec)
    os.utime(folder, (time.time() - 60, time.time() - 60))  # a folder that just changed may change again unseen
    made = _frame(store)
    assert _frame(store) is made
    assert _frame(Store(tmp_path)) is made
    store.put(result(seed=1, score=0.7))
    assert list(frame(store)["metrics.test.rmse"].sort_values()) == [0.5, 0.7]
    store.put(result(model="NAM", score=0.8))
    assert set(frame(store)["model"]) == {"MixNAM", "NAM"}
    (folder / f"{put.key}.json").unlink()
    assert list(frame(store)["model"]) == ["MixNAM", "NAM"]


def test_what_cannot_be_read_is_named_by_every_store_and_not_in_the_frame(tmp_path):
    put = Store(tmp_path).put(result(score=0.5))
    put.path(".json").write_text("no JSON")
    os.utime(put.folder, (time.time() - 60, time.time() - 60))
    first, second = Store(tmp_path), Store(tmp_path)
    with pytest.warns(UserWarning, match="set aside"):
        assert frame(first).empty
    for store in (first, second):
        assert frame(store).empty
        (problem,) = store.problems
        assert str(put.path(".json")) in problem


def test_measures_of_an_older_revision_are_left_out(tmp_path):
    store = Store(tmp_path)
    store.put(result(score=0.5, measures={"additivity.marginal": 0.25}))
    assert list(frame(store)["measures.additivity.marginal"]) == [0.25]
    older_measures(tmp_path)
    before = store.put(result(seed=1, score=0.5, measures={"additivity.marginal": 0.75}))
    assert not before.outdated
    table = frame(store).set_index("seed")
    assert bool(table.loc[0, "outdated"])
    assert np.isnan(table.loc[0, "measures.additivity.marginal"])


def test_a_superseded_result_is_no_run_of_todays_code(tmp_path):
    store, old = Store(tmp_path), result(score=0.5)
    revisions = old.revisions | {"mixture": 0}
    key = old.spec.key_for(old.provenance["data_sha256"], revisions)
    store.put(dataclasses.replace(old, key=key, revisions=revisions))
    assert len(list(store)) == 1
    assert frame(store).empty
    assert results_of(store, "housing", old.spec.settings, 10) == []
