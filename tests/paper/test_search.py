"""Searches halve, repeat and choose by validation scores alone, and write a record."""

import dataclasses
import functools
import json
import re
import tomllib

import numpy as np
import pandas as pd
import pytest
from every import every
from searched import SMALL, by_rate, searched

from mixnam.__main__ import main
from mixnam.models import make_settings
from mixnam.paper import search, spaces
from mixnam.paper.presets import load_preset
from mixnam.paper.running import Failure
from mixnam.paper.search import Plan, Search, shortened
from mixnam.report import searches
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store


@pytest.fixture
def planted(tmp_path):
    """Return a function that searches with planted scores: from `plant` and a plan's options to (record, store)."""
    return functools.partial(searched, tmp_path)


def test_a_short_training_scales_its_epochs_and_what_counts_in_steps():
    settings = make_settings("NODE-GAM", {"epochs": 300, "anneal_steps": 900, "warmup_steps": 10})
    short = shortened(settings, 1 / 9, 5)
    assert (short.epochs, short.anneal_steps, short.warmup_steps) == (33, 99, 2)
    assert short.evaluation_steps == settings.evaluation_steps
    assert shortened(settings, 1.0, 5) == settings
    assert shortened(dataclasses.replace(settings, epochs=20), 1 / 9, 5).epochs == 5
    assert shortened(dataclasses.replace(settings, epochs=3), 1 / 9, 5).epochs == 3
    assert shortened(make_settings("XGBoost", {}), 1 / 9, 5) == make_settings("XGBoost", {})


def test_halving_hands_on_the_best_third(planted):
    record, store = planted(by_rate, trials=27, finalists=2, repeats=2)
    drawn = spaces.find("MLP").trials("MLP", 0, 27)
    assert [len(r["trials"]) for r in record["rungs"]] == [27, 9, 3]
    assert [r["share"] for r in record["rungs"]] == pytest.approx([1 / 9, 1 / 3, 1])
    for before, after, share in zip(record["rungs"], record["rungs"][1:], (1 / 9, 1 / 3), strict=False):
        scores = {
            t: by_rate(RunSpec("diabetes", shortened(drawn[t], share, 5), "holdout", 0)) for t in before["trials"]
        }
        assert after["trials"] == sorted(scores, key=scores.get)[: len(after["trials"])]
    for trial in record["trials"]:
        rungs = sum(trial["trial"] in r["trials"] for r in record["rungs"])
        assert len(trial["rungs"]) == rungs
        full = drawn[trial["trial"]].epochs
        assert [r["epochs"] for r in trial["rungs"]] == [round(full / 9), round(full / 3), full][:rungs]
    assert len(store.trained) == 27 + 9 + 3 + 2 * 2
    assert {s.seed for s in store.trained[-4:]} == {1, 2}


def test_a_larger_auc_is_better(planted):
    def plant(spec):
        return 0.5 + spec.settings.learning_rate

    record, _ = planted(plant, dataset="breast_cancer", trials=9, rungs=2, finalists=1, repeats=1)
    rates = {t["trial"]: t["settings"]["learning_rate"] for t in record["trials"]}
    assert record["chosen"]["trial"] == max(rates, key=rates.get)
    assert {r["split"] for r in record["finalists"][0]["runs"]} == {"fold1"}


def test_a_library_model_has_one_rung_and_repeated_settings_are_tried_once(planted):
    record, store = planted(lambda spec: abs(spec.settings.knots - 20.0), model="Spline", trials=64, repeats=0)
    assert len(record["rungs"]) == 1
    assert record["chosen"]["settings"] == {"knots": 20}
    assert len(store.trained) == len({s.key for s in store.trained}) <= 11
    assert record["chosen"]["n"] == 1


def test_repeats_choose_and_the_finalists_own_seed_does_not(planted):
    drawn = list(spaces.find("MLP").trials("MLP", 0, 6).values())

    def plant(spec):
        place = drawn.index(spec.settings) if spec.settings in drawn else 0
        return float(place) if spec.seed == 0 else 10.0 - place

    record, _ = planted(plant, trials=6, rungs=1, finalists=3, repeats=2)
    assert [f["trial"] for f in record["finalists"]] == [2, 1, 0]
    assert record["chosen"]["trial"] == 2
    assert record["chosen"]["mean"] == 8.0
    assert record["chosen"]["n"] == 2


def test_what_diverged_goes_no_further_and_is_not_trained_again(planted):
    def plant(spec):
        return None if spec.settings.batch_size == 128 else by_rate(spec)

    record, store = planted(plant, trials=12)
    lost = [t for t in record["trials"] if t["settings"]["batch_size"] == 128]
    assert lost
    assert all(len(t["rungs"]) == 1 and t["rungs"][0]["diverged"] and t["rungs"][0]["score"] is None for t in lost)
    assert record["chosen"]["settings"]["batch_size"] != 128
    count = len(store.trained)
    again, _ = planted(plant, store=store, trials=12)
    assert len(store.trained) == count
    assert [t["rungs"] for t in again["trials"]] == [t["rungs"] for t in record["trials"]]


def test_what_failed_otherwise_is_no_divergence_and_is_tried_again(planted):
    full = Failure(MemoryError, "memory is too short")

    def plant(spec):
        return full if spec.settings.batch_size == 128 else by_rate(spec)

    record, store = planted(plant, trials=12)
    lost = [t["rungs"][-1] for t in record["trials"] if t["settings"]["batch_size"] == 128]
    assert lost and all(rung["failed"] == full.cause and not rung["diverged"] for rung in lost)
    assert f"{len(lost)} trials diverged or failed" in searches.summary(record)
    store.plant = by_rate
    again, _ = planted(by_rate, store=store, trials=12)
    assert all(t["rungs"][0]["score"] is not None for t in again["trials"])
    with pytest.raises(
        ValueError, match="all 4 trials of the space fast failed, such as: memory is too short; take an"
    ):
        planted(lambda spec: full, trials=4, seed=1)


def test_a_finalist_that_diverges_with_another_seed_is_not_chosen(planted):
    first = min(spaces.find("MLP").trials("MLP", 0, 9).values(), key=lambda s: s.learning_rate * 100 - s.epochs / 1000)
    record, _ = planted(
        lambda spec: None if spec.settings == first and spec.seed == 2 else by_rate(spec), trials=9, rungs=1
    )
    assert make_settings("MLP", record["finalists"][-1] and record["chosen"]["settings"]) != first
    assert record["finalists"][-1]["mean"] is None


def test_nothing_to_choose_from_is_said(planted):
    with pytest.raises(ValueError, match="all 4 trials of the space fast diverged; take another space or seed"):
        planted(lambda spec: None, trials=4)


def test_more_trials_train_only_what_is_new(planted):
    _, store = planted(by_rate, trials=9, rungs=1, finalists=1, repeats=0)
    planted(by_rate, store=store, trials=12, rungs=1, finalists=1, repeats=0)
    assert len(store.trained) == len({s.key for s in store.trained}) == 12


def test_the_choice_ignores_test_scores(planted, tmp_path):
    record, store = planted(by_rate, trials=9)
    for key, result in store.held.items():
        flipped = {k: -v for k, v in result.metrics["test"].items()}
        store.held[key] = dataclasses.replace(result, metrics=result.metrics | {"test": flipped})
    again, _ = planted(by_rate, store=store, trials=9)
    assert {k: v for k, v in again.items() if k != "provenance"} == {
        k: v for k, v in record.items() if k != "provenance"
    }
    assert record["test"] is None
    assert not re.search(r'"test[^_]', json.dumps({k: v for k, v in record.items() if k != "test"}))


def test_tests_come_after_the_choice_and_concern_it_alone(planted):
    record, store = planted(by_rate, trials=9, repeats=1, test_runs=4)
    count = len(store.trained)
    chosen = make_settings("MLP", record["chosen"]["settings"])
    assert record["test"]["n"] == len(record["test"]["scores"]) == 4
    assert all(s.settings == chosen for s in store.trained[-2:])  # seeds 0 and 1 were there
    assert [s.seed for s in store.trained[-2:]] == [2, 3]
    assert len(store.trained) == count


def test_no_test_score_is_said_during_a_search(planted):
    said = []
    store = Store("unused")
    searching = Search(Plan(space=spaces.find("MLP"), **SMALL), store, "cpu", said.append)
    searching._progress("diabetes MLP holdout seed 0: test rmse 51.2 after 3 s")
    searching._progress("failed: diverged")
    assert said == ["diabetes MLP holdout seed 0: trained in 3 s", "failed: diverged"]


def test_a_plan_that_cannot_be_is_refused():
    for options, message in [
        ({"trials": 0}, "trials must be an integer >= 1, got 0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"halving": 1}, "halving must be an integer >= 2, got 1"),
        ({"finalists": 0}, "finalists must be an integer >= 1, got 0"),
        ({"dataset": "hausing"}, "dataset must be one of .*housing.*, got 'hausing'"),
        ({"split": "fold0"}, "split of diabetes must be one of holdout, .*, holdout5, got 'fold0'"),
        ({"model": "XGBoost"}, "the space 'fast' of XGBoost is another one"),
    ]:
        with pytest.raises(ValueError, match=message):
            Plan(**SMALL | {"space": spaces.find("MLP")} | options)


@every("dataset, split", [("diabetes", "holdout3"), ("breast_cancer", "repeat1-fold2"), ("breast_cancer", "fold0")])
def test_a_search_keeps_to_the_split_that_it_is_given(dataset, split, planted):
    options = {"dataset": dataset, "split": split, "trials": 6, "finalists": 2, "repeats": 2, "test_runs": 4}
    record, store = planted(by_rate, **options)
    assert {spec.split for spec in store.trained} == {split}
    assert {spec.seed for spec in store.trained} == {0, 1, 2, 3}
    assert record["plan"]["split"] == split and f" --split {split} " in record["command"]
    assert f"(split {split})" in search.to_toml(record)
    assert searches.title(record).endswith(f"space fast, split {split}")
    assert "2 further seeds" in searches.summary(record)
    unsplit, _ = planted(by_rate, dataset=dataset, trials=2, rungs=1)
    assert "split" not in unsplit["plan"] and "split" not in unsplit["command"] + searches.title(unsplit)


def test_the_record_of_a_split_has_a_name_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "folder", lambda: tmp_path)
    line = ["search", "--dataset", "diabetes", "--model", "Spline", "--trials", "2", "--repeats", "0"]
    line += ["--device", "cpu", "--results", str(tmp_path / "r")]
    assert main(line) == main([*line, "--split", "holdout2"]) == 0
    assert {path.name for path in tmp_path.glob("*.json")} == {
        "diabetes_Spline_fast.json",
        "diabetes_Spline_fast_holdout2.json",
    }


def test_a_search_on_an_own_table_stays_out_of_the_book(tmp_path, monkeypatch, capsys):
    data, project = tmp_path / "data", tmp_path / "project"
    (project / "book").mkdir(parents=True)
    (project / "book" / "_config.yml").write_text("")  # what makes a project's directory
    data.mkdir()
    rows = np.random.default_rng(0).normal(size=(60, 2))
    pd.DataFrame(rows, columns=["a", "y"]).to_csv(data / "own.csv", index=False)
    (data / "plain.toml").write_text('table = "own.csv"\ntarget = "y"\ntitle = "Plain rows"\n')
    monkeypatch.setenv("MIXNAM_DATA", str(data))
    monkeypatch.chdir(project)
    line = ["search", "--dataset", "plain", "--model", "Spline", "--trials", "2", "--repeats", "0", "--device", "cpu"]
    assert main(line) == 0
    where = project / "runs" / "search" / "plain"
    assert [path.name for path in where.glob("*.json")] == ["plain_Spline_fast.json"]
    assert not (project / "book" / "searches").exists()
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "elsewhere"))
    (record,) = searches.records(where)
    assert searches.title(record) == "Spline on Plain rows (not at hand), space fast"
    assert "was chosen" in searches.summary(record) and len(searches.space_table(record))
    assert len(list(Store(where / "results"))) == 2
    assert main(["status", "complexity", "--dataset", "diabetes", "--results", str(where / "results")]) == 0
    assert "plain " in capsys.readouterr().out


def test_the_choice_as_a_preset_gives_the_choice(planted):
    for model in ("MixNAM", "MixNAM-E", "NODE-GAM", "MLP", "XGBoost"):
        record, _ = planted(
            lambda spec: spec.settings.learning_rate, trials=5, model=model, dataset="housing", repeats=0
        )
        content = tomllib.loads(search.to_toml(record))
        lines = content["data"]["housing"][model]
        wanted = make_settings(model, record["chosen"]["settings"])
        for preset in ("quick", "paper"):
            assert load_preset(preset).settings("housing", model, lines) == wanted
        assert "searched by us on the validation part" in search.to_toml(record)


def test_a_record_is_written_whole_and_read_back(planted, tmp_path):
    record, _ = planted(by_rate, trials=9, test_runs=2)
    path = tmp_path / "searches" / "one.json"
    search.write(record, path)
    assert json.loads(path.read_text()) == record
    assert list(path.parent.iterdir()) == [path]
    assert set(record) == {
        "schema", "dataset", "title", "model", "metric", "part", "space", "plan", "rungs", "trials", "finalists",
        "chosen", "test", "seconds", "provenance", "command",
    }  # fmt: skip
    assert record["part"] == "validation"
    assert record["command"] == (
        "python -m mixnam search --dataset diabetes --model MLP --space fast --trials 9 --test-runs 2"
    )
    runs = [r for t in record["trials"] for r in t["rungs"]] + [r for f in record["finalists"] for r in f["runs"]]
    assert record["seconds"] == pytest.approx(sum(r["seconds"] for r in runs))
    assert {"git_commit", "versions", "device"} <= set(record["provenance"])
    assert record["space"]["source"] == "ours"
    assert {c["name"] for c in record["space"]["choices"]} == set(record["trials"][0]["settings"])


def test_the_command_searches_and_trains_nothing_twice(tmp_path, capsys, monkeypatch):
    space = spaces.find("MLP")
    small = {"epochs": (4, 6), "hidden": ((8, 8), (16, 8))}
    choices = tuple(dataclasses.replace(c, values=small.get(c.name, c.values)) for c in space.choices)
    monkeypatch.setitem(spaces.spaces("MLP"), "fast", dataclasses.replace(space, choices=choices))
    out = tmp_path / "record.json"
    line = ["search", "--dataset", "diabetes", "--model", "MLP", "--trials", "2", "--rungs", "2", "--halving", "20"]
    line += ["--finalists", "1", "--repeats", "1", "--least-epochs", "1", "--device", "cpu"]
    line += ["--results", str(tmp_path / "r")]
    assert main([*line, "--out", str(out)]) == 0
    first = capsys.readouterr()
    record = json.loads(out.read_text())
    assert tomllib.loads(first.out.partition("\n\n")[0])["data"]["diabetes"]["MLP"]
    assert "searched by us" in first.out
    assert ": training" in first.err
    assert "test" not in first.err
    results = list(Store(tmp_path / "r"))
    assert len(results) == 2 + 1 + 1
    scores = {r.key[:12]: r.metrics["validation"]["rmse"] for r in results}
    assert {r["key"]: r["score"] for t in record["trials"] for r in t["rungs"]}.items() <= scores.items()
    assert main([*line, "--out", str(out)]) == 0
    assert ": training" not in capsys.readouterr().err
    again = json.loads(out.read_text())
    assert {k: v for k, v in again.items() if k != "provenance"} == {
        k: v for k, v in record.items() if k != "provenance"
    }


def test_a_budget_stops_the_command_and_the_next_one_goes_on(tmp_path, capsys):
    out = tmp_path / "record.json"
    line = [
        "search",
        "--dataset",
        "diabetes",
        "--model",
        "Spline",
        "--trials",
        "4",
        "--repeats",
        "0",
        "--device",
        "cpu",
    ]
    line += ["--results", str(tmp_path / "r"), "--out", str(out)]
    assert main([*line, "--budget", "0.001s"]) == 1
    assert "the same command goes on" in capsys.readouterr().out
    assert not out.exists()
    assert main(line) == 0
    assert json.loads(out.read_text())["chosen"]["settings"]["knots"] in (5, 8, 10, 15, 20, 25, 30, 40, 50, 75, 100)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "Linear"], "Linear is not searched: it has no settings"),
        (["--model", "MixNAN"], "model must be one of"),
        (["--space", "huge"], "space of MixNAM must be one of fast, narrow, longer, ahead, appendix-c, got 'huge'"),
        (["--dataset", "nowhere"], "dataset must be one of"),
        (["--trials", "0"], "trials must be an integer >= 1"),
        (["--budget", "soon"], "a budget is a number with s, m or h"),
    ],
)
def test_the_command_names_what_is_wrong(words, message, tmp_path, capsys):
    assert main(["search", *words, "--results", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
